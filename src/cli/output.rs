//! Standard output, standard error and tables.

use std::io::{self, Write};

use super::exit::Exit;
use super::paint::{Mood, Paint};

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

/// Columns as wide as their widest cell, each cell in the colour of its mood.
pub(super) fn painted_table(rows: &[Vec<(String, Mood)>], paint: Paint) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|(cell, _)| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let filled = row.iter().rposition(|(cell, _)| !cell.is_empty());
        for (n, ((cell, mood), width)) in row.iter().zip(&widths).enumerate() {
            out.push_str(&paint.text(cell, *mood));
            if Some(n) >= filled {
                break;
            }
            // Escapes for colours take no room.
            let gap = width.saturating_sub(cell.chars().count()) + 2;
            out.extend(std::iter::repeat_n(' ', gap));
        }
        out.push('\n');
    }
    out
}

/// Columns as wide as their widest cell.
pub(super) fn table(rows: &[impl AsRef<[String]>]) -> String {
    let mut widths = Vec::new();
    for row in rows {
        for (column, cell) in row.as_ref().iter().enumerate() {
            if column == widths.len() {
                widths.push(0);
            }
            if let Some(width) = widths.get_mut(column) {
                *width = cell.chars().count().max(*width);
            }
        }
    }
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row.as_ref()) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
