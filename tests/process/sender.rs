//! What an agent does to learn what became of its message.

use serde_json::{Value, json};

use crate::place::{PASSWORD, Place};
use crate::waiting::until;

#[test]
fn an_agent_looks_up_its_own_messages() {
    let place = Place::new();
    let alice = place.server("alice.local", &[]);
    let bob = place.server("bob.local", &[]);
    place.register(&alice, "one");
    place.register(&alice, "two");
    place.register(&bob, "agent");
    let nonce = place.send(&alice, "one", "agent@bob.local", "hello");
    let server = alice.name();
    let as_agent = |agent: &'static str, more: &[&'static str]| {
        let words = ["inspect", &nonce, "--agent-id", agent, "--server", &server, "--no-verify"];
        place.run(&[words.as_slice(), more].concat())
    };
    let told = until("the message's delivery", || {
        let said = as_agent("one", &["-P", PASSWORD, "--json"]);
        let told: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"));
        (told["status"] == "delivered").then_some(told)
    });
    let recipient = &told["recipients"][0];
    assert_eq!(
        (&recipient["address"], &recipient["state"]),
        (&json!("agent@bob.local"), &json!("delivered"))
    );
    assert_eq!((&recipient["attempts"], &recipient["error"]), (&json!(1), &Value::Null), "{told}");

    let text = as_agent("one@alice.local", &["-P", PASSWORD]).stdout;
    let line = "Recipient:   agent@bob.local  delivered, attempts: 1, ";
    assert!(text.lines().any(|have| have.starts_with(line)), "{text}");

    let others = as_agent("two", &["-P", PASSWORD]);
    assert_eq!(others.code, 1, "{others:?}");
    assert!(others.stderr.contains("two@alice.local has sent no message"), "{others:?}");
    let wrong = as_agent("one", &["-P", "wrong"]);
    assert_eq!(wrong.code, 1, "{wrong:?}");

    // The operator asks about any message, also where an agent is named beside.
    let token = place.admin_token("alice.local");
    let to = ["--server", &server, "--no-verify", "--admin-token", &token, "--json"];
    let both = ["inspect", &nonce, "--agent-id", "two", "-P", PASSWORD];
    assert_eq!(place.json(&[both.as_slice(), &to].concat())["status"], "delivered");
    let nobody = place.run(&["inspect", &nonce, "--server", &server, "--no-verify"]);
    assert_eq!((nobody.code, nobody.stderr.contains("--agent-id")), (2, true), "{nobody:?}");
}
