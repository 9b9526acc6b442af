//! What can be done to a mailbox, and how often what is tried.

use proptest::prelude::*;

use super::DAY;

/// What happens next. Who or what is meant is a number, taken modulo how many there are.
#[derive(Debug, Clone)]
pub(super) enum Move {
    Deliver { to: usize, size: usize, receipt: bool },
    Submit { size: usize, own: Vec<usize>, remote: bool, unknown: usize, receipts: bool },
    Settle { row: usize, how: usize },
    DeliverOwn { row: usize },
    Cancel { row: usize },
    Claim { whose: usize, limit: usize, lease: u64 },
    Ack { claim: usize, outcome: usize, receipt: bool },
    AckOwn { whose: usize, mail: usize, outcome: usize, receipt: bool },
    Nack { claim: usize, delay: u64 },
    Extend { claim: usize, lease: u64 },
    Bury { whose: usize },
    Restore { whose: usize, mail: usize },
    Delete { whose: usize, mail: usize },
    DeleteThrough { whose: usize, mail: usize },
    Limits { whose: usize, quota: Option<u64>, keep: Option<u64> },
    SetWebhook { whose: usize },
    RemoveWebhook { whose: usize },
    SweepWebhook { whose: usize },
    Push { whose: usize },
    EndPush { push: usize, how: usize },
    Remove { whose: usize },
    Register { whose: usize },
    Hear { submission: usize, outcome: usize },
    Expire,
    Forget,
    Pack,
    Wait { seconds: u64, running: bool },
    PowerCut { steps: u64 },
}

pub(super) fn moves() -> impl Strategy<Value = Vec<Move>> {
    let n = any::<usize>;
    let wait = prop_oneof![3 => 0..120_u64, 1 => DAY..20 * DAY];
    let mail = prop_oneof![
        6 => (n(), n(), any::<bool>()).prop_map(|(to, size, receipt)| Move::Deliver { to, size, receipt }),
        6 => (n(), prop::collection::vec(n(), 0..4), any::<bool>(), 0..3_usize, any::<bool>()).prop_map(
            |(size, own, remote, unknown, receipts)| Move::Submit { size, own, remote, unknown, receipts }),
        4 => (n(), 0..3_usize).prop_map(|(row, how)| Move::Settle { row, how }),
        3 => n().prop_map(|row| Move::DeliverOwn { row }),
        1 => n().prop_map(|row| Move::Cancel { row }),
        2 => (n(), 0..5_usize).prop_map(|(submission, outcome)| Move::Hear { submission, outcome }),
    ];
    let work = prop_oneof![
        8 => (n(), 1..4_usize, 1..90_u64).prop_map(|(whose, limit, lease)| Move::Claim { whose, limit, lease }),
        4 => (n(), n(), any::<bool>()).prop_map(|(claim, outcome, receipt)| Move::Ack { claim, outcome, receipt }),
        2 => (n(), n(), n(), any::<bool>()).prop_map(
            |(whose, mail, outcome, receipt)| Move::AckOwn { whose, mail, outcome, receipt }),
        6 => (n(), 0..60_u64).prop_map(|(claim, delay)| Move::Nack { claim, delay }),
        1 => (n(), 1..90_u64).prop_map(|(claim, lease)| Move::Extend { claim, lease }),
        2 => n().prop_map(|whose| Move::Bury { whose }),
        2 => (n(), n()).prop_map(|(whose, mail)| Move::Restore { whose, mail }),
    ];
    let keeping = prop_oneof![
        3 => (n(), n()).prop_map(|(whose, mail)| Move::Delete { whose, mail }),
        1 => (n(), n()).prop_map(|(whose, mail)| Move::DeleteThrough { whose, mail }),
        2 => (n(), prop::option::of(0..30_000_u64), prop::option::of(0..9_u64)).prop_map(
            |(whose, quota, keep)| Move::Limits { whose, quota, keep }),
        4 => Just(Move::Expire),
        3 => Just(Move::Forget),
        1 => Just(Move::Pack),
        1 => n().prop_map(|whose| Move::Remove { whose }),
        3 => n().prop_map(|whose| Move::Register { whose }),
    ];
    let pushing = prop_oneof![
        3 => n().prop_map(|whose| Move::SetWebhook { whose }),
        1 => n().prop_map(|whose| Move::RemoveWebhook { whose }),
        1 => n().prop_map(|whose| Move::SweepWebhook { whose }),
        6 => n().prop_map(|whose| Move::Push { whose }),
        5 => (n(), 0..4_usize).prop_map(|(push, how)| Move::EndPush { push, how }),
    ];
    let time = prop_oneof![
        8 => (wait, any::<bool>()).prop_map(|(seconds, running)| Move::Wait { seconds, running }),
        2 => (0..6_u64).prop_map(|steps| Move::PowerCut { steps }),
    ];
    let one = prop_oneof![5 => mail, 5 => work, 4 => keeping, 3 => pushing, 3 => time];
    prop::collection::vec(one, 1..200)
}
