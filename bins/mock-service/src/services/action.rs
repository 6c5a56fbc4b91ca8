//! Commands as the rules take them, parted by whether they wait for anything.
//!
//! What waits for nothing is run by whoever reads a stream of commands, between two others, which spares it a
//! task of its own; that is why the two are types, and not a flag.

use bytes::Bytes;

use crate::{
    error::ServiceError,
    faults::FaultChange,
    services::{Answer, Caller, Effect, Shared, friend, group, message, push, sign_in, user},
};

/// One command, read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    Quick(Quick),
    Slow(Slow),
}

/// What is done without waiting for anything but a lock, and so may be run by whoever read it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Quick {
    Echo(Echo),
    User(user::UserAction),
    Message(message::MessageAction),
    Friend(friend::FriendAction),
    Group(group::GroupAction),
}

/// What waits for the password hasher, the gateway or the health reporter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Slow {
    SignIn(sign_in::SignIn),
    Push(push::PushAction),
    /// Mock only: change this service's faults.
    Faults(FaultChange),
}

/// What goes back as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Echo {
    /// Empty for JSON.
    pub(crate) type_name: String,
    pub(crate) body: Bytes,
}

impl Quick {
    /// Whether doing it twice is the same as once, so that its reply need not be kept for a repeat.
    pub(crate) fn only_reads(&self) -> bool {
        use friend::FriendAction as Friend;
        use group::GroupAction as Group;
        match self {
            Self::Echo(_) => true,
            Self::User(action) => !matches!(action, user::UserAction::Update(_)),
            Self::Message(action) => matches!(action, message::MessageAction::History { .. }),
            Self::Friend(action) => matches!(action, Friend::Pending | Friend::List),
            Self::Group(action) => !matches!(
                action,
                Group::Create { .. } | Group::Join(_) | Group::Leave(_) | Group::Send { .. }
            ),
        }
    }

    pub(crate) fn run(self, shared: &Shared, caller: Caller<'_>) -> Result<Effect, ServiceError> {
        match self {
            Self::Echo(echo) => Ok(Answer::Echo(echo).into()),
            Self::User(action) => user::run(shared, caller, action),
            Self::Message(action) => message::run(shared, caller, action),
            Self::Friend(action) => friend::run(shared, caller, action),
            Self::Group(action) => group::run(shared, caller, action),
        }
    }
}
