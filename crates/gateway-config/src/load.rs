//! Where a configuration comes from: defaults, then the file, then the environment, then flags.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{Config, Storage};
use crate::error::{ConfigError, ConfigErrors, ErrorKind, Origin};
use crate::platforms::Platforms;
use crate::reading::Reading;
use crate::routing::Routing;
use crate::startable;

pub(crate) mod environment;
pub(crate) mod file;
pub(crate) mod layer;

use environment::Variables;
use layer::{Layer, known_paths, reading};

/// Name of the platforms' file beside the main one.
pub(crate) const PLATFORM_STRATEGY: &str = "platform_strategy.json";
/// Name of the routes' file beside the main one.
pub(crate) const ROUTER_CONFIG: &str = "router_config.json";

/// What to load.
#[derive(Clone, Default)]
pub struct LoadOptions {
    /// The main file; without it the defaults, the environment and flags are all there is.
    pub main: Option<PathBuf>,
    /// The platforms' file; left out, `platform_strategy.json` beside the main file if it is there.
    pub platform_strategy: Option<PathBuf>,
    /// The routes' file; left out, `router_config.json` beside the main file if it is there.
    pub router_config: Option<PathBuf>,
    /// Development: the store is embedded whatever is configured.
    pub dev: bool,
    /// The environment, name and value; only `GATEWAY__…` and `REDIS_…` are looked at.
    pub env: Vec<(String, String)>,
    /// What flags set, by path (`server.http_port`) and text; they win over all else.
    pub overrides: Vec<(String, String)>,
}

/// The environment may hold secrets: only its size is shown.
impl std::fmt::Debug for LoadOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadOptions")
            .field("main", &self.main)
            .field("platform_strategy", &self.platform_strategy)
            .field("router_config", &self.router_config)
            .field("dev", &self.dev)
            .field("env", &self.env.len())
            .field("overrides", &self.overrides.len())
            .finish()
    }
}

/// Which files were read.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The main file.
    pub main: Option<PathBuf>,
    /// The platforms' file; `None` where the defaults are used.
    pub platform_strategy: Option<PathBuf>,
    /// The routes' file; `None` where the defaults are used.
    pub router_config: Option<PathBuf>,
    /// The configuration folder: where the main file is. Files named by a reload must lie in it.
    pub folder: Option<PathBuf>,
}

/// Something that was accepted and should be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Whose word it was.
    pub origin: Origin,
    /// Path of the key.
    pub path: String,
    /// What about it.
    pub message: String,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}: {}", self.origin, self.path, self.message)
    }
}

/// What was loaded.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What should be looked at.
    pub warnings: Vec<Warning>,
    /// Which files were read, as in [`Config::sources`].
    pub sources: Sources,
    origins: Origins,
}

impl Loaded {
    /// Where a key of the main file was set, or the section around it.
    #[must_use]
    pub fn origin_at(&self, path: &str) -> Origin {
        self.origins.0.origin_at(path)
    }
}

/// Where each value came from. Without `Debug` of its own: it holds the values, secrets among them.
#[derive(Clone)]
struct Origins(Arc<Reading>);

impl std::fmt::Debug for Origins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Origins")
    }
}

/// Loads and checks a configuration.
///
/// What parses but must not run outside development is among the warnings; see [`Config::check_startable`].
///
/// # Errors
/// Everything that is wrong in any file, variable or flag, at once.
pub fn load(options: LoadOptions) -> Result<Loaded, ConfigErrors> {
    let sources = find(&options);
    let mut errors = Vec::new();
    let mut read = |path: &Option<PathBuf>| {
        let path = path.as_ref()?;
        file::read(path)
            .map_err(|kind| errors.push(whole_file(path, kind)))
            .ok()
    };
    let main = read(&sources.main);
    let platform_strategy = read(&sources.platform_strategy);
    let router_config = read(&sources.router_config);

    let (mut main, mut warnings) = main_document(main, &sources, &options, &mut errors);
    let mut platforms = document(platform_strategy, &Platforms::keys(), &mut errors);
    let mut router = document(router_config, &Routing::keys(), &mut errors);

    let shared = router
        .as_ref()
        .map(|router| Routing::shared_endpoints(&router.root()))
        .unwrap_or_default();
    let mut config = Config::read_main(&mut main, &shared);
    if main.errors.is_empty() {
        crate::checks::check(&config, &mut main);
    }
    if let Some(platforms) = &mut platforms {
        config.platforms = Platforms::read(platforms);
    }
    if let Some(router) = &mut router {
        config.router = Routing::read(&config.services, router);
    }
    if options.dev && config.storage == Storage::Redis {
        config.storage = Storage::Embedded;
        warnings.push(Warning {
            origin: main.origin_at("storage"),
            path: "storage".to_owned(),
            message: "in development sessions and tokens are kept in this process, not in Redis".to_owned(),
        });
    }
    warnings.extend(warn(&config, &main, router.as_ref()));
    errors.append(&mut main.errors);
    errors.extend(platforms.into_iter().flat_map(|reading| reading.errors));
    errors.extend(router.into_iter().flat_map(|reading| reading.errors));
    if !errors.is_empty() {
        return Err(ConfigErrors(errors));
    }
    config.sources = sources.clone();
    Ok(Loaded {
        config,
        warnings,
        sources,
        origins: Origins(Arc::new(main)),
    })
}

