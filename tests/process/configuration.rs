//! `atp config check` and `atp config show`.

use serde_json::json;

use crate::place::Place;

#[test]
fn everything_that_is_wrong_is_told_a_line_each() {
    let place = Place::new();
    let text = "domains = [\"a.local\"]\n[server]\nprot = 1\nshutdown_grace = \"25\"\n[admin]\ntoken = \"hunter 2\"\n";
    let path = place.file("atp.toml", text);
    let said = place.run(&["config", "check", "--config", &path]);
    let lines: Vec<&str> = said.stderr.lines().collect();
    assert_eq!((said.code, said.stdout.as_str(), lines.len()), (1, "", 3), "{said:#?}");
    for (line, wanted) in lines.iter().zip([
        "line 3: server.prot: there is no such key; did you mean port?",
        "line 4: server.shutdown_grace: \"25\" is not a time",
        "line 6: admin.token: must be visible ASCII characters",
    ]) {
        assert!(line.starts_with("atp: ") && line.contains(wanted), "{wanted}: {said:#?}");
    }
    assert!(!said.stderr.contains("hunter"));
    let said = place.run(&["config", "check", "--config", &path, "--json"]);
    assert_eq!(said.code, 1);
    let found = &said.json()["findings"];
    assert_eq!(
        (&found[1]["key"], &found[1]["line"]),
        (&json!("server.shutdown_grace"), &json!(4)),
        "{found}"
    );

    // A server with it does not start, and says where to see the rest.
    let said = place.run(&["server", "start", "--config", &path]);
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("and 2 more, which `atp config check` lists"), "{said:#?}");
}

#[test]
fn a_good_configuration_is_shown_with_where_its_values_are_from() {
    let place = Place::new();
    let text = "domains = [\"a.local\"]\n[server]\nport = 7000\n[admin]\ntoken = \"hunter2\"\n";
    let path = place.file("atp.toml", text);
    let said = place.ok(&["config", "check", "--config", &path]);
    assert_eq!(said, format!("{path} is good; domains: a.local\n"));

    let mut command = place.command(&["config", "show", "--port", "7001"]);
    command.env("ATP_CONFIG", &path).env("ATP_LOG_LEVEL", "debug");
    let shown = crate::place::finish(command);
    assert_eq!(shown.code, 0, "{shown:#?}");
    for line in [
        "domains = [\"a.local\"]  # line 1",
        "port = 7001  # command line or environment",
        "level = \"debug\"  # command line or environment",
        "#token is a secret and not shown  # line 5",
    ] {
        assert!(shown.stdout.lines().any(|have| have == line), "{line}: {shown:#?}");
    }
    assert!(!shown.stdout.contains("hunter2") && !shown.stdout.contains("give_up_after"), "{shown:#?}");

    let effective = place.ok(&["config", "show", "--effective", "--config", &path]);
    for line in ["port = 7000  # line 3", "give_up_after = \"48h\"  # default", "#max_memory is absent"] {
        assert!(effective.lines().any(|have| have == line), "{line}: {effective}");
    }
    // What is shown is a configuration again.
    let again = place.file("again.toml", &effective);
    place.ok(&["config", "check", "--config", &again]);
    let shown = place.json(&["config", "show", "--effective", "--config", &path, "--json"]);
    let token = json!({ "key": "admin.token", "secret": true, "from": "file", "line": 5 });
    assert!(shown["settings"].as_array().expect("settings").contains(&token), "{shown}");
}
