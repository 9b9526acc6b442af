//! How much is let through: what is asked before a message is taken in, and what is said where it was too much.

use super::settings::Settings;
use crate::config::checked::Sending;
use crate::counters::Limited;
use crate::error::Fault;
use crate::proto::address::Address;
use crate::proto::message::Message;
use crate::proto::status::Reason;
use crate::proto::time::UnixMillis;
use crate::rates::messages::Messages;
use crate::rates::origin::Origin;
use crate::spool::contract::rates::{Cap, OverCap, PeerCaps, SenderCaps, until_next_day};
use crate::verify::Received;

/// What an agent's submission counts against in a day.
///
/// # Errors
/// [`Reason::RateLimited`] if the agent or its domain goes too fast.
pub(super) fn submission(
    rates: &Messages,
    settings: &Settings,
    message: &Message,
) -> Result<SenderCaps, Fault> {
    let from = message.from();
    let Some(of_domain) = settings.of(from.domain()) else { return Ok(SenderCaps::default()) };
    let sending = rates.of_agent(from, of_domain.sending);
    if sending == Sending::default() {
        return Ok(SenderCaps::default());
    }
    let recipients = u32::try_from(1 + message.cc().len()).unwrap_or(u32::MAX);
    rates.submission(from, recipients, &sending)?;
    Ok(SenderCaps {
        agent: sending.agent.per_day,
        agent_new: sending.agent_new_recipients,
        domain: sending.domain.per_day,
        domain_new: sending.domain_new_recipients,
    })
}

/// A transfer comes in; nothing has been looked up for it yet.
///
/// # Errors
/// [`Reason::RateLimited`] if there is too much from where it comes.
pub(super) fn arrival(rates: &Messages, settings: &Settings, received: &Received) -> Result<(), Fault> {
    rates.arrival(Origin::of(received.source), &settings.config.rates)
}

/// What a transfer for an agent of ours counts against.
pub(super) fn transfer_caps(rates: &Messages, settings: &Settings, recipient: &Address) -> PeerCaps {
    let learns = settings.of(recipient.domain()).is_some_and(|of_domain| {
        let sending = rates.of_agent(recipient, of_domain.sending);
        sending.agent_new_recipients.is_some() || sending.domain_new_recipients.is_some()
    });
    PeerCaps { domain: settings.config.rates.peer.per_day, learns }
}

/// The answer to a message that would exceed a day's limit.
pub(super) fn over(rates: &Messages, from: &Address, over: OverCap, now: UnixMillis) -> Fault {
    let domain = from.domain();
    let (limited, who): (_, &dyn std::fmt::Display) = match over.cap {
        Cap::Agent => (Limited::AgentDaily, from),
        Cap::AgentNew => (Limited::AgentRecipients, from),
        Cap::Domain => (Limited::DomainDaily, domain),
        Cap::DomainNew => (Limited::DomainRecipients, domain),
        Cap::Peer => (Limited::PeerDaily, domain),
    };
    let what = match over.cap {
        Cap::Agent | Cap::Domain => "send to {} recipients a day",
        Cap::AgentNew | Cap::DomainNew => "write to {} addresses a day that are new to the sender",
        Cap::Peer => "hand over {} messages a day",
    };
    let what = what.replace("{}", &over.allowed.to_string());
    rates.held_up(limited, who);
    if over.is_hopeless {
        let text =
            format!("{who} may {what} here, and this message alone has more; send it to fewer at a time.");
        return Fault::new(Reason::Forbidden, text);
    }
    let text = format!("{who} may {what} here; try again when the next day of UTC has begun.");
    Fault::new(Reason::RateLimited, text).after(until_next_day(now))
}
