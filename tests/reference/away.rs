//! A reference that is away for longer than it remembers, and each cause of its "Replay detected"
//! (`docs/protocol.md` §10, "Towards the reference"), with both clocks in the hand of the test.

use std::path::Path;
use std::time::Duration;

use atp::spool::entry::SentRecipient;
use atp::spool::state::Ending;

use crate::once::Lock;
use crate::process::until;
use crate::python::with_reference;
use crate::sender::Moved;
use crate::wire::Lost;

const BOB: &str = "bob@ref.test";
const N: &str = "msg-away";
const TEN_MINUTES: Duration = Duration::from_secs(600);

fn start(python: &Path) -> Moved {
    let moved = Moved::start(python, &["bob"]);
    moved.submit(N, BOB);
    moved
}

fn said(recipient: &SentRecipient) -> &str {
    recipient.last.as_ref().map(|step| step.text.as_str()).unwrap_or_default()
}

fn assert_inferred(recipient: &SentRecipient) {
    assert_eq!(recipient.ending, Some(Ending::DeliveredInferred), "{recipient:?}");
}

/// An attempt whose message arrives and whose answer does not.
fn lose_an_answer(moved: &Moved) {
    let lost = moved.wire.lost();
    moved.wire.lose_answer(1, Lost::Cut);
    let known = moved.attempt(N);
    assert_eq!((known.ending, moved.wire.lost()), (None, lost + 1), "{known:?}");
    until("the message there", &[moved.server()], || (!moved.nonces(BOB).is_empty()).then_some(()));
}

#[test]
fn away_for_ten_minutes_before_it_had_the_message() {
    let Some(python) = with_reference() else { return };
    let mut moved = start(python);
    moved.crash_theirs();
    for _ in 0..6 {
        assert_eq!(moved.attempt(N).ending, None);
    }
    moved.clocks.pass(TEN_MINUTES);
    moved.restart_theirs();
    assert_eq!(moved.attempt(N).ending, Some(Ending::Delivered));
    assert_eq!(moved.nonces(BOB), [N]);
}

/// It has forgotten the nonce, but there is a message of that nonce in its mailboxes: to that it says 500.
#[test]
fn away_for_ten_minutes_after_it_had_the_message() {
    let Some(python) = with_reference() else { return };
    let mut moved = start(python);
    lose_an_answer(&moved);
    moved.crash_theirs();
    assert_eq!(moved.attempt(N).ending, None);
    moved.clocks.pass(TEN_MINUTES);
    moved.restart_theirs();
    let stumbled = moved.attempt(N);
    assert_eq!((stumbled.ending, said(&stumbled)), (None, "Internal server error"));
    assert_inferred(&moved.attempt(N));
    assert_eq!(moved.nonces(BOB), [N]);
}

/// Within its 300 s it remembers over a restart.
#[test]
fn away_for_a_minute_after_it_had_the_message() {
    let Some(python) = with_reference() else { return };
    let mut moved = start(python);
    lose_an_answer(&moved);
    moved.crash_theirs();
    moved.clocks.pass(Duration::from_secs(60));
    moved.restart_theirs();
    assert_inferred(&moved.attempt(N));
    assert_eq!(moved.nonces(BOB), [N]);
}

#[test]
fn a_stamp_it_finds_too_old_or_in_the_future_is_no_delivery() {
    let Some(python) = with_reference() else { return };
    for apart in [330, -75] {
        let moved = start(python);
        moved.clocks.set_apart(apart);
        for _ in 0..3 {
            let refused = moved.attempt(N);
            assert_eq!(refused.ending, None, "{apart}");
            assert!(said(&refused).contains("its clock is not ours"), "{apart}: {}", said(&refused));
        }
        moved.clocks.set_apart(0);
        assert_eq!(moved.attempt(N).ending, Some(Ending::Delivered), "{apart}");
        assert_eq!(moved.nonces(BOB), [N], "{apart}: nothing was ever seen under the author's nonce");
    }
}

/// While the clocks are apart "Replay detected" may mean either; when they agree again it means one thing.
#[test]
fn after_a_lost_answer_a_replay_counts_only_while_the_clocks_agree() {
    let Some(python) = with_reference() else { return };
    let moved = start(python);
    lose_an_answer(&moved);
    for apart in [-75, 75, 330] {
        moved.clocks.set_apart(apart);
        assert_eq!(moved.attempt(N).ending, None, "{apart}");
    }
    moved.clocks.set_apart(0);
    assert_inferred(&moved.attempt(N));
    assert_eq!(moved.nonces(BOB), [N]);
}

#[test]
fn a_lost_answer_after_its_500_is_told_from_the_500() {
    let Some(python) = with_reference() else { return };
    let moved = start(python);
    let lock = Lock::hold(python, &moved.database());
    for _ in 0..2 {
        let stumbled = moved.attempt(N);
        assert_eq!((stumbled.ending, said(&stumbled)), (None, "Internal server error"));
    }
    drop(lock);
    lose_an_answer(&moved);
    assert_inferred(&moved.attempt(N));
    let nonces = moved.nonces(BOB);
    assert!(nonces.len() == 1 && nonces[0].starts_with("d2-"), "{nonces:?}");
}
