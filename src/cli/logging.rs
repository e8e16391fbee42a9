//! The log: what `tracing` tells of, for whoever runs this at night. Silent unless asked, since progress and summary say the
//! same to people.

use std::io::{self, Stderr};
use std::sync::atomic::{AtomicBool, Ordering};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::Layer;
use tracing_subscriber::fmt::format::{DefaultFields, Format};
use tracing_subscriber::layer::{Layer as _, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::DoorError;

static LOGGED: AtomicBool = AtomicBool::new(false);

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
    #[cfg(feature = "otlp")]
    #[command(flatten)]
    otlp: super::otlp::OtlpArguments,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum LogFormat {
    /// Time, level, spans and message
    Human,
    /// One JSON object a line
    Json,
}

/// A log under way.
#[derive(Default)]
#[must_use = "spans that wait are sent at its end"]
pub struct Log {
    #[cfg(feature = "otlp")]
    spans: Option<super::otlp::Spans>,
}

impl LoggingArguments {
    /// Begins to log, if that is asked for.
    ///
    /// # Errors
    /// [`DoorError::LogFilter`] if the filter cannot be read; of the feature `otlp`, [`DoorError::Otlp`].
    pub fn start(&self) -> Result<Log, DoorError> {
        let filter = self.filter()?;
        #[cfg(feature = "otlp")]
        let (sent, spans) = self.otlp.start()?.unzip();
        #[cfg(feature = "otlp")]
        let log = Log { spans };
        #[cfg(not(feature = "otlp"))]
        let (sent, log) = (None::<tracing_subscriber::layer::Identity>, Log::default());
        if filter.is_none() && sent.is_none() {
            return Ok(log);
        }
        LOGGED.store(filter.is_some(), Ordering::Relaxed);
        let lines = filter.map(|filter| match self.log_format {
            LogFormat::Human => lines().with_ansi(console::colors_enabled_stderr()).with_filter(filter).boxed(),
            LogFormat::Json => {
                // The list of all spans holds it.
                lines().json().flatten_event(true).with_current_span(false).with_filter(filter).boxed()
            }
        });
        // Only fails if it was started before, and this is the one place that does.
        let _ = tracing_subscriber::registry().with(sent).with(lines).try_init();
        Ok(log)
    }

    fn filter(&self) -> Result<Option<EnvFilter>, DoorError> {
        let Some(filter) = self.log_level.as_deref().filter(|filter| !filter.trim().is_empty()) else {
            return Ok(None);
        };
        let failed = |reason: String| DoorError::LogFilter { filter: filter.to_owned(), reason };
        // The library would take a mistyped level for a module.
        if let Some(word) = filter.split(',').map(str::trim).find(|word| is_mistyped(word)) {
            return Err(failed(format!("{word} is not a level")));
        }
        // The runtime's binding warns of each library that is newer than itself.
        let names_it = filter.split(',').any(|directive| directive.trim().starts_with("ort"));
        let quiet = if names_it { "" } else { ",ort=error" };
        EnvFilter::try_new(format!("{filter}{quiet}")).map(Some).map_err(|error| failed(error.to_string()))
    }
}

fn is_mistyped(directive: &str) -> bool {
    !directive.is_empty() && !directive.contains(['=', '[']) && directive.parse::<LevelFilter>().is_err()
}

/// Whether lines of a log go to standard error: bars do not go with them.
pub fn is_on() -> bool {
    LOGGED.load(Ordering::Relaxed)
}

/// Lines on standard error.
fn lines<S>() -> Layer<S, DefaultFields, Format, fn() -> Stderr> {
    tracing_subscriber::fmt::layer().with_writer(io::stderr)
}

impl Log {
    /// Sends what waits to be sent.
    pub fn end(self) {
        #[cfg(feature = "otlp")]
        self.spans.into_iter().for_each(super::otlp::Spans::end);
    }
}
