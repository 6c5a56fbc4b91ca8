//! Whom a message speaks for, and whether it may: the table of contract section 3.
//!
//! Identity comes from the session. What a message says of itself can only agree with it, or bring a token.

use std::sync::Arc;

use bytes::Bytes;
use gateway_auth::Identity;
use gateway_codec::{Claims, Code, Encoding, ReplyTo, Request, SessionId};
use gateway_config::{LocalHandler, Sensitivity};
use tokio::time::Instant;

use super::session::{Bound, HeldMessage, Session};
use super::{Action, Pipeline, Target};
use crate::fault::Fault;
use crate::presence;

impl Pipeline {
    /// Performs a command whose sender may ask for it, refuses it otherwise; what needs a token or a fresh
    /// look first is put aside until that is done.
    pub(super) fn admit(
        self: &Arc<Self>,
        session: &Arc<Session>,
        bound: Option<Bound>,
        encoding: Encoding,
        bytes: &[u8],
        request: Request<'_>,
        target: Target,
    ) {
        let brings_token = !request.claims.token.is_empty() && !target.takes_no_token();
        let verdict = match &bound {
            None if brings_token => Ok(Step::Bind),
            None if target.sensitivity() == Sensitivity::Public => Ok(Step::Perform),
            None => Err(Fault::rule(Code::Unauthorized, "not logged in")),
            Some(bound) => self.admit_bound(bound, &request.claims, brings_token, &target),
        };
        match verdict {
            Err(fault) => self.refuse(session, &request.reply_to, &fault),
            Ok(Step::Perform) => self.perform(session, bound, request, target),
            Ok(step) => {
                let check = Check {
                    message: HeldMessage {
                        encoding,
                        bytes: Bytes::copy_from_slice(bytes),
                    },
                    token: request.claims.token.into_owned(),
                    device_id: request.claims.device_id.into_owned(),
                    reply_to: request.reply_to,
                };
                self.check_first(session, step, bound, check);
            }
        }
    }

    fn admit_bound(
        &self,
        bound: &Bound,
        claims: &Claims<'_>,
        brings_token: bool,
        target: &Target,
    ) -> Result<Step, Fault> {
        agrees(claims, &bound.identity, |claimed| {
            SessionId::parse(claimed).is_ok_and(|id| id == bound.record.session_id)
        })?;
        if target.action == Action::Local(LocalHandler::Login) {
            return Err(Fault::rule(Code::Conflict, "already logged in"));
        }
        if brings_token && self.token_hash(&claims.token) != bound.token_hash {
            return Ok(Step::Renew);
        }
        Ok(match target.sensitivity() {
            Sensitivity::Sensitive if !target.checks_itself() => Step::Confirm,
            _ => Step::Perform,
        })
    }

    /// Does the check while the session's later messages wait, then goes on with this one.
    fn check_first(self: &Arc<Self>, session: &Arc<Session>, step: Step, bound: Option<Bound>, check: Check) {
        self.hold(session);
        let (pipeline, session) = (self.clone(), session.clone());
        self.tasks.spawn(async move {
            let checked = match (step, bound) {
                (Step::Confirm, Some(bound)) => pipeline.confirm(&bound).await.map(|()| None),
                (Step::Renew, Some(bound)) => pipeline
                    .renew(&session, &bound, &check.token)
                    .await
                    .map(|()| None),
                _ => pipeline
                    .bind_by_token(&session, &check.token, &check.device_id, check.message.encoding)
                    .await
                    .map(Some),
            };
            match (&checked, step) {
                (Err(fault), _) => pipeline.refuse(&session, &check.reply_to, fault),
                (Ok(_), Step::Confirm) => pipeline.perform_confirmed(&session, &check.message),
                // The token is taken: the message that brought it is now the first of those that wait.
                (Ok(_), _) => session.hold_first(check.message),
            }
            pipeline.release(&session);
            if let Ok(Some(bound)) = checked {
                pipeline.catch_up(&session, &bound, None);
            }
        });
    }

