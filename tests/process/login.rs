//! Who the user of a machine is: logging in, choosing, tokens, passwords, logging out.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::place::{PASSWORD, Place, Said, finish, text};
use crate::server::Server;

/// A server with the agents `bot` and `other`.
fn with_server() -> (Place, Server, String) {
    let place = Place::new();
    let alice = place.server("alice.local", &[]);
    for name in ["bot", "other"] {
        place.register(&alice, name);
    }
    let server = alice.name();
    (place, alice, server)
}

impl Place {
    fn log_in(&self, server: &str, agent: &str, more: &[&str]) -> Said {
        let words = ["login", "--server", server, "--no-verify", "--agent", agent, "-P", PASSWORD];
        self.run(&[&words, more].concat())
    }

    fn identities(&self) -> PathBuf {
        self.state().join("client/identities.toml")
    }

    fn tokens(&self, agent: &str) -> Vec<String> {
        let listed = self.json(&["agent", "token", "list", "--agent-id", agent, "-P", PASSWORD, "--json"]);
        let tokens = listed["tokens"].as_array().expect("a list").clone();
        tokens.iter().map(|token| token["name"].as_str().expect("a name").to_owned()).collect()
    }

    fn with(&self, words: &[&str], environment: &[(&str, &str)]) -> Said {
        let mut command = self.command(words);
        command.envs(environment.iter().copied());
        finish(command)
    }
}

#[track_caller]
fn told(said: &Said, code: i32, wanted: &str) {
    let line = said.stderr.strip_suffix('\n').unwrap_or_default();
    assert_eq!(said.code, code, "{said:?}");
    assert!(line.starts_with("atp: ") && !line.contains('\n') && line.contains(wanted), "{said:?}");
}

#[test]
fn after_a_login_commands_need_no_flags() {
    let (place, _alice, server) = with_server();
    let said = place.log_in(&server, "bot", &[]);
    let place_of = format!("{server} (certificate not verified)");
    let wanted = format!("Logged in as bot@alice.local at {place_of}, identity bot@alice.local.\n");
    assert_eq!((said.code, said.stdout.as_str()), (0, wanted.as_str()), "{said:?}");
    let sent = place.json(&["send", "bot", "--body", "to myself"]);
    let nonce = sent["nonce"].as_str().expect("a nonce");
    assert_eq!(place.json(&["recv"])[0]["nonce"], nonce);
    assert_eq!(place.json(&["inspect", nonce, "--json"])["status"], "delivered");
    let me = place.json(&["whoami", "--json"]);
    assert_eq!((&me["agent_id"], &me["scope"]), (&"bot@alice.local".into(), &"both".into()));
    assert_eq!(me["server"].as_str(), Some(server.as_str()));
    let mode = |path: &PathBuf| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    let file = place.identities();
    assert_eq!((mode(&file), mode(&file.parent().expect("a directory").into())), (0o600, 0o700));
    assert!(!fs::read_to_string(&file).expect("the file").contains(PASSWORD), "the password is kept");

    // Once more: the first token is not left behind.
    let first = place.tokens("bot");
    assert_eq!(place.log_in(&server, "bot", &[]).code, 0);
    let second = place.tokens("bot");
    assert!(first.len() == 1 && second.len() == 1 && first != second, "{first:?} {second:?}");
    assert_eq!(place.ok(&["logout"]), "Logged out of bot@alice.local.\n");
    assert!(!fs::read_to_string(&file).expect("the file").contains("atpa_"));
    told(
        &place.run(&["recv"]),
        2,
        "which server? give --server or set ATP_SERVER, or log in once: atp login",
    );
    told(&place.run(&["recv", "--server", &server]), 2, "which agent? name it with --agent-id");
    told(&place.run(&["logout"]), 2, "log out of what?");
}

