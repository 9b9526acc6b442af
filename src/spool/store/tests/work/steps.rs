//! Workers at work on a disk that fails at step N, for every N: it is opened again in process, or the power goes; they
//! ask again, and in the end everything is counted.

use std::collections::BTreeSet;

use super::super::every_step::{After, Daemon, MANY_STEPS};
use super::*;

const MESSAGES: usize = 6;
/// Rounds in which everything is done with, or a dead letter.
const MANY_ROUNDS: u64 = 40;

/// What the workers have been told.
#[derive(Default)]
struct Told {
    all: Vec<u64>,
    done: BTreeSet<u64>,
    dead: BTreeSet<u64>,
    restored: Option<u64>,
}

/// Messages are completed, given back, left until the lease ends, accepted and left; the first is given back until it
/// is a dead letter, put back, and given back again.
async fn play(daemon: &mut Daemon) -> Told {
    let mut told = Told::default();
    daemon.ask(async |store| store.register(bob(), Some("hash".into()), T0).await).await;
    for number in 0..MESSAGES {
        let nonce = format!("m{number}");
        daemon.ask(async |store| store.deliver(delivery(&nonce, BOB, 1)).await).await;
    }
    let page = daemon.ask(async |store| store.mailbox(bob(), 0, 99, usize::MAX).await).await.unwrap();
    told.all = page.mail.iter().map(|mail| mail.cursor).collect();
    for round in 0..MANY_ROUNDS {
        if told.done.len() + told.dead.len() == MESSAGES {
            break;
        }
        let now = T0.plus(LEASE * u32::try_from(round).unwrap());
        let asked = claims(4, round, now);
        let claimed = daemon.ask(async |store| store.claim(bob(), asked.clone()).await).await.unwrap();
        for (place, grant) in (0..).zip(&claimed.grants) {
            work(daemon, &mut told, grant.claim, round + place, now).await;
        }
        find_dead(daemon, &mut told, now).await;
    }
    told
}

async fn work(daemon: &mut Daemon, told: &mut Told, claim: ClaimId, how: u64, now: UnixMillis) {
    assert!(!told.done.contains(&claim.cursor), "handed out although it is done with");
    let acks = |outcome| new_ack(Holder::Claim(claim), outcome, now);
    let give_back = NewNack { claim, delay: Some(Duration::ZERO), reason: None, now };
    let nacks = async |store: &SpoolStore| store.nack(bob(), give_back.clone()).await;
    if claim.cursor == told.all[0] {
        daemon.ask(nacks).await.unwrap();
        return;
    }
    match how % 4 {
        0 => {
            let done = acks(Outcome::Completed);
            daemon.ask(async |store| store.ack(bob(), done.clone()).await).await.unwrap();
            assert!(told.done.insert(claim.cursor));
        }
        1 => drop(daemon.ask(nacks).await.unwrap()),
        2 => {
            let accepted = acks(Outcome::Accepted);
            daemon.ask(async |store| store.ack(bob(), accepted.clone()).await).await.unwrap();
            let extends = async |store: &SpoolStore| store.extend(bob(), claim, LEASE / 2, now).await;
            daemon.ask(extends).await.unwrap();
        }
        _ => {}
    }
}

/// Puts one dead letter back, once.
async fn find_dead(daemon: &mut Daemon, told: &mut Told, now: UnixMillis) {
    let page = daemon.ask(async |store| store.dead_letters(bob(), 0, 99, usize::MAX).await).await;
    for letter in page.letters {
        let cursor = letter.mail.cursor;
        if told.restored.is_none() {
            // After a failure it may have been done before.
            daemon.ask(async |store| store.restore(bob(), cursor, now).await).await;
            told.restored = Some(cursor);
        } else {
            told.dead.insert(cursor);
        }
    }
}

async fn count(store: &SpoolStore, disk: &MemoryDisk, told: &Told) {
    assert!(told.done.is_disjoint(&told.dead));
    let ended: Vec<u64> = told.done.union(&told.dead).copied().collect();
    assert_eq!(ended, told.all, "each is done with or a dead letter");
    assert!(told.dead.contains(&told.all[0]) && told.restored == Some(told.all[0]));
    assert_eq!(dead(store).await.into_iter().map(|(cursor, _)| cursor).collect::<BTreeSet<_>>(), told.dead);
    let claimed = claim(store, 99, 999, EVER.wall).await;
    assert!(claimed.grants.is_empty() && claimed.dead.is_empty(), "{claimed:?}");
    let kinds = [keys::CLAIMABLE, keys::DEAD_LETTERS, keys::WORK, keys::EXPIRING];
    let expected = [0, told.dead.len(), MESSAGES, told.done.len()];
    assert_eq!(kinds.map(|kind| of_kind(disk, kind)), expected);
}

#[tokio::test(start_paused = true)]
async fn whatever_step_fails_each_message_is_done_with_once_and_none_is_lost() {
    for after in [After::ReopenedWithout, After::ReopenedWith, After::PowerCut] {
        let mut failures = 0;
        for step in 0..MANY_STEPS {
            let disk = Arc::new(MemoryDisk::default());
            let mut daemon = Daemon::on(disk.clone(), after);
            disk.keep_unsynced(matches!(after, After::ReopenedWith));
            disk.fail_once_after(step);
            let told = play(&mut daemon).await;
            count(&daemon.store, &daemon.disk, &told).await;
            let failed = disk.has_failed();
            let (store, disk) = after_crash(&daemon.disk);
            count(&store, &disk, &told).await;
            if !failed {
                break;
            }
            failures += 1;
        }
        assert!((50..MANY_STEPS).contains(&failures), "{after:?}: {failures} steps");
    }
}
