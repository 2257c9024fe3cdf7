//! The `souk` binary: everything stands in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    souk::cli::main()
}
