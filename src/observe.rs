//! Where log lines go and how they look, and what the events of a message's way are called.
//!
//! Times are in `micros`, microseconds. Everything a daemon does happens in the span `server{domain}` (its first
//! domain), everything it does for one message in the span `message{nonce}` inside that; both are of level debug.
//! What anybody outside may build on is in this table: `atp demo` draws its picture from these events alone.
//!
//! | event | level | says | fields |
//! |---|---|---|---|
//! | `connection` | debug | a client has connected | `peer`, `tls`, `group`, `alpn`, `micros` of the handshake |
//! | `authenticated` | debug | a credential is good | `agent`, `micros` |
//! | `submitted` | debug | a submission has the right form | `nonce`, `from`, `to`, `kind` |
//! | `synced` | debug | a group of store jobs is on disk | `jobs`, `micros` of flush and fdatasync |
//! | `accepted` | info | a submission is on disk | `nonce`, `from`, `to`, `queued` rows, `micros` |
//! | `dns` | debug | a name was looked up | `name`, `kind`, `answer`, `micros` |
//! | `route` | debug | where a domain's servers are | `domain`, `source`, `targets`, `micros` |
//! | `connected` | debug | a connection to a peer | `address`, `host`, `tls`, `group`, `alpn`, `micros` |
//! | `profile` | debug | what a peer speaks | `target`, `speaks`, `max_payload_bytes`, `micros` |
//! | `signed` | debug | a message is signed | `nonce`, `key`, `form`, `bytes`, `micros` |
//! | `answered` | debug | a peer's answer to a transfer | `target`, `status`, `micros` |
//! | `ats` | debug, info if refused | may that address send for that domain | `nonce`, `domain`, `source`, `verdict`, `micros` |
//! | `atk` | debug, info if refused | does the signature hold | `nonce`, `domain`, `verdict`, `micros`; if so `key`, `form` |
//! | `delivered` | info | a message is in a mailbox, on disk | `nonce`, `from`, `to`, `cursor`, `micros` |
//! | `transferred` | info | an attempt has succeeded | `nonce`, `to`, `attempt`, `micros` of all of it, `inferred` |
//! | `attempt failed` | warn | an attempt has failed | `nonce`, `to`, `attempt`, `code`, `reason`, `remote`, `detail` |
//! | `delay notice` | info | a sender was told that a message is late | `nonce`, `from`, `to` |
//! | `suspended` | warn | nothing is sent to a destination for a while | `destination`, `pause`, `reason` |
//! | `works again` | info | a suspended destination answered | `destination` |
//! | `bounced` | warn | a message was returned | `nonce`, `from`, `to`, `code`, `reason` |
//! | `refused` | info, error if our fault | a request was refused | `code`, `reason`, `peer`, `path`, `detail` |
//! | `read` | debug | a mailbox was read | `agent`, `messages` |
//! | `claimed` | debug | a worker was given messages | `agent`, `messages` |
//! | `acknowledged` | debug | a message is done with | `agent`, `cursor`, `outcome` |
//! | `receipt` | info | a peer tells what became of a message | `nonce`, `from`, `to`, `outcome`, `news` |
//! | `pushed` | debug | a webhook's receiver has taken a message | `agent`, `cursor`, `attempt`, `outcome` |
//! | `not pushed` | info | it has not | `agent`, `cursor`, `attempt`, `outcome`, `detail`, `next` |
//! | `registered` | info | there is a new agent | `agent`, `peer` (an address, or the control socket) |
//! | `removed` | info | an agent is gone | `agent`, `release`, `status` |
//! | `listening` | info | the server is there | `domains`, `address`, `state` |
//! | `stopping` | info | the server was told to stop | `grace` |
//! | `stopped` | info | it has | |

use std::fmt;
use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, format};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::config::checked::{Log, LogFormat, LogLevel};

mod either;

use either::Either;

/// What decides which events are written, once the log has been started.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();
/// Whether lines are JSON.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Logs to stderr from now on: for a terminal in colours, for the journal with a priority and without the time, which
/// it notes itself. `RUST_LOG`, if it is set, filters instead of the level.
/// A second call in one process changes nothing.
pub fn start(log: Log) {
    let (filter, handle) = reload::Layer::new(filter(log.level));
    // https://no-color.org: any text but the empty one.
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colours = std::io::stderr().is_terminal() && !no_color;
    let is_journal = is_the_journal();
    // Set here, for what is written to first knows of no colours.
    let form = || format().with_target(false).with_ansi(colours);
    let text = Line { timed: form(), timeless: form().without_time(), colours, is_journal };
    let form = || format().with_ansi(false).json().flatten_event(true).with_target(false);
    let json = Line { timed: form(), timeless: form().without_time(), colours: false, is_journal };
    let layer = || tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let text = layer().with_ansi(colours).event_format(text);
    let json = layer().json().with_ansi(false).event_format(json);
    let lines = Either::new(text, json, &IS_JSON);
    // Whoever was first has decided.
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok() {
        IS_JSON.store(log.format == LogFormat::Json, Ordering::Relaxed);
        let _ = FILTER.set(handle);
    }
}

