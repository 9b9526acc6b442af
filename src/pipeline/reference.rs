//! What follows from the ways of a peer that keeps one message per nonce instead of identities
//! (`docs/protocol.md` §4 "To a peer without `rcpt`", §10 "Towards the reference").

use std::time::Duration;

use super::Pipeline;
use super::settings::Settings;
use crate::discover::Target;
use crate::proto::address::Address;
use crate::proto::message::Message;
use crate::proto::status::{Contact, Reason};
use crate::proto::time::UnixMillis;
use crate::spool::entry::Row;
use crate::transfer::{Failure, Outcome};

/// How long the routes of a message's other recipients may take to be found.
const ROUTES_LIMIT: Duration = Duration::from_secs(5);
/// How old the stamp of a copy is at most that the reference certainly remembers if it has read it: it keeps nonces
/// for 300 s over a restart, and its clock may be 60 s ahead.
const SURELY_REMEMBERED: Duration = Duration::from_secs(240);

impl Pipeline {
    /// Whether the copy for an earlier recipient goes to the server at `target` too, so that this one needs a
    /// nonce of its own. Where that cannot be found out now the answer is yes: a derived nonce never collides.
    pub(super) async fn is_further_copy(
        &self,
        settings: &Settings,
        row: &Row,
        message: &Message,
        target: &Target,
    ) -> bool {
        if row.renamed > 0 || row.written_unanswered().is_some() {
            // Its nonce has been decided.
            return false;
        }
        let everyone = std::iter::once(message.to()).chain(message.cc());
        let earlier = everyone.take_while(|address| **address != row.recipient);
        let mut domains: Vec<_> = earlier.map(Address::domain).collect();
        domains.sort_unstable();
        domains.dedup();
        domains.retain(|domain| !settings.is_ours(domain));
        if domains.contains(&row.recipient.domain()) {
            return true;
        }
        let avoid = self.families.to_avoid(row.sender.domain());
        let any_leads_there = async {
            for domain in domains {
                match settings.discovery.route(domain, avoid).await {
                    Ok(route) if !route.targets.iter().any(|other| same_server(other, target)) => {}
                    Err(fault) if !fault.reason.is_temporary() => {}
                    Ok(_) | Err(_) => return true,
                }
            }
            false
        };
        tokio::time::timeout(ROUTES_LIMIT, any_leads_there).await.unwrap_or(true)
    }
}

fn same_server(one: &Target, other: &Target) -> bool {
    let same_name = one.host == other.host && one.port == other.port;
    same_name || one.addresses.iter().any(|address| other.addresses.contains(address))
}

/// A peer says it knows the nonce, or finds the stamp too far from its clock.
pub(super) fn replay(row: &Row, clocks_agree: bool, target: &Target) -> Outcome {
    let earlier_unanswered = row.written_unanswered().is_some();
    if clocks_agree && earlier_unanswered {
        return Outcome::Inferred(target.into());
    }
    let text = if clocks_agree {
        "The recipient's server says it has seen this message, but it has not accepted it from us."
    } else {
        "The recipient's server refuses the message as seen before or stamped wrong, and its clock is not ours."
    };
    let failure = Failure::temporary(Reason::NoAnswer, text).at(target);
    let rename = clocks_agree && row.renamed == 0;
    Outcome::Failed(Failure { contact: Contact::Answered, rename, ..failure })
}

/// The reference has failed with its uncoded 500, at `now` (Unix seconds). It remembers the nonce, so "Replay
/// detected" would prove nothing from now on; another nonce is safe if it has no copy under this one.
///
/// It has none if every earlier attempt under this nonce was answered. If one was not, it may have a copy: it
/// answers 500 also to a nonce that it has forgotten but that is in a mailbox. Only what was sent lately it cannot
/// have forgotten.
pub(super) fn stumbled(row: &Row, failure: Failure, clocks_agree: bool, now: i64) -> Failure {
    let now = UnixMillis::from_seconds(now);
    let has_none = row
        .written_unanswered()
        .is_none_or(|earlier| !earlier.native && clocks_agree && now.since(earlier.at) < SURELY_REMEMBERED);
    Failure { rename: has_none, ..failure }
}
