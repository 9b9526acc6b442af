//! Reading a mailbox (docs/protocol.md §7).

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::agent::Agent;
use crate::site::Site;
use crate::suite::{Case, ensure, must, same, should};
use crate::wire::http::Call;

/// Fills the mailbox of a new agent; its nonces in order.
async fn filled(s: &std::sync::Arc<Site>, count: usize) -> Result<(Agent, Agent, Vec<Value>), String> {
    let (alice, bob) = (s.agent().await?, s.agent().await?);
    let mut nonces = Vec::new();
    for _ in 0..count {
        nonces.push(alice.send(&alice.message(&bob.address)).await?);
    }
    Ok((alice, bob, nonces))
}

fn nonces(page: &Value) -> Vec<Value> {
    let messages = page["messages"].as_array().cloned().unwrap_or_default();
    messages.into_iter().map(|message| message["nonce"].clone()).collect()
}

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        must(7, "messages/order", "A mailbox is read oldest first.", |s| async move {
            let (_, bob, sent) = filled(&s, 3).await?;
            same("nonces", nonces(&bob.page().await?), sent)
        }),
        must(7, "messages/reading-removes-nothing", "Reading removes nothing.", |s| async move {
            let (_, bob, _) = filled(&s, 2).await?;
            bob.counts(2).await?;
            bob.counts(2).await
        }),
        must(
            7,
            "messages/paging",
            "`limit` and `after_id` page through a mailbox without gap or double.",
            |s| async move {
                let (_, bob, sent) = filled(&s, 5).await?;
                let (mut found, mut after) = (Vec::new(), json!(0));
                for _ in 0..3 {
                    let page = bob.get(&format!("messages?limit=2&after_id={after}")).await?.json();
                    found.extend(nonces(&page));
                    after = page["last_id"].clone();
                }
                same("nonces", found, sent)
            },
        ),
        must(7, "messages/count", "`count` is the number of messages in a page.", |s| async move {
            let (_, bob, _) = filled(&s, 2).await?;
            same("count", bob.page().await?["count"].as_u64(), Some(2))
        }),
        should(
            7,
            "messages/more",
            "`more` says whether another page can be fetched at once.",
            |s| async move {
                let (_, bob, _) = filled(&s, 3).await?;
                same("first page", bob.get("messages?limit=2").await?.json()["more"].as_bool(), Some(true))?;
                same("whole", bob.get("messages?limit=3").await?.json()["more"].as_bool(), Some(false))
            },
        ),
        should(
            7,
            "messages/empty-last-id",
            "`last_id` of an empty page is the `after_id` asked for.",
            |s| async move {
                let bob = s.agent().await?;
                same("last_id", bob.get("messages?after_id=7").await?.json()["last_id"].as_u64(), Some(7))
            },
        ),
        should(7, "messages/latest", "`after_id=latest` is the end of the mailbox.", |s| async move {
            let (alice, bob, _) = filled(&s, 2).await?;
            let page = bob.get("messages?after_id=latest").await?.json();
            same("messages", nonces(&page), Vec::new())?;
            let next = alice.send(&alice.message(&bob.address)).await?;
            let page = bob.get(&format!("messages?after_id={}", page["last_id"])).await?.json();
            same("messages", nonces(&page), vec![next])
        }),
        should(
            7,
            "messages/received",
            "`received` has an entry for each message, with its `cursor` and `rcpt`.",
            |s| async move {
                let (_, bob, _) = filled(&s, 2).await?;
                let page = bob.page().await?;
                same("rcpt", page["received"][0]["rcpt"].as_str(), Some(bob.address.as_str()))?;
                same("cursor", &page["received"][1]["cursor"], &page["last_id"])
            },
        ),
        should(
            7,
            "messages/received-of-transfer",
            "`received` says from where and how securely a transfer came.",
            |s| async move {
                let bob = s.agent().await?;
                s.sender().reaches(&bob).await?;
                let received = bob.page().await?["received"][0].clone();
                same("from_ip", received["from_ip"].as_str(), Some("127.0.0.1"))?;
                same("atk", received["atk"].as_str(), Some("pass"))?;
                same("tls", received["tls"].as_str(), Some("TLSv1.3"))
            },
        ),
    ];
    for query in [
        "limit=0",
        "limit=x",
        "limit=-1",
        "limit=1.5",
        "after_id=x",
        "after_id=-1",
        "after_id=",
        "wait=x",
        "type=",
    ] {
        let id = format!("messages/parameter-{}", query.replace('=', "-is-").trim_end_matches("-is-"));
        let asks = format!("`?{query}` is refused: 400.");
        cases.push(should(7, &id, &asks, move |s| async move {
            s.agent().await?.get(&format!("messages?{query}")).await?.refused(400, "550 5.6.0")
        }));
    }
    cases.extend(waiting());
    cases.extend(single());
    cases.extend(filters());
    cases
}

