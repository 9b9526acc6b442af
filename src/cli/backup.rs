//! `atp backup`

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::FalseyValueParser;
use serde_json::json;

use super::error::CliError;
use super::http::Request;
use super::keep::{At, Found, explained, size};
use super::output::{self, Output};
use super::progress::Progress;
use super::unfinished::Unfinished;
use crate::daemon::keep::{self, KeepError};
use crate::spool::backup::frame::Parser;
use crate::spool::backup::{BackupError, Figures};

const NOTES: &str = "\
Everything that was accepted before the backup began is in it, as it was at one moment; the server goes on meanwhile.
The file holds mail, password hashes, webhook secrets and, without --without-keys, private keys: keep it as you keep those.
It has its name only once it is whole and on disk. `atp verify FILE` checks it, `atp restore FILE` puts it back.";

/// `atp backup`
#[derive(Args)]
#[command(after_help = NOTES)]
pub(super) struct Backup {
    /// The file to write; - is standard output
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Leave keys, tokens and certificates out
    #[arg(long, env = "ATP_WITHOUT_KEYS", value_parser = FalseyValueParser::new())]
    without_keys: bool,
    /// Replace a file of that name
    #[arg(long, env = "ATP_OVERWRITE", value_parser = FalseyValueParser::new())]
    overwrite: bool,
    #[command(flatten)]
    at: At,
}

impl Backup {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let is_stdout = self.file.as_os_str() == "-";
        if is_stdout && io::stdout().is_terminal() {
            return Err(CliError::usage(
                "a backup is no text for a terminal; name a file, or redirect the output",
            ));
        }
        let found = self.at.find().await?;
        let target = match is_stdout {
            true => Target::Stdout,
            false => Target::File(Unfinished::create(&self.file, self.overwrite)?),
        };
        let mut sink =
            Sink { target, parser: Parser::default(), bytes: 0, progress: Progress::new("backup") };
        match found {
            Found::Running(mut client) => {
                let keys = if self.without_keys { "false" } else { "true" };
                let mut pieces = client.stream(Request::get("admin/backup").query("keys", keys)).await?;
                while let Some(piece) = pieces.next().await? {
                    sink.take(&piece).map_err(|error| sink.failed(&error))?;
                }
            }
            Found::Stopped(home, node) => {
                let mut refusal = None;
                let done = keep::backup(&home, &node, !self.without_keys, &mut |piece| {
                    sink.take(&piece).map_err(|error| {
                        let told = io::Error::other(error.to_string());
                        refusal = Some(error);
                        told
                    })
                });
                if let (Some(error), Err(KeepError::Out(_))) = (&refusal, &done) {
                    return Err(sink.failed(error));
                }
                done.map_err(|error| explained(&node.store(), &error))?;
            }
        }
        let (figures, bytes, seconds) = sink.finish(&self.file)?;
        self.report(figures, bytes, seconds, is_stdout, output)
    }

    fn report(
        &self,
        figures: Figures,
        bytes: u64,
        seconds: f64,
        is_stdout: bool,
        output: &Output,
    ) -> Result<(), CliError> {
        if is_stdout {
            return Ok(());
        }
        if output.is_json() {
            return output::print_json(&json!({
                "file": self.file.display().to_string(), "bytes": bytes, "records": figures.records,
                "files": figures.files, "with_keys": !self.without_keys, "seconds": seconds,
            }));
        }
        let keys = if self.without_keys { "without keys" } else { "with keys: keep it secret" };
        output::print(&format!(
            "{}: {} records, {}, {keys}; {seconds:.1} s",
            self.file.display(),
            figures.records,
            size(bytes)
        ))
    }
}

/// Where the bytes go.
enum Target {
    Stdout,
    File(Unfinished),
}

/// Checks what it writes.
struct Sink {
    target: Target,
    parser: Parser,
    bytes: u64,
    progress: Progress,
}

impl Sink {
    fn take(&mut self, piece: &[u8]) -> Result<(), BackupError> {
        self.parser.push(piece, &mut |_| Ok(()))?;
        match &mut self.target {
            Target::Stdout => io::stdout().write_all(piece)?,
            Target::File(file) => file.file.write_all(piece)?,
        }
        self.bytes += piece.len() as u64;
        self.progress.at(self.bytes, None, size(self.bytes));
        Ok(())
    }

    fn failed(&self, error: &BackupError) -> CliError {
        CliError::failed(format!("no backup was made: {error}"))
    }

    fn finish(self, path: &Path) -> Result<(Figures, u64, f64), CliError> {
        let figures =
            self.parser.finish().map_err(|error| CliError::failed(format!("no backup was made: {error}")))?;
        match self.target {
            Target::Stdout => io::stdout().flush(),
            Target::File(file) => file.keep(),
        }
        .map_err(|error| CliError::failed(format!("{}: {error}; no backup was made", path.display())))?;
        Ok((figures, self.bytes, self.progress.end()))
    }
}
