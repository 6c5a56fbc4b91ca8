//! Reverse proxies in front of both listeners, run with the samples of `config/deploy/proxies`.
//!
//! A sample is taken as it is, its ports replaced; what surrounds it on a real machine (the main file of nginx, the
//! modules of Apache) is written here.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::ports::Ports;
use crate::supervise::{Echo, Stopped, Supervised};
use crate::tools::{self, Tool};
use crate::workspace::Workspace;

/// How long a proxy may take to listen.
const LISTENS_WITHIN: Duration = Duration::from_secs(20);

/// One proxy with one of its samples.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Proxy {
    Nginx,
    NginxMinimal,
    Haproxy,
    Apache,
    ApacheTunnel,
    Caddy,
}

/// A proxy that listens.
pub(super) struct Running {
    proxy: Proxy,
    child: Supervised,
    address: SocketAddr,
}

impl Proxy {
    pub(super) const ALL: [Self; 6] = [
        Self::Nginx,
        Self::NginxMinimal,
        Self::Haproxy,
        Self::Apache,
        Self::ApacheTunnel,
        Self::Caddy,
    ];

    /// As the report shows it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::NginxMinimal => "nginx-minimal",
            Self::Haproxy => "haproxy",
            Self::Apache => "apache",
            Self::ApacheTunnel => "apache-wstunnel",
            Self::Caddy => "caddy",
        }
    }

    fn tool(self) -> Tool {
        match self {
            Self::Nginx | Self::NginxMinimal => tools::NGINX,
            Self::Haproxy => tools::HAPROXY,
            Self::Apache | Self::ApacheTunnel => tools::APACHE,
            Self::Caddy => tools::CADDY,
        }
    }

    /// The sample's file name, and how it says where to listen, `80` being the port.
    fn sample(self) -> (&'static str, &'static str) {
        match self {
            Self::Nginx => ("nginx.conf", "listen 80;"),
            Self::NginxMinimal => ("nginx-minimal.conf", "listen 80;"),
            Self::Haproxy => ("haproxy.cfg", "bind :80\n"),
            Self::Apache => ("apache.conf", "<VirtualHost *:80>"),
            Self::ApacheTunnel => ("apache-wstunnel.conf", "<VirtualHost *:80>"),
            Self::Caddy => ("Caddyfile", "\n:80 {"),
        }
    }

    /// The error is the reason to skip it.
    pub(super) fn install(self) -> Result<()> {
        tools::ensure(&[self.tool()])
    }

    /// Starts it in front of the gateway on a free port, and waits until it listens.
    pub(super) async fn start(self, workspace: &Workspace, gateway: &Ports) -> Result<Running> {
        let folder = workspace.scratch(&format!("proxy-{}", self.name()))?;
        let port = free_port()?;
        let (name, listen) = self.sample();
        let path = workspace.root().join("config/deploy/proxies").join(name);
        let sample = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let sample = placed(&sample, listen, port, gateway).with_context(|| format!("{}", path.display()))?;
        let command = self.command(workspace, &folder, &sample, port)?;
        let mut running = Running {
            proxy: self,
            child: Supervised::start(self.name(), command, Echo::Keep)?,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        };
        running.listens().await?;
        Ok(running)
    }

    /// Writes the sample with what has to surround it, and says how to run that in the foreground.
    fn command(self, workspace: &Workspace, folder: &Path, sample: &str, port: u16) -> Result<Command> {
        let file = folder.join("proxy.conf");
        let write =
            |text: &str| std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()));
        let mut command = workspace.command(match self {
            Self::Nginx | Self::NginxMinimal => "/usr/sbin/nginx",
            Self::Haproxy => "/usr/sbin/haproxy",
            Self::Apache | Self::ApacheTunnel => "/usr/sbin/apache2",
            Self::Caddy => "caddy",
        });
        match self {
            Self::Nginx | Self::NginxMinimal => {
                write(&nginx(folder, sample))?;
                command
                    .arg("-p")
                    .arg(folder)
                    .arg("-e")
                    .arg("stderr")
                    .arg("-c")
                    .arg(&file);
            }
            Self::Haproxy => {
                write(sample)?;
                command.arg("-db").arg("-f").arg(&file);
            }
            Self::Apache | Self::ApacheTunnel => {
                write(&apache(folder, sample, port))?;
                command.arg("-DFOREGROUND").arg("-f").arg(&file);
            }
            Self::Caddy => {
                // Its administration would take a fixed port.
                write(&format!("{{\n\tadmin off\n}}\n{sample}"))?;
                command
                    .args(["run", "--adapter", "caddyfile", "--config"])
                    .arg(&file)
                    .env("XDG_DATA_HOME", folder)
                    .env("XDG_CONFIG_HOME", folder);
            }
        }
        Ok(command)
    }
}

