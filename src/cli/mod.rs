//! The command line: one file a command, and what they share beside them.
//!
//! Every mistake is one line on standard error, starting `atp:`. Exit codes: 0 done, 1 it did not work,
//! 2 the command was not understood.

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

mod access;
mod ack;
mod agent;
mod as_server;
mod ask;
mod backup;
mod certificate;
mod claim;
mod completions;
mod config;
mod configuration;
mod connect;
mod content;
mod control;
mod dead;
mod delete;
mod demo;
mod dns;
mod error;
mod export;
mod extend;
mod found;
mod http;
mod identities;
mod import;
mod inspect;
mod keep;
mod keys;
mod limits;
mod login;
mod mailbox;
mod man;
mod nack;
mod names;
mod options;
mod output;
mod password;
mod progress;
mod prompt;
mod queue;
mod recv;
mod reload;
mod reply;
mod restore;
mod send;
mod sending;
mod server;
mod setup;
mod status;
mod store;
mod target;
mod token;
mod top;
mod unfinished;
mod verify;
mod webhook;

use error::CliError;
use output::Output;

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 it did not work, one line on standard error says why; 2 the command was not understood.
Every flag can also be given in the environment, as --help shows; what is on the command line wins.";

/// The mail server of a domain's agents, and the agents' command line.
#[derive(Parser)]
#[command(name = "atp", version, after_help = EXIT_CODES, propagate_version = true)]
#[command(subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show two domains exchange a message, on this machine alone
    Demo(demo::Demo),
    /// Set a server up: configuration, keys, service, records; say what is left to do
    Setup(Box<setup::Setup>),
    /// Run the server
    #[command(subcommand)]
    Server(server::Server),
    /// Check and show a server's configuration
    #[command(subcommand)]
    Config(config::Config),
    /// Have a running server read its configuration again
    Reload(reload::Reload),
    /// Register, list and remove agents; change their passwords and tokens
    #[command(subcommand)]
    Agent(agent::Agent),
    /// Note on this machine who you are, so that other commands need no flags
    Login(login::Login),
    /// Choose the identity that commands act as, or list them
    Use(login::Use),
    /// Show as which agent commands act
    Whoami(login::Whoami),
    /// Forget an identity and end its token
    Logout(login::Logout),
    /// Send a message
    Send(send::Send),
    /// Receive messages
    Recv(recv::Recv),
    /// Send a request and wait for the response
    Ask(ask::Ask),
    /// Answer a message in the agent's mailbox
    Reply(reply::Reply),
    /// Have an agent's messages pushed to a URL
    #[command(subcommand)]
    Webhook(webhook::Webhook),
    /// Take messages to work on, which nobody else is given meanwhile
    Claim(claim::Claim),
    /// Say what came of a message
    Ack(ack::Ack),
    /// Give a message back, for later or for another worker
    Nack(nack::Nack),
    /// Keep a message for longer
    Extend(extend::Extend),
    /// Look at messages that came back too often, and put them back
    #[command(subcommand)]
    Dead(dead::Dead),
    /// Delete messages
    Delete(delete::Delete),
    /// Make and manage a domain's signing keys
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Print and check a domain's DNS records
    #[command(subcommand)]
    Dns(dns::Dns),
    /// Look at a server's certificate, and have the authority renew it
    #[command(subcommand)]
    Certificate(certificate::Certificate),
    /// Look at the queue of a server on this machine, and act on it
    #[command(subcommand)]
    Queue(queue::Queue),
    /// Write everything a server keeps into one file, while it runs
    Backup(backup::Backup),
    /// Put a backup into a state directory
    Restore(restore::Restore),
    /// Check every record of a store, or of a backup
    Verify(verify::Verify),
    /// Write agents and what is theirs as lines of JSON
    Export(export::Export),
    /// Take in what was exported, or agents made by a program
    Import(import::Import),
    /// Look after the store of a server that is stopped
    #[command(subcommand)]
    Store(store::Store),
    /// Show what is well at a server, what is not, and what to do
    #[command(after_help = status::NOTES)]
    Status(status::Status),
    /// Watch a server on this machine, live
    Top(top::Top),
    /// Show what became of a message
    Inspect(inspect::Inspect),
    /// Print what a shell needs to complete commands and flags
    Completions(completions::Completions),
    /// Print the manual page, or write one for every command
    Man(man::Man),
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let outcome = match Cli::try_parse() {
        Ok(cli) => cli.run(),
        Err(error) if is_help(error.kind()) => error.exit(),
        Err(error) => Err(misunderstood(&error)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("atp: {}", output::one_line(&error.message));
            ExitCode::from(error.code)
        }
    }
}

