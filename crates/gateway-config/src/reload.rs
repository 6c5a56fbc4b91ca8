//! Reading one of the two smaller files again while the gateway runs, or the keys of the main one.
//!
//! A reload may be asked for over the network, so the file that it names must lie in the configuration folder,
//! whatever `..` and symbolic links say. Nothing is swapped here: the caller gets a new [`Config`] or an error.

use std::path::{Component, Path, PathBuf};

use crate::config::Config;
use crate::error::{ConfigError, ConfigErrors, ErrorKind};
use crate::load::{
    LoadOptions, PLATFORM_STRATEGY, ROUTER_CONFIG, Sources, Warning, document, file, main_document,
    whole_file,
};
use crate::platforms::Platforms;
use crate::routing::Routing;
use crate::show::{Change, difference};
use crate::startable;

/// Which file is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadSection {
    /// `platform_strategy.json`.
    PlatformStrategy,
    /// `router_config.json`.
    RouterConfig,
}

impl ReloadSection {
    /// Its name as a reload's `config_type`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PlatformStrategy => "platform_strategy",
            Self::RouterConfig => "router_config",
        }
    }

    /// The section of that `config_type`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::PlatformStrategy, Self::RouterConfig]
            .into_iter()
            .find(|section| section.name() == name)
    }

    fn file(self) -> &'static str {
        match self {
            Self::PlatformStrategy => PLATFORM_STRATEGY,
            Self::RouterConfig => ROUTER_CONFIG,
        }
    }
}

/// What a reload would change.
#[derive(Debug, Clone)]
pub struct Reloaded {
    /// The new configuration.
    pub config: Config,
    /// How it differs from the current one.
    pub changes: Vec<Change>,
    /// What should be looked at.
    pub warnings: Vec<Warning>,
    /// The file that was read; `None` where the defaults were taken.
    pub file: Option<PathBuf>,
}

/// Why a reload failed; the current configuration stays.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file that was named does not lie in the configuration folder, or that folder is gone.
    #[error("config_path must lie inside the configuration folder")]
    OutsideFolder,
    /// The file cannot be read, or something in it is wrong.
    #[error(transparent)]
    Invalid(#[from] ConfigErrors),
}

/// Reads one of the smaller files again. Without `path` it is the file that was loaded at start, else the one beside
/// the main file, else the defaults. A relative `path` starts at `config_folder`, and every `path` must end in it; the
/// file loaded at start may have been named from elsewhere.
///
/// # Errors
/// [`ReloadError`]; `current` is untouched.
pub fn reload_section(
    current: &Config,
    section: ReloadSection,
    path: Option<&Path>,
    config_folder: &Path,
) -> Result<Reloaded, ReloadError> {
    let path = match path {
        Some(path) => Some(inside(path, config_folder)?),
        None => usual(section, &current.sources, config_folder),
    };
    let mut config = current.clone();
    let mut warnings = Vec::new();
    let Some(path) = path else {
        match section {
            ReloadSection::PlatformStrategy => config.platforms = Platforms::default(),
            ReloadSection::RouterConfig => config.router = Routing::default(),
        }
        return Ok(Reloaded {
            changes: difference(current, &config),
            config,
            warnings,
            file: None,
        });
    };
    let layer = file::read(&path).map_err(|kind| ConfigErrors(vec![whole_file(&path, kind)]))?;
    let origin = layer.origin.clone();
    let mut errors = Vec::new();
    let keys = match section {
        ReloadSection::PlatformStrategy => Platforms::keys(),
        ReloadSection::RouterConfig => Routing::keys(),
    };
    if let Some(mut reading) = document(Some(layer), &keys, &mut errors) {
        match section {
            ReloadSection::PlatformStrategy => config.platforms = Platforms::read(&mut reading),
            ReloadSection::RouterConfig => config.router = Routing::read(&config.services, &mut reading),
        }
        errors.extend(reading.errors);
    }
    if !errors.is_empty() {
        return Err(ConfigErrors(errors).into());
    }
    let mut warn = |path: &str, message: String| {
        warnings.push(Warning {
            origin: origin.clone(),
            path: path.to_owned(),
            message,
        });
    };
    if config.router.load_balancing.backend_servers != current.router.load_balancing.backend_servers {
        let message = "is read at start only; the change takes effect with the next one".to_owned();
        warn("load_balancing.backend_servers", message);
    }
    for problem in startable::problems(&config) {
        if problem.path.starts_with("http_routes") {
            warn(&problem.path, problem.message);
        }
    }
    Ok(Reloaded {
        changes: difference(current, &config),
        config,
        warnings,
        file: Some(path),
    })
}

