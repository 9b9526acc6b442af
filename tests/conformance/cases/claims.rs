//! Working on a mailbox (docs/protocol.md §7).

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::suite::{Case, Outcome, ensure, same, should};

/// The first claim on what there is.
async fn claim(bob: &Agent, lease: u32) -> Result<Value, String> {
    let reply = bob.ask("POST", "me/claims", &json!({"lease_seconds": lease})).await?;
    reply.has_status(200)?;
    Ok(reply.json()["claims"][0].clone())
}

async fn say(
    bob: &Agent,
    claim: &Value,
    what: &str,
    body: Value,
) -> Result<crate::wire::http::Reply, String> {
    let id = claim["id"].as_str().ok_or_else(|| format!("no claim: {claim}"))?;
    bob.ask("POST", &format!("me/claims/{id}/{what}"), &body).await
}

async fn nothing_to_claim(bob: &Agent) -> Outcome {
    same("claim", &claim(bob, 60).await?, &Value::Null)
}

pub fn cases() -> Vec<Case> {
    vec![
        should(
            7,
            "claim/once",
            "A message that one worker has in hand is given to no other.",
            |s| async move {
                let bob = s.agent().await?;
                s.sender().reaches(&bob).await?;
                let first = claim(&bob, 60).await?;
                same("claimed", first["message"]["to"].as_str(), Some(bob.address.as_str()))?;
                nothing_to_claim(&bob).await?;
                bob.counts(1).await
            },
        ),
        should(
            7,
            "claim/ack",
            "What is acknowledged is done with; the same said again changes nothing.",
            |s| async move {
                let bob = s.agent().await?;
                s.sender().reaches(&bob).await?;
                let held = claim(&bob, 60).await?;
                let body = json!({"outcome": "completed", "payload": {"count": 42}});
                let first = say(&bob, &held, "ack", body.clone()).await?;
                first.has_status(200)?;
                same("again", say(&bob, &held, "ack", body).await?.json(), first.json())?;
                say(&bob, &held, "ack", json!({"outcome": "failed"})).await?.refused(409, "550 5.5.0")?;
                nothing_to_claim(&bob).await
            },
        ),
        should(7, "claim/nack", "What is given back is handed out again, and counted.", |s| async move {
            let bob = s.agent().await?;
            s.sender().reaches(&bob).await?;
            let held = claim(&bob, 60).await?;
            let returned = say(&bob, &held, "nack", json!({"delay_seconds": 0, "reason": "not now"})).await?;
            same("redeliveries", returned.json()["redeliveries"].as_u64(), Some(1))?;
            same("again", claim(&bob, 60).await?["redeliveries"].as_u64(), Some(1))
        }),
        should(
            7,
            "claim/lease-ends",
            "When a lease ends, another worker is given the message and the first is refused.",
            |s| async move {
                let bob = s.agent().await?;
                s.sender().reaches(&bob).await?;
                let held = claim(&bob, 1).await?;
                let again = crate::suite::until("the end of a lease", || async {
                    let found = claim(&bob, 60).await?;
                    Ok(Some(found).filter(|found| !found.is_null()))
                })
                .await?;
                ensure(again["id"] != held["id"], || format!("the same claim again: {again}"))?;
                say(&bob, &held, "ack", json!({})).await?.refused(409, "550 5.5.0")
            },
        ),
        should(7, "claim/extend", "A lease can be extended.", |s| async move {
            let bob = s.agent().await?;
            s.sender().reaches(&bob).await?;
            let held = claim(&bob, 30).await?;
            let extended = say(&bob, &held, "extend", json!({"lease_seconds": 600})).await?.json();
            let later = extended["lease_until"].as_i64() > held["lease_until"].as_i64();
            ensure(later, || format!("{held} became {extended}"))
        }),
        should(7, "claim/unknown", "A claim that is none gives 404.", |s| async move {
            let bob = s.agent().await?;
            let claim = json!({"id": "c17-0123456789abcdef"});
            say(&bob, &claim, "ack", json!({})).await?.refused(404, "550 5.5.1")
        }),
        should(
            7,
            "claim/ack-by-cursor",
            "A message nobody has in hand is acknowledged by its cursor; one in hand is not.",
            |s| async move {
                let bob = s.agent().await?;
                s.sender().reaches(&bob).await?;
                let cursor = bob.page().await?["last_id"].clone();
                let path = format!("me/messages/{cursor}/ack");
                let held = claim(&bob, 60).await?;
                bob.ask("POST", &path, &json!({})).await?.refused(409, "450 4.5.0")?;
                say(&bob, &held, "nack", json!({"delay_seconds": 60})).await?.has_status(200)?;
                bob.ask("POST", &path, &json!({})).await?.has_status(200)
            },
        ),
        should(7, "claim/listed", "`GET me/claims` lists what is out.", |s| async move {
            let bob = s.agent().await?;
            s.sender().reaches(&bob).await?;
            let held = claim(&bob, 60).await?;
            let listed = bob.get("me/claims").await?.json();
            same("id", &listed["claims"][0]["id"], &held["id"])
        }),
        should(
            7,
            "claim/dead-letter",
            "What comes back for the tenth time is a dead letter until it is put back.",
            |s| async move {
                let bob = s.agent().await?;
                s.sender().reaches(&bob).await?;
                for _ in 0..10 {
                    let held = claim(&bob, 60).await?;
                    say(&bob, &held, "nack", json!({"delay_seconds": 0})).await?.has_status(200)?;
                }
                nothing_to_claim(&bob).await?;
                let dead = bob.get("me/dead-letters").await?.json();
                let cursor = dead["dead_letters"][0]["cursor"].clone();
                ensure(cursor.is_u64(), || format!("no dead letter: {dead}"))?;
                bob.ask("POST", &format!("me/dead-letters/{cursor}/restore"), &json!({}))
                    .await?
                    .has_status(200)?;
                ensure(!claim(&bob, 60).await?.is_null(), || "it is not handed out again".to_owned())
            },
        ),
    ]
}
