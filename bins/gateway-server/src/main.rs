//! `gateway-server`: the gateway as a program.

use std::process::ExitCode;

/// Lowest and steadiest resident memory of the allocators that were measured.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    gateway_server::cli::main()
}
