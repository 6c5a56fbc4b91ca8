//! The file that keeps revocations over a restart: one line `id expiry_ms` each, appended.
//!
//! It is read and rewritten without what is over (compacted) at start, and only appended to after that. A line
//! that a crash cut short is left out with a warning: the process that wrote it never answered for it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use gateway_codec::Timestamp;

use super::revocations::Revocations;

/// The open file.
#[derive(Debug)]
pub(super) struct RevocationFile {
    file: File,
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
        Ok((Self { file }, revocations))
    }

    /// Appends a line and waits until the disk has it. Blocks, for as long as the disk takes.
    pub(super) fn append(&mut self, id: &str, until: Timestamp) -> io::Result<()> {
        // One write, so that a line is never mixed with another's.
        self.file.write_all(line(id, until).as_bytes())?;
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
    fs::rename(&new, path)
}
