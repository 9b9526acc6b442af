//! `atp import`

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;
use serde_json::{Value, json};

use super::error::CliError;
use super::http::{Client, Request};
use super::keep::{At, Found, explained, size};
use super::output::{self, Output};
use super::progress::Progress;
use crate::daemon::keep::Opened;
use crate::spool::exchange::{Line, MAX_LINE_BYTES};

/// Lines that go together, and bytes after which there are enough.
const BATCH: (usize, usize) = (500, 4 * 1024 * 1024);
/// Wrong lines that are told one by one.
const MAX_TOLD: usize = 100;

const NOTES: &str = "\
A line that was taken in before changes nothing, so an import that was cut off is simply run again.
Exit codes: 0 every line is there; 1 a line is not taken, and each of those is told with its number; 2 not understood.";

/// `atp import`
#[derive(Args)]
#[command(after_help = NOTES)]
pub(super) struct Import {
    /// The file to read; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Stop at the first line that is not taken
    #[arg(long, env = "ATP_STRICT", value_parser = FalseyValueParser::new())]
    strict: bool,
    #[command(flatten)]
    at: At,
}

/// What has come of the lines so far.
#[derive(Default)]
struct Tally {
    lines: u64,
    new: u64,
    unchanged: u64,
    wrong: u64,
    /// Those that are told one by one: numbers and reasons.
    refused: Vec<Value>,
}

/// Who takes lines.
enum Taker {
    Running(Box<Client>),
    Stopped(Box<Opened>, PathBuf),
}

impl Import {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let (file, length) = self.open()?;
        let mut taker = match self.at.find().await? {
            Found::Running(client) => Taker::Running(Box::new(client)),
            Found::Stopped(_, node) => {
                let opened = Opened::new(&node).map_err(|error| explained(&node.store(), &error))?;
                Taker::Stopped(Box::new(opened), node.store())
            }
        };
        let (mut lines, progress, mut tally) =
            (Lines { file, read: 0, too_long: Vec::new() }, Progress::new("import"), Tally::default());
        loop {
            let batch = lines.batch()?;
            if batch.is_empty() {
                break;
            }
            let count = batch.len() as u64;
            let answer = taker.take(batch, self.strict).await?;
            self.note(&answer, &lines.too_long, &mut tally, output)?;
            tally.lines += count;
            progress.at(lines.read, length, size(lines.read));
            if self.strict && tally.wrong > 0 {
                break;
            }
        }
        if let Taker::Stopped(opened, _) = taker {
            opened.close().await;
        }
        let seconds = progress.end();
        let Tally { lines, new, unchanged, wrong, refused } = tally;
        if output.is_json() {
            output::print_json(&json!({
                "lines": lines, "new": new, "unchanged": unchanged, "wrong": wrong, "refused": refused,
                "seconds": seconds,
            }))?;
        } else {
            output::print(&format!(
                "{lines} lines: {new} new, {unchanged} there before, {wrong} not taken; {seconds:.1} s"
            ))?;
        }
        match wrong {
            0 => Ok(()),
            _ => {
                Err(CliError::failed("not every line was taken; mend those that are named and run it again"))
            }
        }
    }

    fn open(&self) -> Result<(Box<dyn BufRead>, Option<u64>), CliError> {
        if self.file.as_os_str() == "-" {
            return Ok((Box::new(BufReader::new(io::stdin())), None));
        }
        let unreadable =
            |error: io::Error| CliError::failed(format!("cannot read {}: {error}", self.file.display()));
        let file = File::open(&self.file).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        Ok((Box::new(BufReader::new(file)), Some(length)))
    }

    /// `too_long`: places of lines that were not sent as they are.
    fn note(
        &self,
        answer: &Value,
        too_long: &[u64],
        tally: &mut Tally,
        output: &Output,
    ) -> Result<(), CliError> {
        let number = |name: &str| answer[name].as_u64().unwrap_or(0);
        tally.new += number("new");
        tally.unchanged += number("unchanged");
        for wrong in answer["wrong"].as_array().into_iter().flatten() {
            tally.wrong += 1;
            if tally.wrong > MAX_TOLD as u64 {
                continue;
            }
            let place = wrong["line"].as_u64().unwrap_or(0);
            let line = tally.lines + place + 1;
            let error = match too_long.contains(&place) {
                true => format!("the line is longer than {MAX_LINE_BYTES} bytes"),
                false => output::one_line(wrong["error"].as_str().unwrap_or_default()),
            };
            if output.is_json() {
                tally.refused.push(json!({ "line": line, "error": error }));
            } else {
                output::print(&format!("{}:{line}: {error}", self.file.display()))?;
            }
        }
        Ok(())
    }
}

