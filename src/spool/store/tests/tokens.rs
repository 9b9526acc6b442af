//! Tokens, passwords, and what is left of an agent that was removed.

use super::*;
use crate::spool::contract::tokens::{Holder, MAX_TOKENS, Proof, Registration, TokenCreation, TokenStore};
use crate::spool::entry::tokens::{Scope, TokenHash, TokenRecord};

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn register(store: &SpoolStore, name: &str) -> Registration {
    store.register(address(name), Some("hash".into()), T0).await.unwrap()
}

/// Who shows the password `hash` belongs to.
async fn owner(store: &SpoolStore, name: &str, hash: &str) -> Holder {
    let mailbox = store.account(address(name)).await.unwrap().unwrap().mailbox;
    Holder { agent: address(name), mailbox, proof: Proof::Password(hash.into()) }
}

fn by_token(holder: &Holder, text: &str) -> Holder {
    Holder { proof: Proof::Token(TokenHash::of(text)), ..holder.clone() }
}

async fn create(store: &SpoolStore, by: &Holder, text: &str, life: Option<Duration>) -> TokenCreation {
    let record = TokenRecord {
        agent: by.agent.clone(),
        mailbox: by.mailbox,
        name: text.to_owned(),
        scope: Scope::Both,
        created_at: T0,
        expires_at: life.map(|life| T0.plus(life)),
    };
    store.create_token(by.clone(), TokenHash::of(text), record, T0).await.unwrap()
}

async fn names(store: &SpoolStore, holder: &Holder) -> Vec<String> {
    store.tokens(holder.mailbox).await.unwrap().into_iter().map(|token| token.name).collect()
}

#[tokio::test]
async fn a_token_works_until_it_is_revoked_also_after_a_crash() {
    let (store, disk) = fresh_store();
    register(&store, "bob@a.test").await;
    let bob = owner(&store, "bob@a.test", "hash").await;
    let mut watch = store.arrivals().watch(bob.mailbox);
    assert_eq!(create(&store, &bob, "ci", None).await, TokenCreation::Created);
    assert_eq!(create(&store, &bob, "ci", None).await, TokenCreation::NameTaken);
    watch.changed().await;

    let (store, disk) = after_crash(&disk);
    assert_eq!(store.token(TokenHash::of("ci")).await.unwrap().unwrap().agent, bob.agent);
    assert_eq!(names(&store, &bob).await, ["ci"]);
    let ci = by_token(&bob, "ci");
    assert!(store.holds(&ci, T0).await.unwrap());
    let mut watch = store.arrivals().watch(bob.mailbox);
    assert!(store.revoke_token(bob.mailbox, "ci".into()).await.unwrap());
    watch.changed().await;
    assert!(!store.revoke_token(bob.mailbox, "ci".into()).await.unwrap());

    let (store, _) = after_crash(&disk);
    assert!(!store.holds(&ci, T0).await.unwrap());
    assert!(store.token(TokenHash::of("ci")).await.unwrap().is_none());
    assert!(names(&store, &bob).await.is_empty());
}

#[tokio::test]
async fn a_token_ends_by_itself_and_makes_room() {
    let (store, _) = fresh_store();
    register(&store, "bob@a.test").await;
    let bob = owner(&store, "bob@a.test", "hash").await;
    assert_eq!(create(&store, &bob, "short", Some(DAY)).await, TokenCreation::Created);
    let short = by_token(&bob, "short");
    assert!(store.holds(&short, UnixMillis(T0.plus(DAY).0 - 1)).await.unwrap());
    assert!(!store.holds(&short, T0.plus(DAY)).await.unwrap());
    for number in 1..MAX_TOKENS {
        let created = create(&store, &bob, &format!("t{number}"), None).await;
        assert_eq!(created, TokenCreation::Created, "{number}");
    }
    assert_eq!(create(&store, &bob, "more", None).await, TokenCreation::TooMany);
    // Later, when one of them has expired, its name and place are free again.
    let later = T0.plus(DAY);
    let record = store.token(TokenHash::of("short")).await.unwrap().unwrap();
    let record = TokenRecord { expires_at: None, ..record };
    let created = store.create_token(bob.clone(), TokenHash::of("new"), record, later).await.unwrap();
    assert_eq!(created, TokenCreation::Created);
    assert_eq!(names(&store, &bob).await.len(), MAX_TOKENS);
    assert!(!store.holds(&short, T0).await.unwrap());
}

