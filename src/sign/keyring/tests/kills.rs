//! A change that is killed at any of its steps on disk.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::config::private::steps;

/// A copy of the ring as it is now, with whatever lies between the files.
fn copy(of: &Path) -> Place {
    let copy = place();
    private::create_dir(&copy.directory).unwrap();
    for file in std::fs::read_dir(of).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), copy.directory.join(file.file_name())).unwrap();
    }
    copy
}

/// The ring before a change, after each step the change makes on disk, and after it.
fn killed(place: &Place, change: impl FnOnce(&Place)) -> Vec<Place> {
    let left = Rc::new(RefCell::new(vec![copy(&place.directory)]));
    let (seen, directory) = (Rc::clone(&left), place.directory.clone());
    steps::watched(move || seen.borrow_mut().push(copy(&directory)), || change(place));
    Rc::into_inner(left).unwrap().into_inner()
}

/// Every key of a ring, with its secret.
fn pems(place: &Place) -> BTreeMap<String, String> {
    let ring = open(place).unwrap();
    ring.keys().map(|key| (selector(key).to_owned(), key.to_pem().unwrap().to_string())).collect()
}

fn activate(place: &Place) {
    let id = open(place).unwrap().pending().unwrap().id().clone();
    assert!(open(place).unwrap().activate_pending(&id, NOW).unwrap().is_some());
}

fn revoke(place: &Place) {
    drop(open(place).unwrap().revoke("second", false, NOW).unwrap());
}

#[test]
fn killed_at_any_step_a_ring_opens_with_every_key_that_signed() {
    type Change = fn(&Place);
    let until = Some(NOW.seconds() + 9);
    let changes: [(&str, Change, Change, &[&str]); 7] = [
        ("rotate", |_| {}, |place| drop(rotate(place, to("next")).unwrap()), &["default"]),
        (
            "rotate with an end",
            |_| {},
            |place| {
                let wanted = Rotation { expires: Some(NOW.seconds() + 9), ..to("next") };
                drop(rotate(place, wanted).unwrap());
            },
            &["default"],
        ),
        ("force", |_| {}, |place| drop(rotate(place, forced("second")).unwrap()), &["default", "second"]),
        (
            "force a new one",
            |_| {},
            |place| drop(rotate(place, forced("next")).unwrap()),
            &["default", "next"],
        ),
        ("activate", |place| drop(rotate(place, to("second")).unwrap()), activate, &["default", "second"]),
        ("revoke", |place| drop(rotate(place, to("second")).unwrap()), revoke, &["default"]),
        ("remove", revoke, |place| drop(open(place).unwrap().remove("second", NOW).unwrap()), &["default"]),
    ];
    for (name, before, change, may_sign) in changes {
        let place = place_with_two();
        before(&place);
        let had = pems(&place);
        let left = killed(&place, change);
        assert!(left.len() > 3, "{name}: {}", left.len());
        for (step, left) in left.iter().enumerate() {
            let ring = open(left).unwrap_or_else(|error| panic!("{name}, step {step}: {error}"));
            let active = selector(ring.active().unwrap()).to_owned();
            assert!(may_sign.contains(&active.as_str()), "{name}, step {step}: {active}");
            assert_eq!(ring.active().unwrap().usable(NOW.seconds()), Ok(()));
            let now = pems(left);
            let lost: Vec<_> = had.iter().filter(|(key, pem)| now.get(*key) != Some(pem)).collect();
            assert!(lost.is_empty() || (name == "remove" && lost[0].0 == "second"), "{name}, step {step}");
            if let Ok(next) = ring.key("next") {
                let end = if name == "rotate with an end" { until } else { None };
                assert_eq!(next.expires(), end, "{name}, step {step}");
            }
            let second = ring.key("second").map(|key| key.is_revoked());
            assert!(name != "remove" || second.as_ref().is_ok_and(|revoked| *revoked) || second.is_err());
            // Whoever tries again gets on, and mail goes on being signed.
            rotate(left, forced("third")).unwrap();
            let ring = open(left).unwrap();
            assert_eq!(selector(ring.active().unwrap()), "third", "{name}, step {step}");
            assert!(ring.pending().is_none(), "{name}, step {step}");
        }
    }
}

#[test]
fn killed_at_any_step_the_making_of_the_first_key_can_be_done_again() {
    let place = place();
    private::create_dir(&place.directory).unwrap();
    let left =
        killed(&place, |place| drop(open(place).unwrap().generate(FIRST_SELECTOR, &SystemRng).unwrap()));
    for (step, left) in left.iter().enumerate() {
        let mut ring = open(left).unwrap_or_else(|error| panic!("step {step}: {error}"));
        ring.ensure_active(&SystemRng).unwrap_or_else(|error| panic!("step {step}: {error}"));
        assert_eq!(selector(open(left).unwrap().active().unwrap()), FIRST_SELECTOR, "step {step}");
    }
}
