//! Every message comes back as it came.

use super::server::Service;
use crate::frame;

#[derive(Default)]
pub(super) struct Echo {}

impl Service for Echo {
    fn message(&mut self, _from: usize, opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
        if opcode == frame::TEXT || opcode == frame::BINARY {
            frame::put(out, opcode, None, payload);
        }
    }
}
