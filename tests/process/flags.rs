//! Flags that hold everywhere: the environment in their place, JSON output, help.

use std::process::Command;

use serde_json::Value;

use crate::place::{PASSWORD, Place, Said, finish};
use crate::server::Server;

/// A command that is told everything by its environment.
fn told(place: &Place, words: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = place.command(words);
    command.envs(environment.iter().copied());
    command
}

#[test]
fn every_flag_may_come_from_the_environment() {
    let place = Place::new();
    let state = place.state();
    let state = state.join("elsewhere");
    let home = state.to_str().expect("a UTF-8 path");
    let environment = [
        ("ATP_HOME", home),
        ("ATP_DOMAIN", "alice.local"),
        ("ATP_PORT", "0"),
        ("ATP_HOST", "127.0.0.1"),
        ("ATP_ADMIN_TOKEN", "operator"),
        ("ATP_LOG_LEVEL", "info"),
    ];
    let alice = Server::start(told(&place, &["server", "start"], &environment), place.log());
    let server = alice.name();
    let client = [
        ("ATP_HOME", home),
        ("ATP_SERVER", server.as_str()),
        ("ATP_NO_VERIFY", "1"),
        ("ATP_AGENT", "agent"),
        ("ATP_PASSWORD", PASSWORD),
        ("ATP_ADMIN_TOKEN", "operator"),
        ("ATP_BODY", "from the environment"),
        ("ATP_SUBJECT", "hello"),
        ("ATP_LIMIT", "10"),
        ("ATP_OUTPUT", "json"),
    ];
    let run = |words: &[&str]| -> Value {
        let Said { code, stdout, stderr } = finish(told(&place, words, &client));
        assert_eq!(code, 0, "{words:?}: {stderr}");
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{words:?}: {error} in {stdout}"))
    };
    assert_eq!(run(&["agent", "register", "agent"])["agent_id"], "agent@alice.local");
    let nonce = run(&["send", "agent"])["nonce"].clone();
    let messages = run(&["recv"]);
    assert_eq!(messages[0]["payload"]["body"], "from the environment");
    assert_eq!(messages[0]["payload"]["subject"], "hello");
    assert_eq!(run(&["inspect", nonce.as_str().expect("a nonce")])["status"], "delivered");
    assert_eq!(run(&["status"])["domain"], "alice.local");
    assert_eq!(run(&["agent", "list"])["agents"][0], "agent@alice.local");
    assert_eq!(run(&["agent", "remove", "agent"])["status"], "removed");

    // The command line wins.
    let said = finish(told(&place, &["recv", "-P", "wrong"], &client));
    assert_eq!(said.code, 1, "{said:?}");
    // A switch in the environment may also say no.
    let said = finish(told(&place, &["status"], &[client.as_slice(), &[("ATP_NO_VERIFY", "0")]].concat()));
    assert!(said.stderr.contains("--no-verify"), "{said:?}");
}

#[test]
fn json_is_printed_by_every_command_that_prints() {
    let place = Place::new();
    let alice = place.server("alice.local", &[]);
    let (server, token) = (alice.name(), place.admin_token("alice.local"));
    let at = ["--server", &server, "--no-verify"];
    let with =
        |words: &[&'static str]| words.iter().copied().chain(at).map(str::to_owned).collect::<Vec<_>>();
    let as_operator =
        |words: &[&'static str]| [with(words), vec!["--admin-token".into(), token.clone()]].concat();
    let here = |words: &[&'static str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let commands = [
        with(&["agent", "register", "a", "-p", PASSWORD]),
        with(&["send", "a", "--from", "a", "-P", PASSWORD, "-b", "x"]),
        with(&["recv", "--agent-id", "a", "-P", PASSWORD]),
        as_operator(&["agent", "list"]),
        as_operator(&["status"]),
        here(&["recv", "--agent-id", "postmaster"]),
        here(&["agent", "remove", "a"]),
        here(&["keys", "list"]),
        here(&["keys", "show"]),
        here(&["keys", "show", "--public"]),
        here(&["keys", "generate", "--selector", "second"]),
        here(&["keys", "rotate", "--selector", "second", "--force"]),
        here(&["dns", "generate", "--domain", "alice.local", "--ip", "192.0.2.1"]),
    ];
    for words in &commands {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        // The flag may stand anywhere, and has a longer form.
        let values = [
            place.json(&[words.as_slice(), &["--json"]].concat()),
            if matches!(words[..2], ["keys", "list" | "show"] | ["recv", _]) {
                place.json(&[&["--output", "json"], words.as_slice()].concat())
            } else {
                continue;
            },
        ];
        assert_eq!(values[0], values[1], "{words:?}");
    }
}

#[test]
fn help_names_exit_codes_and_variables() {
    let place = Place::new();
    let help = place.ok(&["--help"]);
    assert!(help.contains("Exit codes: 0 done; 1 it did not work"), "{help}");
    assert!(place.ok(&["send", "--help"]).contains("[env: ATP_SERVER=]"));
    assert!(place.ok(&["--version"]).starts_with("atp "));
    let mut command = place.command(&["agent", "list", "--help"]);
    command.env("ATP_ADMIN_TOKEN", "hunter2");
    assert!(!finish(command).stdout.contains("hunter2"), "help shows a secret");
}
