//! Reading a mailbox: the messages behind a cursor that somebody wants, a bounded number at a time.
//!
//! A filter that few messages pass must not make one call look at all of a mailbox. So a look ends after a while
//! even if it has found nothing, says how far it has come, and that there is more: whoever goes on from there
//! misses nothing.

use std::sync::Arc;

use serde_json::{Value, json};

use super::shown::Shown;
use crate::env::aside::aside;
use crate::error::Fault;
use crate::proto::address::Address;
use crate::proto::filter::Filter;
use crate::proto::status::Reason;
use crate::spool::contract::{Page, Store};

/// Messages that one look passes over or takes; a filter may find none among them.
const MAX_LOOKED_AT: usize = 2_000;
/// Bytes of these messages.
const MAX_LOOKED_AT_BYTES: usize = 32 * 1024 * 1024;
/// Messages fetched at a time where most of them may not be wanted.
const STEP: usize = 500;
/// Bytes of these messages.
const STEP_BYTES: usize = 4 * 1024 * 1024;

/// What a reader wants.
#[derive(Debug, Clone)]
pub struct Want {
    /// Most messages; at least 1.
    pub limit: usize,
    /// Most bytes of the messages as stored; one message may be larger.
    pub max_bytes: usize,
    /// Which ones.
    pub filter: Filter,
}

/// What was found behind a cursor.
#[derive(Debug, Default)]
pub struct Found {
    /// In the order of their cursors.
    pub shown: Vec<Shown>,
    /// Everything up to this cursor has been looked at: that asked for if there was nothing.
    pub last: u64,
    /// Whether there is something behind it that has not been looked at.
    pub more: bool,
    looked_at: usize,
    looked_at_bytes: usize,
    shown_bytes: usize,
}

/// Looks behind the cursor `after` in the mailbox of `owner` for what is wanted.
///
/// # Errors
/// [`Reason::UnknownAgent`] if there is no such mailbox; what the store says; [`Reason::Internal`] if a stored
/// message cannot be read.
pub async fn read(store: &dyn Store, owner: &Address, after: u64, want: &Arc<Want>) -> Result<Found, Fault> {
    let (step, step_bytes) =
        if want.filter.is_empty() { (want.limit, want.max_bytes) } else { (STEP, STEP_BYTES) };
    let mut found = Found { last: after, ..Found::default() };
    loop {
        let page = store.mailbox(owner.clone(), found.last, step, step_bytes).await?;
        let page = page.ok_or_else(unknown)?;
        let (owner, want) = (owner.clone(), Arc::clone(want));
        // Megabytes of JSON: nothing for a thread that others wait for.
        let sifted = aside(move || found.sift(&page, &owner, &want));
        let full;
        (found, full) = sifted.await.map_err(Fault::internal)??;
        if full || !found.more || found.is_tired() {
            return Ok(found);
        }
    }
}

fn unknown() -> Fault {
    Fault::new(Reason::UnknownAgent, "There is no such agent here.")
}

impl Found {
    /// Takes what is wanted of the next page. Says also whether there is enough.
    fn sift(mut self, page: &Page, owner: &Address, want: &Want) -> Result<(Found, bool), Fault> {
        for mail in &page.mail {
            let bytes = mail.message.len();
            if want.filter.reaches(mail.arrival.at.seconds()) {
                let shown = Shown::of(mail, owner)?;
                if want.filter.wants(&shown.message, owner) {
                    let fits = self.shown_bytes + bytes <= want.max_bytes || self.shown.is_empty();
                    if self.shown.len() >= want.limit || !fits {
                        self.more = true;
                        return Ok((self, true));
                    }
                    self.shown.push(shown);
                    self.shown_bytes += bytes;
                }
            }
            self.last = mail.cursor;
            self.looked_at += 1;
            self.looked_at_bytes += bytes;
        }
        self.more = page.more;
        let full = self.shown.len() >= want.limit;
        Ok((self, full))
    }

    /// Whether one look has seen enough.
    fn is_tired(&self) -> bool {
        self.looked_at >= MAX_LOOKED_AT || self.looked_at_bytes >= MAX_LOOKED_AT_BYTES
    }

    /// Whether whoever waits should go on waiting: there is nothing to show, nor anything that may be.
    pub fn is_nothing(&self) -> bool {
        self.shown.is_empty() && !self.more
    }

    /// The answer to `GET messages`: the authors' messages, and beside each how it came.
    pub fn into_json(self) -> Value {
        let (count, last_id, more) = (self.shown.len(), self.last, self.more);
        let parts = self.shown.into_iter().map(|shown| (Value::Object(shown.message), shown.received));
        let (messages, received): (Vec<_>, Vec<_>) = parts.unzip();
        json!({ "count": count, "messages": messages, "received": received, "last_id": last_id, "more": more })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::proto::time::UnixMillis;
    use crate::spool::contract::Mail;
    use crate::spool::entry::Arrival;

    fn mail(cursor: u64, kind: &str) -> Mail {
        let message = json!({ "from": "a@a.test", "to": "b@b.test", "type": kind, "payload": {} });
        let arrival = Arrival::local(UnixMillis::from_seconds(i64::try_from(cursor).unwrap()));
        Mail { cursor, arrival, restore: false, message: Bytes::from(message.to_string()) }
    }

    fn want(limit: usize, max_bytes: usize, kind: &str) -> Want {
        let filter = Filter::parse(|name| (name == "type" && !kind.is_empty()).then_some(kind)).unwrap();
        Want { limit, max_bytes, filter }
    }

    fn sift(kinds: &[&str], more: bool, want: &Want) -> (Vec<u64>, u64, bool, bool) {
        let mail = (11..).zip(kinds).map(|(cursor, kind)| mail(cursor, kind)).collect();
        let owner = Address::parse("b@b.test").unwrap();
        let found = Found { last: 10, ..Found::default() };
        let (found, full) = found.sift(&Page { mail, more }, &owner, want).unwrap();
        (found.shown.iter().map(|shown| shown.cursor).collect(), found.last, found.more, full)
    }

    #[test]
    fn whoever_goes_on_behind_the_last_one_misses_nothing() {
        let all = usize::MAX;
        for (kinds, more, wanted, outcome) in [
            (&[][..], false, want(2, all, ""), (vec![], 10, false, false)),
            (&["x", "x"], true, want(3, all, ""), (vec![11, 12], 12, true, false)),
            (&["x", "x"], false, want(2, all, ""), (vec![11, 12], 12, false, true)),
            (&["x", "y", "x", "y"], false, want(3, all, "x"), (vec![11, 13], 14, false, false)),
            (&["y", "y"], true, want(3, all, "x"), (vec![], 12, true, false)),
            // What comes behind the last wanted one is not passed over unseen.
            (&["x", "y", "x", "y"], false, want(1, all, "x"), (vec![11], 12, true, true)),
            (&["x", "x", "y"], false, want(9, 1, "x"), (vec![11], 11, true, true)),
        ] {
            assert_eq!(sift(kinds, more, &wanted), outcome, "{kinds:?} {more} {wanted:?}");
        }
    }
}
