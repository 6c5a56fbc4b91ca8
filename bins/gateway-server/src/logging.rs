//! Log lines in the shape of the requirement (`[time] [gateway] [level] [file:line] text key=value`) or as JSON.

use std::fmt::{self, Write as _};

use gateway_auth::Clock;
use gateway_config::{LogFormat, Logging};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Sends this process's log to the console. Called once, by main.
///
/// # Errors
/// Where the level is not one, or a log has been set up already.
pub fn start(logging: &Logging, name: &str) -> Result<(), LoggingError> {
    let filter = filter(logging)?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match logging.format {
        LogFormat::Text => lines
            .event_format(Lines {
                name: name.to_owned(),
            })
            .try_init(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_file(true)
            .with_line_number(true)
            .try_init(),
    }
    .map_err(|_| LoggingError::Twice)
}

/// The levels of the configuration as the log takes them.
///
/// # Errors
/// [`LoggingError::Level`].
pub fn filter(logging: &Logging) -> Result<EnvFilter, LoggingError> {
    EnvFilter::try_new(&logging.level).map_err(|_| LoggingError::Level(logging.level.clone()))
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// Neither a level nor a filter.
    #[error("logging.level {0:?} is neither a level nor a filter")]
    Level(String),
    /// This process logs already.
    #[error("logging has been set up already")]
    Twice,
}

/// The text form; `name` is the program's in every line.
struct Lines {
    name: String,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let time = gateway_auth::SystemClock.now().to_rfc3339().replace('T', " ");
        let level = metadata.level().as_str().to_ascii_lowercase();
        let file = metadata
            .file()
            .and_then(|path| path.rsplit('/').next())
            .unwrap_or("?");
        let line = metadata.line().unwrap_or_default();
        write!(
            writer,
            "[{}] [{}] [{level}] [{file}:{line}]",
            time.trim_end_matches('Z'),
            self.name
        )?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        writeln!(writer, " {}{}", fields.text, fields.pairs)
    }
}

/// The text of an event first, its fields after it.
#[derive(Default)]
struct Fields {
    text: String,
    pairs: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // A peer's text may hold line ends; a log line stays one line.
        let value = format!("{value:?}").replace('\n', "\\n").replace('\r', "\\r");
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.text, "{value}"),
            name => write!(self.pairs, " {name}={value}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.record_debug(field, &format_args!("{value}")),
            _ => self.record_debug(field, &value),
        }
    }
}
