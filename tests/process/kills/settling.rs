//! Waiting until everything has arrived, and looking at what is where.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::client::Client;
use super::count::Count;
use super::field::Field;
use super::load::Load;
use super::messages::{AGENTS, DOMAINS, Planned, domain_of};
use super::readers::{self, Readers};
use crate::waiting::pause;

/// How long nothing may arrive until the game goes on without what is missing.
const LONGEST_STANDSTILL: Duration = Duration::from_secs(20);
/// How often arrivals are looked at.
const POLL_PAUSE: Duration = Duration::from_millis(1);
/// How often the queues are looked at.
const SETTLING_PAUSE: Duration = Duration::from_millis(500);

/// Waits until at most so many copies of what is acknowledged have not arrived yet, or no more arrive.
pub fn open_copies_at_most(most: usize, load: &Load, readers: &Readers) {
    let (mut seen, mut since) = (0, Instant::now());
    while load.copies() > readers.entries() + most && since.elapsed() < LONGEST_STANDSTILL {
        if readers.entries() > seen {
            (seen, since) = (readers.entries(), Instant::now());
        }
        pause(POLL_PAUSE);
    }
}

/// Waits until the servers say that their queues are empty; not for ever.
pub fn await_empty_queues(field: &Field<'_>) {
    let begun = Instant::now();
    let is_empty = |domain: usize| {
        let queue = &field.place.asked(field.servers.server(domain), DOMAINS[domain], None)["queue"];
        queue["queued"] == 0 && queue["delivering"] == 0
    };
    while !(0..DOMAINS.len()).all(is_empty) && begun.elapsed() < LONGEST_STANDSTILL {
        pause(SETTLING_PAUSE);
    }
}

/// Counts what all mailboxes hold, from their first entry on. Says who followed a mailbox with its cursor, over
/// all kills, and has not seen exactly that.
pub fn read_all(field: &Field<'_>, readers: &Readers, count: &mut Count) -> Vec<&'static str> {
    let mut misled = Vec::new();
    for (agent, client) in field.clients.iter().enumerate() {
        let cursors = field.runtime.block_on(read(AGENTS[agent], client, count));
        if cursors != readers.cursors(agent) {
            misled.push(AGENTS[agent]);
        }
    }
    misled
}

/// Counts all of a mailbox; its cursors.
async fn read(owner: &str, client: &Client, count: &mut Count) -> Vec<Value> {
    let (mut after, mut seen) = (json!(0), Vec::new());
    loop {
        let page = client.page(&after).await;
        page["messages"].as_array().expect("a list").iter().for_each(|message| count.add(owner, message));
        seen.extend(readers::cursors(&page));
        after = page["last_id"].clone();
        if page["more"] == false {
            return seen;
        }
    }
}

/// Whether a message is still on its way to a recipient, by what its server says.
pub fn is_queued(field: &Field<'_>, planned: &Planned, recipient: &str) -> bool {
    let own = AGENTS.iter().position(|agent| *agent == planned.from).map(domain_of).expect("a sender");
    let asked = field.place.asked_if_known(field.servers.server(own), DOMAINS[own], &planned.nonce());
    asked.is_some_and(|asked| {
        asked["recipients"].as_array().expect("a list").iter().any(|state| {
            state["address"] == recipient && matches!(state["state"].as_str(), Some("queued" | "delivering"))
        })
    })
}
