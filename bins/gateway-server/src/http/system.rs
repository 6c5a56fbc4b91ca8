//! `/system`, `/metrics`, `/livez` and `/readyz`: how the gateway is, in words and figures, all of them measured.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use gateway_auth::{Clock, KeyChange};
use gateway_codec::Code;
use gateway_config::Change;
use gateway_conn::{Cluster, NodeLoad, Registry};
use gateway_router::Router;
use http::{Response, StatusCode};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::{json as json_response, ok, text};
use crate::fault::Fault;
use crate::load::Load;
use crate::metrics::PipelineMetrics;
use crate::phase::Phase;
use crate::reload::{Reload, ReloadKind};
use crate::rotation::Rotation;

/// What is asked of the gateway as a whole.
pub struct System {
    pub registry: Arc<Registry>,
    pub router: Arc<Router>,
    pub clock: Arc<dyn Clock>,
    pub phase: watch::Receiver<Phase>,
    pub load: Arc<Load>,
    pub metrics: PipelineMetrics,
    pub reload: Reload,
    pub rotation: Arc<Rotation>,
    /// Where the process has installed a recorder.
    pub prometheus: Option<PrometheusHandle>,
    pub node: String,
    /// Where there are other nodes.
    pub cluster: Option<Arc<Cluster>>,
    pub started: Instant,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct ReloadBody {
    config_type: String,
    config_path: Option<String>,
}

impl System {
    /// The name of this node.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// How busy this node is, right now.
    pub fn own_load(&self) -> NodeLoad {
        crate::cluster::load_of(&self.registry, &self.metrics, &self.phase)
    }

    pub(crate) async fn health(&self) -> Response<Bytes> {
        let phase = *self.phase.borrow();
        let store = self.registry.health().await.is_ok();
        let serving = phase == Phase::Serving;
        let state = |up: bool| if up { "healthy" } else { "unhealthy" };
        let mut components = Map::new();
        // Nodes share a Redis; one alone keeps its sessions in memory.
        let store_name = if self.cluster.is_some() {
            "redis"
        } else {
            "session_store"
        };
        components.insert(store_name.into(), json!(state(store)));
        let fit = self.cluster.as_ref().is_none_or(|cluster| cluster.fit().is_ok());
        if self.cluster.is_some() {
            components.insert("cluster".into(), json!(state(fit)));
        }
        components.insert("websocket_server".into(), json!(state(serving)));
        components.insert("http_server".into(), json!("healthy"));
        components.insert("grpc_server".into(), json!(state(serving)));
        let mut degraded = false;
        for service in self.router.health() {
            degraded |= !service.is_available();
            components.insert(
                format!("service_{}", service.service),
                json!(state(service.is_available())),
            );
        }
        // A back end's trouble stays its own: the gateway is degraded by it, not down.
        let (status, word) = match (store && serving && fit, degraded) {
            (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy"),
            (true, true) => (StatusCode::OK, "degraded"),
            (true, false) => (StatusCode::OK, "healthy"),
        };
        let body = json!({
            "status": word,
            "timestamp": self.clock.now().to_rfc3339(),
            "components": components,
            "uptime_seconds": self.started.elapsed().as_secs(),
            "node": self.node,
            "phase": phase.as_str(),
        });
        json_response(status, body.to_string())
    }

    pub(crate) async fn ready(&self) -> Response<Bytes> {
        let phase = *self.phase.borrow();
        if phase != Phase::Serving {
            return text(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("not ready: {}\n", phase.as_str()),
            );
        }
        if let Some(Err(unfit)) = self.cluster.as_ref().map(|cluster| cluster.fit()) {
            return text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {unfit}\n"));
        }
        if self.registry.health().await.is_err() {
            return text(
                StatusCode::SERVICE_UNAVAILABLE,
                "not ready: the session store is away\n",
            );
        }
        text(StatusCode::OK, "ready\n")
    }

    pub(crate) fn metrics_json(&self) -> Response<Bytes> {
        let total = self.metrics.open_connections();
        let authenticated = self.registry.live_count() as u64;
        let performance = self.load.performance();
        let resources = self.load.resources();
        let round = |figure: f64| (figure * 1_000.0).round() / 1_000.0;
        ok(&json!({
            "connections": {
                "total": total,
                "authenticated": authenticated,
                "unauthenticated": total.saturating_sub(authenticated),
            },
            "performance": {
                "qps": round(performance.per_second),
                "avg_response_time_ms": round(performance.average_ms),
                "error_rate": round(performance.error_rate),
                "window_seconds": performance.window.as_secs(),
            },
            "resources": {
                "memory_mb": round(resources.memory_mb),
                "cpu_percent": round(resources.cpu_percent),
                "open_files": resources.open_files,
            },
        }))
    }

    pub(crate) fn prometheus(&self) -> Response<Bytes> {
        match &self.prometheus {
            Some(handle) => text(StatusCode::OK, handle.render()),
            None => text(StatusCode::OK, "# no recorder is installed in this process\n"),
        }
    }

    pub(crate) async fn reload(&self, body: ReloadBody) -> Result<Response<Bytes>, Fault> {
        let kind = match body.config_type.as_str() {
            "auth" => return self.reload_keys(&body).await,
            "platform_strategy" => ReloadKind::PlatformStrategy,
            "router_config" => ReloadKind::RouterConfig,
            _ => {
                return Err(Fault::rule(
                    Code::BadRequest,
                    "config_type is platform_strategy, router_config or auth",
                ));
            }
        };
        let changes = self
            .reload
            .run(kind, body.config_path.as_deref().map(std::path::Path::new))?;
        Ok(ok(
            &json!({"config_type": body.config_type, "changes": shown(&changes)}),
        ))
    }

    /// Reads everything again that can change while the gateway runs, each from the file that it was loaded from. Each
    /// part logs its own outcome; one that is not valid stays as it was.
    pub(crate) async fn reload_all(&self) {
        // Both have logged why they failed.
        let _ = self.rotation.reload().await;
        for section in [ReloadKind::PlatformStrategy, ReloadKind::RouterConfig] {
            let _ = self.reload.run(section, None);
        }
    }

    /// Keys and certificates come from the files that the gateway was started with, here and on every other node.
    async fn reload_keys(&self, body: &ReloadBody) -> Result<Response<Bytes>, Fault> {
        if body.config_path.is_some() {
            return Err(Fault::rule(
                Code::BadRequest,
                "auth is read from the file that the gateway was started with; leave config_path out",
            ));
        }
        let found = self.rotation.reload().await?;
        let KeyChange {
            added,
            removed,
            signs,
        } = &found.keys;
        Ok(ok(&json!({
            "config_type": body.config_type,
            "changes": shown(&found.changes),
            "keys": {"added": added, "removed": removed, "signs": signs},
        })))
    }
}

fn shown(changes: &[Change]) -> Vec<Value> {
    changes
        .iter()
        .map(|change| json!({"path": change.path, "before": change.before, "after": change.after}))
        .collect()
}
