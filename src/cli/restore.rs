//! `atp restore`

use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;
use serde_json::json;

use super::error::CliError;
use super::keep::size;
use super::options::HomeOptions;
use super::output::{self, Output};
use super::progress::Progress;
use crate::daemon::restore::{RestoreError, Restoring};
use crate::env::clock::{Clock as _, SystemClock};
use crate::spool::backup::stored;

const NOTES: &str = "\
The server must be stopped. The backup is checked from end to end first; what is there already is never deleted.
After a restore the mailboxes are those of the backup: what came later is gone, what was read and deleted later is back.
Mail that was handed over after the backup is sent again; servers that remember it (those of this program do) do not
deliver it twice. Cursors go on far above the old ones, so whoever follows a mailbox misses nothing that comes.";

/// `atp restore`
#[derive(Args)]
#[command(after_help = NOTES)]
pub(super) struct Restore {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    home: HomeOptions,
    /// Move what is there aside, into the directory replaced/ of the state directory
    #[arg(long, env = "ATP_FORCE", value_parser = FalseyValueParser::new())]
    force: bool,
    /// Restore a backup whose records do not agree with one another
    #[arg(long, env = "ATP_DAMAGED", value_parser = FalseyValueParser::new())]
    damaged: bool,
}

impl Restore {
    pub fn run(self, output: &Output) -> Result<(), CliError> {
        let file = self.file.display().to_string();
        let progress = Progress::new("restore");
        let stored = stored::open(&self.file, &mut |done, all| progress.at(done, Some(all), size(done)))
            .map_err(|error| CliError::failed(format!("{file}: {error}; nothing was changed")))?;
        let home = self.home.home()?;
        let all = Some(stored.figures.records);
        let (force, damaged, now) = (self.force, self.damaged, SystemClock.now());
        let restoring = Restoring { stored: &stored, home: &home, force, damaged, now };
        let done = restoring
            .run(&mut |records| progress.at(records, all, format!("{records} records")))
            .map_err(|error| explained(&file, &error))?;
        let seconds = progress.end();
        let (root, head) = (home.root().display().to_string(), &stored.head);
        let aside = done.aside.as_ref().map(|path| path.display().to_string());
        if output.is_json() {
            return output::print_json(&json!({
                "state_dir": root, "domains": head.domains, "made_at": head.made_at, "with_keys": head.with_keys,
                "moved_aside": aside, "figures": done.report.figures, "wrong": done.report.wrong, "seconds": seconds,
            }));
        }
        let figures = done.report.figures;
        output::print(&format!(
            "{root}: {} is back with {} accounts, {} messages and {} rows of the queue; {seconds:.1} s",
            head.domains.join(", "),
            figures.accounts,
            figures.messages,
            figures.rows,
        ))?;
        if let Some(aside) = aside {
            output::print(&format!(
                "What was there before is in {aside}; remove it when you do not need it any more."
            ))?;
        }
        if !head.with_keys {
            output::print(
                "The backup has no keys: put the domains' keys back before the server starts, or it makes new ones.",
            )?;
        }
        output::print(
            "Mail that was handed over after the backup is sent again; mailboxes are as they were then.",
        )
    }
}

fn explained(file: &str, error: &RestoreError) -> CliError {
    CliError::failed(match error {
        RestoreError::InUse => format!("{error}; stop it first, such as with: systemctl stop atp"),
        error if error.is_refusal() => format!("{file}: {error}; nothing was changed"),
        RestoreError::Occupied(_) => {
            format!("{error}; give another --state-dir, or --force to move aside what is there")
        }
        RestoreError::NotWhole(_) => format!(
            "{file}: {error}; nothing was changed: take another backup, or give --damaged to have this one all the same"
        ),
        _ => format!("{file}: {error}"),
    })
}
