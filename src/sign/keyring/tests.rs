use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::env::rng::SystemRng;
use crate::sign::key::Unusable;
use crate::sign::lock;

/// 2026-11-20, noon.
const NOW: UnixMillis = UnixMillis(1_795_176_000_000);

struct Place {
    _root: tempfile::TempDir,
    directory: PathBuf,
}

fn place() -> Place {
    let root = tempfile::tempdir().unwrap();
    Place { directory: root.path().join("keys"), _root: root }
}

/// A place with the keys `default`, which signs, and `second`.
fn place_with_two() -> Place {
    let place = place();
    let mut ring = open(&place).unwrap();
    ring.generate(FIRST_SELECTOR, &SystemRng).unwrap();
    ring.generate("second", &SystemRng).unwrap();
    place
}

fn open(place: &Place) -> Result<Keyring, KeyError> {
    Keyring::open(Domain::parse("a.test").unwrap(), &place.directory)
}

fn selector(key: &Arc<Key>) -> &str {
    key.id().selector()
}

fn to(selector: &str) -> Rotation<'_> {
    Rotation { selector: Some(selector), ..Rotation::default() }
}

fn forced(selector: &str) -> Rotation<'_> {
    Rotation { force: true, ..to(selector) }
}

fn rotate(place: &Place, wanted: Rotation<'_>) -> Result<Arc<Key>, KeyError> {
    open(place)?.rotate(wanted, &SystemRng, NOW)
}

/// The active and the waiting key, and every key's state, as the next program to open the ring sees them.
fn states(place: &Place, now: UnixMillis) -> Vec<(String, KeyState)> {
    let ring = open(place).unwrap();
    ring.keys().map(|key| (selector(key).to_owned(), ring.state(key, now))).collect()
}

fn state(place: &Place, selector: &str, now: UnixMillis) -> KeyState {
    let ring = open(place).unwrap();
    ring.state(ring.key(selector).unwrap(), now)
}

#[test]
fn the_first_key_signs_and_a_later_one_waits() {
    let place = place();
    let mut ring = open(&place).unwrap();
    assert!(ring.active().unwrap_err().to_string().contains("atp keys generate --domain a.test"));
    ring.generate(FIRST_SELECTOR, &SystemRng).unwrap();
    ring.generate("Second", &SystemRng).unwrap();
    let second = ring.rotate(to("SECOND"), &SystemRng, NOW).unwrap();

    let mut ring = open(&place).unwrap();
    assert_eq!(selector(ring.active().unwrap()), "default");
    assert_eq!(ring.pending().map(selector), Some("second"));
    assert!(ring.activate_pending(second.id(), NOW).unwrap().is_some());

    let ring = open(&place).unwrap();
    assert_eq!(selector(ring.active().unwrap()), "second");
    assert!(ring.pending().is_none());
    assert_eq!(ring.keys().count(), 2);
}

#[test]
fn a_key_that_was_waiting_does_not_replace_a_forced_one() {
    let place = place_with_two();
    let waiting = rotate(&place, to("waiting")).unwrap();
    rotate(&place, forced("second")).unwrap();

    let mut ring = open(&place).unwrap();
    assert_eq!(selector(ring.active().unwrap()), "second");
    assert!(ring.pending().is_none());
    assert!(ring.activate_pending(waiting.id(), NOW).unwrap().is_none());
}

