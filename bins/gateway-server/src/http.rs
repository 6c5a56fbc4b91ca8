//! The HTTP API of contract section 5.
//!
//! [`routes`] is the one table of paths; requests are dispatched from it and `openapi.json` is made from it. Each
//! folder below answers one group. `/api` and `/api/v1` are the same.

pub mod auth;
pub mod connections;
pub mod error;
pub mod message;
pub mod openapi;
pub mod push;
pub mod routes;
pub mod system;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use gateway_auth::{ApiKeys, Identity, KeyRole};
use gateway_codec::{Code, RequestId, read_object};
use gateway_net::{HttpRequest, HttpService};
use http::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::fault::Fault;
use crate::params;
use crate::pipeline::Pipeline;
use crate::pipeline::hello::bearer;
use error::{failure, method_not_allowed};
use routes::{Access, Endpoint, NoRoute, Routes};
use system::System;

/// The API, over the same parts as the WebSocket pipeline.
pub struct Api {
    routes: Routes,
    keys: ApiKeys,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) system: System,
}

/// One request that may be answered.
pub(crate) struct Call {
    /// Who asks, where the route wants a bearer.
    pub identity: Option<Identity>,
    pub address: IpAddr,
    pub query: String,
    pub device_id: String,
    pub platform: String,
    body: Bytes,
}

impl Api {
    /// The API over `pipeline`.
    pub fn new(pipeline: Arc<Pipeline>, system: System, keys: ApiKeys) -> Self {
        Self {
            routes: Routes::default(),
            keys,
            pipeline,
            system,
        }
    }

    async fn answer(&self, request: HttpRequest, surface: Surface) -> Response<Bytes> {
        let request_id = self.pipeline.upstream.request_id();
        match self.dispatch(request, surface, &request_id).await {
            Ok(response) => response,
            Err(fault) => {
                self.pipeline.metrics.refused(fault.code());
                if fault.is_ours() {
                    tracing::warn!(%fault, %request_id, "an HTTP request failed");
                } else {
                    tracing::debug!(%fault, %request_id, "an HTTP request was refused");
                }
                failure(&fault, &request_id)
            }
        }
    }

    async fn dispatch(
        &self,
        request: HttpRequest,
        surface: Surface,
        request_id: &RequestId,
    ) -> Result<Response<Bytes>, Fault> {
        let route = match self.routes.find(&request.method, request.uri.path()) {
            Ok(route) => route,
            Err(NoRoute::Method { allowed, bare }) if surface.serves(bare) => {
                return Ok(method_not_allowed(&allowed, request_id));
            }
            Err(_) => return Err(no_such_path()),
        };
        if !surface.serves(route.bare) {
            return Err(no_such_path());
        }
        let identity = self.admit(route.access, &request).await?;
        let call = Call {
            identity,
            address: request.peer.ip(),
            query: request.uri.query().unwrap_or_default().to_owned(),
            device_id: params::header(&request.headers, "X-Device-ID")?
                .unwrap_or_default()
                .to_owned(),
            platform: params::header(&request.headers, "X-Platform")?
                .unwrap_or_default()
                .to_owned(),
            body: request.body,
        };
        match route.endpoint {
            Endpoint::Login => auth::login(self, call).await,
            Endpoint::Logout => auth::logout(self, call).await,
            Endpoint::Refresh => auth::refresh(self, call).await,
            Endpoint::Verify => auth::verify(&call),
            Endpoint::Stats => connections::stats(self).await,
            Endpoint::Kick => connections::kick(self, call).await,
            Endpoint::Online => connections::online(self, call).await,
            Endpoint::Health => Ok(self.system.health().await),
            Endpoint::SystemMetrics => Ok(self.system.metrics_json()),
            Endpoint::Reload => self.system.reload(call.json()?).await,
            Endpoint::Push => push::push(self, call).await,
            Endpoint::Message => message::message(self, call).await,
            Endpoint::OpenApi => Ok(ok(&openapi::document())),
            Endpoint::Metrics => Ok(self.system.prometheus()),
            Endpoint::Live => Ok(text(StatusCode::OK, "alive\n")),
            Endpoint::Ready => Ok(self.system.ready().await),
        }
    }

