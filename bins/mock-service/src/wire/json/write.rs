//! JSON out. Numbers are below 2^53; enums are their numbers.

use bytes::Bytes;
use gateway_codec::proto::{
    gateway::{DeviceOutcome, Outcome, UserPresence},
    im::{
        friend_::{FriendInfo, FriendRequest},
        group::{GroupInfo, GroupMember, GroupMessage},
        message::MessageBody,
        user::UserInfo,
    },
};
use serde_json::{Value, json};

use crate::{services::Answer, store::millis};

/// The data of a reply.
pub(crate) fn write(answer: &Answer) -> Bytes {
    let value = match answer {
        Answer::Echo(echo) => return echo.body.clone(),
        Answer::LoggedIn(user) | Answer::Registered(user) => json!({ "user_info": profile_json(user) }),
        Answer::UserInfo(user) | Answer::UserUpdated(user) => {
            // `user` is the protobuf name, `profile` the web client's.
            json!({ "user": profile_json(user), "profile": profile_json(user) })
        }
        Answer::Users(users) => json!({ "users": list(users, profile_json) }),
        Answer::Sent(body) => json!({ "message_id": body.message_id, "status": "sent" }),
        Answer::Messages(messages) => json!({ "messages": list(messages, message) }),
        Answer::FriendAsked(request) => json!({ "request": friend_request(request) }),
        Answer::FriendAnswered | Answer::FriendRemoved | Answer::GroupJoined | Answer::GroupLeft => json!({}),
        Answer::Friends(friends) => json!({ "friends": list(friends, friend) }),
        Answer::FriendRequests(requests) => json!({ "requests": list(requests, friend_request) }),
        Answer::GroupCreated(info) => json!({ "group": group(info), "group_id": info.group_record_id }),
        Answer::Group {
            group: info,
            members,
            joined,
        } => {
            json!({ "group": group(info), "members": list(members, member), "joined": joined })
        }
        Answer::GroupMembers(members) => json!({ "members": list(members, member) }),
        Answer::Groups(groups) | Answer::GroupsFound(groups) => json!({ "groups": list(groups, group) }),
        Answer::GroupSent(sent) => json!({ "message": group_message(sent) }),
        Answer::GroupMessages(messages) => json!({ "messages": list(messages, group_message) }),
        Answer::Pushed { push_id, outcomes } => {
            json!({ "push_id": push_id, "outcomes": list(outcomes, outcome) })
        }
        Answer::Broadcast {
            push_id,
            queued,
            slow,
        } => {
            json!({ "push_id": push_id, "queued": queued, "slow": slow })
        }
        Answer::Kicked(kicked) => json!({ "kicked": kicked }),
        Answer::Presence(users) => json!({ "users": list(users, presence) }),
        Answer::Faults(faults) => json!({
            "latency_ms": millis(faults.latency),
            "error_rate": faults.error_rate,
            "hang_rate": faults.hang_rate,
            "error_code": faults.error_code.json(),
            "serving": faults.serving,
        }),
    };
    value.to_string().into()
}

/// What a sender is told instead where no device of the receiver took the message.
pub(crate) fn write_offline(answer: &Answer) -> Bytes {
    match answer {
        Answer::Sent(body) => json!({ "message_id": body.message_id, "status": "offline" })
            .to_string()
            .into(),
        _ => Bytes::new(),
    }
}

/// A profile as every client is shown it.
pub(crate) fn profile_json(user: &UserInfo) -> Value {
    json!({
        "uid": user.uid,
        "account": user.account,
        "nickname": user.nickname,
        "avatar": user.avatar,
        "gender": user.gender,
        "signature": user.signature,
        "create_time": user.create_time,
        "last_login": user.last_login,
        "online": user.online,
    })
}

fn list<T>(items: &[T], each: fn(&T) -> Value) -> Vec<Value> {
    items.iter().map(each).collect()
}

fn message(body: &MessageBody) -> Value {
    json!({
        "message_id": body.message_id,
        "msg_id": body.message_id.parse::<u64>().unwrap_or(0),
        "sender_uid": body.sender_uid,
        "receiver_uid": body.receiver_uid,
        "content": body.content,
        "msg_type": body.r#type,
        "ext": body.ext,
        "create_time": body.create_time,
    })
}

fn friend_request(request: &FriendRequest) -> Value {
    json!({
        "request_id": request.request_id,
        "friend_id": request.friend_id,
        "from_uid": request.from_uid,
        "to_uid": request.to_uid,
        "message": request.message,
        "nickname": request.nickname,
        "status": request.status,
        "create_time": request.create_time,
    })
}

fn friend(friend: &FriendInfo) -> Value {
    json!({
        "uid": friend.uid,
        "friend_id": friend.friend_id,
        "nickname": friend.nickname,
        "remark": friend.remark,
        "status": friend.status,
        "add_time": friend.add_time,
    })
}

fn group(group: &GroupInfo) -> Value {
    json!({
        "group_id": group.group_id,
        "group_record_id": group.group_record_id,
        "name": group.name,
        "avatar": group.avatar,
        "notice": group.notice,
        "owner_uid": group.owner_uid,
        "is_muted": group.is_muted,
        "create_time": group.create_time,
        "member_count": group.member_count,
    })
}

fn member(member: &GroupMember) -> Value {
    json!({
        "uid": member.uid,
        "role": member.role,
        "nickname": member.nickname,
        "is_muted": member.is_muted,
        "join_time": member.join_time,
        "member_record_id": member.member_record_id,
    })
}

fn group_message(message: &GroupMessage) -> Value {
    json!({
        "msg_id": message.msg_id,
        "group_id": message.group_id,
        "sender_uid": message.sender_uid,
        "sender_nickname": message.sender_nickname,
        "content": message.content,
        "create_time": message.create_time,
    })
}

fn outcome(device: &DeviceOutcome) -> Value {
    let outcome = match device.outcome() {
        Outcome::Unspecified => "unspecified",
        Outcome::Acked => "acked",
        Outcome::Written => "written",
        Outcome::Queued => "queued",
        Outcome::Offline => "offline",
        Outcome::Slow => "slow",
        Outcome::Failed => "failed",
    };
    json!({
        "user_id": device.user_id,
        "device_id": device.device_id,
        "platform": device.platform,
        "outcome": outcome,
    })
}

fn presence(user: &UserPresence) -> Value {
    let devices: Vec<Value> = user
        .devices
        .iter()
        .map(|device| {
            json!({
                "session_id": device.session_id,
                "device_id": device.device_id,
                "platform": device.platform,
                "node": device.node,
                "connected_at": device.connected_at,
            })
        })
        .collect();
    json!({ "user_id": user.user_id, "devices": devices })
}
