//! What the gateway tells of itself.

use std::path::PathBuf;

use crate::byte_size::ByteSize;
use crate::section::{names, section};

names! {
    /// Shape of log lines.
    pub enum LogFormat, "log format" {
        /// `[time] [gateway] [level] [file:line] text` with key=value fields.
        "text" => Text,
        /// One JSON object a line.
        "json" => Json,
    }
}

section! {
    /// Logs. This version writes to the console; the file's keys are accepted and warned about.
    pub struct Logging {
        /// `error`, `warn`, `info`, `debug` or `trace`; more precisely `info,gateway_net=debug`.
        "level" => level: String = "info".to_owned();
        /// Shape of log lines.
        "format" => format: LogFormat = LogFormat::Text;
        /// File to write to.
        "file_path" => file_path: Option<PathBuf> = None;
        /// Size at which a new file is begun.
        "max_file_size" => max_file_size: ByteSize = ByteSize::from_bytes(100_000_000), 4_096..=1_000_000_000_000;
        /// Files that are kept.
        "max_files" => max_files: u32 = 10, 1..=10_000;
        /// Begins a new file every day.
        "rotate_daily" => rotate_daily: bool = false;
    }
}

section! {
    /// How this gateway is named in what it tells of itself.
    pub struct Telemetry {
        /// Name in log lines.
        "service_name" => service_name: String = "gateway".to_owned();
    }
}
