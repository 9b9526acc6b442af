//! The description of the calls against the real server: a public tester of APIs (schemathesis) makes up requests from
//! it, and no answer may be a fault of the server or one that the description does not know.

use std::path::Path;
use std::process::Command;

use crate::environment::Environment;
use crate::place::{PASSWORD, Place};
use crate::server::Server;

const TESTER: Environment = Environment {
    name: "openapi-env",
    requirements: include_str!("openapi/requirements.txt"),
    probe: "import schemathesis",
    mode: "ATP_TEST_OPENAPI",
    subject: "the description of the calls",
    alone: "cargo test --test process openapi",
};
/// What is changed in the requests that the tester makes up.
const HOOKS: &str = include_str!("openapi/hooks.py");
/// Requests made up for each call, by each kind of caller; another number in this variable takes longer.
const EXAMPLES: (&str, &str) = ("ATP_TEST_OPENAPI_EXAMPLES", "25");
/// Where the dice of a run begin; another one in this variable looks elsewhere.
const SEED: (&str, &str) = ("ATP_TEST_SEED", "20261121");
/// What is asked of every answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,unsupported_method";
/// The call by which an agent changes its password.
const CHANGE_PASSWORD: &str = "/.well-known/atp/v1/me/password";
/// After a change of its password an agent can do nothing more, and a stream has no end to wait for.
const NOT_FOR_AGENT: &str = "/me/(password|stream)$";

#[test]
fn no_answer_is_a_fault_or_unknown_to_the_description() {
    let Some(python) = TESTER.interpreter() else { return };
    let place = Place::new();
    let server = start(&place);
    for agent in ["bot", "fickle"] {
        place.register(&server, agent);
    }
    let send =
        ["send", "bot", "--from", "bot", "--server", &server.name(), "--no-verify", "--password", PASSWORD];
    for text in ["one", "two", "three"] {
        place.ok(&[&send[..], &["--body", text]].concat());
    }
    let token = std::fs::read_to_string(place.state().join("node/a.test/admin-token")).unwrap();
    let operator = format!("Authorization: Bearer {}", token.trim());
    let (bot, fickle) = (format!("bot:{PASSWORD}"), format!("fickle:{PASSWORD}"));
    let callers: [(&str, &[&str]); 4] = [
        ("nobody", &[]),
        ("an agent", &["--auth", &bot, "--exclude-path-regex", NOT_FOR_AGENT]),
        ("the operator", &["--header", &operator]),
        ("one that changes its password", &["--auth", &fickle, "--include-path", CHANGE_PASSWORD]),
    ];
    for (caller, options) in callers {
        tested(&place, &python, &server, caller, options);
    }
    // Whatever was asked, it lives and does its work.
    place.ok(&[&send[..], &["--body", "four"]].concat());
    server.stop();
}

fn start(place: &Place) -> Server {
    let mut command = place.command(&["server", "start", "--domain", "a.test", "--port", "0"]);
    // Thousands of refusals are the point here.
    command.env("RUST_LOG", "atp=warn,atp::daemon=info");
    Server::start(command, place.log())
}

/// Has the calls tested by a caller.
fn tested(place: &Place, python: &Path, server: &Server, caller: &str, options: &[&str]) {
    let url = format!("https://{}/.well-known/atp/v1/openapi.json", server.name());
    let chosen =
        |(variable, usual): (&str, &str)| std::env::var(variable).unwrap_or_else(|_| usual.to_owned());
    let mut command: Command = place.program(python.with_file_name("st"));
    command.args(["run", &url, "--tls-verify", "false", "--no-color", "--checks", CHECKS]);
    command.args([
        "--max-examples",
        &chosen(EXAMPLES),
        "--seed",
        &chosen(SEED),
        "--generation-database",
        "none",
    ]);
    command.env("SCHEMATHESIS_HOOKS", place.file("hooks.py", HOOKS));
    let output = command.args(options).output().expect("the tester");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "asked by {caller}:\n{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    println!(
        "asked by {caller}: {}",
        said.lines().find(|line| line.contains(" generated, ")).unwrap_or_default()
    );
}
