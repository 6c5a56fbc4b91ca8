//! Login, token check, refresh and logout, the same for WebSocket and HTTP.
//!
//! A login is the user service's yes, then a token pair from gateway-auth. Binding a session to it is the
//! pipeline's matter and needs a socket.

use std::sync::Arc;

use bytes::Bytes;
use gateway_auth::{AuthError, Authenticator, Clock, Identity, Subject, TokenPair};
use gateway_codec::{Code, DeviceId, Platform, UserId};
use gateway_config::{DevicePolicy, ServiceName};
use gateway_conn::{KickKind, Registry, Selector};
use gateway_router::CallLimits;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::fault::Fault;
use crate::params::ParamError;
use crate::upstream::{Answer, Upstream};

/// The platform of a client that names none: the strictest that every installation has.
const DEFAULT_PLATFORM: &str = "web";

/// The device that a login is for.
#[derive(Clone)]
pub struct Device {
    pub id: DeviceId,
    pub platform: Platform,
}

/// A login that succeeded.
pub struct Login {
    pub pair: TokenPair,
    /// What the client is shown of the user: a JSON object.
    pub user_info: Box<RawValue>,
    /// What the user service answered.
    pub answer: Answer,
}

/// The rules of signing in and out.
pub struct SignIn {
    auth: Arc<Authenticator>,
    registry: Arc<Registry>,
    upstream: Arc<Upstream>,
    clock: Arc<dyn Clock>,
}

