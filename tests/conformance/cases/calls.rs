//! What the server says of itself, paths, methods, and the form of refusals (docs/protocol.md §7, §9); webhooks (§13).

use serde_json::{Value, json};

use crate::suite::{Case, ensure, must, same, should};
use crate::wire::http::Call;

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        must(
            7,
            "capabilities/message",
            "`capabilities` lists `message`, and states `max_payload_size`.",
            |s| async move {
                let reply = s.send(Call::get("capabilities")).await?;
                reply.has_status(200)?;
                let said = reply.json();
                let lists =
                    said["capabilities"].as_array().is_some_and(|list| list.contains(&json!("message")));
                ensure(lists && said["max_payload_size"].is_u64(), || said.to_string())
            },
        ),
        must(
            7,
            "capabilities/full",
            "A server that takes part as described lists `rcpt` and `fields`, and states `max_message_age`.",
            |s| async move {
                let said = s.send(Call::get("capabilities")).await?.json();
                let list = said["capabilities"].as_array().cloned().unwrap_or_default();
                let lists = ["rcpt", "fields"].iter().all(|token| list.contains(&json!(token)));
                ensure(lists && said["max_message_age"].is_u64(), || said.to_string())
            },
        ),
        must(
            7,
            "capabilities/true",
            "`capabilities` lists nothing that is not yet settled.",
            |s| async move {
                let said = s.send(Call::get("capabilities")).await?.json();
                let list = said["capabilities"].as_array().cloned().unwrap_or_default();
                let premature = list.contains(&json!("batch")) || list.contains(&json!("consent"));
                ensure(!premature, || said.to_string())
            },
        ),
        must(
            7,
            "health/domain",
            "`health` says the domain, so that clients can complete a short name.",
            |s| async move {
                let said = s.send(Call::get("health")).await?.json();
                same("domain", said["domain"].as_str(), Some(s.domain()))?;
                same("status", said["status"].as_str(), Some("healthy"))
            },
        ),
        should(7, "ready/is", "`ready` says that messages are taken in.", |s| async move {
            let reply = s.send(Call::get("ready")).await?;
            same("status", reply.json()["status"].as_str(), Some("ready"))
        }),
        should(7, "openapi/is", "`openapi.json` describes the calls.", |s| async move {
            let said = s.send(Call::get("openapi.json")).await?.json();
            ensure(said["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), || {
                format!("openapi: {}", said["openapi"])
            })
        }),
        must(7, "operator/closed", "The operator's calls are closed to others.", |s| async move {
            for path in ["stats", "inspect?nonce=x", "agents"] {
                let reply = s.send(Call::get(path)).await?;
                ensure(matches!(reply.status, 401 | 403 | 404), || format!("{path}: {}", reply.shown()))?;
            }
            Ok(())
        }),
        must(7, "operator/agents-password", "An agent's password does not open them.", |s| async move {
            let alice = s.agent().await?;
            for path in ["stats", "inspect?nonce=x", "agents"] {
                let reply = alice.get(path).await?;
                ensure(matches!(reply.status, 401 | 403 | 404), || format!("{path}: {}", reply.shown()))?;
            }
            Ok(())
        }),
        should(
            7,
            "operator/admin-elsewhere",
            "What is below `admin/` is not served in public.",
            |s| async move { s.send(Call::get("admin/queue")).await?.refused(404, "550 5.5.1") },
        ),
    ];
    cases.extend(refusals());
    cases.extend(sent());
    cases.extend(webhooks());
    cases
}

fn refusals() -> Vec<Case> {
    vec![
        should(9, "answers/path", "A path that is none gives 404.", |s| async move {
            s.send(Call::get("nowhere")).await?.refused(404, "550 5.5.1")?;
            s.send(Call::get("/")).await?.refused(404, "550 5.5.1")
        }),
        should(9, "answers/method", "A method that is none gives 405 with `Allow`.", |s| async move {
            let reply = s.send(Call::get("message")).await?;
            reply.refused(405, "550 5.5.1")?;
            same("Allow", reply.header("allow"), Some("POST"))
        }),
        must(
            9,
            "answers/form",
            "A refusal is an object with `error`, one sentence, and `error_code`.",
            |s| async move {
                let reply = s.post("{").await?;
                reply.refused(400, "550 5.6.0")?;
                let text = reply.json()["error"].as_str().unwrap_or_default().to_owned();
                ensure(!text.is_empty() && text.len() < 500, || text.clone())
            },
        ),
        must(9, "answers/content-type", "Answers are JSON and say so.", |s| async move {
            for reply in [s.post("{").await?, s.send(Call::get("capabilities")).await?] {
                let kind = reply.header("content-type").unwrap_or_default().to_owned();
                ensure(kind.starts_with("application/json"), || format!("Content-Type: {kind}"))?;
            }
            Ok(())
        }),
        should(
            9,
            "answers/without-internals",
            "A refusal tells a stranger nothing of the server's insides.",
            |s| async move {
                for body in ["{", "[]", r#"{"from":1}"#, "\u{0}"] {
                    let text = s.post(body).await?.shown();
                    let inner = ["panicked", "Traceback", ".rs:", ".py", "line 1 column", "src/"];
                    ensure(!inner.iter().any(|part| text.contains(part)), || text.clone())?;
                }
                Ok(())
            },
        ),
        must(
            7,
            "answers/202-form",
            "The answer to a transfer has `status`, the posted `nonce` and the server's `timestamp`.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let message = sender.message(&bob.address);
                let reply = sender.transfer(message.clone()).await?;
                reply.accepted()?;
                same("nonce", &reply.json()["nonce"], &message["nonce"])?;
                let is_near = reply.json()["timestamp"]
                    .as_i64()
                    .is_some_and(|at| (at - crate::suite::now()).abs() < 60);
                ensure(is_near, || reply.shown())
            },
        ),
    ]
}

