//! How many files a process may open.

use std::io;

/// Files that a worker needs beside its sockets.
const OTHERS: u64 = 512;

/// Raises the soft limit to the hard one; says how many sockets that makes.
///
/// # Errors
/// The system's.
pub(crate) fn raise_file_limit() -> io::Result<u32> {
    let (soft, hard) = rlimit::Resource::NOFILE.get()?;
    if soft < hard {
        rlimit::Resource::NOFILE.set(hard, hard)?;
    }
    Ok(u32::try_from(hard.saturating_sub(OTHERS)).unwrap_or(u32::MAX))
}
