//! The units for systemd, judged by systemd's own tools where they are at hand.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::shipped::{root, shipped};

const UNITS: [&str; 3] = ["atp.service", "atp.socket", "atp-acme.socket"];
/// What `systemd-analyze security` may say at most; 10 is worst.
const MOST_EXPOSURE: f64 = 1.5;

/// `None`: it is not installed, which is said loudly, and is a failure where it must not be missing.
fn analyze(arguments: &[&str]) -> Option<Output> {
    let found = Command::new("systemd-analyze").arg("--version").stdout(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        let output = Command::new("systemd-analyze").args(arguments).output();
        return Some(output.expect("a program that is installed"));
    }
    let required = std::env::var("ATP_TEST_SYSTEMD").is_ok_and(|value| value == "required");
    assert!(!required, "systemd-analyze is not installed (apt-get install systemd)");
    // Past the macros, whose output is shown for failing tests only.
    let _ = writeln!(
        std::io::stderr(),
        "\n!!! SKIPPED: the units are not checked: there is no systemd-analyze\n"
    );
    None
}

/// The units with a program that is there, whatever is installed on this machine.
fn copied(directory: &Path) -> Vec<String> {
    let program = directory.join("atp");
    fs::write(&program, "#!/bin/sh\n").expect("a file");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a file of ours");
    let copy = |name: &&str| {
        let own = format!("={} ", program.display());
        let text =
            shipped(&format!("systemd/{name}")).replace("=atp ", &own).replace("man:atp(1)", "man:man(1)");
        let path = directory.join(name);
        fs::write(&path, text).expect("a file");
        path.to_str().expect("a UTF-8 path").to_owned()
    };
    UNITS.iter().map(copy).collect()
}

#[test]
fn systemd_understands_every_unit() {
    let directory = tempfile::tempdir().expect("a directory");
    let paths = copied(directory.path());
    let mut arguments = vec!["verify", "--recursive-errors=no", "--man=no"];
    arguments.extend(paths.iter().map(String::as_str));
    let Some(output) = analyze(&arguments) else { return };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    let planted = directory.path().join("planted.service");
    fs::write(&planted, "[Service]\nExecStart=/bin/true\nProtectSistem=yes\n").expect("a file");
    let planted = analyze(&["verify", "--man=no", planted.to_str().expect("a UTF-8 path")]);
    let planted = planted.map(|output| String::from_utf8_lossy(&output.stderr).contains("ProtectSistem"));
    assert_eq!(planted, Some(true), "the check sees nothing");
}

#[test]
fn the_service_is_shut_off_from_the_machine() {
    let unit = root().join("systemd/atp.service");
    let arguments = ["security", "--offline=true", "--no-pager", unit.to_str().expect("a UTF-8 path")];
    let Some(output) = analyze(&arguments) else { return };
    let said = String::from_utf8_lossy(&output.stdout);
    let verdict = said.lines().find(|line| line.contains("Overall exposure level")).unwrap_or_default();
    let words = verdict.split_whitespace().skip_while(|word| !word.ends_with(':'));
    let exposure: f64 = words.skip(1).find_map(|word| word.parse().ok()).expect("a figure");
    assert!(exposure <= MOST_EXPOSURE, "{verdict}");
}

/// The value of a key of a unit.
fn value<'a>(unit: &'a str, key: &str) -> &'a str {
    unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default()
}

#[test]
fn the_socket_is_where_the_configuration_listens() {
    let socket = shipped("systemd/atp.socket");
    let port: toml::Table = shipped("conf/atp.toml").parse().expect("TOML");
    let port = port["server"]["port"].as_integer().expect("a port");
    assert_eq!(value(&socket, "ListenStream"), format!("[::]:{port}"));
    assert_eq!(value(&socket, "FileDescriptorName"), "public");
    let acme = shipped("systemd/atp-acme.socket");
    assert_eq!(value(&acme, "Service"), "atp.service");
    assert_eq!(value(&acme, "FileDescriptorName"), "acme-http");
}
