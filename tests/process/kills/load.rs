//! Agents that submit as fast as their servers take it, and the same message again until they hear 202.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::client::Client;
use super::messages::Planned;
use crate::waiting::{PATIENCE, pause};

/// Submissions each agent has under way.
const IN_FLIGHT: usize = 12;
/// How long to wait where a server says that it takes nothing just now.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// How often progress is looked at.
const POLL_PAUSE: Duration = Duration::from_millis(1);

/// The load, under way.
pub struct Load {
    shared: Arc<Shared>,
}

struct Shared {
    seed: u64,
    /// The index of the agent that has sent each message; by number.
    senders: Vec<AtomicUsize>,
    next: AtomicUsize,
    /// How many may be sent so far.
    released: watch::Sender<usize>,
    acknowledged: AtomicUsize,
    /// One for each recipient of what is acknowledged.
    copies: AtomicUsize,
    /// Submissions acknowledged as accepted before: the first answer was lost.
    known_already: AtomicUsize,
    trouble: Mutex<Option<String>>,
}

impl Load {
    /// Begins to send `messages` messages, as far as they are released, for these agents.
    pub fn start(runtime: &Handle, seed: u64, messages: usize, clients: &[Arc<Client>]) -> Load {
        let shared = Arc::new(Shared {
            seed,
            senders: (0..messages).map(|_| AtomicUsize::default()).collect(),
            next: AtomicUsize::default(),
            released: watch::Sender::default(),
            acknowledged: AtomicUsize::default(),
            copies: AtomicUsize::default(),
            known_already: AtomicUsize::default(),
            trouble: Mutex::default(),
        });
        for (agent, client) in clients.iter().enumerate() {
            for _ in 0..IN_FLIGHT {
                let (shared, client) = (Arc::clone(&shared), Arc::clone(client));
                runtime.spawn(async move { shared.submit_all(agent, &client).await });
            }
        }
        Load { shared }
    }

    /// Lets the first `messages` be sent.
    pub fn release(&self, messages: usize) {
        self.shared.released.send_replace(messages);
    }

    pub fn acknowledged(&self) -> usize {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// How many mailbox entries will come of what is acknowledged: mail, or a bounce.
    pub fn copies(&self) -> usize {
        self.shared.copies.load(Ordering::Relaxed)
    }

    pub fn known_already(&self) -> usize {
        self.shared.known_already.load(Ordering::Relaxed)
    }

    /// Waits until so many are acknowledged.
    pub fn reach(&self, goal: usize) {
        let (mut seen, mut since) = (0, Instant::now());
        loop {
            let trouble = self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
            assert_eq!(trouble, None, "a submission was refused");
            let now = self.acknowledged();
            if now >= goal {
                return;
            }
            if now > seen {
                (seen, since) = (now, Instant::now());
            }
            assert!(since.elapsed() < PATIENCE, "{now} of {goal} acknowledged, and no more come");
            pause(POLL_PAUSE);
        }
    }

    /// Waits until all are acknowledged; they, in order.
    pub fn finish(&self) -> Vec<Planned> {
        self.release(self.shared.senders.len());
        self.reach(self.shared.senders.len());
        let senders = self.shared.senders.iter().map(|sender| sender.load(Ordering::Relaxed));
        senders.enumerate().map(|(number, from)| Planned::new(self.shared.seed, number, from)).collect()
    }
}

impl Shared {
    async fn submit_all(&self, agent: usize, client: &Client) {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(sender) = self.senders.get(number) else { return };
            sender.store(agent, Ordering::Relaxed);
            let mut released = self.released.subscribe();
            if released.wait_for(|released| *released > number).await.is_err() {
                return;
            }
            let planned = Planned::new(self.seed, number, agent);
            if let Err(refusal) = self.submit(&planned, client).await {
                let trouble = format!("{}: {refusal}", planned.nonce());
                self.trouble.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(trouble);
                return;
            }
        }
    }

    /// Submits a message until there is an answer that says what became of it.
    async fn submit(&self, planned: &Planned, client: &Client) -> Result<(), String> {
        let body = planned.submission();
        loop {
            match client.submit(body.clone()).await {
                Some((202, answer)) => return self.acknowledge(planned, &answer),
                Some((429 | 503, _)) => sleep(BUSY_PAUSE).await,
                Some((status, answer)) => return Err(format!("{status} {answer}")),
                None => {}
            }
        }
    }

    fn acknowledge(&self, planned: &Planned, answer: &Value) -> Result<(), String> {
        match answer["status"].as_str() {
            Some("accepted") => {}
            Some("already_accepted") => {
                self.known_already.fetch_add(1, Ordering::Relaxed);
            }
            _ => return Err(answer.to_string()),
        }
        self.copies.fetch_add(planned.recipients.len(), Ordering::Relaxed);
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
