//! `atp keys revoke` and `remove`

use clap::Args;
use clap::builder::FalseyValueParser;

use super::Ring;
use super::words::described;
use crate::cli::error::CliError;
use crate::cli::output::{self, Output};
use crate::dns_records::{Templates, render_key};
use crate::env::clock::{Clock as _, SystemClock};
use crate::sign::{Key, KeyState};

/// `atp keys revoke`
#[derive(Args)]
pub(in crate::cli) struct Revoke {
    /// The key's name in DNS
    selector: String,
    #[command(flatten)]
    ring: Ring,
    /// Also the key that signs, so that messages wait until another one does, and one that signed within the last two hours
    #[arg(long, env = "ATP_FORCE", value_parser = FalseyValueParser::new())]
    force: bool,
}

/// `atp keys remove`
#[derive(Args)]
pub(in crate::cli) struct Remove {
    /// The key's name in DNS
    selector: String,
    #[command(flatten)]
    ring: Ring,
}

impl Revoke {
    pub(super) fn run(&self, output: &Output) -> Result<(), CliError> {
        let mut ring = self.ring.open()?;
        let now = SystemClock.now();
        let before = ring.state(ring.key(&self.selector)?, now);
        let key = ring.revoke(&self.selector, self.force, now)?;
        if output.is_json() {
            return output::print_json(&described(&ring, &key));
        }
        let domain = ring.domain();
        let mut text = format!("Revoked: {} of {domain}; it can never sign again.\n", key.id().selector());
        match before {
            KeyState::Active => {
                text += &format!(
                    "No key signs for {domain} now: messages wait in the queue until you run\n\n    \
                     atp keys rotate --domain {domain} --force\n\n"
                );
            }
            KeyState::Retiring => {
                text += "Messages signed with it may be under way; those that are refused are signed anew and sent again.\n";
            }
            _ => {}
        }
        output::print(&(text + &advice(&key, before)?))
    }
}

/// What to change in DNS.
fn advice(key: &Key, before: KeyState) -> Result<String, CliError> {
    let name = key.id();
    let record = render_key(name, &key.record(), &Templates::default())?;
    Ok(match before {
        KeyState::Retired | KeyState::Pending | KeyState::Idle => format!(
            "Nothing signed with it is under way. If nobody else can have the key, remove its record:\n\n    \
             {name}. TXT\n\n\
             If somebody may have it, replace the record by this one instead, which says so to everybody who looks:\n\n{record}"
        ),
        _ => format!(
            "Replace its record by this one: it says to everybody who looks that the key was taken back, where no record \
             could be a mistake. Others believe what they saw for 15 minutes, or the TTL of the old record:\n\n{record}\n\
             The record may be removed when nobody has a reason to check an old signature any more."
        ),
    })
}

impl Remove {
    pub(super) fn run(&self, output: &Output) -> Result<(), CliError> {
        let mut ring = self.ring.open()?;
        let key = ring.remove(&self.selector, SystemClock.now())?;
        if output.is_json() {
            return output::print_json(&described(&ring, &key));
        }
        let hint = if key.is_revoked() { "" } else { "; remove its record from DNS as well" };
        output::print(&format!("Removed: {} of {}{hint}", key.id().selector(), ring.domain()))
    }
}