    /// Performs a sensitive command after its check.
    fn perform_confirmed(self: &Arc<Self>, session: &Arc<Session>, message: &HeldMessage) {
        let Ok(request) = super::decode(message.encoding, &message.bytes) else {
            return;
        };
        if let (Some(target), Some(bound)) = (self.target(request.cmd_id), session.bound()) {
            self.perform(session, Some(bound), request, target);
        }
    }

    /// For a sensitive command: is this still a session, and its token still good, at this very moment?
    pub(super) async fn confirm(&self, bound: &Bound) -> Result<(), Fault> {
        self.sign_in.confirm(&bound.identity).await?;
        match self.registry.is_current(&bound.record, self.clock.now()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Fault::rule(Code::Unauthorized, "the session has ended")),
            Err(error) => Err(presence::away(&error)),
        }
    }

    /// Takes another token on a bound session: of the same user and device, and only for its later expiry.
    pub(super) async fn renew(
        &self,
        session: &Arc<Session>,
        bound: &Bound,
        token: &str,
    ) -> Result<(), Fault> {
        let identity = self.sign_in.authenticate(token).await?;
        if !same_device(&identity, &bound.identity) {
            return Err(Fault::rule(
                Code::Forbidden,
                "the token is of another user or device",
            ));
        }
        let token_hash = self.token_hash(token);
        {
            let mut state = session.state();
            let valid_for = identity.expires_at().saturating_since(self.clock.now());
            state.life.extend(Instant::now(), valid_for);
            // The later token becomes the session's, with the key that signed it; an earlier one is only known again.
            let later = identity.expires_at() >= bound.identity.expires_at();
            let identity = if later { identity } else { bound.identity.clone() };
            if state.bound.is_some() {
                state.bound = Some(Bound {
                    identity,
                    record: bound.record.clone(),
                    token_hash,
                });
            }
        }
        self.schedule(session);
        Ok(())
    }
}

/// What has to happen before a command is performed.
#[derive(Clone, Copy)]
enum Step {
    Perform,
    /// Bind by the token inside.
    Bind,
    /// Check the token inside against the session.
    Renew,
    /// A fresh look at the session and its token.
    Confirm,
}

/// A message put aside for its check.
struct Check {
    message: HeldMessage,
    token: String,
    device_id: String,
    reply_to: ReplyTo,
}

impl Target {
    /// Login, refresh and token check carry what they check in their data; a token beside it, often a spent
    /// one, is not looked at.
    fn takes_no_token(&self) -> bool {
        matches!(
            self.action,
            Action::Local(LocalHandler::Login | LocalHandler::RefreshToken | LocalHandler::VerifyToken)
        )
    }

    /// Token check and refresh look at their token on this very message anyway.
    fn checks_itself(&self) -> bool {
        matches!(
            self.action,
            Action::Local(LocalHandler::RefreshToken | LocalHandler::VerifyToken)
        )
    }
}

/// Whether two tokens speak for the same user on the same device.
pub fn same_device(one: &Identity, other: &Identity) -> bool {
    one.user_id() == other.user_id()
        && one.device_id() == other.device_id()
        && one.platform() == other.platform()
}

/// Whether what a message says of itself agrees with who sends it: an own or empty `user_id` and `session_id`
/// (403 else), an own or empty `device_id` (401 else).
///
/// # Errors
/// Names the field that does not agree.
pub fn agrees(
    claims: &Claims<'_>,
    identity: &Identity,
    owns_session: impl FnOnce(&str) -> bool,
) -> Result<(), Fault> {
    let differs = |claimed: &str, own: &str| !claimed.is_empty() && claimed != own;
    if differs(&claims.user_id, identity.user_id().as_str()) {
        return Err(Fault::rule(Code::Forbidden, "user_id is not the session's"));
    }
    if !claims.session_id.is_empty() && !owns_session(&claims.session_id) {
        return Err(Fault::rule(Code::Forbidden, "session_id is not the session's"));
    }
    if differs(&claims.device_id, identity.device_id().as_str()) {
        return Err(Fault::rule(Code::Unauthorized, "device_id is not the session's"));
    }
    Ok(())
}
