//! Direct messages and the history of conversations.
//!
//! A message is kept and, unless it is for oneself, pushed to its receiver; whether a device took it is the
//! gateway's to know, which is why the answer comes in two forms (see `wire`).

use gateway_codec::proto::{
    gateway::{ConversationType, Push, PushOrder, PushType},
    im::message::MessageBody,
};

use crate::{
    error::ServiceError,
    services::{Answer, Caller, Effect, Shared, check_content, new_push_id, signed},
    store::{
        Page,
        messages::{Conversation, Draft, Message},
    },
};

/// What the message service can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MessageAction {
    /// The sender in the draft is ignored: it is who asks.
    Send(Draft),
    /// `chat` is a peer's user id or a group id in digits.
    History { chat: String, page: Page },
}

const LONGEST_EXTRA: usize = 4 << 10;

pub(crate) fn run(
    shared: &Shared,
    caller: Caller<'_>,
    action: MessageAction,
) -> Result<Effect, ServiceError> {
    match action {
        MessageAction::Send(draft) => send(shared, caller, draft),
        MessageAction::History { chat, page } => history(shared, caller, &chat, page),
    }
}

fn send(shared: &Shared, caller: Caller<'_>, draft: Draft) -> Result<Effect, ServiceError> {
    let sender = caller.user()?;
    if draft.receiver.is_empty() {
        return Err(ServiceError::bad("to_user is needed"));
    }
    check_content(&draft.content)?;
    if draft.at_uids.len() > LONGEST_EXTRA || draft.ext.len() > LONGEST_EXTRA {
        return Err(ServiceError::bad("ext and at_uids have at most 4096 bytes"));
    }
    let store = &shared.store;
    if !store.accounts.exists(&draft.receiver) {
        return Err(ServiceError::not_found("no such user"));
    }
    let draft = Draft {
        sender: sender.to_owned(),
        ..draft
    };
    let conversation = Conversation::direct(sender, &draft.receiver);
    let message = store.messages.append(conversation, draft, &store.ids, caller.now);
    let effect = Effect::from(Answer::Sent(body_of(&message)));
    if message.draft.receiver == sender {
        return Ok(effect);
    }
    let push = Push {
        push_id: new_push_id(),
        r#type: PushType::Message.into(),
        content: message.draft.content.clone(),
        message_id: message.id.to_string(),
        sender_uid: sender.to_owned(),
        conversation_type: ConversationType::Direct.into(),
        // The conversation as the receiver names it: by the peer.
        conversation_id: sender.to_owned(),
    };
    let to = vec![message.draft.receiver.clone()];
    Ok(effect.with_push(PushOrder {
        push: Some(push),
        user_ids: to,
        device: None,
    }))
}

fn history(shared: &Shared, caller: Caller<'_>, chat: &str, page: Page) -> Result<Effect, ServiceError> {
    let own = caller.user()?;
    if chat.is_empty() {
        return Err(ServiceError::bad("chat_id is needed"));
    }
    let store = &shared.store;
    let group = chat.parse().ok().filter(|group| store.groups.exists(*group));
    let conversation = match group {
        Some(group) => {
            store.groups.admits(group, own)?;
            Conversation::Group(group)
        }
        None if store.accounts.exists(chat) => Conversation::direct(own, chat),
        None => return Err(ServiceError::not_found("no such conversation")),
    };
    let messages = store.messages.page(&conversation, page);
    Ok(Answer::Messages(messages.iter().map(|message| body_of(message)).collect()).into())
}

fn body_of(message: &Message) -> MessageBody {
    let draft = &message.draft;
    MessageBody {
        message_id: message.id.to_string(),
        r#type: draft.kind,
        content: draft.content.clone(),
        at_uids: draft.at_uids.clone(),
        ext: draft.ext.clone(),
        sender_uid: draft.sender.clone(),
        receiver_uid: draft.receiver.clone(),
        create_time: signed(message.created),
        ..MessageBody::default()
    }
}