#[test]
fn one_of_several_identities_is_chosen() {
    let (place, _alice, server) = with_server();
    assert_eq!(place.log_in(&server, "bot", &[]).code, 0);
    assert_eq!(place.log_in(&server, "other", &["--as", "work", "--scope", "receive"]).code, 0);
    let who = |words: &[&str]| place.json(&[&["whoami", "--json"], words].concat())["agent_id"].clone();
    assert_eq!(who(&[]), "other@alice.local", "the last one");
    assert_eq!(who(&["--as", "bot"]), "bot@alice.local");
    assert_eq!(who(&["--agent-id", "bot"]), "bot@alice.local");
    let said = place.with(&["whoami"], &[("ATP_AS", "bot")]);
    assert!(said.stdout.starts_with("Agent:    bot@alice.local\n"), "{said:?}");
    told(&place.run(&["send", "bot", "-b", "x"]), 1, "This token is for receiving only (550 5.7.1)");
    assert_eq!(place.ok(&["use", "bot"]), "Commands act as bot@alice.local (identity bot@alice.local).\n");
    assert_eq!(who(&[]), "bot@alice.local");
    let listed = place.ok(&["use"]);
    let at = format!("{server} (certificate not verified)");
    let wanted = format!("* bot@alice.local  bot@alice.local at {at}\n  work  other@alice.local at {at}\n");
    assert_eq!(listed, wanted);
    for (words, code, wanted) in [
        (&["use", "nobody"][..], 1, "which identity is nobody? there are: bot@alice.local, work"),
        (&["recv", "--as", "nobody"], 1, "which identity is nobody?"),
        (&["recv", "--as", "work", "--agent-id", "bot"], 2, "identity work is other@alice.local, not bot"),
        (&["recv", "--as", "work", "--server", "b.test"], 2, "not at b.test"),
        // The token goes to its own server only.
        (&["recv", "--agent-id", "bot", "--server", "127.0.0.1:1", "--no-verify"], 1, "no connection to"),
    ] {
        told(&place.run(words), code, wanted);
    }
    assert_eq!(place.json(&["logout", "work", "--json"])["status"], "logged out");
    assert_eq!(who(&[]), "bot@alice.local");
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let (place, _alice, server) = with_server();
    assert_eq!(place.log_in(&server, "bot", &[]).code, 0);
    let create = ["agent", "token", "create", "ci", "--agent-id", "other", "-P", PASSWORD];
    told(&place.run(&create), 2, "which server?");
    let made = place.ok(&[&create[..], &["--server", &server, "--no-verify"]].concat());
    let token = made.trim();
    assert!(token.starts_with("atpa_"), "{made}");
    let who = |words: &[&str], environment: &[(&str, &str)]| {
        place.with(&[&["whoami", "--json"], words].concat(), environment).json()["agent_id"].clone()
    };
    let at = [("ATP_TOKEN", token), ("ATP_SERVER", server.as_str()), ("ATP_NO_VERIFY", "1")];
    assert_eq!(who(&[], &at), "other@alice.local");
    assert_eq!(who(&["--agent-id", "bot", "-P", PASSWORD], &at), "bot@alice.local");
    // Not sent to wherever one happens to be logged in.
    told(&place.with(&["whoami"], &at[..1]), 2, "which server?");
    // The token of another agent is not taken for the one that is named.
    told(&place.with(&["recv", "--agent-id", "bot"], &at), 1, "(535 5.7.8)");
    assert_eq!(who(&[], &[("ATP_PASSWORD", PASSWORD)]), "bot@alice.local");
    told(&place.with(&["recv"], &[("ATP_PASSWORD", "wrong")]), 1, "not its password (535 5.7.8)");
    // A token is enough to log in, and is not ours to end.
    let said = place.with(&["login", "--as", "ci"], &at);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(who(&[], &[]), "other@alice.local");
    place.ok(&["logout", "ci"]);
    assert_eq!(who(&[], &at), "other@alice.local");
}