impl Running {
    pub(super) fn name(&self) -> &'static str {
        self.proxy.name()
    }

    pub(super) fn websocket_url(&self) -> String {
        format!("ws://{}/ws", self.address)
    }

    pub(super) fn http_url(&self) -> String {
        format!("http://{}", self.address)
    }

    async fn listens(&mut self) -> Result<()> {
        let started = Instant::now();
        while TcpStream::connect(self.address).await.is_err() {
            ensure!(
                started.elapsed() < LISTENS_WITHIN,
                "{} does not listen; its last output:\n{}",
                self.name(),
                self.child.last_output()
            );
            tokio::select! {
                status = self.child.ended() => {
                    bail!("{} ended with {}:\n{}", self.proxy.name(), status?, self.child.last_output())
                }
                () = sleep(Duration::from_millis(50)) => {}
            }
        }
        Ok(())
    }

    /// Fails if it had to be killed; some end with a code other than 0 at SIGTERM.
    pub(super) async fn stop(mut self) -> Result<()> {
        let stopped = self.child.stop().await?;
        ensure!(
            stopped != Stopped::Killed,
            "{} did not stop:\n{}",
            self.name(),
            self.child.last_output()
        );
        Ok(())
    }
}

/// A port that nobody listens on. Another program may take it before the proxy does; then the proxy says so and ends.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a free port")?;
    Ok(listener.local_addr().context("a free port")?.port())
}

/// The sample with these ports instead of 80, 8080 and 8081. Fails if one of them is not in it.
fn placed(sample: &str, listen: &str, port: u16, gateway: &Ports) -> Result<String> {
    let replacements = [
        (listen.to_owned(), listen.replace("80", &port.to_string())),
        (
            "127.0.0.1:8080".to_owned(),
            gateway.reach(gateway.websocket).to_string(),
        ),
        (
            "127.0.0.1:8081".to_owned(),
            gateway.reach(gateway.http).to_string(),
        ),
    ];
    let mut placed = sample.to_owned();
    for (from, to) in &replacements {
        ensure!(placed.contains(from.as_str()), "{from:?} is not in it");
        placed = placed.replace(from.as_str(), to);
    }
    // HAProxy's check of the WebSocket listener asks the HTTP listener.
    Ok(placed.replace("check port 8081", &format!("check port {}", gateway.http)))
}

/// Debian's main file, without what needs root, and the sample in the place of `conf.d`.
fn nginx(folder: &Path, sample: &str) -> String {
    let folder = folder.display();
    format!(
        "daemon off;\n\
         # Workers of another user could not enter the target folder.\n\
         user root;\n\
         worker_processes auto;\n\
         pid {folder}/nginx.pid;\n\
         events {{ worker_connections 768; }}\n\
         http {{\n\
         sendfile on;\n\
         tcp_nopush on;\n\
         types_hash_max_size 2048;\n\
         default_type application/octet-stream;\n\
         access_log {folder}/access.log;\n\
         client_body_temp_path {folder}/body;\n\
         proxy_temp_path {folder}/proxy;\n\
         fastcgi_temp_path {folder}/fastcgi;\n\
         uwsgi_temp_path {folder}/uwsgi;\n\
         scgi_temp_path {folder}/scgi;\n\
         gzip on;\n\
         {sample}\n}}\n"
    )
}

/// The modules of Debian's default site and those that the samples name, and the sample as the only site.
fn apache(folder: &Path, sample: &str, port: u16) -> String {
    let modules = [
        "mpm_event",
        "authz_core",
        "deflate",
        "filter",
        "reqtimeout",
        "proxy",
        "proxy_http",
        "proxy_wstunnel",
    ];
    let modules: String = modules
        .iter()
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .collect();
    let folder = folder.display();
    format!(
        "ServerRoot \"{folder}\"\n\
         ServerName localhost\n\
         PidFile \"{folder}/apache.pid\"\n\
         DefaultRuntimeDir \"{folder}\"\n\
         ErrorLog \"{folder}/error.log\"\n\
         Listen 127.0.0.1:{port}\n\
         User www-data\n\
         Group www-data\n\
         {modules}\
         RequestReadTimeout header=20-40,minrate=500\n\
         RequestReadTimeout body=10,minrate=500\n\
         {sample}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_without_a_port_to_replace_is_refused() {
        let gateway = Ports::standard(Ipv4Addr::LOCALHOST.into());
        let told = placed("listen 80;", "listen 80;", 9, &gateway)
            .unwrap_err()
            .to_string();
        assert!(told.contains("127.0.0.1:8080"), "{told}");
    }

    #[test]
    fn every_port_of_a_sample_is_replaced() {
        let gateway = Ports::from_base(Ipv4Addr::LOCALHOST.into(), 7_000).unwrap();
        let sample = "bind :80\nserver a 127.0.0.1:8080 check port 8081\nserver b 127.0.0.1:8081\n";
        assert_eq!(
            placed(sample, "bind :80\n", 9, &gateway).unwrap(),
            "bind :9\nserver a 127.0.0.1:7000 check port 7001\nserver b 127.0.0.1:7001\n"
        );
    }
}
