//! Registering, proving, removing, and tokens in between.

use std::ops::Deref;

use super::*;
use crate::agents::passwords::Cost;
use crate::agents::tokens::{self, NewToken};
use crate::proto::time::UnixMillis;
use crate::spool::entry::tokens::Scope;
use crate::spool::store;
use crate::testing::clock::SetClock;
use crate::testing::disk::MemoryDisk;
use crate::testing::files::MemoryFiles;
use crate::testing::resolver::ScriptedResolver;

const FAR: Origin = Origin::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

/// Accounts, and the clock they go by.
struct Tested {
    accounts: Accounts,
    clock: Arc<SetClock>,
}

impl Deref for Tested {
    type Target = Accounts;
    fn deref(&self) -> &Accounts {
        &self.accounts
    }
}

fn accounts() -> Tested {
    let clock = Arc::new(SetClock::at(UnixMillis::from_seconds(1_000_000)));
    let env = crate::testing::env(&Arc::new(ScriptedResolver::default()), &clock);
    let (store, committer, _health) =
        store::open(Arc::new(MemoryDisk::default()), Arc::new(MemoryFiles::default())).unwrap();
    tokio::spawn(committer.run());
    let passwords = Passwords::new(Cost::cheap(), env.rng.clone());
    Tested { accounts: Accounts::new(Arc::new(store), passwords, env), clock }
}

async fn register(accounts: &Accounts, name: &str, password: &str) -> Result<Address, Fault> {
    let domains = [Domain::parse("a.test").unwrap()];
    let rules = Rules { domains: &domains, short_names_in: &domains[0], mode: &|_| None };
    let far = "192.0.2.1".parse().unwrap();
    let caller = Caller { peer: far, local: far, proxied: false, operator: false };
    accounts.register(name, &Secret::from(password), &caller, &rules).await
}

fn login(id: &str, password: &str) -> Credential {
    Credential::Password { address: Address::parse(id).unwrap(), password: Secret::from(password) }
}

#[tokio::test]
async fn register_prove_list_remove() {
    let accounts = accounts();
    let bot = register(&accounts, "Bot", "pw").await.unwrap();
    assert_eq!(bot.to_string(), "bot@a.test");
    assert_eq!(register(&accounts, "bot@a.test", "x").await.unwrap_err().reason, Reason::NameTaken);
    assert_eq!(register(&accounts, "b", "").await.unwrap_err().reason, Reason::NameMalformed);
    assert_eq!(accounts.authenticate(&login("bot@a.test", "pw"), FAR).await.unwrap().agent, bot);
    assert_eq!(accounts.list().await.unwrap(), vec![bot.clone()]);
    accounts.remove(&bot, false).await.unwrap();
    assert_eq!(accounts.remove(&bot, false).await.unwrap_err().reason, Reason::UnknownAgent);
    assert!(accounts.authenticate(&login("bot@a.test", "pw"), FAR).await.is_err());
}

fn token(secret: &Secret, agent: Option<&str>) -> Credential {
    let agent = agent.map(|agent| Address::parse(agent).unwrap());
    Credential::Token { token: secret.clone(), agent }
}

async fn owner(accounts: &Accounts, name: &str) -> Authenticated {
    register(accounts, name, "pw").await.unwrap();
    accounts.authenticate(&login(&format!("{name}@a.test"), "pw"), FAR).await.unwrap()
}

fn wanted(name: &str, scope: Scope, life: Option<Duration>) -> NewToken {
    NewToken { name: name.into(), scope, life }
}

