//! What a case is.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::site::Site;

/// How a case, or a step of one, ended: the error says what was got instead.
pub type Outcome = Result<(), String>;
type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// How long anything is waited for.
pub const PATIENCE: Duration = Duration::from_secs(25);
const POLL_PAUSE: Duration = Duration::from_millis(100);

/// How much is at stake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Without it messages are lost, doubled or forged, or do not get through to another server.
    Must,
    /// What agents' clients and operators find, and what is better done so.
    Should,
}

impl Level {
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Must => "MUST",
            Level::Should => "SHOULD",
        }
    }
}

/// What a target may lack, so that a case cannot be asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It tries again after a few seconds.
    Retry,
}

impl Need {
    pub const ALL: [Need; 1] = [Need::Retry];

    pub const fn as_str(self) -> &'static str {
        match self {
            Need::Retry => "retry",
        }
    }
}

/// One thing that is asked of a server.
pub struct Case {
    /// Such as `ats/include-loop`.
    pub id: String,
    /// The section of docs/protocol.md, by its number.
    pub section: u8,
    pub level: Level,
    /// One sentence.
    pub asks: String,
    pub needs: Option<Need>,
    pub run: Box<dyn Fn(Arc<Site>) -> Running + Send + Sync>,
}

impl Case {
    pub fn needs(mut self, need: Need) -> Case {
        self.needs = Some(need);
        self
    }

    /// Those that need retries within seconds.
    pub fn retried(self) -> Case {
        self.needs(Need::Retry)
    }
}

fn case<F, R>(level: Level, section: u8, id: &str, asks: &str, run: F) -> Case
where
    F: Fn(Arc<Site>) -> R + Send + Sync + 'static,
    R: Future<Output = Outcome> + Send + 'static,
{
    let run = Box::new(move |site| Box::pin(run(site)) as Running);
    Case { id: id.to_owned(), section, level, asks: asks.to_owned(), needs: None, run }
}

/// A case that must hold.
pub fn must<F, R>(section: u8, id: &str, asks: &str, run: F) -> Case
where
    F: Fn(Arc<Site>) -> R + Send + Sync + 'static,
    R: Future<Output = Outcome> + Send + 'static,
{
    case(Level::Must, section, id, asks, run)
}

/// A case that should hold.
pub fn should<F, R>(section: u8, id: &str, asks: &str, run: F) -> Case
where
    F: Fn(Arc<Site>) -> R + Send + Sync + 'static,
    R: Future<Output = Outcome> + Send + 'static,
{
    case(Level::Should, section, id, asks, run)
}

/// That something holds; otherwise what was got instead.
pub fn ensure(holds: bool, got: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(got()) }
}

/// That two things are equal.
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, wanted: T) -> Outcome {
    ensure(got == wanted, || format!("{what}: wanted {wanted:?}, got {got:?}"))
}

/// Asks again and again until there is something.
pub async fn until<T, R>(what: &str, mut probe: impl FnMut() -> R) -> Result<T, String>
where
    R: Future<Output = Result<Option<T>, String>>,
{
    let asked = async {
        loop {
            if let Some(found) = probe().await? {
                return Ok(found);
            }
            tokio::time::sleep(POLL_PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.map_err(|_| format!("{what}: not within {PATIENCE:?}"))?
}

/// The machine's wall clock, which is the tested server's.
#[expect(clippy::disallowed_methods, reason = "the server that is tested goes by the same clock")]
pub fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// Unix seconds.
pub fn now() -> i64 {
    let since = wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
