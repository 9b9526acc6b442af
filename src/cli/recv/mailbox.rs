//! A mailbox at a server, ours or the reference's, read page by page.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::page::Page;
use crate::cli::error::CliError;
use crate::cli::http::{Client, Request};
use crate::proto::address::Address;
use crate::proto::filter::Filter;

/// How long a server is asked to wait for messages: shorter than an answer may take.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// A server that does not wait is asked no more often.
const POLL_EVERY: Duration = Duration::from_secs(1);

/// Where to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Beginning,
    Behind(u64),
    /// The end at the time of the first question.
    End,
}

/// Why there is no page.
pub(super) enum Trouble {
    /// It may work later.
    Passing(CliError),
    /// Trying again does not help.
    Lasting(CliError),
}

impl From<Trouble> for CliError {
    fn from(trouble: Trouble) -> CliError {
        match trouble {
            Trouble::Passing(error) | Trouble::Lasting(error) => error,
        }
    }
}

/// A mailbox, and how far it has been read.
pub(super) struct Mailbox {
    pub client: Client,
    /// With the credential and the conditions.
    pub request: Request,
    pub owner: Address,
    /// The conditions once more.
    pub filter: Filter,
    pub limit: usize,
    pub place: Place,
}

impl Mailbox {
    /// The next page; if nothing is there, what comes within `wait`, or an empty page sooner. Whoever asks again and
    /// again does not press the server.
    pub async fn next(&mut self, wait: Duration) -> Result<Page, Trouble> {
        let asked = Instant::now();
        let page = self.ask(wait.min(LONGEST_WAIT)).await?;
        if page.messages.is_empty() && !page.more {
            // The reference knows no waiting, and one of ours stops waiting when it is told to stop.
            sleep_until(asked + POLL_EVERY.min(wait)).await;
        }
        Ok(page)
    }

    async fn ask(&mut self, wait: Duration) -> Result<Page, Trouble> {
        let mut request = self.request.clone().query("limit", &self.limit.to_string());
        request = match self.place {
            Place::Beginning => request,
            Place::Behind(cursor) => request.query("after_id", &cursor.to_string()),
            Place::End => request.query("after_id", "latest"),
        };
        if !wait.is_zero() {
            request = request.query("wait", &wait.as_millis().div_ceil(1000).to_string());
        }
        let reply = self.client.call(request).await.map_err(Trouble::Passing)?;
        if matches!(reply.status, 408 | 425 | 429 | 451 | 500..) {
            return Err(Trouble::Passing(CliError::failed(reply.refusal())));
        }
        let mut page = reply.success().and_then(Page::of).map_err(Trouble::Lasting)?;
        if page.received.is_none() {
            self.understand(&mut page)?;
        }
        match (page.last_id, self.place) {
            // What does not lead on must not be asked for again and again.
            (Some(last), Place::Behind(before)) if last <= before => page.more = false,
            (Some(last), _) => self.place = Place::Behind(last),
            (None, _) => page.more = false,
        }
        Ok(page)
    }

    /// The reference knows neither filters nor the end, nor does it say whether there is more.
    fn understand(&self, page: &mut Page) -> Result<(), Trouble> {
        if self.place == Place::End {
            let text = "this server cannot tell new messages from old ones; leave --new out";
            return Err(Trouble::Lasting(CliError::failed(text)));
        }
        if !self.filter.is_empty() {
            page.more = page.messages.len() >= self.limit;
            page.sift(&self.filter, &self.owner);
        }
        Ok(())
    }
}
