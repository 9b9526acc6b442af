use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use tokio::time::sleep;
use zeroize::Zeroizing;

use super::install::{self, Issued};
use super::issue::{Failure, Issue, Suggestion};
use super::run::Runner;
use super::schedule::Held;
use super::{Certificate, Handle, NotRenewed};
use crate::config::checked::{Acme, Challenge};
use crate::env::clock::Clock;
use crate::env::{BoxFuture, Env};
use crate::proto::address::Domain;
use crate::proto::time::UnixMillis;
use crate::testing;
use crate::testing::clock::TokioClock;

mod authority;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// 2026-11-21 00:00:00 UTC
const START: UnixMillis = UnixMillis(1_795_219_200_000);

/// What the next order comes to.
#[derive(Clone)]
enum Act {
    Issue(Duration),
    Fail(Option<Duration>, bool),
    Hang,
    OtherNames,
}

/// An authority that does as it was told, and notes when it was asked.
struct Script {
    clock: Arc<dyn Clock>,
    acts: Mutex<VecDeque<Act>>,
    asked: Mutex<Vec<UnixMillis>>,
    window: Mutex<Option<(UnixMillis, UnixMillis)>>,
    hindered: bool,
}

impl Script {
    fn new(clock: &Arc<dyn Clock>, acts: &[Act]) -> Arc<Script> {
        Arc::new(Script {
            clock: Arc::clone(clock),
            acts: Mutex::new(acts.iter().cloned().collect()),
            asked: Mutex::default(),
            window: Mutex::default(),
            hindered: false,
        })
    }

    /// When it was asked, from the start on.
    fn asked(&self) -> Vec<Duration> {
        self.asked.lock().unwrap().iter().map(|at| at.since(START)).collect()
    }
}

impl Issue for Arc<Script> {
    fn hindrance(&self) -> Option<&'static str> {
        self.hindered.then_some("run: something")
    }

    fn issue<'a>(
        &'a self,
        names: &'a [Domain],
        _: Option<&'a Certificate>,
    ) -> BoxFuture<'a, Result<Issued, Failure>> {
        let now = self.clock.now();
        self.asked.lock().unwrap().push(now);
        let act = self.acts.lock().unwrap().pop_front().unwrap_or(Act::Issue(90 * DAY));
        Box::pin(async move {
            match act {
                Act::Issue(life) => Ok(issued(names, now, life)),
                Act::OtherNames => Ok(issued(&[name("atp.b.example")], now, DAY)),
                Act::Fail(told, limited) => {
                    let failure = Failure::own("no such luck".into());
                    Err(Failure { told: told.map(|wait| now.plus(wait)), limited, ..failure })
                }
                Act::Hang => std::future::pending().await,
            }
        })
    }

    fn suggestion<'a>(&'a self, _: &'a Certificate) -> BoxFuture<'a, Result<Suggestion, Failure>> {
        let window = *self.window.lock().unwrap();
        Box::pin(std::future::ready(Ok(Suggestion { window, for_now: 6 * HOUR })))
    }
}

