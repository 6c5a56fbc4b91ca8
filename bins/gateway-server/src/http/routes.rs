//! The table of the HTTP API: every path, who may ask for it, and what it is for.

use http::Method;
use matchit::Router;

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    Login,
    Logout,
    Refresh,
    Verify,
    Stats,
    Kick,
    Online,
    Health,
    SystemMetrics,
    Reload,
    Push,
    Message,
    OpenApi,
    Metrics,
    Live,
    Ready,
}

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Open,
    /// Whoever holds an access token.
    Bearer,
    /// An access token with the role `admin`, or an admin key.
    Admin,
    /// A service key.
    Service,
}

/// One line of the table.
#[derive(Debug, Clone)]
pub struct HttpRoute {
    pub method: Method,
    /// Under `/api` and `/api/v1`, unless [`HttpRoute::bare`].
    pub path: &'static str,
    pub bare: bool,
    pub access: Access,
    pub endpoint: Endpoint,
    pub summary: &'static str,
    /// Fields of the JSON body, `?` behind those that may be left out.
    pub body: &'static [&'static str],
    /// Parameters of the query.
    pub query: &'static [&'static str],
}

/// Every path that is served.
pub fn table() -> Vec<HttpRoute> {
    use Access::{Admin, Bearer, Open, Service};
    let get = |path, access, endpoint, summary| HttpRoute {
        method: Method::GET,
        path,
        bare: false,
        access,
        endpoint,
        summary,
        body: &[],
        query: &[],
    };
    let post = |path, access, endpoint, summary, body| HttpRoute {
        method: Method::POST,
        body,
        ..get(path, access, endpoint, summary)
    };
    let bare = |path, endpoint, summary| HttpRoute {
        bare: true,
        ..get(path, Open, endpoint, summary)
    };
    vec![
        post(
            "/auth/login",
            Open,
            Endpoint::Login,
            "Log in and get a token pair",
            &["username?", "account?", "password", "device_id?", "platform?"],
        ),
        post(
            "/auth/logout",
            Bearer,
            Endpoint::Logout,
            "Revoke the pair and close the device's sessions",
            &[],
        ),
        post(
            "/auth/refresh",
            Open,
            Endpoint::Refresh,
            "Exchange a refresh token for a new pair",
            &["refresh_token", "device_id?"],
        ),
        get(
            "/auth/verify",
            Bearer,
            Endpoint::Verify,
            "Whether the bearer is valid, and whose it is",
        ),
        get(
            "/connections/stats",
            Admin,
            Endpoint::Stats,
            "Connections by state, platform and node",
        ),
        post(
            "/connections/kick",
            Admin,
            Endpoint::Kick,
            "End sessions of a user",
            &["user_id", "device_id?", "platform?", "reason?"],
        ),
        HttpRoute {
            query: &["cursor", "limit"],
            ..get(
                "/connections/online",
                Admin,
                Endpoint::Online,
                "Who is online, page by page",
            )
        },
        get(
            "/system/health",
            Open,
            Endpoint::Health,
            "State of the gateway and its parts",
        ),
        get(
            "/system/metrics",
            Admin,
            Endpoint::SystemMetrics,
            "Connections, performance and resources",
        ),
        post(
            "/system/reload",
            Admin,
            Endpoint::Reload,
            "Swap a part of the configuration",
            &["config_type", "config_path?"],
        ),
        post(
            "/push",
            Service,
            Endpoint::Push,
            "Push to users or to one device",
            &[
                "user_id?",
                "user_ids?",
                "device_id?",
                "platform?",
                "content",
                "push_id?",
                "type?",
                "message_id?",
                "sender_uid?",
                "conversation_type?",
                "conversation_id?",
                "wait_ms?",
            ],
        ),
        post(
            "/message",
            Bearer,
            Endpoint::Message,
            "One JSON message, as on the WebSocket",
            &[
                "cmd_id",
                "seq?",
                "data?",
                "user_id?",
                "session_id?",
                "device_id?",
                "platform?",
            ],
        ),
        get(
            "/openapi.json",
            Open,
            Endpoint::OpenApi,
            "This table, machine-readable",
        ),
        bare("/metrics", Endpoint::Metrics, "Figures for Prometheus"),
        bare("/livez", Endpoint::Live, "Whether the process lives"),
        bare("/readyz", Endpoint::Ready, "Whether the gateway takes clients"),
    ]
}

/// The table, made ready to look paths up.
pub struct Routes {
    router: Router<Vec<HttpRoute>>,
}

impl Default for Routes {
    /// Reads [`table`].
    fn default() -> Self {
        let mut by_path: std::collections::BTreeMap<String, Vec<HttpRoute>> = Default::default();
        for route in table() {
            for path in paths(&route) {
                by_path.entry(path).or_default().push(route.clone());
            }
        }
        let mut router = Router::new();
        for (path, routes) in by_path {
            if let Err(error) = router.insert(&path, routes) {
                tracing::error!(%error, path, "a path of the HTTP API is served twice");
            }
        }
        Self { router }
    }
}

impl Routes {
    /// The route of a request; HEAD is served where GET is.
    ///
    /// # Errors
    /// For a path that is not in the table, or a method that the path does not have.
    pub fn find(&self, method: &Method, path: &str) -> Result<&HttpRoute, NoRoute> {
        let method = if method == Method::HEAD {
            &Method::GET
        } else {
            method
        };
        let routes = self.router.at(path).map_err(|_| NoRoute::Path)?.value;
        let found = routes.iter().find(|route| route.method == *method);
        found.ok_or_else(|| NoRoute::Method {
            allowed: allowed(routes),
            bare: routes.iter().any(|route| route.bare),
        })
    }
}

/// Why a request has no route.
#[derive(Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// No such path: 404.
    Path,
    /// The path does not have the method: 405, with what it has for `Allow` (RFC 9110, 15.5.6).
    Method { allowed: String, bare: bool },
}

fn allowed(routes: &[HttpRoute]) -> String {
    let mut methods: Vec<&str> = routes.iter().map(|route| route.method.as_str()).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.join(", ")
}

/// The paths that a line of the table is served under.
pub fn paths(route: &HttpRoute) -> Vec<String> {
    if route.bare {
        return vec![route.path.to_owned()];
    }
    vec![format!("/api{}", route.path), format!("/api/v1{}", route.path)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_prefixes_lead_to_the_same_endpoint() {
        let routes = Routes::default();
        for path in ["/api/auth/login", "/api/v1/auth/login"] {
            assert_eq!(
                routes.find(&Method::POST, path).map(|route| route.endpoint).ok(),
                Some(Endpoint::Login)
            );
        }
    }

    #[test]
    fn every_line_of_the_table_can_be_reached() {
        let routes = Routes::default();
        for line in table() {
            for path in paths(&line) {
                let found = routes.find(&line.method, &path).map(|route| route.endpoint);
                assert_eq!(found.ok(), Some(line.endpoint), "{path}");
            }
        }
    }

    #[test]
    fn a_wrong_method_names_the_right_ones() {
        let routes = Routes::default();
        let missing = |method, path| routes.find(method, path).map(|route| route.endpoint).err();
        let only = |allowed: &str, bare| {
            Some(NoRoute::Method {
                allowed: allowed.to_owned(),
                bare,
            })
        };
        assert_eq!(missing(&Method::GET, "/api/auth/login"), only("POST", false));
        assert_eq!(missing(&Method::POST, "/livez"), only("GET, HEAD", true));
        assert_eq!(missing(&Method::GET, "/api/nothing"), Some(NoRoute::Path));
    }
}
