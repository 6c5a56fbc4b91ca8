//! Friendships: ask, answer, list, end.
//!
//! The other side learns of a request and of its acceptance by a push of type notification in the
//! conversation of type system; a refusal is not told.

use gateway_codec::proto::{
    gateway::{ConversationType, Push, PushOrder, PushType},
    im::friend_::{FriendInfo, FriendRequest, FriendRequestStatus},
};

use crate::{
    error::ServiceError,
    services::{Answer, Caller, Effect, Shared, new_push_id, signed},
    store::friends::{Asked, PendingRequest},
};

/// What the friend service can be asked; searching users is the user service's rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FriendAction {
    Ask { uid: String, message: String },
    Answer { request: u64, accept: bool },
    Pending,
    List,
    Remove { uid: String },
}

const LONGEST_GREETING: usize = 512;

pub(crate) fn run(shared: &Shared, caller: Caller<'_>, action: FriendAction) -> Result<Effect, ServiceError> {
    let own = caller.user()?;
    let friends = &shared.store.friends;
    match action {
        FriendAction::Ask { uid, message } => ask(shared, caller, &uid, &message),
        FriendAction::Answer { request, accept } => {
            let request = friends.answer(own, request, accept, caller.now)?;
            let effect = Effect::from(Answer::FriendAnswered);
            Ok(if accept {
                effect.with_push(accepted(own, &request.from))
            } else {
                effect
            })
        }
        FriendAction::Pending => {
            let waiting = friends.pending(own);
            Ok(Answer::FriendRequests(
                waiting
                    .iter()
                    .map(|r| shown(shared, r, FriendRequestStatus::Pending))
                    .collect(),
            )
            .into())
        }
        FriendAction::List => {
            let list = friends.of(own).into_iter().map(|friend| FriendInfo {
                nickname: shared.store.accounts.nickname(&friend.uid),
                uid: friend.uid,
                add_time: signed(friend.since),
                friend_id: friend.id,
                status: FriendRequestStatus::Accepted.into(),
                ..FriendInfo::default()
            });
            Ok(Answer::Friends(list.collect()).into())
        }
        FriendAction::Remove { uid } => {
            friends.remove(own, &uid)?;
            Ok(Answer::FriendRemoved.into())
        }
    }
}

fn ask(shared: &Shared, caller: Caller<'_>, uid: &str, message: &str) -> Result<Effect, ServiceError> {
    let own = caller.user()?;
    if uid.is_empty() {
        return Err(ServiceError::bad("to_uid is needed"));
    }
    if uid == own {
        return Err(ServiceError::bad("one is one's own friend already"));
    }
    if message.len() > LONGEST_GREETING {
        return Err(ServiceError::bad("message is over 512 bytes"));
    }
    let store = &shared.store;
    if !store.accounts.exists(uid) {
        return Err(ServiceError::not_found("no such user"));
    }
    Ok(
        match store.friends.ask(own, uid, message, &store.ids, caller.now)? {
            Asked::Waiting(request) => {
                let push = notification(own, message);
                Effect::from(Answer::FriendAsked(shown(
                    shared,
                    &request,
                    FriendRequestStatus::Pending,
                )))
                .with_push(PushOrder {
                    push: Some(push),
                    user_ids: vec![uid.to_owned()],
                    device: None,
                })
            }
            Asked::Friends(request) => Effect::from(Answer::FriendAsked(shown(
                shared,
                &request,
                FriendRequestStatus::Accepted,
            )))
            .with_push(accepted(own, uid)),
        },
    )
}

fn accepted(by: &str, asked_by: &str) -> PushOrder {
    let push = notification(by, "friend request accepted");
    PushOrder {
        push: Some(push),
        user_ids: vec![asked_by.to_owned()],
        device: None,
    }
}

fn notification(from: &str, content: &str) -> Push {
    let content = if content.is_empty() {
        "friend request"
    } else {
        content
    };
    Push {
        push_id: new_push_id(),
        r#type: PushType::Notification.into(),
        content: content.to_owned(),
        message_id: String::new(),
        sender_uid: from.to_owned(),
        conversation_type: ConversationType::System.into(),
        conversation_id: from.to_owned(),
    }
}

fn shown(shared: &Shared, request: &PendingRequest, status: FriendRequestStatus) -> FriendRequest {
    FriendRequest {
        request_id: request.id.to_string(),
        from_uid: request.from.clone(),
        to_uid: request.to.clone(),
        message: request.message.clone(),
        status: status.into(),
        create_time: signed(request.created),
        friend_id: request.id,
        nickname: shared.store.accounts.nickname(&request.from),
    }
}
