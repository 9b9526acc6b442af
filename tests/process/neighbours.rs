//! What commands do on a machine on which a server runs, for those who say neither which nor where its state is.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::place::{PASSWORD, PROGRAM, Place, Said, finish, text};
use crate::server::Server;
use crate::waiting::until;

/// A user and group whom nothing here belongs to.
const NOBODY: u32 = 65_534;

/// A server as a service manager starts it, with a directory for its socket.
struct Service {
    place: Place,
    runtime: PathBuf,
    server: Server,
}

impl Service {
    fn start(domain: &str, more: &[&str]) -> Service {
        let place = Place::new();
        let runtime = place.home().join("run");
        std::fs::create_dir(&runtime).expect("a directory");
        let mut command = place.server_command(domain, more);
        command.env("RUNTIME_DIRECTORY", &runtime);
        let server = Server::start(command, place.log());
        Service { place, runtime, server }
    }

    /// A command of somebody who has a home of their own, and may use the socket.
    fn member(&self, user: &Place, words: &[&str]) -> Said {
        let mut command = user.command(words);
        command.env("RUNTIME_DIRECTORY", &self.runtime);
        finish(command)
    }
}

#[test]
fn members_of_the_group_reach_every_call_without_saying_where() {
    let service = Service::start("alice.local", &[]);
    let user = Place::new();
    let run = |words: &[&str]| service.member(&user, words);
    for name in ["one", "two"] {
        let said = run(&["agent", "register", name, "-p", PASSWORD]);
        assert_eq!(said.stdout, format!("Agent registered: {name}@alice.local\n"), "{said:?}");
    }
    let nonce = service.place.send(&service.server, "one", "two", "hello");
    for (words, wanted) in [
        (&["agent", "list"][..], "one@alice.local\ntwo@alice.local\n"),
        (&["agent", "limits", "one@alice.local"], "Mailbox:            one@alice.local\n"),
        (&["agent", "password", "one@alice.local", "--reset", "--new-password", "x"], "Password reset: one@"),
        (&["agent", "remove", "one@alice.local"], "Agent removed: one@alice.local\n"),
        (&["recv", "--agent-id", "postmaster@alice.local"], "[]\n"),
        (&["webhook", "list"], "No agent has set a webhook.\n"),
        (&["queue", "list"], "Nothing matches.\n"),
        (&["queue", "show", &nonce], &format!("Message {nonce} from one@alice.local\n")),
        (&["inspect", &nonce], &format!("Nonce:       {nonce}\n")),
        (&["certificate", "show"], "Shown: "),
        (&["status"], ""),
    ] {
        let said = run(words);
        assert!(said.code == 0 && said.stdout.starts_with(wanted), "{words:?}: {said:?}");
    }
    // The server has been asked, and has none.
    let said = run(&["webhook", "remove", "--of", "two@alice.local"]);
    assert!(said.code == 1 && said.stderr.contains("the server refused: "), "{said:?}");
    let said = run(&["inspect", "msg-000000000000"]);
    assert!(said.code == 1 && said.stderr.contains("message msg-000000000000 not found"), "{said:?}");
    // It once was logged as somebody at 0.0.0.0.
    let log = service.server.log();
    assert!(log.contains("peer=\"control socket (uid ") && !log.contains("0.0.0.0"), "{log}");
}

#[test]
fn what_became_of_a_message_is_told_on_the_server_s_machine_without_a_token() {
    let place = Place::new();
    let said = place.run(&["inspect", "msg-1"]);
    assert!(said.code == 2 && said.stderr.contains("who asks? give --agent-id"), "{said:?}");
    let alice = place.server("alice.local", &[]);
    place.register(&alice, "agent");
    let nonce = place.send(&alice, "agent", "agent", "hello");
    assert_eq!(place.json(&["inspect", &nonce, "--json"])["status"], "delivered");
    let said = place.run(&["inspect", &nonce, "--server", &alice.name(), "--no-verify"]);
    assert!(said.code == 2 && said.stderr.contains("--admin-token"), "{said:?}");
}

/// They once made a key in the caller's home, with which no server would ever sign.
#[test]
fn no_first_key_is_made_beside_a_server_that_has_the_domain_elsewhere() {
    let service = Service::start("alice.local", &["--domain", "beta.local"]);
    let user = Place::new();
    let pem = text(&service.place.state().join("domains/alice.local/keys/default.pem"));
    for domain in ["alice.local", "beta.local"] {
        for words in
            [&["keys", "generate"][..], &["keys", "import", &pem], &["dns", "generate", "--ip", "192.0.2.1"]]
        {
            let said = service.member(&user, &[words, &["--domain", domain]].concat());
            assert_eq!((said.code, said.stdout.as_str()), (1, ""), "{words:?}: {said:?}");
            let wanted =
                format!("atp: {domain} is served on this machine with another state directory than ");
            assert!(said.stderr.starts_with(&wanted), "{words:?}: {said:?}");
            assert!(said.stderr.contains("; give the --state-dir of the server at "), "{said:?}");
            assert!(!user.state().join("domains").exists(), "{words:?} left something behind");
        }
    }
    // Where the server itself has its state, and for domains that it does not have, all is as ever.
    let state = text(&service.place.state());
    let own = ["keys", "generate", "--domain", "beta.local", "--selector", "next", "--state-dir", &state];
    assert_eq!(service.member(&user, &own).code, 0);
    assert_eq!(service.member(&user, &["keys", "generate", "--domain", "gamma.local"]).code, 0);
    service.server.stop();
}

