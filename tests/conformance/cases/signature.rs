//! What a receiving server makes of signatures (docs/protocol.md §3).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::sender::Sender;
use crate::suite::{Case, must};

const NOT_GOOD: &str = "550 5.7.28";
/// The order of the base point, little-endian (RFC 8032 §5.1).
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// What is done to a good signature, so that it is none.
type Spoil = fn(&Sender, &mut Value);

fn spoiled() -> Vec<(&'static str, &'static str, Spoil)> {
    vec![
        ("absent", "A transfer without a signature", |_, m| {
            drop(m.as_object_mut().map(|m| m.remove("signature")))
        }),
        ("null", "A null signature", |_, m| m["signature"] = Value::Null),
        ("empty-object", "An empty signature", |_, m| m["signature"] = json!({})),
        ("algorithm-other", "Another algorithm", |_, m| m["signature"]["algorithm"] = json!("rsa")),
        ("algorithm-case", "ED25519 in capitals", |_, m| m["signature"]["algorithm"] = json!("ED25519")),
        ("not-base64", "A signature that is no base64", |_, m| m["signature"]["signature"] = json!("!!!!")),
        ("without-padding", "Base64 without padding", |_, m| {
            change(m, |t| t.trim_end_matches('=').to_owned())
        }),
        ("short", "A signature of 63 bytes", |_, m| bytes(m, |b| b.truncate(63))),
        ("long", "A signature of 65 bytes", |_, m| bytes(m, |b| b.push(0))),
        ("one-bit", "A signature with one bit wrong", |_, m| bytes(m, |b| b[10] ^= 1)),
        ("high-s", "A signature whose S is not less than the group's order", |_, m| {
            bytes(m, |b| add_order(b))
        }),
        ("headers-text", "`headers` that are no array", |_, m| m["signature"]["headers"] = json!("from")),
        ("headers-numbers", "`headers` that are no texts", |_, m| m["signature"]["headers"] = json!([1])),
        ("stamp-text", "A signature's `timestamp` that is no integer", |_, m| {
            m["signature"]["timestamp"] = json!("now");
        }),
        ("key-id-number", "A `key_id` that is no text", |_, m| m["signature"]["key_id"] = json!(1)),
        ("key-id-form", "A `key_id` that is no name of a key", |s, m| {
            m["signature"]["key_id"] = json!(s.domain);
        }),
        ("key-id-two-labels", "A selector of two labels", |s, m| {
            m["signature"]["key_id"] = json!(format!("a.b.atk._atp.{}", s.domain));
        }),
        ("key-id-hyphen", "A selector that begins with a hyphen", |s, m| {
            m["signature"]["key_id"] = json!(format!("-a.atk._atp.{}", s.domain));
        }),
        ("payload-changed", "A payload changed after signing", |_, m| {
            m["payload"]["body"] = json!("Something else")
        }),
        ("to-case-changed", "A recipient put into another case after signing", |_, m| {
            m["to"] = json!(m["to"].as_str().map(str::to_uppercase));
        }),
        ("field-added", "A field added after signing", |_, m| m["priority"] = json!(1)),
        ("cc-added", "A `cc` added after signing", |_, m| m["cc"] = json!(["carol@elsewhere.test"])),
        ("stamp-changed", "A `timestamp` changed after signing", |_, m| {
            m["timestamp"] = json!(m["timestamp"].as_i64().map(|at| at - 1));
        }),
    ]
}

fn change(message: &mut Value, how: impl Fn(&str) -> String) {
    let text = message["signature"]["signature"].as_str().map(how);
    message["signature"]["signature"] = json!(text);
}

fn bytes(message: &mut Value, how: fn(&mut Vec<u8>)) {
    change(message, |text| {
        let mut bytes = BASE64_STANDARD.decode(text).unwrap_or_default();
        how(&mut bytes);
        BASE64_STANDARD.encode(bytes)
    });
}

