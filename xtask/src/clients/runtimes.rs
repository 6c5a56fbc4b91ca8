//! What runs the clients of one language or program: looked for, installed, and turned into a command.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::tools::{self, Tool};
use crate::workspace::{Workspace, check, once};

const PYTHON_PACKAGES: [&str; 5] = [
    "websockets==15.0.1",
    "websocket-client==1.9.0",
    "aiohttp==3.14.5",
    "tornado==6.6.1",
    "autobahn==26.10.2",
];
const QT_PACKAGES: [&str; 1] = ["PyQt6==6.11.0"];
const NODE_PACKAGES: [&str; 5] = [
    "ws@8.18.3",
    "websocket@1.0.35",
    "faye-websocket@0.11.4",
    "undici@7.30.2",
    "wscat@6.1.0",
];
/// Copies what `pom.xml` names; of a fixed version as well.
const COPY_DEPENDENCIES: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";

/// A language, or a program that is a client by itself.
#[derive(Clone, Copy)]
pub(super) enum Runtime {
    Python,
    /// Apart from the other Python packages: it has no wheels for some systems.
    Qt,
    Node,
    Go,
    Java,
    Curl,
    Chromium,
    Firefox,
}

/// How to start a client; the client's name is the last argument.
#[derive(Clone)]
pub(super) struct Launcher {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
}

impl Launcher {
    fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub(super) fn command(&self, workspace: &Workspace, client: &str) -> Command {
        let mut command = workspace.command(&self.program);
        command
            .args(&self.arguments)
            .arg(client)
            .envs(self.environment.iter().cloned());
        command
    }
}

impl Runtime {
    fn tools(self) -> &'static [Tool] {
        match self {
            Self::Python | Self::Qt => &[tools::PYTHON],
            Self::Node => &[tools::NODE],
            Self::Go => &[tools::GO],
            Self::Java => &[tools::JAVA],
            Self::Curl => &[tools::CURL, tools::PYTHON],
            Self::Chromium => &[tools::CHROMIUM, tools::PYTHON],
            Self::Firefox => &[tools::FIREFOX, tools::PYTHON],
        }
    }

    /// Installs what is needed. The error is the reason to skip the runtime's clients.
    pub(super) fn prepare(self, workspace: &Workspace) -> Result<Launcher> {
        tools::ensure(self.tools())?;
        let sources = workspace.root().join("tests/clients");
        match self {
            Self::Python => python(workspace, "clients-python", &PYTHON_PACKAGES, &sources),
            Self::Qt => python(workspace, "clients-qt", &QT_PACKAGES, &sources),
            Self::Node => node(workspace, &sources),
            Self::Go => go(workspace, &sources.join("go")),
            Self::Java => java(workspace, &sources.join("java")),
            Self::Curl => Ok(Launcher::new("python3").argument(sources.join("python/curl.py"))),
            Self::Chromium => Ok(browser(&sources, "chromium")),
            Self::Firefox => Ok(browser(&sources, "firefox-esr")),
        }
    }
}

fn browser(sources: &Path, program: &str) -> Launcher {
    Launcher::new("python3")
        .argument(sources.join("python/browser.py"))
        .argument(program)
}

/// A virtual environment with the packages.
fn python(workspace: &Workspace, name: &str, packages: &[&str], sources: &Path) -> Result<Launcher> {
    let folder = workspace.scratch(name)?;
    let python = folder.join("bin/python3");
    once(&folder, &packages.join(" "), || {
        let environment = ["-m", "venv", "--clear"];
        check(workspace.command("python3").args(environment).arg(&folder))?;
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        check(workspace.command(&python).args(install).args(packages))
    })?;
    Ok(Launcher::new(python).argument(sources.join("python/client.py")))
}

fn node(workspace: &Workspace, sources: &Path) -> Result<Launcher> {
    let folder = workspace.scratch("clients-node")?;
    once(&folder, &NODE_PACKAGES.join(" "), || {
        // npm installs into the nearest folder above that has one, so this has to exist.
        std::fs::write(folder.join("package.json"), "{\"private\": true}\n")
            .context("writing package.json")?;
        let install = [
            "install",
            "--no-audit",
            "--no-fund",
            "--no-progress",
            "--ignore-scripts",
        ];
        check(
            Command::new("npm")
                .args(install)
                .args(NODE_PACKAGES)
                .current_dir(&folder)
                .stdin(Stdio::null()),
        )
    })?;
    let mut launcher = Launcher::new("node")
        .argument("--no-warnings")
        .argument(sources.join("node/client.mjs"));
    launcher.environment.push(("CLIENT_MODULES", folder.into()));
    Ok(launcher)
}

/// `go build` knows by itself what has changed; its caches are ours, so that the machine stays as it was.
fn go(workspace: &Workspace, sources: &Path) -> Result<Launcher> {
    let folder = workspace.scratch("clients-go")?;
    let program = folder.join("client");
    check(
        workspace
            .command("go")
            .current_dir(sources)
            .args(["build", "-o"])
            .arg(&program)
            .arg(".")
            .env("GOTOOLCHAIN", "local")
            // Modules are read-only otherwise, and the target folder could not be deleted.
            .env("GOFLAGS", "-modcacherw")
            .env("GOMODCACHE", folder.join("modules"))
            .env("GOCACHE", folder.join("cache")),
    )?;
    Ok(Launcher::new(program))
}

fn java(workspace: &Workspace, sources: &Path) -> Result<Launcher> {
    let folder = workspace.scratch("clients-java")?;
    let (libraries, classes) = (folder.join("libraries"), folder.join("classes"));
    let pom = sources.join("pom.xml");
    let packages = std::fs::read_to_string(&pom).with_context(|| format!("reading {}", pom.display()))?;
    once(&folder, &packages, || {
        let setting = |name: &str, folder: &Path| format!("-D{name}={}", folder.display());
        check(
            workspace
                .command("mvn")
                .args(["--quiet", "--batch-mode", "--file"])
                .arg(&pom)
                .arg(setting("maven.repo.local", &folder.join("repository")))
                .arg(setting("outputDirectory", &libraries))
                .arg(COPY_DEPENDENCIES),
        )
    })?;
    let libraries = libraries.join("*");
    let files = ["Library.java", "Conversation.java", "Client.java"].map(|name| sources.join(name));
    check(
        workspace
            .command("javac")
            .arg("--class-path")
            .arg(&libraries)
            .arg("-d")
            .arg(&classes)
            .args(files),
    )?;
    let path = std::env::join_paths([classes, libraries]).context("a class path")?;
    Ok(Launcher::new("java")
        // Starts sooner; the conversation is too short for the second compiler.
        .argument("-XX:TieredStopAtLevel=1")
        .argument("--class-path")
        .argument(path)
        .argument("Client"))
}
