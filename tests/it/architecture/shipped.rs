//! What the documents and shipped files say is so. (`conf/` is compared with the defaults in `src/config/`,
//! `dns-templates/` feed the DNS servers of the tests, `tests/protocol_examples.rs` reads `docs/protocol.md`.)

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::source::program;

const DOCUMENTS: [&str; 6] = [
    "README.md",
    "CONTRIBUTING.md",
    "docs/operating.md",
    "docs/protocol.md",
    "systemd/atp.service",
    "Dockerfile",
];

pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

pub(super) fn shipped(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Runs a line of shell in which `atp` is the program under test, in an empty environment and home.
fn shell(line: &str) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_atp"));
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", line]).env_clear().env("HOME", home.path()).current_dir(home.path());
    command.env("PATH", format!("{}:/usr/bin:/bin", program.parent().unwrap().display()));
    command.output().unwrap()
}

/// The commands a document shows: lines of its indented or fenced blocks that start with `atp`, continued
/// lines joined, comments taken off. `sudo`, the installed path and `cargo run --release --` are `atp` too.
fn commands(document: &str) -> Vec<String> {
    let joined = document.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).map(|line| line.strip_prefix("ExecStart=").unwrap_or(line));
    let ours = lines.filter_map(|line| {
        let starts = ["atp ", "sudo atp ", "/usr/local/bin/atp ", "cargo run --release -- "];
        let arguments = starts.iter().find_map(|start| line.strip_prefix(start))?;
        Some(format!("atp {}", arguments.split(" #").next().unwrap_or_default().trim_end()))
    });
    ours.collect()
}

/// With `--help` behind it a command says what it would do: wrong flags and values are still refused.
#[test]
fn every_command_shown_is_understood() {
    let mut count = 0;
    for document in DOCUMENTS {
        for line in commands(&shipped(document)) {
            let output = shell(&format!("{line} --help"));
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{document}: {line}\n{error}");
            count += 1;
        }
    }
    assert!(count >= 12, "only {count} commands were found");
    assert!(!shell("atp send a@b.example --no-such-flag --help").status.success(), "the check sees nothing");
}

/// The help of the program and of every command in it.
fn help(command: &str) -> String {
    let own = String::from_utf8(shell(&format!("{command} --help")).stdout).unwrap();
    let below = own.split_once("\nCommands:\n").map_or("", |(_, list)| list);
    let names = below.lines().take_while(|line| line.starts_with("  ")).filter_map(|line| {
        let name = line.strip_prefix("  ")?.split(' ').next()?;
        (!name.is_empty() && name != "help").then(|| name.to_owned())
    });
    let deeper: String = names.map(|name| help(&format!("{command} {name}"))).collect();
    own + &deeper
}

fn variables(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_uppercase() && c != '_');
    words.filter(|word| word.len() > 4 && word.starts_with("ATP_")).map(String::from).collect()
}

#[test]
fn every_variable_is_in_the_help() {
    let documented = variables(&help("atp"));
    assert!(documented.contains("ATP_SERVER") && documented.contains("ATP_IN_REPLY_TO"), "{documented:?}");
    // One is a flag that is there only to say why it does not exist, the others are for the tests.
    let of_tests = ["ATP_TEST_", "ATP_SIM_", "ATP_CONFORMANCE_"];
    let elsewhere =
        |name: &String| name == "ATP_NO_TLS" || of_tests.iter().any(|start| name.starts_with(start));
    let sources = program().into_iter().map(|source| {
        let text = shipped(&format!("src/{}", source.path));
        (source.path, text)
    });
    for (name, text) in sources.chain(DOCUMENTS.map(|name| (name.to_owned(), shipped(name)))) {
        for variable in variables(&text).into_iter().filter(|name| !elsewhere(name)) {
            assert!(documented.contains(&variable), "{name} names {variable}, which no --help shows");
        }
    }
}