fn waiting() -> Vec<Case> {
    vec![
        should(
            7,
            "messages/wait",
            "With `wait` the answer comes as soon as a message does.",
            |s| async move {
                let (alice, bob) = (s.agent().await?, s.agent().await?);
                let message = alice.message(&bob.address);
                let started = Instant::now();
                let sent = async {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    alice.send(&message).await
                };
                let (page, sent) = tokio::join!(bob.get("messages?wait=30"), sent);
                same("nonces", nonces(&page?.json()), vec![sent?])?;
                let took = started.elapsed();
                ensure(took < Duration::from_secs(15), || format!("it took {took:?}"))
            },
        ),
        should(
            7,
            "messages/wait-ends",
            "With `wait` the answer is empty when the time is up.",
            |s| async move {
                let bob = s.agent().await?;
                let started = Instant::now();
                let page = bob.get("messages?wait=1").await?.json();
                same("messages", nonces(&page), Vec::new())?;
                let took = started.elapsed();
                ensure(took >= Duration::from_millis(900), || format!("it took only {took:?}"))
            },
        ),
        should(
            7,
            "stream/events",
            "`GET me/stream` gives each message as an event, its cursor as `id`.",
            |s| async move {
                use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
                let (_, bob, sent) = filled(&s, 2).await?;
                let token = bob.token("stream", "receive").await?;
                let source = std::net::Ipv4Addr::LOCALHOST;
                let mut io =
                    crate::wire::http::connect(s.target.address, &s.target.host, source, &["http/1.1"])
                        .await?;
                let head = format!(
                    "GET {}me/stream HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n",
                    crate::wire::http::PREFIX,
                    s.target.host
                );
                io.write_all(head.as_bytes()).await.map_err(|e| e.to_string())?;
                let (mut text, mut bytes) = (String::new(), [0; 4096]);
                let read = async {
                    while text.matches("\ndata:").count() < 2 {
                        let count = io.read(&mut bytes).await.map_err(|e| e.to_string())?;
                        ensure(count > 0, || format!("the stream ended: {text}"))?;
                        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
                    }
                    Ok::<_, String>(())
                };
                tokio::time::timeout(Duration::from_secs(20), read)
                    .await
                    .map_err(|_| "no two events".to_owned())??;
                let last = bob.page().await?["last_id"].clone();
                let has = |part: &str| text.contains(part);
                let nonce = sent[0].as_str().unwrap_or_default();
                let good = has("text/event-stream")
                    && has("event: message")
                    && has(&format!("id: {last}"))
                    && has(nonce);
                ensure(good, || text.clone())
            },
        ),
    ]
}

fn single() -> Vec<Case> {
    vec![
        should(7, "message-of/cursor", "`GET me/messages/{cursor}` gives one message.", |s| async move {
            let (_, bob, sent) = filled(&s, 1).await?;
            let cursor = bob.page().await?["last_id"].clone();
            same(
                "nonce",
                &bob.get(&format!("me/messages/{cursor}")).await?.json()["message"]["nonce"],
                &sent[0],
            )
        }),
        should(
            7,
            "message-of/raw",
            "`GET me/messages/{cursor}/raw` gives a transfer's bytes as they came.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let body = format!(" {} ", sender.signed(sender.message(&bob.address)));
                s.post(body.clone()).await?.accepted()?;
                let cursor = bob.page().await?["last_id"].clone();
                let raw = bob.get(&format!("me/messages/{cursor}/raw")).await?;
                same("body", String::from_utf8_lossy(&raw.body).into_owned(), body)?;
                same("type", raw.header("content-type"), Some("application/atp+json"))
            },
        ),
        should(7, "message-of/none", "A cursor at which nothing is gives 404.", |s| async move {
            s.agent().await?.get("me/messages/999999999").await?.refused(404, "550 5.5.1")
        }),
        should(7, "message-of/others", "A cursor of another mailbox gives 404.", |s| async move {
            let (alice, bob, _) = filled(&s, 1).await?;
            let cursor = bob.page().await?["last_id"].clone();
            let path = format!("me/messages/{cursor}");
            let reply = alice.get(&path).await?;
            let is_own = reply.status == 200 && reply.json()["received"]["rcpt"] == json!(alice.address);
            ensure(reply.status == 404 || is_own, || reply.shown())
        }),
        should(7, "delete/one", "A message can be deleted, again and again.", |s| async move {
            let (_, bob, _) = filled(&s, 2).await?;
            let cursor = bob.page().await?["last_id"].clone();
            for status in ["deleted", "absent"] {
                let reply = s.send(bob.call("DELETE", &format!("me/messages/{cursor}"))).await?;
                same("status", &reply.json()["status"], &json!(status))?;
            }
            bob.counts(1).await
        }),
        should(7, "delete/through", "All messages up to a cursor can be deleted.", |s| async move {
            let (_, bob, _) = filled(&s, 3).await?;
            let cursor = bob.page().await?["received"][1]["cursor"].clone();
            let reply = s.send(bob.call("DELETE", &format!("me/messages?through={cursor}"))).await?;
            same("deleted", reply.json()["deleted"].as_u64(), Some(2))?;
            bob.counts(1).await
        }),
    ]
}

/// The query that picks a message out of others.
type Query = fn(&Value) -> String;

fn filters() -> Vec<Case> {
    let list: [(&str, &str, Query); 3] = [
        ("from", "`from` picks the messages of one sender.", |m| {
            format!("from={}", m["from"].as_str().unwrap_or_default())
        }),
        ("type", "`type` picks the messages of one type.", |m| {
            format!("type={}", m["type"].as_str().unwrap_or_default())
        }),
        ("context", "`context_id` picks the messages of one context.", |m| {
            format!("context_id={}", m["context_id"].as_str().unwrap_or_default())
        }),
    ];
    list.map(|(id, asks, query)| {
        should(7, &format!("filter/{id}"), asks, move |s| async move {
            let (_, bob, _) = filled(&s, 2).await?;
            let carol = s.agent().await?;
            let mut message = carol.message(&bob.address);
            message["type"] = json!("request");
            message["context_id"] = json!("context-1");
            let nonce = carol.send(&message).await?;
            let page = s
                .send(Call::get(&format!("messages?{}", query(&message))).basic(&bob.address, &bob.password))
                .await?;
            same("nonces", nonces(&page.json()), vec![nonce])
        })
    })
    .into()
}
