//! Files that are not as they should be: each is refused with what to do, and doing that helps.

use super::*;

fn said(place: &Place) -> String {
    let said = open(place).unwrap_err().to_string();
    assert!(!said.contains('\n'), "{said}");
    said
}

#[test]
fn an_empty_or_truncated_key_is_named_and_can_be_replaced() {
    for bytes in [b"".as_slice(), b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCI"] {
        let place = place_with_two();
        let path = open(&place).unwrap().key_path("default");
        private::write(&path, bytes).unwrap();
        let error = said(&place);
        assert!(error.starts_with(&path.display().to_string()), "{error}");
        assert!(
            error.contains("restore it, or remove it and make a new key with: atp keys rotate"),
            "{error}"
        );
        // As it says.
        std::fs::remove_file(&path).unwrap();
        rotate(&place, to("next")).unwrap();
        assert_eq!(selector(open(&place).unwrap().pending().unwrap()), "next");
    }
}

/// Found when the file of the key that signs was gone: every command failed, also the one that was advised.
#[test]
fn a_ring_whose_signing_key_is_gone_says_so_and_goes_on_with_another() {
    let place = place_with_two();
    let path = open(&place).unwrap().key_path("default");
    let pem = private::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let mut ring = open(&place).unwrap();
    let error = ring.active().unwrap_err().to_string();
    assert!(error.contains("atp keys rotate --domain a.test --force"), "{error}");
    // Nothing takes its place by itself: nobody could see it.
    assert!(ring.ensure_active(&SystemRng).unwrap().is_none() && ring.active().is_err());
    assert!(matches!(ring.generate("default", &SystemRng), Err(KeyError::Lost { .. })));
    assert!(matches!(ring.rotate(forced("default"), &SystemRng, NOW), Err(KeyError::Lost { .. })));
    // Another key cannot be taken in in its place; itself can.
    let other = open(&super::place()).unwrap().generate("default", &SystemRng).unwrap();
    let other = ring.import("default", other.to_pem().unwrap().as_bytes());
    assert!(matches!(other, Err(KeyError::Swapped { .. })));
    ring.import("default", &pem).unwrap();
    assert_eq!(selector(open(&place).unwrap().active().unwrap()), "default");

    for file in ["default.pem", "second.pem"] {
        std::fs::remove_file(place.directory.join(file)).unwrap();
    }
    rotate(&place, Rotation { force: true, ..Rotation::default() }).unwrap();
    assert_eq!(selector(open(&place).unwrap().active().unwrap()), "s20261120");
}

#[test]
fn the_key_of_another_domain_is_noticed() {
    let (here, there) = (place_with_two(), place());
    let ring = Keyring::open(Domain::parse("b.test").unwrap(), &there.directory);
    let other = ring.unwrap().generate("default", &SystemRng).unwrap();
    let path = open(&here).unwrap().key_path("default");
    private::write(&path, other.to_pem().unwrap().as_bytes()).unwrap();
    let error = said(&here);
    let advice = "put the right file back, or, if this one is meant, move it elsewhere and take it in with: \
                  atp keys import FILE --domain a.test --selector NEW";
    assert!(error.starts_with(&path.display().to_string()) && error.contains(advice), "{error}");
    // As it says.
    std::fs::remove_file(&path).unwrap();
    let mut ring = open(&here).unwrap();
    let key = ring.import("new", other.to_pem().unwrap().as_bytes()).unwrap();
    ring.rotate(forced("new"), &SystemRng, NOW).unwrap();
    assert_eq!(open(&here).unwrap().active().unwrap().public_key(), key.public_key());
}

#[test]
fn files_that_are_no_keys_are_named() {
    for name in ["default (1).pem", "Default.pem", "a.b.pem"] {
        let place = place_with_two();
        private::write(&place.directory.join(name), b"").unwrap();
        assert!(said(&place).contains(&format!("{name} is not named like a key")), "{}", said(&place));
    }
    let place = place_with_two();
    for number in 0..MAX_KEYS {
        private::write(&place.directory.join(format!("k{number}.pem")), b"").unwrap();
    }
    assert!(said(&place).contains("move those that nothing needs elsewhere"), "{}", said(&place));
}

#[test]
fn a_key_that_we_may_not_read_says_as_whom() {
    let denied = io::Error::from(io::ErrorKind::PermissionDenied);
    assert!(PrivateError::Io { what: "read", path: PathBuf::new(), cause: denied }.is_forbidden());
    let (directory, path) = (PathBuf::from("/k"), PathBuf::from("/k/a.pem"));
    assert_eq!(
        KeyError::Forbidden { path, directory }.to_string(),
        "may not read /k/a.pem; do this as root or as the server's user, or give it to that user with: \
         chown --reference=/k /k/a.pem"
    );
}

/// Found when a revoked key was removed: taken in again, it signed.
#[test]
fn a_revoked_key_that_was_removed_stays_revoked() {
    let place = place_with_two();
    let path = open(&place).unwrap().key_path("second");
    let pem = private::read(&path).unwrap();
    open(&place).unwrap().revoke("second", false, NOW).unwrap();
    open(&place).unwrap().remove("second", NOW).unwrap();
    for selector in ["second", "other"] {
        let error = open(&place).unwrap().import(selector, &pem).unwrap_err();
        assert!(matches!(error, KeyError::TakenBack(_)), "{selector}: {error}");
    }
    // Nor if its file is put back by hand, wherever.
    private::write(&path, &pem).unwrap();
    private::write(&place.directory.join("other.pem"), &pem).unwrap();
    for selector in ["second", "other"] {
        assert_eq!(state(&place, selector, NOW), KeyState::Revoked);
        let refused = rotate(&place, forced(selector)).unwrap_err();
        assert!(matches!(refused, KeyError::Unusable { why: Unusable::Revoked, .. }), "{refused}");
        let ring = open(&place).unwrap();
        assert!(ring.key(selector).unwrap().record().to_string().ends_with(" t=s"));
        assert_eq!(ring.summaries(NOW, &BTreeMap::new())[1].since, Some(NOW));
        open(&place).unwrap().remove(selector, NOW).unwrap();
    }
    // The name is free for another key.
    open(&place).unwrap().generate("second", &SystemRng).unwrap();
    assert_eq!(state(&place, "second", NOW), KeyState::Idle);
}

#[test]
fn what_an_older_program_noted_of_a_revoked_key_is_kept_beyond_its_file() {
    let place = place_with_two();
    let path = open(&place).unwrap().key_path("second");
    let pem = private::read(&path).unwrap();
    private::write(&place.directory.join("ring.toml"), b"[keys.second]\nrevoked = 1\n").unwrap();
    open(&place).unwrap().remove("second", NOW).unwrap();
    assert!(matches!(open(&place).unwrap().import("second", &pem), Err(KeyError::TakenBack(_))));
}
