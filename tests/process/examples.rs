//! The programs in `docs/examples` do what they say, each with each, across two domains.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::node::node_and_npm;
use crate::place::{PASSWORD, Place, finish_within};
use crate::server::Server;
use crate::waiting::until;

/// How long asking may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// What runs an example, and how its name ends.
type Language = (PathBuf, &'static str);

/// Killed when dropped.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The languages that this machine has. What is missing is told.
fn languages() -> Vec<Language> {
    let mut languages = vec![(PathBuf::from("python3"), "py")];
    languages.extend(node_and_npm().map(|(node, _)| (node, "mjs")));
    let has_curl = Command::new("curl").arg("--version").output().is_ok_and(|output| output.status.success());
    if has_curl {
        languages.push(("bash".into(), "sh"));
    } else {
        eprintln!("SKIPPED: NOTHING WAS TESTED WITH CURL, which this machine does not have");
    }
    languages
}

/// An example as the agent of that domain runs it.
fn example(
    place: &Place,
    server: &Server,
    domain: &str,
    (program, ending): &Language,
    name: &str,
) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/examples/{name}.{ending}"));
    let mut command = place.program(program);
    command.arg(script).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("ATP_SERVER", format!("https://localhost:{}", server.address().port()));
    command.env("ATP_AGENT", format!("agent@{domain}")).env("ATP_TOKEN", PASSWORD);
    command.env("ATP_CA", place.state().join(format!("domains/{domain}/tls/cert.pem")));
    command
}

#[test]
fn whoever_asks_is_answered_in_every_language() {
    let place = Place::new();
    let (alice, bob) = (place.server("alice.test", &[]), place.server("bob.test", &[]));
    place.register(&alice, "agent");
    place.register(&bob, "agent");
    let languages = languages();
    for works in &languages {
        let log = place.log();
        let mut command = example(&place, &bob, "bob.test", works, "worker");
        // What it says of its end would outlive it: its calls are programs of their own.
        command.stdout(fs::File::create(&log).expect("a log")).stderr(Stdio::null()).stdin(Stdio::null());
        let _worker = Worker(command.spawn().expect("a worker"));
        for asks in &languages {
            let mut command = example(&place, &alice, "alice.test", asks, "ask");
            command.args(["agent@bob.test", "What is the answer?"]);
            let said = finish_within(command, PATIENCE);
            let case = format!("asked in {}, worked in {}", asks.1, works.1);
            assert_eq!(
                (said.code, said.stdout.trim()),
                (0, "You asked: What is the answer?"),
                "{case}: {said:#?}"
            );
        }
        until("the worker to have acknowledged all", || {
            let done = fs::read_to_string(&log).unwrap_or_default().lines().count();
            (done == languages.len()).then_some(())
        });
    }
    let mut command = example(&place, &alice, "alice.test", &languages[0], "ask");
    command.args(["nobody@bob.test", "Anybody there?"]);
    let said = finish_within(command, PATIENCE);
    assert!(said.code == 1 && said.stdout.contains("could not be delivered"), "{said:#?}");
    alice.stop();
    bob.stop();
}