#[tokio::test]
async fn a_changed_password_ends_what_was_held_by_the_old_one() {
    let (store, disk) = fresh_store();
    register(&store, "bob@a.test").await;
    let bob = owner(&store, "bob@a.test", "hash").await;
    create(&store, &bob, "ci", None).await;
    create(&store, &bob, "old", Some(DAY)).await;
    let mut watch = store.arrivals().watch(bob.mailbox);
    let change = |by: &Holder, hash: &str, revoke| {
        store.change_password(by.clone(), hash.to_owned(), revoke, T0.plus(DAY))
    };
    assert_eq!(change(&bob, "second", false).await.unwrap(), Some(1), "what has expired is gone");
    watch.changed().await;
    assert!(!store.holds(&bob, T0).await.unwrap());
    assert!(store.holds(&by_token(&bob, "ci"), T0).await.unwrap());
    // Whoever was let in by the old one a moment ago can do no more harm.
    assert_eq!(change(&bob, "third", false).await.unwrap(), None);
    assert_eq!(create(&store, &bob, "late", None).await, TokenCreation::Denied);

    let second = owner(&store, "bob@a.test", "second").await;
    assert_eq!(change(&second, "third", true).await.unwrap(), Some(0));
    let (store, _) = after_crash(&disk);
    assert!(!store.holds(&by_token(&bob, "ci"), T0).await.unwrap());
    assert!(store.holds(&owner(&store, "bob@a.test", "third").await, T0).await.unwrap());
}

#[tokio::test]
async fn a_damaged_token_is_in_nobodys_way() {
    let (store, disk) = fresh_store();
    register(&store, "bob@a.test").await;
    let bob = owner(&store, "bob@a.test", "hash").await;
    for text in ["ci", "damaged"] {
        create(&store, &bob, text, None).await;
    }
    disk.apply(vec![Write::Put(keys::tokens::token(&TokenHash::of("damaged")), vec![200])]).unwrap();
    assert_eq!(names(&store, &bob).await, ["ci"]);
    assert!(store.token(TokenHash::of("damaged")).await.is_err());
    let changed = store.change_password(bob.clone(), "second".into(), true, T0).await.unwrap();
    assert_eq!(changed, Some(0));
    assert!(store.token(TokenHash::of("damaged")).await.unwrap().is_none());
}

#[tokio::test]
async fn tokens_of_a_removed_agent_are_worth_nothing_to_its_namesake_and_are_swept() {
    let (store, disk) = fresh_store();
    register(&store, "bob@a.test").await;
    let before = disk.keys();
    let bob = owner(&store, "bob@a.test", "hash").await;
    let watch = &mut store.arrivals().watch(bob.mailbox);
    create(&store, &bob, "ci", None).await;
    let ci = by_token(&bob, "ci");
    watch.changed().await;
    store.remove_account(address("bob@a.test"), None).await.unwrap();
    watch.changed().await;
    assert!(!store.holds(&ci, T0).await.unwrap());
    register(&store, "bob@a.test").await;
    assert!(!store.holds(&ci, T0).await.unwrap() && !store.holds(&bob, T0).await.unwrap());
    let namesake = owner(&store, "bob@a.test", "hash").await;
    assert!(!store.holds(&by_token(&namesake, "ci"), T0).await.unwrap());
    assert!(names(&store, &namesake).await.is_empty());
    while store.forget(at(0)).await.unwrap() {}
    assert!(store.token(TokenHash::of("ci")).await.unwrap().is_none());
    assert_eq!(disk.keys() - before, 1, "the running time");
}

