//! JSON in.

use gateway_codec::{proto::gateway::PushType, read_object};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    error::ServiceError,
    faults::FaultChange,
    options::ServiceKind,
    services::{
        Action, Quick, Slow,
        friend::FriendAction,
        group::GroupAction,
        message::MessageAction,
        push::PushAction,
        sign_in::{Password, Registration, SignIn},
        user::UserAction,
    },
    store::{Page, accounts::ProfileChange, messages::Draft},
};

/// Reads the data of one command; no data at all is an empty object.
pub(crate) fn read(kind: ServiceKind, cmd_id: u32, data: &[u8]) -> Result<Action, ServiceError> {
    if cmd_id == kind.control_command() {
        return faults(data);
    }
    let quick = match kind {
        ServiceKind::User if matches!(cmd_id, 1001 | 1003) => {
            return sign_in(cmd_id, data).map(|action| Action::Slow(Slow::SignIn(action)));
        }
        ServiceKind::Push => return push(cmd_id, data).map(|action| Action::Slow(Slow::Push(action))),
        ServiceKind::User => Quick::User(user(cmd_id, data)?),
        ServiceKind::Message => Quick::Message(message(cmd_id, data)?),
        // CommandID has the search for users among the friend commands.
        ServiceKind::Friend if cmd_id == 3006 => Quick::User(search(data)?),
        ServiceKind::Friend => Quick::Friend(friend(cmd_id, data)?),
        ServiceKind::Group => Quick::Group(group(cmd_id, data)?),
    };
    Ok(Action::Quick(quick))
}

fn parse<T: DeserializeOwned>(data: &[u8]) -> Result<T, ServiceError> {
    let text = std::str::from_utf8(data).map_err(|_| ServiceError::bad("data is not UTF-8"))?;
    let text = if text.is_empty() { "{}" } else { text };
    read_object(text).map_err(|error| ServiceError::bad(format!("data: {error}")))
}