fn add_order(signature: &mut [u8]) {
    let mut carry = 0;
    for (byte, add) in signature.iter_mut().skip(32).zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        [*byte, _] = sum.to_le_bytes();
        carry = sum >> 8;
    }
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for name in ["key_id", "algorithm", "signature", "headers", "timestamp"] {
        let asks = format!("A signature without `{name}` is refused.");
        cases.push(must(
            3,
            &format!("signature/without-{}", name.replace('_', "-")),
            &asks,
            move |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let mut message = sender.signed(sender.message(&bob.address));
                drop(message["signature"].as_object_mut().map(|signature| signature.remove(name)));
                s.post(message.to_string()).await?.refused(403, NOT_GOOD)
            },
        ));
    }
    for (id, what, spoil) in spoiled() {
        let asks = format!("{what} is refused, and nothing delivered.");
        cases.push(must(3, &format!("signature/{id}"), &asks, move |s| async move {
            let (sender, bob) = (s.sender(), s.agent().await?);
            let mut message = sender.signed(sender.message(&bob.address));
            spoil(&sender, &mut message);
            s.post(message.to_string()).await?.refused(403, NOT_GOOD)?;
            bob.counts(0).await
        }));
    }
    cases.extend(keys());
    cases.extend(forms());
    cases.extend(of_no_weight());
    cases
}

fn keys() -> Vec<Case> {
    vec![
        must(
            3,
            "signature/array",
            "A signature that is neither object nor null is malformed.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let mut message = sender.message(&bob.address);
                message["signature"] = json!(["ed25519"]);
                s.post(message.to_string()).await?.refused(400, "550 5.6.0")
            },
        ),
        must(
            3,
            "signature/other-domain",
            "A key of another domain than the sender's is refused.",
            |s| async move {
                let (mallory, alice, bob) = (s.sender(), s.sender(), s.agent().await?);
                let message = mallory.signed(alice.message(&bob.address));
                s.post(message.to_string()).await?.refused(403, NOT_GOOD)
            },
        ),
        must(
            3,
            "signature/parent-domain",
            "A key of a domain above the sender's is refused.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let below = format!("sub.{}", sender.domain);
                s.dns.txt(&format!("ats._atp.{below}"), "v=atp1 allow=all");
                let message = sender.signed(s.message(&format!("eve@{below}"), &bob.address));
                s.post(message.to_string()).await?.refused(403, NOT_GOOD)
            },
        ),
        must(
            3,
            "signature/other-key",
            "A signature by another key than the published one is refused.",
            |s| async move {
                let (sender, other, bob) = (s.sender(), s.sender(), s.agent().await?);
                sender.record(&other.key_text());
                sender.refused(&bob, 403, NOT_GOOD).await
            },
        ),
        must(
            3,
            "signature/small-order",
            "A key of small order, for which a signature of anything can be made up, is refused.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let mut identity = vec![0; 32];
                identity[0] = 1;
                sender.record(&format!("v=atp1 k=ed25519 p={}", BASE64_STANDARD.encode(&identity)));
                let mut message = sender.message(&bob.address);
                message["signature"] = sender.envelope(&[identity, vec![0; 32]].concat());
                let reply = s.post(message.to_string()).await?;
                reply.refused(403, NOT_GOOD).or_else(|_| reply.refused(403, "550 5.7.29"))?;
                bob.counts(0).await
            },
        ),
        must(3, "signature/selector", "The key is the one that `key_id` names.", |s| async move {
            let (sender, bob) = (s.sender(), s.agent().await?);
            sender.record("v=atp1 k=ed25519 p= t=s");
            s.dns.txt(&format!("key-2026.atk._atp.{}", sender.domain), &sender.key_text());
            let mut message = sender.signed(sender.message(&bob.address));
            message["signature"]["key_id"] = json!(format!("key-2026.atk._atp.{}", sender.domain));
            s.post(message.to_string()).await?.accepted()
        }),
    ]
}