fn sent() -> Vec<Case> {
    vec![
        should(
            7,
            "sent/delivered",
            "`GET me/sent/{nonce}` says that a message was delivered.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.peer().await?);
                let nonce = alice.send(&alice.message(&peer.agent("bob"))).await?;
                let path = format!("me/sent/{}", nonce.as_str().unwrap_or_default());
                let found = crate::suite::until("its delivery", || async {
                    let sent = alice.get(&path).await?.json();
                    Ok(Some(sent).filter(|sent| sent["status"] == "delivered"))
                })
                .await?;
                same("address", &found["recipients"][0]["address"], &json!(peer.agent("bob")))?;
                same("tls", &found["recipients"][0]["tls"], &json!("domain"))
            },
        ),
        should(7, "sent/unknown", "A nonce under which the agent sent nothing gives 404.", |s| async move {
            let (alice, bob) = (s.agent().await?, s.agent().await?);
            let nonce = alice.send(&alice.message(&bob.address)).await?;
            bob.get(&format!("me/sent/{}", nonce.as_str().unwrap_or_default()))
                .await?
                .refused(404, "550 5.5.1")
        }),
        should(
            7,
            "sent/wait",
            "With `wait` and `seen` the answer comes when there is news.",
            |s| async move {
                let (alice, bob) = (s.agent().await?, s.agent().await?);
                let nonce = alice.send(&alice.message(&bob.address)).await?;
                let path = format!("me/sent/{}", nonce.as_str().unwrap_or_default());
                let version = alice.get(&path).await?.json()["version"].clone();
                let version = version.as_str().ok_or("no version")?.to_owned();
                let same_again = alice.get(&format!("{path}?wait=1&seen={version}")).await?.json();
                same("version", same_again["version"].as_str(), Some(version.as_str()))?;
                let other = alice.get(&format!("{path}?wait=20&seen=0000")).await?.json();
                same("version", other["version"].as_str(), Some(version.as_str()))
            },
        ),
    ]
}

fn webhooks() -> Vec<Case> {
    let refused: [(&str, &str, Value); 4] = [
        ("http", "A webhook without TLS is refused.", json!("http://hooks.example.com/in")),
        ("user", "A webhook with a user name is refused.", json!("https://me@hooks.example.com/in")),
        ("fragment", "A webhook with a fragment is refused.", json!("https://hooks.example.com/in#x")),
        ("spelling", "A webhook with an address in another spelling is refused.", json!("https://0x7f.1/in")),
    ];
    let mut cases: Vec<Case> =
        refused
            .map(|(id, asks, url)| {
                should(13, &format!("webhook/{id}"), asks, move |s| {
                    let body = json!({"url": url});
                    async move {
                        s.agent().await?.ask("PUT", "me/webhook", &body).await?.refused(400, "550 5.6.0")
                    }
                })
            })
            .into();
    cases.extend([
        should(
            13,
            "webhook/private-address",
            "A webhook at an address that is not of the public internet is refused: 403.",
            |s| async move {
                let body = json!({"url": "https://10.0.0.1/in"});
                s.agent().await?.ask("PUT", "me/webhook", &body).await?.refused(403, "550 5.7.1")
            },
        ),
        should(13, "webhook/none", "Without a webhook there is none to be shown: 404.", |s| async move {
            s.agent().await?.get("me/webhook").await?.refused(404, "550 5.5.1")
        }),
        should(13, "webhook/token", "A token sets no webhook: 403.", |s| async move {
            let alice = s.agent().await?;
            let token = alice.token("hooks", "both").await?;
            let call = Call::json("PUT", "me/webhook", &json!({"url": "https://hooks.example.com/in"}));
            s.send(call.bearer(&token)).await?.refused(403, "550 5.7.1")
        }),
        should(
            13,
            "webhook/secret-once",
            "Its secret is shown when it is set, and not again.",
            |s| async move {
                let alice = s.agent().await?;
                let set =
                    alice.ask("PUT", "me/webhook", &json!({"url": "https://hooks.example.test/in"})).await?;
                set.has_status(200)?;
                let secret = set.json()["secret"].as_str().unwrap_or_default().to_owned();
                ensure(secret.starts_with("whsec_"), || set.shown())?;
                let shown = alice.get("me/webhook").await?;
                ensure(shown.status == 200 && !shown.shown().contains(&secret), || shown.shown())
            },
        ),
    ]);
    cases
}
