//! Who has to wait after which guesses, and who does not.

use std::net::Ipv4Addr;

use tokio::time::{advance, sleep};

use super::*;
use crate::env::rng::SystemRng;

fn guesses() -> Guesses {
    Guesses::new(&SystemRng)
}

fn at(number: u32) -> Origin {
    Origin::V4(Ipv4Addr::from(number))
}

/// Guesses once, if that is looked at. How long it has to wait, if not.
fn guess(guesses: &Guesses, account: &str, origin: Origin) -> Option<Duration> {
    let name = guesses.name(account);
    match guesses.admit(name, origin, false) {
        Admission::Check => guesses.failed(name, origin),
        Admission::Later(wait) => return Some(wait),
        Admission::Known => panic!("nothing is known"),
    }
    None
}

/// Shows the right password, which was not shown a moment ago. Whether it is let in.
fn login(guesses: &Guesses, account: &str, origin: Origin) -> bool {
    let name = guesses.name(account);
    let is_let_in = guesses.admit(name, origin, false) == Admission::Check;
    if is_let_in {
        guesses.succeeded(name, origin);
    }
    is_let_in
}

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

#[tokio::test(start_paused = true)]
async fn each_guess_after_the_fifth_doubles_the_wait_up_to_five_minutes() {
    let guesses = guesses();
    for _ in 0..5 {
        assert_eq!(guess(&guesses, "bot@a.test", at(1)), None);
    }
    for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
        assert_eq!(guess(&guesses, "bot@a.test", at(1)), seconds(wait));
        advance(Duration::from_secs(wait)).await;
        assert_eq!(guess(&guesses, "bot@a.test", at(1)), None, "after {wait} s");
    }
    // What was wrong is forgiven one by one, and all of it by a success.
    sleep(Duration::from_secs(300)).await;
    assert!(login(&guesses, "bot@a.test", at(1)));
    for _ in 0..5 {
        assert_eq!(guess(&guesses, "bot@a.test", at(1)), None);
    }
    assert_eq!(guess(&guesses, "bot@a.test", at(1)), seconds(1));
}

#[tokio::test(start_paused = true)]
async fn an_account_that_nobody_has_is_throttled_like_any_other() {
    // Nothing in here knows which accounts there are; that nobody else makes a difference is shown in
    // `accounts::tests::guesses`.
    let guesses = guesses();
    let waits = ["bot@a.test", "none@a.test"]
        .map(|account| (0..10).map(|_| guess(&guesses, account, at(1))).collect::<Vec<_>>());
    assert_eq!(waits[0], waits[1]);
}

#[tokio::test(start_paused = true)]
async fn one_wrong_password_in_a_loop_holds_up_nobody_else_at_that_address() {
    let guesses = guesses();
    let mut looked_at = 0;
    for second in 0..24 * 3600 {
        looked_at += u32::from(guess(&guesses, "loop@a.test", at(1)).is_none());
        if second % 600 == 0 {
            // Agents that have never logged in from there, one after another.
            assert!(login(&guesses, &format!("agent{second}@a.test"), at(1)), "after {second} s");
        }
        advance(Duration::from_secs(1)).await;
    }
    println!("a wrong password once a second for a day was looked at {looked_at} times");
    assert!(looked_at < 5 + 9 + 24 * 12 + 2, "{looked_at}");
}

#[tokio::test(start_paused = true)]
async fn who_guesses_at_many_accounts_has_to_wait_and_known_neighbours_do_not() {
    let guesses = guesses();
    assert!(login(&guesses, "neighbour@a.test", at(1)));
    let mut looked_at = 0;
    for number in 0..3600 {
        looked_at += u32::from(guess(&guesses, &format!("a{number}@a.test"), at(1)).is_none());
        advance(Duration::from_secs(1)).await;
    }
    assert!((60..240).contains(&looked_at), "{looked_at}");
    assert!(login(&guesses, "neighbour@a.test", at(1)), "it was right from there");
    assert!(login(&guesses, "a1@a.test", at(2)), "from elsewhere");
}

#[tokio::test(start_paused = true)]
async fn many_addresses_lock_nobody_out() {
    let guesses = guesses();
    assert!(login(&guesses, "bot@a.test", at(1)));
    // A thousand addresses, each as fast as it may, for ten minutes.
    let mut looked_at = 0;
    for _ in 0..600 {
        for address in 1000..2000 {
            looked_at += u32::from(guess(&guesses, "bot@a.test", at(address)).is_none());
        }
        advance(Duration::from_secs(1)).await;
    }
    println!("a thousand addresses, 600,000 guesses in ten minutes: {looked_at} were looked at");
    assert!(looked_at < 5_000, "{looked_at}: each one or a few, then once in five minutes");
    assert!(login(&guesses, "bot@a.test", at(1)), "where it was right before");
    assert!(login(&guesses, "bot@a.test", at(2)), "where it has never been");
}

#[tokio::test(start_paused = true)]
async fn what_was_right_a_moment_ago_from_there_passes_although_others_guess_from_there() {
    let guesses = guesses();
    let name = guesses.name("bot@a.test");
    while guess(&guesses, "bot@a.test", at(1)).is_none() {}
    assert_eq!(guesses.admit(name, at(1), true), Admission::Known);
    // But not for ever: this, too, says which password is right.
    for _ in 0..MAX_MISSES {
        assert!(guess(&guesses, "bot@a.test", at(1)).is_some());
    }
    assert!(matches!(guesses.admit(name, at(1), true), Admission::Later(_)));
    advance(PAIR.max_wait).await;
    assert_eq!(guesses.admit(name, at(1), true), Admission::Known);
}

#[tokio::test(start_paused = true)]
async fn invented_names_do_not_make_it_forget_and_keep_nobody_out() {
    let guesses = guesses();
    let name = guesses.name("bot@a.test");
    for _ in 0..8 {
        guesses.failed(name, at(1));
    }
    for number in 0..u32::try_from(MAX_PAIRS).unwrap() + 1000 {
        guesses.failed(guesses.name(&number.to_string()), at(10 + number / 50));
    }
    assert_eq!(guesses.admit(name, at(1), false), Admission::Later(Duration::from_secs(8)));
    assert!(login(&guesses, "new@a.test", at(2)));
    let (pairs, origins, accounts) =
        guesses.with(|counted, _| (counted.pairs.known(), counted.origins.known(), counted.accounts.known()));
    assert!(pairs <= MAX_PAIRS && origins <= MAX_ORIGINS && accounts <= MAX_ACCOUNTS);
}

#[tokio::test(start_paused = true)]
async fn the_operator_s_token_is_not_guessed_and_not_locked_out() {
    let guesses = guesses();
    assert_eq!(guesses.operator(at(1), true), Ok(true));
    let mut looked_at = 0;
    for _ in 0..6000 {
        looked_at += u32::from(guesses.operator(at(2), false).is_ok());
        looked_at += u32::from(guesses.operator(at(1), false).is_ok());
        advance(Duration::from_millis(100)).await;
    }
    assert!(looked_at < 2 * (20 + 4 + 60 + 2), "{looked_at} in ten minutes");
    assert_eq!(guesses.operator(at(3), true), Ok(true), "from elsewhere");
    let refused = guesses.operator(at(2), true).is_err() || guesses.operator(at(2), false).is_err();
    assert!(refused, "nobody learns there that it would have been right");
}
