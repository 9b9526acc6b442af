//! Twenty thousand damaged messages: none is a fault of ours, none takes long, none that is refused leaves a
//! trace, and what is accepted is delivered as it was signed.
//!
//! `ATP_TEST_SEED=<number>` tries others than the usual ones.

#[path = "mutations/mutate.rs"]
mod mutate;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use atp::proto::address::Address;
use atp::proto::canonical;
use atp::proto::message::Message;
use atp::proto::routing;
use atp::spool::keys;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::foreign::Foreign;
use crate::support::https::{Call, Client, Reply};
use crate::support::node::{Node, PASSWORD, records};
use crate::support::zone::Zone;
use crate::support::{message, with};
use mutate::mutate;

/// Damaged messages of each of the two kinds.
const CASES: usize = 10_000;
/// Requests under way on the one connection.
const AT_ONCE: usize = 16;
/// Longest an answer may take.
const MAX_TIME: Duration = Duration::from_secs(1);

const ALICE: &str = "alice@ours.example";
const BOB: &str = "bob@ours.example";

/// A message before and after the damage, and how it is posted.
struct Case {
    original: Value,
    mutant: Vec<u8>,
    call: Call,
}

/// A case and its answer.
struct Outcome {
    case: Case,
    reply: Reply,
}

impl Outcome {
    /// Damage can make two messages into one, the second of which is only known already.
    fn is_accepted(&self) -> bool {
        self.reply.said() == (202, "accepted".to_owned())
    }
}

fn seed() -> u64 {
    let seed = std::env::var("ATP_TEST_SEED").map_or(20_260_101, |text| text.parse().expect("a number"));
    println!("ATP_TEST_SEED={seed}");
    seed
}

/// The damaged form of the `number`th message; the same for the same seed.
fn damaged(seed: u64, number: usize, original: &Value) -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(seed.wrapping_mul(CASES as u64).wrapping_add(number as u64));
    mutate(&mut rng, original)
}

/// Messages of several kinds, by turns.
fn original(from: &str, number: usize) -> Value {
    let extra = match number % 4 {
        0 => json!({}),
        1 => {
            json!({ "cc": ["carol@theirs.example", "Dave@theirs.example"], "task_id": "t-1", "receipt": ["acked"] })
        }
        2 => json!({ "payload": { "n": [1, 2.5, 1e-7, { "💬": null, "é": [true, "x"] }] }, "x-new": 7 }),
        _ => json!({ "in_reply_to": "msg-0", "routing": { "hops": ["a", "b"] } }),
    };
    // Nonces so far apart that damage does not turn one into another.
    let nonce = format!("case-{:016x}", (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    with(with(message(from, BOB), json!({ "nonce": nonce })), extra)
}

/// Posts every case and checks what holds for all answers.
async fn post_all(client: Client, make: impl Fn(usize) -> Case + Send + Sync + 'static) -> Vec<Outcome> {
    let (make, next) = (Arc::new(make), Arc::new(AtomicUsize::new(0)));
    let mut workers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (client, make, next) = (client.clone(), make.clone(), next.clone());
        workers.spawn(async move {
            let mut outcomes = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= CASES {
                    return outcomes;
                }
                outcomes.push(post(&client, make(number)).await);
            }
        });
    }
    workers.join_all().await.into_iter().flatten().collect()
}

async fn post(client: &Client, case: Case) -> Outcome {
    let begun = Instant::now();
    let reply = client.send(case.call.clone()).await;
    let first = begun.elapsed();
    let shown = || String::from_utf8_lossy(&case.mutant).into_owned();
    if first > MAX_TIME {
        // The machine may have stood still: what is slow by itself is slow again.
        let begun = Instant::now();
        client.send(case.call.clone()).await;
        assert!(begun.elapsed() < MAX_TIME, "{first:?}, then {:?}: {}", begun.elapsed(), shown());
    }
    let (status, said) = reply.said();
    if status != 202 {
        assert!((400..500).contains(&status), "{status}: {}", shown());
        reply.refuses(&shown(), status, &said);
    }
    Outcome { case, reply }
}

