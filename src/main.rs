//! The program `atp`: everything it does is in the library.

use std::process::ExitCode;

/// Gives memory back that many threads have used and freed; the system's allocator keeps most of it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    atp::cli::main()
}