fn name(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn issued(names: &[Domain], from: UnixMillis, life: Duration) -> Issued {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(2026, 11, 21) + from.since(START);
    params.not_after = params.not_before + life;
    let key = KeyPair::generate().unwrap();
    let chain = params.self_signed(&key).unwrap().pem();
    Issued { chain, key: Zeroizing::new(key.serialize_pem()) }
}

fn config() -> Acme {
    Acme {
        binding: None,
        directory: "https://ca.example/dir".into(),
        ca: None,
        email: None,
        names: vec![name("atp.a.example")],
        challenge: Challenge::Http(None),
        renew_before: 30 * DAY,
    }
}

fn env(clock: &Arc<dyn Clock>) -> Env {
    let dns = Arc::new(testing::resolver::ScriptedResolver::default());
    let set = Arc::new(testing::clock::SetClock::at(START));
    Env { clock: Arc::clone(clock), ..testing::env(&dns, &set) }
}

struct World {
    directory: tempfile::TempDir,
    clock: Arc<dyn Clock>,
}

/// A runner at work; with this value it is cut off.
struct Running {
    handle: Handle,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl World {
    fn new() -> World {
        World { directory: tempfile::tempdir().unwrap(), clock: Arc::new(TokioClock::at(START)) }
    }

    fn start(&self, script: &Arc<Script>) -> Running {
        self.start_with(script, config())
    }

    fn start_with(&self, script: &Arc<Script>, config: Acme) -> Running {
        let issuer = Box::new(Arc::clone(script));
        let (runner, handle) = Runner::with(config, self.place().to_owned(), env(&self.clock), issuer);
        Running { handle, task: tokio::spawn(runner.run()) }
    }

    fn place(&self) -> &Path {
        self.directory.path()
    }

    fn in_place(&self) -> Option<String> {
        install::current(self.place()).map(|certificate| certificate.sha256)
    }
}

/// Waits for something, looking ever more rarely: it may be a second from now or months.
async fn until(what: impl Fn() -> bool) {
    let mut waited = Duration::ZERO;
    while !what() {
        let step = (waited / 8).clamp(Duration::from_secs(1), HOUR);
        sleep(step).await;
        waited += step;
        assert!(waited < 400 * DAY, "it does not come to pass");
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_asked_for_at_once_and_renewed_in_time() {
    let world = World::new();
    let script = Script::new(&world.clock, &[]);
    let running = world.start(&script);
    until(|| world.in_place().is_some()).await;
    let first = world.in_place();
    until(|| world.in_place() != first).await;
    let asked = script.asked();
    assert_eq!(asked.len(), 2);
    assert!(asked[0] < Duration::from_secs(1), "{asked:?}");
    // 30 days before its end, and up to a day and a half earlier.
    assert!((58 * DAY + 12 * HOUR..=60 * DAY + HOUR).contains(&asked[1]), "{asked:?}");
    let state = running.handle.state();
    assert_eq!((state.failures, state.last_error), (0, None));
    assert_eq!(state.certificate.map(|certificate| certificate.sha256), world.in_place());
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_added_while_the_server_runs_gets_its_certificate() {
    let world = World::new();
    let acts = [Act::Issue(90 * DAY), Act::Fail(None, false)];
    let script = Script::new(&world.clock, &acts);
    let running = world.start(&script);
    until(|| world.in_place().is_some()).await;
    let both = [name("atp.a.example"), name("atp.b.example")];
    running.handle.follow(&both);
    // Its records are published a little later.
    until(|| running.handle.state().certificate.is_some_and(|certificate| certificate.covers(&both))).await;
    assert_eq!(running.handle.state().names, ["atp.a.example", "atp.b.example"]);
    let asked = script.asked();
    assert!(asked.len() == 3 && asked[2] <= 2 * HOUR, "{asked:?}");
    // One less is no reason for another order.
    running.handle.follow(&both[..1]);
    sleep(2 * DAY).await;
    assert_eq!(script.asked().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_server_without_port_80_says_so_and_uses_up_no_attempt() {
    let world = World::new();
    let script =
        Arc::new(Script { hindered: true, ..Arc::into_inner(Script::new(&world.clock, &[])).unwrap() });
    let running = world.start(&script);
    sleep(DAY).await;
    let state = running.handle.state();
    assert_eq!((state.hindered, state.failures), (Some("run: something"), 0));
    assert_eq!(running.handle.renew().await, Err(NotRenewed::Hindered("run: something")));
    drop(running);
    assert!(script.asked().is_empty());
    // Nothing holds back the first order once it has the port.
    let script = Script::new(&world.clock, &[]);
    let _running = world.start(&script);
    until(|| world.in_place().is_some()).await;
    assert!(script.asked()[0] < DAY + Duration::from_secs(2), "{:?}", script.asked());
}

#[tokio::test(start_paused = true)]
async fn short_lived_certificates_are_renewed_when_a_third_of_their_life_is_left() {
    let world = World::new();
    let script = Script::new(&world.clock, &[Act::Issue(6 * DAY), Act::Issue(6 * DAY)]);
    let _running = world.start(&script);
    until(|| script.asked().len() == 2).await;
    let asked = script.asked();
    assert!((3 * DAY + 20 * HOUR..=4 * DAY + HOUR).contains(&asked[1]), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn failures_back_off_to_a_day_and_the_old_certificate_stays() {
    let world = World::new();
    let failures = vec![Act::Fail(None, false); 9];
    let acts: Vec<Act> = [Act::Issue(90 * DAY)].into_iter().chain(failures).collect();
    let script = Script::new(&world.clock, &acts);
    let running = world.start(&script);
    until(|| world.in_place().is_some()).await;
    let old = world.in_place();
    until(|| script.asked().len() == 10).await;
    assert_eq!(world.in_place(), old);
    let state = running.handle.state();
    assert_eq!(state.last_error.as_deref(), Some("no such luck"));
    assert!(state.failures >= 8, "{}", state.failures);
    let asked = script.asked();
    let waits: Vec<Duration> = asked[1..].windows(2).map(|pair| pair[1] - pair[0]).collect();
    let wanted = [1, 2, 4, 8, 16, 24, 24, 24].map(|hours| hours * HOUR);
    for (wait, wanted) in waits.iter().zip(wanted) {
        assert!(*wait >= wanted && *wait <= wanted + wanted / 10 + HOUR / 30, "{waits:?}");
    }
    until(|| world.in_place() != old).await;
    assert_eq!(running.handle.state().failures, 0);
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_does_not_use_up_the_authoritys_limits() {
    let world = World::new();
    let script = Script::new(&world.clock, &vec![Act::Hang; 100]);
    for _ in 0..100 {
        let _running = world.start(&script);
        sleep(Duration::from_secs(120)).await;
    }
    // 200 minutes: at once, after an hour, after two more.
    assert!(script.asked().len() <= 3, "{:?}", script.asked());
    let running = world.start(&script);
    assert_eq!(running.handle.state().last_error.as_deref(), Some("it was interrupted"));
}

#[tokio::test(start_paused = true)]
async fn what_the_authority_says_of_its_limits_holds_over_restarts_and_for_the_operator() {
    let world = World::new();
    let script = Script::new(&world.clock, &[Act::Fail(Some(3 * DAY), true)]);
    let running = world.start(&script);
    until(|| running.handle.state().failures == 1).await;
    let until_then = START.plus(3 * DAY);
    for _ in 0..2 {
        drop(world.start(&script));
        let running = world.start(&script);
        sleep(Duration::from_secs(5)).await;
        let NotRenewed::Held(Held::ByAuthority(at)) = running.handle.renew().await.unwrap_err() else {
            panic!("another reason");
        };
        assert!(at >= until_then && at <= until_then.plus(HOUR), "{at}");
        assert_eq!(running.handle.state().limited_until, Some(at));
        sleep(DAY).await;
    }
    assert_eq!(script.asked().len(), 1);
    until(|| world.in_place().is_some()).await;
    assert!(script.asked()[1] >= 3 * DAY, "{:?}", script.asked());
    // Another authority has limits of its own.
    let other = Acme { directory: "https://other.example/dir".into(), ..config() };
    assert_eq!(world.start_with(&script, other).handle.state().limited_until, None);
}

#[tokio::test(start_paused = true)]
async fn an_operator_may_try_five_times_an_hour() {
    let world = World::new();
    let script = Script::new(&world.clock, &vec![Act::Fail(None, false); 20]);
    let running = world.start(&script);
    until(|| script.asked().len() == 1).await;
    for tries in 2..=5 {
        sleep(Duration::from_secs(60)).await;
        running.handle.renew().await.unwrap();
        until(|| script.asked().len() == tries && !running.handle.state().under_way).await;
    }
    sleep(Duration::from_secs(60)).await;
    let refused = running.handle.renew().await.unwrap_err();
    assert!(
        matches!(refused, NotRenewed::Held(Held::ByFailures(at)) if at >= START.plus(HOUR)),
        "{refused:?}"
    );
    sleep(HOUR).await;
    running.handle.renew().await.unwrap();
    // One that succeeds uses nothing up.
    until(|| script.asked().len() == 6).await;
}

#[tokio::test(start_paused = true)]
async fn an_order_under_way_is_not_begun_twice() {
    let world = World::new();
    let script = Script::new(&world.clock, &[Act::Hang]);
    let running = world.start(&script);
    until(|| running.handle.state().under_way).await;
    assert_eq!(running.handle.renew().await, Err(NotRenewed::UnderWay));
}

#[tokio::test(start_paused = true)]
async fn other_names_are_asked_for_at_once() {
    let world = World::new();
    let script = Script::new(&world.clock, &[Act::Fail(None, false)]);
    let running = world.start(&script);
    until(|| running.handle.state().failures == 1).await;
    drop(running);
    let names = vec![Domain::parse("mail.a.example").unwrap()];
    let _running = world.start_with(&script, Acme { names, ..config() });
    until(|| script.asked().len() == 2).await;
    assert!(script.asked()[1] < HOUR / 2, "{:?}", script.asked());
}

#[tokio::test(start_paused = true)]
async fn a_certificate_for_other_names_is_not_put_in_place() {
    let world = World::new();
    let script = Script::new(&world.clock, &[Act::OtherNames]);
    let running = world.start(&script);
    until(|| running.handle.state().failures == 1).await;
    assert_eq!(world.in_place(), None);
    assert!(running.handle.state().last_error.unwrap().contains("not for every name"));
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_always_wants_it_renewed_is_not_asked_without_end() {
    let world = World::new();
    let script = Script::new(&world.clock, &[]);
    *script.window.lock().unwrap() = Some((START, START));
    let _running = world.start(&script);
    sleep(5 * DAY).await;
    assert!((2..=6).contains(&script.asked().len()), "{:?}", script.asked());
}

#[tokio::test(start_paused = true)]
async fn the_authority_may_want_it_renewed_earlier() {
    let world = World::new();
    let script = Script::new(&world.clock, &[]);
    let window = (START.plus(10 * DAY), START.plus(12 * DAY));
    *script.window.lock().unwrap() = Some(window);
    let running = world.start(&script);
    until(|| script.asked().len() == 1).await;
    sleep(HOUR).await;
    let renew_at = running.handle.state().renew_at.unwrap();
    assert!((window.0..=window.1).contains(&renew_at), "{renew_at}");
    sleep(3 * DAY).await;
    assert_eq!(running.handle.state().renew_at, Some(renew_at), "it is chosen once");
    // It has revoked it: the window is moved into the past.
    *script.window.lock().unwrap() = Some((START, START.plus(DAY)));
    until(|| script.asked().len() == 2).await;
    assert!(script.asked()[1] < 4 * DAY, "{:?}", script.asked());
}

#[test]
fn a_pair_is_changed_in_one_step_and_never_half() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let names = [Domain::parse("atp.a.example").unwrap()];
    let mut seen = Vec::new();
    for _ in 0..4 {
        let issued = issued(&[name("atp.a.example")], START, DAY);
        let put = install::put(place, &issued, &names, START).unwrap();
        assert_eq!(install::current(place).unwrap(), put);
        seen.push(put.sha256);
    }
    seen.dedup();
    assert_eq!(seen.len(), 4);
    let issues = std::fs::read_dir(place)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with("issued-")));
    assert_eq!(issues.count(), 2);
    // The key of another certificate changes nothing.
    let (one, other) =
        (issued(&[name("atp.a.example")], START, DAY), issued(&[name("atp.a.example")], START, DAY));
    let crossed = Issued { chain: one.chain, key: other.key };
    assert!(install::put(place, &crossed, &names, START).unwrap_err().to_string().contains("cannot be used"));
    let late = START.plus(2 * DAY);
    let over = install::put(place, &issued(&[name("atp.a.example")], START, DAY), &names, late).unwrap_err();
    assert!(over.to_string().contains("clock"), "{over}");
    let garbage = Issued { chain: "no".into(), key: Zeroizing::new("no".into()) };
    assert!(install::put(place, &garbage, &names, START).is_err());
    assert_eq!(install::current(place).map(|current| current.sha256), seen.pop());
    use std::os::unix::fs::PermissionsExt as _;
    for file in [install::files(place).chain, install::files(place).key] {
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[test]
fn what_others_say_is_cut_and_cannot_steer_a_terminal() {
    assert_eq!(super::told("  a\u{1b}[2Jb\n "), "a\\u{1b}[2Jb");
    assert_eq!(super::told(&"x".repeat(5000)).chars().count(), 501);
}
