//! `/connections`: who is here, and sending them away.

use std::collections::BTreeMap;

use bytes::Bytes;
use gateway_codec::Code;
use gateway_conn::NodeLoad;
use http::Response;
use serde::Deserialize;
use serde_json::json;

use super::{Api, Call, ok};
use crate::fault::Fault;
use crate::presence::{self, Kick};

/// Users on one page of the online list, where the caller asks for no number and at most.
const PAGE: usize = 100;
const MAX_PAGE: usize = 1_000;

#[derive(Deserialize, Default)]
#[serde(default)]
struct KickBody {
    user_id: String,
    device_id: String,
    platform: String,
    reason: String,
}

/// Of the whole cluster: this node's figures are of now, those of others some seconds old.
pub(super) async fn stats(api: &Api) -> Result<Response<Bytes>, Fault> {
    let own = api.system.own_load();
    let mut nodes = vec![(api.system.node().to_owned(), own)];
    if let Some(cluster) = &api.system.cluster {
        let others = cluster.members().into_iter();
        let others = others.filter(|(node, _)| node.as_str() != api.system.node());
        nodes.extend(others.map(|(node, member)| (node.to_string(), member.load)));
    }
    let mut by_platform: BTreeMap<&str, u64> = BTreeMap::new();
    for (platform, count) in nodes.iter().flat_map(|(_, load)| &load.by_platform) {
        *by_platform.entry(platform).or_default() += count;
    }
    let sum = |of: fn(&NodeLoad) -> u64| nodes.iter().map(|(_, load)| of(load)).sum::<u64>();
    let (total, authenticated) = (sum(|load| load.connections), sum(|load| load.sessions));
    // Users on two nodes are counted once.
    let users = match &api.system.cluster {
        Some(_) => {
            let page = api.pipeline.registry.online(None, 1).await;
            page.map_err(|error| presence::away(&error))?.total
        }
        None => sum(|load| load.users),
    };
    let by_node: serde_json::Map<_, _> = nodes
        .iter()
        .map(|(node, load)| (node.clone(), json!(load.connections)))
        .collect();
    Ok(ok(&json!({
        "total": total,
        "authenticated": authenticated,
        "unauthenticated": total.saturating_sub(authenticated),
        "users": users,
        "by_platform": by_platform,
        "by_node": by_node,
    })))
}

pub(super) async fn kick(api: &Api, call: Call) -> Result<Response<Bytes>, Fault> {
    let body: KickBody = call.json()?;
    let kick = Kick {
        user_id: &body.user_id,
        device_id: &body.device_id,
        platform: &body.platform,
        reason: &body.reason,
        by: call
            .identity
            .as_ref()
            .map_or("an administrator", |identity| identity.username()),
    };
    let kicked = presence::kick(&api.pipeline, kick).await?;
    Ok(ok(&json!({"kicked": kicked})))
}

pub(super) async fn online(api: &Api, call: Call) -> Result<Response<Bytes>, Fault> {
    let limit = match call.parameter("limit")? {
        None => PAGE,
        Some(text) => text
            .parse::<usize>()
            .ok()
            .filter(|limit| (1..=MAX_PAGE).contains(limit))
            .ok_or_else(|| Fault::rule(Code::BadRequest, "limit is a number from 1 to 1000"))?,
    };
    let cursor = call.parameter("cursor")?.filter(|cursor| !cursor.is_empty());
    let page = api
        .pipeline
        .registry
        .online(cursor.as_deref(), limit)
        .await
        .map_err(|error| presence::away(&error))?;
    let users: Vec<_> = page
        .users
        .iter()
        .map(|user| {
            let sessions: Vec<_> = user
                .sessions
                .iter()
                .map(|session| {
                    json!({
                        "session_id": session.session_id.to_string(),
                        "device_id": session.device_id.as_str(),
                        "platform": session.platform.as_str(),
                        "node": session.node.as_str(),
                        "connected_at": session.connected_at.to_rfc3339(),
                        "address": session.address.to_string(),
                    })
                })
                .collect();
            json!({"user_id": user.user_id.as_str(), "sessions": sessions})
        })
        .collect();
    Ok(ok(
        &json!({"users": users, "total": page.total, "next_cursor": page.next_cursor}),
    ))
}
