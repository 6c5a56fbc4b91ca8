//! The command line of `gateway-server`.
//!
//! `serve` is the default; the other commands look at a configuration or at a token and serve nobody.

pub mod serve;
pub mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use gateway_config::{LoadOptions, Loaded, effective_json, load, reference_markdown};

use crate::preflight;

/// The one door through which every client of an instant-messaging system comes in.
#[derive(Debug, Parser)]
#[command(name = "gateway-server", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Verb>,
    #[command(flatten)]
    files: Files,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve clients (the default).
    Serve,
    /// Read the configuration and say whether a gateway would start with it.
    CheckConfig,
    /// Print the configuration in force, secrets hidden.
    PrintConfig,
    /// Print every key with its type, default and meaning.
    ConfigDoc,
    /// Mint an access token with the configured signing key.
    GenToken(token::Generate),
    /// Say what an access token holds and whether it is good.
    CheckToken(token::Check),
}

/// Where the configuration comes from.
#[derive(Debug, Clone, Args)]
struct Files {
    /// The main configuration file; the two others are looked for beside it.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The platform rules.
    #[arg(long, value_name = "FILE", global = true)]
    platform_strategy: Option<PathBuf>,
    /// The routes.
    #[arg(long, value_name = "FILE", global = true)]
    router_config: Option<PathBuf>,
    /// Embedded store, a secret made at start, friendly logs. Not for production.
    #[arg(long, global = true)]
    dev: bool,
    /// A single setting, as `server.http_port=8081`; comes last.
    #[arg(long = "set", value_name = "KEY=VALUE", global = true, value_parser = setting)]
    set: Vec<(String, String)>,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Verb::ConfigDoc) = cli.command {
        print!("{}", reference_markdown());
        return ExitCode::SUCCESS;
    }
    let mut loaded = match load(options(&cli.files)) {
        Ok(loaded) => loaded,
        Err(errors) => return fail(&errors),
    };
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    match cli.command.unwrap_or(Verb::Serve) {
        Verb::Serve => match startable(&mut loaded, cli.files.dev) {
            Ok(()) => serve::serve(loaded, folder(&cli.files), options(&cli.files)),
            Err(code) => code,
        },
        Verb::CheckConfig => match startable(&mut loaded, cli.files.dev) {
            Ok(()) => {
                println!("the configuration is good");
                ExitCode::SUCCESS
            }
            Err(code) => code,
        },
        Verb::PrintConfig => print_config(&loaded),
        Verb::ConfigDoc => ExitCode::SUCCESS,
        Verb::GenToken(generate) => generate.run(&loaded.config),
        Verb::CheckToken(check) => check.run(&loaded.config),
    }
}

/// What keeps a gateway from starting, all of it at once: what must not run, and what the start would stumble over.
fn startable(loaded: &mut Loaded, dev: bool) -> Result<(), ExitCode> {
    if dev {
        serve::complete_for_dev(&mut loaded.config);
    }
    let mut problems = loaded.config.check_startable(dev);
    if problems.is_empty() {
        problems = preflight::problems(&loaded.config);
    }
    for problem in &problems {
        eprintln!("error: {}: {problem}", loaded.origin_at(&problem.path));
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(ExitCode::from(2))
    }
}

fn print_config(loaded: &Loaded) -> ExitCode {
    match serde_json::to_string_pretty(&effective_json(&loaded.config)) {
        Ok(json) => {
            println!("{json}");
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

fn options(files: &Files) -> LoadOptions {
    LoadOptions {
        main: files.config.clone(),
        platform_strategy: files.platform_strategy.clone(),
        router_config: files.router_config.clone(),
        dev: files.dev,
        env: environment(),
        overrides: files.set.clone(),
    }
}

/// The environment; what is not UTF-8 cannot be a setting of ours.
fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The folder that a reload's files must lie in: that of the main file.
fn folder(files: &Files) -> PathBuf {
    let parent = files.config.as_deref().and_then(|file| file.parent());
    match parent {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a setting is KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(2)
}