/// A user of this machine who may look into nothing of ours. `None`: these tests cannot become one.
fn stranger(runtime: &Path, words: &[&str]) -> Option<Said> {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| {
        use std::os::unix::fs::MetadataExt as _;
        own.uid() == 0
    });
    let mut command = Command::new(PROGRAM);
    command.env_clear().current_dir("/").env("HOME", "/nonexistent");
    if is_root {
        command.uid(NOBODY).gid(NOBODY);
    }
    let tried = command.arg("--version").output();
    if !is_root || !tried.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no other user can run the program here");
        return None;
    }
    let mut command = Command::new(PROGRAM);
    command.env_clear().current_dir("/").env("HOME", "/nonexistent").env("RUNTIME_DIRECTORY", runtime);
    command.uid(NOBODY).gid(NOBODY).args(words);
    Some(finish(command))
}

/// It once was said that no server had run with the caller's own state directory.
#[test]
fn who_may_not_look_is_told_so_and_not_that_the_place_is_wrong() {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt as _;
    let runtime = tempfile::tempdir().expect("a directory");
    set_permissions(runtime.path(), Permissions::from_mode(0o700)).expect("a mode");
    for words in [
        &["queue", "list"][..],
        &["agent", "remove", "bot@alice.local"],
        &["recv", "--agent-id", "postmaster@alice.local"],
    ] {
        let Some(said) = stranger(runtime.path(), words) else { return };
        let wanted = "is not yours to look into; use sudo, or become a member of the group atp";
        assert!(said.code == 1 && said.stderr.contains(wanted), "{words:?}: {said:?}");
    }
    // One may look, but not knock.
    set_permissions(runtime.path(), Permissions::from_mode(0o755)).expect("a mode");
    let socket = runtime.path().join("alice.local.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    set_permissions(&socket, Permissions::from_mode(0o600)).expect("a mode");
    let Some(said) = stranger(runtime.path(), &["queue", "list"]) else { return };
    let wanted = "Permission denied (os error 13); use sudo, or become a member of the group atp";
    assert!(said.code == 1 && said.stderr.contains(wanted), "{said:?}");
}

/// The log alone once said why nothing came through.
#[test]
fn the_queue_says_why_a_connection_failed_and_the_sender_is_told_no_more_than_that_it_did() {
    let place = Place::new();
    let peers = place.file("peers.toml", "[\"bob.local\"]\nhost = \"127.0.0.1\"\nport = 1\nverify = false\n");
    let alice = place.server("alice.local", &["--peers", &peers]);
    place.register(&alice, "agent");
    let nonce = place.send(&alice, "agent", "agent@bob.local", "hello");
    let listed = until("a row by what went wrong", || {
        let listed =
            place.ok(&["queue", "list", "--to-domain", "bob.local", "--error", "connection refused"]);
        (listed != "Nothing matches.\n").then_some(listed)
    });
    let wanted = "450 4.4.1 The recipient's server cannot be reached. (cannot connect: Connection refused";
    assert!(listed.contains(wanted), "{listed}");
    for words in [&["queue", "show", &nonce][..], &["inspect", &nonce]] {
        let told = place.ok(words);
        assert!(told.contains(wanted), "{words:?}: {told}");
    }
    let to = ["--agent-id", "agent", "-P", PASSWORD, "--server", &alice.name(), "--no-verify"];
    let told = place.ok(&[&["inspect", &nonce], to.as_slice()].concat());
    assert!(told.contains("cannot be reached.") && !told.contains("refused"), "{told}");
}

#[test]
fn an_export_of_nobody_s_things_fails_and_leaves_no_file() {
    let place = Place::new();
    let alice = place.server("alice.local", &[]);
    place.register(&alice, "agent");
    let file = place.home().join("out.jsonl");
    let run = |agent: &str| place.run(&["export", "--agent", agent, &text(&file)]);
    let said = run("nobody@alice.local");
    assert!(said.code == 1 && said.stderr.contains("no such agent here; `atp agent list`"), "{said:?}");
    alice.stop();
    let said = run("nobody@alice.local");
    assert!(said.code == 1 && said.stderr.contains("there is no agent nobody@alice.local here"), "{said:?}");
    assert!(!file.exists());
    assert_eq!(run("agent@alice.local").code, 0);
    // The operator's mailboxes are somebody's, too.
    std::fs::remove_file(&file).expect("the export");
    assert_eq!(run("postmaster@alice.local").code, 0);
}

#[test]
fn a_domain_that_was_taken_out_is_not_counted_and_its_agents_are_told() {
    let place = Place::new();
    let both = place.server("alice.local", &["--domain", "beta.local"]);
    place.register(&both, "agent@beta.local");
    both.stop();
    let alice = place.server("alice.local", &[]);
    let listed = place.ok(&["keys", "list"]);
    assert_eq!(listed.matches("default ").count(), 1, "{listed}");
    let checked = place.ok(&["dns", "check", "--all"]);
    assert!(checked.contains("alice.local") && !checked.contains("beta.local"), "{checked}");
    let said = place.run(&[
        "send",
        "agent@beta.local",
        "--from",
        "agent@beta.local",
        "-P",
        PASSWORD,
        "--server",
        &alice.name(),
        "--no-verify",
    ]);
    let wanted = "This server does not serve beta.local, so nobody sends from there here.";
    assert!(said.code == 1 && said.stderr.contains(wanted), "{said:?}");
}
