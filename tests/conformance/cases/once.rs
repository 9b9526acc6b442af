//! Fresh, and once (docs/protocol.md §4 Identity and digest, §10).

use serde_json::{Value, json};

use crate::suite::{Case, ensure, must, now, same, should};

/// Changes to a message that was accepted, and whether it is still the same one.
type Change = fn(&mut Value);

fn again() -> Vec<(&'static str, &'static str, bool, Change)> {
    vec![
        ("resigned", "The same message signed afresh is the same.", true, |_| {}),
        ("restamped", "The same message with a later `timestamp` is the same.", true, |m| {
            m["timestamp"] = json!(now() + 5);
        }),
        ("empty-cc", "An absent and an empty `cc` are the same.", true, |m| m["cc"] = json!([])),
        ("null-routing", "An absent and a null `routing` are the same.", true, |m| {
            m["routing"] = Value::Null
        }),
        ("own-routing", "`routing` does not count.", true, |m| m["routing"] = json!({"hops": 7})),
        ("case", "The case of addresses does not count.", true, |m| {
            for name in ["from", "to"] {
                m[name] = json!(m[name].as_str().map(str::to_uppercase));
            }
        }),
        ("other-payload", "Another payload under the same nonce is refused: 409.", false, |m| {
            m["payload"]["body"] = json!("Something else");
        }),
        ("other-type", "Another type under the same nonce is refused: 409.", false, |m| {
            m["type"] = json!("request")
        }),
        ("other-cc", "Another `cc` under the same nonce is refused: 409.", false, |m| {
            m["cc"] = json!(["carol@elsewhere.test"])
        }),
        ("other-field", "Another field under the same nonce is refused: 409.", false, |m| {
            m["priority"] = json!(9)
        }),
        ("other-number", "Another number in a payload under the same nonce is refused: 409.", false, |m| {
            m["payload"]["n"] = json!(2)
        }),
    ]
}

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = again()
        .into_iter()
        .map(|(id, asks, is_same, change)| {
            must(10, &format!("once/{id}"), asks, move |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let mut message = sender.message(&bob.address);
                message["payload"]["n"] = json!(1);
                sender.transfer(message.clone()).await?.accepted()?;
                change(&mut message);
                let reply = sender.transfer(message.clone()).await?;
                if is_same {
                    reply.accepted_before()?
                } else {
                    reply.refused(409, "550 5.6.0")?
                }
                bob.has(&message["nonce"]).await?;
                bob.counts(1).await
            })
        })
        .collect();
    cases.extend(repeats());
    cases.extend(shapes());
    cases.extend(fresh());
    cases
}

fn repeats() -> Vec<Case> {
    vec![
        must(
            10,
            "once/same-bytes",
            "The same bytes again are answered 202 `already_accepted`, and delivered once.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let signed = sender.signed(sender.message(&bob.address));
                s.post(signed.to_string()).await?.accepted()?;
                let repeat = s.post(signed.to_string()).await?;
                repeat.accepted_before()?;
                same("nonce", &repeat.json()["nonce"], &signed["nonce"])?;
                bob.has(&signed["nonce"]).await
            },
        ),
        must(
            10,
            "once/at-once",
            "Eight copies at the same moment are all answered 202, and one is delivered.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let signed = sender.signed(sender.message(&bob.address));
                let tasks: Vec<_> = (0..8)
                    .map(|_| {
                        let (s, text) = (s.clone(), signed.to_string());
                        tokio::spawn(async move { s.post(text).await })
                    })
                    .collect();
                let mut fresh = 0;
                for task in tasks {
                    let reply = task.await.map_err(|e| e.to_string())??;
                    fresh += usize::from(reply.accepted().is_ok());
                    reply.accepted().or_else(|_| reply.accepted_before())?;
                }
                same("answers `accepted`", fresh, 1)?;
                bob.has(&signed["nonce"]).await
            },
        ),
        must(
            10,
            "once/other-sender",
            "The same nonce of another sender names another message.",
            |s| async move {
                let (one, two, bob) = (s.sender(), s.sender(), s.agent().await?);
                let nonce = s.fresh_nonce();
                for sender in [&one, &two] {
                    let mut message = sender.message(&bob.address);
                    message["nonce"] = json!(nonce);
                    sender.transfer(message).await?.accepted()?;
                }
                bob.counts(2).await
            },
        ),
        must(
            10,
            "once/other-agent",
            "The same nonce of another agent of one domain names another message.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let mut message = sender.message(&bob.address);
                sender.transfer(message.clone()).await?.accepted()?;
                message["from"] = json!(format!("adam@{}", sender.domain));
                sender.transfer(message).await?.accepted()?;
                bob.counts(2).await
            },
        ),
        must(
            10,
            "once/other-recipient",
            "Each recipient's transfer of one message is one of its own.",
            |s| async move {
                let (sender, bob, carol) = (s.sender(), s.agent().await?, s.agent().await?);
                let mut message = sender.message(&bob.address);
                message["cc"] = json!([carol.address]);
                sender.transfer(message.clone()).await?.accepted()?;
                message["routing"] = json!({"atp": {"rcpt": carol.address}});
                sender.transfer(message.clone()).await?.accepted()?;
                bob.has(&message["nonce"]).await?;
                carol.has(&message["nonce"]).await
            },
        ),
        must(
            10,
            "once/refused-is-forgotten",
            "A message that was refused is not remembered: it is taken once its recipient exists.",
            |s| async move {
                let sender = s.sender();
                let local = format!("later{}", s.names.next());
                let message = sender.message(&format!("{local}@{}", s.domain()));
                sender.transfer(message.clone()).await?.refused(404, "550 5.1.1")?;
                let late = crate::agent::Agent::register(&s, &local).await?;
                sender.transfer(message.clone()).await?.accepted()?;
                late.has(&message["nonce"]).await
            },
        ),
        must(
            10,
            "once/forged-is-forgotten",
            "A forged message does not stand in the way of the true one.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let message = sender.message(&bob.address);
                let mut forged = sender.signed(message.clone());
                forged["payload"]["body"] = json!("forged");
                s.post(forged.to_string()).await?.refused(403, "550 5.7.28")?;
                sender.transfer(message.clone()).await?.accepted()?;
                bob.has(&message["nonce"]).await
            },
        ),
        must(
            10,
            "once/submission",
            "The same submission again is answered 202 `already_accepted`, and delivered once.",
            |s| async move {
                let (alice, bob) = (s.agent().await?, s.agent().await?);
                let message = alice.message(&bob.address);
                alice.submit(&message).await?.accepted()?;
                alice.submit(&message).await?.accepted_before()?;
                bob.has(&message["nonce"]).await
            },
        ),
        must(
            10,
            "once/submission-changed",
            "Another submission under the same nonce is refused: 409.",
            |s| async move {
                let (alice, bob) = (s.agent().await?, s.agent().await?);
                let mut message = alice.message(&bob.address);
                alice.submit(&message).await?.accepted()?;
                message["payload"] = json!({"body": "Something else"});
                alice.submit(&message).await?.refused(409, "550 5.6.0")?;
                bob.has(&message["nonce"]).await
            },
        ),
        must(
            10,
            "once/submission-outward",
            "A repeated submission to another domain is handed over once.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.peer().await?);
                let message = alice.message(&peer.agent("bob"));
                alice.submit(&message).await?.accepted()?;
                alice.submit(&message).await?.accepted_before()?;
                let other = alice.message(&peer.agent("bob"));
                alice.submit(&other).await?.accepted()?;
                let handed = peer.gets(2).await?;
                let copies =
                    handed.iter().filter(|request| request.json()["nonce"] == message["nonce"]).count();
                same("copies", copies, 1)
            },
        ),
    ]
}

