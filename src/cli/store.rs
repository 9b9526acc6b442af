//! `atp store compact`

use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::json;

use super::control;
use super::error::CliError;
use super::keep::size;
use super::options::HomeOptions;
use super::output::{self, Output};
use super::progress;
use crate::config::home::NodeDir;
use crate::env::disk::DiskError;
use crate::env::sled_disk::compact::{CompactError, Progress, compact};
use crate::proto::address::Domain;

/// Look after the store of a server that is stopped.
#[derive(Subcommand)]
pub(super) enum Store {
    /// Give the disk space of deleted messages back; the server must be stopped
    Compact(Compact),
}

/// `atp store compact`
#[derive(Args)]
pub(super) struct Compact {
    /// A domain of the server; may be left out if only one server has run here
    #[arg(long, env = "ATP_DOMAIN", value_name = "DOMAIN")]
    domain: Option<String>,
    #[command(flatten)]
    home: HomeOptions,
}

impl Store {
    pub fn run(self, output: &Output) -> Result<(), CliError> {
        match self {
            Store::Compact(compact) => compact.run(output),
        }
    }
}

impl Compact {
    fn run(self, output: &Output) -> Result<(), CliError> {
        let store = self.node()?.store();
        if !store.is_dir() {
            return Err(CliError::failed(format!("there is no store in {}", store.display())));
        }
        let bar = progress::Progress::new("rewriting the store");
        let mut show = |progress: Progress| bar.at(progress.done, progress.all, String::new());
        let done = compact(&store, &mut show);
        let seconds = bar.end();
        let done = done.map_err(|error| explained(&store, &error))?;
        if output.is_json() {
            return output::print_json(&json!({
                "store": store.display().to_string(), "before": done.before, "after": done.after,
                "keys": done.keys, "bytes": done.bytes, "seconds": seconds,
            }));
        }
        let gained = if done.after < done.before { "" } else { " (there is nothing to give back)" };
        output::print(&format!(
            "{}: {} before, {} now{gained}; {} records of {} in all, {seconds:.1} s",
            store.display(),
            size(done.before),
            size(done.after),
            done.keys,
            size(done.bytes),
        ))
    }

    fn node(&self) -> Result<NodeDir, CliError> {
        let home = self.home.home()?;
        if let Some(text) = &self.domain {
            let domain =
                Domain::parse(text).map_err(|error| CliError::usage(format!("{text:?}: {error}")))?;
            return Ok(home.node_of(&domain)?);
        }
        control::only_node(&home)?.ok_or_else(|| control::none(&home))
    }
}

/// What went wrong, and what to do. The store is what it was.
fn explained(store: &Path, error: &CompactError) -> CliError {
    let path = store.display();
    CliError::failed(match error {
        CompactError::Disk(DiskError::Locked) | CompactError::Disturbed => {
            format!("the store {path} is in use by a server; stop it first, such as with: systemctl stop atp")
        }
        CompactError::Disk(DiskError::Corrupt(text)) => format!(
            "the store {path} is damaged ({text}); nothing was changed: put a copy of it in its place, as \
             docs/durability.md says"
        ),
        CompactError::NoRoom { free, needed } => format!(
            "too little disk is free to rewrite {path}: {} are needed and {} are free; nothing was changed",
            size(*needed),
            size(*free)
        ),
        CompactError::NoExchange(_) | CompactError::Differs | CompactError::Disk(_) => {
            format!("{path}: {error}; nothing was changed")
        }
    })
}
