//! The terminal: read key by key, drawn as a whole, and left as it was.

use std::io::{self, Write};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read};
use rustix::stdio::{stdin, stdout};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// The other screen, without a cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// What is drawn on where the size is unknown.
const SIZE: (usize, usize) = (80, 24);

/// The terminal, which is as it was before once this is dropped.
#[derive(Debug)]
pub(super) struct Terminal {
    before: Termios,
    drawn: (usize, usize),
}

impl Terminal {
    pub(super) fn open() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        // Keys come at once and unchanged, Ctrl-C too: it quits as `q` does.
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        let terminal = Self {
            before,
            drawn: (0, 0),
        };
        write(ENTER)?;
        Ok(terminal)
    }

    /// Columns and lines.
    pub(super) fn size(&self) -> (usize, usize) {
        match tcgetwinsize(stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                (size.ws_col.into(), size.ws_row.into())
            }
            _ => SIZE,
        }
    }

    /// Whether the size is another one than when it was last drawn.
    pub(super) fn has_resized(&self) -> bool {
        self.size() != self.drawn
    }

    /// The keys that are pressed within `time`.
    pub(super) fn read(&self, time: Duration) -> io::Result<Vec<u8>> {
        let time = Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        };
        let keyboard = stdin();
        let mut events = [PollFd::new(&keyboard, PollFlags::IN)];
        match poll(&mut events, Some(&time)) {
            Ok(0) | Err(Errno::INTR) => return Ok(Vec::new()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut buffer = [0; 256];
        match read(keyboard, &mut buffer) {
            // The terminal is gone.
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => Ok(buffer.get(..count).unwrap_or_default().to_vec()),
            Err(Errno::INTR | Errno::AGAIN) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Draws all lines, which fit the screen, in place of what is there.
    pub(super) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        self.drawn = self.size();
        let mut out = String::from("\x1b[H");
        for (n, line) in lines.iter().enumerate() {
            if n > 0 {
                out.push_str("\r\n");
            }
            out.push_str(line);
            out.push_str("\x1b[K");
        }
        out.push_str("\x1b[J");
        write(&out)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = write(LEAVE);
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
