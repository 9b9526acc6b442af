//! A domain that moves from the reference to us keeps its key, and with it what is published in DNS.

use std::fs;

use crate::cli::Cli;
use crate::process::{free_port, until};
use crate::python::with_reference;
use crate::servers::{Reference, our_key, our_state, start_ours};

#[test]
fn a_domain_that_moves_to_us_keeps_its_key() {
    let Some(python) = with_reference() else { return };
    let dir = tempfile::TempDir::new().expect("a temporary directory");
    let old = Reference::prepare(python, dir.path().join("old"), "ours.test");
    let state = our_state(dir.path());
    fs::create_dir(&state).expect("a state directory");
    let cli = Cli::ours(&state);
    let state = state.to_str().expect("a UTF-8 path");
    let of_domain = ["--domain", "ours.test", "--state-dir", state];

    let key_file = old.private_key();
    let import = ["keys", "import", key_file.to_str().expect("a UTF-8 path")];
    cli.ok(&[&import[..], &of_domain].concat());
    assert_eq!(our_key(&cli, dir.path()), old.key);
    let generate = ["dns", "generate", "--ip", "203.0.113.7"];
    let ours = cli.ok(&[&generate[..], &of_domain].concat());
    let theirs = old.cli.ok(&[&generate[..], &["--domain", "ours.test"]].concat());
    assert_eq!(published_key(&ours), published_key(&theirs));

    let peer = Reference::prepare(python, dir.path().join("peer"), "ref.test");
    let (our_port, their_port) = (free_port(), free_port());
    let ours = start_ours(dir.path(), our_port, &[("ref.test", their_port, &peer.key)]);
    let theirs = peer.start(their_port, &[("ours.test", our_port, &old.key)]);
    let (alice, bob) = (ours.register("alice"), theirs.register("bob"));
    let payload = dir.path().join("payload.json");
    fs::write(&payload, r#"{"body":"we have moved"}"#).expect("a payload file");
    let nonce = ours.send(&alice, &bob, &payload);
    let arrived = until("mail under the old key", &[&ours.server, &theirs.server], || {
        theirs.mailbox(&bob).into_iter().next()
    });
    assert_eq!((&arrived["nonce"], &arrived["from"]), (&nonce.into(), &alice.into()), "{arrived}");
}

/// The TXT record of the key in a text of records, from its version to its end.
fn published_key(records: &str) -> &str {
    let record = records.split('"').find(|text| text.starts_with("v=atp1 k="));
    record.unwrap_or_else(|| panic!("no key in {records}"))
}
