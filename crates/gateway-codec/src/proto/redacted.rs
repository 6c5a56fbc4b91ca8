//! `Debug` for the messages that hold passwords, tokens, or payloads in which either may be.
//!
//! A message that is logged by accident then shows who and what, never a secret. Payloads are shown by length.

use std::fmt::{Debug, Formatter, Result};

use super::backend::{CommandReply, CommandRequest};
use super::im::base::{BaseRequest, BaseResponse, ImHeader};
use super::im::user::{LoginRequest, RegisterRequest};

/// What stands for a secret: whether there is one, not what it is.
fn hidden(secret: &str) -> &'static str {
    if secret.is_empty() { "" } else { "[redacted]" }
}

impl Debug for ImHeader {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("ImHeader")
            .field("version", &self.version)
            .field("seq", &self.seq)
            .field("cmd_id", &self.cmd_id)
            .field("from_uid", &self.from_uid)
            .field("to_uid", &self.to_uid)
            .field("timestamp", &self.timestamp)
            .field("token", &hidden(&self.token))
            .field("device_id", &self.device_id)
            .field("platform", &self.platform)
            .finish()
    }
}

impl Debug for BaseRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("BaseRequest")
            .field("payload_bytes", &self.payload.len())
            .finish()
    }
}

impl Debug for BaseResponse {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("BaseResponse")
            .field("error_code", &self.error_code)
            .field("error_message", &self.error_message)
            .field("payload_bytes", &self.payload.len())
            .finish()
    }
}

impl Debug for LoginRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("LoginRequest")
            .field("header", &self.header)
            .field("type", &self.r#type)
            .field("account", &self.account)
            .field("phone_number", &self.phone_number)
            .field("email", &self.email)
            .field("password", &hidden(&self.password))
            .finish()
    }
}

impl Debug for RegisterRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("RegisterRequest")
            .field("header", &self.header)
            .field("type", &self.r#type)
            .field("phone_number", &self.phone_number)
            .field("email", &self.email)
            .field("password", &hidden(&self.password))
            .field("nickname", &self.nickname)
            .field("avatar", &self.avatar)
            .field("verify_code", &hidden(&self.verify_code))
            .field("account", &self.account)
            .finish()
    }
}

impl Debug for CommandRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("CommandRequest")
            .field("request_id", &self.request_id)
            .field("cmd_id", &self.cmd_id)
            .field("seq", &self.seq)
            .field("user_id", &self.user_id)
            .field("session_id", &self.session_id)
            .field("device_id", &self.device_id)
            .field("platform", &self.platform)
            .field("client_address", &self.client_address)
            .field("content_type", &self.content_type)
            .field("type_name", &self.type_name)
            .field("body_bytes", &self.body.len())
            .field("traceparent", &self.traceparent)
            .finish()
    }
}

impl Debug for CommandReply {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("CommandReply")
            .field("code", &self.code)
            .field("message", &self.message)
            .field("type_name", &self.type_name)
            .field("body_bytes", &self.body.len())
            .field("identity", &self.identity)
            .field("pushes", &self.pushes.len())
            .field("body_if_offline_bytes", &self.body_if_offline.len())
            .finish()
    }
}
