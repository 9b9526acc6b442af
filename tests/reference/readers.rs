//! What a reader is given, here and there: the same JSON from our server as from the reference in its place.

use std::path::Path;

use serde_json::{Value, json};

use crate::payloads::as_python_reads;
use crate::process::{free_port, unix_seconds};
use crate::python::with_reference;
use crate::servers::{Node, Pair, Reference, start_ours};
use crate::their_library::{message, page, submit};

#[test]
fn mail_from_the_reference_is_shown_as_the_reference_would() {
    let Some(python) = with_reference() else { return };
    let pair = Pair::start(python);
    let [alice, bob] = [pair.ours.register("alice"), pair.theirs.register("bob")];
    submit(python, &pair.theirs, &bob, pair.dir(), &written_at_the_reference());
    let ours = pair.until("our mailbox holding both", || {
        (pair.ours.mailbox(&alice).len() == 2).then(|| page(python, &pair.ours, &alice, pair.dir()))
    });

    // Whatever our reader is given passes the reference's checks as it is: its signature is the sender's own.
    let twin = twin_of_ours(python, pair.dir(), &pair.theirs_key);
    submit(python, &twin, &alice, pair.dir(), ours["messages"].as_array().expect("messages"));
    assert_same_messages(python, &ours, &page(python, &twin, &alice, pair.dir()));

    for received in ours["received"].as_array().expect("what our server found") {
        let found = ["ats", "atk", "tls", "from_ip", "rcpt"].map(|name| received[name].as_str());
        let wanted = ["pass", "pass", "TLSv1.3", "127.0.0.1", &alice];
        assert_eq!(found, wanted.map(Some), "{received}");
    }
}

#[test]
fn mail_between_neighbours_is_shown_as_the_reference_would() {
    let Some(python) = with_reference() else { return };
    let dir = tempfile::TempDir::new().expect("a temporary directory");
    let ours = start_ours(dir.path(), free_port(), &[]);
    let twin = twin_of_ours(python, dir.path(), "");
    let alice = ours.register("alice");
    let cases = [
        ("plain", json!({})),
        ("upper-case", json!({"from": "Alice@Ours.TEST", "to": "ALICE@ours.test"})),
        ("nobody-in-cc", json!({"cc": []})),
        ("somebody-in-cc", json!({"cc": [&alice]})),
        ("nulls", json!({"routing": null, "signature": null})),
        ("routing", json!({"routing": {"via": ["x", 1e16]}})),
        ("another-type", json!({"type": "request"})),
        ("numbers", json!({"payload": {"n": [1e-7, 1e16, 1.0, -0.0, 1u64 << 60]}})),
    ];
    let messages = cases.map(|(case, change)| {
        let mut message = message(case, &alice, &alice, &Value::Null);
        let fields = message.as_object_mut().expect("an object");
        fields.remove("cc");
        fields.extend(change.as_object().expect("an object").clone());
        message
    });
    let [ours, twins] = [&ours, &twin].map(|server| {
        submit(python, server, &alice, dir.path(), &messages);
        page(python, server, &alice, dir.path())
    });
    assert_same_messages(python, &ours, &twins);
}

#[test]
fn our_mail_is_shown_at_the_reference_with_its_signature() {
    let Some(python) = with_reference() else { return };
    let pair = Pair::start(python);
    let (alice, bob) = (pair.ours.register("alice"), pair.theirs.register("bob"));
    let written = message("msg-shown", &alice, &bob, &json!([]));
    submit(python, &pair.ours, &alice, pair.dir(), std::slice::from_ref(&written));

    let mut page = pair.until("the reference's mailbox holding it", || {
        let page = page(python, &pair.theirs, &bob, pair.dir());
        (page["count"] == 1).then_some(page)
    });
    let shown = page["messages"][0].as_object_mut().expect("a message");
    let signature = shown.remove("signature").expect("a signature");
    let stamped = shown.insert("timestamp".into(), written["timestamp"].clone()).expect("a stamp");
    let mut wanted = written.as_object().expect("an object").clone();
    wanted.remove("cc");
    wanted.insert("routing".into(), json!({"atp": {"submitted_at": written["timestamp"]}}));
    assert_eq!(*shown, wanted, "nothing else");

    let stamp = |value: &Value| value.as_u64().expect("Unix seconds");
    assert!(stamp(&stamped) >= stamp(&written["timestamp"]) + 30 && stamp(&stamped) <= unix_seconds());
    assert!(stamp(&signature["timestamp"]).abs_diff(stamp(&stamped)) <= 5, "{signature}");
    assert_eq!(signature["signature"].as_str().map(str::len), Some(88), "64 bytes in base64: {signature}");
    let mut rest = signature.as_object().expect("an object").clone();
    rest.retain(|name, _| !["timestamp", "signature"].contains(&name.as_str()));
    let headers = ["from", "to", "timestamp", "nonce", "type"];
    let wanted = json!({"key_id": "default.atk._atp.ours.test", "algorithm": "ed25519", "headers": headers});
    assert_eq!(Value::Object(rest), wanted);
}

/// Everything a message of the reference can have.
fn written_at_the_reference() -> [Value; 2] {
    let plain = message("msg-plain", "Bob@Ref.test", "Alice@OURS.test", &json!([]));
    let mut full = message("msg-full", "bob@ref.test", "alice@ours.test", &json!(["Carol@ref.test"]));
    full["type"] = json!("request");
    full["payload"] = json!({"grüße": [1e-7, 1e16, 1.0], "🦀": {"n": 1180591620717411303424u128}});
    full["routing"] = json!({"via": ["x", 1.5]});
    [plain, full]
}

/// A reference that stands where our server does: same domain, same agent, and it knows `ref.test` by its key.
fn twin_of_ours(python: &Path, dir: &Path, theirs_key: &str) -> Node {
    let twin = Reference::prepare(python, dir.join("twin"), "ours.test");
    let twin = twin.start(free_port(), &[("ref.test", free_port(), theirs_key)]);
    twin.register("alice");
    twin
}

/// The messages are equal, and so is all the reference says beside them but the cursor's number.
fn assert_same_messages(python: &Path, ours: &Value, theirs: &Value) {
    let messages = |page: &Value| {
        let texts: Vec<String> =
            page["messages"].as_array().expect("messages").iter().map(Value::to_string).collect();
        as_python_reads(python, &texts)
    };
    assert_eq!(messages(ours), messages(theirs));
    assert_eq!(ours["count"].to_string(), theirs["count"].to_string());
    assert!(ours["last_id"].is_u64() && theirs["last_id"].is_u64(), "{ours}");
}
