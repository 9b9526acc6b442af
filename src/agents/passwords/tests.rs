//! What passes, after which work, and who waits.

use super::*;
use crate::env::rng::SystemRng;

const HERE: Origin = Origin::V4(std::net::Ipv4Addr::LOCALHOST);

fn service() -> Passwords {
    Passwords::new(Cost::cheap(), Arc::new(SystemRng))
}

fn bot() -> Address {
    Address::parse("bot@a.test").unwrap()
}

#[test]
fn the_production_cost_is_the_one_decided() {
    let Cost(params) = Cost::production();
    assert_eq!((params.m_cost(), params.t_cost(), params.p_cost()), (19 * 1024, 2, 1));
}

#[tokio::test]
async fn only_the_right_password_passes_and_salts_differ() {
    let passwords = service();
    let secret = Secret::from("pä:ss");
    let hash = passwords.hash(&secret, HERE).await.unwrap();
    assert!(hash.starts_with("$argon2id$v=19$"), "{hash}");
    assert_ne!(hash, passwords.hash(&secret, HERE).await.unwrap());
    for _ in 0..2 {
        assert!(passwords.verify(&bot(), Some(&hash), &secret, HERE).await.unwrap());
        assert!(!passwords.verify(&bot(), Some(&hash), &Secret::from("pass"), HERE).await.unwrap());
    }
}

#[tokio::test]
async fn the_dummy_is_checked_like_a_real_hash_and_never_passes() {
    let passwords = service();
    for password in ["", "x"] {
        assert!(!passwords.verify(&bot(), None, &Secret::from(password), HERE).await.unwrap());
    }
    // As a stored hash it is well-formed: the algorithm runs and says no.
    let dummy = dummy(&Cost::cheap());
    assert!(!passwords.verify(&bot(), Some(&dummy), &Secret::from("x"), HERE).await.unwrap());
}

#[tokio::test]
async fn a_changed_password_is_not_remembered() {
    let passwords = service();
    let (old, new) = (Secret::from("old"), Secret::from("new"));
    let hash = passwords.hash(&old, HERE).await.unwrap();
    assert!(passwords.verify(&bot(), Some(&hash), &old, HERE).await.unwrap());
    let changed = passwords.hash(&new, HERE).await.unwrap();
    assert!(!passwords.verify(&bot(), Some(&changed), &old, HERE).await.unwrap());
    assert!(!passwords.verify(&bot(), None, &old, HERE).await.unwrap());
}