impl Taker {
    async fn take(&mut self, batch: Vec<Vec<u8>>, strict: bool) -> Result<Value, CliError> {
        match self {
            Taker::Running(client) => {
                let strict = if strict { "true" } else { "false" };
                let body = batch.join(&b'\n');
                let request =
                    Request::post("admin/import", "application/x-ndjson", body).query("strict", strict);
                client.call(request).await?.success()
            }
            Taker::Stopped(opened, store) => {
                let (mut wrong, mut parsed, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
                for (number, line) in batch.iter().enumerate() {
                    match Line::parse(line, opened.domains()) {
                        Ok(line) => {
                            parsed.push(line);
                            numbers.push(number);
                        }
                        Err(error) => {
                            wrong.push(json!({ "line": number, "error": error }));
                            if strict {
                                break;
                            }
                        }
                    }
                }
                let taken = opened.import(parsed, strict).await.map_err(|error| explained(store, &error))?;
                let (mut new, mut unchanged) = (0, 0);
                for (number, outcome) in numbers.into_iter().zip(taken) {
                    match outcome {
                        Ok(true) => new += 1,
                        Ok(false) => unchanged += 1,
                        Err(error) => wrong.push(json!({ "line": number, "error": error })),
                    }
                }
                Ok(json!({ "new": new, "unchanged": unchanged, "wrong": wrong }))
            }
        }
    }
}

struct Lines {
    file: Box<dyn BufRead>,
    read: u64,
    /// Places in the last batch of lines that are too long.
    too_long: Vec<u64>,
}

impl Lines {
    /// The next lines. An empty one counts; none: that was all.
    fn batch(&mut self) -> Result<Vec<Vec<u8>>, CliError> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        self.too_long.clear();
        while batch.len() < BATCH.0 && bytes < BATCH.1 {
            let mut line = Vec::new();
            let limit = MAX_LINE_BYTES as u64 + 1;
            let count = self.file.by_ref().take(limit).read_until(b'\n', &mut line);
            let count = count.map_err(|error| CliError::failed(format!("cannot read: {error}")))?;
            if count == 0 {
                break;
            }
            if line.last() == Some(&b'\n') {
                line.pop();
            } else if count > MAX_LINE_BYTES {
                self.too_long.push(batch.len() as u64);
                self.skip_rest().map_err(|error| CliError::failed(format!("cannot read: {error}")))?;
                line.clear();
            }
            self.read += count as u64;
            bytes += count;
            // So that lines count alike on both sides, an empty one is something that is refused.
            batch.push(if line.is_empty() { b"null".to_vec() } else { line });
        }
        Ok(batch)
    }

    /// Reads to the end of the line.
    fn skip_rest(&mut self) -> io::Result<()> {
        loop {
            let bytes = self.file.fill_buf()?;
            let (count, is_end) = match bytes.iter().position(|byte| *byte == b'\n') {
                Some(end) => (end + 1, true),
                None => (bytes.len(), bytes.is_empty()),
            };
            self.file.consume(count);
            self.read += count as u64;
            if is_end {
                return Ok(());
            }
        }
    }
}
