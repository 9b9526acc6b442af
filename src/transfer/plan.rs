//! Which shape, stamp and canonical form an attempt takes (`docs/protocol.md` §3, §4, §10).

use super::outcome::Failure;
use super::profile::Profile;
use crate::proto::address::Address;
use crate::proto::routing::{CopyNonce, Shape};
use crate::proto::status::Reason;

/// What the attempt needs to know of its row.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The author's `to`.
    pub to: &'a Address,
    /// For whom this copy is.
    pub recipient: &'a Address,
    /// The author's stamp, Unix seconds.
    pub stamped_at: i64,
    /// Whether an earlier attempt found the stamp stale.
    pub restamp: bool,
    /// How many derived nonces a peer remembers although it did not keep the copy.
    pub renamed: u16,
    /// Whether an earlier recipient's copy goes to the same server and keeps the author's nonce. Matters only at
    /// a peer without `rcpt`.
    pub further_copy: bool,
    /// The first attempt that ended unanswered. `None`: every attempt was answered or never written.
    pub unanswered: Option<Earlier>,
}

/// An earlier attempt that ended unanswered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Earlier {
    /// Whether it was certainly written. An attempt at a peer without `rcpt` is noted before it is made, so one
    /// that may have been written went to a peer that had `rcpt`.
    pub written: bool,
    /// Whether it had the author's `to`, `cc` and nonce.
    pub native: bool,
    /// Under which nonce it went.
    pub nonce: CopyNonce,
    /// When it was made, Unix seconds.
    pub at: i64,
}

/// What the attempt sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The shape on the wire.
    pub shape: Shape,
    /// Whether the copy has the author's own `to`, `cc` and nonce.
    pub native: bool,
    /// The stamp, Unix seconds.
    pub stamp: i64,
    /// When it is made, Unix seconds.
    pub at: i64,
}

/// Plans an attempt at `now` (Unix seconds).
///
/// # Errors
/// A [`Failure`] if no copy may be sent to this peer now (or ever).
pub fn plan(row: &Situation<'_>, profile: &Profile, now: i64) -> Result<Plan, Failure> {
    // The peer may have a copy: a later one must look the same to be known for it.
    let earlier = row.unanswered.filter(|earlier| earlier.written || profile.rcpt);
    let native = earlier.map_or(profile.rcpt, |earlier| earlier.native);
    if native && !profile.rcpt && row.to != row.recipient {
        return Err(Failure::temporary(
            Reason::NoAnswer,
            "An earlier attempt may have delivered the message, and the server there no longer takes it in the \
             same form.",
        ));
    }
    let nonce = match (earlier, row.renamed) {
        (Some(earlier), _) => earlier.nonce,
        (None, _) if native => CopyNonce::Author,
        (None, 0) if row.further_copy => CopyNonce::Copy,
        (None, 0) => CopyNonce::Author,
        (None, number) => CopyNonce::Retry(number),
    };
    let shape =
        Shape { rcpt: native && profile.rcpt, fields: profile.fields, reference: profile.reference, nonce };
    Ok(Plan { shape, native, stamp: stamp(row, earlier, profile, now)?, at: now })
}

