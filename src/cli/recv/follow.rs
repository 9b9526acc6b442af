//! `atp recv --follow`: each message as it comes, for as long as somebody reads.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::mailbox::{LONGEST_WAIT, Mailbox, Trouble};
use super::page::Page;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::env::backoff::Backoff;

/// The first wait after a server could not be reached.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Prints messages until told to stop, or nobody reads what is printed any more.
pub(super) async fn follow(mailbox: Mailbox, json: bool) -> Result<(), CliError> {
    let listen = |kind| signal(kind).map_err(|error| CliError::failed(format!("cannot start: {error}")));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    tokio::select! {
        ended = print_all(mailbox, json) => ended,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

async fn print_all(mut mailbox: Mailbox, json: bool) -> Result<(), CliError> {
    let mut pauses = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    // A server that has never answered is more likely misspelt than away.
    let (mut has_answered, mut is_away) = (false, false);
    loop {
        match mailbox.next(LONGEST_WAIT).await {
            Ok(page) => {
                if is_away {
                    eprintln!("atp: the server is back");
                }
                (has_answered, is_away) = (true, false);
                pauses.reset();
                if !page.messages.is_empty() && !print(page, json).await? {
                    return Ok(());
                }
            }
            Err(Trouble::Passing(error)) if has_answered => {
                if !is_away {
                    eprintln!("atp: {}; trying again until it works", output::one_line(&error.message));
                }
                is_away = true;
                sleep(pauses.wait()).await;
            }
            Err(trouble) => return Err(trouble.into()),
        }
    }
}

/// `false`: whoever reads has seen enough. A reader that is slow does not keep us from being told to stop.
async fn print(page: Page, json: bool) -> Result<bool, CliError> {
    let text = if json {
        let lines: Result<Vec<_>, _> = page.full().map(|full| output::json_line(&full)).collect();
        lines?.join("\n")
    } else {
        format!("{}\n", page.text())
    };
    let printed = tokio::task::spawn_blocking(move || output::print_on(&text)).await;
    printed.map_err(|error| CliError::failed(format!("cannot write the output: {error}")))?
}
