//! `atp demo` as a person meets it: what the screen says, how it ends, and that nothing stays behind.

#![cfg(feature = "demo")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tempfile::TempDir;

/// Longest wait for a line of the demo, or for its end: far more than it takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const MAX_LINES: usize = 60;
const MAX_COLUMNS: usize = 110;
const STAGES: [&str; 7] =
    ["1 submit", "2 spool", "3 discover", "4 sign", "5 transfer", "6 verify", "7 deliver"];

fn demo(temporary: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_atp"));
    command.arg("demo").env("TMPDIR", temporary).stdin(Stdio::null());
    command
}

fn assert_empty(directory: &Path) {
    let left: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

/// The words after `nonce`, in order.
fn nonces(text: &str) -> Vec<&str> {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.windows(2).filter(|pair| pair[0] == "nonce").map(|pair| pair[1]).collect()
}

#[test]
fn a_message_each_way_is_told_on_one_screen() {
    let temporary = TempDir::new().unwrap();
    let output = demo(temporary.path()).output().unwrap();
    let screen = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{screen}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");

    for stage in STAGES {
        assert_eq!(screen.matches(&format!("  {stage} ")).count(), 2, "{stage}, once each way:\n{screen}");
    }
    let [there, back] = nonces(&screen)[..] else { panic!("two nonces:\n{screen}") };
    assert!(there.starts_with("msg-") && back.starts_with("msg-") && there != back, "{there}, {back}");
    for wanted in [
        "SVCB _atp.south.example",
        "A atp.south.example = 127.0.0.1",
        "default.atk._atp.north.example",
        "v=atp1 allow=ip:127.0.0.1 deny=all",
        "v=atp1 k=ed25519 p=",
        "TLSv1.3",
        "flushed and fdatasynced",
        "does the signature of north.example hold? pass",
        "in the mailbox of ben@south.example",
        "ben@south.example reads its mailbox: 1",
    ] {
        assert!(screen.contains(wanted), "{wanted}:\n{screen}");
    }
    let widest = screen.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(screen.lines().count() <= MAX_LINES && widest <= MAX_COLUMNS, "{widest} columns:\n{screen}");
    assert!(!screen.contains('\x1b'), "colour is for terminals:\n{screen}");
    assert_empty(temporary.path());
}

#[test]
fn a_wrong_key_in_dns_is_refused_and_told() {
    // The first is a key, but nobody's here (RFC 8032 §7.1, test 1); anybody could sign for the second.
    let of_somebody_else = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let of_everybody = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    for (key, code) in [(of_somebody_else, "550 5.7.28"), (of_everybody, "550 5.7.29")] {
        let templates = TempDir::new().unwrap();
        for file in std::fs::read_dir("dns-templates").unwrap() {
            let file = file.unwrap();
            let text = std::fs::read_to_string(file.path()).unwrap().replace("{{ public_key }}", key);
            std::fs::write(templates.path().join(file.file_name()), text).unwrap();
        }
        let temporary = TempDir::new().unwrap();
        let output = demo(temporary.path()).env("ATP_DEMO_TEMPLATES", templates.path()).output().unwrap();
        let screen = String::from_utf8(output.stdout).unwrap();
        let mistake = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{screen}{mistake}");
        assert!(screen.contains(&format!("attempt 1 failed: {code}")), "{screen}");
        assert!(screen.contains(key), "what DNS said:\n{screen}");
        assert!(mistake.contains(code) && mistake.lines().count() == 1, "{mistake}");
        assert_empty(temporary.path());
    }
}

#[test]
fn templates_that_cannot_be_used_are_named() {
    let temporary = TempDir::new().unwrap();
    let output = demo(temporary.path()).env("ATP_DEMO_TEMPLATES", "/nonexistent").output().unwrap();
    let mistake = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(mistake.starts_with("atp: template ") && mistake.lines().count() == 1, "{mistake}");
    assert_empty(temporary.path());
}

/// `atp demo --keep`; killed when dropped.
struct Kept {
    child: Child,
    lines: Receiver<String>,
}

impl Kept {
    fn start(temporary: &Path) -> Kept {
        let mut child = demo(temporary)
            .arg("--keep")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the demo starts");
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let read = BufReader::new(stdout).lines().map_while(Result::ok);
            read.take_while(|line| sender.send(line.clone()).is_ok()).for_each(drop);
        });
        Kept { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("another line")
    }

    /// The commands it prints, each in one line.
    fn commands(&self) -> Vec<String> {
        while !self.line().starts_with("Both servers stay") {}
        assert_eq!(self.line(), "");
        let mut commands = vec![String::new()];
        loop {
            let line = self.line();
            if line.is_empty() {
                commands.retain(|command| !command.is_empty());
                return commands;
            }
            if let Some(last) = commands.last_mut() {
                last.push_str(line.trim_end_matches('\\'));
            }
            if !line.ends_with('\\') {
                commands.push(String::new());
            }
        }
    }

    /// Ends it with SIGTERM, and waits until it has. `true`: with exit code 0.
    fn terminate(mut self) -> bool {
        let kill = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
        // Its output ends when it does.
        while self.lines.recv_timeout(PATIENCE).is_ok() {}
        let mut mistakes = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut mistakes).unwrap();
        assert_eq!(mistakes, "");
        self.child.wait().unwrap().success()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn kept_servers_take_the_printed_commands_until_sigterm() {
    let temporary = TempDir::new().unwrap();
    let kept = Kept::start(temporary.path());
    let commands = kept.commands();
    let verbs = [" send ", " recv ", " send ", " recv ", " agent register ", " status ", " dns check "];
    assert_eq!(commands.len(), verbs.len(), "{commands:#?}");
    let mut sent = None;
    for (command, verb) in commands.iter().zip(verbs) {
        assert!(command.contains(verb), "{command}");
        let output = Command::new("sh").args(["-c", command]).stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{command}\n{text}{}", String::from_utf8_lossy(&output.stderr));
        match verb {
            " send " => {
                let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
                let nonce = answer["nonce"].as_str().unwrap().to_owned();
                // Its story is told once the attempt has ended.
                while !kept.line().contains(&nonce) {}
                sent = Some(nonce);
            }
            " recv " => assert!(text.contains(sent.as_deref().unwrap()), "{sent:?}: {text}"),
            _ => {}
        }
    }
    assert!(kept.terminate(), "SIGTERM is how it ends");
    assert_empty(temporary.path());
}