#[tokio::test]
async fn passwords_that_cannot_be_are_refused() {
    let passwords = service();
    let long = Secret::new("x".repeat(MAX_PASSWORD_BYTES + 1));
    assert_eq!(passwords.hash(&long, HERE).await.unwrap_err().reason, Reason::NameMalformed);
    for refused in ["", "atpa_x"] {
        assert_eq!(
            passwords.hash(&Secret::from(refused), HERE).await.unwrap_err().reason,
            Reason::NameMalformed
        );
    }
    assert!(!passwords.verify(&bot(), None, &long, HERE).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_a_turn_is_bounded() {
    let passwords = service();
    let _all = all_turns(&passwords).await;
    let fault = passwords.verify(&bot(), None, &Secret::from("x"), HERE).await.unwrap_err();
    assert_eq!((fault.reason, fault.retry_after), (Reason::RateLimited, Some(MAX_WAIT)));
}

async fn all_turns(passwords: &Passwords) -> Vec<Turn> {
    let mut turns = Vec::new();
    for _ in 0..MAX_AT_ONCE {
        turns.extend(passwords.turns.take(Origin::Here, MAX_WAIT).await);
    }
    assert_eq!(turns.len(), MAX_AT_ONCE);
    turns
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_turns_away_at_once() {
    let passwords = Arc::new(service());
    let _all = all_turns(&passwords).await;
    for address in 0..MAX_WAITING as u32 {
        let passwords = passwords.clone();
        let origin = Origin::V4(address.into());
        tokio::spawn(async move { passwords.verify(&bot(), None, &Secret::from("x"), origin).await });
    }
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    assert_eq!(passwords.waiting(), MAX_WAITING);
    let begun = tokio::time::Instant::now();
    let fault = passwords.verify(&bot(), None, &Secret::from("x"), HERE).await.unwrap_err();
    assert_eq!((fault.reason, begun.elapsed()), (Reason::RateLimited, std::time::Duration::ZERO));
}

#[tokio::test]
async fn a_success_is_answered_without_hashing_again() {
    let passwords = service();
    let secret = Secret::from("p");
    let hash = passwords.hash(&secret, HERE).await.unwrap();
    assert!(passwords.verify(&bot(), Some(&hash), &secret, HERE).await.unwrap());
    let _all = all_turns(&passwords).await;
    assert!(passwords.verify(&bot(), Some(&hash), &secret, HERE).await.unwrap());
}

#[tokio::test]
async fn a_login_that_waited_is_not_hashed_if_the_same_one_has_been() {
    let passwords = Arc::new(service());
    // No password fits this one: only what is remembered can.
    let (stored, secret) = (dummy(&Cost::cheap()), Secret::from("p"));
    let all = all_turns(&passwords).await;
    let login = {
        let (passwords, stored, secret) = (passwords.clone(), stored.clone(), secret.clone());
        tokio::spawn(async move { passwords.verify(&bot(), Some(&stored), &secret, HERE).await })
    };
    tokio::task::yield_now().await;
    passwords.remembered.insert(passwords.remembered.mark(&bot(), &stored, &secret, HERE));
    drop(all);
    assert!(login.await.unwrap().unwrap());
}

#[tokio::test(start_paused = true)]
async fn whoever_has_to_wait_costs_no_work_and_is_told_for_how_long() {
    let passwords = service();
    let hash = passwords.hash(&Secret::from("p"), HERE).await.unwrap();
    let wrong = Secret::from("wrong");
    for _ in 0..5 {
        assert!(!passwords.verify(&bot(), Some(&hash), &wrong, HERE).await.unwrap());
    }
    let before = passwords.hashes();
    for _ in 0..100 {
        let fault = passwords.verify(&bot(), Some(&hash), &wrong, HERE).await.unwrap_err();
        assert_eq!((fault.reason, fault.retry_after), (Reason::RateLimited, Some(Duration::from_secs(1))));
        assert_eq!(fault.public, "Too many wrong credentials from your address; try again in 1 s.");
    }
    // Not even the right one: that would be a guess for free.
    assert!(passwords.verify(&bot(), Some(&hash), &Secret::from("p"), HERE).await.is_err());
    assert_eq!(passwords.hashes(), before);
    let elsewhere = Origin::V4([192, 0, 2, 1].into());
    assert!(passwords.verify(&bot(), Some(&hash), &Secret::from("p"), elsewhere).await.unwrap());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(passwords.verify(&bot(), Some(&hash), &Secret::from("p"), HERE).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn guesses_at_the_same_moment_are_not_all_looked_at() {
    let passwords = Arc::new(service());
    let hash = passwords.hash(&Secret::from("p"), HERE).await.unwrap();
    let before = passwords.hashes();
    let guess = |number: u32| {
        let (passwords, hash) = (passwords.clone(), hash.clone());
        let secret = Secret::from(format!("guess {number}"));
        tokio::spawn(async move { passwords.verify(&bot(), Some(&hash), &secret, HERE).await.is_err() })
    };
    let guesses: Vec<_> = (0..200).map(guess).collect();
    for guess in guesses {
        guess.await.unwrap();
    }
    let looked_at = passwords.hashes() - before;
    assert!(looked_at < 5 + MAX_AT_ONCE as u64, "{looked_at} of 200");
}
