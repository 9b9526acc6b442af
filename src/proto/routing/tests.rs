use proptest::prelude::*;
use serde_json::json;

use super::*;

const STAMP: i64 = 1_700_000_000;

fn a(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn message(value: Value) -> Message {
    Message::from_object(value.as_object().unwrap().clone()).unwrap()
}

fn author() -> Message {
    message(json!({
        "from": "Ann@A.example", "to": "Bob@b.example", "cc": ["c@c.example", "C@C.example", "d@b.example"],
        "timestamp": STAMP, "nonce": "msg-1", "type": "message", "payload": {"body": "x", "n": 1.50},
        "in_reply_to": "msg-0", "receipt": ["acked"], "x-new": {"deep": [1]}, "routing": {"hops": 1},
        "signature": {"old": true}
    }))
}

fn shape(rcpt: bool, fields: bool, nonce: CopyNonce) -> Shape {
    Shape { rcpt, fields, reference: !rcpt, nonce }
}

fn all_shapes() -> Vec<Shape> {
    let mut shapes = Vec::new();
    for nonce in [CopyNonce::Author, CopyNonce::Copy, CopyNonce::Retry(1), CopyNonce::Retry(2)] {
        for (rcpt, fields) in [(true, true), (true, false), (false, true), (false, false)] {
            shapes.push(shape(rcpt, fields, nonce));
        }
    }
    shapes
}

/// What a reader gets of an author's message: addresses lower-cased, no signature, nothing empty.
fn as_read(author: &Message) -> Map<String, Value> {
    let mut object = author.object().clone();
    object.remove("signature");
    object.insert("from".into(), text(author.from()));
    write_recipients(&mut object, author.to(), author.cc());
    attach(&mut object, Map::new());
    object
}

#[test]
fn a_peer_like_us_gets_the_message_as_it_is() {
    let transfer = write(&author(), &a("bob@b.example"), shape(true, true, CopyNonce::Author), STAMP);
    assert_eq!(Value::Object(transfer), Value::Object(as_read(&author())));
}

#[test]
fn rcpt_names_a_recipient_that_is_not_in_to() {
    let transfer = write(&author(), &a("d@b.example"), shape(true, true, CopyNonce::Author), STAMP);
    assert_eq!(transfer["to"], "bob@b.example");
    assert_eq!(transfer["cc"], json!(["c@c.example", "c@c.example", "d@b.example"]));
    assert_eq!(transfer["routing"], json!({"hops": 1, "atp": {"rcpt": "d@b.example"}}));
}

#[test]
fn the_reference_gets_the_recipient_in_to_and_the_rest_in_routing() {
    let recipient = a("d@b.example");
    let transfer = write(&author(), &recipient, shape(false, false, CopyNonce::Copy), STAMP + 5);
    let hash = Sha256::digest(b"ann@a.example\0msg-1\0d@b.example");
    let hex: String = hash[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        Value::Object(transfer.clone()),
        json!({
            "from": "ann@a.example", "to": "d@b.example", "cc": ["bob@b.example", "c@c.example"],
            "timestamp": STAMP + 5, "nonce": format!("c-{hex}"), "type": "message",
            "payload": {"body": "x", "n": 1.50},
            "routing": {"hops": 1, "atp": {
                "to": "bob@b.example", "cc": ["c@c.example", "c@c.example", "d@b.example"],
                "nonce": "msg-1", "submitted_at": STAMP,
                "fields": {"in_reply_to": "msg-0", "receipt": ["acked"], "x-new": {"deep": [1]}}
            }}
        })
    );
    assert!(canonical::covered_by_reference(&transfer));
    let retry = write(&author(), &recipient, shape(false, false, CopyNonce::Retry(1)), STAMP);
    assert_eq!(retry["nonce"], format!("d-{hex}"));
}

#[test]
fn a_plain_message_to_the_reference_needs_no_routing() {
    let plain = message(json!({
        "from": "ann@a.example", "to": "bob@b.example", "cc": ["c@c.example"], "timestamp": STAMP,
        "nonce": "msg-1", "type": "message", "payload": {}, "routing": null
    }));
    let transfer = write(&plain, &a("bob@b.example"), shape(false, false, CopyNonce::Author), STAMP);
    assert_eq!(Value::Object(transfer), Value::Object(as_read(&plain)));
}

#[test]
fn every_shape_restores_the_same_message() {
    for recipient in ["bob@b.example", "c@c.example", "d@b.example", "hidden@e.example"].map(a) {
        for shape in all_shapes() {
            for stamp in [STAMP, STAMP + 1] {
                check_round_trip(&author(), &recipient, shape, stamp);
            }
        }
    }
}

fn check_round_trip(author: &Message, recipient: &Address, shape: Shape, stamp: i64) {
    let mut transfer = write(author, recipient, shape, stamp);
    let unrouted = transfer.get("routing").is_none_or(|routing| routing.get("atp").is_none());
    transfer.insert("signature".into(), json!({"new": true}));
    let restored = read(&Message::from_object(transfer).unwrap()).unwrap();
    assert_eq!(&restored.recipient, recipient, "{shape:?}");
    assert_eq!(restored.nonce(), author.nonce(), "{shape:?}");
    assert_eq!(restored.identity(), identity(author, recipient), "{shape:?}");
    assert_eq!(restored.digest, digest(author).unwrap(), "{shape:?}");
    let mut got = restored.author.into_object();
    assert_eq!(got.remove("signature").is_some(), unrouted, "{shape:?}");
    assert_eq!(Value::Object(got), Value::Object(as_read(author)), "{shape:?} to {recipient}");
}

#[test]
fn what_the_digest_counts() {
    let base = digest(&author()).unwrap();
    let changed = |field: &str, value: Value| {
        let mut object = author().into_object();
        object.insert(field.into(), value);
        digest(&Message::from_object(object).unwrap()).unwrap() != base
    };
    for (field, value, counts) in [
        ("timestamp", json!(STAMP + 9), false),
        ("routing", json!({"hops": 2}), false),
        ("signature", json!({}), false),
        ("from", json!("ann@a.example"), false),
        ("cc", json!(["C@c.example", "d@b.example"]), false),
        ("payload", json!({"n": 1.5, "body": "x"}), false),
        ("from", json!("bea@a.example"), true),
        ("to", json!("c@c.example"), true),
        ("cc", json!([]), true),
        ("type", json!("event"), true),
        ("payload", json!({"body": "y", "n": 1.5}), true),
        ("in_reply_to", json!("msg-00"), true),
        ("x-new", json!({"deep": [2]}), true),
        ("x-other", json!(null), true),
    ] {
        assert_eq!(changed(field, value.clone()), counts, "{field}: {value}");
    }
    let mut object = author().into_object();
    object.remove("cc");
    let absent = digest(&Message::from_object(object.clone()).unwrap()).unwrap();
    object.insert("cc".into(), json!([]));
    assert_eq!(digest(&Message::from_object(object).unwrap()).unwrap(), absent);
}

#[test]
fn fields_at_the_top_win() {
    let mut object = author().into_object();
    object.insert("routing".into(), json!({"atp": {"fields": {"in_reply_to": "other", "y-new": 2}}}));
    let restored = read(&Message::from_object(object).unwrap()).unwrap();
    assert_eq!(restored.author.in_reply_to(), Some("msg-0"));
    assert_eq!(restored.author.object()["y-new"], 2);
    assert!(restored.author.routing().is_none());
}

#[test]
fn every_wrong_member_of_routing_is_named() {
    use RoutingError as E;
    let bare = AddressError::NotOneAt;
    for (atp, want) in [
        (json!({"rcpt": 1}), E::NotText("rcpt")),
        (json!({"rcpt": "bob"}), E::Address("rcpt", bare)),
        (json!({"to": null}), E::NotText("to")),
        (json!({"to": "bob"}), E::Address("to", bare)),
        (json!({"cc": "x@b.example"}), E::Cc(MessageError::CcNotTexts)),
        (json!({"cc": ["x"]}), E::Cc(MessageError::Cc(bare))),
        (json!({"nonce": 1}), E::NotText("nonce")),
        (json!({"nonce": ""}), E::Nonce(NonceError)),
        (json!({"submitted_at": "1"}), E::SubmittedAt),
        (json!({"submitted_at": 1.5}), E::SubmittedAt),
        (json!({"fields": []}), E::Fields),
        (json!({"fields": {"from": "x@b.example"}}), E::FieldElsewhere),
        (json!({"fields": {"cc": ["x@b.example"]}}), E::FieldElsewhere),
        (json!({"fields": {"routing": {}}}), E::FieldElsewhere),
        (json!({"fields": {"signature": {}}}), E::FieldElsewhere),
        (json!({"fields": {"task_id": 1}}), E::Field(MessageError::TaskId)),
    ] {
        let mut object = author().into_object();
        object.insert("routing".into(), json!({ "atp": atp }));
        assert_eq!(read(&Message::from_object(object).unwrap()), Err(want), "{want}");
    }
}

fn any_author() -> impl Strategy<Value = Message> {
    let addresses = prop::sample::select(vec!["A@a.example", "b@b.example", "B@B.example", "c@b.example"]);
    let fields = prop::collection::btree_map("(task_id|context_id|x-[a-z]{1,4})", "\\PC{0,8}", 0..4);
    let routing = prop::option::of(prop::sample::select(vec![json!(null), json!({}), json!({"hops": 1})]));
    let cc = prop::option::of(prop::collection::vec(addresses.clone(), 0..4));
    let nonce = "[A-Za-z0-9._:-]{1,128}";
    (addresses, cc, fields, routing, nonce, 0i64..=message::MAX_TIMESTAMP_SECONDS).prop_map(
        |(to, cc, fields, routing, nonce, timestamp)| {
            let mut value = json!({
                "from": "Ann@A.example", "to": to, "timestamp": timestamp, "nonce": nonce,
                "type": "message", "payload": {"body": "x"}
            });
            if let Some(cc) = cc {
                value["cc"] = json!(cc);
            }
            if let Some(routing) = routing {
                value["routing"] = routing;
            }
            for (field, content) in fields {
                value[field] = json!(content);
            }
            message(value)
        },
    )
}

proptest! {
    #[test]
    fn any_message_survives_any_shape(author in any_author(), stamp in 0i64..2_000_000_000) {
        for recipient in ["a@a.example", "b@b.example", "z@z.example"].map(a) {
            for shape in all_shapes() {
                check_round_trip(&author, &recipient, shape, stamp);
            }
        }
    }
}
