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

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::checked::{Log, LogFormat};

/// Logs to stderr from now on. `RUST_LOG`, if it is set, filters instead of the level.
/// A second call in one process changes nothing.
pub fn start(log: Log) {
    let level = log.level.as_str();
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(format!("atp={level},warn")));
    // https://no-color.org: any text but the empty one.
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && !no_color);
    let result = match log.format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_target(false).try_init(),
    };
    // Whoever was first has decided.
    let _ = result;
}