#[tokio::test]
async fn a_token_stands_for_its_agent_until_it_is_revoked() {
    let accounts = accounts();
    let bot = owner(&accounts, "bot").await;
    register(&accounts, "other", "pw").await.unwrap();
    let (secret, _) = accounts.create_token(&bot, wanted("ci", Scope::Send, None)).await.unwrap();
    for of in [None, Some("bot@a.test")] {
        let shown = accounts.authenticate(&token(&secret, of), FAR).await.unwrap();
        assert_eq!((&shown.agent, shown.mailbox), (&bot.agent, bot.mailbox));
        assert!(shown.may(Need::Send).is_ok() && accounts.still_holds(&shown).await.unwrap());
        // It cannot make others, and can end nothing but itself.
        let refused = accounts.create_token(&shown, wanted("x", Scope::Send, None)).await.unwrap_err();
        assert_eq!(refused.reason, Reason::Forbidden);
        assert_eq!(accounts.tokens(&shown).await.unwrap_err().reason, Reason::Forbidden);
        assert_eq!(accounts.revoke_token(&shown, "x").await.unwrap_err().reason, Reason::Forbidden);
    }
    let anothers = accounts.authenticate(&token(&secret, Some("other@a.test")), FAR).await.unwrap_err();
    let shown = accounts.authenticate(&token(&secret, None), FAR).await.unwrap();
    accounts.revoke_token(&shown, "ci").await.unwrap();
    assert!(!accounts.still_holds(&shown).await.unwrap());
    let revoked = accounts.authenticate(&token(&secret, None), FAR).await.unwrap_err();
    let invented = accounts.authenticate(&token(&Secret::from("atpa_x"), None), FAR).await.unwrap_err();
    assert_eq!((anothers.reason, &anothers.public), (Reason::BadCredential, &revoked.public));
    assert_eq!((invented.reason, &invented.public), (Reason::BadCredential, &revoked.public));
    assert_eq!(accounts.revoke_token(&bot, "ci").await.unwrap_err().reason, Reason::NoSuchPath);
}

#[tokio::test]
async fn a_token_expires_and_says_when() {
    let accounts = accounts();
    let bot = owner(&accounts, "bot").await;
    let life = Duration::from_secs(60);
    let (secret, _) = accounts.create_token(&bot, wanted("ci", Scope::Both, Some(life))).await.unwrap();
    let shown = accounts.authenticate(&token(&secret, None), FAR).await.unwrap();
    assert_eq!((accounts.holds_for(&shown), accounts.holds_for(&bot)), (Some(life), None));
    accounts.clock.advance(life);
    assert_eq!(accounts.holds_for(&shown), Some(Duration::ZERO));
    assert!(!accounts.still_holds(&shown).await.unwrap());
    assert!(accounts.authenticate(&token(&secret, None), FAR).await.is_err());
}

#[tokio::test]
async fn what_was_proved_does_not_outlive_the_agent() {
    let accounts = accounts();
    let bot = owner(&accounts, "bot").await;
    let (secret, _) = accounts.create_token(&bot, wanted("ci", Scope::Both, None)).await.unwrap();
    let shown = accounts.authenticate(&token(&secret, None), FAR).await.unwrap();
    accounts.remove(&bot.agent, true).await.unwrap();
    register(&accounts, "bot", "pw").await.unwrap();
    assert!(!accounts.still_holds(&shown).await.unwrap() && !accounts.still_holds(&bot).await.unwrap());
    assert!(accounts.authenticate(&token(&secret, None), FAR).await.is_err());
    accounts.remove(&bot.agent, false).await.unwrap();
    let reserved = register(&accounts, "bot", "pw").await.unwrap_err();
    assert_eq!(reserved.reason, Reason::NameTaken);
    accounts.clock.advance(RESERVED_FOR);
    assert!(register(&accounts, "bot", "pw").await.is_err(), "the daemon has not been running for so long");
    assert_eq!(accounts.remove(&bot.agent, true).await.unwrap(), Removal::Released);
    register(&accounts, "bot", "pw").await.unwrap();
}

#[tokio::test]
async fn names_and_lives_of_tokens_have_limits() {
    let accounts = accounts();
    let bot = owner(&accounts, "bot").await;
    let long = Some(tokens::MAX_LIFE + Duration::from_secs(1));
    for (name, life) in [("", None), ("a/b", None), ("ci", long), ("ci", Some(Duration::ZERO))] {
        let refused = accounts.create_token(&bot, wanted(name, Scope::Both, life)).await.unwrap_err();
        assert_eq!(refused.reason, Reason::Malformed, "{name:?} {life:?}");
    }
    accounts.create_token(&bot, wanted("ci", Scope::Both, None)).await.unwrap();
    let taken = accounts.create_token(&bot, wanted("ci", Scope::Send, None)).await.unwrap_err();
    assert_eq!(taken.reason, Reason::Conflict);
    let kept: Vec<_> = accounts.tokens(&bot).await.unwrap().into_iter().map(|token| token.name).collect();
    assert_eq!(kept, ["ci"]);
}

