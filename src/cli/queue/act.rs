//! `atp queue retry`, `hold`, `release`, `cancel` and `bounce`: a page a request, until all that was chosen is done.

use std::time::Duration;

use clap::Args;
use clap::builder::FalseyValueParser;
use indicatif::{ProgressBar, ProgressDrawTarget};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::At;
use super::choice::{Choice, Part};
use super::words::{count, number};
use crate::cli::error::CliError;
use crate::cli::http::{Client, Request};
use crate::cli::output::{self, Output};
use crate::cli::prompt::Prompt;

/// Work that takes longer shows how far it is.
const QUIET: Duration = Duration::from_secs(1);

/// What is done to rows.
pub(super) struct Verb {
    name: &'static str,
    /// What the rows are then.
    done: &'static str,
}

pub(super) const RETRY: Verb = Verb { name: "retry", done: "to be tried now" };
pub(super) const HOLD: Verb = Verb { name: "hold", done: "held" };
pub(super) const RELEASE: Verb = Verb { name: "release", done: "released" };
const CANCEL: Verb = Verb { name: "cancel", done: "cancelled" };
const BOUNCE: Verb = Verb { name: "bounce", done: "bounced" };

/// `atp queue retry`, `hold` and `release`
#[derive(Args)]
pub(in crate::cli) struct Act {
    #[command(flatten)]
    choice: Choice,
    /// Say only to how many rows it would be done
    #[arg(long, env = "ATP_DRY_RUN", value_parser = FalseyValueParser::new())]
    dry_run: bool,
    #[command(flatten)]
    at: At,
}

/// `atp queue cancel`
#[derive(Args)]
pub(in crate::cli) struct Final {
    #[command(flatten)]
    act: Act,
    /// Do not ask before more than one row is ended
    #[arg(long, env = "ATP_YES", value_parser = FalseyValueParser::new())]
    yes: bool,
}

/// `atp queue bounce`
#[derive(Args)]
pub(in crate::cli) struct Bounce {
    #[command(flatten)]
    end: Final,
    /// What the senders are told, one sentence [default: The operator of this server has ended its delivery.]
    #[arg(long, env = "ATP_REASON", value_name = "TEXT")]
    reason: Option<String>,
}

/// What came of it so far.
#[derive(Default)]
struct Tally {
    done: u64,
    unchanged: u64,
    busy: u64,
}

/// A command under way.
struct Work<'a> {
    verb: &'a Verb,
    reason: Option<&'a str>,
    client: Client,
    progress: ProgressBar,
    begun: Instant,
}

impl Act {
    pub(super) async fn run(self, verb: &Verb, output: &Output) -> Result<(), CliError> {
        self.carry_out(verb, None, true, output).await
    }

    /// `agreed`: nobody need be asked.
    async fn carry_out(
        &self,
        verb: &Verb,
        reason: Option<&str>,
        agreed: bool,
        output: &Output,
    ) -> Result<(), CliError> {
        let parts = self.choice.parts()?;
        let client = self.at.client()?;
        let mut work = Work { verb, reason, client, progress: ProgressBar::hidden(), begun: Instant::now() };
        if !agreed && !self.dry_run {
            let (found, _) = work.sweep(&parts, true).await?;
            agree(verb, found.done)?;
        }
        let (tally, missing) = work.sweep(&parts, self.dry_run).await?;
        work.progress.finish_and_clear();
        let told = if output.is_json() {
            output::print_json(&tally.json(verb, self.dry_run))
        } else {
            output::print(&tally.text(verb, self.dry_run))
        };
        told.and_then(|()| missing.map_or(Ok(()), Err))
    }
}

impl Final {
    pub(super) async fn run(self, output: &Output) -> Result<(), CliError> {
        self.act.carry_out(&CANCEL, None, self.yes, output).await
    }
}

impl Bounce {
    pub(super) async fn run(self, output: &Output) -> Result<(), CliError> {
        let Final { act, yes } = self.end;
        act.carry_out(&BOUNCE, self.reason.as_deref(), yes, output).await
    }
}

