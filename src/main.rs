//! The `reseal` program: a shell around the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    reseal::cli::main()
}
