//! The quick start of the published documentation, word for word: two servers, no DNS, no other flags.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::place::{PROGRAM, Place, finish};
use crate::server::Server;
use crate::waiting::until;

const TERMINAL_1: &str = "atp server start --domain alice.local --port 7443";
const TERMINAL_2: &str = "atp server start --domain bob.local --port 7444";
const REGISTER: [&str; 2] = [
    "atp agent register agent --server 127.0.0.1:7443 --no-verify -p alice_pass",
    "atp agent register agent --server 127.0.0.1:7444 --no-verify -p bob_pass",
];
const SEND: &str = r#"atp send agent@bob.local \
    --from agent \
    --password alice_pass \
    --server 127.0.0.1:7443 \
    --no-verify \
    --body "Hello Bob!""#;
const RECEIVE: &str = r"atp recv \
    --agent-id agent \
    --password bob_pass \
    --server 127.0.0.1:7444 \
    --no-verify";

const LOG_IN: [&str; 2] = [
    "atp login --as alice --agent-id agent --server 127.0.0.1:7443 --no-verify --password alice_pass",
    "atp login --as bob --agent-id agent --server 127.0.0.1:7444 --no-verify --password bob_pass",
];
const SEND_AND_WAIT: &str = r#"atp send agent@bob.local --as alice --body "Hi!" --wait"#;
const ASK: &str = r#"atp ask agent@bob.local --as alice --body "6 x 7?""#;
const REPLY: &str = "atp reply NONCE --as bob --body 42";
const CLAIM: &str = "atp claim --as bob";
const ACK: &str = "atp ack CLAIM --as bob";

#[test]
fn two_servers_exchange_a_message_with_nothing_else_said() {
    let place = Place::new();
    let ports = Ports::choose();
    put_files_of_the_python_implementation(&place.state());
    let alice = Server::start(ports.typed(&place, &format!("exec {TERMINAL_1}")), place.log());
    let bob = Server::start(ports.typed(&place, &format!("exec {TERMINAL_2}")), place.log());
    for command in REGISTER {
        run(ports.typed(&place, command));
    }

    let sent: Value = serde_json::from_str(&run(ports.typed(&place, SEND))).expect("JSON");
    assert_eq!(sent["status"], "accepted", "{sent}");
    let messages = until("Bob's message", || {
        let messages: Vec<Value> = serde_json::from_str(&run(ports.typed(&place, RECEIVE))).expect("a list");
        (!messages.is_empty()).then_some(messages)
    });
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert_eq!(messages[0]["from"], "agent@alice.local");
    assert_eq!(messages[0]["payload"]["body"], "Hello Bob!");
    assert_eq!(messages[0]["nonce"], sent["nonce"]);

    live_with_the_mailbox(&ports, &place);
    assert_everything_is_private(&place.state());
    for server in [&alice, &bob] {
        let notices = server.log().lines().filter(|line| line.contains("config.toml, keys")).count();
        assert_eq!(notices, 1, "one line about files that are not ours:\n{}", server.log());
    }
    alice.stop();
    bob.stop();
    assert_files_of_the_python_implementation_are_untouched(&place.state());
}

/// What the README shows beside it.
fn live_with_the_mailbox(ports: &Ports, place: &Place) {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = fs::read_to_string(readme).expect("the README");
    for line in [LOG_IN[0], LOG_IN[1], SEND_AND_WAIT, ASK, REPLY, CLAIM, ACK] {
        assert!(readme.contains(line), "the README does not show {line}");
    }
    let json = |line: &str| -> Value {
        serde_json::from_str(&run(ports.typed(place, line))).expect("JSON unless to a terminal")
    };
    for line in LOG_IN {
        run(ports.typed(place, line));
    }
    assert_eq!(json(SEND_AND_WAIT)["status"], "delivered");
    for _ in ["Hello Bob!", "Hi!"] {
        let id = json(CLAIM)[0]["id"].as_str().expect("a claim").to_owned();
        run(ports.typed(place, &ACK.replace("CLAIM", &id)));
    }
    let response = std::thread::scope(|scope| {
        let asking = ports.typed(place, ASK);
        let asked = scope.spawn(|| run(asking));
        let request = until("Alice's request", || {
            json("atp recv --as bob --type request")[0]["nonce"].as_str().map(str::to_owned)
        });
        run(ports.typed(place, &REPLY.replace("NONCE", &request)));
        asked.join().expect("an answer")
    });
    let response: Value = serde_json::from_str(&response).expect("JSON");
    assert_eq!((&response["payload"]["body"], &response["type"]), (&"42".into(), &"response".into()));
}

