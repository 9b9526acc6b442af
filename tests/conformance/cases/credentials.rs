//! Credentials and tokens (docs/protocol.md §7).

use serde_json::json;

use crate::suite::{Case, ensure, must, same, should};
use crate::wire::http::Call;

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        must(
            7,
            "credential/alike",
            "A wrong password and an unknown agent are answered alike.",
            |s| async move {
                let alice = s.agent().await?;
                let wrong = s.send(Call::get("messages").basic(&alice.address, "wrong")).await?;
                let unknown = s
                    .send(Call::get("messages").basic(&format!("nobody-of@{}", s.domain()), "wrong"))
                    .await?;
                wrong.refused(401, "535 5.7.8")?;
                same("status", unknown.status, wrong.status)?;
                same("body", unknown.json(), wrong.json())
            },
        ),
        must(7, "credential/challenge", "401 carries `WWW-Authenticate`.", |s| async move {
            let reply = s.send(Call::get("messages")).await?;
            reply.refused(401, "535 5.7.8")?;
            ensure(reply.header("www-authenticate").is_some(), || format!("{:?}", reply.headers))
        }),
        must(
            7,
            "credential/own-mail-only",
            "An agent is shown its own mailbox and no other.",
            |s| async move {
                let (alice, bob) = (s.agent().await?, s.agent().await?);
                alice.send(&alice.message(&bob.address)).await?;
                let page = alice.get(&format!("messages?agent_id={}", bob.address)).await?.json();
                same("messages", &page["messages"], &json!([]))
            },
        ),
        should(7, "credential/short-name", "The local part will do for a name.", |s| async move {
            let alice = s.agent().await?;
            s.send(Call::get("messages").basic(&alice.local, &alice.password)).await?.has_status(200)
        }),
        should(
            7,
            "credential/not-utf8",
            "Bytes that are no text are a wrong credential, and no fault.",
            |s| async move {
                s.send(Call::get("messages").header("Authorization", "Basic /////w=="))
                    .await?
                    .refused(401, "535 5.7.8")
            },
        ),
        should(
            7,
            "credential/other-scheme",
            "A credential of another scheme is a wrong one.",
            |s| async move {
                let call = Call::get("messages").header("Authorization", "Digest username=\"alice\"");
                s.send(call).await?.refused(401, "535 5.7.8")
            },
        ),
        should(7, "me/who", "`GET me` says who shows the credential.", |s| async move {
            let alice = s.agent().await?;
            let me = alice.get("me").await?.json();
            same("agent_id", &me["agent_id"], &json!(alice.address))?;
            same("scope", &me["scope"], &json!("owner"))
        }),
        should(
            7,
            "password/change",
            "From a change of the password on only the new one is good.",
            |s| async move {
                let alice = s.agent().await?;
                let reply =
                    alice.ask("POST", "me/password", &json!({"password": "another password"})).await?;
                reply.has_status(200)?;
                same("status", &reply.json()["status"], &json!("changed"))?;
                alice.get("messages").await?.refused(401, "535 5.7.8")?;
                s.send(Call::get("messages").basic(&alice.address, "another password")).await?.has_status(200)
            },
        ),
    ];
    cases.extend(tokens());
    cases
}

fn tokens() -> Vec<Case> {
    vec![
        should(
            7,
            "token/bearer",
            "A token is good as Bearer, and in Basic where the password would be.",
            |s| async move {
                let alice = s.agent().await?;
                let token = alice.token("laptop", "both").await?;
                ensure(token.starts_with("atpa_"), || "it does not begin with atpa_".to_owned())?;
                s.send(Call::get("messages").bearer(&token)).await?.has_status(200)?;
                s.send(Call::get("messages").basic(&alice.address, &token)).await?.has_status(200)
            },
        ),
        should(7, "token/scope-send", "A token for sending does not read: 403.", |s| async move {
            let (alice, bob) = (s.agent().await?, s.agent().await?);
            let token = alice.token("ci", "send").await?;
            s.send(Call::get("messages").bearer(&token)).await?.refused(403, "550 5.7.1")?;
            let message = alice.message(&bob.address).to_string();
            s.send(Call::post("message", message).bearer(&token)).await?.accepted()
        }),
        should(7, "token/scope-receive", "A token for receiving does not send: 403.", |s| async move {
            let (alice, bob) = (s.agent().await?, s.agent().await?);
            let token = alice.token("reader", "receive").await?;
            s.send(Call::get("messages").bearer(&token)).await?.has_status(200)?;
            let message = alice.message(&bob.address).to_string();
            s.send(Call::post("message", message).bearer(&token)).await?.refused(403, "550 5.7.1")
        }),
        should(
            7,
            "token/makes-none",
            "A token makes no other tokens and changes no password.",
            |s| async move {
                let alice = s.agent().await?;
                let token = alice.token("all", "both").await?;
                let make = Call::json("POST", "me/tokens", &json!({"name": "more"})).bearer(&token);
                s.send(make).await?.refused(403, "550 5.7.1")?;
                let change = Call::json("POST", "me/password", &json!({"password": "x"})).bearer(&token);
                s.send(change).await?.refused(403, "550 5.7.1")
            },
        ),
        should(
            7,
            "token/ends",
            "A token that has been ended is refused at once, like one that never was.",
            |s| async move {
                let alice = s.agent().await?;
                let token = alice.token("old", "both").await?;
                s.send(alice.call("DELETE", "me/tokens/old")).await?.has_status(200)?;
                s.send(Call::get("messages").bearer(&token)).await?.refused(401, "535 5.7.8")
            },
        ),
        should(7, "token/name-taken", "A name that is taken is refused: 409.", |s| async move {
            let alice = s.agent().await?;
            alice.token("twice", "both").await?;
            alice.ask("POST", "me/tokens", &json!({"name": "twice"})).await?.refused(409, "550 5.6.0")
        }),
        should(
            7,
            "token/listed-without-secret",
            "Tokens are listed, themselves not among it.",
            |s| async move {
                let alice = s.agent().await?;
                let token = alice.token("listed", "send").await?;
                let reply = alice.get("me/tokens").await?;
                same("name", &reply.json()["tokens"][0]["name"], &json!("listed"))?;
                ensure(!reply.shown().contains(&token), || "the list holds the token".to_owned())
            },
        ),
        should(7, "token/unknown-member", "A member that nobody knows is refused: 400.", |s| async move {
            let alice = s.agent().await?;
            let body = json!({"name": "x", "expires": 60});
            alice.ask("POST", "me/tokens", &body).await?.refused(400, "550 5.6.0")
        }),
        should(7, "token/content-type", "A form of a web page makes no token: 415.", |s| async move {
            let alice = s.agent().await?;
            let call =
                alice.call("POST", "me/tokens").body(r#"{"name":"x"}"#).header("Content-Type", "text/plain");
            s.send(call).await?.refused(415, "550 5.5.1")
        }),
    ]
}