#[test]
fn the_life_of_a_key() {
    use KeyState::{Active, Idle, Pending, Retired, Retiring, Revoked};
    let place = place_with_two();
    assert_eq!((state(&place, "default", NOW), state(&place, "second", NOW)), (Active, Idle));
    let second = rotate(&place, to("second")).unwrap();
    assert_eq!((state(&place, "default", NOW), state(&place, "second", NOW)), (Active, Pending));
    open(&place).unwrap().activate_pending(second.id(), NOW).unwrap();
    let later = NOW.plus(RETIRING);
    assert_eq!((state(&place, "default", NOW), state(&place, "second", NOW)), (Retiring, Active));
    assert_eq!((state(&place, "default", later), state(&place, "second", later)), (Retired, Active));

    // There is a way back, and the same wait after it.
    rotate(&place, forced("default")).unwrap();
    assert_eq!((state(&place, "default", later), state(&place, "second", NOW)), (Active, Retiring));
    open(&place).unwrap().rotate(forced("second"), &SystemRng, later).unwrap();
    assert_eq!(state(&place, "default", later), Retiring);

    open(&place).unwrap().revoke("default", true, later).unwrap();
    assert_eq!(state(&place, "default", later), Revoked);
    assert!(open(&place).unwrap().key("default").unwrap().record().to_string().ends_with(" t=s"));
}

#[test]
fn a_retired_key_is_told_of_once() {
    let place = place_with_two();
    rotate(&place, forced("second")).unwrap();
    let told = |now| open(&place).unwrap().newly_retired(now).unwrap().len();
    let later = NOW.plus(RETIRING);
    assert_eq!((told(NOW), told(later), told(later)), (0, 1, 0));
}

#[test]
fn a_revoked_key_never_signs_again() {
    let place = place_with_two();
    open(&place).unwrap().revoke("second", false, NOW).unwrap();
    for wanted in [to("second"), forced("second")] {
        let refused = rotate(&place, wanted).unwrap_err();
        assert!(matches!(refused, KeyError::Unusable { why: Unusable::Revoked, .. }), "{refused}");
    }
    // Nor if it was waiting.
    rotate(&place, to("third")).unwrap();
    open(&place).unwrap().revoke("third", false, NOW).unwrap();
    assert!(open(&place).unwrap().pending().is_none());
}

#[test]
fn the_key_that_signs_is_revoked_by_force_only() {
    let place = place_with_two();
    let refused = open(&place).unwrap().revoke("default", false, NOW).unwrap_err();
    assert!(refused.to_string().contains("atp keys rotate --domain a.test"), "{refused}");
    open(&place).unwrap().revoke("default", true, NOW).unwrap();
    let ring = open(&place).unwrap();
    assert_eq!(ring.active().unwrap().usable(NOW.seconds()), Err(Unusable::Revoked));
    rotate(&place, forced("second")).unwrap();
    assert_eq!(selector(open(&place).unwrap().active().unwrap()), "second");
}

/// It once was, within seconds of the change and without a word.
#[test]
fn a_key_that_signed_a_moment_ago_is_revoked_by_force_only() {
    let place = place_with_two();
    rotate(&place, forced("second")).unwrap();
    let refused = open(&place).unwrap().revoke("default", false, NOW).unwrap_err().to_string();
    for wanted in ["may still be under way", "wait until 2026-11-20 14:00:00 UTC", "--force"] {
        assert!(refused.contains(wanted), "{refused}");
    }
    assert_eq!(state(&place, "default", NOW), KeyState::Retiring);
    open(&place).unwrap().revoke("default", false, NOW.plus(RETIRING)).unwrap();
    assert_eq!(state(&place, "default", NOW), KeyState::Revoked);
}

/// It once made a third key, and left the one idle whose record others had already seen.
#[test]
fn force_takes_the_key_that_waits() {
    let at_once = Rotation { force: true, ..Rotation::default() };
    let place = place_with_two();
    rotate(&place, to("second")).unwrap();
    assert_eq!(selector(&rotate(&place, at_once).unwrap()), "second");
    assert_eq!(open(&place).unwrap().keys().count(), 2);
    // Without one that waits it is a new key; so it is where that has expired.
    assert_eq!(selector(&rotate(&place, at_once).unwrap()), "s20261120");
    let brief = Rotation { expires: Some(NOW.seconds() + 1), ..Rotation::default() };
    let waiting = rotate(&place, brief).unwrap();
    let later = NOW.plus(Duration::from_secs(2));
    let forced = open(&place).unwrap().rotate(at_once, &SystemRng, later).unwrap();
    assert_ne!(selector(&forced), selector(&waiting));
}