#[tokio::test]
async fn an_unknown_agent_and_a_wrong_password_read_the_same() {
    let accounts = accounts();
    register(&accounts, "bot", "pw").await.unwrap();
    let wrong = accounts.authenticate(&login("bot@a.test", "pw2"), FAR).await.unwrap_err();
    let unknown = accounts.authenticate(&login("none@a.test", "pw"), FAR).await.unwrap_err();
    assert_eq!((wrong.reason, unknown.reason), (Reason::BadCredential, Reason::BadCredential));
    assert_eq!((wrong.public, wrong.private), (unknown.public, unknown.private));
}

/// How many hashes a call has cost.
async fn work<T>(accounts: &Accounts, call: impl Future<Output = T>) -> (u64, T) {
    let before = accounts.hashes();
    let done = call.await;
    (accounts.hashes() - before, done)
}

#[tokio::test(start_paused = true)]
async fn a_guess_at_an_agent_that_is_not_there_costs_and_says_the_same() {
    let accounts = accounts();
    register(&accounts, "bot", "pw").await.unwrap();
    accounts.ensure_operator_mailboxes(&Domain::parse("a.test").unwrap()).await.unwrap();
    let ids = ["bot@a.test", "none@a.test", "bot@elsewhere.test", "postmaster@a.test"];
    let long = "x".repeat(5000);
    let mut stories = Vec::new();
    for (id, address) in ids.iter().zip(1_u8..) {
        // From an address of its own, beyond the point from which on it has to wait.
        let origin = Origin::V4([192, 0, 2, address].into());
        let mut story = Vec::new();
        for password in ["wrong", "", &long, "wrong", "other", "wrong", "more"] {
            let login = login(id, password);
            let (hashes, answer) = work(&accounts, accounts.authenticate(&login, origin)).await;
            let fault = answer.unwrap_err();
            story.push((hashes, fault.reason, fault.public, fault.private, fault.retry_after));
        }
        stories.push(story);
    }
    assert_eq!(stories[0].iter().map(|step| step.0).collect::<Vec<_>>(), [1, 1, 0, 1, 1, 0, 0]);
    for (story, id) in stories.iter().zip(ids) {
        assert_eq!(*story, stories[0], "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_works_wherever_others_guess() {
    let accounts = accounts();
    let bot = owner(&accounts, "bot").await;
    let (secret, _) = accounts.create_token(&bot, wanted("ci", Scope::Both, None)).await.unwrap();
    let guessed = Origin::V4([192, 0, 2, 66].into());
    while accounts.authenticate(&login("bot@a.test", "wrong"), guessed).await.unwrap_err().reason
        == Reason::BadCredential
    {}
    let (hashes, shown) = work(&accounts, accounts.authenticate(&token(&secret, None), guessed)).await;
    assert_eq!((hashes, shown.unwrap().agent), (0, bot.agent));
}

#[tokio::test]
async fn a_name_that_cannot_be_had_costs_no_hash() {
    let accounts = accounts();
    let bot = register(&accounts, "bot", "pw").await.unwrap();
    register(&accounts, "gone", "pw").await.unwrap();
    accounts.remove(&Address::parse("gone@a.test").unwrap(), false).await.unwrap();
    for name in ["bot", "gone", "postmaster", "x@elsewhere.test", ""] {
        let (hashes, answer) = work(&accounts, register(&accounts, name, "pw")).await;
        assert_eq!((hashes, answer.is_err()), (0, true), "{name:?}");
    }
    assert_eq!(accounts.list().await.unwrap(), [bot]);
}
