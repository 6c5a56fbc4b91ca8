//! The rules of the five services, each written once.
//!
//! An [`Action`] is a command that `wire` has read, from JSON or protobuf; an [`Effect`] is what came of it,
//! which `wire` writes in the encoding of the request. Records are the `im.*` structs, because the contract
//! gives JSON their field names. Nothing here knows about encodings, gRPC streams or request ids.

mod action;
pub(crate) mod friend;
pub(crate) mod group;
pub(crate) mod message;
pub(crate) mod push;
pub(crate) mod sign_in;
pub(crate) mod user;

use std::sync::Arc;

use gateway_codec::{
    Code,
    proto::{
        backend::Identity,
        gateway::{DeviceOutcome, PushOrder, UserPresence},
        im,
    },
};

pub(crate) use action::{Action, Echo, Quick, Slow};

use crate::{
    error::ServiceError,
    faults::FaultSettings,
    gateway_link::GatewayLink,
    passwords::{HashError, Passwords},
    store::{Store, accounts::Profile},
};

/// What all services of a process share.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) passwords: Passwords,
    pub(crate) gateway: GatewayLink,
}

/// The accounts that everybody may use to try things, all with the same password.
const KNOWN_ACCOUNTS: [(&str, &[&str]); 4] = [
    ("alice", &[]),
    ("bob", &[]),
    ("carol", &[]),
    ("admin", &["admin"]),
];
const KNOWN_PASSWORD: &str = "password";

impl Shared {
    /// A store with the known accounts and `made` further ones, `user1` and so on.
    pub(crate) fn new(made: usize, gateway: GatewayLink, now: u64) -> Result<Arc<Self>, HashError> {
        let passwords = Passwords::new()?;
        let store = Store::new();
        let hash = passwords.hash_now(KNOWN_PASSWORD)?;
        let known = KNOWN_ACCOUNTS.map(|(name, roles)| (name.to_owned(), roles));
        let made = (1..=made).map(|number| (format!("user{number}"), &[][..]));
        for (name, roles) in known.into_iter().chain(made) {
            let profile = Profile {
                uid: name.clone(),
                account: name.clone(),
                nickname: name.clone(),
                create_time: now,
                roles: roles.iter().map(|role| (*role).to_owned()).collect(),
                ..Profile::default()
            };
            if store.accounts.add(profile, &[&name], Arc::clone(&hash)).is_err() {
                break; // The store is full: it says so to whoever registers.
            }
        }
        Ok(Arc::new(Self {
            store,
            passwords,
            gateway,
        }))
    }
}

/// Who asks, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    /// Empty before login.
    pub(crate) user_id: &'a str,
    /// Unix milliseconds.
    pub(crate) now: u64,
}

impl<'a> Caller<'a> {
    /// The user, or 401: almost every command needs one, and the gateway is not trusted to have checked.
    pub(crate) fn user(&self) -> Result<&'a str, ServiceError> {
        if self.user_id.is_empty() {
            return Err(ServiceError::new(Code::Unauthorized, "log in first"));
        }
        Ok(self.user_id)
    }
}

/// What a command came to, as the client is told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Echo(Echo),
    LoggedIn(im::user::UserInfo),
    Registered(im::user::UserInfo),
    UserInfo(im::user::UserInfo),
    UserUpdated(im::user::UserInfo),
    Users(Vec<im::user::UserInfo>),
    Sent(im::message::MessageBody),
    Messages(Vec<im::message::MessageBody>),
    FriendAsked(im::friend_::FriendRequest),
    FriendAnswered,
    FriendRemoved,
    Friends(Vec<im::friend_::FriendInfo>),
    FriendRequests(Vec<im::friend_::FriendRequest>),
    GroupCreated(im::group::GroupInfo),
    GroupJoined,
    GroupLeft,
    Group {
        group: im::group::GroupInfo,
        members: Vec<im::group::GroupMember>,
        joined: bool,
    },
    GroupMembers(Vec<im::group::GroupMember>),
    Groups(Vec<im::group::GroupInfo>),
    GroupsFound(Vec<im::group::GroupInfo>),
    GroupSent(im::group::GroupMessage),
    GroupMessages(Vec<im::group::GroupMessage>),
    Pushed {
        push_id: String,
        outcomes: Vec<DeviceOutcome>,
    },
    Broadcast {
        push_id: String,
        queued: u64,
        slow: u64,
    },
    Kicked(u32),
    Presence(Vec<UserPresence>),
    Faults(FaultSettings),
}

/// An answer, who it logs in, and what is to be pushed because of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Effect {
    pub(crate) answer: Answer,
    pub(crate) identity: Option<Identity>,
    pub(crate) pushes: Vec<PushOrder>,
}

impl From<Answer> for Effect {
    fn from(answer: Answer) -> Self {
        Self {
            answer,
            identity: None,
            pushes: Vec::new(),
        }
    }
}

impl Effect {
    pub(crate) fn with_push(mut self, order: PushOrder) -> Self {
        self.pushes.push(order);
        self
    }
}

/// The longest content of a message, in bytes.
const LONGEST_CONTENT: usize = 64 << 10;

/// Content of a message is 1 byte to 64 KiB.
pub(crate) fn check_content(content: &str) -> Result<(), ServiceError> {
    if content.is_empty() {
        return Err(ServiceError::bad("content is empty"));
    }
    if content.len() > LONGEST_CONTENT {
        return Err(ServiceError::bad("content is over 65536 bytes"));
    }
    Ok(())
}

/// Times and numbers of `im.*` that are signed on the wire.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A push id that no other push has, on any back end.
pub(crate) fn new_push_id() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}
