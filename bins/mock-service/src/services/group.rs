//! Groups: make, join, leave, look, talk.
//!
//! Whoever is named when a group is made is in it at once. Anybody may look at a group and join it; only
//! members see and send its messages. A message is one push order to all other members.

use gateway_codec::proto::{
    gateway::{ConversationType, Push, PushOrder, PushType},
    im::group::{GroupInfo, GroupMember, GroupMessage, GroupRole},
};

use crate::{
    error::ServiceError,
    services::{Answer, Caller, Effect, Shared, check_content, new_push_id, signed},
    store::{
        Page,
        groups::{Group, Member, Summary},
        messages::{Conversation, Draft, Message},
    },
};

/// What the group service can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GroupAction {
    Create {
        name: String,
        avatar: String,
        members: Vec<String>,
    },
    Join(u64),
    Leave(u64),
    Info(u64),
    Members(u64),
    List,
    Search {
        keyword: String,
        limit: i64,
    },
    Messages {
        group: u64,
        page: Page,
    },
    Send {
        group: u64,
        content: String,
    },
}

const LONGEST_NAME: usize = 64;
const LONGEST_AVATAR: usize = 512;
const MOST_FOUND: usize = 100;
const DEFAULT_FOUND: usize = 20;

pub(crate) fn run(shared: &Shared, caller: Caller<'_>, action: GroupAction) -> Result<Effect, ServiceError> {
    let own = caller.user()?;
    let groups = &shared.store.groups;
    Ok(match action {
        GroupAction::Create {
            name,
            avatar,
            members,
        } => create(shared, caller, name, avatar, members)?,
        GroupAction::Join(group) => {
            groups.join(group, own, caller.now)?;
            Answer::GroupJoined.into()
        }
        GroupAction::Leave(group) => {
            groups.leave(group, own)?;
            Answer::GroupLeft.into()
        }
        GroupAction::Info(group) => {
            let group = groups.get(group)?;
            let (members, joined) = (members_of(shared, &group), group.has(own));
            Answer::Group {
                group: info(&Summary::from(&group)),
                members,
                joined,
            }
            .into()
        }
        GroupAction::Members(group) => Answer::GroupMembers(members_of(shared, &groups.get(group)?)).into(),
        GroupAction::List => Answer::Groups(groups.of(own).iter().map(info).collect()).into(),
        GroupAction::Search { keyword, limit } => {
            if keyword.is_empty() || keyword.len() > LONGEST_NAME {
                return Err(ServiceError::bad("keyword has 1 to 64 bytes"));
            }
            let limit = usize::try_from(limit)
                .ok()
                .filter(|limit| *limit > 0)
                .unwrap_or(DEFAULT_FOUND);
            let found = groups.search(&keyword, limit.min(MOST_FOUND));
            Answer::GroupsFound(found.iter().map(info).collect()).into()
        }
        GroupAction::Messages { group, page } => {
            groups.admits(group, own)?;
            let messages = shared.store.messages.page(&Conversation::Group(group), page);
            Answer::GroupMessages(messages.iter().map(|m| message_of(shared, group, m)).collect()).into()
        }
        GroupAction::Send { group, content } => send(shared, caller, group, content)?,
    })
}

fn create(
    shared: &Shared,
    caller: Caller<'_>,
    name: String,
    avatar: String,
    invited: Vec<String>,
) -> Result<Effect, ServiceError> {
    let own = caller.user()?;
    if name.trim().is_empty() || name.len() > LONGEST_NAME {
        return Err(ServiceError::bad("name has 1 to 64 bytes"));
    }
    if avatar.len() > LONGEST_AVATAR {
        return Err(ServiceError::bad("avatar is over 512 bytes"));
    }
    let mut members: Vec<Member> = Vec::with_capacity(invited.len() + 1);
    let mut seen = std::collections::HashSet::new();
    for uid in std::iter::once(own.to_owned()).chain(invited) {
        if uid != own && !shared.store.accounts.exists(&uid) {
            return Err(ServiceError::not_found("an invited user does not exist"));
        }
        if seen.insert(uid.clone()) {
            members.push(Member {
                uid,
                joined: caller.now,
            });
        }
    }
    let id = shared.store.ids.next(caller.now);
    let group = Group {
        id,
        name,
        avatar,
        owner: own.to_owned(),
        created: caller.now,
        members,
    };
    let shown = info(&Summary::from(&group));
    shared.store.groups.create(group)?;
    Ok(Answer::GroupCreated(shown).into())
}

fn send(shared: &Shared, caller: Caller<'_>, group: u64, content: String) -> Result<Effect, ServiceError> {
    let sender = caller.user()?;
    check_content(&content)?;
    let store = &shared.store;
    let others = store.groups.others(group, sender)?;
    let draft = Draft {
        sender: sender.to_owned(),
        receiver: group.to_string(),
        content,
        ..Draft::default()
    };
    let message = store
        .messages
        .append(Conversation::Group(group), draft, &store.ids, caller.now);
    let effect = Effect::from(Answer::GroupSent(message_of(shared, group, &message)));
    if others.is_empty() {
        return Ok(effect);
    }
    let push = Push {
        push_id: new_push_id(),
        r#type: PushType::Message.into(),
        content: message.draft.content.clone(),
        message_id: message.id.to_string(),
        sender_uid: sender.to_owned(),
        conversation_type: ConversationType::Group.into(),
        conversation_id: group.to_string(),
    };
    Ok(effect.with_push(PushOrder {
        push: Some(push),
        user_ids: others,
        device: None,
    }))
}

fn info(group: &Summary) -> GroupInfo {
    GroupInfo {
        group_id: group.id.to_string(),
        name: group.name.clone(),
        avatar: group.avatar.clone(),
        owner_uid: group.owner.clone(),
        create_time: signed(group.created),
        group_record_id: group.id,
        member_count: i32::try_from(group.members).unwrap_or(i32::MAX),
        ..GroupInfo::default()
    }
}

fn members_of(shared: &Shared, group: &Group) -> Vec<GroupMember> {
    let members = group.members.iter().zip(1_i64..);
    members
        .map(|(member, number)| GroupMember {
            uid: member.uid.clone(),
            role: if member.uid == group.owner {
                GroupRole::Owner
            } else {
                GroupRole::Member
            }
            .into(),
            nickname: shared.store.accounts.nickname(&member.uid),
            is_muted: 0,
            join_time: signed(member.joined),
            member_record_id: number,
        })
        .collect()
}

fn message_of(shared: &Shared, group: u64, message: &Message) -> GroupMessage {
    GroupMessage {
        msg_id: message.id,
        group_id: group,
        sender_uid: message.draft.sender.clone(),
        sender_nickname: shared.store.accounts.nickname(&message.draft.sender),
        content: message.draft.content.clone(),
        create_time: signed(message.created),
    }
}