#[tokio::test]
async fn a_removed_agents_name_is_kept_from_others_by_both_clocks() {
    let (store, disk) = fresh_store();
    register(&store, "bob@a.test").await;
    let until = at(0).plus(30 * DAY);
    let removal = store.remove_account(address("bob@a.test"), Some(until)).await.unwrap();
    assert_eq!(removal, Removal::Removed);
    let (store, _) = after_crash(&disk);
    assert_eq!(register(&store, "bob@a.test").await, Registration::Reserved);
    let jumped = Moment { wall: until.wall, ..at(0) };
    while store.forget(jumped).await.unwrap() {}
    let later = store.register(address("bob@a.test"), None, until.wall).await.unwrap();
    assert_eq!(later, Registration::Reserved, "only the wall clock says so");
    let again = store.remove_account(address("bob@a.test"), Some(until)).await.unwrap();
    assert_eq!(again, Removal::Unknown);
    while store.forget(until).await.unwrap() {}
    assert_eq!(register(&store, "bob@a.test").await, Registration::Registered);
}

#[tokio::test]
async fn a_damaged_name_keeps_no_other_from_being_forgotten_and_can_be_released() {
    let (store, disk) = fresh_store();
    for name in ["amy@a.test", "bob@a.test"] {
        register(&store, name).await;
        store.remove_account(address(name), Some(at(0))).await.unwrap();
    }
    disk.apply(vec![Write::Put(keys::tokens::reserved(&address("amy@a.test")), vec![200])]).unwrap();
    let before = disk.keys();
    while store.forget(EVER).await.unwrap() {}
    // The running time comes, the two marks of removed mailboxes, their domains and one name go.
    assert_eq!(before - disk.keys(), 4);
    assert!(store.register(address("amy@a.test"), None, T0).await.is_err());
    assert_eq!(store.remove_account(address("amy@a.test"), None).await.unwrap(), Removal::Released);
    assert_eq!(register(&store, "amy@a.test").await, Registration::Registered);
}

#[tokio::test]
async fn a_name_is_released_at_the_removal_or_later() {
    let (store, _) = fresh_store();
    let bob = || address("bob@a.test");
    register(&store, "bob@a.test").await;
    store.remove_account(bob(), Some(EVER)).await.unwrap();
    assert_eq!(store.remove_account(bob(), None).await.unwrap(), Removal::Released);
    assert_eq!(store.remove_account(bob(), None).await.unwrap(), Removal::Unknown);
    assert_eq!(register(&store, "bob@a.test").await, Registration::Registered);
    assert_eq!(store.remove_account(bob(), None).await.unwrap(), Removal::Removed);
    assert_eq!(register(&store, "bob@a.test").await, Registration::Registered);
}

#[tokio::test]
async fn cursors_of_a_name_registered_anew_go_on_above_its_predecessors() {
    let (store, disk) = fresh_store();
    let cursor = async |store: &SpoolStore, nonce: &str| match store
        .deliver(delivery(nonce, "bob@a.test", 1))
        .await
        .unwrap()
    {
        DeliveryOutcome::Delivered { cursor, .. } => cursor,
        other => panic!("{other:?}"),
    };
    register(&store, "bob@a.test").await;
    let first = cursor(&store, "r1").await;
    store.remove_account(address("bob@a.test"), None).await.unwrap();
    while store.forget(at(0)).await.unwrap() {}
    let (store, _) = after_crash(&disk);
    register(&store, "bob@a.test").await;
    assert!(cursor(&store, "r2").await > first);
}

#[tokio::test]
async fn nothing_a_namesake_sends_counts_as_accepted_before() {
    let (store, _) = fresh_store();
    let submit = || store.accept(submission("n1", b"{}", &[("x@b.test", Fate::Remote)]));
    register(&store, "me@a.test").await;
    let rows = rows(submit().await.unwrap());
    assert!(matches!(submit().await.unwrap(), Acceptance::Already));
    store.remove_account(address("me@a.test"), None).await.unwrap();
    store.register(address("me@a.test"), Some("other".into()), UnixMillis(T0.0 + 1)).await.unwrap();
    assert!(matches!(submit().await.unwrap(), Acceptance::Conflict));
    let delivered = Settlement::Delivered { ending: Ending::Delivered, step: step("250 2.0.0") };
    store.settle(rows[0].id, T0, delivered).await.unwrap();
    assert!(matches!(submit().await.unwrap(), Acceptance::Conflict));
}
