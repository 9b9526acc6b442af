//! Where log lines go and how they look.

use tracing_subscriber::EnvFilter;

use crate::config::checked::{Log, LogFormat};

/// Logs to stderr from now on. `RUST_LOG`, if it is set, filters instead of the level.
/// A second call in one process changes nothing.
pub fn start(log: Log) {
    let level = log.level.as_str();
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(format!("atp={level},warn")));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let result = match log.format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_target(false).try_init(),
    };
    // Whoever was first has decided.
    let _ = result;
}
