//! `atp export`

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;
use serde_json::Value;

use super::error::CliError;
use super::http::Request;
use super::keep::{At, Found, explained, size};
use super::names;
use super::progress::Progress;
use super::unfinished::Unfinished;
use crate::daemon::keep;
use crate::spool::exchange::What;
use crate::spool::exchange::export::{Wanted, export, knows};

const NOTES: &str = "\
Each line is an object; docs/operating.md says what is in it. Passwords and tokens are hashed, secrets of webhooks are not.
What is about agents comes first: agents, tokens, limits, webhooks, remembered, mail, queue. `atp import` reads it.
`remembered` is what keeps messages from being delivered or sent twice after a move: leave it out only for agents alone.
Not exported: keys, receipts on their way, suspended destinations, claims. To move a whole server: `atp backup`.";

/// `atp export`
#[derive(Args)]
#[command(after_help = NOTES)]
pub(super) struct Export {
    /// The file to write [default: standard output]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Only these: agents, tokens, limits, webhooks, remembered, mail, queue
    #[arg(long, env = "ATP_WHAT", value_name = "WHAT", value_delimiter = ',')]
    what: Vec<String>,
    /// Only what is this agent's
    #[arg(long, env = "ATP_AGENT", value_name = "ADDRESS")]
    agent: Option<String>,
    /// Replace a file of that name
    #[arg(long, env = "ATP_OVERWRITE", value_parser = FalseyValueParser::new())]
    overwrite: bool,
    #[command(flatten)]
    at: At,
}

impl Export {
    pub async fn run(self) -> Result<(), CliError> {
        let wanted = self.wanted()?;
        let file = self.file.as_ref().filter(|file| file.as_os_str() != "-");
        let found = self.at.find().await?;
        let mut unfinished = file.map(|file| Unfinished::create(file, self.overwrite)).transpose()?;
        let mut sink: Box<dyn Write> = match &mut unfinished {
            Some(file) => Box::new(BufWriter::new(&mut file.file)),
            None => Box::new(BufWriter::new(io::stdout())),
        };
        let (progress, mut bytes) = (Progress::new("export"), 0);
        let mut write = |line: &[u8]| -> io::Result<()> {
            bytes += line.len() as u64 + 1;
            progress.at(bytes, None, size(bytes));
            sink.write_all(line)?;
            sink.write_all(b"\n")
        };
        let unwritable = |error: io::Error| CliError::failed(format!("cannot write: {error}"));
        match found {
            Found::Running(mut client) => {
                let what: Vec<&str> = wanted.what.iter().map(|what| what.as_str()).collect();
                let mut request = Request::get("admin/export").query("what", &what.join(","));
                if let Some(agent) = &wanted.agent {
                    request = request.query("agent", &agent.to_string());
                }
                let (mut pieces, mut waiting, mut ended) = (client.stream(request).await?, Vec::new(), false);
                while let Some(piece) = pieces.next().await? {
                    waiting.extend_from_slice(&piece);
                    let mut from = 0;
                    while let Some(length) = waiting[from..].iter().position(|byte| *byte == b'\n') {
                        let line = &waiting[from..from + length];
                        match told(line) {
                            Some(Ok(())) => ended = true,
                            Some(Err(error)) => return Err(error),
                            None => write(line).map_err(unwritable)?,
                        }
                        from += length + 1;
                    }
                    waiting.drain(..from);
                }
                if !ended {
                    return Err(CliError::failed("the server stopped before the export was finished"));
                }
            }
            Found::Stopped(_, node) => {
                let snapshot = keep::open(&node.store()).map_err(|error| explained(&node.store(), &error))?;
                if let Some(agent) = &wanted.agent
                    && !knows(&snapshot, agent).map_err(|error| unreadable(&error))?
                {
                    return Err(CliError::failed(format!(
                        "there is no agent {agent} here; `atp agent list` names those that there are, once the server runs"
                    )));
                }
                let mut failure = None;
                let done = export(&snapshot, &wanted, &mut |line| {
                    let written = serde_json::to_string(line).map_err(io::Error::other);
                    match written.and_then(|line| write(line.as_bytes())) {
                        Ok(()) => ControlFlow::Continue(()),
                        Err(error) => {
                            failure = Some(error);
                            ControlFlow::Break(())
                        }
                    }
                });
                if let Some(error) = failure {
                    return Err(unwritable(error));
                }
                done.map_err(|error| unreadable(&error))?;
            }
        }
        sink.flush().map_err(unwritable)?;
        drop(sink);
        if let Some(unfinished) = unfinished {
            unfinished.keep().map_err(unwritable)?;
        }
        Ok(())
    }

    fn wanted(&self) -> Result<Wanted, CliError> {
        let parse = |text: &String| {
            What::parse(text).ok_or_else(|| {
                CliError::usage(format!(
                    "{text:?} cannot be exported; there are agents, tokens, limits, webhooks, remembered, mail, queue"
                ))
            })
        };
        let what: Vec<What> = self.what.iter().map(parse).collect::<Result<_, _>>()?;
        let what = if what.is_empty() { What::ALL.to_vec() } else { what };
        let agent = self.agent.as_deref().map(names::parse).transpose()?;
        Ok(Wanted { what, agent })
    }
}

fn unreadable(error: &dyn std::fmt::Display) -> CliError {
    CliError::failed(format!("the store cannot be read to its end: {error}"))
}

/// What the last line says. `None`: it is not the last.
fn told(line: &[u8]) -> Option<Result<(), CliError>> {
    if line.len() > 4096 {
        return None;
    }
    let line: Value = serde_json::from_slice(line).ok()?;
    let error = line.get("error").and_then(Value::as_str);
    let error = error.map(|error| Err(unreadable(&error)));
    error.or_else(|| line.get("end").map(|_| Ok(())))
}
