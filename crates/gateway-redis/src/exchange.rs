//! Commands sent over one connection, and their replies.
//!
//! Two things are sent again on the same connection, since it is certain that they were not carried out: a script whose
//! hash the server does not know, and on a Cluster what belongs to another node. What a lost connection leaves open is for
//! `connections` to send again on another one.

use std::time::Duration;

use deadpool_redis::redis::aio::{ConnectionLike as _, MultiplexedConnection};
use deadpool_redis::redis::cluster_async::ClusterConnection;
use deadpool_redis::redis::cluster_routing::SingleNodeRoutingInfo;
use deadpool_redis::redis::{Cmd, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value};
use futures_util::StreamExt as _;
use futures_util::stream;

use crate::Command;
use crate::command::{Script, in_full};
use crate::metrics::RedisMetrics;
use crate::topology::Shared;

/// Commands of one call under way at once on a Cluster.
const SIDE_BY_SIDE: usize = 256;
/// Times that a command is sent on to another node.
const REDIRECTS: u32 = 4;
/// A wait before it, doubled each time, so that the table of slots is read anew meanwhile.
const REDIRECT_WAIT: Duration = Duration::from_millis(5);

/// As the library says it.
pub(crate) type Reply = Result<Value, RedisError>;

/// One command, one round trip.
pub(crate) async fn one(connection: &Shared, command: &Command, metrics: &RedisMetrics) -> Reply {
    let reply = send(connection, &command.cmd, metrics).await;
    match (command.script, &reply) {
        (Some(script), Err(error)) if is_unknown_script(error) => {
            send(connection, &in_full(script, &command.cmd), metrics).await
        }
        _ => reply,
    }
}

/// As many replies as commands, in their order.
pub(crate) async fn many(connection: &Shared, commands: &[&Command], metrics: &RedisMetrics) -> Vec<Reply> {
    match connection {
        Shared::Server(connection) => pipelined(connection, commands, metrics).await,
        // The nodes of the commands differ, and a node that hangs must not hold up what others answer.
        Shared::Cluster(_) => {
            let asked: Vec<_> = commands
                .iter()
                .map(|command| one(connection, command, metrics))
                .collect();
            stream::iter(asked).buffered(SIDE_BY_SIDE).collect().await
        }
    }
}

async fn send(connection: &Shared, cmd: &Cmd, metrics: &RedisMetrics) -> Reply {
    metrics.round_trips.increment(1);
    match connection.clone() {
        Shared::Server(mut server) => plain(server.req_packed_command(cmd).await),
        Shared::Cluster(cluster) => routed(cluster, cmd).await,
    }
}

async fn pipelined(
    connection: &MultiplexedConnection,
    commands: &[&Command],
    metrics: &RedisMetrics,
) -> Vec<Reply> {
    let scripts: Vec<_> = commands.iter().map(|command| command.script).collect();
    let mut pipeline = Pipeline::with_capacity(scripts.len());
    for command in commands {
        pipeline.add_command(command.cmd.clone());
    }
    let mut replies = flow(connection, &mut pipeline, metrics).await;

    let mut again = Pipeline::new();
    let mut places = Vec::new();
    let mut told: Vec<&Script> = Vec::new();
    for (place, cmd) in pipeline.cmd_iter().enumerate() {
        let Some(script) = scripts[place] else { continue };
        if !matches!(&replies[place], Err(error) if is_unknown_script(error)) {
            continue;
        }
        places.push(place);
        // The source goes once: by the next command of this pipeline the server knows it.
        if told.iter().any(|one| std::ptr::eq(*one, script)) {
            again.add_command(cmd.clone());
        } else {
            told.push(script);
            again.add_command(in_full(script, cmd));
        }
    }
    if !places.is_empty() {
        let late = flow(connection, &mut again, metrics).await;
        for (place, reply) in places.into_iter().zip(late) {
            replies[place] = reply;
        }
    }
    replies
}

async fn flow(
    connection: &MultiplexedConnection,
    pipeline: &mut Pipeline,
    metrics: &RedisMetrics,
) -> Vec<Reply> {
    metrics.round_trips.increment(1);
    let count = pipeline.len();
    let replies = pipeline
        .ignore_errors()
        .query_async::<Vec<Reply>>(&mut connection.clone())
        .await;
    match replies {
        Ok(replies) if replies.len() == count => replies,
        Ok(_) => {
            let short = RedisError::from((ErrorKind::Parse, "fewer replies than commands"));
            vec![Err(short); count]
        }
        Err(error) => vec![Err(error); count],
    }
}

/// The library would follow redirections too, but then it repeats commands whose reply was lost as well.
async fn routed(mut cluster: ClusterConnection, cmd: &Cmd) -> Reply {
    let mut reply = plain(cluster.req_packed_command(cmd).await);
    for turn in 0..REDIRECTS {
        let Err(error) = &reply else { break };
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::Moved) => {
                tokio::time::sleep(REDIRECT_WAIT * 2_u32.pow(turn)).await;
                reply = plain(cluster.req_packed_command(cmd).await);
            }
            ErrorKind::Server(ServerErrorKind::Ask) => {
                let Some(node) = error.redirect_node().and_then(|(node, _)| by_address(node)) else {
                    break;
                };
                reply = asking(&mut cluster, cmd, node).await;
            }
            _ => break,
        }
    }
    reply
}

/// Sends a command to the node that a slot is on its way to.
async fn asking(cluster: &mut ClusterConnection, cmd: &Cmd, node: SingleNodeRoutingInfo) -> Reply {
    let mut pipeline = Pipeline::with_capacity(2);
    pipeline.cmd("ASKING").add_command(cmd.clone());
    let mut replies = cluster.route_pipeline(pipeline, 1, 1, node).await?;
    let missing = || RedisError::from((ErrorKind::Parse, "fewer replies than commands"));
    plain(replies.pop().ok_or_else(missing))
}

fn by_address(node: &str) -> Option<SingleNodeRoutingInfo> {
    let (host, port) = node.rsplit_once(':')?;
    Some(SingleNodeRoutingInfo::ByAddress {
        host: host.to_owned(),
        port: port.parse().ok()?,
    })
}

/// An error reply is an error, wherever the library has it.
fn plain(reply: Reply) -> Reply {
    reply.and_then(Value::extract_error)
}

fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}
