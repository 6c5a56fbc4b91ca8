//! `POST /push`: a push by HTTP, for back ends without gRPC.

use std::time::Duration;

use bytes::Bytes;
use gateway_codec::Code;
use gateway_codec::proto::gateway::{self as wire, ConversationType, PushType};
use http::Response;
use serde::Deserialize;
use serde_json::json;

use super::{Api, Call, ok};
use crate::fault::Fault;

/// Longest wait for final outcomes.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
#[serde(default, rename_all = "snake_case")]
#[derive(Default)]
struct PushBody {
    user_id: String,
    user_ids: Vec<String>,
    device_id: String,
    platform: String,
    push_id: String,
    #[serde(rename = "type")]
    push_type: String,
    content: String,
    message_id: String,
    sender_uid: String,
    conversation_type: String,
    conversation_id: String,
    wait_ms: u64,
}

pub(super) async fn push(api: &Api, call: Call) -> Result<Response<Bytes>, Fault> {
    let body: PushBody = call.json()?;
    let wait = Duration::from_millis(body.wait_ms).min(MAX_WAIT);
    let order = api
        .pipeline
        .upstream
        .push_order(order(body)?)
        .map_err(|error| Fault::rule(Code::BadRequest, error.to_string()))?;
    let report = api
        .pipeline
        .delivery
        .push(order, (!wait.is_zero()).then_some(wait), api.pipeline.clock.now())
        .await;
    let outcomes: Vec<_> = report
        .outcomes
        .iter()
        .map(|one| {
            let device = one.device.as_ref();
            json!({
                "user_id": one.user_id.as_str(),
                "device_id": device.map_or("", |(id, _)| id.as_str()),
                "platform": device.map_or("", |(_, platform)| platform.as_str()),
                "outcome": crate::grpc::wire(one.outcome).as_str_name().trim_start_matches("OUTCOME_").to_lowercase(),
            })
        })
        .collect();
    Ok(ok(&json!({"push_id": report.push_id, "outcomes": outcomes})))
}

fn order(body: PushBody) -> Result<wire::PushOrder, Fault> {
    let bad = |what: &'static str| Fault::rule(Code::BadRequest, what);
    let mut user_ids = body.user_ids;
    let mut device = None;
    if !body.device_id.is_empty() {
        let (user_id, device_id, platform) = (body.user_id, body.device_id, body.platform);
        device = Some(wire::DeviceTarget {
            user_id,
            device_id,
            platform,
        });
    } else if !body.user_id.is_empty() {
        user_ids.push(body.user_id);
    }
    let push_type = match body.push_type.as_str() {
        "" | "message" => PushType::Message,
        "notification" => PushType::Notification,
        "system" => PushType::System,
        "offline" => PushType::Offline,
        _ => return Err(bad("type is message, notification, system or offline")),
    };
    let conversation_type = match body.conversation_type.as_str() {
        "direct" => ConversationType::Direct,
        "group" => ConversationType::Group,
        "" | "system" => ConversationType::System,
        _ => return Err(bad("conversation_type is direct, group or system")),
    };
    let push = wire::Push {
        push_id: body.push_id,
        r#type: push_type.into(),
        content: body.content,
        message_id: body.message_id,
        sender_uid: body.sender_uid,
        conversation_type: conversation_type.into(),
        conversation_id: body.conversation_id,
    };
    Ok(wire::PushOrder {
        push: Some(push),
        user_ids,
        device,
    })
}
