//! System pushes, kicks and presence, by the gateway's own gRPC API.
//!
//! The other services name their pushes in the reply; this one calls `mychat.gateway.v1.Gateway`, as a back
//! end does that has something to say unasked. Only accounts with the role `admin` may use it, since it
//! reaches anybody.

use gateway_codec::proto::gateway::{ConversationType, KickRequest, Push, PushOrder, PushRequest, PushType};

use crate::{
    error::ServiceError,
    services::{Answer, Caller, Effect, Shared, check_content, new_push_id},
};

/// What the push service can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PushAction {
    /// An empty `push_id` is made up here, once, so that a repeated call cannot deliver twice.
    Send {
        to: Vec<String>,
        content: String,
        kind: PushType,
        push_id: String,
        wait_ms: u32,
    },
    Broadcast {
        content: String,
        kind: PushType,
    },
    Kick {
        user: String,
        device: String,
        platform: String,
        reason: String,
    },
    Presence(Vec<String>),
}

const MOST_USERS: usize = 1_000;
const LONGEST_WAIT_MS: u32 = 30_000;
const LONGEST_REASON: usize = 100;

pub(crate) async fn run(
    shared: &Shared,
    caller: Caller<'_>,
    action: PushAction,
) -> Result<Effect, ServiceError> {
    let own = caller.user()?;
    if !shared.store.accounts.has_role(own, "admin") {
        return Err(ServiceError::forbidden("the role admin is needed"));
    }
    Ok(match action {
        PushAction::Send {
            to,
            content,
            kind,
            push_id,
            wait_ms,
        } => {
            check_content(&content)?;
            check_users(&to)?;
            if wait_ms > LONGEST_WAIT_MS {
                return Err(ServiceError::bad("wait_ms is at most 30000"));
            }
            let push_id = if push_id.is_empty() {
                new_push_id()
            } else {
                push_id
            };
            let order = PushOrder {
                push: Some(system(push_id, content, kind)),
                user_ids: to,
                device: None,
            };
            let done = shared
                .gateway
                .push(PushRequest {
                    order: Some(order),
                    wait_ms,
                })
                .await?;
            Answer::Pushed {
                push_id: done.push_id,
                outcomes: done.outcomes,
            }
            .into()
        }
        PushAction::Broadcast { content, kind } => {
            check_content(&content)?;
            let done = shared
                .gateway
                .broadcast(system(new_push_id(), content, kind))
                .await?;
            Answer::Broadcast {
                push_id: done.push_id,
                queued: done.queued,
                slow: done.slow,
            }
            .into()
        }
        PushAction::Kick {
            user,
            device,
            platform,
            reason,
        } => {
            if user.is_empty() || reason.len() > LONGEST_REASON {
                return Err(ServiceError::bad(
                    "user_id is needed, and a reason has at most 100 bytes",
                ));
            }
            let kick = KickRequest {
                user_id: user,
                device_id: device,
                platform,
                reason,
            };
            Answer::Kicked(shared.gateway.kick(kick).await?).into()
        }
        PushAction::Presence(users) => {
            check_users(&users)?;
            Answer::Presence(shared.gateway.presence(users).await?).into()
        }
    })
}

fn system(push_id: String, content: String, kind: PushType) -> Push {
    Push {
        push_id,
        r#type: kind.into(),
        content,
        message_id: String::new(),
        sender_uid: String::new(),
        conversation_type: ConversationType::System.into(),
        conversation_id: "system".to_owned(),
    }
}

fn check_users(users: &[String]) -> Result<(), ServiceError> {
    if users.is_empty() || users.len() > MOST_USERS {
        return Err(ServiceError::bad("user_ids names 1 to 1000 users"));
    }
    Ok(())
}
