//! Webhooks as their receivers meet them: the real server pushes over real TLS to receivers in Python (HTTP/1.1) and
//! JavaScript (HTTP/2), which verify with the published libraries of the Standard Webhooks specification.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::Value;

use crate::environment::Environment;
use crate::node::{self, node_and_npm};
use crate::place::{PASSWORD, Place, Said, finish_within, nonces, text};
use crate::server::Server;
use crate::waiting::until;

const MODE: &str = "ATP_TEST_WEBHOOKS";
const ALONE: &str = "cargo test --test process webhooks";
const PYTHON: Environment = Environment {
    name: "webhooks-env",
    requirements: include_str!("webhooks/requirements.txt"),
    probe: "import standardwebhooks",
    mode: MODE,
    subject: "webhook receivers",
    alone: ALONE,
};
const PACKAGE: &str = include_str!("webhooks/package.json");
const PACKAGE_LOCK: &str = include_str!("webhooks/package-lock.json");
/// Downloading three small packages.
const INSTALL_LIMIT: Duration = Duration::from_secs(120);

/// A program that receives; killed when dropped.
struct Receiver {
    child: Child,
    port: u16,
    secret: PathBuf,
    results: PathBuf,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Receiver {
    /// Starts it and waits until it listens.
    fn start(place: &Place, mut command: Command) -> Receiver {
        let (secret, results) = (place.file("secret", ""), place.file("results", ""));
        let paths = [place.file("chain.pem", ""), place.file("key.pem", "")];
        let (authority, chain, key) = certificates();
        place.file("ca.pem", &authority);
        for (path, pem) in paths.iter().zip([chain, key]) {
            fs::write(path, pem).expect("a file");
        }
        command.args(&paths).args([&secret, &results]).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a receiver");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its output");
        BufReader::new(stdout).read_line(&mut line).expect("its port");
        let port = line.trim().parse().expect("a number");
        Receiver { child, port, secret: secret.into(), results: results.into() }
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}/in?to=me", self.port)
    }

    /// From now on it verifies with this secret.
    fn knows(&self, secret: &Value) {
        fs::write(&self.secret, secret.as_str().expect("a secret")).expect("a file");
    }

    /// What has come of pushes so far.
    fn results(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.results).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for push number `count` and shows it.
    fn push(&self, count: usize) -> Value {
        until("a push", || self.results().get(count - 1).cloned())
    }
}

/// An authority, and a certificate of its for 127.0.0.1 with its key, all PEM.
fn certificates() -> (String, String, String) {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&authority_key).expect("an authority");
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
    let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
    (authority.pem(), leaf.pem(), key.serialize_pem())
}

/// A server that may push to this machine, with the agents `me` and `you`.
fn start(place: &Place) -> Server {
    let config = "domains = [\"a.test\"]\n[server]\nport = 0\n[tls]\nextra_roots = \"ca.pem\"\n\
                  [webhooks]\nallow_networks = [\"127.0.0.0/8\"]\n";
    let config = place.file("atp.toml", config);
    Server::start(place.command(&["server", "start", "--config", &config]), place.log())
}

fn webhook(place: &Place, server: &Server, words: &[&str]) -> Said {
    let whose = ["--agent-id", "me", "-P", PASSWORD, "--server", &server.name(), "--no-verify"];
    place.run(&[&["webhook"], words, &whose].concat())
}

fn webhook_json(place: &Place, server: &Server, words: &[&str]) -> Value {
    let said = webhook(place, server, &[words, &["--json"]].concat());
    assert_eq!(said.code, 0, "{words:?}: {said:#?}");
    serde_json::from_str(&said.stdout).expect("JSON")
}

