//! The reference's `ATPClient` against our server, and a way to submit what no client would write.

use std::path::Path;
use std::time::Duration;

use assert_cmd::Command;
use serde_json::{Value, json};

use crate::cli::surroundings;
use crate::process::{free_port, unix_seconds};
use crate::python::with_reference;
use crate::servers::{Node, PASSWORD, start_ours};

/// Runs `steps` through one client of `agent`; a result for each.
pub fn client(python: &Path, node: &Node, agent: &str, home: &Path, steps: &[Value]) -> Vec<Value> {
    let lines: Vec<String> = steps.iter().map(Value::to_string).collect();
    let output = Command::new(python)
        .args([concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/client.py"), agent, PASSWORD])
        .arg(node.server.address())
        .env_clear()
        .envs(surroundings(home))
        .write_stdin(lines.join("\n"))
        .timeout(Duration::from_secs(60))
        .ok()
        .unwrap_or_else(|e| panic!("client.py as {agent}: {e}"));
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    let results: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    assert_eq!(results.len(), steps.len(), "a result for each step");
    results
}

/// A message written half a minute ago, so that an attempt is stamped later than it.
pub fn message(nonce: &str, from: &str, to: &str, cc: &Value) -> Value {
    let written = unix_seconds() - 30;
    json!({"from": from, "to": to, "timestamp": written, "nonce": nonce, "type": "message",
           "payload": {"body": "hello"}, "cc": cc})
}

/// Hands `messages` to a server as they are, in the name of `from`; they must be accepted.
pub fn submit(python: &Path, node: &Node, from: &str, home: &Path, messages: &[Value]) {
    let post = |message: &Value| json!({"do": "post", "body": message.to_string()});
    let answers = client(python, node, from, home, &messages.iter().map(post).collect::<Vec<_>>());
    assert!(answers.iter().all(|answer| answer["http"] == 202), "{answers:?}");
}

/// The page that `agent` is given, as it is.
pub fn page(python: &Path, node: &Node, agent: &str, home: &Path) -> Value {
    client(python, node, agent, home, &[json!({"do": "page"})]).remove(0)
}

#[test]
fn sends_reads_once_and_waits() {
    let Some(python) = with_reference() else { return };
    let dir = tempfile::TempDir::new().expect("a temporary directory");
    let ours = start_ours(dir.path(), free_port(), &[]);
    let alice = ours.register("alice");
    let payload = json!({"subject": "Hello", "body": "from the library", "n": 1.5});

    let results = client(
        python,
        &ours,
        &alice,
        dir.path(),
        &[
            json!({"do": "recv"}),
            json!({"do": "send", "to": &alice, "payload": &payload}),
            json!({"do": "send", "to": &alice, "payload": {"second": true}}),
            json!({"do": "recv"}),
            json!({"do": "recv"}),
            json!({"do": "wait", "to": &alice, "payload": {"third": true}}),
            json!({"do": "recv"}),
            json!({"do": "send", "to": "nobody@ours.test", "payload": {}}),
        ],
    );
    let [empty, first, second, both, nothing_new, waited, still_nothing, refused] = &results[..] else {
        panic!("eight results, not {results:?}")
    };
    assert_eq!(empty, &json!([]));
    assert_eq!((&first["status"], &second["status"]), (&json!("accepted"), &json!("accepted")));
    assert_eq!(both.as_array().map(Vec::len), Some(2), "{both}");
    assert_eq!((&both[0]["nonce"], &both[1]["nonce"]), (&first["nonce"], &second["nonce"]), "in order");
    assert_eq!((&both[0]["payload"], &both[0]["from"]), (&payload, &json!(alice)));
    assert_eq!(nothing_new, &json!([]), "its cursor holds");
    assert_eq!(waited["early"], false, "the wait ended before anything was sent");
    assert_eq!(waited["received"][0]["nonce"], waited["sent"]["nonce"]);
    assert_eq!(still_nothing, &json!([]));
    assert_eq!((&refused["status"], &refused["error"]), (&json!("error"), &json!("HTTP 404")));
}
