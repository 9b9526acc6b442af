//! Receipts, in both directions (docs/protocol.md §10, Receipt).

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::agent::Agent;
use crate::neighbour::{Form, Neighbour};
use crate::sender::Sender;
use crate::site::Site;
use crate::suite::{Case, must, now, same, should};

/// A domain that sends and has a server.
async fn both(s: &Arc<Site>, capabilities: &str) -> Result<(Sender, Neighbour), String> {
    let neighbour = Neighbour::start(s, capabilities).await?;
    let sender = Sender::of(s, &neighbour.domain);
    sender.publish();
    Ok((sender, neighbour))
}

/// A message of that domain that asks for receipts, handed over.
async fn asked(sender: &Sender, bob: &Agent, wanted: Value) -> Result<Value, String> {
    let mut message = sender.message(&bob.address);
    message["receipt"] = wanted;
    sender.transfer(message.clone()).await?.accepted()?;
    Ok(message)
}

fn receipt_nonce(from: &str, nonce: &str, recipient: &str, outcome: &str) -> String {
    let digest = Sha256::digest(format!("{from}\0{nonce}\0{recipient}\0{outcome}"));
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("rcpt-{}", &hex[..32])
}

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        should(
            10,
            "receipt/delivered",
            "Who asks for `delivered` is told, by a signed event of postmaster's.",
            |s| async move {
                let ((sender, home), bob) = (both(&s, Neighbour::FULL).await?, s.agent().await?);
                let message = asked(&sender, &bob, json!(["delivered"])).await?;
                let receipt = home.gets_one().await?;
                same("from", &receipt["from"], &json!(format!("postmaster@{}", s.domain())))?;
                same("to", &receipt["to"], &message["from"])?;
                same("type", &receipt["type"], &json!("event"))?;
                let said = &receipt["payload"]["receipt"];
                same("original_nonce", &said["original_nonce"], &message["nonce"])?;
                same("recipient", &said["recipient"], &json!(bob.address))?;
                same("outcome", &said["outcome"], &json!("delivered"))?;
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let nonce = receipt_nonce(
                    &text(&message["from"]),
                    &text(&message["nonce"]),
                    &bob.address,
                    "delivered",
                );
                same("nonce", &receipt["nonce"], &json!(nonce))?;
                home.verify(&receipt, Form::Rfc8785)
            },
        ),
        should(
            10,
            "receipt/acked",
            "Who asks for `acked` is told what the recipient says of the message.",
            |s| async move {
                let ((sender, home), bob) = (both(&s, Neighbour::FULL).await?, s.agent().await?);
                asked(&sender, &bob, json!(["acked"])).await?;
                let cursor = bob.page().await?["last_id"].clone();
                let body = json!({"outcome": "failed", "payload": {"table": 7}});
                bob.ask("POST", &format!("me/messages/{cursor}/ack"), &body).await?.has_status(200)?;
                let said = home.gets_one().await?["payload"]["receipt"].clone();
                same("outcome", &said["outcome"], &json!("failed"))?;
                same("payload", &said["payload"], &json!({"table": 7}))
            },
        ),
        should(
            10,
            "receipt/not-listed",
            "A server that does not list `receipt` is sent none.",
            |s| async move {
                let ((sender, home), bob) = (both(&s, Neighbour::REFERENCE).await?, s.agent().await?);
                let mut message = sender.message(&bob.address);
                message["receipt"] = json!(["delivered"]);
                sender.transfer(message).await?.accepted()?;
                let other = bob.message(&home.agent("eve"));
                bob.send(&other).await?;
                home.gets(1).await?;
                tokio::time::sleep(Duration::from_secs(3)).await;
                same("messages", home.desk.messages().len(), 1)
            },
        ),
        should(10, "receipt/not-asked", "Who asks for none is sent none.", |s| async move {
            let ((sender, home), bob) = (both(&s, Neighbour::FULL).await?, s.agent().await?);
            asked(&sender, &bob, json!([])).await?;
            tokio::time::sleep(Duration::from_secs(3)).await;
            same("messages", home.desk.messages().len(), 0)
        }),
        should(
            10,
            "receipt/not-to-postmaster",
            "No receipt is made for a message of postmaster's.",
            |s| async move {
                let ((sender, home), bob) = (both(&s, Neighbour::FULL).await?, s.agent().await?);
                let mut message = s.message(&format!("postmaster@{}", sender.domain), &bob.address);
                message["receipt"] = json!(["delivered"]);
                sender.transfer(message).await?.accepted()?;
                tokio::time::sleep(Duration::from_secs(3)).await;
                same("messages", home.desk.messages().len(), 0)
            },
        ),
    ];
    cases.extend(taken());
    cases
}

