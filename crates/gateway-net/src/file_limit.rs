//! The limit of open files: raised at start, and turned into the number of sockets it allows.

use std::io;

/// The process's limit of open files, which bounds its sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileLimit {
    /// What holds now.
    pub soft: u64,
    /// How far a process may raise it by itself.
    pub hard: u64,
}

impl FileLimit {
    /// Sockets of clients that fit, with descriptors kept back for listeners, back ends and files.
    #[must_use]
    pub fn sockets(self) -> usize {
        let reserve = (self.soft / 4).min(512);
        usize::try_from(self.soft - reserve).unwrap_or(usize::MAX)
    }
}

/// Raises the soft limit of open files to the hard one and says what holds afterwards.
///
/// # Errors
/// What the system answers when the limit cannot be read; one that cannot be raised is reported as it is.
pub fn raise_file_limit() -> io::Result<FileLimit> {
    let (soft, hard) = rlimit::Resource::NOFILE.get()?;
    if soft < hard
        && let Err(error) = rlimit::Resource::NOFILE.set(hard, hard)
    {
        tracing::warn!(%error, soft, hard, "the limit of open files could not be raised");
    }
    file_limit()
}

/// The limit as it is.
pub(crate) fn file_limit() -> io::Result<FileLimit> {
    let (soft, hard) = rlimit::Resource::NOFILE.get()?;
    Ok(FileLimit { soft, hard })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let limit = raise_file_limit().unwrap();
        assert_eq!(limit.soft, limit.hard);
        assert!(limit.sockets() > 0 && (limit.sockets() as u64) < limit.soft);
    }

    #[test]
    fn a_tiny_limit_still_leaves_room() {
        assert_eq!(FileLimit { soft: 64, hard: 64 }.sockets(), 48);
    }
}
