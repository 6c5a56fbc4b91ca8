//! Which handler a command goes to: exact numbers before ranges.
//!
//! A table is built whole from the configuration and swapped whole; it is never changed in place. Where two entries
//! name the same number, or two ranges overlap, the later entry wins there, so that a file's routes can be laid over
//! the defaults.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gateway_config::{Handler, LocalHandler, RouteRule, Routing, Sensitivity};
use rustc_hash::FxHashMap;

use crate::flow::CallLimits;

/// How one command is handled.
#[derive(Debug, Clone)]
pub struct Route {
    /// Here, or at which service.
    pub handler: Handler,
    /// Bounds the whole call, repeats included.
    pub timeout: Duration,
    /// How often a command may be sent again, with the same request id.
    pub retry_count: u32,
    /// Whether it may be sent again although it may have been done.
    pub idempotent: bool,
    /// How fresh the session's authentication must be.
    pub sensitivity: Sensitivity,
}

impl Route {
    /// What [`Router::call`](crate::Router::call) needs of it.
    #[must_use]
    pub fn limits(&self) -> CallLimits {
        CallLimits {
            timeout: self.timeout,
            retry_count: self.retry_count,
            idempotent: self.idempotent,
        }
    }
}

impl From<&RouteRule> for Route {
    fn from(rule: &RouteRule) -> Self {
        Self {
            handler: rule.handler.clone(),
            timeout: rule.timeout,
            retry_count: rule.retry_count,
            idempotent: rule.idempotent,
            sensitivity: rule.sensitivity,
        }
    }
}

/// All routes: a hash map of single commands, then ranges that do not overlap, sorted.
#[derive(Debug, Default)]
pub struct RouteTable {
    /// Keys come from the configuration alone: a hash without a key does, at half the instructions.
    exact: FxHashMap<u32, Arc<Route>>,
    ranges: Vec<(u32, u32, Arc<Route>)>,
}

impl RouteTable {
    /// Builds the table of a configuration's routes.
    #[must_use]
    pub fn new(routing: &Routing) -> Self {
        Self::from_rules(&routing.routes)
    }

    /// Builds the table of these rules; later ones win.
    #[must_use]
    pub fn from_rules<'a>(rules: impl IntoIterator<Item = &'a RouteRule>) -> Self {
        let mut exact = FxHashMap::default();
        let mut ranges = BTreeMap::new();
        for rule in rules {
            let (first, last) = (*rule.commands.start(), *rule.commands.end());
            let route = Arc::new(Route::from(rule));
            if first == last {
                exact.insert(first, route);
            } else if first < last {
                lay_over(&mut ranges, first, last, route);
            }
        }
        Self {
            exact,
            ranges: ranges
                .into_iter()
                .map(|(first, (last, route))| (first, last, route))
                .collect(),
        }
    }

    /// The lowest command with an exact route to a handler of the gateway's own, and that route.
    #[must_use]
    pub fn local(&self, handler: LocalHandler) -> Option<(u32, &Arc<Route>)> {
        let answers = |route: &Arc<Route>| route.handler == Handler::Local(handler);
        self.exact
            .iter()
            .filter(|(_, route)| answers(route))
            .map(|(cmd_id, route)| (*cmd_id, route))
            .min_by_key(|(cmd_id, _)| *cmd_id)
    }

    /// The route of a command, if there is one.
    #[must_use]
    pub fn get(&self, cmd_id: u32) -> Option<&Arc<Route>> {
        if let Some(route) = self.exact.get(&cmd_id) {
            return Some(route);
        }
        let after = self.ranges.partition_point(|(first, _, _)| *first <= cmd_id);
        let (_, last, route) = self.ranges.get(after.checked_sub(1)?)?;
        (cmd_id <= *last).then_some(route)
    }
}

/// Puts a range over those that are there, cutting away what it covers.
fn lay_over(ranges: &mut BTreeMap<u32, (u32, Arc<Route>)>, first: u32, last: u32, route: Arc<Route>) {
    let touched: Vec<u32> = ranges
        .range(..=last)
        .filter(|(_, (end, _))| *end >= first)
        .map(|(start, _)| *start)
        .collect();
    for start in touched {
        let Some((end, old)) = ranges.remove(&start) else {
            continue;
        };
        if start < first {
            ranges.insert(start, (first - 1, old.clone()));
        }
        if end > last {
            ranges.insert(last + 1, (end, old));
        }
    }
    ranges.insert(first, (last, route));
}

#[cfg(test)]
#[path = "table/tests.rs"]
mod tests;
