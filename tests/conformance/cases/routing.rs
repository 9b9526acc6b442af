//! `routing.atp` as a receiving server reads it (docs/protocol.md §4).

use serde_json::{Value, json};

use crate::suite::{Case, ensure, must, same};

/// Members of `routing.atp` that make a message malformed.
fn wrong() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("atp-text", "A `routing.atp` that is no object", json!("x")),
        ("rcpt-number", "An `rcpt` that is no text", json!({"rcpt": 7})),
        ("rcpt-address", "An `rcpt` that is no address", json!({"rcpt": "bob"})),
        ("to-address", "A `to` that is no address", json!({"to": "bob"})),
        ("cc-text", "A `cc` that is no array", json!({"cc": "bob@tested.test"})),
        ("cc-address", "A `cc` with something that is no address", json!({"cc": ["bob"]})),
        ("nonce-form", "A `nonce` that is none", json!({"nonce": "a b"})),
        ("fields-array", "`fields` that are no object", json!({"fields": []})),
        ("fields-payload", "A `payload` in `fields`", json!({"fields": {"payload": {}}})),
        ("fields-from", "A `from` in `fields`", json!({"fields": {"from": "root@tested.test"}})),
        ("fields-signature", "A `signature` in `fields`", json!({"fields": {"signature": null}})),
        ("submitted-at-text", "A `submitted_at` that is no integer", json!({"submitted_at": "1767225600"})),
    ]
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (id, what, value) in wrong() {
        let asks = format!("{what} in `routing.atp` is malformed.");
        cases.push(must(4, &format!("routing/{id}"), &asks, move |s| {
            let value = value.clone();
            async move {
                let reply = s.sender().transfer_changed(|m| m["routing"] = json!({"atp": value})).await?;
                reply.refused(400, "550 5.6.0")
            }
        }));
    }
    cases.extend(recipients());
    cases.extend(restored());
    cases
}

fn recipients() -> Vec<Case> {
    vec![
        must(4, "rcpt/alone", "A transfer is delivered to its `rcpt` and to nobody else.", |s| async move {
            let (sender, bob, carol) = (s.sender(), s.agent().await?, s.agent().await?);
            let mut message = sender.message(&bob.address);
            message["cc"] = json!([carol.address]);
            message["routing"] = json!({"atp": {"rcpt": carol.address}});
            sender.transfer(message.clone()).await?.accepted()?;
            carol.has(&message["nonce"]).await?;
            bob.counts(0).await
        }),
        must(
            4,
            "rcpt/absent",
            "Without `rcpt` a transfer is for `to`, and never handed on to `cc`.",
            |s| async move {
                let (sender, bob, carol) = (s.sender(), s.agent().await?, s.agent().await?);
                let mut message = sender.message(&bob.address);
                message["cc"] = json!([carol.address]);
                sender.transfer(message.clone()).await?.accepted()?;
                bob.has(&message["nonce"]).await?;
                carol.counts(0).await
            },
        ),
        must(4, "rcpt/blind", "The recipient need not be in `to` or `cc`.", |s| async move {
            let (sender, bob) = (s.sender(), s.agent().await?);
            let mut message = sender.message("somebody@elsewhere.test");
            message["routing"] = json!({"atp": {"rcpt": bob.address}});
            sender.transfer(message.clone()).await?.accepted()?;
            bob.has(&message["nonce"]).await
        }),
        must(4, "rcpt/case", "`rcpt` may be written in any case.", |s| async move {
            let (sender, bob) = (s.sender(), s.agent().await?);
            let mut message = sender.message("somebody@elsewhere.test");
            message["routing"] = json!({"atp": {"rcpt": bob.address.to_uppercase()}});
            sender.transfer(message.clone()).await?.accepted()?;
            bob.has(&message["nonce"]).await
        }),
        must(
            4,
            "rcpt/unknown",
            "Only the recipient is asked about: an unknown one is refused.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let mut message = sender.message(&bob.address);
                message["routing"] = json!({"atp": {"rcpt": format!("nobody-here@{}", s.domain())}});
                sender.transfer(message).await?.refused(404, "550 5.1.1")?;
                bob.counts(0).await
            },
        ),
        must(4, "relay/to", "A transfer to another domain is refused, and not handed on.", |s| async move {
            let (sender, peer) = (s.sender(), s.peer().await?);
            sender.transfer(sender.message(&peer.agent("bob"))).await?.refused(403, "550 5.7.1")?;
            tokio::time::sleep(std::time::Duration::from_secs(6)).await;
            let messages = peer.desk.messages().len();
            ensure(messages == 0, || "it was handed on".to_owned())
        }),
        must(4, "relay/rcpt", "A transfer whose `rcpt` is of another domain is refused.", |s| async move {
            let (sender, bob) = (s.sender(), s.agent().await?);
            let mut message = sender.message(&bob.address);
            message["routing"] = json!({"atp": {"rcpt": "bob@elsewhere.test"}});
            sender.transfer(message).await?.refused(403, "550 5.7.1")?;
            bob.counts(0).await
        }),
    ]
}

