//! Agents that follow their mailboxes all the time, page by page, whatever happens to their servers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::client::Client;

/// How long to wait for new mail.
const PAUSE: Duration = Duration::from_millis(50);

/// One reader for each agent.
pub struct Readers(Vec<Arc<Mutex<Vec<Value>>>>);

impl Readers {
    /// Begins to read.
    pub fn start(runtime: &Handle, clients: &[Arc<Client>]) -> Readers {
        let start = |client: &Arc<Client>| {
            let seen = Arc::default();
            runtime.spawn(follow(Arc::clone(client), Arc::clone(&seen)));
            seen
        };
        Readers(clients.iter().map(start).collect())
    }

    /// Mailbox entries they have seen, all together.
    pub fn entries(&self) -> usize {
        let lengths = self.0.iter().map(|seen| seen.lock().unwrap_or_else(PoisonError::into_inner).len());
        lengths.sum()
    }

    /// The cursors of what an agent has seen, in that order.
    pub fn cursors(&self, agent: usize) -> Vec<Value> {
        self.0[agent].lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The cursors of a page's messages.
pub fn cursors(page: &Value) -> Vec<Value> {
    page["received"].as_array().expect("a list").iter().map(|received| received["cursor"].clone()).collect()
}

async fn follow(client: Arc<Client>, seen: Arc<Mutex<Vec<Value>>>) {
    let mut after = json!(0);
    loop {
        let page = client.page(&after).await;
        seen.lock().unwrap_or_else(PoisonError::into_inner).extend(cursors(&page));
        after = page["last_id"].clone();
        if page["more"] == false {
            sleep(PAUSE).await;
        }
    }
}