fn shapes() -> Vec<Case> {
    vec![
        must(
            10,
            "once/both-shapes",
            "The same message in the other shape, with a nonce of its own, is the same.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let mut message = sender.message("first@elsewhere.test");
                message["cc"] = json!([bob.address]);
                message["in_reply_to"] = json!("msg-1");
                let mut copy = message.clone();
                message["routing"] = json!({"atp": {"rcpt": bob.address}});
                sender.transfer(message.clone()).await?.accepted()?;
                copy["to"] = json!(bob.address);
                copy["cc"] = json!(["first@elsewhere.test"]);
                copy["nonce"] = json!(format!("c-{:032}", s.names.next()));
                copy["timestamp"] = json!(now());
                drop(copy.as_object_mut().and_then(|copy| copy.remove("in_reply_to")));
                copy["routing"] = json!({"atp": {
                    "to": "first@elsewhere.test", "cc": [bob.address], "nonce": message["nonce"],
                    "fields": {"in_reply_to": "msg-1"}, "submitted_at": message["timestamp"],
                }});
                s.post(sender.signed_as_reference(copy).to_string()).await?.accepted_before()?;
                bob.has(&message["nonce"]).await?;
                bob.counts(1).await
            },
        ),
        must(10, "once/doubles-in-cc", "Doubles in `cc` do not count.", |s| async move {
            let (sender, bob) = (s.sender(), s.agent().await?);
            let mut message = sender.message(&bob.address);
            message["cc"] = json!(["carol@elsewhere.test"]);
            sender.transfer(message.clone()).await?.accepted()?;
            message["cc"] = json!(["carol@elsewhere.test", "CAROL@elsewhere.test"]);
            sender.transfer(message.clone()).await?.accepted_before()
        }),
    ]
}

fn fresh() -> Vec<Case> {
    let ages: [(&str, &str, i64, bool); 5] = [
        ("old", "A message of 71 h is fresh.", -71 * 3600, true),
        ("too-old", "A message of 73 h is not: 400 with a code of class 4.", -73 * 3600, false),
        ("ahead", "A message 240 s ahead is fresh.", 240, true),
        ("too-far-ahead", "A message 400 s ahead is not.", 400, false),
        ("of-1970", "A message of 1970 is not.", i64::MIN, false),
    ];
    let mut cases: Vec<Case> = ages
        .map(|(id, asks, seconds, is_fresh)| {
            must(10, &format!("fresh/{id}"), asks, move |s| async move {
                let at = now().checked_add(seconds).unwrap_or_default().max(0);
                let reply = s.sender().transfer_changed(|m| m["timestamp"] = json!(at)).await?;
                if is_fresh { reply.accepted() } else { reply.refused(400, "450 4.6.0") }
            })
        })
        .into();
    cases.push(should(
        10,
        "fresh/stated",
        "`max_message_age` is at least a day more than a sender tries for.",
        |s| async move {
            let said = s.send(crate::wire::http::Call::get("capabilities")).await?.json();
            ensure(said["max_message_age"].as_i64().is_some_and(|age| age > 24 * 3600), || said.to_string())
        },
    ));
    cases
}