fn stamp(row: &Situation<'_>, earlier: Option<Earlier>, profile: &Profile, now: i64) -> Result<i64, Failure> {
    if profile.reference {
        return Ok(now);
    }
    let stamped_at = match (row.restamp, earlier) {
        (false, _) => row.stamped_at,
        (true, None) => return Ok(now),
        // The peer may have that copy, and forgets it when its stamp has become too old.
        (true, Some(earlier)) => earlier.at,
    };
    let too_old = profile.max_message_age_seconds.is_some_and(|age| now.saturating_sub(stamped_at) >= age);
    match (too_old, earlier) {
        (false, _) => Ok(stamped_at),
        (true, None) => Ok(now),
        (true, Some(_)) => Err(Failure::permanent(
            Reason::Expired.code(),
            "The message became too old for the recipient's server; an earlier attempt may have delivered it.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::outcome::Again;

    const OURS: Profile = Profile {
        reference: false,
        rcpt: true,
        fields: true,
        receipt: true,
        max_payload_bytes: None,
        max_message_age_seconds: Some(1000),
    };
    const REFERENCE: Profile = Profile {
        reference: true,
        rcpt: false,
        fields: false,
        receipt: false,
        max_payload_bytes: None,
        max_message_age_seconds: None,
    };

    fn with<T>(change: impl FnOnce(&mut Situation<'_>), use_it: impl FnOnce(&Situation<'_>) -> T) -> T {
        let to = Address::parse("to@x.test").unwrap();
        let cc = Address::parse("cc@x.test").unwrap();
        let mut row = Situation {
            to: &to,
            recipient: &cc,
            stamped_at: 0,
            restamp: false,
            renamed: 0,
            further_copy: true,
            unanswered: None,
        };
        change(&mut row);
        use_it(&row)
    }

    #[test]
    fn a_peer_like_us_gets_the_authors_message() {
        let plan = with(|_| {}, |row| plan(row, &OURS, 999)).unwrap();
        let shape = Shape { rcpt: true, fields: true, reference: false, nonce: CopyNonce::Author };
        assert_eq!(plan, Plan { shape, native: true, stamp: 0, at: 999 });
    }

    #[test]
    fn the_reference_gets_rewritten_copies_stamped_now() {
        let copy = with(|_| {}, |row| plan(row, &REFERENCE, 5)).unwrap();
        let shape = Shape { rcpt: false, fields: false, reference: true, nonce: CopyNonce::Copy };
        assert_eq!(copy, Plan { shape, native: false, stamp: 5, at: 5 });
        let first = with(|row| row.further_copy = false, |row| plan(row, &REFERENCE, 5)).unwrap();
        assert_eq!(first.shape.nonce, CopyNonce::Author);
        let renamed = with(|row| row.renamed = 2, |row| plan(row, &REFERENCE, 5)).unwrap();
        assert_eq!(renamed.shape.nonce, CopyNonce::Retry(2));
    }

    fn earlier(written: bool, native: bool, nonce: CopyNonce) -> Option<Earlier> {
        Some(Earlier { written, native, nonce, at: 500 })
    }

    fn native() -> Option<Earlier> {
        earlier(true, true, CopyNonce::Author)
    }

    #[test]
    fn an_unanswered_attempt_fixes_the_shape() {
        let waits = with(|row| row.unanswered = native(), |row| plan(row, &REFERENCE, 5)).unwrap_err();
        assert_eq!(waits.again, Again::Later(None));
        let copied = |row: &mut Situation<'_>| row.unanswered = earlier(true, false, CopyNonce::Copy);
        let kept = with(copied, |row| plan(row, &OURS, 5)).unwrap();
        assert_eq!(kept.shape, Shape { rcpt: false, fields: true, reference: false, nonce: CopyNonce::Copy });
    }

    #[test]
    fn an_unanswered_attempt_fixes_the_nonce_wherever_the_other_copies_go() {
        for nonce in [CopyNonce::Author, CopyNonce::Copy, CopyNonce::Retry(3)] {
            for further_copy in [true, false] {
                let change = |row: &mut Situation<'_>| {
                    row.further_copy = further_copy;
                    row.unanswered = earlier(true, false, nonce);
                };
                assert_eq!(with(change, |row| plan(row, &REFERENCE, 5)).unwrap().shape.nonce, nonce);
            }
        }
    }

    #[test]
    fn an_attempt_that_vanished_counts_only_where_it_could_have_been_made_without_a_note() {
        let vanished = |row: &mut Situation<'_>| row.unanswered = earlier(false, true, CopyNonce::Author);
        let copy = with(vanished, |row| plan(row, &REFERENCE, 5)).unwrap();
        assert_eq!((copy.native, copy.shape.nonce), (false, CopyNonce::Copy));
        assert!(with(vanished, |row| plan(row, &OURS, 5)).unwrap().native);
        assert_eq!(with(vanished, |row| plan(row, &OURS, 1000)).unwrap_err().again, Again::Never);
    }

    #[test]
    fn a_stamp_too_old_is_renewed_unless_the_peer_may_have_it() {
        assert_eq!(with(|_| {}, |row| plan(row, &OURS, 1000)).unwrap().stamp, 1000);
        assert_eq!(with(|row| row.restamp = true, |row| plan(row, &OURS, 7)).unwrap().stamp, 7);
        let bounced = with(|row| row.unanswered = native(), |row| plan(row, &OURS, 1000)).unwrap_err();
        assert_eq!(bounced.again, Again::Never);
    }

    #[test]
    fn a_renewed_stamp_stays_once_the_peer_may_have_the_copy() {
        let unanswered = |row: &mut Situation<'_>| {
            row.restamp = true;
            row.unanswered = native();
        };
        assert_eq!(with(unanswered, |row| plan(row, &OURS, 1499)).unwrap().stamp, 500);
        assert_eq!(with(unanswered, |row| plan(row, &OURS, 1500)).unwrap_err().again, Again::Never);
    }
}
