//! What the operator ends with a bounce.

use std::sync::Arc;

use tokio::task::JoinSet;
use tracing::Instrument;

use super::Pipeline;
use crate::proto::time::UnixMillis;
use crate::spool::contract::{ActionPage, RowFilter, StoreError};
use crate::spool::entry::{Row, RowId, Step};

/// Rows bounced in one step; they share their syncs.
const PAGE: usize = 200;
/// "Other or undefined security status" (RFC 3463 §3.8): nothing was wrong with the message, the address or the
/// peer; whoever runs the server decided so.
const BOUNCED_BY_OPERATOR_CODE: &str = "550 5.7.0";

/// What the operator says with a bounce.
#[derive(Debug)]
pub struct Verdict {
    /// One sentence for the senders.
    pub reason: String,
    /// Who said it, for the rows' stories.
    pub by: String,
    /// When.
    pub at: UnixMillis,
}

impl Pipeline {
    /// Ends a page of the queue behind `after` with bounces that give the operator's reason. What is being attempted
    /// is left alone and counted as busy.
    ///
    /// # Errors
    /// [`StoreError`] if the queue cannot be read or written; then part of the page may have been bounced.
    pub async fn bounce_page(
        self: &Arc<Self>,
        filter: RowFilter,
        after: Option<RowId>,
        verdict: Verdict,
    ) -> Result<ActionPage, StoreError> {
        let page = self.store.list(filter, after, PAGE).await?;
        let mut outcome = ActionPage { next: page.next, ..ActionPage::default() };
        let (verdict, mut ends) = (Arc::new(verdict), JoinSet::new());
        for row in page.rows {
            let (pipeline, verdict) = (Arc::clone(self), Arc::clone(&verdict));
            let end = async move { (row.id, pipeline.bounce_now(&row, &verdict).await) };
            ends.spawn(end.in_current_span());
        }
        let mut failure = None;
        while let Some(ended) = ends.join_next().await {
            match ended {
                Ok((id, Ok(true))) => outcome.done.push(id),
                Ok((_, Ok(false))) => outcome.busy += 1,
                Ok((_, Err(error))) => failure = Some(error),
                Err(error) => {
                    tracing::error!(%error, "queue: bouncing a row panicked");
                    outcome.busy += 1;
                }
            }
        }
        outcome.done.sort();
        failure.map_or(Ok(outcome), Err)
    }

    async fn bounce_now(&self, row: &Row, verdict: &Verdict) -> Result<bool, StoreError> {
        let Verdict { reason, by, at } = verdict;
        let told = Step { code: BOUNCED_BY_OPERATOR_CODE.into(), ..Step::note(*at, reason) };
        let kept = Step { text: format!("bounced by the operator ({by}): {reason}"), ..told.clone() };
        let message = self.read(row).await.ok();
        let bounce = self.bounce_for(row, message.as_ref(), &told);
        let ended = self.store.give_up(row.id, kept.clone(), bounce, true).await?;
        if ended {
            self.count_bounce(row, &kept);
        }
        Ok(ended)
    }
}
