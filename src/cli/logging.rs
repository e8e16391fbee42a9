//! The log: what `tracing` tells of, for whoever runs this at night. Silent unless asked, since progress and summary say the
//! same to people.

use std::io;

use tracing_subscriber::EnvFilter;

use super::DoorError;

/// How much is logged, and how. Standard error takes it, as it takes progress.
#[derive(clap::Args)]
pub struct LoggingArguments {
    /// Log events of this level and above: error, warn, info, debug or trace; or by module, as in
    /// sciembed=debug,ureq=warn [default: no log]
    #[arg(long, value_name = "FILTER", env = "SCIEMBED_LOG", global = true, hide_env_values = true)]
    log_level: Option<String>,
    /// How a line of the log is written
    #[arg(long, value_enum, default_value_t = LogFormat::Human, global = true)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum LogFormat {
    /// Time, level, spans and message
    Human,
    /// One JSON object a line
    Json,
}

impl LoggingArguments {
    /// Begins to log, if that is asked for.
    ///
    /// # Errors
    /// [`DoorError::LogFilter`] if the filter cannot be read.
    pub fn start(&self) -> Result<(), DoorError> {
        let Some(filter) = self.log_level.as_deref().filter(|filter| !filter.trim().is_empty()) else { return Ok(()) };
        let read = EnvFilter::try_new(filter);
        let filter =
            read.map_err(|error| DoorError::LogFilter { filter: filter.to_owned(), reason: error.to_string() })?;
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
        let started = match self.log_format {
            LogFormat::Human => log.with_ansi(console::colors_enabled_stderr()).try_init(),
            LogFormat::Json => log.json().flatten_event(true).try_init(),
        };
        // Only fails if it was started before, and this is the one place that does.
        drop(started);
        Ok(())
    }
}