#[test]
fn only_what_nothing_needs_is_removed() {
    let place = place_with_two();
    let remove = |selector: &str, now| open(&place).unwrap().remove(selector, now).map(|_| ());
    for selector in ["default", "second"] {
        assert!(matches!(remove(selector, NOW), Err(KeyError::InUse { .. })), "{selector}");
    }
    rotate(&place, forced("second")).unwrap();
    assert!(matches!(remove("default", NOW), Err(KeyError::InUse { state: "retiring", .. })));
    remove("default", NOW.plus(RETIRING)).unwrap();
    // The name is free again, and what was noted of the old key is not true of the new one.
    open(&place).unwrap().generate("default", &SystemRng).unwrap();
    assert_eq!(state(&place, "default", NOW.plus(RETIRING)), KeyState::Idle);
    open(&place).unwrap().revoke("second", true, NOW).unwrap();
    assert!(matches!(remove("second", NOW), Err(KeyError::InUse { state: "chosen to sign", .. })));
}

#[test]
fn an_end_is_kept_with_its_key() {
    let place = place();
    let end = NOW.seconds() + 1000;
    open(&place).unwrap().generate_until("default", Some(end), &SystemRng).unwrap();
    let key = open(&place).unwrap().active().unwrap().clone();
    assert!(key.record().to_string().ends_with(&format!(" x={end}")));
    assert_eq!((key.usable(end - 1), key.usable(end)), (Ok(()), Err(Unusable::Expired)));
    rotate(&place, Rotation { expires: Some(end + 1), ..to("next") }).unwrap();
    assert_eq!(open(&place).unwrap().key("next").unwrap().expires(), Some(end + 1));
    let late = UnixMillis::from_seconds(end + 1);
    let refused = open(&place).unwrap().rotate(forced("next"), &SystemRng, late).unwrap_err();
    assert!(matches!(refused, KeyError::Unusable { why: Unusable::Expired, .. }));
}

#[test]
fn a_ring_of_an_older_program_opens() {
    let place = place_with_two();
    rotate(&place, forced("second")).unwrap();
    // That is all there was: keys and pointers.
    std::fs::remove_file(place.directory.join("ring.toml")).unwrap();
    assert_eq!(
        states(&place, NOW),
        [("default".into(), KeyState::Idle), ("second".into(), KeyState::Active)]
    );
}

/// Found when the first key was written and the pointer to it was not: the server did not start any more.
#[test]
fn a_first_key_that_was_not_pointed_at_yet_is_taken() {
    let place = place();
    open(&place).unwrap().generate(FIRST_SELECTOR, &SystemRng).unwrap();
    std::fs::remove_file(place.directory.join(ACTIVE)).unwrap();
    let mut ring = open(&place).unwrap();
    assert_eq!(ring.ensure_active(&SystemRng).unwrap().as_ref().map(selector), Some("default"));
    assert!(ring.ensure_active(&SystemRng).unwrap().is_none());
    assert_eq!(selector(open(&place).unwrap().active().unwrap()), "default");

    open(&place).unwrap().generate("second", &SystemRng).unwrap();
    std::fs::remove_file(place.directory.join(ACTIVE)).unwrap();
    let error = open(&place).unwrap().ensure_active(&SystemRng).unwrap_err();
    assert!(error.to_string().contains("--force --selector"), "{error}");
}

#[test]
fn changes_at_the_same_time_are_all_kept() {
    const EACH: usize = 12;
    let place = place();
    open(&place).unwrap().generate(FIRST_SELECTOR, &SystemRng).unwrap();
    // All begin with the ring as it is now.
    let rings: Vec<_> = (0..4).map(|_| open(&place).unwrap()).collect();
    std::thread::scope(|scope| {
        for mut ring in rings {
            scope.spawn(move || {
                for _ in 0..EACH {
                    let wanted = Rotation { expires: Some(NOW.seconds() + 9), ..Rotation::default() };
                    ring.rotate(wanted, &SystemRng, NOW).unwrap();
                }
            });
        }
    });
    let ring = open(&place).unwrap();
    assert_eq!(ring.keys().count(), 1 + 4 * EACH);
    assert_eq!(ring.keys().filter(|key| key.expires().is_some()).count(), 4 * EACH);
}

