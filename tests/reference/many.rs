//! One message to seven at four domains: ours, one of the reference, one like ours, and one that is down.

use serde_json::{Value, json};

use crate::process::free_port;
use crate::python::with_reference;
use crate::servers::{Node, Pair, start_like_ours};
use crate::their_library::{message, submit};

const NONCE: &str = "msg-many";

#[test]
fn seven_recipients_at_four_domains_get_one_copy_each_or_a_bounce() {
    let Some(python) = with_reference() else { return };
    let (friend_port, down_port) = (free_port(), free_port());
    let pair = Pair::start_among(python, &[("friend.test", friend_port), ("down.test", down_port)]);
    let ours = [("ours.test", pair.ours.server.port(), pair.our_key.as_str())];
    let friend = start_like_ours(pair.dir(), "friend.test", friend_port, &ours);
    let down = start_like_ours(pair.dir(), "down.test", down_port, &ours);
    down.register("gina");
    down.server.kill();
    let [alice, dave] = ["alice", "dave"].map(|name| pair.ours.register(name));
    let [bob, carol] = ["bob", "carol"].map(|name| pair.theirs.register(name));
    let [erin, frank] = ["erin", "frank"].map(|name| friend.register(name));
    let (ghost, gina) = ("ghost@ours.test", "gina@down.test");
    let cc = json!([&carol, &dave, ghost, &erin, &frank, gina]);
    submit(python, &pair.ours, &alice, pair.dir(), &[message(NONCE, &alice, &bob, &cc)]);

    let states = |told: &Value| -> Vec<String> {
        let recipients = told["recipients"].as_array().expect("recipients").iter();
        recipients.map(|recipient| recipient["state"].as_str().expect("a state").to_owned()).collect()
    };
    let all_but_one = pair.until("all but the domain that is down", || {
        let states = states(&asked(&pair.ours, &alice));
        (states.iter().filter(|state| *state == "delivered").count() == 5).then_some(states)
    });
    assert_eq!(all_but_one[3], "bounced", "the unknown agent");
    assert!(["queued", "delivering"].contains(&&all_but_one[6][..]), "{all_but_one:?}");
    let bounces = pair.ours.mailbox(&alice);
    assert_eq!(bounces.len(), 1, "one bounce: {bounces:?}");
    assert_eq!(bounces[0]["payload"]["original_nonce"], NONCE);
    assert_eq!(bounces[0]["payload"]["status"]["recipient"], ghost);

    let down = start_like_ours(pair.dir(), "down.test", down_port, &ours);
    pair.until("the last copy", || (asked(&pair.ours, &alice)["status"] == "bounced").then_some(()));
    assert_eq!(states(&asked(&pair.ours, &alice))[6], "delivered");

    for (node, agent) in [(&pair.ours, &dave[..]), (&friend, &erin), (&friend, &frank), (&down, gina)] {
        assert_eq!(nonces(node, agent), [NONCE], "{agent}");
    }
    assert_eq!(nonces(&pair.theirs, &bob), [NONCE]);
    let derived = nonces(&pair.theirs, &carol);
    assert!(derived.len() == 1 && derived[0].starts_with("c-"), "{derived:?}");
    let by_copy = pair.ours.inspect(&derived[0], &alice);
    assert_eq!(by_copy["nonce"], NONCE, "a copy's nonce names the message");
    assert_eq!(pair.ours.mailbox(&alice).len(), 1, "no further bounce");
}

fn asked(node: &Node, agent: &str) -> Value {
    node.inspect(NONCE, agent)
}

fn nonces(node: &Node, agent: &str) -> Vec<String> {
    let mailbox = node.mailbox(agent);
    mailbox.iter().map(|message| message["nonce"].as_str().expect("a nonce").to_owned()).collect()
}
