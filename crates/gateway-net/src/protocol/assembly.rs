//! A message that did not come in one piece: collected under one bound, its text checked as it grows.

use super::ProtocolError;
use super::decoder::Message;

/// The payload of an unfinished message. Grows by what has arrived, never by what was announced, so
/// that a peer cannot make memory be taken by a head alone.
#[derive(Debug)]
pub(super) struct Assembly {
    text: bool,
    data: Vec<u8>,
    /// Up to here `data` is known to be UTF-8.
    checked: usize,
}

impl Assembly {
    pub(super) fn new(text: bool) -> Self {
        Self {
            text,
            data: Vec::new(),
            checked: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.data.len()
    }

    /// Appends; `expected` is what this frame still announces beyond `chunk`, which caps the growth.
    pub(super) fn push(&mut self, chunk: &[u8], expected: usize) -> Result<(), ProtocolError> {
        let needed = self.data.len() + chunk.len();
        if needed > self.data.capacity() {
            // Doubling, but not past what the frame will hold.
            let target = needed.max((self.data.capacity() * 2).min(needed.saturating_add(expected)));
            self.data.reserve_exact(target - self.data.len());
        }
        self.data.extend_from_slice(chunk);
        if self.text { self.check() } else { Ok(()) }
    }

    /// Checks what is new; a character cut at the end waits for its rest.
    fn check(&mut self) -> Result<(), ProtocolError> {
        match simdutf8::compat::from_utf8(&self.data[self.checked..]) {
            Ok(text) => self.checked += text.len(),
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(ProtocolError::BadUtf8),
        }
        Ok(())
    }

    pub(super) fn message(&self) -> Result<Message<'_>, ProtocolError> {
        if !self.text {
            return Ok(Message::Binary(&self.data));
        }
        simdutf8::basic::from_utf8(&self.data)
            .map(Message::Text)
            .map_err(|_| ProtocolError::BadUtf8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_follows_what_arrived() {
        let mut assembly = Assembly::new(false);
        assembly.push(&[0; 100], 1 << 40).unwrap();
        assert!(assembly.data.capacity() <= 200);
        for _ in 0..1000 {
            assembly.push(&[0; 100], 1 << 40).unwrap();
        }
        assert!(assembly.data.capacity() <= 2 * assembly.len());
    }

    #[test]
    fn a_bad_byte_fails_before_the_message_ends() {
        let mut assembly = Assembly::new(true);
        assembly.push(&[0xE4, 0xBD], 10).unwrap();
        assembly.push(&[0xA0], 9).unwrap();
        assert_eq!(assembly.push(&[0xFF], 8), Err(ProtocolError::BadUtf8));
    }

    #[test]
    fn a_character_cut_at_the_end_fails_at_the_end() {
        let mut assembly = Assembly::new(true);
        assembly.push(&[0xE4, 0xBD], 0).unwrap();
        assert_eq!(assembly.message(), Err(ProtocolError::BadUtf8));
    }
}