#[test]
fn a_change_under_way_is_waited_for_or_not() {
    let place = place_with_two();
    let held = lock::hold(&place.directory, Duration::ZERO).unwrap();
    let mut ring = open(&place).unwrap().without_waiting();
    assert!(matches!(ring.revoke("second", false, NOW), Err(KeyError::Busy(_))));
    drop(held);
    ring.revoke("second", false, NOW).unwrap();
}

#[test]
fn what_was_seen_is_kept_and_what_is_damaged_counts_as_nothing() {
    let place = place_with_two();
    let ring = open(&place).unwrap();
    let seen =
        Seen { key: "k".into(), at: 1, showing: 1, servers: 2, all_at: None, shown_for: 3, wanted_for: 4 };
    let seen = BTreeMap::from([("second".to_owned(), seen)]);
    ring.note_seen(seen.clone()).unwrap();
    assert_eq!(ring.seen(), seen);
    // It is another key's.
    assert_eq!(ring.summaries(NOW, &ring.seen())[1].published, None);
    private::write(&place.directory.join("seen.toml"), b"\xff").unwrap();
    assert!(ring.seen().is_empty());
}

#[test]
fn a_key_is_never_overwritten() {
    let place = place();
    let mut ring = open(&place).unwrap();
    let first = ring.generate("default", &SystemRng).unwrap().public_key();
    assert!(matches!(ring.generate("DEFAULT", &SystemRng), Err(KeyError::Exists(_))));
    assert_eq!(open(&place).unwrap().active().unwrap().public_key(), first);
}

#[test]
fn an_imported_key_is_the_same_key() {
    let (here, there) = (place(), place());
    let key = open(&there).unwrap().generate("default", &SystemRng).unwrap();
    let mut ring = open(&here).unwrap();
    ring.import("default", key.to_pem().unwrap().as_bytes()).unwrap();
    assert_eq!(open(&here).unwrap().active().unwrap().public_key(), key.public_key());
    assert!(matches!(ring.import("other", b"x"), Err(KeyError::NotImportable(_))));
}

#[test]
fn files_that_cannot_be_trusted_are_refused() {
    let place = place();
    let mut ring = open(&place).unwrap();
    ring.generate("default", &SystemRng).unwrap();
    let path = ring.key_path("default");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(open(&place).unwrap_err().to_string().contains("chmod 600"));
    private::write(&path, b"damaged").unwrap();
    assert!(matches!(open(&place), Err(KeyError::Damaged { .. })));
    private::write(&place.directory.join("ring.toml"), b"keys = 1").unwrap();
    let error = open(&place).unwrap_err().to_string();
    assert!(error.contains("ring.toml: ") && !error.contains('\n'), "{error}");
}

#[test]
fn selectors() {
    let place = place();
    let mut ring = open(&place).unwrap();
    for bad in ["", "a.b", "../x", "-a", "ä"] {
        assert!(matches!(ring.generate(bad, &SystemRng), Err(KeyError::Selector(_))), "{bad}");
    }
    let new = Rotation::default();
    assert!(matches!(ring.rotate(new, &SystemRng, NOW), Err(KeyError::NoActive { .. })));
    ring.generate("default", &SystemRng).unwrap();
    assert_eq!(selector(&ring.rotate(new, &SystemRng, NOW).unwrap()), "s20261120");
    assert_eq!(selector(&ring.rotate(new, &SystemRng, NOW).unwrap()), "s20261120-2");
    assert!(matches!(ring.rotate(to("default"), &SystemRng, NOW), Err(KeyError::IsActive(_))));
}

mod damage;
mod kills;
