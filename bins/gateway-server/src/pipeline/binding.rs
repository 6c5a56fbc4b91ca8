//! Ties a session to a user: by a token at the handshake or in a message, or after a login.
//!
//! A close during a bind undoes it; a bind that takes too long is given up and answered. Once bound, the
//! session is asked after at the message service, which hands over what came while nobody was there.

use std::sync::Arc;

use futures_util::future::FutureExt as _;
use gateway_auth::Identity;
use gateway_codec::{CloseCode, Code, Encoding, Notice};
use gateway_conn::{NewSession, SessionLink as _, SessionRecord, StoreError};
use tokio::time::Instant;

use super::Pipeline;
use super::session::{Bound, Session};
use crate::fault::Fault;

impl Pipeline {
    /// A token came with the handshake: the welcome waits for it, and so do the first commands. Where nothing has to be
    /// waited for, that is with the embedded store, the session is bound and welcomed when this returns: the welcome leaves
    /// with the answer to the handshake.
    pub(super) fn bind_at_handshake(self: &Arc<Self>, session: &Arc<Session>, token: String) {
        self.hold(session);
        let (pipeline, session) = (self.clone(), session.clone());
        let mut binding = Box::pin(async move {
            let encoding = session.encoding();
            match pipeline.bind_by_token(&session, &token, "", encoding).await {
                Ok(bound) => {
                    pipeline.welcome(&session, true);
                    pipeline.catch_up(&session, &bound, None);
                    pipeline.release(&session);
                }
                Err(fault) => pipeline.turn_away(&session, &fault),
            }
        });
        if binding.as_mut().now_or_never().is_none() {
            self.tasks.spawn(binding);
        }
    }

    /// Binds by an access token.
    ///
    /// # Errors
    /// Says what is wrong with the token, or why the session cannot be bound.
    pub(super) async fn bind_by_token(
        self: &Arc<Self>,
        session: &Arc<Session>,
        token: &str,
        device_id: &str,
        encoding: Encoding,
    ) -> Result<Bound, Fault> {
        let identity = self.sign_in.authenticate(token).await?;
        self.same_device_as_claimed(session, &identity, device_id)?;
        self.bind(session, identity, token, encoding).await
    }

    /// Binds a session to an identity.
    ///
    /// # Errors
    /// 403 for a role that is missing, 409 where the platform takes no further device, 503 where the store is
    /// away, 504 where it does not answer in time.
    pub(super) async fn bind(
        self: &Arc<Self>,
        session: &Arc<Session>,
        identity: Identity,
        token: &str,
        encoding: Encoding,
    ) -> Result<Bound, Fault> {
        let policy = self.sign_in.check_role(identity.platform(), identity.roles())?;
        if !session.state().life.begin_bind() {
            return Err(Fault::rule(Code::Conflict, "the session is bound or has ended"));
        }
        session.prefer_encoding(encoding);
        let new = NewSession {
            session_id: session.id,
            user_id: identity.user_id().clone(),
            device_id: identity.device_id().clone(),
            platform: identity.platform().clone(),
            address: session.address(),
        };
        let binding = self.registry.bind(new, session.clone(), self.clock.now());
        let record = match tokio::time::timeout(self.settings.bind_timeout, binding).await {
            Ok(Ok(record)) => record,
            Ok(Err(error)) => {
                session.state().life.bind_failed();
                return Err(error.into());
            }
            Err(_) => {
                session.state().life.bind_failed();
                return Err(Fault::rule(Code::GatewayTimeout, "the login took too long"));
            }
        };
        let valid_for = identity.expires_at().saturating_since(self.clock.now());
        let bound = Bound {
            identity,
            record,
            token_hash: self.token_hash(token),
        };
        let live = {
            let mut state = session.state();
            let live = state
                .life
                .bound(Instant::now(), valid_for, policy.session_timeout);
            if live {
                state.bound = Some(bound.clone());
            }
            live
        };
        if !live {
            self.undo(&bound).await;
            return Err(Fault::rule(Code::Conflict, "the connection has ended"));
        }
        if !self.sign_in.knows_key(&bound.identity) {
            // Its key was taken out during the bind, and nobody has told the session.
            session.recheck();
        }
        self.schedule(session);
        tracing::debug!(session_id = %session.id, user_id = %bound.identity.user_id(),
            device_id = %bound.identity.device_id(), platform = %bound.identity.platform(),
            address = %session.address(), "session bound");
        Ok(bound)
    }

    /// Fetches what came while the user was away; called once the client knows that it is bound. The last push that it
    /// has is what it says with the token, else what it said at the handshake.
    pub(super) fn catch_up(&self, session: &Session, bound: &Bound, last_push_id: Option<&str>) {
        let before = session.take_last_push_id();
        self.delivery
            .bound(&bound.record, last_push_id.or(before.as_deref()));
    }

    async fn undo(&self, bound: &Bound) {
        self.delivery.closed(&bound.record, 0);
        if let Err(error) = self.registry.unbind(&bound.record, self.clock.now()).await {
            stays_in_store(&bound.record, &error);
        }
    }

    /// A token must be of the device that the handshake or the message names.
    pub(super) fn same_device_as_claimed(
        &self,
        session: &Session,
        identity: &Identity,
        device_id: &str,
    ) -> Result<(), Fault> {
        let claimed = session.state().claimed();
        let other_device = (!device_id.is_empty() && device_id != identity.device_id().as_str())
            || claimed
                .device_id
                .is_some_and(|claimed| claimed != *identity.device_id());
        let other_platform = claimed
            .platform
            .is_some_and(|claimed| claimed != *identity.platform());
        if other_device || other_platform {
            return Err(Fault::rule(Code::Unauthorized, "the token is of another device"));
        }
        Ok(())
    }

    /// A handshake whose token does not bind: the client is told and closed.
    fn turn_away(&self, session: &Session, fault: &Fault) {
        self.metrics.refused(fault.code());
        tracing::info!(%fault, session_id = %session.id, address = %session.address(), "a handshake was turned away");
        let code = match fault.code() {
            Code::Unauthorized => CloseCode::AuthFailed,
            // 400: of a platform that is not configured (any more). Coming back would not help.
            Code::Forbidden | Code::Conflict | Code::BadRequest => CloseCode::Forbidden,
            _ => CloseCode::Overloaded,
        };
        if code == CloseCode::AuthFailed {
            self.notify(
                session,
                &Notice::AuthFailed {
                    reason: &fault.told(),
                },
            );
        }
        session.close_with(code, &fault.told());
    }
}

/// Says that a session could not be taken out: until its life is over it looks as if it were online.
pub(super) fn stays_in_store(record: &SessionRecord, error: &StoreError) {
    tracing::error!(%error, session_id = %record.session_id, user_id = %record.user_id, "a session stays in the store");
}
