//! The way of commands that wait for nothing: run at once by whoever read them, with no task, queue or box.
//!
//! A task of its own costs a command several microseconds, a rule often less than one. A command goes this way
//! where nothing can tell the difference: its session has nothing queued, so order holds; no faults are made
//! up; and its action is a quick one. Everything else is given to `queued`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use gateway_codec::proto::backend::{CommandReply, CommandRequest};

use crate::{
    engine::{Engine, broken, caller},
    replay::Seen,
    services::Action,
    wire,
};

impl Engine {
    /// Whether a command of this session may be run before it has a place in the session's lane.
    pub(crate) fn has_no_queue(&self, session: &str) -> bool {
        !self.faults.any() && self.lanes.is_idle(session)
    }

    /// Runs a command; `None` where it has to wait for something, and nothing has been done.
    pub(crate) fn run_now(&self, request: &CommandRequest, late: bool) -> Option<CommandReply> {
        caught(|| self.try_now(request, late))
    }

    fn try_now(&self, request: &CommandRequest, late: bool) -> Option<CommandReply> {
        if request.cmd_id == self.kind.control_command() {
            return None;
        }
        if let Err(error) = Self::check(request, late) {
            return Some(self.refuse(request, &error));
        }
        let (action, encoding) = match wire::read(self.kind, request) {
            Ok((Action::Quick(action), encoding)) => (action, encoding),
            Ok((Action::Slow(_), _)) => return None,
            Err(error) => return Some(self.refuse(request, &error)),
        };
        let ticket = if request.request_id.is_empty() || action.only_reads() {
            None
        } else {
            match self.replays.begin_now(&request.request_id)? {
                Seen::Before(reply) => return Some(*reply),
                Seen::First(ticket) => Some(ticket),
            }
        };
        let reply = self.reply(request, encoding, action.run(&self.shared, caller(request)));
        if let Some(ticket) = ticket {
            ticket.finish(&reply);
        }
        Some(reply)
    }
}

/// What `run` gives, or 500: a panic in a rule must not end the stream of everybody else.
fn caught(run: impl FnOnce() -> Option<CommandReply>) -> Option<CommandReply> {
    // Whatever it was about to change has no half-done state to be seen: see `store::held`.
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Some(broken()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_answered_and_goes_no_further() {
        let reply = caught(|| panic!("a rule is broken")).unwrap();
        assert_eq!(reply.code, 500);
        assert_eq!(caught(|| None), None);
    }
}
