//! The description of the calls against the real server: a public tester of APIs (schemathesis) makes up requests from
//! it, and no answer may be a fault of the server or one that the description does not know.

use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::environment::Environment;
use crate::place::{PASSWORD, Place};
use crate::server::Server;
use crate::watching::{READ_TOKEN, TOKEN, watched};

const TESTER: Environment = Environment {
    name: "openapi-env",
    requirements: include_str!("openapi/requirements.txt"),
    probe: "import schemathesis",
    mode: "ATP_TEST_OPENAPI",
    subject: "the description of the calls",
    alone: "cargo test --test process openapi",
};
/// The description of the operator's calls.
const OPERATORS: &str = include_str!("../../docs/openapi-operator.json");
/// What is changed in the requests that the tester makes up.
const HOOKS: &str = include_str!("openapi/hooks.py");
/// Requests made up for each call, by each kind of caller; another number in this variable takes longer.
const EXAMPLES: (&str, &str) = ("ATP_TEST_OPENAPI_EXAMPLES", "25");
/// Likewise for the operator's calls, whose parameters are fewer.
const OPERATORS_EXAMPLES: (&str, &str) = ("ATP_TEST_OPENAPI_EXAMPLES", "8");
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
        let url = format!("https://{}/.well-known/atp/v1/openapi.json", server.name());
        tested(
            &place,
            &python,
            caller,
            EXAMPLES,
            &[&[url.as_str(), "--tls-verify", "false"], options].concat(),
        );
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

/// The operator's calls, at the doors where most of them are.
#[test]
fn no_answer_to_the_operator_is_a_fault_or_unknown_to_the_description() {
    let Some(python) = TESTER.interpreter() else { return };
    let place = Place::new();
    let (server, listener) = watched(&place, "a.test", &[]);
    place.register(&server, "bot");
    let document = place.file("operator.json", OPERATORS);
    let listener = format!("http://{listener}");
    let control = format!("http://{}", forwarded(place.state().join("node/a.test/control.sock")));
    let (read, operator) = ([READ_TOKEN, TOKEN]).map(|token| format!("Authorization: Bearer {token}")).into();
    let at_listener = ["--exclude-path-regex", "/admin/(backup|export|import)$"];
    let callers: [(&str, &str, &[&str], &[&str]); 4] = [
        ("nobody at the listener", &listener, &at_listener, &[]),
        ("the read token", &listener, &at_listener, &["--header", &read]),
        ("the operator's token", &listener, &at_listener, &["--header", &operator]),
        ("root", &control, &["--exclude-path-regex", "^/(metrics|health|ready)$"], &[]),
    ];
    for (caller, url, calls, header) in callers {
        tested(
            &place,
            &python,
            caller,
            OPERATORS_EXAMPLES,
            &[&[document.as_str(), "--url", url], calls, header].concat(),
        );
    }
    place.ok(&["status", "--domain", "a.test"]);
    server.stop();
}

/// An address whose connections are led to a socket of this machine, which the tester cannot reach itself.
fn forwarded(socket: PathBuf) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(client), Ok(server)) = (stream, UnixStream::connect(&socket)) else { continue };
            let (Ok(mut asks), Ok(mut asked)) = (client.try_clone(), server.try_clone()) else { continue };
            let (mut client, mut server) = (client, server);
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut asks, &mut asked);
                let _ = asked.shutdown(Shutdown::Write);
            });
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut server, &mut client);
                let _ = client.shutdown(Shutdown::Both);
            });
        }
    });
    address
}

/// Has the calls tested by a caller; `options` begin with where the description is.
fn tested(place: &Place, python: &Path, caller: &str, examples: (&str, &str), options: &[&str]) {
    let chosen =
        |(variable, usual): (&str, &str)| std::env::var(variable).unwrap_or_else(|_| usual.to_owned());
    let mut command: Command = place.program(python.with_file_name("st"));
    command.args(["run", "--no-color", "--checks", CHECKS]);
    command.args([
        "--max-examples",
        &chosen(examples),
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