/// The main file with the environment and the flags laid over it.
pub(crate) fn main_document(
    file: Option<Layer>,
    sources: &Sources,
    options: &LoadOptions,
    errors: &mut Vec<ConfigError>,
) -> (Reading, Vec<Warning>) {
    let variables = Variables::new(&options.env, file.as_ref());
    errors.extend(variables.errors);
    let mut layers: Vec<Layer> = file.into_iter().chain(variables.layers).collect();
    for (path, value) in &options.overrides {
        match Layer::single(Origin::Flag(path.clone()), path, value) {
            Some(layer) => layers.push(layer),
            None => errors.push(unknown(Origin::Flag(path.clone()), path)),
        }
    }
    let fallback = sources.main.clone().map_or(Origin::Default, Origin::File);
    let reading = reading(layers, known_paths(&Config::keys()), fallback, errors);
    (reading, variables.warnings)
}

fn find(options: &LoadOptions) -> Sources {
    let folder = options.main.as_ref().map(|main| match main.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    });
    let beside = |named: &Option<PathBuf>, name: &str| {
        let there = || {
            folder
                .as_ref()
                .map(|folder| folder.join(name))
                .filter(|path| path.exists())
        };
        named.clone().or_else(there)
    };
    Sources {
        platform_strategy: beside(&options.platform_strategy, PLATFORM_STRATEGY),
        router_config: beside(&options.router_config, ROUTER_CONFIG),
        main: options.main.clone(),
        folder,
    }
}

/// A reading of a document that no environment variable changes.
pub(crate) fn document(
    layer: Option<Layer>,
    keys: &[crate::setting::Key],
    errors: &mut Vec<ConfigError>,
) -> Option<Reading> {
    let layer = layer?;
    let origin = layer.origin.clone();
    Some(reading(vec![layer], known_paths(keys), origin, errors))
}

pub(crate) fn whole_file(path: &Path, kind: ErrorKind) -> ConfigError {
    ConfigError {
        origin: Origin::File(path.to_owned()),
        path: String::new(),
        kind,
    }
}

/// A path with an empty part.
fn unknown(origin: Origin, path: &str) -> ConfigError {
    let known = known_paths(&Config::keys());
    let nearest = crate::nearest::nearest(path, known.iter().map(String::as_str))
        .unwrap_or_default()
        .to_owned();
    ConfigError {
        origin,
        path: path.to_owned(),
        kind: ErrorKind::UnknownKey { nearest },
    }
}

fn warn(config: &Config, main: &Reading, router: Option<&Reading>) -> Vec<Warning> {
    let mut warnings: Vec<Warning> = startable::problems(config)
        .into_iter()
        .map(|problem| {
            let place = if problem.path.starts_with("http_routes") {
                router.unwrap_or(main)
            } else {
                main
            };
            Warning {
                origin: place.origin_at(&problem.path),
                path: problem.path,
                message: problem.message,
            }
        })
        .collect();
    if config.logging.file_path.is_some() {
        warnings.push(Warning {
            origin: main.origin_at("logging.file_path"),
            path: "logging.file_path".to_owned(),
            message: "this version logs to the console; no file is written".to_owned(),
        });
    }
    if let Some(router) = router
        && !config.router.load_balancing.backend_servers.is_empty()
    {
        warnings.push(Warning {
            origin: router.origin_at("load_balancing.backend_servers"),
            path: "load_balancing.backend_servers".to_owned(),
            message: "serve every service for which `services` names no endpoint".to_owned(),
        });
    }
    warnings
}