/// What a message says, its signature aside. The spelling of addresses does not count, and neither does an empty
/// `cc` or a null `routing`, which mean the same as none (`docs/protocol.md` §3, §4).
fn content(message: &Value) -> String {
    let mut message = message.as_object().unwrap().clone();
    lower_case(&mut message);
    message.retain(|field, value| match field.as_str() {
        "cc" => *value != json!([]),
        "routing" => !value.is_null(),
        _ => true,
    });
    String::from_utf8(canonical::rfc8785(&message).unwrap()).unwrap()
}

fn lower_case(message: &mut Map<String, Value>) {
    let lower = |value: &mut Value| {
        if let Value::String(text) = value {
            text.make_ascii_lowercase();
        }
    };
    message.get_mut("from").map(lower);
    message.get_mut("to").map(lower);
    message.get_mut("cc").and_then(Value::as_array_mut).into_iter().flatten().for_each(lower);
}

fn by_nonce(messages: Vec<Value>) -> HashMap<String, Value> {
    messages.into_iter().map(|message| (message["nonce"].as_str().unwrap().to_owned(), message)).collect()
}

fn report(kind: &str, outcomes: &[Outcome]) {
    let mut counts = std::collections::BTreeMap::<_, usize>::new();
    for outcome in outcomes {
        *counts.entry(outcome.reply.said()).or_default() += 1;
    }
    println!("{kind}: {counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_transfers() {
    let seed = seed();
    let mut zone = Zone::new();
    let peer = Foreign::published("peer.example", &mut zone);
    let home = Node::start(&zone).await.stop().await;
    let before = records(&home).await;

    let node = Node::at(home, &zone, "").await;
    let outcomes = post_all(node.client(), move |number| {
        let original = peer.sign(original(&peer.agent("eve"), number));
        let mutant = damaged(seed, number, &original);
        Case { call: Call::post("message", mutant.clone()), mutant, original }
    })
    .await;
    report("transfers", &outcomes);
    let accepted: Vec<_> = outcomes.iter().filter(|outcome| outcome.is_accepted()).collect();
    assert!(outcomes.len() == CASES && !accepted.is_empty());

    // What was accepted is, to the letter, what was signed.
    let mut mailbox = by_nonce(node.mailbox("bob").await.0);
    assert_eq!(mailbox.len(), accepted.len());
    for Outcome { case, .. } in &accepted {
        let signed = Message::parse(case.original.to_string().as_bytes()).unwrap();
        let author = Value::Object(routing::read(&signed).unwrap().author.into_object());
        let delivered = mailbox.remove(author["nonce"].as_str().unwrap());
        let delivered = delivered.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&case.mutant)));
        assert_eq!(content(&delivered), content(&author));
    }

    // An entry and an identity for each of them, how much the mailbox holds, and not one record for all the others.
    let mut want = before;
    want.insert(keys::COUNTS[0], 1);
    for kind in [keys::MAIL, keys::RECEIVED] {
        *want.entry(kind[0]).or_default() += accepted.len();
    }
    assert_eq!(records(&node.stop().await).await, want);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_submissions() {
    let seed = seed();
    let node = Node::start(&Zone::new()).await;
    let outcomes = post_all(node.client(), move |number| {
        let original = original(ALICE, number);
        let mutant = damaged(seed, number, &original);
        Case { call: Call::post("message", mutant.clone()).basic("alice", PASSWORD), mutant, original }
    })
    .await;
    report("submissions", &outcomes);
    let accepted: Vec<_> = outcomes.iter().filter(|outcome| outcome.is_accepted()).collect();
    assert!(outcomes.len() == CASES && !accepted.is_empty());

    // Bob has exactly what was accepted for him, in the form it was submitted.
    let bob = Address::parse(BOB).unwrap();
    let mut mailbox = by_nonce(node.mailbox("bob").await.0);
    for Outcome { case, .. } in &accepted {
        let submitted = Message::parse(&case.mutant).unwrap();
        if submitted.to() != &bob && !submitted.cc().contains(&bob) {
            continue;
        }
        let delivered = mailbox.remove(submitted.nonce().as_str());
        let delivered = delivered.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&case.mutant)));
        assert_eq!(content(&delivered), content(&Value::Object(submitted.into_object())));
    }
    assert_eq!(mailbox.len(), 0, "{:?}", mailbox.keys());

    // One submission is remembered for each of them, and nothing was received.
    let records = records(&node.stop().await).await;
    assert_eq!(records.get(&keys::SENT[0]), Some(&accepted.len()));
    assert_eq!(records.get(&keys::RECEIVED[0]), None);
}
