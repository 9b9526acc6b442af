//! `atp queue …`: the queue of a server on this machine, over its control socket.

use clap::{Args, Subcommand};

use super::control;
use super::error::CliError;
use super::http::Client;
use super::options::HomeOptions;
use super::output::Output;
use crate::proto::address::Domain;

mod act;
mod choice;
mod destinations;
mod list;
mod show;
pub(super) mod words;

/// Look at the queue of a server on this machine, and act on it.
#[derive(Subcommand)]
#[command(after_help = NOTES)]
pub(super) enum Queue {
    /// List rows, a message to a recipient each, in the order of their acceptance
    #[command(after_help = list::NOTES)]
    List(list::List),
    /// Tell the story of a message
    Show(show::Show),
    /// Try rows now instead of at their time
    #[command(after_help = NOTES)]
    Retry(act::Act),
    /// Leave rows alone until they are released; meanwhile their time stands still
    #[command(after_help = NOTES)]
    Hold(act::Act),
    /// Let held rows go on
    #[command(after_help = NOTES)]
    Release(act::Act),
    /// Remove rows; nobody is told
    #[command(after_help = NOTES)]
    Cancel(act::Final),
    /// End rows with a bounce to their senders, code 550 5.7.0
    #[command(after_help = NOTES)]
    Bounce(act::Bounce),
    /// List destinations: what waits for them, and what trouble they are in
    Destinations(destinations::List),
    /// Send nothing more to destinations until they are resumed
    Suspend(destinations::Named),
    /// End the suspension of destinations and send to them now
    Resume(destinations::Named),
}

const NOTES: &str = "\
A message is named by its nonce, one of its rows as `atp queue list` shows it, such as 12.0.
Conditions beside one another must all hold. Rows being attempted are left alone and counted as busy.
cancel and bounce ask before they end more than one row; without a terminal they want --yes.
Exit codes: 0 carried out, even if rows were busy or nothing matched; 1 it did not work, or a message named on the
command line is not in the queue; 2 the command was not understood, or --yes is missing.";

/// Which server.
#[derive(Args)]
pub(super) struct At {
    /// The first domain of the server; may be left out if only one server has run here
    #[arg(long, env = "ATP_DOMAIN", value_name = "DOMAIN")]
    domain: Option<String>,
    #[command(flatten)]
    home: HomeOptions,
}

impl At {
    pub(super) fn client(&self) -> Result<Client, CliError> {
        let domain = self.domain.as_deref().filter(|text| !text.is_empty()).map(|text| {
            Domain::parse(text).map_err(|error| CliError::usage(format!("--domain {text:?}: {error}")))
        });
        control::client_of(&self.home.home()?, domain.transpose()?.as_ref())
    }
}

impl Queue {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        match self {
            Queue::List(list) => list.run(output).await,
            Queue::Show(show) => show.run(output).await,
            Queue::Retry(act) => act.run(&act::RETRY, output).await,
            Queue::Hold(act) => act.run(&act::HOLD, output).await,
            Queue::Release(act) => act.run(&act::RELEASE, output).await,
            Queue::Cancel(end) => end.run(output).await,
            Queue::Bounce(bounce) => bounce.run(output).await,
            Queue::Destinations(list) => list.run(output).await,
            Queue::Suspend(named) => named.run("suspend", output).await,
            Queue::Resume(named) => named.run("resume", output).await,
        }
    }
}