fn unknown(cmd_id: u32) -> ServiceError {
    ServiceError::not_found(format!("no such command: {cmd_id}"))
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Account {
    username: String,
    account: String,
    #[serde(alias = "phone")]
    phone_number: String,
    email: String,
    password: String,
    nickname: String,
    avatar: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Change {
    nickname: Option<String>,
    avatar: Option<String>,
    gender: Option<i32>,
    signature: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Search {
    #[serde(alias = "q")]
    keyword: String,
    limit: i64,
}

fn search(data: &[u8]) -> Result<UserAction, ServiceError> {
    let Search { keyword, limit } = parse(data)?;
    Ok(UserAction::Search { keyword, limit })
}

fn sign_in(cmd_id: u32, data: &[u8]) -> Result<SignIn, ServiceError> {
    Ok(match cmd_id {
        1001 => {
            let a: Account = parse(data)?;
            let names = [a.username, a.account, a.phone_number, a.email];
            let name = names
                .into_iter()
                .find(|name| !name.is_empty())
                .unwrap_or_default();
            SignIn::Login {
                name,
                password: Password(a.password),
            }
        }
        1003 => {
            let a: Account = parse(data)?;
            SignIn::Register(Registration {
                account: if a.account.is_empty() {
                    a.username
                } else {
                    a.account
                },
                phone: a.phone_number,
                email: a.email,
                password: Password(a.password),
                nickname: a.nickname,
                avatar: a.avatar,
            })
        }
        _ => return Err(unknown(cmd_id)),
    })
}

fn user(cmd_id: u32, data: &[u8]) -> Result<UserAction, ServiceError> {
    Ok(match cmd_id {
        1004 => {
            #[derive(Deserialize, Default)]
            #[serde(default)]
            struct Data {
                #[serde(alias = "user_id")]
                uid: String,
                account: String,
            }
            let Data { uid, account } = parse(data)?;
            UserAction::Info { uid, account }
        }
        1005 => {
            let change: Change = parse(data)?;
            UserAction::Update(ProfileChange {
                nickname: change.nickname,
                avatar: change.avatar,
                gender: change.gender,
                signature: change.signature,
            })
        }
        _ => return Err(unknown(cmd_id)),
    })
}

fn message(cmd_id: u32, data: &[u8]) -> Result<MessageAction, ServiceError> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Send {
        #[serde(alias = "receiver_uid")]
        to_user: String,
        content: String,
        #[serde(alias = "msg_type")]
        r#type: i32,
        at_uids: String,
        ext: String,
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct History {
        #[serde(alias = "peer_uid")]
        chat_id: Text,
        since: i64,
        #[serde(alias = "before_time")]
        before: i64,
        limit: i64,
    }
    Ok(match cmd_id {
        2001 => {
            let Send {
                to_user,
                content,
                r#type,
                at_uids,
                ext,
            } = parse(data)?;
            let sender = String::new();
            MessageAction::Send(Draft {
                sender,
                receiver: to_user,
                content,
                kind: r#type,
                at_uids,
                ext,
            })
        }
        2002 | 2007 => {
            let History {
                chat_id,
                since,
                before,
                limit,
            } = parse(data)?;
            MessageAction::History {
                chat: chat_id.0,
                page: Page::clamped(since, before, limit),
            }
        }
        _ => return Err(unknown(cmd_id)),
    })
}

fn friend(cmd_id: u32, data: &[u8]) -> Result<FriendAction, ServiceError> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Who {
        #[serde(alias = "target_uid", alias = "uid", alias = "friend_uid")]
        to_uid: String,
        message: String,
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Verdict {
        #[serde(alias = "friend_id")]
        request_id: Text,
        accept: bool,
    }
    Ok(match cmd_id {
        3001 | 3101 => {
            let Who { to_uid, message } = parse(data)?;
            FriendAction::Ask { uid: to_uid, message }
        }
        3002 => FriendAction::Remove {
            uid: parse::<Who>(data)?.to_uid,
        },
        3003 => FriendAction::List,
        3004 => FriendAction::Pending,
        3005 => {
            let Verdict { request_id, accept } = parse(data)?;
            FriendAction::Answer {
                request: request_id.number("request_id")?,
                accept,
            }
        }
        _ => return Err(unknown(cmd_id)),
    })
}

fn group(cmd_id: u32, data: &[u8]) -> Result<GroupAction, ServiceError> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Create {
        name: String,
        avatar: String,
        members: Vec<String>,
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Which {
        group_id: Text,
        group_record_id: Text,
        content: String,
        since: i64,
        #[serde(alias = "before_time")]
        before: i64,
        limit: i64,
    }
    impl Which {
        fn id(&self) -> Result<u64, ServiceError> {
            let given = if self.group_id.0.is_empty() {
                &self.group_record_id
            } else {
                &self.group_id
            };
            given.number("group_id")
        }
    }
    Ok(match cmd_id {
        4001 => {
            let Create {
                name,
                avatar,
                members,
            } = parse(data)?;
            GroupAction::Create {
                name,
                avatar,
                members,
            }
        }
        4002 => GroupAction::Info(parse::<Which>(data)?.id()?),
        4003 => GroupAction::List,
        4007 => GroupAction::Join(parse::<Which>(data)?.id()?),
        4008 => GroupAction::Leave(parse::<Which>(data)?.id()?),
        4009 => GroupAction::Members(parse::<Which>(data)?.id()?),
        4010 => {
            let which: Which = parse(data)?;
            let page = Page::clamped(which.since, which.before, which.limit);
            GroupAction::Messages {
                group: which.id()?,
                page,
            }
        }
        4013 => {
            let Search { keyword, limit } = parse(data)?;
            GroupAction::Search { keyword, limit }
        }
        4014 => {
            let which: Which = parse(data)?;
            GroupAction::Send {
                group: which.id()?,
                content: which.content,
            }
        }
        _ => return Err(unknown(cmd_id)),
    })
}

fn push(cmd_id: u32, data: &[u8]) -> Result<PushAction, ServiceError> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Send {
        user_ids: Vec<String>,
        content: String,
        push_id: String,
        wait_ms: u32,
        all: bool,
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Kick {
        user_id: String,
        device_id: String,
        platform: String,
        reason: String,
    }
    let kind = match cmd_id {
        5002 => PushType::Message,
        5003 => PushType::Notification,
        5004 => PushType::System,
        5101 => {
            let Kick {
                user_id,
                device_id,
                platform,
                reason,
            } = parse(data)?;
            return Ok(PushAction::Kick {
                user: user_id,
                device: device_id,
                platform,
                reason,
            });
        }
        5102 => return Ok(PushAction::Presence(parse::<Send>(data)?.user_ids)),
        _ => return Err(unknown(cmd_id)),
    };
    let Send {
        user_ids,
        content,
        push_id,
        wait_ms,
        all,
    } = parse(data)?;
    if all {
        return Ok(PushAction::Broadcast { content, kind });
    }
    Ok(PushAction::Send {
        to: user_ids,
        content,
        kind,
        push_id,
        wait_ms,
    })
}

fn faults(data: &[u8]) -> Result<Action, ServiceError> {
    // A misspelt name would look like a fault that has no effect.
    #[derive(Deserialize, Default)]
    #[serde(default, deny_unknown_fields)]
    struct Faults {
        latency_ms: Option<u64>,
        error_rate: Option<f64>,
        hang_rate: Option<f64>,
        error_code: Option<u16>,
        serving: Option<bool>,
    }
    let Faults {
        latency_ms,
        error_rate,
        hang_rate,
        error_code,
        serving,
    } = parse(data)?;
    Ok(Action::Slow(Slow::Faults(FaultChange {
        latency_ms,
        error_rate,
        hang_rate,
        error_code,
        serving,
    })))
}

/// An id that some clients write as a number and others as a string of its digits.
#[derive(Default)]
struct Text(String);

impl Text {
    fn number(&self, name: &'static str) -> Result<u64, ServiceError> {
        self.0
            .parse()
            .ok()
            .filter(|id| *id > 0)
            .ok_or_else(|| ServiceError::bad(format!("{name} is needed, a number")))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(u64),
            Text(String),
        }
        Ok(Self(match Either::deserialize(deserializer)? {
            Either::Number(number) => number.to_string(),
            Either::Text(text) => text,
        }))
    }
}

#[cfg(test)]
mod tests;
