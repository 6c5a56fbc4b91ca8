//! Protobuf in.

use bytes::Bytes;
use gateway_codec::proto::{
    gateway::PushType,
    im::{friend_, group, message, push, user},
};
use prost::Message;

use crate::{
    error::ServiceError,
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

/// Reads a message of the named type; 404 for a type that is none of this service's requests.
pub(crate) fn read(kind: ServiceKind, type_name: &str, body: Bytes) -> Result<Action, ServiceError> {
    let own = match kind {
        ServiceKind::User => match sign_in(type_name, body.clone())? {
            Some(action) => Some(Action::Slow(Slow::SignIn(action))),
            None => user_action(type_name, body)?.map(Quick::User).map(Action::Quick),
        },
        ServiceKind::Message => message_action(type_name, body)?
            .map(Quick::Message)
            .map(Action::Quick),
        // CommandID has the search for users among the friend commands.
        ServiceKind::Friend if type_name == "im.user.SearchUsersRequest" => {
            user_action(type_name, body)?.map(Quick::User).map(Action::Quick)
        }
        ServiceKind::Friend => friend_action(type_name, body)?
            .map(Quick::Friend)
            .map(Action::Quick),
        ServiceKind::Group => group_action(type_name, body)?
            .map(Quick::Group)
            .map(Action::Quick),
        ServiceKind::Push => push_action(type_name, body)?.map(|action| Action::Slow(Slow::Push(action))),
    };
    own.ok_or_else(|| ServiceError::not_found("the service does not take messages of this type"))
}

fn decode<T: Message + Default>(body: Bytes) -> Result<T, ServiceError> {
    T::decode(body).map_err(|_| ServiceError::bad("the protobuf message cannot be read"))
}

fn sign_in(type_name: &str, body: Bytes) -> Result<Option<SignIn>, ServiceError> {
    Ok(Some(match type_name {
        "im.user.LoginRequest" => {
            let request: user::LoginRequest = decode(body)?;
            let names = [request.account, request.phone_number, request.email];
            let name = names
                .into_iter()
                .find(|name| !name.is_empty())
                .unwrap_or_default();
            SignIn::Login {
                name,
                password: Password(request.password),
            }
        }
        "im.user.RegisterRequest" => {
            let request: user::RegisterRequest = decode(body)?;
            SignIn::Register(Registration {
                account: request.account,
                phone: request.phone_number,
                email: request.email,
                password: Password(request.password),
                nickname: request.nickname,
                avatar: request.avatar,
            })
        }
        _ => return Ok(None),
    }))
}

fn user_action(type_name: &str, body: Bytes) -> Result<Option<UserAction>, ServiceError> {
    Ok(Some(match type_name {
        "im.user.GetUserInfoRequest" => {
            let request: user::GetUserInfoRequest = decode(body)?;
            UserAction::Info {
                uid: request.uid,
                account: request.account,
            }
        }
        "im.user.UpdateUserInfoRequest" => {
            let request: user::UpdateUserInfoRequest = decode(body)?;
            let user = request.user.ok_or_else(|| ServiceError::bad("user is needed"))?;
            // proto3 cannot tell an empty string from none: empty stays as it is.
            let given = |text: String| Some(text).filter(|text| !text.is_empty());
            UserAction::Update(ProfileChange {
                nickname: given(user.nickname),
                avatar: given(user.avatar),
                gender: Some(user.gender).filter(|gender| *gender != 0),
                signature: given(user.signature),
            })
        }
        "im.user.SearchUsersRequest" => {
            let request: user::SearchUsersRequest = decode(body)?;
            UserAction::Search {
                keyword: request.keyword,
                limit: request.limit.into(),
            }
        }
        _ => return Ok(None),
    }))
}

fn message_action(type_name: &str, body: Bytes) -> Result<Option<MessageAction>, ServiceError> {
    Ok(Some(match type_name {
        "im.message.SendMessageRequest" => {
            let request: message::SendMessageRequest = decode(body)?;
            let body = request.body.ok_or_else(|| ServiceError::bad("body is needed"))?;
            MessageAction::Send(Draft {
                sender: String::new(),
                receiver: body.receiver_uid,
                content: body.content,
                kind: body.r#type,
                at_uids: body.at_uids,
                ext: body.ext,
            })
        }
        "im.message.PullMessageRequest" => {
            let request: message::PullMessageRequest = decode(body)?;
            let page = Page::clamped(request.since, 0, request.limit.into());
            MessageAction::History {
                chat: request.session_id,
                page,
            }
        }
        _ => return Ok(None),
    }))
}

fn friend_action(type_name: &str, body: Bytes) -> Result<Option<FriendAction>, ServiceError> {
    Ok(Some(match type_name {
        "im.friend_.AddFriendRequest" => {
            let request: friend_::AddFriendRequest = decode(body)?;
            FriendAction::Ask {
                uid: request.to_uid,
                message: request.message,
            }
        }
        "im.friend_.HandleFriendRequestRequest" => {
            let request: friend_::HandleFriendRequestRequest = decode(body)?;
            let id = id_of(&request.request_id, 0, "request_id")?;
            FriendAction::Answer {
                request: id,
                accept: request.accept,
            }
        }
        "im.friend_.GetFriendListRequest" => {
            decode::<friend_::GetFriendListRequest>(body)?;
            FriendAction::List
        }
        "im.friend_.GetFriendRequestsRequest" => {
            decode::<friend_::GetFriendRequestsRequest>(body)?;
            FriendAction::Pending
        }
        _ => return Ok(None),
    }))
}

fn group_action(type_name: &str, body: Bytes) -> Result<Option<GroupAction>, ServiceError> {
    Ok(Some(match type_name {
        "im.group.CreateGroupRequest" => {
            let request: group::CreateGroupRequest = decode(body)?;
            GroupAction::Create {
                name: request.name,
                avatar: request.avatar,
                members: request.members,
            }
        }
        "im.group.JoinGroupRequest" => GroupAction::Join(id_of(
            "",
            decode::<group::JoinGroupRequest>(body)?.group_id,
            "group_id",
        )?),
        "im.group.LeaveGroupRequest" => GroupAction::Leave(id_of(
            "",
            decode::<group::LeaveGroupRequest>(body)?.group_id,
            "group_id",
        )?),
        "im.group.GetGroupInfoRequest" => {
            let request: group::GetGroupInfoRequest = decode(body)?;
            GroupAction::Info(id_of(&request.group_id, request.group_record_id, "group_id")?)
        }
        "im.group.GetGroupMembersRequest" => {
            let request: group::GetGroupMembersRequest = decode(body)?;
            GroupAction::Members(id_of(&request.group_id, request.group_record_id, "group_id")?)
        }
        "im.group.GetGroupListRequest" => {
            decode::<group::GetGroupListRequest>(body)?;
            GroupAction::List
        }
        "im.group.SearchGroupsRequest" => {
            let request: group::SearchGroupsRequest = decode(body)?;
            GroupAction::Search {
                keyword: request.keyword,
                limit: request.limit.into(),
            }
        }
        "im.group.GetGroupMessagesRequest" => {
            let request: group::GetGroupMessagesRequest = decode(body)?;
            let group = id_of(&request.group_id, request.group_record_id, "group_id")?;
            GroupAction::Messages {
                group,
                page: Page::clamped(request.since, 0, request.limit.into()),
            }
        }
        "im.group.SendGroupMessageRequest" => {
            let request: group::SendGroupMessageRequest = decode(body)?;
            let group = id_of("", request.group_id, "group_id")?;
            GroupAction::Send {
                group,
                content: request.content,
            }
        }
        _ => return Ok(None),
    }))
}

fn push_action(type_name: &str, body: Bytes) -> Result<Option<PushAction>, ServiceError> {
    if type_name != "im.push.PushRequest" {
        return Ok(None);
    }
    let request: push::PushRequest = decode(body)?;
    let body = request.body.ok_or_else(|| ServiceError::bad("body is needed"))?;
    let to = request
        .header
        .map(|header| header.to_uid)
        .filter(|to| !to.is_empty());
    Ok(Some(PushAction::Send {
        to: to.into_iter().collect(),
        kind: PushType::try_from(body.r#type).map_err(|_| ServiceError::bad("no such push type"))?,
        content: body.content,
        push_id: body.push_id,
        wait_ms: 0,
    }))
}

/// Ids come as digits or as a number; digits win.
fn id_of(digits: &str, number: u64, name: &'static str) -> Result<u64, ServiceError> {
    let id = if digits.is_empty() {
        Some(number)
    } else {
        digits.parse().ok()
    };
    id.filter(|id| *id > 0)
        .ok_or_else(|| ServiceError::bad(format!("{name} is needed, a number")))
}