    /// Who may ask for what, by the route's access.
    async fn admit(&self, access: Access, request: &HttpRequest) -> Result<Option<Identity>, Fault> {
        let key_role = params::header(&request.headers, "X-API-Key")?.and_then(|key| self.keys.role(key));
        match access {
            Access::Open => Ok(None),
            Access::Bearer => self.bearer(request).await.map(Some),
            Access::Service if key_role == Some(KeyRole::Service) => Ok(None),
            Access::Service if request.headers.contains_key("x-api-key") => {
                Err(Fault::rule(Code::Forbidden, "this key may not do that"))
            }
            Access::Service => Err(Fault::rule(Code::Unauthorized, "a service key is needed")),
            Access::Admin if key_role == Some(KeyRole::Admin) => Ok(None),
            Access::Admin => {
                let identity = self.bearer(request).await?;
                if !identity.has_role("admin") {
                    return Err(Fault::rule(Code::Forbidden, "the admin role is needed"));
                }
                Ok(Some(identity))
            }
        }
    }

    /// The bearer of a request, checked on this very moment.
    async fn bearer(&self, request: &HttpRequest) -> Result<Identity, Fault> {
        let token = params::header(&request.headers, "Authorization")?
            .and_then(bearer)
            .ok_or_else(|| Fault::rule(Code::Unauthorized, "a bearer token is needed"))?;
        let identity = self.pipeline.sign_in.authenticate(token).await?;
        self.pipeline.sign_in.confirm(&identity).await?;
        Ok(identity)
    }
}

/// Which of the paths a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// All of them.
    All,
    /// The API alone, where figures and probes have an address of their own.
    Api,
    /// `/metrics`, `/livez` and `/readyz` alone.
    Operations,
}

impl Surface {
    fn serves(self, operations: bool) -> bool {
        match self {
            Self::All => true,
            Self::Api => !operations,
            Self::Operations => operations,
        }
    }
}

/// The API as gateway-net serves it.
pub struct HttpApi {
    /// What answers.
    pub api: Arc<Api>,
    /// What of it is served here.
    pub surface: Surface,
}

impl HttpService for HttpApi {
    fn call(&self, request: HttpRequest) -> BoxFuture<'static, Response<Bytes>> {
        let (api, surface) = (self.api.clone(), self.surface);
        async move { api.answer(request, surface).await }.boxed()
    }
}

impl Call {
    /// The body, parsed.
    ///
    /// # Errors
    /// 400 that names what is wrong with it.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        read_object(self.text()?).map_err(|error| Fault::unreadable("request body", &error))
    }

    /// The body as text.
    ///
    /// # Errors
    /// 400 where it is not UTF-8.
    pub(crate) fn text(&self) -> Result<&str, Fault> {
        std::str::from_utf8(&self.body)
            .map_err(|_| Fault::rule(Code::BadRequest, "the request body is not UTF-8"))
    }

    /// A parameter of the query.
    ///
    /// # Errors
    /// 400 where it is not UTF-8.
    pub(crate) fn parameter(&self, name: &'static str) -> Result<Option<String>, Fault> {
        Ok(params::query(&self.query, name)?)
    }

    /// Who asks, on routes that want a bearer.
    ///
    /// # Errors
    /// 401 on any other route.
    pub(crate) fn identity(&self) -> Result<&Identity, Fault> {
        self.identity
            .as_ref()
            .ok_or_else(|| Fault::rule(Code::Unauthorized, "a bearer token is needed"))
    }
}

fn no_such_path() -> Fault {
    Fault::rule(Code::NotFound, "no such path")
}

/// A bare resource, status 200.
pub(crate) fn ok(body: &Value) -> Response<Bytes> {
    json(StatusCode::OK, body.to_string())
}

/// JSON under a status.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Bytes> {
    typed(status, "application/json", body)
}

/// Plain text under a status.
pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Bytes> {
    typed(status, "text/plain; charset=utf-8", body)
}

fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static(content_type),
    );
    headers.insert(
        http::header::CACHE_CONTROL,
        http::HeaderValue::from_static("no-store"),
    );
    response
}
