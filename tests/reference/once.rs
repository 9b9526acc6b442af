//! One copy and no fewer at a peer that keeps nonces instead of identities, and that answers what it has
//! taken and what it has lost alike (`docs/protocol.md` §10, "Towards the reference").

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::python::with_reference;
use crate::servers::{ADMIN_TOKEN, Pair};
use crate::their_library::{message, submit};
use crate::wire::Lost;

#[test]
fn a_lost_answer_ends_in_one_copy_called_inferred() {
    let Some(python) = with_reference() else { return };
    let (pair, wire) = Pair::start_over_wire(python);
    let (alice, bob) = (pair.ours.register("alice"), pair.theirs.register("bob"));
    wire.lose_answer(1, Lost::Cut);

    let nonce = send(&pair, &alice, &bob);
    let ended = until_ended(&pair, &nonce);
    assert_eq!((wire.lost(), wire.messages()), (1, 2), "an answer was lost, and the message sent again");
    assert_eq!((&ended["state"], &ended["attempts"].to_string()[..]), (&json!("delivered (inferred)"), "2"));
    let ask = ["inspect", &nonce, "--admin-token", ADMIN_TOKEN];
    let shown = pair.ours.cli.ok(&pair.ours.at(&ask));
    assert!(shown.contains("delivered (inferred)"), "{shown}");
    assert_eq!(nonces(&pair, &bob), [nonce.as_str()], "one copy, under the author's nonce");
    assert_eq!(pair.ours.mailbox(&alice), Vec::<Value>::new(), "nothing bounced");

    let next = send(&pair, &alice, &bob);
    assert_eq!(until_ended(&pair, &next)["state"], "delivered", "an answer that arrives is believed");
}

#[test]
fn a_lost_answer_is_known_of_after_a_crash() {
    let Some(python) = with_reference() else { return };
    let (mut pair, wire) = Pair::start_over_wire(python);
    let (alice, bob) = (pair.ours.register("alice"), pair.theirs.register("bob"));
    wire.lose_answer(1, Lost::Silent);

    let nonce = send(&pair, &alice, &bob);
    pair.until("the reference answering into the void", || (wire.lost() == 1).then_some(()));
    pair.crash_and_restart_ours();
    let ended = until_ended(&pair, &nonce);
    assert_eq!(ended["state"], "delivered (inferred)", "{ended}");
    assert_eq!(nonces(&pair, &bob), [nonce.as_str()]);
}

/// The reference remembers a nonce before it stores the message; if storing then fails, only another nonce helps.
#[test]
fn a_nonce_remembered_without_its_message_is_replaced_once() {
    let Some(python) = with_reference() else { return };
    let pair = Pair::start(python);
    let (alice, bob) = (pair.ours.register("alice"), pair.theirs.register("bob"));
    let lock = Lock::hold(python, &pair.dir().join("reference/.atp/data/messages.db"));
    let nonce = send(&pair, &alice, &bob);
    let failed = |found: &Value| found["error"].as_str().is_some_and(|e| e.contains("Internal server error"));
    pair.until("its 500", || Some(recipient(&pair, &nonce)).filter(failed));
    drop(lock);

    let ended = until_ended(&pair, &nonce);
    assert_eq!((&ended["state"], &ended["attempts"].to_string()[..]), (&json!("delivered"), "2"), "{ended}");
    assert_is_second_nonce(&pair, &bob, &nonce);
}

#[test]
fn a_nonce_that_somebody_else_has_used_there_is_replaced() {
    let Some(python) = with_reference() else { return };
    let pair = Pair::start(python);
    let (alice, bob) = (pair.ours.register("alice"), pair.theirs.register("bob"));
    use_nonce_at_the_reference(python, &pair, &bob);

    submit(python, &pair.ours, &alice, pair.dir(), &[message(TAKEN, &alice, &bob, &json!([]))]);
    let ended = until_ended(&pair, TAKEN);
    assert_eq!((&ended["state"], &ended["attempts"].to_string()[..]), (&json!("delivered"), "2"), "{ended}");
    assert_is_second_nonce(&pair, &bob, TAKEN);
}

#[test]
fn a_lost_answer_to_the_second_nonce_ends_in_one_copy_too() {
    let Some(python) = with_reference() else { return };
    let (pair, wire) = Pair::start_over_wire(python);
    let (alice, bob) = (pair.ours.register("alice"), pair.theirs.register("bob"));
    use_nonce_at_the_reference(python, &pair, &bob);
    wire.lose_answer(2, Lost::Cut);

    submit(python, &pair.ours, &alice, pair.dir(), &[message(TAKEN, &alice, &bob, &json!([]))]);
    let ended = until_ended(&pair, TAKEN);
    assert_eq!((&ended["state"], &ended["attempts"].to_string()[..]), (&json!("delivered (inferred)"), "3"));
    assert_eq!((wire.lost(), wire.messages()), (1, 3));
    assert_is_second_nonce(&pair, &bob, TAKEN);
}

/// Somebody else writes to the reference's database: for 5 s it waits, then it answers 500. Let go when dropped.
pub struct Lock(Child);

impl Lock {
    /// Takes the lock.
    pub fn hold(python: &Path, database: &Path) -> Lock {
        const HOLD: &str = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); \
                            c.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read()";
        let mut command = Command::new(python);
        command.args(["-c", HOLD]).arg(database).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut lock = Lock(command.spawn().expect("a process that holds the lock"));
        let mut said = [0; b"held\n".len()];
        lock.0.stdout.as_mut().expect("its output").read_exact(&mut said).expect("the lock");
        lock
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const TAKEN: &str = "msg-taken";

/// An agent of the reference writes to itself under [`TAKEN`].
fn use_nonce_at_the_reference(python: &Path, pair: &Pair, agent: &str) {
    submit(python, &pair.theirs, agent, pair.dir(), &[message(TAKEN, agent, agent, &json!([]))]);
}

fn send(pair: &Pair, from: &str, to: &str) -> String {
    let payload = pair.dir().join("payload.json");
    fs::write(&payload, json!({"body": "once"}).to_string()).expect("a payload file");
    pair.ours.send(from, to, &payload)
}

/// What our server knows of the one recipient of a message.
fn recipient(pair: &Pair, nonce: &str) -> Value {
    let ask = ["inspect", nonce, "--admin-token", ADMIN_TOKEN, "--json"];
    pair.ours.cli.json(&pair.ours.at(&ask))["recipients"][0].clone()
}

fn until_ended(pair: &Pair, nonce: &str) -> Value {
    let open = |found: &Value| matches!(found["state"].as_str(), Some("queued" | "delivering"));
    pair.until("the end of a message", || Some(recipient(pair, nonce)).filter(|found| !open(found)))
}

fn nonces(pair: &Pair, agent: &str) -> Vec<String> {
    let mailbox = pair.theirs.mailbox(agent);
    mailbox.iter().map(|message| message["nonce"].as_str().expect("a nonce").to_owned()).collect()
}

/// Asserts that `agent` has exactly one message from our domain, under a second nonce made of `author_nonce`.
fn assert_is_second_nonce(pair: &Pair, agent: &str, author_nonce: &str) {
    let mut mailbox = pair.theirs.mailbox(agent);
    mailbox.retain(|message| message["from"] != agent);
    let [copy] = &mailbox[..] else { panic!("one copy, not {mailbox:?}") };
    assert!(copy["nonce"].as_str().is_some_and(|nonce| nonce.starts_with("d-")), "{copy}");
    assert_eq!(copy["routing"]["atp"]["nonce"], author_nonce, "{copy}");
}
