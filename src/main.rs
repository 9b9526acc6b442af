//! The program `atp`: everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    atp::cli::main()
}
