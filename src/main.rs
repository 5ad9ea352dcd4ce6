//! The `reseal` program: everything is in the library, which tests and benches use too.

use std::process::ExitCode;

fn main() -> ExitCode {
    reseal::main()
}
