//! Honest callers among many others.

use tokio::time::{Instant, sleep};

use super::*;

/// What is done in a turn takes so long.
const WORK: Duration = Duration::from_millis(50);
const AT_ONCE: usize = 2;
const MAX_WAIT: Duration = Duration::from_secs(5);

fn origin(number: u32) -> Origin {
    Origin::V4(number.into())
}

fn turns() -> Arc<Turns> {
    Arc::new(Turns::new(AT_ONCE, 256))
}

/// `a_second` calls a second from each of these addresses, for a minute.
fn flood(turns: &Arc<Turns>, addresses: std::ops::Range<u32>, a_second: u32) {
    for address in addresses {
        let turns = Arc::clone(turns);
        tokio::spawn(async move {
            for _ in 0..60 * a_second {
                let turns = Arc::clone(&turns);
                tokio::spawn(async move {
                    if let Ok(_turn) = turns.take(origin(address), MAX_WAIT).await {
                        sleep(WORK).await;
                    }
                });
                sleep(Duration::from_secs(1) / a_second).await;
            }
        });
    }
}

/// How long each of so many callers, one about every half second and each from an address of its own, has waited.
async fn honest(turns: &Turns, callers: u32) -> Vec<Duration> {
    let mut waits = Vec::new();
    for caller in 0..callers {
        // Not when a turn of the others just ends.
        sleep(Duration::from_millis(483)).await;
        let begun = Instant::now();
        let turn = turns.take(origin(1_000_000 + caller), MAX_WAIT).await;
        assert!(turn.is_ok(), "caller {caller} was sent away after {:?}", begun.elapsed());
        waits.push(begun.elapsed());
        sleep(WORK).await;
    }
    waits
}

#[tokio::test(start_paused = true)]
async fn a_thousand_a_second_from_one_address_or_from_many_hold_up_nobody_else() {
    for (addresses, each) in [(1, 1000), (200, 5)] {
        let turns = turns();
        flood(&turns, 1..1 + addresses, each);
        // All of the addresses have come, and fill all places.
        sleep(Duration::from_secs(10)).await;
        assert!(turns.waiting() > 200, "{}", turns.waiting());
        let longest = honest(&turns, 40).await.into_iter().max().unwrap_or_default();
        println!("{addresses} addresses, {each} a second each: an honest caller waits {longest:?} at most");
        assert!(longest <= 3 * WORK, "{addresses} addresses: {longest:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_is_served_however_many_are_new() {
    let turns = turns();
    let _both = (turns.take(origin(1), MAX_WAIT).await, turns.take(origin(1), MAX_WAIT).await);
    let old = {
        let turns = Arc::clone(&turns);
        let waits = (0..3).map(move |_| {
            let turns = Arc::clone(&turns);
            tokio::spawn(async move { turns.take(origin(1), MAX_WAIT).await.is_ok() })
        });
        waits.collect::<Vec<_>>()
    };
    sleep(WORK).await;
    // Each is new: an address that has never been seen.
    for address in 2..200 {
        let turns = Arc::clone(&turns);
        tokio::spawn(async move {
            sleep(WORK / 2 * address).await;
            if let Ok(_turn) = turns.take(origin(address), MAX_WAIT).await {
                sleep(WORK).await;
            }
        });
    }
    drop(_both);
    for wait in old {
        assert!(wait.await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn who_gave_up_takes_no_turn_and_a_turn_is_never_lost() {
    let turns = turns();
    for round in 0..3 {
        let (one, two) = (turns.take(origin(1), MAX_WAIT).await, turns.take(origin(1), MAX_WAIT).await);
        assert!(one.is_ok() && two.is_ok(), "round {round}");
        let mut waits = Vec::new();
        for address in 2..50 {
            let turns = Arc::clone(&turns);
            waits.push(tokio::spawn(async move { turns.take(origin(address), WORK).await.is_err() }));
        }
        for wait in waits {
            assert!(wait.await.unwrap());
        }
        assert_eq!(turns.waiting(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_longest_line_makes_room() {
    let turns = Arc::new(Turns::new(0, 4));
    let wait = |address| {
        let turns = Arc::clone(&turns);
        tokio::spawn(async move {
            let begun = Instant::now();
            assert!(turns.take(origin(address), MAX_WAIT).await.is_err());
            begun.elapsed()
        })
    };
    let first = [wait(1), wait(1), wait(1), wait(1)];
    sleep(WORK).await;
    let second = wait(2);
    let mut waited = Vec::new();
    for wait in first.into_iter().chain([second]) {
        waited.push(wait.await.unwrap());
    }
    assert_eq!(waited, [MAX_WAIT, MAX_WAIT, MAX_WAIT, WORK, MAX_WAIT], "the last of the first went");
    // Of as many lines as there are places none is longer than another.
    let all = [wait(1), wait(2), wait(3), wait(4)];
    sleep(WORK).await;
    assert_eq!(wait(5).await.unwrap(), Duration::ZERO);
    for wait in all {
        assert_eq!(wait.await.unwrap(), MAX_WAIT);
    }
}
