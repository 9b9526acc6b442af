//! What comes in and is no message, no credential, no request: named inputs, exact answers
//! (`docs/protocol.md` §2, §9).

#[path = "malformed/body.rs"]
mod body;
#[path = "malformed/fields.rs"]
mod fields;
#[path = "malformed/json.rs"]
mod json;
#[path = "malformed/requests.rs"]
mod requests;
#[path = "malformed/signatures.rs"]
mod signatures;

use crate::support::foreign::Foreign;
use crate::support::https::{Call, Reply};
use crate::support::node::{Node, PASSWORD};
use crate::support::zone::Zone;

use body::Body;

const MALFORMED: (u16, &str) = (400, "550 5.6.0");
const STALE: (u16, &str) = (400, "450 4.6.0");
const UNKNOWN: (u16, &str) = (404, "550 5.1.1");
const ACCEPTED: (u16, &str) = (202, "accepted");

/// A node, and a peer whose transfers it takes.
struct World {
    node: Node,
    peer: Foreign,
}

impl World {
    async fn new() -> World {
        let mut zone = Zone::new();
        let peer = Foreign::published("peer.example", &mut zone);
        World { node: Node::start(&zone).await, peer }
    }

    /// Posts the body both ways, as a submission of alice and as a transfer of eve, to bob, signed if it can be.
    async fn both_ways(&self, case: &str, body: &Body, submitted: (u16, &str), transferred: (u16, &str)) {
        let reply = self.submit(body.submission()).await;
        check(&format!("{case}, submitted"), &reply, submitted);
        let reply = self.node.send(Call::post("message", body.transfer(&self.peer))).await;
        check(&format!("{case}, transferred"), &reply, transferred);
    }

    async fn submit(&self, body: Vec<u8>) -> Reply {
        self.node.send(Call::post("message", body).basic("alice", PASSWORD)).await
    }

    /// How many messages bob has.
    async fn mail(&self) -> usize {
        self.node.mailbox("bob").await.0.len()
    }
}

#[track_caller]
fn check(case: &str, reply: &Reply, (status, said): (u16, &str)) {
    match status {
        202 => reply.accepts(case, said),
        _ => reply.refuses(case, status, said),
    }
}
