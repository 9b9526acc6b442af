//! `atp verify`

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::error::CliError;
use super::http::{Client, Request};
use super::keep::{At, Found, explained, size};
use super::output::{self, Output};
use super::progress::Progress;
use crate::daemon::keep;
use crate::spool::backup::stored;
use crate::spool::check::check;
use crate::spool::contract::Snapshot;

const NOTES: &str = "\
Without FILE: the store of a server on this machine. One that runs is checked as it is at one moment, while it goes on.
Exit codes: 0 everything is whole; 1 something is wrong, a line for each finding says what; 2 not understood.";

/// `atp verify`
#[derive(Args)]
#[command(after_help = NOTES)]
pub(super) struct Verify {
    /// A backup to check
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    at: At,
}

impl Verify {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let progress = Progress::new("verify");
        let (what, report) = match &self.file {
            Some(file) => (file.display().to_string(), of_backup(file, &progress)?),
            None => match self.at.find().await? {
                Found::Running(client) => ("the store".to_owned(), of_running(client, &progress).await?),
                Found::Stopped(_, node) => {
                    let store = node.store();
                    let snapshot = keep::open(&store).map_err(|error| explained(&store, &error))?;
                    (store.display().to_string(), of_snapshot(&snapshot, &progress)?)
                }
            },
        };
        let seconds = progress.end();
        tell(&what, &report, seconds, output)
    }
}

fn of_backup(file: &Path, progress: &Progress) -> Result<Value, CliError> {
    let show = &mut |done, all| progress.at(done, Some(all), size(done));
    let stored =
        stored::open(file, show).map_err(|error| CliError::failed(format!("{}: {error}", file.display())))?;
    stored.check_schema().map_err(|error| CliError::failed(format!("{}: {error}", file.display())))?;
    of_snapshot(&stored.snapshot, progress)
}

fn of_snapshot(snapshot: &Snapshot, progress: &Progress) -> Result<Value, CliError> {
    let report = check(snapshot, &mut |records| {
        progress.at(records, None, format!("{records} records"));
        ControlFlow::Continue(())
    });
    let report =
        report.map_err(|error| CliError::failed(format!("it cannot be read to its end: {error}")))?;
    serde_json::to_value(report).map_err(CliError::failed)
}

async fn of_running(mut client: Client, progress: &Progress) -> Result<Value, CliError> {
    let mut pieces = client.stream(Request::get("admin/verify")).await?;
    let mut waiting = Vec::new();
    while let Some(piece) = pieces.next().await? {
        waiting.extend_from_slice(&piece);
        while let Some(end) = waiting.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = waiting.drain(..=end).collect();
            let mut line: Value = serde_json::from_slice(&line).unwrap_or_default();
            if let Some(error) = line.get("error").and_then(Value::as_str) {
                return Err(CliError::failed(format!("it cannot be read to its end: {error}")));
            }
            if let Some(report) = line.get_mut("report") {
                return Ok(report.take());
            }
            let records = line.get("records").and_then(Value::as_u64).unwrap_or(0);
            progress.at(records, None, format!("{records} records"));
        }
    }
    Err(CliError::failed("the server stopped before the check was finished"))
}

fn tell(what: &str, report: &Value, seconds: f64, output: &Output) -> Result<(), CliError> {
    let wrong = report["wrong"].as_u64().unwrap_or(0);
    if output.is_json() {
        let mut told = report.clone();
        told["what"] = json!(what);
        told["seconds"] = json!(seconds);
        output::print_json(&told)?;
    } else {
        for finding in report["findings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            output::print(&output::one_line(finding))?;
        }
        let figure = |name: &str| report["figures"][name].as_u64().unwrap_or(0);
        output::print(&format!(
            "{what}: {} records, {}; {} accounts, {} messages, {} rows of the queue, {} identities; {seconds:.1} s",
            figure("records"),
            size(figure("bytes")),
            figure("accounts"),
            figure("messages"),
            figure("rows"),
            figure("identities") + figure("packed"),
        ))?;
    }
    match wrong {
        0 => Ok(()),
        1 => Err(CliError::failed(format!("{what}: 1 thing is wrong; docs/operating.md says what to do"))),
        _ => Err(CliError::failed(format!(
            "{what}: {wrong} things are wrong; docs/operating.md says what to do"
        ))),
    }
}
