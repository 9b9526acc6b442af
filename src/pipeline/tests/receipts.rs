//! Receipts between daemons: each outcome, every way to forge one, and none to a peer that does not want it.

use std::task::Poll;

use super::pair::{LIKE_US, Net, Town, source};
use super::*;
use crate::proto::receipt::{Receipt, ReceiptOutcome};
use crate::proto::status::Reason;
use crate::spool::entry::receipts::HeardRecord;

const SECOND: Duration = Duration::from_secs(1);
const WANTS_BOTH: [&str; 2] = ["delivered", "acked"];

async fn two() -> (Arc<Net>, Town, Town) {
    let net = Arc::new(Net::default());
    let a = Town::new(&net, "a.example", &["ann", "amy"]).await;
    let b = Town::new(&net, "b.example", &["bob", "ben"]).await;
    (net, a, b)
}

/// What was heard of each recipient. Empty: nothing was asked for, or it is forgotten.
async fn heard(town: &Town, from: &str, nonce: &str) -> Vec<(u16, HeardRecord)> {
    let heard = town.pipeline.store.heard(address(from), Nonce::parse(nonce).unwrap()).await.unwrap();
    heard.map(|heard| heard.recipients.into_iter().collect()).unwrap_or_default()
}

async fn outcomes(town: &Town, from: &str, nonce: &str) -> Vec<(u16, ReceiptOutcome)> {
    heard(town, from, nonce).await.into_iter().map(|(place, heard)| (place, heard.outcome)).collect()
}

/// An agent acknowledges a message in its mailbox.
async fn acknowledge(town: &Town, agent: &str, nonce: &str, outcome: ReceiptOutcome, payload: Value) {
    let message = town.mailbox(agent).await.into_iter().find(|message| message.nonce().as_str() == nonce);
    let message = crate::proto::routing::read(&message.unwrap()).unwrap().author;
    let here = message.from().domain() == &town.domain;
    let receipt = town.pipeline.receipt(&message, here, &address(agent), outcome, Some(payload));
    if let Some(receipt) = receipt {
        let row = town.store.put_receipt(receipt).await.unwrap();
        town.pipeline.hand_over(row);
    }
}

async fn open_rows(town: &Town) -> u64 {
    town.store.counts().await.unwrap().open_rows
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_asked_hears_of_the_delivery_at_the_other_domain() {
    let (net, a, b) = two().await;
    a.submit("ann@a.example", "bob@b.example", "n1", json!({ "receipt": ["delivered"] })).await;
    sleep(SECOND).await;
    let found = heard(&a, "ann@a.example", "n1").await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].1.outcome, found[0].1.at.seconds()), (ReceiptOutcome::Delivered, NOON.seconds()));
    assert!(a.mailbox("ann@a.example").await.is_empty(), "a receipt is for the server, not mail");
    assert_eq!((open_rows(&a).await, open_rows(&b).await), (0, 0));
    let told = net.transfers("a.example");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].from().to_string(), "postmaster@b.example");
    assert_eq!((told[0].kind(), told[0].to().to_string()), ("event", "ann@a.example".into()));
    assert!(told[0].signature().is_some() && told[0].nonce().as_str().starts_with("rcpt-"));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_who_did_not_ask() {
    let (net, a, b) = two().await;
    a.submit("ann@a.example", "bob@b.example", "n1", json!({})).await;
    a.submit("ann@a.example", "bob@b.example", "n2", json!({ "receipt": ["acked"] })).await;
    sleep(SECOND).await;
    assert_eq!(b.mailbox("bob@b.example").await.len(), 2);
    acknowledge(&b, "bob@b.example", "n1", ReceiptOutcome::Completed, json!({})).await;
    sleep(SECOND).await;
    assert!(net.transfers("a.example").is_empty(), "neither wanted to hear of that");
    acknowledge(&b, "bob@b.example", "n2", ReceiptOutcome::Completed, json!({})).await;
    sleep(SECOND).await;
    assert_eq!(outcomes(&a, "ann@a.example", "n2").await, [(0, ReceiptOutcome::Completed)]);
}