/// The payload on which the forms differ, the sender's address standing for the document's.
const NUMBERS: &str = r#"{"tiny":1e-7,"big":1e16,"huge":1180591620717411303424,"zero":-0.0,"one":1.0,"ﬀ":"U+FB00","😀":"U+1F600"}"#;
const RFC8785: &str = r#"{"big":10000000000000000,"huge":1.1805916207174113e+21,"one":1,"tiny":1e-7,"zero":0,"😀":"U+1F600","ﬀ":"U+FB00"}"#;
const REFERENCE: &str = r#"{"big":1e+16,"huge":1180591620717411303424,"one":1,"tiny":1e-07,"zero":0,"ﬀ":"U+FB00","😀":"U+1F600"}"#;

fn forms() -> Vec<Case> {
    let numbers: [(&str, &str, &str); 2] = [
        ("rfc8785", "A signature over the RFC 8785 form holds.", RFC8785),
        ("reference-form", "A signature over the reference's form holds.", REFERENCE),
    ];
    let mut cases: Vec<Case> = numbers
        .map(|(id, asks, payload)| {
            must(3, &format!("signature/{id}"), asks, move |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let mut message = sender.message(&bob.address);
                message["payload"] = serde_json::from_str(NUMBERS).map_err(|e| e.to_string())?;
                // The bytes are put together from the document's, not by a program that may have the same fault.
                let text = |name: &str| message[name].to_string();
                let signed = format!(
                    r#"{{"from":{},"nonce":{},"payload":{payload},"timestamp":{},"to":{},"type":"message"}}"#,
                    text("from"),
                    text("nonce"),
                    text("timestamp"),
                    text("to"),
                );
                let message = sender.with_signature_over(message, signed.as_bytes());
                s.post(message.to_string()).await?.accepted()?;
                bob.has(&message["nonce"]).await
            })
        })
        .into();
    cases.push(must(
        3,
        "signature/mixed-forms",
        "A signature over the message as it is written, with a space, does not hold.",
        |s| async move {
            let (sender, bob) = (s.sender(), s.agent().await?);
            let message = sender.message(&bob.address);
            let signed = format!(" {message}");
            s.post(sender.with_signature_over(message, signed.as_bytes()).to_string())
                .await?
                .refused(403, NOT_GOOD)
        },
    ));
    cases.push(must(
        3,
        "signature/uncovered-field",
        "A message signed in the reference's form may have no field that this form does not cover.",
        |s| async move {
            let (sender, bob) = (s.sender(), s.agent().await?);
            let mut message = sender.message(&bob.address);
            message["in_reply_to"] = json!("msg-0");
            s.post(sender.signed_as_reference(message).to_string()).await?.refused(403, NOT_GOOD)?;
            bob.counts(0).await
        },
    ));
    cases.push(must(
        3,
        "signature/covered-field",
        "A field beyond the basic ones is covered by the RFC 8785 form.",
        |s| async move {
            let (sender, bob) = (s.sender(), s.agent().await?);
            let mut message = sender.message(&bob.address);
            message["in_reply_to"] = json!("msg-0");
            sender.transfer(message).await?.accepted()
        },
    ));
    cases
}

fn of_no_weight() -> Vec<Case> {
    vec![
        must(3, "signature/headers-decide-nothing", "`headers` decide nothing.", |s| async move {
            let (sender, bob) = (s.sender(), s.agent().await?);
            let mut message = sender.signed(sender.message(&bob.address));
            message["signature"]["headers"] = json!(["payload", "x"]);
            s.post(message.to_string()).await?.accepted()
        }),
        must(
            3,
            "signature/stamp-decides-nothing",
            "The signature's `timestamp` decides nothing.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let mut message = sender.signed(sender.message(&bob.address));
                message["signature"]["timestamp"] = json!(1);
                s.post(message.to_string()).await?.accepted()
            },
        ),
        must(
            3,
            "signature/order-of-members",
            "The order of a message's members decides nothing.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let message = sender.signed(sender.message(&bob.address));
                let members = message.as_object().cloned().unwrap_or_default();
                let text: Vec<String> =
                    members.iter().rev().map(|(name, value)| format!("{} : {value}", json!(name))).collect();
                s.post(format!("{{ {} }}", text.join(" , "))).await?.accepted()
            },
        ),
    ]
}
