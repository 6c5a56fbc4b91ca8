//! The conversation to paste: one file, `docs/conversation.sh`, which the README quotes, `dev` prints with its ports
//! in place and the test command runs as printed.

use anyhow::{Context, Result, ensure};

use crate::ports::Ports;
use crate::tools;
use crate::workspace::Workspace;

/// The file, from the repository's root.
pub(crate) const FILE: &str = "docs/conversation.sh";
/// What it says for the documented ports, to be replaced by those of the run.
const HTTP: &str = "http://127.0.0.1:8081";
const WEBSOCKET: &str = "ws://127.0.0.1:8080/ws";

/// Before and after the block; comments, so that pasting them too does no harm.
pub(crate) const FROM_HERE: &str = "# ──── paste from here into another terminal ────";
pub(crate) const TO_HERE: &str = "# ──── to here ────";

/// The conversation for these ports, ready to paste.
pub(crate) fn text(workspace: &Workspace, ports: &Ports) -> Result<String> {
    let path = workspace.root().join(FILE);
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    for fixed in [HTTP, WEBSOCKET] {
        ensure!(
            text.matches(fixed).count() == 1,
            "{FILE} must say {fixed} once: it is replaced by the run's own"
        );
    }
    Ok(text
        .replace(HTTP, &ports.http_url())
        .replace(WEBSOCKET, &ports.websocket_url()))
}

/// What `dev` prints once all is ready.
pub(crate) fn invitation(workspace: &Workspace, ports: &Ports) -> Result<String> {
    let text = text(workspace, ports)?;
    let missing = tools::missing(&[tools::CURL, tools::NODE]);
    let warning = if missing.is_empty() {
        String::new()
    } else {
        format!("\n(the conversation needs what this machine lacks: {missing})\n")
    };
    Ok(format!(
        "\nready: WebSocket {} · HTTP {} · gRPC {}\n\
         people: alice, bob, carol, and admin with the role of that name; everyone's password is \"password\"\n\
         {warning}\n{FROM_HERE}\n{text}{TO_HERE}\n\nCtrl-C stops everything.\n",
        ports.websocket_url(),
        ports.http_url(),
        ports.reach(ports.grpc),
    ))
}