/// In a home where there was nothing, everything is private, the directory itself included.
#[test]
fn a_new_home_is_private() {
    let place = Place::new();
    place.server("alice.local", &[]).stop();
    let mode = fs::metadata(place.state()).expect("a state directory").permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
    assert_everything_is_private(&place.state());
}

/// The documentation's two ports where they are free, two others where they are not.
struct Ports([u16; 2]);

impl Ports {
    fn choose() -> Ports {
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        if bind(7443).is_ok() && bind(7444).is_ok() {
            return Ports([7443, 7444]);
        }
        let free = [bind(0), bind(0)].map(|listener| listener.expect("a free port"));
        Ports(free.map(|listener| listener.local_addr().expect("its address").port()))
    }

    /// A shell that is given the text of the documentation.
    fn typed(&self, place: &Place, text: &str) -> Command {
        let Ports([alice, bob]) = self;
        let text = text.replace("7443", &alice.to_string()).replace("7444", &bob.to_string());
        let mut shell = place.program("sh");
        let programs = Path::new(PROGRAM).parent().expect("a directory").to_owned();
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(programs).chain(std::env::split_paths(&inherited));
        shell.args(["-c", &text]).env("PATH", std::env::join_paths(path).expect("a PATH"));
        shell
    }
}

fn run(command: Command) -> String {
    let said = finish(command);
    assert_eq!(said.code, 0, "{said:#?}");
    said.stdout
}

const THEIR_FILES: [(&str, &str); 2] =
    [("config.toml", "agent_id = \"agent@alice.local\"\n"), ("keys/default.key", "a key\n")];

fn put_files_of_the_python_implementation(state: &Path) {
    fs::create_dir_all(state.join("keys")).expect("their directory");
    for (name, content) in THEIR_FILES {
        fs::write(state.join(name), content).expect("their file");
        fs::set_permissions(state.join(name), fs::Permissions::from_mode(0o644)).expect("their mode");
    }
}

fn assert_files_of_the_python_implementation_are_untouched(state: &Path) {
    for (name, content) in THEIR_FILES {
        assert_eq!(fs::read_to_string(state.join(name)).expect("their file"), content, "{name}");
        let mode = fs::metadata(state.join(name)).expect("their file").permissions().mode() & 0o777;
        assert_eq!(mode, 0o644, "{name}");
    }
}

/// Files 0600, directories 0700, sockets 0600; what is not ours does not count.
fn assert_everything_is_private(state: &Path) {
    let mut seen = 0;
    let mut waiting = ["domains", "node", "local"].map(|name| state.join(name)).to_vec();
    while let Some(path) = waiting.pop() {
        let metadata = fs::symlink_metadata(&path).expect("metadata");
        let wanted = if metadata.is_dir() { 0o700 } else { 0o600 };
        let mode = metadata.permissions().mode() & 0o777;
        assert_eq!(mode, wanted, "mode {mode:03o} of {}", path.display());
        seen += 1;
        if metadata.is_dir() {
            waiting.extend(
                fs::read_dir(&path).expect("a directory").map(|entry| entry.expect("an entry").path()),
            );
        }
    }
    assert!(seen > 10, "only {seen} files");
}
