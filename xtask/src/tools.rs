//! What must be on the machine besides Rust: looked for, and installed where this can be done without asking anybody.
//!
//! Debian packages by apt-get when we are root, which is so in containers and CI; else the error says what to type.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::workspace::check;

/// Something that a step runs.
#[derive(Clone, Copy)]
pub(crate) struct Tool {
    name: &'static str,
    /// A command that succeeds where the tool is usable.
    probe: &'static [&'static str],
    /// The Debian packages that bring it.
    packages: &'static [&'static str],
}

/// Needed to build jemalloc.
pub(crate) const MAKE: Tool = Tool {
    name: "make",
    probe: &["make", "--version"],
    packages: &["make"],
};
pub(crate) const CURL: Tool = Tool {
    name: "curl",
    probe: &["curl", "--version"],
    packages: &["curl", "ca-certificates"],
};
/// `npx` comes with npm; the version check is in the probe because older ones exist on machines in use.
pub(crate) const NODE: Tool = Tool {
    name: "Node.js 18 or later with npm and npx",
    probe: &["sh", "-c", NODE_PROBE],
    packages: &["nodejs", "npm"],
};
const NODE_PROBE: &str = "npx --version && npm --version && \
    node -e 'process.exit(Number(process.versions.node.split(\".\")[0]) >= 18 ? 0 : 1)'";
/// Debian cuts `venv` and `ensurepip` out of its python3 package, so the modules are what is asked for.
pub(crate) const PYTHON: Tool = Tool {
    name: "Python 3.9 or later with venv",
    probe: &[
        "python3",
        "-c",
        "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))",
    ],
    packages: &["python3", "python3-venv", "python3-pip"],
};

/// `go.mod` of the clients asks for this version; Debian 12 has an older one.
pub(crate) const GO: Tool = Tool {
    name: "Go 1.23 or later",
    probe: &["sh", "-c", GO_PROBE],
    packages: &["golang-go"],
};
const GO_PROBE: &str = "go version | grep -Eq 'go1\\.(2[3-9]|[3-9][0-9])'";
/// A compiler and not only a runtime; Maven fetches the libraries.
pub(crate) const JAVA: Tool = Tool {
    name: "JDK 17 or later with Maven",
    probe: &["sh", "-c", "mvn --version && javac --release 17 --version"],
    packages: &["default-jdk-headless", "maven"],
};
pub(crate) const CHROMIUM: Tool = Tool {
    name: "chromium",
    probe: &["chromium", "--version"],
    packages: &["chromium"],
};
pub(crate) const FIREFOX: Tool = Tool {
    name: "firefox-esr",
    probe: &["firefox-esr", "--version"],
    packages: &["firefox-esr"],
};
pub(crate) const NGINX: Tool = Tool {
    name: "nginx",
    probe: &["/usr/sbin/nginx", "-v"],
    packages: &["nginx-light"],
};
pub(crate) const HAPROXY: Tool = Tool {
    name: "haproxy",
    probe: &["/usr/sbin/haproxy", "-v"],
    packages: &["haproxy"],
};
pub(crate) const APACHE: Tool = Tool {
    name: "apache2",
    probe: &["/usr/sbin/apache2", "-v"],
    packages: &["apache2-bin"],
};
pub(crate) const CADDY: Tool = Tool {
    name: "caddy",
    probe: &["caddy", "version"],
    packages: &["caddy"],
};

/// Sessions and tokens of several nodes, in tests.
pub(crate) const REDIS: Tool = Tool {
    name: "redis-server with redis-cli",
    probe: &["sh", "-c", "redis-server --version && redis-cli --version"],
    packages: &["redis-server"],
};
/// Certificates of the Redis that tests speak TLS to.
pub(crate) const OPENSSL: Tool = Tool {
    name: "openssl",
    probe: &["openssl", "version"],
    packages: &["openssl"],
};

/// Counts system calls.
pub(crate) const STRACE: Tool = Tool {
    name: "strace",
    probe: &["strace", "--version"],
    packages: &["strace"],
};
/// Keeps servers and load on cores of their own.
pub(crate) const TASKSET: Tool = Tool {
    name: "taskset",
    probe: &["taskset", "--version"],
    packages: &["util-linux"],
};

/// Counts the instructions of benchmarks.
pub(crate) const VALGRIND: Tool = Tool {
    name: "valgrind",
    probe: &["valgrind", "--version"],
    packages: &["valgrind"],
};

impl Tool {
    fn usable(&self) -> bool {
        let [program, arguments @ ..] = self.probe else {
            return false;
        };
        Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

/// The names of those that cannot be used as they are; empty when all can.
pub(crate) fn missing(tools: &[Tool]) -> String {
    let missing: Vec<&str> = tools
        .iter()
        .filter(|tool| !tool.usable())
        .map(|tool| tool.name)
        .collect();
    missing.join(", ")
}

/// Installs what is missing. Fails saying what to install where that is not ours to do, and where what got
/// installed is too old.
pub(crate) fn ensure(tools: &[Tool]) -> Result<()> {
    let lacking: Vec<&Tool> = tools.iter().filter(|tool| !tool.usable()).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = lacking.iter().flat_map(|tool| tool.packages).copied().collect();
    let names = lacking
        .iter()
        .map(|tool| tool.name)
        .collect::<Vec<_>>()
        .join(", ");
    if !can_install() {
        bail!(
            "missing: {names}. On Debian or Ubuntu: sudo apt-get install {}; elsewhere by your system's own way, \
             then run this command again",
            packages.join(" ")
        );
    }
    println!("installing {}", packages.join(" "));
    check(apt_get().arg("update")).context("apt-get update")?;
    check(
        apt_get()
            .args(["install", "--yes", "--no-install-recommends"])
            .args(&packages),
    )?;
    let still = missing(tools);
    if !still.is_empty() {
        bail!(
            "{still}: still not usable after installing {} (an older version?)",
            packages.join(" ")
        );
    }
    Ok(())
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .arg("-qq")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null());
    command
}

fn can_install() -> bool {
    let root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    let apt = Tool {
        name: "apt-get",
        probe: &["apt-get", "--version"],
        packages: &[],
    };
    root && apt.usable()
}