/// All that a receiver and its agent see, whatever the receiver's language.
fn verified_by(place: &Place, receiver: &Receiver, http: &str) {
    let server = start(place);
    ["me", "you"].iter().for_each(|name| place.register(&server, name));
    let set = webhook_json(place, &server, &["set", &receiver.url()]);
    receiver.knows(&set["secret"]);

    // A trial.
    assert_eq!(webhook_json(place, &server, &["test"])["status"], 204);
    let trial = receiver.push(1);
    assert_eq!(
        (&trial["verified"], &trial["event"]["type"]),
        (&true.into(), &"webhook.test".into()),
        "{trial}"
    );
    assert_eq!((&trial["http"], &trial["path"]), (&http.into(), &"/in?to=me".into()), "{trial}");

    // A message.
    let body = "12 °C 💬 \u{7f} \\ \" </script> \u{2028}";
    let nonce = place.send(&server, "you", "me", body);
    let push = receiver.push(2);
    assert_eq!(push["verified"], true, "{push}");
    let message = &push["event"]["data"]["message"];
    assert_eq!(
        (&message["nonce"], &message["payload"]["body"]),
        (&nonce.clone().into(), &body.into()),
        "{push}"
    );
    assert_eq!(push["event"]["type"], "message.received");

    // A rotation: both secrets hold.
    let rotated = webhook_json(place, &server, &["rotate"]);
    place.send(&server, "you", "me", "signed with both");
    let both = receiver.push(3);
    assert_eq!((&both["verified"], &both["signatures"]), (&true.into(), &2.into()), "the old secret: {both}");
    receiver.knows(&rotated["secret"]);
    place.send(&server, "you", "me", "signed with both");
    assert_eq!(receiver.push(4)["verified"], true, "the new secret");

    // A receiver that does not accept is tried again, over a kill of the server too, under the same id.
    receiver.knows(&"whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into());
    place.send(&server, "you", "me", "refused at first");
    let refused = receiver.push(5);
    assert_eq!(refused["verified"], false);
    let is_noted = || webhook_json(place, &server, &["show"])["failing_since"].is_u64();
    until("the failure to be noted", || is_noted().then_some(()));
    receiver.knows(&rotated["secret"]);
    server.kill();
    let server = start(place);
    let again = receiver.push(6);
    assert_eq!((&again["verified"], &again["id"]), (&true.into(), &refused["id"]), "{again}");
    let waiting = || webhook_json(place, &server, &["show"])["waiting"] == 0;
    until("the end of the push to be noted", || waiting().then_some(()));

    // Whatever was pushed can be read as well.
    assert_eq!(nonces(&place.mailbox(&server, "me")).len(), 4);
    assert_eq!(webhook(place, &server, &["remove"]).code, 0);
    let gone = webhook(place, &server, &["show"]);
    assert_eq!((gone.code, gone.stderr.contains("no webhook")), (1, true), "{gone:#?}");
    server.stop();
}

#[test]
fn the_published_library_for_python_verifies_pushes() {
    let Some(python) = PYTHON.interpreter() else { return };
    let place = Place::new();
    let mut command = place.program(python);
    command.arg(script("receiver.py"));
    let receiver = Receiver::start(&place, command);
    verified_by(&place, &receiver, "HTTP/1.1");
}

#[test]
fn the_published_library_for_javascript_verifies_pushes() {
    let Some((node, library)) = node() else { return };
    let place = Place::new();
    // Node looks for libraries beside the script.
    let script_here = library.join("receiver.mjs");
    fs::copy(script("receiver.mjs"), &script_here).expect("a copy");
    let mut command = place.program(node);
    command.arg(script_here);
    let receiver = Receiver::start(&place, command);
    verified_by(&place, &receiver, "HTTP/2.0");
}

#[test]
fn a_server_that_was_not_told_otherwise_connects_to_no_private_address() {
    let place = Place::new();
    let server = place.server("a.test", &[]);
    place.register(&server, "me");
    let refused = webhook(&place, &server, &["set", "https://127.0.0.1:8443/"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
    assert!(refused.stderr.contains("does not connect to that address"), "{refused:#?}");
    // A name is judged when it is dialled; this one is loopback.
    assert_eq!(webhook(&place, &server, &["set", "https://hook.localhost:8443/"]).code, 0);
    let failed = webhook(&place, &server, &["test"]);
    assert_eq!(failed.code, 1);
    assert!(failed.stderr.contains("cannot be reached"), "{failed:#?}");
    assert!(server.log().contains("must not be dialled"), "the operator is told");
    server.stop();
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process/webhooks").join(name)
}

/// Node, and the directory in which the library for it is. `None`: there is neither, and the developer has been told
/// so.
fn node() -> Option<(PathBuf, PathBuf)> {
    let (node, npm) = node_and_npm()?;
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("webhooks-node");
    fs::create_dir_all(&library).expect("a directory");
    let lock = fs::File::create(library.join("lock")).expect("a lock file");
    lock.lock().expect("a lock");
    let stamp = library.join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == PACKAGE_LOCK) {
        return Some((node, library));
    }
    fs::write(library.join("package.json"), PACKAGE).expect("a file");
    fs::write(library.join("package-lock.json"), PACKAGE_LOCK).expect("a file");
    let mut command = Command::new(npm);
    command.args(["ci", "--silent", "--ignore-scripts", "--no-audit", "--prefix", &text(&library)]);
    let said = finish_within(command, INSTALL_LIMIT);
    if said.code != 0 {
        assert!(std::env::var(node::MODE).is_err(), "the library for JavaScript is required here: {said:#?}");
        eprintln!("SKIPPED: NOTHING WAS TESTED WITH WEBHOOK RECEIVERS IN JAVASCRIPT: {}", said.stderr);
        return None;
    }
    fs::write(stamp, PACKAGE_LOCK).expect("a file");
    Some((node, library))
}
