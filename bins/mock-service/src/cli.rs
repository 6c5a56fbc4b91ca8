//! The command line. Lives with `main`, because the library takes [`Options`] and reads no environment.

use std::{net::IpAddr, time::Duration};

use clap::{Parser, ValueEnum};
use mock_service::{Options, ServiceKind};

/// Where the services keep what they know.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum StoreChoice {
    /// In memory: forgotten at the end.
    Memory,
}

/// Five business services to talk to through MyChat Gateway.
#[derive(Parser)]
#[command(name = "mock-service", version, after_help = mock_service::commands::HELP)]
pub(crate) struct Cli {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// Services to start, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "user,message,friend,group,push")]
    services: Vec<ServiceKind>,
    /// Port of the user service; message, friend, group and push follow. 0: any free ports.
    #[arg(long, default_value_t = 9001)]
    base_port: u16,
    /// URL of the gateway's gRPC listener, for the push service.
    #[arg(long, default_value = "http://127.0.0.1:8082")]
    gateway: String,
    /// Service key for the gateway; better given by the environment, where other users do not see it.
    #[arg(long, env = "MOCK_SERVICE_KEY", hide_env_values = true)]
    service_key: Option<String>,
    /// Where to keep accounts, messages and the rest.
    #[arg(long, value_enum, default_value_t = StoreChoice::Memory)]
    store: StoreChoice,
    /// Adds the accounts user1 ... userN.
    #[arg(long, default_value_t = 0)]
    accounts: usize,
    /// Time that every command takes: 5ms, 200us, 1s.
    #[arg(long, default_value = "0ms", value_parser = duration)]
    latency: Duration,
    /// Share of commands answered by an error, 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    error_rate: f64,
    /// Share of commands never answered, 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    hang_rate: f64,
}

impl From<Cli> for Options {
    fn from(cli: Cli) -> Self {
        match cli.store {
            StoreChoice::Memory => Self {
                host: cli.host,
                services: cli.services,
                base_port: cli.base_port,
                gateway: cli.gateway,
                service_key: cli.service_key.filter(|key| !key.is_empty()),
                accounts: cli.accounts,
                latency: cli.latency,
                error_rate: cli.error_rate,
                hang_rate: cli.hang_rate,
            },
        }
    }
}

/// A whole number with its unit: `us`, `ms` or `s`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number
        .parse()
        .map_err(|_| "a number with its unit, like 5ms".to_owned())?;
    match unit {
        "us" => Ok(Duration::from_micros(number)),
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        _ => Err("the unit is us, ms or s".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_command_line_is_taken() {
        let cli = Cli::try_parse_from([
            "mock-service",
            "--services",
            "user,push",
            "--base-port",
            "0",
            "--service-key",
            "k",
            "--store",
            "memory",
            "--accounts",
            "3",
            "--latency",
            "5ms",
            "--error-rate",
            "0.01",
            "--hang-rate",
            "0",
        ])
        .unwrap();
        let options = Options::from(cli);
        assert_eq!(options.services, [ServiceKind::User, ServiceKind::Push]);
        assert_eq!(options.latency, Duration::from_millis(5));
        assert_eq!(options.accounts, 3);
    }

    #[test]
    fn a_latency_needs_its_unit() {
        assert!(duration("5").is_err() && duration("ms").is_err() && duration("5 min").is_err());
        assert_eq!(duration("200us"), Ok(Duration::from_micros(200)));
    }
}