#[tokio::test(start_paused = true)]
async fn each_outcome_reaches_the_sender_and_they_only_go_forward() {
    use ReceiptOutcome::{Accepted, Completed, Delivered, Failed, Rejected};
    let (_net, a, b) = two().await;
    for (nonce, said, last) in [
        ("n0", vec![], Delivered),
        ("n1", vec![Accepted], Accepted),
        ("n2", vec![Accepted, Completed], Completed),
        ("n3", vec![Failed], Failed),
        ("n4", vec![Rejected], Rejected),
        ("n5", vec![Completed, Accepted], Completed),
        ("n6", vec![Failed, Completed], Failed),
        ("n7", vec![Accepted, Delivered], Accepted),
        ("n8", vec![Completed, Completed], Completed),
    ] {
        a.submit("ann@a.example", "bob@b.example", nonce, json!({ "receipt": WANTS_BOTH })).await;
        sleep(SECOND).await;
        for (number, outcome) in said.into_iter().enumerate() {
            acknowledge(&b, "bob@b.example", nonce, outcome, json!({ "number": number })).await;
            sleep(SECOND).await;
        }
        let found = heard(&a, "ann@a.example", nonce).await;
        assert_eq!(found[0].1.outcome, last, "{nonce}");
        let payload = found[0].1.payload.as_deref();
        let first = Some(r#"{"number":0}"#);
        match nonce {
            "n0" => assert_eq!(payload, None),
            "n2" => assert_eq!(payload, Some(r#"{"number":1}"#)),
            _ => assert_eq!(payload, first, "{nonce}: what came too late changes nothing"),
        }
    }
    assert_eq!(open_rows(&b).await, 0);
}

/// A receipt that `town` signs, with whatever is `changed` in it, about n1 of ann to bob.
fn forged(town: &Town, change: impl FnOnce(&mut Value)) -> bytes::Bytes {
    let receipt = Receipt {
        original_nonce: Nonce::parse("n1").unwrap(),
        recipient: address("bob@b.example"),
        outcome: ReceiptOutcome::Completed,
        at: NOON.seconds(),
        payload: None,
    };
    let mut message = Value::Object(receipt.message(&address("ann@a.example"), NOON.seconds()));
    change(&mut message);
    town.signed(message)
}

#[tokio::test(start_paused = true)]
async fn a_forged_receipt_is_refused_or_is_mail_or_changes_nothing() {
    let (net, a, b) = two().await;
    let evil = Town::new(&net, "evil.example", &["eve"]).await;
    net.up("b.example", false);
    a.submit("ann@a.example", "bob@b.example", "n1", json!({ "receipt": ["acked"] })).await;
    let (from_evil, from_b) = (source("evil.example"), source("b.example"));

    // Who has no say about bob is refused.
    let by_evil = |message: &mut Value| message["from"] = json!("postmaster@evil.example");
    let refused = async |bytes, from| a.takes(bytes, from).await.unwrap_err().reason;
    assert_eq!(refused(forged(&evil, by_evil), from_evil).await, Reason::Forbidden, "another domain");
    let subdomain =
        |message: &mut Value| message["payload"]["receipt"]["recipient"] = json!("bob@x.b.example");
    assert_eq!(refused(forged(&b, subdomain), from_b).await, Reason::Forbidden, "a name below its own");
    assert_eq!(refused(forged(&evil, |_| {}), from_evil).await, Reason::AtsDenied, "in the name of b");
    assert_eq!(refused(forged(&evil, |_| {}), from_b).await, Reason::BadSignature, "signed by another");
    let unsigned = |message: &mut Value| message["payload"]["receipt"]["at"] = json!(1);
    let mut altered: Value = serde_json::from_slice(&forged(&b, |_| {})).unwrap();
    unsigned(&mut altered);
    assert_eq!(refused(altered.to_string().into(), from_b).await, Reason::BadSignature, "altered");
    let broken = |message: &mut Value| message["payload"]["receipt"]["outcome"] = json!("read");
    assert_eq!(refused(forged(&b, broken), from_b).await, Reason::Malformed, "no outcome");

    // What is no control message is mail, and nothing else.
    type Change = fn(&mut Value);
    let mails: [(&str, &Town, Change); 5] = [
        ("an agent", &evil, |message| message["from"] = json!("eve@evil.example")),
        ("an agent of the right domain", &b, |message| message["from"] = json!("ben@b.example")),
        ("the recipient", &b, |message| message["from"] = json!("bob@b.example")),
        ("another nonce", &b, |message| message["nonce"] = json!("msg-1")),
        ("another type", &b, |message| message["type"] = json!("message")),
    ];
    for (case, town, change) in mails {
        let before = a.mailbox("ann@a.example").await.len();
        let taken = a.takes(forged(town, change), source(town.domain.as_str())).await;
        assert_eq!(taken.unwrap(), Accepted::Now, "{case}");
        assert_eq!(a.mailbox("ann@a.example").await.len(), before + 1, "{case}");
    }

    // What b has a say about, but nobody asked, changes nothing.
    let ignored: [(&str, Change); 5] = [
        ("no recipient", |message| message["payload"]["receipt"]["recipient"] = json!("ben@b.example")),
        ("unknown message", |message| message["payload"]["receipt"]["original_nonce"] = json!("n9")),
        ("another agent's", |message| message["to"] = json!("amy@a.example")),
        ("nobody", |message| message["to"] = json!("gone@a.example")),
        ("not asked for", |message| message["payload"]["receipt"]["outcome"] = json!("delivered")),
    ];
    let mail = a.mailbox("ann@a.example").await.len();
    for (case, change) in ignored {
        assert_eq!(a.takes(forged(&b, change), from_b).await.unwrap(), Accepted::Before, "{case}");
    }
    assert!(heard(&a, "ann@a.example", "n1").await.is_empty());

    // The true one, twice.
    for accepted in [Accepted::Now, Accepted::Before] {
        assert_eq!(a.takes(forged(&b, |_| {}), from_b).await.unwrap(), accepted);
    }
    assert_eq!(outcomes(&a, "ann@a.example", "n1").await, [(0, ReceiptOutcome::Completed)]);
    assert_eq!(a.mailbox("ann@a.example").await.len(), mail);
    assert!(a.mailbox("amy@a.example").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_own_agent_cannot_submit_a_receipt() {
    let (_net, a, b) = two().await;
    a.submit("ann@a.example", "amy@a.example", "n1", json!({ "receipt": ["acked"] })).await;
    b.submit("bob@b.example", "amy@a.example", "n1", json!({ "receipt": ["acked"] })).await;
    sleep(SECOND).await;
    let about = |recipient: &str| {
        json!({ "type": "event", "payload": { "receipt": {
            "original_nonce": "n1", "recipient": recipient, "outcome": "completed", "at": 1,
        } } })
    };
    a.submit("amy@a.example", "ann@a.example", "rcpt-1", about("amy@a.example")).await;
    a.submit("amy@a.example", "bob@b.example", "rcpt-2", about("amy@a.example")).await;
    sleep(SECOND).await;
    for (town, agent) in [(&a, "ann@a.example"), (&b, "bob@b.example")] {
        assert!(heard(town, agent, "n1").await.is_empty(), "{agent}");
        assert_eq!(town.mailbox(agent).await.len(), 1, "{agent}: it is mail");
    }
    let as_postmaster = json!({
        "from": "postmaster@a.example", "to": "ann@a.example", "timestamp": NOON.seconds(), "nonce": "rcpt-3",
        "type": "event", "payload": about("amy@a.example")["payload"],
    });
    let message = Message::parse(as_postmaster.to_string().as_bytes()).unwrap();
    let refused =
        a.pipeline.submit(a.pipeline.settings.now(), message, &address("amy@a.example")).await.unwrap_err();
    assert_eq!(refused.reason, Reason::Forbidden);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_lists_no_receipts_gets_none() {
    for capabilities in [
        r#"{"capabilities":["message"],"max_payload_size":1048576}"#,
        r#"{"capabilities":["message","rcpt","fields"],"max_message_age":259200}"#,
    ] {
        let (net, a, b) = two().await;
        net.speaks("a.example", capabilities);
        a.submit("ann@a.example", "bob@b.example", "n1", json!({ "receipt": WANTS_BOTH })).await;
        sleep(SECOND).await;
        acknowledge(&b, "bob@b.example", "n1", ReceiptOutcome::Completed, json!({})).await;
        sleep(HOUR).await;
        assert!(net.transfers("a.example").is_empty(), "{capabilities}");
        assert_eq!(open_rows(&b).await, 0, "{capabilities}: it waits for nothing");
        assert!(b.mailbox("postmaster@b.example").await.is_empty(), "{capabilities}: nobody is told");
        assert_eq!(b.mailbox("bob@b.example").await.len(), 1);
    }
}

/// A peer that drops fields it does not know puts the wish into `routing.atp.fields`.
#[tokio::test(start_paused = true)]
async fn a_wish_is_read_wherever_it_travelled() {
    let (_net, a, b) = two().await;
    a.submit(
        "ann@a.example",
        "ben@b.example",
        "n1",
        json!({ "receipt": ["delivered"], "cc": ["bob@b.example"] }),
    )
    .await;
    let moved = json!({
        "from": "ann@a.example", "to": "bob@b.example", "cc": ["ben@b.example"], "timestamp": NOON.seconds(),
        "nonce": "c-0", "type": "message", "payload": { "subject": "hi" }, "routing": { "atp": {
            "to": "ben@b.example", "cc": ["bob@b.example"], "nonce": "n1", "fields": { "receipt": ["delivered"] },
        } },
    });
    b.takes(a.signed(moved), source("a.example")).await.unwrap();
    sleep(SECOND).await;
    let wanted = [(0, ReceiptOutcome::Delivered), (1, ReceiptOutcome::Delivered)];
    assert_eq!(outcomes(&a, "ann@a.example", "n1").await, wanted);
    assert_eq!(b.mailbox("bob@b.example").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_automaton_gets_no_receipts() {
    let (net, a, b) = two().await;
    for local in ["postmaster", "mailer-daemon"] {
        let message = json!({
            "from": format!("{local}@a.example"), "to": "bob@b.example", "timestamp": NOON.seconds(),
            "nonce": "n1", "type": "message", "payload": {}, "receipt": WANTS_BOTH,
        });
        assert_eq!(b.takes(a.signed(message), source("a.example")).await.unwrap(), Accepted::Now);
    }
    sleep(SECOND).await;
    assert!(net.transfers("a.example").is_empty());
    assert_eq!((b.mailbox("bob@b.example").await.len(), open_rows(&b).await), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_receipt_waits_for_a_server_that_is_down_for_a_day() {
    let (net, a, b) = two().await;
    let message = json!({
        "from": "ann@a.example", "to": "bob@b.example", "timestamp": NOON.seconds(), "nonce": "n1",
        "type": "message", "payload": { "subject": "hi" }, "receipt": ["delivered"],
    });
    net.up("b.example", false);
    a.submit("ann@a.example", "bob@b.example", "n1", json!({ "receipt": ["delivered"] })).await;
    net.up("a.example", false);
    // It arrives, and the sender's server is gone before it can be told.
    b.takes(a.signed(message), source("a.example")).await.unwrap();
    sleep(HOUR * 24).await;
    assert!(heard(&a, "ann@a.example", "n1").await.is_empty());
    assert_eq!(open_rows(&b).await, 1);
    net.up("a.example", true);
    sleep(HOUR).await;
    assert_eq!(outcomes(&a, "ann@a.example", "n1").await, [(0, ReceiptOutcome::Delivered)]);
    assert_eq!(open_rows(&b).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_receipt_that_never_gets_there_ends_without_a_word() {
    let (net, a, b) = two().await;
    a.submit("ann@a.example", "bob@b.example", "n1", json!({ "receipt": ["delivered"] })).await;
    net.up("a.example", false);
    sleep(HOUR * 60).await;
    while let Some(after) = b.pipeline.tell_late(None).await.unwrap() {
        b.pipeline.tell_late(Some(after)).await.unwrap();
    }
    assert_eq!(b.mailbox("bob@b.example").await.len(), 1);
    assert_eq!(open_rows(&b).await, 0);
    assert!(b.mailbox("postmaster@b.example").await.is_empty());
    assert_eq!(b.pipeline.counters.bounced.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_receipt_for_what_is_forgotten_is_taken_and_dropped() {
    let (net, a, b) = two().await;
    net.up("a.example", false);
    let message = json!({
        "from": "ann@a.example", "to": "bob@b.example", "timestamp": NOON.seconds(), "nonce": "n1",
        "type": "message", "payload": {}, "receipt": ["delivered"],
    });
    b.takes(a.signed(message), source("a.example")).await.unwrap();
    net.up("a.example", true);
    sleep(HOUR).await;
    assert_eq!(net.transfers("a.example").len(), 1, "it was sent once, and taken");
    assert_eq!(open_rows(&b).await, 0);
    assert!(a.mailbox("ann@a.example").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn each_recipient_is_heard_of_by_itself() {
    let (net, a, b) = two().await;
    let c = Town::new(&net, "c.example", &["cat"]).await;
    let cc = ["ben@b.example", "amy@a.example", "cat@c.example", "nobody@b.example"];
    let more = json!({ "receipt": WANTS_BOTH, "cc": cc });
    a.submit("ann@a.example", "bob@b.example", "n1", more).await;
    sleep(SECOND).await;
    acknowledge(&b, "ben@b.example", "n1", ReceiptOutcome::Rejected, json!({})).await;
    acknowledge(&a, "amy@a.example", "n1", ReceiptOutcome::Accepted, json!({})).await;
    acknowledge(&c, "cat@c.example", "n1", ReceiptOutcome::Completed, json!({})).await;
    sleep(SECOND).await;
    use ReceiptOutcome::{Accepted, Completed, Delivered, Rejected};
    let wanted = [(0, Delivered), (1, Rejected), (2, Accepted), (3, Completed)];
    assert_eq!(outcomes(&a, "ann@a.example", "n1").await, wanted);
    assert_eq!(a.mailbox("ann@a.example").await.len(), 1, "the bounce for nobody@b.example");
}

#[tokio::test(start_paused = true)]
async fn an_own_recipient_is_heard_of_without_a_message() {
    let (net, a, _b) = two().await;
    a.submit("ann@a.example", "amy@a.example", "n1", json!({ "receipt": WANTS_BOTH })).await;
    assert_eq!(outcomes(&a, "ann@a.example", "n1").await, [(0, ReceiptOutcome::Delivered)]);
    let mut watch =
        a.pipeline.store.arrivals().watch_sent(&address("ann@a.example"), &Nonce::parse("n1").unwrap());
    acknowledge(&a, "amy@a.example", "n1", ReceiptOutcome::Completed, json!({ "x": 1 })).await;
    watch.changed().await;
    assert_eq!(outcomes(&a, "ann@a.example", "n1").await, [(0, ReceiptOutcome::Completed)]);
    assert!(net.transfers("a.example").is_empty() && a.mailbox("ann@a.example").await.is_empty());
    assert_eq!(open_rows(&a).await, 0);
}

/// The power goes at every step of the recipient's server: the message and its receipt are there, or neither.
#[tokio::test(start_paused = true)]
async fn delivery_and_receipt_are_one_write() {
    for step in 0..1000 {
        let net = Arc::new(Net::default());
        let a = Town::new(&net, "a.example", &["ann"]).await;
        let b = Town::new(&net, "b.example", &["bob"]).await;
        b.disk.fail_after(step);
        a.submit("ann@a.example", "bob@b.example", "n1", json!({ "receipt": ["delivered"] })).await;
        sleep(SECOND).await;
        let failed = b.disk.has_failed();
        let b = b.after_power_cut(a.pipeline.env.clock.now());
        let in_mailbox = b.mailbox("bob@b.example").await.len() as u64;
        let told = outcomes(&a, "ann@a.example", "n1").await.len() as u64;
        let waits = open_rows(&b).await;
        assert!(waits <= in_mailbox && told <= in_mailbox, "step {step}: told of what is not there");
        assert!(told + waits >= in_mailbox, "step {step}: nobody will be told of what is there");
        b.run();
        sleep(HOUR).await;
        assert_eq!(b.mailbox("bob@b.example").await.len(), 1, "step {step}");
        assert_eq!(
            outcomes(&a, "ann@a.example", "n1").await,
            [(0, ReceiptOutcome::Delivered)],
            "step {step}"
        );
        assert_eq!((open_rows(&a).await, open_rows(&b).await), (0, 0), "step {step}");
        if !failed {
            assert!(step > 3, "{step} steps");
            return;
        }
    }
    panic!("more steps than there are");
}

#[test]
fn the_profile_in_these_tests_is_ours() {
    let listed: Value = serde_json::from_str(LIKE_US).unwrap();
    assert!(listed["capabilities"].as_array().unwrap().contains(&json!("receipt")));
}

#[tokio::test(start_paused = true)]
async fn the_receipt_for_a_transfer_whose_peer_hung_up_is_sent() {
    let (net, a, b) = two().await;
    net.up("b.example", false);
    for polls in 1..30 {
        let nonce = format!("n{polls}");
        let wish = json!({ "receipt": ["delivered"] });
        a.submit("ann@a.example", "bob@b.example", &nonce, wish).await;
        let transfer = a.signed(json!({
            "from": "ann@a.example", "to": "bob@b.example", "timestamp": a.pipeline.env.clock.now().seconds(),
            "nonce": nonce, "type": "message", "payload": { "subject": "hi" }, "receipt": ["delivered"],
        }));
        let mut taking = Box::pin(b.takes(transfer.clone(), source("a.example")));
        for _ in 0..polls {
            let polled =
                std::future::poll_fn(|context| Poll::Ready(taking.as_mut().poll(context).is_ready()));
            if polled.await {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(taking);
        // The peer comes again, for it has heard nothing.
        sleep(SECOND).await;
        b.takes(transfer, source("a.example")).await.unwrap();
        sleep(SECOND).await;
        assert_eq!(open_rows(&b).await, 0, "{nonce}: its receipt waits");
        assert_eq!(outcomes(&a, "ann@a.example", &nonce).await, [(0, ReceiptOutcome::Delivered)], "{nonce}");
    }
}