/// Asks before more than one row is ended.
fn agree(verb: &Verb, rows: u64) -> Result<(), CliError> {
    if rows <= 1 {
        return Ok(());
    }
    let Verb { name, done } = verb;
    match Prompt::new().confirm(&format!("{} rows would be {done}. Go on?", count(rows))) {
        Some(true) => Ok(()),
        Some(false) => Err(CliError::failed(format!("stopped: nothing was {done}"))),
        None => Err(CliError::usage(format!(
            "{} rows would be {done}; to {name} more than one without being asked, give --yes",
            count(rows)
        ))),
    }
}

impl Work<'_> {
    /// Goes through all that was chosen. With an error if a message that was named is not in the queue.
    async fn sweep(
        &mut self,
        parts: &[Part<'_>],
        dry_run: bool,
    ) -> Result<(Tally, Option<CliError>), CliError> {
        let (mut total, mut missing) = (Tally::default(), None);
        for part in parts {
            let before = total.seen();
            self.sweep_part(part, dry_run, &mut total).await?;
            if let Some(message) = part.message.filter(|_| total.seen() == before) {
                let text = format!("no row of message {message} is in the queue, or meets the conditions");
                missing.get_or_insert(CliError::failed(text));
            }
        }
        Ok((total, missing))
    }

    async fn sweep_part(
        &mut self,
        part: &Part<'_>,
        dry_run: bool,
        total: &mut Tally,
    ) -> Result<(), CliError> {
        let mut after: Option<String> = None;
        loop {
            let page = self.client.call(self.request(part, dry_run, after.as_deref())).await?;
            let page = page.success().map_err(|error| self.stopped(error, total, dry_run))?;
            total.done += number(&page, "done");
            total.unchanged += number(&page, "unchanged");
            total.busy += number(&page, "busy");
            self.show(total, dry_run);
            match page.get("next").and_then(Value::as_str) {
                Some(next) => after = Some(next.to_owned()),
                None => return Ok(()),
            }
        }
    }

    fn request(&self, part: &Part<'_>, dry_run: bool, after: Option<&str>) -> Request {
        let mut request = if self.verb.name == BOUNCE.name {
            let request = Request::command("admin/queue/bounce");
            self.reason.map_or(request.clone(), |reason| request.query("reason", reason))
        } else {
            Request::command("admin/queue/act").query("action", self.verb.name)
        };
        request = part.put(request).query("dry_run", if dry_run { "true" } else { "false" });
        match after {
            Some(after) => request.query("after", after),
            None => request,
        }
    }

    fn show(&self, total: &Tally, dry_run: bool) {
        if self.begun.elapsed() < QUIET {
            return;
        }
        if self.progress.is_hidden() {
            // On a terminal only.
            self.progress.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.progress.set_message(total.text(self.verb, dry_run));
        self.progress.tick();
    }

    /// An error half-way says how far it came.
    fn stopped(&self, error: CliError, total: &Tally, dry_run: bool) -> CliError {
        if total.done == 0 || dry_run {
            return error;
        }
        let (rows, done) = (count(total.done), self.verb.done);
        CliError { message: format!("{}; until then {rows} rows were {done}", error.message), ..error }
    }
}

impl Tally {
    fn seen(&self) -> u64 {
        self.done + self.unchanged + self.busy
    }

    fn json(&self, verb: &Verb, dry_run: bool) -> Value {
        let Tally { done, unchanged, busy } = self;
        json!({ "command": verb.name, "dry_run": dry_run, "done": done, "unchanged": unchanged, "busy": busy })
    }

    fn text(&self, verb: &Verb, dry_run: bool) -> String {
        if self.seen() == 0 {
            return "Nothing matches.".into();
        }
        let would = if dry_run { "would be " } else { "" };
        let mut text =
            format!("{would}{} {}, unchanged {}", verb.done, count(self.done), count(self.unchanged));
        if self.busy > 0 {
            text = format!("{text}, busy {}: run again for those", count(self.busy));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_told_in_counts() {
        let tally = Tally { done: 1234, unchanged: 5, busy: 2 };
        assert_eq!(tally.text(&HOLD, false), "held 1,234, unchanged 5, busy 2: run again for those");
        let tally = Tally { busy: 0, ..tally };
        assert_eq!(tally.text(&CANCEL, true), "would be cancelled 1,234, unchanged 5");
        assert_eq!(Tally::default().text(&HOLD, false), "Nothing matches.");
    }
}
