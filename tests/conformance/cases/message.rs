//! The fields of a message (docs/protocol.md §2).

use serde_json::{Value, json};

use crate::suite::{Case, must, same};

const MALFORMED: &str = "550 5.6.0";

/// What is put into a message, at which name, so that it is none any more.
fn wrong() -> Vec<(&'static str, &'static str, Value, &'static str)> {
    vec![
        ("to-number", "to", json!(7), "A `to` that is no text"),
        ("timestamp-text", "timestamp", json!("1767225600"), "A `timestamp` in quotes"),
        ("timestamp-fraction", "timestamp", json!(1_767_225_600.5), "A `timestamp` with a fraction"),
        ("timestamp-negative", "timestamp", json!(-1), "A negative `timestamp`"),
        ("timestamp-far", "timestamp", json!(253_402_300_800_i64), "A `timestamp` after the year 9999"),
        ("timestamp-true", "timestamp", json!(true), "A `timestamp` that is no number"),
        ("nonce-empty", "nonce", json!(""), "An empty `nonce`"),
        ("nonce-129", "nonce", json!("x".repeat(129)), "A `nonce` of 129 characters"),
        ("nonce-space", "nonce", json!("msg 1"), "A `nonce` with a space"),
        ("nonce-slash", "nonce", json!("msg/1"), "A `nonce` with a slash"),
        ("nonce-unicode", "nonce", json!("msg-é"), "A `nonce` with a letter outside ASCII"),
        ("nonce-number", "nonce", json!(17), "A `nonce` that is no text"),
        ("type-empty", "type", json!(""), "An empty `type`"),
        ("type-65", "type", json!("x".repeat(65)), "A `type` of 65 characters"),
        ("type-space", "type", json!("a b"), "A `type` with a space"),
        ("type-number", "type", json!(1), "A `type` that is no text"),
        ("payload-text", "payload", json!("hello"), "A `payload` that is a text"),
        ("payload-array", "payload", json!([1]), "A `payload` that is an array"),
        ("payload-null", "payload", Value::Null, "A `payload` that is null"),
        ("cc-text", "cc", json!("carol@tested.test"), "A `cc` that is no array"),
        ("cc-number", "cc", json!([7]), "A `cc` with something else than texts in it"),
        ("cc-address", "cc", json!(["carol"]), "A `cc` with something in it that is no address"),
        ("cc-101", "cc", json!(vec!["carol@elsewhere.test"; 101]), "A `cc` of 101 addresses"),
        ("in-reply-to-257", "in_reply_to", json!("x".repeat(257)), "An `in_reply_to` of 257 bytes"),
        ("in-reply-to-number", "in_reply_to", json!(1), "An `in_reply_to` that is no text"),
        ("task-id-array", "task_id", json!([]), "A `task_id` that is no text"),
        ("context-id-object", "context_id", json!({}), "A `context_id` that is no text"),
        ("receipt-text", "receipt", json!("delivered"), "A `receipt` that is no array"),
        ("receipt-unknown", "receipt", json!(["read"]), "A `receipt` of an unknown kind"),
        ("routing-text", "routing", json!("there"), "A `routing` that is neither object nor null"),
    ]
}

/// What a message may have.
fn right() -> Vec<(&'static str, &'static str, Value, &'static str)> {
    vec![
        (
            "nonce-128",
            "nonce",
            json!(format!("N.{}", "x_:-".repeat(40)).split_at(128).0),
            "A `nonce` of 128 characters",
        ),
        ("type-own", "type", json!("com.example:invoice_v2"), "A `type` of one's own"),
        ("cc-empty", "cc", json!([]), "An empty `cc`"),
        ("cc-100", "cc", json!(vec!["carol@elsewhere.test"; 100]), "A `cc` of 100 addresses"),
        ("in-reply-to-256", "in_reply_to", json!("é".repeat(128)), "An `in_reply_to` of 256 bytes"),
        ("routing-null", "routing", Value::Null, "A `routing` that is null"),
        ("routing-object", "routing", json!({"hops": [1, 2]}), "A `routing` with members of one's own"),
        ("payload-empty", "payload", json!({}), "An empty `payload`"),
    ]
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for name in ["from", "to", "timestamp", "nonce", "type", "payload"] {
        let asks = format!("A message without `{name}` is malformed.");
        cases.push(must(2, &format!("message/without-{name}"), &asks, move |s| async move {
            let reply =
                s.sender().transfer_changed(|m| drop(m.as_object_mut().and_then(|m| m.remove(name)))).await?;
            reply.refused(400, MALFORMED)
        }));
    }
    for (id, name, value, what) in wrong() {
        let asks = format!("{what} is malformed.");
        cases.push(must(2, &format!("message/{id}"), &asks, move |s| {
            let value = value.clone();
            async move { s.sender().transfer_changed(|m| m[name] = value).await?.refused(400, MALFORMED) }
        }));
    }
    for (id, name, value, what) in right() {
        let asks = format!("{what} is in order.");
        cases.push(must(2, &format!("message/{id}"), &asks, move |s| {
            let value = value.clone();
            async move { s.sender().transfer_changed(|m| m[name] = value).await?.accepted() }
        }));
    }
    cases.extend(carried());
    cases
}

fn carried() -> Vec<Case> {
    vec![
        must(
            2,
            "message/unknown-fields-are-kept",
            "Top-level fields that nobody defined are kept and given to the reader.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let mut message = sender.message(&bob.address);
                message["priority"] = json!({"level": 3, "why": ["because"]});
                message["in_reply_to"] = json!("msg-0");
                message["task_id"] = json!("t-1");
                message["context_id"] = json!("c-1");
                sender.transfer(message.clone()).await?.accepted()?;
                let read = bob.message_of(&message["nonce"]).await?;
                for name in ["priority", "in_reply_to", "task_id", "context_id"] {
                    same(name, &read[name], &message[name])?;
                }
                Ok(())
            },
        ),
        must(
            2,
            "message/payload-is-kept",
            "A payload reaches its reader as it was written.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let mut message = sender.message(&bob.address);
                message["payload"] = json!({"subject": "Ünïcode 😀 \u{7f}\u{1}", "list": [null, true, [], {}], "": "empty name"});
                sender.transfer(message.clone()).await?.accepted()?;
                same("payload", &bob.message_of(&message["nonce"]).await?["payload"], &message["payload"])
            },
        ),
        must(2, "message/type-is-carried", "An unknown `type` is carried as it is.", |s| async move {
            let (sender, bob) = (s.sender(), s.agent().await?);
            let mut message = sender.message(&bob.address);
            message["type"] = json!("weather-report");
            sender.transfer(message.clone()).await?.accepted()?;
            same("type", &bob.message_of(&message["nonce"]).await?["type"], &message["type"])
        }),
        must(
            2,
            "message/nonce-case-counts",
            "Two nonces that differ in case name two messages.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let mut message = sender.message(&bob.address);
                for nonce in ["msg-Abc", "msg-aBC"] {
                    message["nonce"] = format!("{nonce}-{}", sender.domain).into();
                    sender.transfer(message.clone()).await?.accepted()?;
                }
                bob.counts(2).await
            },
        ),
    ]
}
