//! A store with something of everything that a store can hold.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::proto::address::{Address, Domain};
use crate::proto::message::ReceiptsWanted;
use crate::proto::nonce::Nonce;
use crate::proto::routing::CopyNonce;
use crate::proto::time::{Moment, UnixMillis};
use crate::spool::contract::keeping::LimitsChange;
use crate::spool::contract::rates::{PeerCaps, SendingChange};
use crate::spool::contract::tokens::{Holder, Proof};
use crate::spool::contract::webhooks::{NewWebhook, PushLease};
use crate::spool::contract::work::{Holder as Worker, MAX_RETURNS, NewAck, NewClaims, NewNack};
use crate::spool::contract::{
    Acceptance, Fate, NewDelivery, NewRecipient, NewSubmission, RowAction, RowFilter, Settlement, Store,
    StoreError,
};
use crate::spool::entry::keeping::Setting;
use crate::spool::entry::tokens::{Scope, TokenHash, TokenRecord};
use crate::spool::entry::webhooks::WebhookSecret;
use crate::spool::entry::work::Outcome;
use crate::spool::entry::{Arrival, DestinationRecord, ReceivedIdentity, Row, RowId, Step, Unanswered};
use crate::spool::retry::Schedule;

/// When everything in it happens.
pub const T0: UnixMillis = UnixMillis(1_750_000_000_000);
/// The agents in it.
pub const AGENTS: [&str; 2] = ["bob@a.test", "me@a.test"];
/// A message that lies in chunks.
pub const LARGE_BYTES: usize = 30_000;

const DAY: Duration = Duration::from_secs(86_400);

/// What could not be done with a store.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;

fn address(text: &str) -> Result<Address, Failed> {
    Ok(Address::parse(text)?)
}

/// A message as bytes.
pub fn message(nonce: &str, bytes: usize) -> Bytes {
    let filler = "x".repeat(bytes.saturating_sub(120));
    let text = format!(
        r#"{{"from":"me@a.test","nonce":"{nonce}","payload":{{"subject":"{filler}"}},"timestamp":1750000000,"to":"bob@a.test","type":"message"}}"#
    );
    Bytes::from(text)
}

struct Filling<'a> {
    store: &'a dyn Store,
    at: Moment,
}

/// Fills a store that is empty.
///
/// # Errors
/// [`Failed`].
pub async fn fill(store: &dyn Store) -> Result<(), Failed> {
    let filling = Filling { store, at: store.moment(T0) };
    filling.accounts().await?;
    filling.mailboxes().await?;
    filling.workers().await?;
    filling.queue().await?;
    filling.rest().await
}

/// Delivers and submits once more what is in a store that has been filled, and registers who was removed: what came of
/// each, in a word.
///
/// # Errors
/// [`Failed`].
pub async fn again(store: &dyn Store, now: UnixMillis) -> Result<Vec<String>, Failed> {
    let filling = Filling { store, at: store.moment(now) };
    let delivered = store.deliver(filling.delivery(3)?).await?;
    let fate = [("x@b.test", Fate::Remote)];
    let accepted = store.accept(filling.submission("delivered", 300, &fate)?).await?;
    let registered = store.register(address("gone@a.test")?, Some(String::new()), now).await?;
    let word = |text: String| text.split([' ', '(', '{']).next().unwrap_or_default().to_owned();
    Ok(vec![word(format!("{delivered:?}")), word(format!("{accepted:?}")), word(format!("{registered:?}"))])
}

