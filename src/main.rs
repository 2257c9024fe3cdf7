//! The `souk` binary: everything stands in the library.

use std::process::ExitCode;

/// A request makes and drops hundreds of small things on one thread and the next: the system's allocator spends a third of
/// a busy node's time on them, this one a tenth.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    souk::cli::main()
}