fn restored() -> Vec<Case> {
    vec![
        must(
            4,
            "routing/put-back",
            "The reader is given `to`, `cc`, `nonce`, `timestamp` and fields as the author wrote them.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let mut message = sender.message(&bob.address);
                let at = message["timestamp"].as_i64().unwrap_or_default() - 100;
                let nonce = s.fresh_nonce();
                message["routing"] = json!({"atp": {
                    "to": "first@elsewhere.test", "cc": [bob.address], "nonce": nonce, "submitted_at": at,
                    "fields": {"in_reply_to": "msg-1", "priority": {"level": 2}},
                }});
                message["cc"] = json!(["first@elsewhere.test"]);
                s.post(sender.signed_as_reference(message.clone()).to_string()).await?.accepted()?;
                let read = bob.message_of(&json!(nonce)).await?;
                same("to", &read["to"], &json!("first@elsewhere.test"))?;
                same("cc", &read["cc"], &json!([bob.address]))?;
                same("timestamp", &read["timestamp"], &json!(at))?;
                same("in_reply_to", &read["in_reply_to"], &json!("msg-1"))?;
                same("priority", &read["priority"], &json!({"level": 2}))?;
                same("payload", &read["payload"], &message["payload"])?;
                same("routing", read.get("routing"), None)?;
                same("signature", read.get("signature"), None)
            },
        ),
        must(
            4,
            "routing/fields-give-way",
            "A field that is at the top already stays as it is there.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let mut message = sender.message(&bob.address);
                message["priority"] = json!("top");
                message["routing"] = json!({"atp": {"fields": {"priority": "below", "other": 1}}});
                sender.transfer(message.clone()).await?.accepted()?;
                let read = bob.message_of(&message["nonce"]).await?;
                same("priority", &read["priority"], &json!("top"))?;
                same("other", &read["other"], &json!(1))
            },
        ),
        must(
            4,
            "routing/others-stay",
            "Other members of `routing` stay; `atp` alone is left out.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let mut message = sender.message(&bob.address);
                message["routing"] = json!({"hops": 3, "atp": {"rcpt": bob.address}});
                sender.transfer(message.clone()).await?.accepted()?;
                same("routing", &bob.message_of(&message["nonce"]).await?["routing"], &json!({"hops": 3}))
            },
        ),
        must(
            4,
            "routing/signature-stays",
            "Without `routing.atp` the reader is given the signature too.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let message = sender.signed(sender.message(&bob.address));
                s.post(message.to_string()).await?.accepted()?;
                same(
                    "signature",
                    &bob.message_of(&message["nonce"]).await?["signature"],
                    &message["signature"],
                )
            },
        ),
        must(4, "routing/empty", "An empty `routing.atp` says nothing.", |s| async move {
            let (sender, bob) = (s.sender(), s.agent().await?);
            let mut message = sender.message(&bob.address);
            message["routing"] = json!({"atp": {}});
            sender.transfer(message.clone()).await?.accepted()?;
            bob.has(&message["nonce"]).await
        }),
    ]
}
