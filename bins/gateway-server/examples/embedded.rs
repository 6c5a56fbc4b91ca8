//! A gateway inside a program of your own, with a command of its own.
//!
//! `cargo run -p gateway-server --example embedded`, then connect to the address it prints and send
//! `{"cmd_id":9001,"token":"…"}` with the token it prints.

use std::sync::Arc;

use gateway_auth::{Authenticator, Subject, SystemClock, SystemRandom};
use gateway_codec::{DeviceId, Platform, UserId};
use gateway_config::{Config, Secret};
use gateway_server::{CommandAnswer, Gateway};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = Config::for_dev();
    config.auth.jwt_secret = Some(Secret::new("only for this example, and longer than 32 bytes"));

    // Whoever holds the signing key may mint tokens; here the program does it for its own client.
    let auth = Authenticator::new(&config.auth, Arc::new(SystemClock), Arc::new(SystemRandom))?;
    let subject = Subject {
        user_id: UserId::parse("alice")?,
        username: "Alice".to_owned(),
        device_id: DeviceId::parse("laptop")?,
        platform: Platform::parse("desktop")?,
        roles: Vec::new(),
    };
    println!(
        "token: {}",
        auth.mint(subject, std::time::Duration::from_secs(3600))?
    );

    let gateway = Gateway::builder(config)
        .on_command(9001, |command| async move {
            let you = command.user_id.map(|id| id.to_string());
            Ok(CommandAnswer::json(
                &serde_json::json!({"you": you, "bytes": command.data.len()}),
            ))
        })
        .build()
        .await?;
    println!("ws://{}/ws", gateway.addresses().websocket);

    let stop = CancellationToken::new();
    let handle = gateway.handle();
    let interrupted = async move {
        let _ = tokio::signal::ctrl_c().await;
        handle.stop();
    };
    let (served, ()) = tokio::join!(gateway.run(stop), interrupted);
    Ok(served?)
}
