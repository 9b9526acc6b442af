//! How much an agent may send: what the operator is shown, and what he sets for one.

use serde::Serialize;
use utoipa::ToSchema;

use super::state::{App, Parameters};
use crate::config::checked::Limit;
use crate::config::rates;
use crate::error::Fault;
use crate::proto::address::Address;
use crate::proto::status::Reason;
use crate::rates::messages::OwnSending;
use crate::spool::contract::rates::SendingChange;
use crate::spool::entry::keeping::Setting;
use crate::spool::entry::rates::{RateRecord, SendingRecord};

/// Agents for which the operator has set something that are read at the start.
const MAX_OWN: usize = 100_000;

/// How much an agent may send, counted by recipient.
#[derive(Serialize, ToSchema)]
pub struct Sending {
    /// Messages, such as `60/m 1000/h 10000/d`, or `unlimited`.
    #[schema(example = "60/m 10000/d")]
    rate: String,
    /// Addresses elsewhere that are new to it, such as `500/d`, or `unlimited`.
    #[schema(example = "unlimited")]
    new_recipients: String,
    /// What it has sent on this day of UTC. Null: that is not counted, or nothing.
    #[schema(required)]
    sent_today: Option<u32>,
    /// How many of these addresses were new to it. Null likewise.
    #[schema(required)]
    new_recipients_today: Option<u32>,
}

/// How much an agent may send. `None`: there is no such agent.
///
/// # Errors
/// What the store says.
pub(super) async fn of(app: &App, agent: &Address) -> Result<Option<Sending>, Fault> {
    let now = app.pipeline.env.clock.now();
    let Some(state) = app.pipeline.store.sending(agent.clone(), now).await? else { return Ok(None) };
    let settings = app.settings();
    let of_domain = settings.of(agent.domain()).map(|of_domain| of_domain.sending).unwrap_or_default();
    let sending = app.pipeline.rates.of_agent(agent, of_domain);
    Ok(Some(Sending {
        rate: rates::print(&sending.agent),
        new_recipients: rates::print_daily(sending.agent_new_recipients),
        sent_today: state.today.map(|today| today.messages),
        new_recipients_today: state.today.map(|today| today.new_recipients),
    }))
}

/// Changes how much an agent may send.
///
/// # Errors
/// What the store says.
pub(super) async fn change(app: &App, agent: &Address, change: SendingChange) -> Result<(), Fault> {
    if change == SendingChange::default() {
        return Ok(());
    }
    if let Some(own) = app.pipeline.store.set_sending(agent.clone(), change).await? {
        app.pipeline.rates.set_own(agent, own.map(|record| own_sending(&record)));
    }
    Ok(())
}

/// What `rate` and `new_recipients` among the parameters of a call want changed.
///
/// # Errors
/// [`Reason::Malformed`].
pub(super) fn parse(parameters: &Parameters) -> Result<SendingChange, Fault> {
    let malformed = |name: &str, remedy: String| Fault::new(Reason::Malformed, format!("{name}: {remedy}"));
    let rate = |text: &String| match text.as_str() {
        "default" => Ok(None),
        text => rates::parse(text).map(|limit| Some(record(&limit))),
    };
    let new = |text: &String| match text.as_str() {
        "default" => Ok(Setting::Default),
        text => rates::parse_daily(text)
            .map(|daily| daily.map_or(Setting::Unlimited, |daily| Setting::At(daily.into()))),
    };
    let rate = parameters.get("rate").map(rate).transpose();
    let new_recipients = parameters.get("new_recipients").map(new).transpose();
    Ok(SendingChange {
        rate: rate.map_err(|remedy| malformed("rate", remedy))?,
        new_recipients: new_recipients.map_err(|remedy| malformed("new_recipients", remedy))?,
    })
}

/// Has what the operator set for agents before hold from now on.
///
/// # Errors
/// What the store says.
pub async fn recall(app: &App) -> Result<(), Fault> {
    for record in app.pipeline.store.all_sending(MAX_OWN).await? {
        app.pipeline.rates.set_own(&record.owner, Some(own_sending(&record)));
    }
    Ok(())
}

fn own_sending(record: &SendingRecord) -> OwnSending {
    OwnSending {
        rate: record.rate.map(|rate| Limit {
            per_second: rate.per_second,
            per_minute: rate.per_minute,
            per_hour: rate.per_hour,
            per_day: rate.per_day,
        }),
        new_recipients: match record.new_recipients {
            Setting::Default => None,
            Setting::Unlimited => Some(None),
            Setting::At(daily) => Some(Some(u32::try_from(daily).unwrap_or(u32::MAX))),
        },
    }
}

fn record(limit: &Limit) -> RateRecord {
    RateRecord {
        per_second: limit.per_second,
        per_minute: limit.per_minute,
        per_hour: limit.per_hour,
        per_day: limit.per_day,
    }
}
