//! `gen-token` and `check-token`: tokens by hand, with the configured keys.

use std::io::Read as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use gateway_auth::{Authenticator, Subject, SystemClock, SystemRandom};
use gateway_codec::{DeviceId, Platform, UserId};
use gateway_config::Config;

/// Whom a token is for.
#[derive(Debug, Args)]
pub(super) struct Generate {
    /// User id.
    #[arg(long)]
    user: String,
    /// Name shown; the user id where it is left out.
    #[arg(long)]
    username: Option<String>,
    #[arg(long, default_value = "cli")]
    device: String,
    #[arg(long, default_value = "web")]
    platform: String,
    /// A role; may be given several times.
    #[arg(long = "role")]
    roles: Vec<String>,
    /// How long it is valid, in seconds.
    #[arg(long, default_value_t = 3600)]
    ttl: u64,
}

/// Which token to look at.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The token; `-` or nothing reads it from standard input, so that it does not stand in the process list.
    token: Option<String>,
}

impl Generate {
    pub(super) fn run(self, config: &Config) -> ExitCode {
        match self.mint(config) {
            Ok(token) => {
                println!("{token}");
                ExitCode::SUCCESS
            }
            Err(error) => super::fail(&error),
        }
    }

    fn mint(self, config: &Config) -> Result<String, String> {
        let subject = Subject {
            username: self.username.unwrap_or_else(|| self.user.clone()),
            user_id: UserId::parse(&self.user).map_err(|error| format!("--user: {error}"))?,
            device_id: DeviceId::parse(&self.device).map_err(|error| format!("--device: {error}"))?,
            platform: Platform::parse(&self.platform).map_err(|error| format!("--platform: {error}"))?,
            roles: self.roles,
        };
        let auth = authenticator(config)?;
        auth.mint(subject, Duration::from_secs(self.ttl))
            .map_err(|error| error.to_string())
    }
}

impl Check {
    pub(super) fn run(self, config: &Config) -> ExitCode {
        let token = match self.token.filter(|token| token != "-") {
            Some(token) => token,
            None => {
                let mut text = String::new();
                if let Err(error) = std::io::stdin().take(64 * 1024).read_to_string(&mut text) {
                    return super::fail(&error);
                }
                text.trim().to_owned()
            }
        };
        let auth = match authenticator(config) {
            Ok(auth) => auth,
            Err(error) => return super::fail(&error),
        };
        match auth.inspect(&token) {
            Ok(claims) => {
                println!("{claims:#}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        }
    }
}

fn authenticator(config: &Config) -> Result<Authenticator, String> {
    let mut auth = config.auth.clone();
    // Looking at tokens must not touch the file of a running gateway.
    auth.revocation_file = None;
    Authenticator::new(&auth, Arc::new(SystemClock), Arc::new(SystemRandom))
        .map_err(|error| error.to_string())
}
