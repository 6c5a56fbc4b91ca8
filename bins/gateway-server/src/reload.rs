//! Swaps the platform rules or the routes of a running gateway: whole, or not at all. Keys are in [`crate::rotation`].
//!
//! The new file is read and checked before anything changes; sockets stay, and sessions keep the rules that they
//! were bound under.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use gateway_codec::Code;
use gateway_config::{Change, Config, ReloadError, ReloadSection, reload_section};
use gateway_conn::Registry;
use gateway_router::Router;

use crate::fault::Fault;

pub use gateway_config::ReloadSection as ReloadKind;

/// What is needed to read a part of the configuration again and to hand it to those who follow it.
pub struct Reload {
    /// The configuration in force. Held while a reload is made, so that two of them do not cross.
    pub current: Arc<Mutex<Config>>,
    /// The folder that files must lie in.
    pub folder: PathBuf,
    pub registry: Arc<Registry>,
    pub router: Arc<Router>,
}

impl Reload {
    /// Reads a part again, from `path` or from where it is looked for by default, and swaps it in.
    ///
    /// # Errors
    /// 403 for a path outside the configuration folder, 400 for a file that does not hold; the old part stays.
    pub fn run(&self, section: ReloadSection, path: Option<&Path>) -> Result<Vec<Change>, Fault> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let reloaded = reload_section(&current, section, path, &self.folder).map_err(|error| {
            tracing::warn!(%error, ?section, "a configuration was not taken");
            refused(&error)
        })?;
        match section {
            ReloadSection::PlatformStrategy => {
                self.registry
                    .set_policies(&reloaded.config.platforms)
                    .map_err(|error| Fault::rule(Code::BadRequest, error.to_string()))?;
            }
            ReloadSection::RouterConfig => {
                self.router.reload(&reloaded.config.router);
            }
        }
        tracing::info!(
            ?section,
            changes = reloaded.changes.len(),
            "configuration reloaded"
        );
        *current = reloaded.config;
        Ok(reloaded.changes)
    }
}

fn refused(error: &ReloadError) -> Fault {
    match error {
        ReloadError::OutsideFolder => Fault::rule(
            Code::Forbidden,
            "config_path lies outside the configuration folder",
        ),
        other => Fault::rule(Code::BadRequest, other.to_string()),
    }
}
