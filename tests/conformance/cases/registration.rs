//! Registration (docs/protocol.md §8), at a domain where everybody may.

use serde_json::{Value, json};

use crate::suite::{Case, must, same, should};
use crate::wire::http::{Call, Reply};

async fn register(s: &crate::site::Site, body: &Value) -> Result<Reply, String> {
    s.send(Call::json("POST", "register", body)).await
}

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        must(8, "register/answer", "Who registers is told so with 201 and its address.", |s| async move {
            let address = format!("new{}@{}", s.names.next(), s.domain());
            let reply = register(&s, &json!({"agent_id": address, "password": "a password"})).await?;
            reply.has_status(201)?;
            same("agent_id", reply.json()["agent_id"].as_str(), Some(address.as_str()))?;
            same("status", reply.json()["status"].as_str(), Some("registered"))
        }),
        should(8, "register/short-name", "The local part will do for a name to register.", |s| async move {
            let local = format!("new{}", s.names.next());
            let reply = register(&s, &json!({"agent_id": local, "password": "a password"})).await?;
            reply.has_status(201)?;
            same("agent_id", &reply.json()["agent_id"], &json!(format!("{local}@{}", s.domain())))
        }),
        must(
            8,
            "register/taken",
            "A name that is taken is refused: 409; its owner's password stays.",
            |s| async move {
                let alice = s.agent().await?;
                let body = json!({"agent_id": alice.address, "password": "a stranger's"});
                register(&s, &body).await?.refused(409, "550 5.1.0")?;
                alice.get("messages").await?.has_status(200)
            },
        ),
        must(
            8,
            "register/taken-in-capitals",
            "A name that differs from one that is taken in case only is refused: 409.",
            |s| async move {
                let alice = s.agent().await?;
                let body = json!({"agent_id": alice.address.to_uppercase(), "password": "a stranger's"});
                register(&s, &body).await?.refused(409, "550 5.1.0")
            },
        ),
        must(8, "register/foreign", "A name of a foreign domain is refused: 403.", |s| async move {
            let body = json!({"agent_id": "alice@elsewhere.test", "password": "a password"});
            register(&s, &body).await?.refused(403, "550 5.7.1")
        }),
        must(8, "register/reserved", "A reserved name is refused: 403.", |s| async move {
            let body = json!({"agent_id": format!("postmaster@{}", s.domain()), "password": "a password"});
            register(&s, &body).await?.refused(403, "550 5.7.1")
        }),
        should(8, "register/content-type", "Another content type is refused: 415.", |s| async move {
            let call = Call::post("register", r#"{"agent_id":"form","password":"x"}"#);
            s.send(call.header("Content-Type", "application/x-www-form-urlencoded"))
                .await?
                .refused(415, "550 5.5.1")
        }),
    ];
    let malformed: [(&str, &str, Value); 5] = [
        ("no-name", "What has not the form of a name", json!({"agent_id": "a b", "password": "a password"})),
        ("empty-password", "An empty password", json!({"agent_id": "empty-password", "password": ""})),
        ("no-password", "No password", json!({"agent_id": "no-password"})),
        ("number", "A password that is no text", json!({"agent_id": "number", "password": 12345678})),
        ("array", "What is no object", json!(["alice", "a password"])),
    ];
    cases.extend(malformed.map(|(id, what, body)| {
        let asks = format!("{what} is refused: 400.");
        must(8, &format!("register/{id}"), &asks, move |s| {
            let body = body.clone();
            async move { register(&s, &body).await?.refused(400, "550 5.6.0") }
        })
    }));
    cases
}