/// Reads the keys of `auth` in the main file again: `jwt_secret`, `keys`, `signing_kid`, `admin_keys`, `service_keys` and
/// `service_certificates`. `options` are those of the start; a secret that `--dev` has made up stays. Files that keys are
/// in are not read here.
///
/// # Errors
/// [`ReloadError`] where anything in the main file is wrong, or a key must not be used; `current` is untouched.
pub fn reload_auth(current: &Config, options: &LoadOptions) -> Result<Reloaded, ReloadError> {
    let layer = options
        .main
        .as_ref()
        .map(|path| file::read(path).map_err(|kind| ConfigErrors(vec![whole_file(path, kind)])))
        .transpose()?;
    let mut errors = Vec::new();
    let (mut main, _) = main_document(layer, &current.sources, options, &mut errors);
    let read = Config::read_main(&mut main, &[]);
    if main.errors.is_empty() {
        crate::checks::check(&read, &mut main);
    }
    errors.append(&mut main.errors);
    let mut config = current.clone();
    let (auth, new) = (&mut config.auth, read.auth);
    if new.jwt_secret.is_some() || !options.dev {
        auth.jwt_secret = new.jwt_secret;
    }
    auth.keys = new.keys;
    auth.signing_kid = new.signing_kid;
    auth.admin_keys = new.admin_keys;
    auth.service_keys = new.service_keys;
    auth.service_certificates = new.service_certificates;
    let unfit = config.check_startable(options.dev);
    errors.extend(
        unfit
            .into_iter()
            .filter(|problem| problem.path.starts_with("auth."))
            .map(|problem| ConfigError {
                origin: main.origin_at(&problem.path),
                path: problem.path,
                kind: ErrorKind::Invalid(problem.message),
            }),
    );
    if !errors.is_empty() {
        return Err(ConfigErrors(errors).into());
    }
    Ok(Reloaded {
        changes: difference(current, &config),
        config,
        warnings: Vec::new(),
        file: options.main.clone(),
    })
}

fn usual(section: ReloadSection, sources: &Sources, folder: &Path) -> Option<PathBuf> {
    let loaded = match section {
        ReloadSection::PlatformStrategy => &sources.platform_strategy,
        ReloadSection::RouterConfig => &sources.router_config,
    };
    // Without a main file nothing was looked for beside it, and nothing is now.
    let beside = || {
        sources
            .main
            .as_ref()
            .map(|_| folder.join(section.file()))
            .filter(|path| path.exists())
    };
    loaded.clone().or_else(beside)
}

/// The real path of a file in the folder.
fn inside(path: &Path, folder: &Path) -> Result<PathBuf, ReloadError> {
    let folder = folder.canonicalize().map_err(|_| ReloadError::OutsideFolder)?;
    let asked = folder.join(path);
    match asked.canonicalize() {
        Ok(real) if real.starts_with(&folder) => Ok(real),
        Ok(_) => Err(ReloadError::OutsideFolder),
        // Whether a file is there is told only of what would be inside.
        Err(error) if plainly_inside(path, &asked, &folder) => {
            let kind = ErrorKind::Unreadable(error.to_string());
            Err(ConfigErrors(vec![whole_file(path, kind)]).into())
        }
        Err(_) => Err(ReloadError::OutsideFolder),
    }
}

/// True for a path without `..` whose nearest existing folder is inside.
fn plainly_inside(path: &Path, asked: &Path, folder: &Path) -> bool {
    let plain = path
        .components()
        .all(|part| !matches!(part, Component::ParentDir));
    let existing = asked
        .ancestors()
        .skip(1)
        .find_map(|parent| parent.canonicalize().ok());
    plain && existing.is_some_and(|parent| parent.starts_with(folder))
}
