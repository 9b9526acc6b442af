//! What the reference does not know (fields of later drafts, a transfer for exactly one recipient) reaches
//! it where it carries and signs it: under `routing.atp` (`docs/protocol.md` §4).

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::python::with_reference;
use crate::servers::{Node, Pair};
use crate::their_library::{message, submit};

#[test]
fn fields_the_reference_drops_travel_under_routing() {
    let Some(python) = with_reference() else { return };
    let pair = Pair::start(python);
    let (alice, bob) = (pair.ours.register("alice"), pair.theirs.register("bob"));
    let fields = json!({
        "in_reply_to": "msg-earlier",
        "context_id": "thread 7",
        "priority": {"level": 1e-7, "über": [1, 1180591620717411303424u128]},
    });
    let mut message = message("msg-fields", &alice, &bob, &json!([]));
    message.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    submit(python, &pair.ours, &alice, pair.dir(), std::slice::from_ref(&message));

    let found = pair.until("the message at the reference", || one(&pair.theirs, &bob, "msg-fields"));
    let carried = &found["routing"]["atp"]["fields"];
    for name in ["in_reply_to", "context_id"] {
        assert_eq!(carried[name], fields[name], "{found}");
    }
    assert_eq!(carried["priority"]["über"], fields["priority"]["über"], "{found}");
    assert_eq!(found["payload"], message["payload"]);
    assert_eq!(found["routing"]["atp"]["submitted_at"], message["timestamp"], "{found}");
    assert_eq!(found.get("cc"), None, "an empty cc is left out");
}

#[test]
fn each_recipient_gets_a_copy_of_its_own() {
    let Some(python) = with_reference() else { return };
    let pair = Pair::start(python);
    let [alice, dave] = ["alice", "dave"].map(|name| pair.ours.register(name));
    let [bob, carol] = ["bob", "carol"].map(|name| pair.theirs.register(name));
    let author_cc = json!([&carol, &dave]);
    let message = message("msg-copies", &alice, &bob, &author_cc);
    submit(python, &pair.ours, &alice, pair.dir(), &[message]);

    let first = pair.until("the copy in `to`", || one(&pair.theirs, &bob, "msg-copies"));
    assert_eq!((&first["to"], as_written(&first, "to")), (&json!(bob), &json!(bob)));
    assert_eq!(as_written(&first, "cc"), &author_cc, "{first}");

    let second = pair.until("the copy in `cc`", || pair.theirs.mailbox(&carol).into_iter().next());
    assert_eq!(second["to"], carol.as_str(), "the reference may get only what is for its recipient");
    assert!(!second["cc"].to_string().contains(&carol), "{second}");
    assert_eq!((as_written(&second, "to"), as_written(&second, "cc")), (&json!(bob), &author_cc), "{second}");
    assert_eq!(as_written(&second, "nonce"), "msg-copies");
    assert_eq!(second["nonce"], copy_nonce(&alice, "msg-copies", &carol));

    let local = pair.until("the copy for our own agent", || one(&pair.ours, &dave, "msg-copies"));
    assert_eq!((&local["to"], &local["cc"]), (&json!(bob), &author_cc), "{local}");
    assert_eq!(local["routing"].get("atp"), None, "readers are given the author's message: {local}");
    assert_eq!((pair.theirs.mailbox(&bob).len(), pair.theirs.mailbox(&carol).len()), (1, 1));
}

/// `c-` and the first 32 hexadecimal digits of SHA-256 over the three, NUL between.
fn copy_nonce(from: &str, nonce: &str, recipient: &str) -> String {
    let hash = Sha256::digest(format!("{from}\0{nonce}\0{recipient}"));
    let digits: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("c-{digits}")
}

fn one(node: &Node, agent: &str, nonce: &str) -> Option<Value> {
    node.mailbox(agent).into_iter().find(|message| message["nonce"] == nonce)
}

/// A member as the author wrote it: under `routing.atp` if the copy differs, else at the top.
fn as_written<'a>(message: &'a Value, name: &str) -> &'a Value {
    message["routing"]["atp"].get(name).unwrap_or(&message[name])
}
