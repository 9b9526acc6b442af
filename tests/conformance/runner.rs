//! Runs cases against a target, many at once, and judges what came of them.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::options::Options;
use crate::site::{Names, Site};
use crate::suite::{Case, Level, Need, Outcome};
use crate::table::Differences;
use crate::target::{Running, Target};
use crate::wire::dns::Dns;
use crate::wire::tls::Authority;

/// Longest time a case may take.
const CASE_LIMIT: Duration = Duration::from_secs(60);

/// What came of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    NotAsked(Need),
    /// With what was got instead.
    Failed(String),
}

/// What came of a run.
pub struct Found {
    /// By the case's place in the list.
    verdicts: Vec<(usize, Verdict)>,
    took: Duration,
}

/// Runs the cases that are wanted.
pub fn run(target: &Target, cases: &[Case], options: &Options) -> Result<Found, String> {
    let started = Instant::now();
    let wanted =
        (0..cases.len()).filter(|index| cases.get(*index).is_some_and(|case| options.wants(&case.id)));
    let groups: Mutex<VecDeque<Vec<usize>>> = Mutex::new(grouped(target, cases, wanted.collect()));
    let verdicts = Mutex::new(Vec::new());
    let work = || {
        while let Some(group) = lock(&groups).pop_front() {
            let found = one_group(target, cases, &group, options)?;
            lock(&verdicts).extend(found);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..target.servers.max(1)).map(|_| scope.spawn(work)).collect();
        let ended = |worker: std::thread::ScopedJoinHandle<'_, Outcome>| {
            worker.join().unwrap_or_else(|_| Err("a worker failed".to_owned()))
        };
        workers.into_iter().map(ended).collect::<Result<Vec<()>, String>>()
    })?;
    let mut verdicts = std::mem::take(&mut *lock(&verdicts));
    verdicts.sort_by_key(|(index, _)| *index);
    Ok(Found { verdicts, took: started.elapsed() })
}

/// All at one server, or each subject at a server of its own, so that what breaks one spoils no other.
fn grouped(target: &Target, cases: &[Case], wanted: Vec<usize>) -> VecDeque<Vec<usize>> {
    if target.servers <= 1 {
        return VecDeque::from([wanted]);
    }
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for index in wanted {
        let subject = cases.get(index).and_then(|case| case.id.split('/').next()).unwrap_or_default();
        groups.entry(subject).or_default().push(index);
    }
    groups.into_values().collect()
}

fn one_group(
    target: &Target,
    cases: &[Case],
    group: &[usize],
    options: &Options,
) -> Result<Vec<(usize, Verdict)>, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|e| e.to_string())?.block_on(run_group(target, cases, group, options))
}

async fn run_group(
    target: &Target,
    cases: &[Case],
    group: &[usize],
    options: &Options,
) -> Result<Vec<(usize, Verdict)>, String> {
    let state = TempDir::new().map_err(|e| format!("no directory for the server: {e}"))?;
    let dns = Dns::start(target.dns.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))).await?;
    let authority = Authority::new().map_err(|e| e.to_string())?;
    let running = Running::start(target, &dns, &authority, state.path()).await?;
    let site = Arc::new(Site { dns, authority, target: running, names: Names });
    let places = Arc::new(Semaphore::new(target.parallel.max(1)));
    let mut under_way = JoinSet::new();
    let mut verdicts = Vec::new();
    for (index, case) in group.iter().filter_map(|index| Some((*index, cases.get(*index)?))) {
        if let Some(need) = case.needs.filter(|need| target.lacks.contains(need)) {
            verdicts.push((index, Verdict::NotAsked(need)));
            continue;
        }
        let (running, places) = ((case.run)(Arc::clone(&site)), Arc::clone(&places));
        under_way.spawn(async move {
            let _place = places.acquire_owned().await;
            let begun = Instant::now();
            // As a task of its own, so that a case that panics has failed and no more.
            let ended = tokio::time::timeout(CASE_LIMIT, tokio::spawn(running)).await;
            let verdict = match ended {
                Ok(Ok(Ok(()))) => Verdict::Passed,
                Ok(Ok(Err(got))) => Verdict::Failed(got),
                Ok(Err(panic)) => Verdict::Failed(format!("the case itself failed: {panic}")),
                Err(_) => Verdict::Failed(format!("no end within {CASE_LIMIT:?}")),
            };
            (index, verdict, begun.elapsed())
        });
    }
    while let Some(ended) = under_way.join_next().await {
        let (index, verdict, took) = ended.map_err(|e| e.to_string())?;
        if let Some(case) = cases.get(index).filter(|_| options.verbose) {
            let word = if verdict == Verdict::Passed { "did" } else { "did not" };
            eprintln!("{word:<7} {:5.1}s {}", took.as_secs_f64(), case.id);
        }
        verdicts.push((index, verdict));
    }
    if TcpAlive::of(&site).await.is_err() {
        eprintln!("the server does not answer any more; it wrote last:\n{}", site.target.story());
    }
    Ok(verdicts)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a server still takes connections.
struct TcpAlive;

impl TcpAlive {
    async fn of(site: &Site) -> std::io::Result<()> {
        tokio::net::TcpStream::connect(site.target.address).await.map(drop)
    }
}

impl Found {
    /// Prints what differs from what is expected of the target; whether nothing does that counts.
    pub fn report(&self, target: &Target, cases: &[Case], differences: &Differences, verbose: bool) -> bool {
        let mut counts = [0usize; 4];
        let mut is_good = true;
        for (index, verdict) in &self.verdicts {
            let Some(case) = cases.get(*index) else { continue };
            let is_known = differences.number(&target.name, &case.id).is_some();
            let (word, count, is_bad) = match (verdict, is_known) {
                (Verdict::Passed, false) => ("pass", 0, false),
                (Verdict::Passed, true) => ("passes, but is listed as different", 0, true),
                (Verdict::Failed(_), true) => ("differs, as is known", 1, false),
                (Verdict::Failed(_), false) => {
                    let counts_as_failure = case.level == Level::Must || differences.knows(&target.name);
                    ("FAILS", 2, counts_as_failure)
                }
                (Verdict::NotAsked(_), _) => ("not asked", 3, false),
            };
            counts[count] += 1;
            is_good &= !is_bad;
            if verbose || is_bad || count == 2 {
                println!("{word:<6} {:<6} §{:<2} {}", case.level.as_str(), case.section, case.id);
            }
            if let Verdict::Failed(got) = verdict
                && (verbose || count == 2)
            {
                println!("         asks: {}\n         got:  {got}", case.asks);
            }
        }
        let [passed, known, failed, not_asked] = counts;
        let result = if is_good { "ok" } else { "FAILED" };
        println!(
            "\nconformance of {}: {result}. {passed} passed; {failed} failed; {known} differ as is known; {not_asked} not \
             asked; finished in {:.1}s\n",
            target.name,
            self.took.as_secs_f64()
        );
        is_good
    }
}