#[test]
fn tokens_and_passwords_are_changed_and_end_at_once() {
    let (place, _alice, server) = with_server();
    assert_eq!(place.log_in(&server, "bot", &["--token-name", "laptop"]).code, 0);
    let owner = ["-P", PASSWORD];
    let create = |name: &str, more: &[&str]| {
        place.run(&[&["agent", "token", "create", name], &owner[..], more].concat())
    };
    let said = create("ci", &["--scope", "send", "--expires", "90d"]);
    assert_eq!((said.code, said.stderr.as_str()), (0, "atp: keep this token; it is not shown again\n"));
    assert!(said.stdout.starts_with("atpa_") && said.stdout.len() == 49, "{said:?}");
    told(&create("ci", &[]), 1, "There is a token of that name; revoke it first (550 5.6.0)");
    told(&create("a b", &[]), 1, "A token's name is 1 to 64 of");
    told(&create("x", &["--scope", "all"]), 2, "invalid value 'all' for '--scope <SCOPE>'");
    told(&create("x", &["--expires", "soon"]), 2, "not a time");
    let no_token = "no password; give --password or set ATP_PASSWORD; a token is not enough for this";
    told(&place.run(&["agent", "token", "list"]), 2, no_token);
    let listed = place.ok(&[&["agent", "token", "list"], &owner[..]].concat());
    assert!(listed.starts_with("ci  send  made ") && listed.contains("\nlaptop  both  made "), "{listed}");
    let revoke = |name| place.run(&[&["agent", "token", "revoke", name], &owner[..]].concat());
    assert_eq!(revoke("ci").stdout, "Token revoked: ci\n");
    told(&revoke("ci"), 1, "There is no token of that name (550 5.5.1)");

    let change = |more: &[&str]| place.run(&[&["agent", "password", "-P", PASSWORD], more].concat());
    told(&change(&[]), 2, "no password");
    told(&change(&["--new-password", "atpa_x"]), 1, "must not begin with atpa_");
    let said = change(&["--new-password", "second"]);
    assert_eq!((said.code, said.stdout.as_str()), (0, "Password changed: bot@alice.local\n"));
    assert!(said.stderr.contains("1 tokens go on working; --revoke-tokens"), "{said:?}");
    told(&change(&["--new-password", "third"]), 1, "(535 5.7.8)");
    assert_eq!(place.run(&["recv"]).code, 0);
    let all = ["agent", "password", "-P", "second", "--new-password", "third", "--revoke-tokens", "--json"];
    assert_eq!(place.json(&all)["tokens"], 0);
    told(&place.run(&["recv"]), 1, "(535 5.7.8); log in again: atp login --as bot@alice.local");
    // Its token has ended already: nothing is in the way of logging in or out.
    assert_eq!(place.run(&["login", "--as", "bot", "-P", "third"]).code, 0);
    assert_eq!(
        place.json(&[
            "agent",
            "password",
            "-P",
            "third",
            "--new-password",
            "fourth",
            "--revoke-tokens",
            "--json"
        ])["tokens"],
        0
    );
    assert_eq!(place.ok(&["logout"]), "Logged out of bot@alice.local.\n");
    assert_eq!(
        place.run(&["login", "--agent-id", "bot", "--server", &server, "--no-verify", "-P", "fourth"]).code,
        0
    );
    assert_eq!(place.run(&["recv"]).code, 0);
}

#[test]
fn mistakes_at_the_login_are_told() {
    let (place, alice, server) = with_server();
    let at = ["--server", &server, "--no-verify"];
    let login = |more: &[&str]| place.run(&[&["login"], &at[..], more].concat());
    told(&login(&["--agent", "bot", "-P", "wrong"]), 1, "(535 5.7.8)");
    told(&login(&["--agent", "bot"]), 2, "no password; give --password");
    told(&login(&[]), 2, "which agent?");
    told(&login(&["--token", "atpa_x"]), 1, "No such token, or it has expired or was revoked (535 5.7.8)");
    told(&place.run(&["login", "--agent", "bot"]), 2, "which server?");
    told(&place.run(&["whoami"]), 2, "which server?");
    assert_eq!(place.ok(&["use"]), "Nobody has logged in.\n");
    told(&place.run(&["use", "bot"]), 1, "nobody has logged in; run: atp login");
    assert!(!place.identities().exists());

    assert_eq!(place.log_in(&server, "bot", &[]).code, 0);
    alice.stop();
    told(&place.run(&["logout"]), 1, "is forgotten here, but its token was not ended: no connection to");
    let open = place.identities();
    fs::set_permissions(&open, Permissions::from_mode(0o644)).expect("a mode");
    let wanted = format!("others may read {} (mode 0644); run: chmod 600", text(&open));
    told(&place.run(&["recv"]), 1, &wanted);
    fs::set_permissions(&open, Permissions::from_mode(0o600)).expect("a mode");
    fs::write(&open, "token = \"atpa_secret").expect("a file");
    let said = place.run(&["recv"]);
    told(&said, 1, "is damaged; remove it and log in again");
    assert!(!said.stderr.contains("secret"), "{said:?}");
}
