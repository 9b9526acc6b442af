//! What has happened since the start, in the form the published implementation's `atp status` reads
//! (`docs/protocol.md` §7).

use serde::Serialize;
use utoipa::ToSchema;

use super::state::App;
use crate::proto::address::Domain;
use crate::spool::contract::Counts;

/// What has happened since the start, and how much is queued.
#[derive(Serialize, ToSchema)]
pub struct Stats {
    /// The first domain.
    domain: String,
    domains: Vec<String>,
    /// Seconds since the start.
    uptime: u64,
    messages: Messages,
    queue: Queue,
    security: Security,
    agents: Vec<String>,
}

/// What has become of messages.
#[derive(Serialize, ToSchema)]
struct Messages {
    received: u64,
    delivered_local: u64,
    forwarded: u64,
    delivery_success: u64,
    delivery_failed: u64,
    bounced: u64,
    /// Accepted before.
    repeated: u64,
    /// Refused before the body was read.
    refused_unread: u64,
}

/// How much is where.
#[derive(Serialize, ToSchema)]
struct Queue {
    queued: u64,
    delivering: u64,
    delivered: u64,
    /// Waiting for another attempt.
    failed: u64,
    bounced: u64,
}

/// What was checked.
#[derive(Serialize, ToSchema)]
struct Security {
    ats_pass: u64,
    ats_fail: u64,
    atk_pass: u64,
    atk_fail: u64,
    replay_blocked: u64,
    credential_pass: u64,
    credential_fail: u64,
}

impl Stats {
    pub(super) fn of(app: &App, counts: Counts, agents: Vec<String>) -> Stats {
        let (settings, counters) = (app.settings(), &app.counters);
        let under_way = counters.under_way();
        Stats {
            domain: settings.config.first_domain().to_string(),
            domains: settings.domains().iter().map(Domain::to_string).collect(),
            uptime: app.started.elapsed().as_secs(),
            messages: Messages {
                received: counters.received(),
                delivered_local: counters.delivered.get(),
                forwarded: counters.forwarded.get(),
                delivery_success: counters.transferred.get(),
                delivery_failed: counters.deferred.get(),
                bounced: counters.bounced.get(),
                repeated: counters.repeated.get(),
                refused_unread: counters.refused_unread.get(),
            },
            queue: Queue {
                queued: counts.open_rows.saturating_sub(under_way),
                delivering: under_way,
                delivered: counters.delivered.get(),
                failed: counts.deferred_rows,
                bounced: counters.bounced.get(),
            },
            security: Security {
                ats_pass: counters.ats_passed.get(),
                ats_fail: counters.ats_refused.get(),
                atk_pass: counters.atk_passed.get(),
                atk_fail: counters.atk_refused.get(),
                replay_blocked: counters.repeated.get(),
                credential_pass: counters.credentials_accepted.get(),
                credential_fail: counters.credentials_refused.get(),
            },
            agents,
        }
    }
}
