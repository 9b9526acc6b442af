//! What is asked, by subject.

mod ats;
mod bounces;
mod calls;
mod claims;
mod credentials;
mod discovery;
mod framing;
mod identity;
mod json;
mod keys;
mod mailbox;
mod message;
mod once;
mod order;
mod outbound;
mod receipts;
mod registration;
mod retries;
mod routing;
mod signature;
mod size;
mod submission;
mod to_reference;
mod transport;

use crate::suite::Case;

/// All cases, in the order of the table. Their names are different.
pub fn all() -> Vec<Case> {
    let groups = [
        identity::cases(),
        message::cases(),
        json::cases(),
        size::cases(),
        signature::cases(),
        routing::cases(),
        outbound::cases(),
        to_reference::cases(),
        ats::cases(),
        keys::cases(),
        discovery::cases(),
        transport::cases(),
        framing::cases(),
        order::cases(),
        submission::cases(),
        credentials::cases(),
        mailbox::cases(),
        claims::cases(),
        calls::cases(),
        registration::cases(),
        retries::cases(),
        once::cases(),
        bounces::cases(),
        receipts::cases(),
    ];
    let all: Vec<Case> = groups.into_iter().flatten().collect();
    let mut ids: Vec<&str> = all.iter().map(|case| case.id.as_str()).collect();
    ids.sort_unstable();
    let count = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), count, "two cases have one name");
    all
}