fn is_help(kind: ErrorKind) -> bool {
    use ErrorKind as E;
    matches!(kind, E::DisplayHelp | E::DisplayVersion | E::DisplayHelpOnMissingArgumentOrSubcommand)
}

/// The parser's explanation on one line: what is wrong and what may have been meant, without the usage.
fn misunderstood(error: &clap::Error) -> CliError {
    let text = error.to_string();
    let told = text.split("\n\nUsage:").next().and_then(|told| told.split("\n\nFor more").next());
    let told = told.unwrap_or_default().trim_start_matches("error: ");
    let lines = told.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines.fold(String::new(), |line, next| match next.strip_prefix("tip: ") {
        Some(tip) => format!("{line}; {tip}"),
        None if line.is_empty() => next.to_owned(),
        None => format!("{line} {next}"),
    });
    CliError::usage(format!("{line}; --help shows how it is used"))
}

impl Cli {
    fn run(self) -> Result<(), CliError> {
        let Cli { output, command } = self;
        match command {
            Command::Demo(demo) => demo.run(),
            Command::Setup(setup) => block_on(setup.run(&output)),
            Command::Server(server) => server.run(),
            Command::Config(config) => config.run(&output),
            Command::Reload(reload) => block_on(reload.run(&output)),
            Command::Agent(agent) => block_on(agent.run(&output)),
            Command::Login(login) => block_on(login.run(&output)),
            Command::Use(choice) => block_on(choice.run(&output)),
            Command::Whoami(whoami) => block_on(whoami.run(&output)),
            Command::Logout(logout) => block_on(logout.run(&output)),
            Command::Send(send) => block_on(send.run(&output)),
            Command::Recv(recv) => block_on(recv.run(&output)),
            Command::Ask(ask) => block_on(ask.run(&output)),
            Command::Reply(reply) => block_on(reply.run(&output)),
            Command::Webhook(webhook) => block_on(webhook.run(&output)),
            Command::Claim(claim) => block_on(claim.run(&output)),
            Command::Ack(ack) => block_on(ack.run(&output)),
            Command::Nack(nack) => block_on(nack.run(&output)),
            Command::Extend(extend) => block_on(extend.run(&output)),
            Command::Dead(dead) => block_on(dead.run(&output)),
            Command::Delete(delete) => block_on(delete.run(&output)),
            Command::Keys(keys) => block_on(keys.run(&output)),
            Command::Dns(dns) => block_on(dns.run(&output)),
            Command::Certificate(certificate) => block_on(certificate.run(&output)),
            Command::Queue(queue) => block_on(queue.run(&output)),
            Command::Backup(backup) => block_on(backup.run(&output)),
            Command::Restore(restore) => restore.run(&output),
            Command::Verify(verify) => block_on(verify.run(&output)),
            Command::Export(export) => block_on(export.run()),
            Command::Import(import) => block_on(import.run(&output)),
            Command::Store(store) => store.run(&output),
            Command::Status(status) => block_on(status.run(&output)),
            Command::Top(top) => block_on(top.run(&output)),
            Command::Inspect(inspect) => block_on(inspect.run(&output)),
            Command::Completions(completions) => completions.run(),
            Command::Man(man) => man.run(),
        }
    }
}

/// A client needs one thread only; the server starts its own.
fn block_on(work: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::failed(format!("cannot start: {error}")))?;
    let outcome = runtime.block_on(work);
    // Nor does it wait for whoever does not take its output.
    runtime.shutdown_background();
    outcome
}

#[cfg(test)]
mod tests;
