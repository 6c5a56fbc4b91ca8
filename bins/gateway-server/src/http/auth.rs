//! `/auth`: login, logout, refresh, verify.

use bytes::Bytes;
use gateway_codec::{Claims, Code, Payload, ReplyTo, Request};
use gateway_config::LocalHandler;
use http::Response;
use serde::Deserialize;
use serde_json::json;

use super::{Api, Call, ok};
use crate::fault::Fault;
use crate::pipeline::Action;
use crate::sign_in;
use crate::upstream::Caller;

/// Parts of a login's body that the gateway itself needs; the user service gets the body as it came.
#[derive(Deserialize, Default)]
#[serde(default)]
struct LoginBody {
    device_id: String,
    platform: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RefreshBody {
    refresh_token: String,
    device_id: String,
}

pub(super) async fn login(api: &Api, call: Call) -> Result<Response<Bytes>, Fault> {
    let body: LoginBody = call.json()?;
    let login = sign_in_with(api, &call, call.text()?, &body.device_id, &body.platform).await?;
    Ok(ok(&sign_in::login_json(&login)))
}

/// Logs in by whatever route the login command has, with `data` as the command's data.
pub(super) async fn sign_in_with(
    api: &Api,
    call: &Call,
    data: &str,
    device_id: &str,
    platform: &str,
) -> Result<sign_in::Login, Fault> {
    let pipeline = &api.pipeline;
    let (cmd_id, route) = pipeline
        .router
        .local_route(LocalHandler::Login)
        .ok_or_else(|| Fault::rule(Code::NotFound, "no login is configured"))?;
    let or = |said: &str, header: &str| {
        if said.is_empty() {
            header.to_owned()
        } else {
            said.to_owned()
        }
    };
    let device = pipeline
        .sign_in
        .device(&or(device_id, &call.device_id), &or(platform, &call.platform))?;
    let request = Request {
        cmd_id,
        seq: 0,
        claims: Claims::default(),
        traceparent: "".into(),
        payload: Payload::Json(data.into()),
        reply_to: ReplyTo::unreadable(gateway_codec::Encoding::Json),
    };
    let caller = Caller {
        identity: None,
        session_id: None,
        device_id: device.id.as_str(),
        platform: device.platform.as_str(),
        address: call.address,
    };
    let command = pipeline.upstream.command(&request, caller);
    pipeline
        .sign_in
        .login(&pipeline.settings.user_service, route.limits(), command, device)
        .await
}

pub(super) async fn logout(api: &Api, call: Call) -> Result<Response<Bytes>, Fault> {
    let (sign_in, identity) = (api.pipeline.sign_in.clone(), call.identity()?.clone());
    to_its_end(api, async move { sign_in.logout(&identity).await }).await?;
    Ok(ok(&json!({"message": "logged out"})))
}

pub(super) async fn refresh(api: &Api, call: Call) -> Result<Response<Bytes>, Fault> {
    let body: RefreshBody = call.json()?;
    if body.refresh_token.is_empty() {
        return Err(Fault::missing("refresh_token"));
    }
    let device_id = if body.device_id.is_empty() {
        call.device_id.clone()
    } else {
        body.device_id
    };
    let device_id = (!device_id.is_empty()).then_some(device_id);
    let sign_in = api.pipeline.sign_in.clone();
    let refresh = async move { sign_in.refresh(&body.refresh_token, device_id.as_deref()).await };
    let pair = to_its_end(api, refresh).await?;
    Ok(ok(&sign_in::pair_json(&pair)))
}

/// Does what must not be left half done, also where whoever asked for it hangs up.
async fn to_its_end<T: Send + 'static>(
    api: &Api,
    work: impl Future<Output = Result<T, Fault>> + Send + 'static,
) -> Result<T, Fault> {
    let done = api.pipeline.tasks.spawn(work).await;
    done.unwrap_or_else(|_| Err(Fault::rule(Code::Internal, Code::Internal.text())))
}

pub(super) fn verify(call: &Call) -> Result<Response<Bytes>, Fault> {
    Ok(ok(
        &json!({"valid": true, "user_info": sign_in::token_info(call.identity()?)}),
    ))
}

/// Whether a command is the login, which by HTTP gives tokens and binds nothing.
pub(super) fn is_login(action: &Action) -> bool {
    *action == Action::Local(LocalHandler::Login)
}
