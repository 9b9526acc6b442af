//! Accepted means kept: two crashes at chosen moments. Those at any moment, under load, are in `kills.rs`.

use serde_json::Value;

use crate::place::{Place, nonces};
use crate::server::Server;
use crate::waiting::until;
use crate::wire::{Wire, submission};

const ALICE: &str = "agent@alice.local";
const BOB: &str = "agent@bob.local";
/// Soon tried again, so that the tests are soon over.
const IMPATIENT: &str = "[queue]\nschedule = [\"1s\"]\n";

/// Two domains whose servers come and go.
struct Pair {
    place: Place,
    config: String,
}

impl Pair {
    /// An agent at each; both servers run.
    fn start() -> (Pair, Server, Server) {
        let place = Place::new();
        let config = place.file("atp.toml", IMPATIENT);
        let pair = Pair { place, config };
        let (alice, bob) = (pair.alice(), pair.bob());
        pair.place.register(&alice, "agent");
        pair.place.register(&bob, "agent");
        (pair, alice, bob)
    }

    fn alice(&self) -> Server {
        self.place.server("alice.local", &["--config", &self.config])
    }

    fn bob(&self) -> Server {
        self.place.server("bob.local", &["--config", &self.config])
    }

    /// Waits until Bob has `expected` and Alice's server has nothing left to do; Bob's mailbox.
    fn settled(&self, alice: &Server, bob: &Server, expected: &[String]) -> Vec<Value> {
        until("all messages in Bob's mailbox", || {
            let mailbox = self.place.mailbox(bob, "agent");
            expected.iter().all(|nonce| nonces(&mailbox).contains(&nonce.as_str())).then_some(())
        });
        until("an empty queue", || {
            let queue = &self.place.asked(alice, "alice.local", None)["queue"];
            (queue["queued"] == 0 && queue["delivering"] == 0).then_some(())
        });
        self.place.mailbox(bob, "agent")
    }
}

#[test]
fn a_message_survives_its_server_killed_while_the_recipients_is_away() {
    let (pair, alice, bob) = Pair::start();
    bob.stop();
    let nonce = pair.place.send(&alice, "agent", BOB, "see you after the crash");
    alice.kill();

    let (bob, alice) = (pair.bob(), pair.alice());
    let mailbox = pair.settled(&alice, &bob, std::slice::from_ref(&nonce));
    assert_eq!(nonces(&mailbox), [nonce.as_str()]);
    assert_eq!(mailbox[0]["payload"]["body"], "see you after the crash");
    assert_eq!(pair.place.asked(&alice, "alice.local", Some(&nonce))["status"], "delivered");
}

#[test]
fn messages_survive_their_server_killed_the_moment_they_are_acknowledged() {
    const ROUNDS: usize = 4;
    let (pair, mut alice, bob) = Pair::start();
    let mut sent = Vec::new();
    for round in 0..ROUNDS {
        let nonce = format!("acknowledged-{round}");
        let mut wire = Wire::connect(alice.address()).expect("a connection");
        let (header, body) = submission(ALICE, BOB, &nonce, "");
        let (status, answer) = wire.exchange((header + &body).as_bytes()).expect("an answer");
        alice.kill();
        assert_eq!(status, 202, "{answer}");
        sent.push(nonce);
        alice = pair.alice();
    }
    let mailbox = pair.settled(&alice, &bob, &sent);
    let mut arrived = nonces(&mailbox);
    arrived.sort_unstable();
    assert_eq!(arrived, sent);
}