impl SignIn {
    /// Built once, by the builder.
    pub fn new(
        auth: Arc<Authenticator>,
        registry: Arc<Registry>,
        upstream: Arc<Upstream>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            auth,
            registry,
            upstream,
            clock,
        }
    }

    /// The rules of a platform.
    ///
    /// # Errors
    /// 400 for a platform that is not configured.
    pub fn policy(&self, platform: &Platform) -> Result<Arc<DevicePolicy>, Fault> {
        self.registry
            .policy(platform)
            .ok_or_else(|| Fault::rule(Code::BadRequest, format!("platform {platform} is not known here")))
    }

    /// The device that a login is for, from what the client says. A client that names no device gets one made.
    ///
    /// # Errors
    /// 400 for an id that is not one or a platform that is not configured.
    pub fn device(&self, device_id: &str, platform: &str) -> Result<Device, Fault> {
        let id = if device_id.is_empty() {
            DeviceId::parse(&format!("made-{}", self.upstream.request_id()))
        } else {
            DeviceId::parse(device_id)
        }
        .map_err(|error| ParamError::Id("device_id", error))?;
        let platform = Platform::parse(if platform.is_empty() {
            DEFAULT_PLATFORM
        } else {
            platform
        })
        .map_err(|error| ParamError::Id("platform", error))?;
        self.policy(&platform)?;
        Ok(Device { id, platform })
    }

    /// Logs in through the user service, which is sent `command`, as [`Upstream::command`] makes it for `device`.
    ///
    /// # Errors
    /// What the user service says, 403 where the platform asks for a role that the user has not, or what
    /// stands in the way of asking.
    pub async fn login(
        &self,
        service: &ServiceName,
        limits: CallLimits,
        command: Bytes,
        device: Device,
    ) -> Result<Login, Fault> {
        let mut answer = self.upstream.call(service, command, limits).await?;
        let identity = answer
            .identity
            .take()
            .ok_or_else(|| bad_upstream("a login without an identity"))?;
        let user_info = user_info(&identity.user_info)?;
        let subject = Subject {
            user_id: UserId::parse(&identity.user_id)
                .map_err(|_| bad_upstream("a user id that is not one"))?,
            username: identity.username,
            device_id: device.id,
            platform: device.platform,
            roles: identity.roles,
        };
        self.check_role(&subject.platform, &subject.roles)?;
        let pair = self.auth.login(subject).await?;
        Ok(Login {
            pair,
            user_info,
            answer,
        })
    }

    /// Whether an identity may be on its platform at all.
    ///
    /// # Errors
    /// 403 where the platform asks for a role that it has not.
    pub fn check_role(&self, platform: &Platform, roles: &[String]) -> Result<Arc<DevicePolicy>, Fault> {
        let policy = self.policy(platform)?;
        match &policy.required_role {
            Some(role) if !roles.contains(role) => Err(Fault::rule(
                Code::Forbidden,
                format!("platform {platform} asks for the role {role}"),
            )),
            _ => Ok(policy),
        }
    }

    /// Checks an access token; what is known may be up to 30 s old.
    ///
    /// # Errors
    /// Says what is wrong with the token.
    pub async fn authenticate(&self, token: &str) -> Result<Identity, Fault> {
        Ok(self.auth.authenticate(token).await?)
    }

    /// Checks on this very moment: revocation and expiry, for sensitive commands.
    ///
    /// # Errors
    /// Says what is wrong, or that the store is away.
    pub async fn confirm(&self, identity: &Identity) -> Result<(), Fault> {
        Ok(self.auth.confirm(identity).await?)
    }

    /// Whether the key that signed an identity's token is still in use.
    pub fn knows_key(&self, identity: &Identity) -> bool {
        self.auth.knows_key(identity)
    }

    /// A new pair for a refresh token. Where the token was stolen or used twice, its family is revoked and the
    /// device's sessions are closed (4412).
    ///
    /// # Errors
    /// Says what is wrong with the token.
    pub async fn refresh(&self, refresh_token: &str, device_id: Option<&str>) -> Result<TokenPair, Fault> {
        match self.auth.refresh(refresh_token, device_id).await {
            Ok(pair) => Ok(pair),
            Err(AuthError::RefreshReused {
                user_id,
                device_id,
                platform,
            }) => {
                let device = Device {
                    id: device_id,
                    platform,
                };
                tracing::warn!(%user_id, device_id = %device.id, platform = %device.platform,
                    "a spent refresh token was used again; its family is revoked");
                self.close_device(
                    &user_id,
                    &device,
                    KickKind::Revoked,
                    "refresh token was used twice",
                )
                .await;
                let Device { id, platform } = device;
                Err(AuthError::RefreshReused {
                    user_id,
                    device_id: id,
                    platform,
                }
                .into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Revokes the pair behind an identity and closes that device's sessions; these are closed even where the store
    /// fails, since a token that is revoked in part could not be used to try again.
    ///
    /// # Errors
    /// Where the store is away.
    pub async fn logout(&self, identity: &Identity) -> Result<(), Fault> {
        let revoked = self.auth.logout(identity).await;
        let device = Device {
            id: identity.device_id().clone(),
            platform: identity.platform().clone(),
        };
        self.close_device(identity.user_id(), &device, KickKind::LoggedOut, "logged out")
            .await;
        Ok(revoked?)
    }

    /// Revokes a pair that its client never got.
    pub async fn discard(&self, identity: &Identity) {
        if let Err(error) = self.auth.logout(identity).await {
            tracing::error!(%error, user_id = %identity.user_id(), "a token pair that nobody holds stays valid");
        }
    }

    async fn close_device(&self, user_id: &UserId, device: &Device, kind: KickKind, reason: &str) {
        let selector = Selector::device(device.id.clone(), device.platform.clone());
        let kicked = self
            .registry
            .kick(user_id, &selector, kind, reason, self.clock.now())
            .await;
        if let Err(error) = kicked {
            tracing::error!(%error, %user_id, device_id = %device.id, "sessions of a revoked device stay open");
        }
    }
}

/// What a token says of its user, for the reply to a token check.
pub fn token_info(identity: &Identity) -> Value {
    json!({
        "user_id": identity.user_id().as_str(),
        "uid": identity.user_id().as_str(),
        "username": identity.username(),
        "device_id": identity.device_id().as_str(),
        "platform": identity.platform().as_str(),
        "roles": identity.roles(),
    })
}

/// A token pair as the reply of commands 4 and 1001 and of the HTTP API carries it.
pub fn pair_json(pair: &TokenPair) -> Value {
    json!({
        "token": pair.access_token,
        "access_token": pair.access_token,
        "refresh_token": pair.refresh_token,
        "token_type": "Bearer",
        "expires_in": pair.expires_in,
    })
}

/// A login as JSON: the pair and the user, under both the names that clients know.
pub fn login_json(login: &Login) -> Value {
    let mut body = pair_json(&login.pair);
    let info: Value = serde_json::from_str(login.user_info.get()).unwrap_or_default();
    body["profile"] = info.clone();
    body["user_info"] = info;
    body
}

fn user_info(json: &Bytes) -> Result<Box<RawValue>, Fault> {
    let text = if json.is_empty() { b"{}".as_slice() } else { json };
    serde_json::from_slice(text).map_err(|_| bad_upstream("user_info that is not JSON"))
}

fn bad_upstream(what: &'static str) -> Fault {
    tracing::error!(what, "the user service's reply cannot be used");
    Fault::rule(Code::Internal, Code::Internal.text())
}
