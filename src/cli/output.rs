//! Standard output, standard error and tables.

use std::io::{self, Write};

use super::exit::Exit;

/// Writes to standard output. A closed reader is no error.
pub(super) fn print(text: &str) -> Exit {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Exit::Internal,
        _ => Exit::Good,
    }
}

/// Writes a line to standard error. A failure is ignored: there is no other place to report it.
pub(super) fn eprint_line(text: &str) {
    let _ = writeln!(io::stderr(), "{}", text.trim_end());
}

/// Columns as wide as their widest cell.
pub(super) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
