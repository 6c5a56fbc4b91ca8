//! Who is here, and sending them away: the same for the HTTP API and for gRPC.

use std::sync::Arc;

use gateway_codec::{Code, DeviceId, Platform, UserId};
use gateway_conn::{KickKind, Selector, SessionRecord, StoreError};

use crate::fault::Fault;
use crate::params::ParamError;
use crate::pipeline::Pipeline;

/// Longest reason that a client is shown; the rest is cut off.
const REASON_BYTES: usize = 100;

/// Whose sessions are to end, in the words of whoever asks. An empty device or platform means any.
pub struct Kick<'a> {
    pub user_id: &'a str,
    pub device_id: &'a str,
    pub platform: &'a str,
    /// Shown to the client; empty: that it was kicked by `by`.
    pub reason: &'a str,
    /// Who asks, for the log.
    pub by: &'a str,
}

/// Ends sessions (notice `kicked`, close 4411) and returns how many.
///
/// # Errors
/// 400 for an id that is not one, 503 where the store is away.
pub async fn kick(pipeline: &Pipeline, kick: Kick<'_>) -> Result<usize, Fault> {
    let user_id = UserId::parse(kick.user_id).map_err(|error| ParamError::Id("user_id", error))?;
    let device = (!kick.device_id.is_empty())
        .then(|| DeviceId::parse(kick.device_id))
        .transpose()
        .map_err(|error| ParamError::Id("device_id", error))?;
    let platform = (!kick.platform.is_empty())
        .then(|| Platform::parse(kick.platform))
        .transpose()
        .map_err(|error| ParamError::Id("platform", error))?;
    let made = format!("kicked by {}", kick.by);
    let reason = if kick.reason.is_empty() {
        &made
    } else {
        kick.reason
    };
    let reason = &reason[..reason.floor_char_boundary(REASON_BYTES)];
    let selector = Selector { device, platform };
    let now = pipeline.clock.now();
    let kicked = pipeline
        .registry
        .kick(&user_id, &selector, KickKind::Kicked, reason, now)
        .await;
    let kicked = kicked.map_err(|error| away(&error))?;
    tracing::info!(%user_id, kicked, reason, by = kick.by, "sessions kicked");
    Ok(kicked)
}

/// The sessions of a user.
///
/// # Errors
/// 503 where the store is away.
pub async fn sessions(pipeline: &Pipeline, user_id: &UserId) -> Result<Vec<Arc<SessionRecord>>, Fault> {
    pipeline
        .registry
        .sessions(user_id)
        .await
        .map_err(|error| away(&error))
}

/// The session store did not do what it was asked; what it said goes to the log.
pub fn away(error: &StoreError) -> Fault {
    if *error != StoreError::BadCursor {
        tracing::error!(%error, "the session store has failed");
    }
    let code = error.code();
    let told = if code == Code::BadRequest {
        "cursor is not valid"
    } else {
        code.text()
    };
    Fault::rule(code, told)
}
