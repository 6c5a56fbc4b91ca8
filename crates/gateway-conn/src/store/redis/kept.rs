//! What is written into Redis of a session, and read back.

use std::net::IpAddr;

use gateway_codec::{DeviceId, NodeId, Platform, SessionId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use crate::{KickKind, NewSession, SessionRecord, StoreError};

/// A session's record, without the user, who is in the key.
#[derive(Serialize)]
struct Written<'a> {
    session_id: String,
    device_id: &'a str,
    platform: &'a str,
    node: &'a str,
    connected_at: u64,
    address: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
}

#[derive(Deserialize)]
struct Kept {
    session_id: SessionId,
    device_id: DeviceId,
    platform: String,
    node: String,
    connected_at: u64,
    address: IpAddr,
    epoch: u64,
}

/// The field of a device in a user's hashes. A platform holds no colon, so the first one ends it.
pub(super) fn field(platform: &Platform, device: &DeviceId) -> String {
    format!("{}:{}", platform.as_str(), device.as_str())
}

/// A new session's record as JSON without its closing brace: the script adds the epoch.
pub(super) fn head(session: &NewSession, node: &NodeId, now: Timestamp) -> String {
    let mut json = json(&Written {
        session_id: session.session_id.to_string(),
        device_id: session.device_id.as_str(),
        platform: session.platform.as_str(),
        node: node.as_str(),
        connected_at: now.as_millis(),
        address: session.address,
        epoch: None,
    });
    json.pop();
    json
}

/// A session's record as JSON.
pub(super) fn whole(record: &SessionRecord) -> String {
    json(&Written {
        session_id: record.session_id.to_string(),
        device_id: record.device_id.as_str(),
        platform: record.platform.as_str(),
        node: record.node.as_str(),
        connected_at: record.connected_at.as_millis(),
        address: record.address.ip(),
        epoch: Some(record.epoch),
    })
}

fn json(written: &Written<'_>) -> String {
    // Strings and numbers only: nothing that JSON could not hold.
    serde_json::to_string(written).unwrap_or_default()
}

/// Reads a record.
pub(super) fn record(user: &UserId, json: &str) -> Result<SessionRecord, StoreError> {
    let corrupt = |what: String| StoreError::Corrupt(format!("a session's record: {what}"));
    let kept: Kept = serde_json::from_str(json).map_err(|error| corrupt(error.to_string()))?;
    Ok(SessionRecord {
        session_id: kept.session_id,
        user_id: user.clone(),
        device_id: kept.device_id,
        platform: Platform::parse(&kept.platform).map_err(|error| corrupt(error.to_string()))?,
        node: NodeId::parse(&kept.node).map_err(|error| corrupt(error.to_string()))?,
        epoch: kept.epoch,
        connected_at: Timestamp::from_millis(kept.connected_at),
        address: kept.address.into(),
    })
}

/// Reads a tombstone: whom it concerns, and why.
pub(super) fn grave(text: &str) -> Option<(u64, KickKind)> {
    let mut words = text.split(' ');
    let epoch = words.next()?.parse().ok()?;
    Some((epoch, KickKind::from_text(words.next()?)?))
}
