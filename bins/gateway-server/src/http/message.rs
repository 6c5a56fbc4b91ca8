//! `POST /message`: one JSON message, as on the WebSocket, without a socket.
//!
//! It speaks for its bearer, for this request only: nothing is bound, and a login gives tokens.

use bytes::Bytes;
use gateway_codec::{Body, Code, Reply, Request, decode_json, encode_reply};
use gateway_config::LocalHandler;
use http::{Response, StatusCode};

use super::{Api, Call, auth};
use crate::fault::Fault;
use crate::pipeline::handlers::Command;
use crate::pipeline::perform::{RefreshToken, VerifyToken, data, heartbeat, login_data};
use crate::pipeline::{Action, Target, for_clients, is_for_clients};
use crate::presence;
use crate::sign_in;
use crate::upstream::Caller;

pub(super) async fn message(api: &Api, call: Call) -> Result<Response<Bytes>, Fault> {
    let text = call.text()?;
    let request = decode_json(text)?;
    api.pipeline.load.received();
    let identity = call.identity()?;
    belongs(api, &request, identity).await?;
    if is_for_clients(request.cmd_id) {
        return Err(for_clients(request.cmd_id));
    }
    let target = api.pipeline.target(request.cmd_id).ok_or_else(|| {
        Fault::rule(
            Code::NotFound,
            format!("command {} is not known here", request.cmd_id),
        )
    })?;
    let reply_to = request.reply_to.clone();
    let outcome = answer(api, &call, request, target).await;
    let pipeline = &api.pipeline;
    let (code, told, body) = match &outcome {
        Ok(Content::Json(json)) => (Code::Success, "".into(), Body::Written(json)),
        Ok(Content::Answer(answer)) => (Code::Success, "".into(), answer.body()),
        Err(fault) => {
            pipeline.metrics.refused(fault.code());
            pipeline.load.refused();
            (fault.code(), fault.told(), Body::Empty)
        }
    };
    let reply = Reply {
        code,
        message: told,
        session_id: None,
        user_id: identity.user_id().as_str(),
        platform: identity.platform().as_str(),
        timestamp: pipeline.clock.now(),
        body,
    };
    let encoded = encode_reply(&reply_to, &reply).map_err(|error| {
        tracing::error!(%error, "a back end's reply cannot be encoded");
        Fault::rule(Code::Internal, Code::Internal.text())
    })?;
    let status = StatusCode::from_u16(code.http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Ok(super::json(status, encoded.bytes))
}

enum Content {
    Json(String),
    Answer(crate::upstream::Answer),
}

async fn answer(api: &Api, call: &Call, request: Request<'_>, target: Target) -> Result<Content, Fault> {
    let pipeline = &api.pipeline;
    let identity = call.identity()?;
    if auth::is_login(&target.action) {
        let json = login_data(&request)?;
        let login = auth::sign_in_with(
            api,
            call,
            json,
            &request.claims.device_id,
            &request.claims.platform,
        )
        .await?;
        return Ok(Content::Json(sign_in::login_json(&login).to_string()));
    }
    let caller = Caller {
        identity: Some(identity),
        session_id: None,
        device_id: identity.device_id().as_str(),
        platform: identity.platform().as_str(),
        address: call.address,
    };
    match (target.action, target.route) {
        (Action::Local(LocalHandler::Heartbeat), _) => Ok(Content::Json(heartbeat(pipeline.clock.now()))),
        (Action::Local(LocalHandler::VerifyToken), _) => {
            let VerifyToken { token, .. } = data(&request)?;
            let info = pipeline.sign_in.authenticate(&token).await?;
            pipeline.sign_in.confirm(&info).await?;
            let json = serde_json::json!({"valid": true, "user_info": sign_in::token_info(&info)});
            Ok(Content::Json(json.to_string()))
        }
        (Action::Local(LocalHandler::RefreshToken), _) => {
            let RefreshToken { refresh_token, .. } = data(&request)?;
            let device_id = Some(identity.device_id().as_str());
            let pair = pipeline.sign_in.refresh(&refresh_token, device_id).await?;
            Ok(Content::Json(sign_in::pair_json(&pair).to_string()))
        }
        (Action::Service(service), Some(route)) => {
            let command = pipeline.upstream.command(&request, caller);
            let answer = pipeline.upstream.call(&service, command, route.limits());
            Ok(Content::Answer(answer.await?))
        }
        (Action::Embedded(cmd_id), _) => {
            let answer = pipeline.handlers.call(cmd_id, Command::new(&request, caller));
            Ok(Content::Answer(answer.await?))
        }
        (Action::Local(LocalHandler::PushAck | LocalHandler::Login) | Action::Service(_), _) => {
            Err(Fault::rule(Code::BadRequest, "this command needs a WebSocket"))
        }
    }
}

/// `user_id` and `session_id` are the bearer's own or empty (403 else), `device_id` is the token's (401 else).
async fn belongs(api: &Api, request: &Request<'_>, identity: &gateway_auth::Identity) -> Result<(), Fault> {
    let claims = &request.claims;
    let mut own = String::new();
    if !claims.session_id.is_empty() {
        let sessions = presence::sessions(&api.pipeline, identity.user_id()).await?;
        own = sessions
            .iter()
            .filter(|session| session.device_id == *identity.device_id())
            .map(|session| session.session_id.to_string())
            .find(|id| *id == claims.session_id)
            .unwrap_or_default();
    }
    crate::pipeline::admission::agrees(claims, identity, |claimed| claimed == own)
}