/// A message of Alice's that was delivered to that domain and asked for everything.
async fn sent(s: &Arc<Site>) -> Result<(Agent, Sender, Neighbour, Value), String> {
    let ((sender, peer), alice) = (both(s, Neighbour::FULL).await?, s.agent().await?);
    let mut message = alice.message(&peer.agent("bob"));
    message["receipt"] = json!(["delivered", "acked"]);
    alice.send(&message).await?;
    peer.gets(1).await?;
    Ok((alice, sender, peer, message))
}

/// A receipt for it.
fn receipt(s: &Site, sender: &Sender, message: &Value, outcome: &str) -> Value {
    let from = message["from"].as_str().unwrap_or_default();
    let mut receipt = s.message(&format!("postmaster@{}", sender.domain), from);
    receipt["type"] = json!("event");
    receipt["nonce"] = json!(format!("rcpt-{outcome}-{}", s.fresh_nonce()));
    receipt["payload"] = json!({"receipt": {
        "original_nonce": message["nonce"], "recipient": message["to"], "outcome": outcome, "at": now(),
    }});
    receipt
}

fn taken() -> Vec<Case> {
    vec![
        should(
            10,
            "receipt/taken",
            "A receipt is taken, shown by `me/sent`, and never put into a mailbox.",
            |s| async move {
                let (alice, sender, _peer, message) = sent(&s).await?;
                sender.transfer(receipt(&s, &sender, &message, "delivered")).await?.accepted()?;
                sender.transfer(receipt(&s, &sender, &message, "completed")).await?.accepted()?;
                let path = format!("me/sent/{}", message["nonce"].as_str().unwrap_or_default());
                let shown = alice.get(&path).await?.json();
                same("outcome", &shown["recipients"][0]["receipt"]["outcome"], &json!("completed"))?;
                alice.counts(0).await
            },
        ),
        should(
            10,
            "receipt/forward-only",
            "Outcomes go forward only; the first of the last ones counts.",
            |s| async move {
                let (alice, sender, _peer, message) = sent(&s).await?;
                sender.transfer(receipt(&s, &sender, &message, "failed")).await?.accepted()?;
                for late in ["delivered", "accepted", "completed"] {
                    sender.transfer(receipt(&s, &sender, &message, late)).await?.accepted_before()?;
                }
                let path = format!("me/sent/{}", message["nonce"].as_str().unwrap_or_default());
                same(
                    "outcome",
                    &alice.get(&path).await?.json()["recipients"][0]["receipt"]["outcome"],
                    &json!("failed"),
                )
            },
        ),
        should(
            10,
            "receipt/unknown",
            "A receipt for a message nobody sent changes nothing: `already_accepted`.",
            |s| async move {
                let (_alice, sender, _peer, mut message) = sent(&s).await?;
                message["nonce"] = json!("msg-never-sent");
                sender.transfer(receipt(&s, &sender, &message, "delivered")).await?.accepted_before()
            },
        ),
        should(10, "receipt/malformed", "A receipt without a member is malformed.", |s| async move {
            let (_alice, sender, _peer, message) = sent(&s).await?;
            for name in ["original_nonce", "recipient", "outcome", "at"] {
                let mut wrong = receipt(&s, &sender, &message, "delivered");
                drop(wrong["payload"]["receipt"].as_object_mut().and_then(|receipt| receipt.remove(name)));
                sender
                    .transfer(wrong)
                    .await?
                    .refused(400, "550 5.6.0")
                    .map_err(|got| format!("without {name}: {got}"))?;
            }
            Ok(())
        }),
        should(
            10,
            "receipt/foreign",
            "A receipt about a recipient of another domain than its own is refused: 403.",
            |s| async move {
                let (_alice, _sender, _peer, message) = sent(&s).await?;
                let mallory = s.sender();
                mallory
                    .transfer(receipt(&s, &mallory, &message, "completed"))
                    .await?
                    .refused(403, "550 5.7.1")
            },
        ),
        should(
            10,
            "receipt/of-an-agent",
            "What looks like a receipt but is not postmaster's is mail.",
            |s| async move {
                let (alice, sender, _peer, message) = sent(&s).await?;
                let mut mail = receipt(&s, &sender, &message, "delivered");
                mail["from"] = json!(format!("bob@{}", sender.domain));
                sender.transfer(mail.clone()).await?.accepted()?;
                alice.has(&mail["nonce"]).await
            },
        ),
        must(10, "receipt/forged", "A receipt without a good signature is refused.", |s| async move {
            let (_alice, sender, _peer, message) = sent(&s).await?;
            let mut forged = sender.signed(receipt(&s, &sender, &message, "delivered"));
            forged["payload"]["receipt"]["outcome"] = json!("completed");
            s.post(forged.to_string()).await?.refused(403, "550 5.7.28")
        }),
    ]
}