#[test]
fn the_protocol_lists_the_capabilities_that_are_served() {
    let document = shipped("docs/protocol.md");
    let example = document.split("```json capabilities\n").nth(1).and_then(|rest| rest.split("```").next());
    let example: serde_json::Value = serde_json::from_str(example.unwrap()).unwrap();
    let served = atp::server::about::CAPABILITIES;
    assert_eq!(example["capabilities"], serde_json::json!(served));
    for token in served {
        assert!(!document.contains(&format!("the capability `{token}` is not listed")), "{token}");
    }
}

/// A call that is served is described: `GET /.well-known/atp/v1/messages` as `GET messages`.
#[test]
fn the_protocol_describes_every_call() {
    let document = shipped("docs/protocol.md");
    let described = atp::server::openapi::document();
    for (path, methods) in described["paths"].as_object().unwrap() {
        let path = path.strip_prefix("/.well-known/atp/v1/").unwrap();
        for method in methods.as_object().unwrap().keys() {
            let call = format!("`{} {path}", method.to_uppercase());
            assert!(document.contains(&call), "docs/protocol.md does not know {call}`");
        }
    }
}

#[test]
fn every_folder_is_on_the_map() {
    let map = shipped("CONTRIBUTING.md");
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            assert!(map.contains(&format!("| `{name}/` |")), "CONTRIBUTING.md does not name src/{name}");
        }
    }
    let way = ["submit", "spool", "discover", "sign", "transfer", "verify", "deliver"];
    let picture = shipped("README.md");
    assert!(way.iter().all(|stage| picture.contains(stage)), "README.md shows the way by its folder names");
}

#[test]
fn every_link_leads_somewhere() {
    for document in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/operating.md", "docs/protocol.md"]
    {
        let text = shipped(document);
        let here = root().join(document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap();
            if !path.is_empty() && !path.contains("://") {
                assert!(here.parent().unwrap().join(path).exists(), "{document} links to {path}");
            }
        }
    }
}

/// systemd waits longer than the server takes to finish what is in flight.
#[test]
fn the_service_gives_the_server_time_to_stop() {
    let seconds = |file: &str, key: &str| -> u64 {
        let text = shipped(file);
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim_matches([' ', '=', '"', 's']).parse().unwrap()
    };
    let patience = seconds("systemd/atp.service", "TimeoutStopSec");
    assert!(patience >= seconds("conf/atp.toml", "shutdown_grace") + 10, "{patience} s is too short");
}

/// One that is put in by another way than `routes!` would be described nowhere.
#[test]
fn every_route_has_its_description() {
    let routes = shipped("src/server/routes.rs");
    for undescribed in [".route(", ".route_service(", ".nest_service(", "fallback_service"] {
        assert!(
            !routes.contains(undescribed),
            "src/server/routes.rs: {undescribed} adds a path without description"
        );
    }
}

/// Of two forms with one name the descriptions of the calls would tell one, in the place of both.
#[test]
fn every_form_that_calls_describe_has_a_name_of_its_own() {
    let mut names = std::collections::BTreeSet::new();
    for source in program() {
        let text = fs::read_to_string(root().join("src").join(&source.path)).unwrap();
        for derived in text.split("#[derive(").skip(1) {
            let (traits, rest) = derived.split_once(")]").unwrap();
            if !traits.contains("ToSchema") {
                continue;
            }
            let head = rest.split(['{', ';']).next().unwrap();
            let renamed = head.split_once("#[schema(as = ").map(|(_, name)| name);
            let own = head.split_once("struct ").or_else(|| head.split_once("enum ")).map(|(_, name)| name);
            let is_name = |character: char| character.is_ascii_alphanumeric();
            let name =
                renamed.or(own).unwrap().split(|character| !is_name(character)).next().unwrap().to_owned();
            assert!(names.insert(name.clone()), "{}: there is another {name}", source.path);
        }
    }
    assert!(names.len() > 80, "{names:?}");
}
