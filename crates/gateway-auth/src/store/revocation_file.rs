//! The file that keeps revocations over a restart: one line `id expiry_ms` each, appended.
//!
//! It is read and rewritten without what is over (compacted) at start, and only appended to after that. A line
//! that a crash cut short is left out with a warning: the process that wrote it never answered for it. Every append
//! waits for the disk (fdatasync), because a logout that was answered must not come undone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use gateway_codec::Timestamp;

use super::revocations::Revocations;

/// The open file.
#[derive(Debug)]
pub(super) struct RevocationFile {
    file: File,
    /// The last append failed and may have left part of a line.
    torn: bool,
}

impl RevocationFile {
    /// Reads and compacts the file, and opens it for appending. Makes it and its folder where they are missing.
    /// Blocks; meant for the start.
    pub(super) fn open(path: &Path, now: Timestamp) -> io::Result<(Self, Revocations)> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder)?;
        }
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        let revocations = parse(&bytes, path, now)?;
        compact(path, &revocations)?;
        let file = OpenOptions::new().append(true).open(path)?;
        Ok((Self { file, torn: false }, revocations))
    }

    /// Appends lines and waits until the disk has them. Blocks, for as long as the disk takes.
    pub(super) fn append(&mut self, lines: &[(String, Timestamp)]) -> io::Result<()> {
        // What a failed append left is closed off, or it would spoil the line that follows it.
        let mut text = String::from(if self.torn { "\n" } else { "" });
        text.extend(lines.iter().map(|(id, until)| line(id, *until)));
        self.torn = true;
        self.file.write_all(text.as_bytes())?;
        self.torn = false;
        self.file.sync_data()
    }
}

fn line(id: &str, until: Timestamp) -> String {
    format!("{id} {}\n", until.as_millis())
}

fn parse(bytes: &[u8], path: &Path, now: Timestamp) -> io::Result<Revocations> {
    let mut revocations = Revocations::default();
    let mut bad = 0_u64;
    let whole = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    // What follows the last newline was cut short: even if it looks whole, its number may lack digits.
    bad += u64::from(whole < bytes.len());
    for text in bytes[..whole]
        .split(|byte| *byte == b'\n')
        .filter(|text| !text.is_empty())
    {
        match entry(text) {
            Some((_, until)) if until <= now => {}
            Some((id, until)) => {
                revocations
                    .add(id, until, now)
                    .map_err(|_| io::Error::other("too many revocations"))?;
            }
            None => bad += 1,
        }
    }
    if bad > 0 {
        tracing::warn!(path = %path.display(), lines = bad, "lines of the revocation file cannot be read");
    }
    Ok(revocations)
}

fn entry(line: &[u8]) -> Option<(&str, Timestamp)> {
    let (id, millis) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let until = Timestamp::from_millis(millis.trim_end().parse().ok()?);
    (!id.is_empty()).then_some((id, until))
}

/// Writes the list to a new file beside it, which then takes its name: a crash leaves the old or the new one.
fn compact(path: &Path, revocations: &Revocations) -> io::Result<()> {
    let text: String = revocations.iter().map(|(id, until)| line(id, until)).collect();
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    // The new name is in the folder, and is lost with the folder if that is not on disk.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_after_a_failed_append_is_not_spoilt_by_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("revoked");
        let start = Timestamp::from_millis(1);
        let until = Timestamp::from_millis(1_000);
        let (mut file, _) = RevocationFile::open(&path, start).unwrap();
        // What a full disk leaves: the beginning of a line, and an error.
        file.file.write_all(b"half 10").unwrap();
        file.torn = true;
        file.append(&[("a".to_owned(), until), ("b".to_owned(), until)])
            .unwrap();
        file.append(&[("c".to_owned(), until)]).unwrap();
        let (_, revocations) = RevocationFile::open(&path, start).unwrap();
        let ids: Vec<_> = revocations.iter().map(|(id, _)| id).collect();
        assert!(["a", "b", "c"].iter().all(|id| ids.contains(id)), "{ids:?}");
        assert!(!ids.contains(&"halfa"));
    }

    #[test]
    fn an_append_that_fails_is_told_and_the_next_one_starts_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("revoked");
        fs::write(&path, "").unwrap();
        let mut file = RevocationFile {
            file: File::open(&path).unwrap(), // not for writing
            torn: false,
        };
        let line = [("a".to_owned(), Timestamp::from_millis(1_000))];
        assert!(file.append(&line).is_err());
        file.file = OpenOptions::new().append(true).open(&path).unwrap();
        file.append(&line).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "\na 1000\n");
    }
}