/// Logs in this way from now on. Without effect where [`start`] has not been called.
pub fn change(log: Log) {
    let Some(handle) = FILTER.get() else { return };
    IS_JSON.store(log.format == LogFormat::Json, Ordering::Relaxed);
    if let Err(error) = handle.reload(filter(log.level)) {
        tracing::warn!(%error, "the log level stays as it was");
    }
}

fn filter(level: LogLevel) -> EnvFilter {
    let level = level.as_str();
    EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(format!("atp={level},warn")))
}

/// Whether the service manager has connected stderr with its journal: it says with which file (systemd.exec(5)).
fn is_the_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(file) = std::fs::metadata("/proc/self/fd/2") else { return false };
    stream == format!("{}:{}", file.dev(), file.ino())
}

/// An event on one line, whatever others wrote into its fields; for the journal without the time and with its priority
/// before it (sd-daemon(3)).
struct Line<T, U> {
    timed: T,
    timeless: U,
    /// For a terminal: what is in the form steers it, and must stay.
    colours: bool,
    is_journal: bool,
}

impl<S, N, T, U> FormatEvent<S, N> for Line<T, U>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    T: FormatEvent<S, N>,
    U: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        if self.is_journal {
            self.timeless.format_event(context, Writer::new(&mut line), event)?;
            write!(writer, "<{}>", priority(*event.metadata().level()))?;
        } else {
            self.timed.format_event(context, Writer::new(&mut line), event)?;
        }
        let line = line.trim_end_matches('\n');
        for (at, character) in line.char_indices() {
            match character {
                '\n' => writer.write_str("\\n")?,
                '\r' => writer.write_str("\\r")?,
                '\u{1b}' if self.colours && line.get(at..).is_some_and(is_colour) => {
                    writer.write_char(character)?;
                }
                character if character.is_control() => write!(writer, "{}", character.escape_default())?,
                character => writer.write_char(character)?,
            }
        }
        writer.write_char('\n')
    }
}

/// Whether a text begins with a colour of the form's own; all else that steers terminals may be somebody else's.
fn is_colour(text: &str) -> bool {
    let codes = ["0", "1", "2", "3", "31", "32", "33", "34", "35"];
    let code = text.strip_prefix("\u{1b}[").and_then(|rest| rest.split_once('m')).map(|(code, _)| code);
    code.is_some_and(|code| codes.contains(&code))
}

/// As syslog numbers them.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    const SOURCE: &str = include_str!("observe.rs");
    const DOCUMENT: &str = include_str!("../docs/operating.md");

    /// What an event looks like.
    fn written(colours: bool, event: impl Fn()) -> String {
        #[derive(Clone, Default)]
        struct Kept(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Kept {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let kept = Kept::default();
        let form = || format().with_target(false).with_ansi(colours);
        let line = Line { timed: form(), timeless: form().without_time(), colours, is_journal: false };
        let writer = kept.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
        let layer = layer.with_ansi(colours).event_format(line);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), event);
        String::from_utf8(kept.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn what_others_wrote_stays_on_its_line_and_steers_no_terminal() {
        for colours in [false, true] {
            let text = "a\nINFO forged\r\u{1b}[2J\u{9b}2J\u{8}b";
            let line = written(colours, || tracing::info!(plain = text, shown = %text, "{text}"));
            assert_eq!(line.matches('\n').count(), 1, "{line:?}");
            assert!(line.ends_with('\n') && !line.contains(['\r', '\u{9b}', '\u{8}']), "{line:?}");
            assert!(!line.contains("\u{1b}[2J"), "{line:?}");
            assert_eq!(line.contains('\u{1b}'), colours, "{line:?}");
        }
    }

    #[test]
    fn operators_read_the_same_table() {
        let rows = SOURCE
            .lines()
            .filter_map(|line| line.strip_prefix("//! "))
            .filter(|line| line.starts_with("| `"));
        let rows: Vec<&str> = rows.collect();
        assert!(rows.len() > 20, "{rows:#?}");
        let table = rows.join("\n");
        assert!(DOCUMENT.contains(&table), "docs/operating.md must have these rows:\n{table}");
    }
}
