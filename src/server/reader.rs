//! Whoever reads a mailbox, for one answer or for hours.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::state::{App, Parameters};
use crate::agents::Authenticated;
use crate::error::Fault;
use crate::mailbox::read::{Found, Want, read};
use crate::mailbox::seats::Seat;
use crate::proto::address::Address;
use crate::proto::filter::Filter;
use crate::proto::status::Reason;

/// A reader whose credential does not end by itself is looked at again after so long.
const LONG: Duration = Duration::from_secs(3600);

/// A mailbox, and somebody who may read it.
pub(super) struct Reader {
    app: Arc<App>,
    owner: Address,
    mailbox: u64,
    /// By which credential. `None`: the operator, on the control socket.
    shown: Option<Authenticated>,
}

impl Reader {
    /// An agent at its own mailbox.
    pub(super) fn of_agent(app: Arc<App>, shown: Authenticated) -> Reader {
        Reader { app, owner: shown.agent.clone(), mailbox: shown.mailbox, shown: Some(shown) }
    }

    /// The operator, at a mailbox of his.
    ///
    /// # Errors
    /// [`Reason::UnknownAgent`] if there is none.
    pub(super) async fn of_operator(app: Arc<App>, owner: Address) -> Result<Reader, Fault> {
        let account = app.pipeline.store.account(owner.clone()).await?;
        let account =
            account.ok_or_else(|| Fault::new(Reason::UnknownAgent, "There is no such agent here."))?;
        Ok(Reader { app, owner, mailbox: account.mailbox, shown: None })
    }

    /// Whose mailbox it is.
    pub(super) fn owner(&self) -> &Address {
        &self.owner
    }

    /// By which the mailbox is watched.
    pub(super) fn mailbox(&self) -> u64 {
        self.mailbox
    }

    /// A place among those who wait.
    ///
    /// # Errors
    /// As [`Seats::take`](crate::mailbox::seats::Seats::take).
    pub(super) fn seat(&self) -> Result<Seat, Fault> {
        self.app.seats.take(self.mailbox)
    }

    /// When the credential is to be looked at again although nothing has happened.
    pub(super) fn holds_until(&self) -> Instant {
        let holds_for = self.shown.as_ref().and_then(|shown| self.app.accounts.holds_for(shown));
        Instant::now() + holds_for.unwrap_or(LONG).min(LONG)
    }

    /// What is wanted behind the cursor `after`, if the reader may still see it.
    ///
    /// # Errors
    /// [`Reason::BadCredential`] once the credential has been withdrawn, or the mailbox has gone; as [`read`].
    pub(super) async fn read(&self, after: u64, want: &Arc<Want>) -> Result<Found, Fault> {
        let found = read(&*self.app.pipeline.store, &self.owner, after, want).await;
        // Asked afterwards: what came only once the credential had been withdrawn is never shown.
        self.still_may().await?;
        found
    }

    /// Whether the reader may still see the mailbox. Says when to ask again although nothing has happened.
    ///
    /// # Errors
    /// [`Reason::BadCredential`] once the credential has been withdrawn, or the mailbox has gone.
    pub(super) async fn still_may(&self) -> Result<Instant, Fault> {
        match &self.shown {
            Some(shown) if !self.app.accounts.still_holds(shown).await? => {
                Err(Fault::new(Reason::BadCredential, "This credential has been withdrawn."))
            }
            Some(shown) if !self.app.settings().is_ours(shown.agent.domain()) => {
                Err(Fault::new(Reason::BadCredential, "This server does not serve that domain."))
            }
            _ => Ok(self.holds_until()),
        }
    }
}

/// Which messages: those that meet all of these.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "described here, read by filter")]
pub(super) struct Conditions {
    /// From this address.
    #[param(max_length = 318)]
    from: Option<String>,
    /// Of this type.
    #[param(min_length = 1, max_length = 320)]
    r#type: Option<String>,
    /// Of this context.
    #[param(min_length = 1, max_length = 320)]
    context_id: Option<String>,
    /// Answers to the message of this nonce, bounces and notices included.
    #[param(min_length = 1, max_length = 320)]
    in_reply_to: Option<String>,
    /// That came at this time or later, in Unix seconds.
    since: Option<i64>,
}

/// The filter among a request's parameters; what of the messages sent it needs is looked up.
///
/// # Errors
/// [`Reason::Malformed`] for conditions that make no sense.
pub(super) async fn filter(app: &App, reader: &Reader, parameters: &Parameters) -> Result<Filter, Fault> {
    let mut filter = Filter::parse(|name| parameters.get(name).map(String::as_str))
        .map_err(|error| Fault::new(Reason::Malformed, error.to_string()))?;
    if let Some(copy) = filter.copy()
        && let Some((record, _)) = app.pipeline.store.sent(reader.owner().clone(), copy).await?
    {
        filter.stands_for(record.nonce);
    }
    Ok(filter)
}

/// A cursor among a request's parameters: a number, or `latest` for the end of the mailbox. `None`: it is not there.
///
/// # Errors
/// [`Reason::Malformed`] for anything else.
pub(super) fn cursor(app: &App, name: &str, text: Option<&str>) -> Result<Option<u64>, Fault> {
    match text {
        None => Ok(None),
        Some("latest") => Ok(Some(app.pipeline.store.end())),
        Some(text) => number(name, text).map(Some),
    }
}

/// A whole number.
///
/// # Errors
/// [`Reason::Malformed`] for anything else.
pub(super) fn number(name: &str, text: &str) -> Result<u64, Fault> {
    let wrong = |_| Fault::new(Reason::Malformed, format!("The parameter {name} must be a whole number."));
    text.parse().map_err(wrong)
}
