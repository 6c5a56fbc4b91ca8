//! Protobuf out.

use std::borrow::Cow;

use bytes::Bytes;
use gateway_codec::proto::im::{
    base::{BaseResponse, ErrorCode},
    friend_, group, message, push, user,
};
use prost::Message as _;

use crate::{services::Answer, wire::json};

/// Type name and bytes of a reply.
pub(crate) fn write(answer: Answer) -> (Cow<'static, str>, Bytes) {
    let base = Some(success());
    macro_rules! reply {
        ($name:literal, $message:expr) => {
            ($name.into(), $message.encode_to_vec().into())
        };
    }
    match answer {
        Answer::Echo(echo) => (echo.type_name.into(), echo.body),
        Answer::LoggedIn(user) => {
            reply!(
                "im.user.LoginResponse",
                user::LoginResponse {
                    base,
                    user: Some(user)
                }
            )
        }
        Answer::Registered(user) => {
            reply!(
                "im.user.RegisterResponse",
                user::RegisterResponse {
                    base,
                    user: Some(user)
                }
            )
        }
        Answer::UserInfo(user) => {
            reply!(
                "im.user.GetUserInfoResponse",
                user::GetUserInfoResponse {
                    base,
                    user: Some(user)
                }
            )
        }
        Answer::UserUpdated(user) => {
            reply!(
                "im.user.UpdateUserInfoResponse",
                user::UpdateUserInfoResponse {
                    base,
                    user: Some(user)
                }
            )
        }
        Answer::Users(users) => {
            reply!(
                "im.user.SearchUsersResponse",
                user::SearchUsersResponse { base, users }
            )
        }
        Answer::Sent(body) => {
            reply!(
                "im.message.SendMessageResponse",
                message::SendMessageResponse {
                    base,
                    message: Some(body)
                }
            )
        }
        Answer::Messages(messages) => {
            reply!(
                "im.message.PullMessageResponse",
                message::PullMessageResponse { base, messages }
            )
        }
        Answer::FriendAsked(request) => {
            reply!(
                "im.friend_.AddFriendResponse",
                friend_::AddFriendResponse {
                    base,
                    request: Some(request)
                }
            )
        }
        Answer::FriendAnswered => {
            reply!(
                "im.friend_.HandleFriendRequestResponse",
                friend_::HandleFriendRequestResponse { base }
            )
        }
        Answer::Friends(friends) => {
            reply!(
                "im.friend_.GetFriendListResponse",
                friend_::GetFriendListResponse { base, friends }
            )
        }
        Answer::FriendRequests(requests) => {
            reply!(
                "im.friend_.GetFriendRequestsResponse",
                friend_::GetFriendRequestsResponse { base, requests }
            )
        }
        Answer::GroupCreated(info) => {
            let group_id = info.group_record_id;
            reply!(
                "im.group.CreateGroupResponse",
                group::CreateGroupResponse {
                    base,
                    group: Some(info),
                    group_id
                }
            )
        }
        Answer::GroupJoined => reply!("im.group.JoinGroupResponse", group::JoinGroupResponse { base }),
        Answer::GroupLeft => reply!("im.group.LeaveGroupResponse", group::LeaveGroupResponse { base }),
        Answer::Group {
            group,
            members,
            joined,
        } => reply!(
            "im.group.GetGroupInfoResponse",
            group::GetGroupInfoResponse {
                base,
                group: Some(group),
                members,
                joined
            }
        ),
        Answer::GroupMembers(members) => {
            reply!(
                "im.group.GetGroupMembersResponse",
                group::GetGroupMembersResponse { base, members }
            )
        }
        Answer::Groups(groups) => {
            reply!(
                "im.group.GetGroupListResponse",
                group::GetGroupListResponse { base, groups }
            )
        }
        Answer::GroupsFound(groups) => {
            reply!(
                "im.group.SearchGroupsResponse",
                group::SearchGroupsResponse { base, groups }
            )
        }
        Answer::GroupSent(sent) => {
            reply!(
                "im.group.SendGroupMessageResponse",
                group::SendGroupMessageResponse {
                    base,
                    message: Some(sent)
                }
            )
        }
        Answer::GroupMessages(messages) => {
            reply!(
                "im.group.GetGroupMessagesResponse",
                group::GetGroupMessagesResponse { base, messages }
            )
        }
        Answer::Pushed { .. } => reply!("im.push.PushResponse", push::PushResponse { base }),
        other @ (Answer::FriendRemoved
        | Answer::Broadcast { .. }
        | Answer::Kicked(_)
        | Answer::Presence(_)
        | Answer::Faults(_)) => {
            reply!(
                "im.base.BaseResponse",
                BaseResponse {
                    payload: json::write(&other),
                    ..success()
                }
            )
        }
    }
}

fn success() -> BaseResponse {
    BaseResponse {
        error_code: ErrorCode::Success.into(),
        ..BaseResponse::default()
    }
}
