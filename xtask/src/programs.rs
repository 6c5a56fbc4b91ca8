//! mock-service and gateway-server as one pair: started, waited for, stopped.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::ports::{Ports, SERVICES};
use crate::supervise::{Echo, Stopped, Supervised};
use crate::workspace::Workspace;

/// How long both together may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How often they are asked.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// How long one question may take.
const ASK_WITHIN: Duration = Duration::from_secs(2);

/// What a test needs of the programs beyond what `dev` shows.
#[derive(Default)]
pub(crate) struct Additions {
    /// Accounts `user1` … beside the named ones.
    pub(crate) accounts: usize,
    /// Sections of the gateway's configuration.
    pub(crate) config: Map<String, Value>,
}

/// The two programs, running. Killed when dropped; [`Programs::stop`] is the graceful way.
pub(crate) struct Programs {
    ports: Ports,
    keys: Keys,
    gateway: Supervised,
    services: Supervised,
}

impl Programs {
    /// Starts both; they find each other by `ports` and prove themselves by a key made for this run, which is
    /// handed over by the environment so that no process list shows it.
    pub(crate) fn start(
        workspace: &Workspace,
        ports: Ports,
        echo: Echo,
        additions: Additions,
    ) -> Result<Self> {
        ports.check_free()?;
        let keys = Keys {
            service: random_key()?,
            admin: random_key()?,
        };
        let config = write_config(workspace, &ports, additions.config)?;

        let mut services = workspace.command(workspace.program("mock-service"));
        services
            .args([
                "--host",
                &ports.host.to_string(),
                "--base-port",
                &ports.services.to_string(),
            ])
            .args(["--gateway", &format!("http://{}", ports.reach(ports.grpc))])
            .args(["--accounts", &additions.accounts.to_string()])
            .env("MOCK_SERVICE_KEY", &keys.service);
        let services = Supervised::start("mock-service", services, echo)?;

        let mut gateway = workspace.command(workspace.program("gateway-server"));
        gateway
            .arg("--config")
            .arg(config)
            .arg("--dev")
            .env("GATEWAY__AUTH__SERVICE_KEYS", json!([keys.service]).to_string())
            .env("GATEWAY__AUTH__ADMIN_KEYS", json!([keys.admin]).to_string());
        let gateway = Supervised::start("gateway-server", gateway, echo)?;
        Ok(Self {
            ports,
            keys,
            gateway,
            services,
        })
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(crate) fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Waits until the services take connections and the gateway says that it is ready. Fails when one of the
    /// two has ended, with its last words, or after a minute.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        let ports = self.ports;
        let all_up = async {
            for port in ports.service_ports() {
                while !accepts(ports.reach(port)).await {
                    sleep(ASK_EVERY).await;
                }
            }
            while !says_ready(ports.reach(ports.http)).await || !accepts(ports.reach(ports.websocket)).await {
                sleep(ASK_EVERY).await;
            }
        };
        let started = Instant::now();
        tokio::select! {
            () = all_up => return Ok(()),
            death = self.died() => return death,
            () = sleep(READY_WITHIN) => {}
        }
        let words = format!("{}{}", self.services.last_output(), self.gateway.last_output());
        bail!(
            "not ready after {} s; last output:\n{words}",
            started.elapsed().as_secs()
        );
    }

    /// Returns, with an error that names it and its last output, when one of the two has ended by itself.
    pub(crate) async fn died(&mut self) -> Result<()> {
        let (child, status) = tokio::select! {
            status = self.gateway.ended() => (&mut self.gateway, status?),
            status = self.services.ended() => (&mut self.services, status?),
        };
        bail!(
            "{} has ended by itself ({status}); its last output:\n{}",
            child.name(),
            child.last_output()
        );
    }

    /// Stops the gateway, then the services, so that the gateway can still hand over what it holds. Fails when
    /// one had to be killed or did not end with code 0.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let mut complaints = String::new();
        for child in [&mut self.gateway, &mut self.services] {
            let told = match child.stop().await? {
                Stopped::Cleanly => continue,
                Stopped::Badly(status) => format!("{} ended with {status}", child.name()),
                Stopped::Killed => format!("{} did not stop in time and was killed", child.name()),
            };
            complaints.push_str(&format!("{told}; its last output:\n{}", child.last_output()));
        }
        if !complaints.is_empty() {
            bail!("{complaints}");
        }
        Ok(())
    }
}

/// What the gateway accepts as `X-API-Key` in this run.
pub(crate) struct Keys {
    pub(crate) service: String,
    pub(crate) admin: String,
}

/// 32 random bytes as hexadecimal digits.
fn random_key() -> Result<String> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow::anyhow!("no random bytes from the system: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The gateway's configuration for these ports; no secret is in it. One file per process, replaced whole.
fn write_config(
    workspace: &Workspace,
    ports: &Ports,
    additions: Map<String, Value>,
) -> Result<std::path::PathBuf> {
    let services: Map<String, Value> = SERVICES
        .iter()
        .zip(ports.service_ports())
        .map(|(name, port)| {
            let address = ports.reach(port);
            (
                (*name).to_owned(),
                json!({ "host": address.ip().to_string(), "port": port }),
            )
        })
        .collect();
    let mut config = json!({
        "server": {
            "host": ports.host.to_string(),
            "websocket_port": ports.websocket,
            "http_port": ports.http,
            "grpc_port": ports.grpc,
        },
        "services": services,
    });
    if let Some(sections) = config.as_object_mut() {
        sections.extend(additions);
    }
    let folder = workspace.scratch(&format!("run-{}", ports.websocket))?;
    let path = folder.join("gateway_config.json");
    std::fs::File::create(&path)
        .and_then(|mut file| file.write_all(format!("{config:#}\n").as_bytes()))
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

async fn accepts(address: SocketAddr) -> bool {
    matches!(timeout(ASK_WITHIN, TcpStream::connect(address)).await, Ok(Ok(_)))
}

/// One HTTP/1.1 request by hand: an HTTP client would be this program's largest dependency.
async fn says_ready(address: SocketAddr) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut head = [0u8; 12];
        stream.read_exact(&mut head).await?;
        io::Result::Ok(head.ends_with(b" 200"))
    };
    matches!(timeout(ASK_WITHIN, asked).await, Ok(Ok(true)))
}
