//! The `reseal` program: a shell context the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    reseal::cli::main()
}
