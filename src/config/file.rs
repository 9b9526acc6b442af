//! The configuration file, key by key, as it is written (`conf/atp.toml` shows every key at its default).
//!
//! This is a mirror: texts stay texts here, so that [`super::checked`] can name the key when one is wrong.
//! Paths are relative to the file's own directory.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

mod acme;
mod admin;
mod domain;
mod rates;
mod tls;

pub use acme::Acme;
pub use admin::Admin;
pub use domain::Domain;
pub use rates::Rates;
pub use tls::{Destination, Tls};

/// The whole file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// The domains this daemon serves; the first names its directory. At least one, here or as `--domain`.
    pub domains: Vec<String>,
    /// Where it listens and what it takes in.
    pub server: Server,
    /// Who may register agents.
    pub registration: Registration,
    /// Whom it asks about names.
    pub dns: Dns,
    /// What it demands of messages from other servers.
    pub verify: Verify,
    /// When it tries again, and when it gives up.
    pub queue: Queue,
    /// What mailboxes keep.
    pub mailbox: Mailbox,
    /// When it takes no messages for want of room.
    pub guard: Guard,
    /// Where it may push agents' messages to.
    pub webhooks: Webhooks,
    /// How much it lets through.
    pub rates: Rates,
    /// Whom it trusts.
    pub tls: Tls,
    /// Certificates from an authority that speaks ACME.
    pub acme: Acme,
    /// The operator's access over HTTP.
    pub admin: Admin,
    /// What it writes to standard error.
    pub log: Log,
    /// What is otherwise for one domain, by its name.
    pub domain: BTreeMap<String, Domain>,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// IP address to listen on. Absent: loopback if every domain is special-use, else every address.
    pub host: Option<String>,
    /// TCP port; 0 lets the system choose one.
    pub port: u16,
    /// PEM file with the certificate chain. Absent: one is made and kept in the state directory.
    pub cert: Option<PathBuf>,
    /// PEM file with the certificate's private key; goes with `cert`.
    pub key: Option<PathBuf>,
    /// Whether to start with a certificate that has expired.
    pub allow_expired_certificate: bool,
    /// Largest transfer body; a submission may be 4 KiB smaller.
    pub max_message_size: String,
    /// How long work in flight may take to finish after SIGTERM.
    pub shutdown_grace: String,
}

impl Default for Server {
    fn default() -> Server {
        Server {
            host: None,
            port: crate::proto::limits::DEFAULT_PORT,
            cert: None,
            key: None,
            allow_expired_certificate: false,
            max_message_size: "1MiB".into(),
            shutdown_grace: "25s".into(),
        }
    }
}

/// `[registration]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Registration {
    /// `"open"`: anyone; `"loopback"`: this machine, or the admin token.
    /// Absent: open for special-use domains, loopback for all others (`docs/protocol.md` §8).
    pub mode: Option<String>,
}

/// `[dns]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dns {
    /// Resolvers as IP or IP:PORT. Empty: those of the system.
    pub servers: Vec<String>,
    /// TOML file of TXT records that replace DNS answers.
    pub overrides: Option<PathBuf>,
    /// TOML file of domains whose server is known without DNS.
    pub peers: Option<PathBuf>,
}

/// `[verify]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Verify {
    /// How old a message's timestamp may be, and how long identities are remembered.
    pub max_message_age: String,
    /// Whether to refuse messages for whose source the sender's ATS policy says nothing.
    pub refuse_neutral: bool,
}

impl Default for Verify {
    fn default() -> Verify {
        Verify { max_message_age: "72h".into(), refuse_neutral: false }
    }
}

/// `[queue]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// Waits after the first, second, … failed attempt; the last one repeats.
    pub schedule: Vec<String>,
    /// When a message that cannot be handed over is returned to its sender.
    pub give_up_after: String,
    /// When its sender is told that it is late.
    pub delay_notice_after: String,
    /// Attempts under way at once.
    pub max_attempts: usize,
    /// Of these, attempts to one destination.
    pub max_attempts_per_destination: u32,
    /// Messages of one sender that may wait after a failed attempt, counted by recipient; more are refused.
    pub max_waiting_per_sender: u64,
}

impl Default for Queue {
    fn default() -> Queue {
        let schedule = ["2s", "5s", "15s", "60s", "5m", "15m", "1h"];
        Queue {
            schedule: schedule.map(String::from).to_vec(),
            give_up_after: "48h".into(),
            delay_notice_after: "4h".into(),
            max_attempts: 1024,
            max_attempts_per_destination: 32,
            max_waiting_per_sender: 200_000,
        }
    }
}

/// `[mailbox]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mailbox {
    /// How long a message is kept after it was acknowledged; `"never"`: it is never deleted for that.
    pub keep_acknowledged: String,
    /// How long a message is kept that nobody acknowledges; `"never"`: it is never deleted for that.
    pub keep_unread: String,
    /// How many bytes of messages a mailbox takes; `"unlimited"`: as many as come.
    pub quota: String,
}

impl Default for Mailbox {
    fn default() -> Mailbox {
        Mailbox { keep_acknowledged: "7d".into(), keep_unread: "30d".into(), quota: "10GiB".into() }
    }
}

/// `[guard]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Guard {
    /// Free disk below which no messages are taken in; `"0B"` for never.
    pub min_free_disk: String,
    /// The same as a share of the file system, in per cent. The lesser of the two counts.
    pub min_free_disk_percent: u8,
    /// Resident memory above which no messages are taken in. Absent: 80 % of the machine's memory or of the limit
    /// of the control group, whichever is less.
    pub max_memory: Option<String>,
}

impl Default for Guard {
    fn default() -> Guard {
        Guard { min_free_disk: "500MiB".into(), min_free_disk_percent: 5, max_memory: None }
    }
}

/// `[webhooks]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webhooks {
    /// Networks that webhooks may be dialled in beside the public internet, such as `"10.1.0.0/16"`.
    pub allow_networks: Vec<String>,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `"error"`, `"warn"`, `"info"`, `"debug"` or `"trace"`.
    pub level: String,
    /// `"text"` for people, `"json"` for machines.
    pub format: String,
}

impl Default for Log {
    fn default() -> Log {
        Log { level: "info".into(), format: "text".into() }
    }
}