impl Filling<'_> {
    async fn accounts(&self) -> Result<(), Failed> {
        self.store.register(address("postmaster@a.test")?, None, T0).await?;
        for agent in AGENTS.into_iter().chain(["gone@a.test"]) {
            self.store
                .register(
                    address(agent)?,
                    Some("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".into()),
                    T0,
                )
                .await?;
        }
        let mailbox = self.mailbox("bob@a.test").await?;
        let agent = address("bob@a.test")?;
        let proof = Proof::Password("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".into());
        let by = Holder { agent: agent.clone(), mailbox, proof };
        for (name, scope, expires_at) in
            [("laptop", Scope::Both, None), ("reader", Scope::Receive, Some(T0.plus(DAY)))]
        {
            let record = TokenRecord {
                agent: agent.clone(),
                mailbox,
                name: name.into(),
                scope,
                created_at: T0,
                expires_at,
            };
            self.store.create_token(by.clone(), TokenHash::of(name), record, T0).await?;
        }
        let change = LimitsChange {
            quota: Some(Setting::At(50_000_000)),
            keep_unread: Some(Setting::Unlimited),
            ..LimitsChange::default()
        };
        self.store.set_limits(agent.clone(), change).await?;
        let sending = SendingChange { new_recipients: Some(Setting::At(500)), ..SendingChange::default() };
        self.store.set_sending(agent, sending).await?;
        Ok(())
    }

    async fn mailbox(&self, agent: &str) -> Result<u64, Failed> {
        let account = self.store.account(address(agent)?).await?;
        Ok(account.ok_or("no such account")?.mailbox)
    }

    fn submission(&self, nonce: &str, bytes: usize, to: &[(&str, Fate)]) -> Result<NewSubmission, Failed> {
        let recipients = to
            .iter()
            .map(|(to, fate)| Ok(NewRecipient { address: address(to)?, fate: fate.clone() }))
            .collect::<Result<_, Failed>>()?;
        Ok(NewSubmission {
            from: address("me@a.test")?,
            nonce: Nonce::parse(nonce)?,
            digest: [3; 32],
            message: message(nonce, bytes),
            at: self.at,
            expires: self.at.plus(4 * DAY),
            max_waiting: u64::MAX,
            receipts: ReceiptsWanted { delivered: nonce.starts_with("asks"), acked: false },
            first_lease: T0.plus(Duration::from_secs(2)),
            recipients,
        })
    }

    /// Hands a message in; its rows.
    async fn accept(&self, nonce: &str, bytes: usize, to: &[(&str, Fate)]) -> Result<Vec<Row>, Failed> {
        match self.store.accept(self.submission(nonce, bytes, to)?).await? {
            Acceptance::Accepted { rows } => Ok(rows),
            other => Err(format!("{other:?}").into()),
        }
    }

    /// Hands a message to one elsewhere in.
    async fn row(&self, nonce: &str, to: &str) -> Result<Row, Failed> {
        let rows = self.accept(nonce, 300, &[(to, Fate::Remote)]).await?;
        Ok(rows.into_iter().next().ok_or("no row")?)
    }

    /// A message from elsewhere.
    fn delivery(&self, number: u8) -> Result<NewDelivery, Failed> {
        let identity = ReceivedIdentity {
            from: address("you@b.test")?,
            nonce: Nonce::parse(&format!("in-{number}"))?,
            recipient: address("bob@a.test")?,
            digest: [number; 32],
            at: T0,
            expires: self.at.plus(8 * DAY),
        };
        let arrival = Arrival {
            at: T0,
            from_ip: Some([192, 0, 2, 1].into()),
            ats: "pass".into(),
            atk: "pass".into(),
            tls: Some("TLSv1.3".into()),
        };
        let bytes = if number == 3 { LARGE_BYTES } else { 400 };
        let message = message(&format!("in-{number}"), bytes);
        Ok(NewDelivery { identity, arrival, restore: number == 1, message, receipt: None })
    }

    /// Has a message come from elsewhere.
    async fn deliver(&self, number: u8) -> Result<(), Failed> {
        // Counted, and noted who is known to whom.
        let caps = PeerCaps { domain: Some(1000), learns: true };
        let delivered = self.store.deliver_within(self.delivery(number)?, caps).await?;
        delivered.map(drop).map_err(|over| format!("{over:?}").into())
    }

    async fn mailboxes(&self) -> Result<(), Failed> {
        for number in 0..14 {
            self.deliver(number).await?;
        }
        let shared = [("bob@a.test", Fate::Own), ("x@c.test", Fate::Remote), ("me@a.test", Fate::Own)];
        self.accept("asks-shared", LARGE_BYTES, &shared).await?;
        let step = Step::note(T0, "nobody has that address");
        let nobody = Fate::Unknown { bounce: Some(message("bounce", 300)), step };
        self.accept("unknown", 300, &[("nobody@a.test", nobody)]).await?;
        self.accept("of-gone", 300, &[("gone@a.test", Fate::Own)]).await?;
        self.store.remove_account(address("gone@a.test")?, Some(self.at.plus(30 * DAY))).await?;
        Ok(())
    }

    async fn workers(&self) -> Result<(), Failed> {
        let bob = || address("bob@a.test");
        let claims = |limit, token, now| NewClaims {
            limit,
            max_bytes: usize::MAX,
            lease: Duration::from_secs(3600),
            token,
            now,
        };
        let claimed = self.store.claim(bob()?, claims(4, 7, T0)).await?.ok_or("no mailbox")?;
        let mut held = claimed.grants.into_iter().map(|grant| grant.claim);
        let (done, back, often) = (held.next(), held.next(), held.next());
        let (done, back, mut often) =
            done.zip(back).zip(often).map(|((a, b), c)| (a, b, c)).ok_or("too few")?;
        let ack = |holder, outcome| NewAck {
            holder,
            outcome,
            payload: Some(r#"{"ok":true}"#.into()),
            receipt: None,
            now: T0,
        };
        self.store
            .ack(bob()?, ack(Worker::Claim(done), Outcome::Completed))
            .await?
            .map_err(|e| format!("{e:?}"))?;
        let nack =
            |claim, delay, now| NewNack { claim, delay: Some(delay), reason: Some("busy".into()), now };
        self.store.nack(bob()?, nack(back, DAY, T0)).await?.map_err(|e| format!("{e:?}"))?;
        for round in 1..=u64::from(MAX_RETURNS) {
            self.store.nack(bob()?, nack(often, Duration::ZERO, T0)).await?.map_err(|e| format!("{e:?}"))?;
            let again = self.store.claim(bob()?, claims(1, 100 + round, T0)).await?.ok_or("no mailbox")?;
            if round < u64::from(MAX_RETURNS) {
                often = again.grants.first().ok_or("it did not come back")?.claim;
            }
        }
        let unclaimed = self.store.mailbox(bob()?, 0, 100, usize::MAX).await?.ok_or("no mailbox")?;
        let last = unclaimed.mail.last().ok_or("no mail")?.cursor;
        let acked = self.store.ack(bob()?, ack(Worker::Nobody(last), Outcome::Rejected)).await?;
        acked.map_err(|error| format!("{error:?}"))?;
        Ok(())
    }

    async fn queue(&self) -> Result<(), Failed> {
        let schedule = Arc::new(Schedule::default());
        let step =
            |code: &str| Step { at: T0, remote: None, tls: None, code: code.into(), text: "because".into() };
        self.row("fresh", "x@b.test").await?;
        let retry = |due| Settlement::Retry {
            due,
            step: step("450 4.4.1"),
            unanswered: None,
            restamp: false,
            renamed: 0,
        };
        let later = self.row("later", "x@b.test").await?;
        self.store.settle(later.id, T0, retry(T0.plus(DAY))).await?;
        let waiting = self.row("waiting", "y@far.test").await?;
        self.store.park(waiting.id, T0, true).await?;
        let leased = self.row("leased", "z@c.test").await?;
        self.store.settle(leased.id, T0, retry(T0)).await?;
        self.store.lease(leased.id, T0, schedule).await?;
        let noted =
            Unanswered { target: Some("c.test:7443".into()), native: false, nonce: CopyNonce::Copy, at: T0 };
        self.store.note_unanswered(leased.id, noted).await?;
        let held = self.row("held", "x@b.test").await?;
        self.store.settle(held.id, T0, retry(T0.plus(DAY))).await?;
        self.act(held.id, RowAction::Hold).await?;
        let gone = self.row("delivered", "x@b.test").await?;
        let ended = crate::spool::state::Ending::Delivered;
        self.store
            .settle(gone.id, T0, Settlement::Delivered { ending: ended, step: step("250 2.0.0") })
            .await?;
        let record = DestinationRecord {
            failures: 5,
            since: Some(T0),
            until: Some(T0.plus(DAY)),
            by_operator: false,
            last: Some(step("450 4.4.1")),
        };
        self.store.keep_destination(Domain::parse("far.test")?, Some(record)).await?;
        Ok(())
    }

    async fn act(&self, row: RowId, action: RowAction) -> Result<(), StoreError> {
        let filter = RowFilter { row: Some(row), ..RowFilter::default() };
        self.store.act(filter, action, Step::note(T0, "by the operator"), None, false).await.map(drop)
    }

    async fn rest(&self) -> Result<(), Failed> {
        let mailbox = self.mailbox("me@a.test").await?;
        let webhook = NewWebhook {
            agent: address("me@a.test")?,
            url: "https://hooks.example/in".into(),
            secret: WebhookSecret::new(b"hunter2-hunter2-hunter2-".to_vec()),
            at: T0,
        };
        self.store.set_webhook(mailbox, webhook).await?;
        self.accept("pushed", 300, &[("me@a.test", Fate::Own)]).await?;
        let lease = PushLease { attempt: DAY, waits: vec![DAY], busy: Vec::new() };
        self.store.lease_push(mailbox, T0, lease).await?;
        // Those that have ended and those that wait are packed; what comes after stays as it is.
        while self.store.pack(self.at).await? {}
        while self.store.expire(self.at).await? {}
        self.deliver(14).await?;
        self.accept("unpacked", 300, &[("me@a.test", Fate::Own)]).await?;
        Ok(())
    }
}
