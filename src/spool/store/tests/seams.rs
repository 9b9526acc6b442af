//! Everything that can be done to a mailbox, in any order, several things at once, with power cuts between and within:
//! whatever happens, all records of the store agree with one another, and in the end nothing is left over.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::proto::message::ReceiptsWanted;
use crate::proto::receipt::{Receipt, ReceiptOutcome};
use crate::spool::contract::keeping::LimitsChange;
use crate::spool::contract::receipts::{Hearing, ReceiptWay};
use crate::spool::contract::webhooks::{
    Disable, LeasedPush, NewWebhook, NextPush, PushEnd, PushFailure, PushLease, WebhookStore,
};
use crate::spool::contract::work::{Holder, MAX_RETURNS, NewAck, NewClaims, NewNack};
use crate::spool::contract::{KeepStore, NewReceipt, ReceiptStore, RowAction, RowFilter, WorkStore};
use crate::spool::entry::keeping::Setting;
use crate::spool::entry::webhooks::{Disabling, PushOutcome, PushResult, WebhookSecret};
use crate::spool::entry::work::{ClaimId, Outcome};

mod agree;
mod moves;

use moves::{Move, moves};

/// Own agents; the first one is who submits.
const AGENTS: [&str; 3] = ["me@a.test", "bob@a.test", "amy@a.test"];
const POSTMASTER: &str = "postmaster@a.test";
/// In one record, and in chunks of one and of several.
const SIZES: [usize; 3] = [2, 5_000, 20_000];
const DAY: u64 = 24 * 3600;

/// A daemon's store, what was learnt of it, and the time. Several moves are made at once, so all of it is shared.
struct Game {
    store: SpoolStore,
    disk: Arc<MemoryDisk>,
    files: MemoryFiles,
    now: Cell<Moment>,
    sent: Cell<u64>,
    claims: RefCell<Vec<(Address, ClaimId)>>,
    rows: RefCell<Vec<Row>>,
    pushes: RefCell<Vec<(u64, LeasedPush)>>,
    submissions: RefCell<Vec<Nonce>>,
}

fn agent(number: usize) -> Address {
    address(AGENTS[number % AGENTS.len()])
}

fn one_of<T: Clone>(list: &RefCell<Vec<T>>, number: usize) -> Option<T> {
    let list = list.borrow();
    (!list.is_empty()).then(|| list[number % list.len()].clone())
}

fn lease() -> PushLease {
    PushLease { attempt: Duration::from_secs(60), waits: vec![Duration::from_secs(5)], busy: Vec::new() }
}

fn opened(disk: &Arc<MemoryDisk>, files: &MemoryFiles) -> SpoolStore {
    let (store, committer, _) = open(disk.clone(), Arc::new(files.clone())).unwrap();
    tokio::spawn(committer.run());
    store
}

impl Game {
    fn new() -> Game {
        let (disk, files) = (Arc::new(MemoryDisk::default()), MemoryFiles::default());
        Game {
            store: opened(&disk, &files),
            disk,
            files,
            now: Cell::new(at(0)),
            sent: Cell::new(0),
            claims: RefCell::default(),
            rows: RefCell::default(),
            pushes: RefCell::default(),
            submissions: RefCell::default(),
        }
    }

    fn wall(&self) -> UnixMillis {
        self.now.get().wall
    }

    fn token(&self) -> u64 {
        self.sent.set(self.sent.get() + 1);
        self.sent.get()
    }

    /// The power goes, and the daemon starts anew.
    fn restart(&mut self) {
        self.disk = Arc::new(self.disk.crash());
        self.files = self.files.crash();
        self.store = opened(&self.disk, &self.files);
    }

    fn body(&self, size: usize) -> Bytes {
        vec![b'x'; SIZES[size % SIZES.len()]].into()
    }

    fn message(&self, nonce: &Nonce, here: bool, outcome: ReceiptOutcome) -> NewReceipt {
        let receipt = Receipt {
            original_nonce: nonce.clone(),
            recipient: agent(1),
            outcome,
            at: self.wall().seconds(),
            payload: None,
        };
        let hearing = Hearing { author: address("me@a.test"), receipt, now: self.wall() };
        let (message, first_lease) = (self.body(1), self.wall().plus(Duration::from_secs(2)));
        let way = if here {
            ReceiptWay::Here
        } else {
            ReceiptWay::Message { message, at: self.now.get(), first_lease }
        };
        NewReceipt { hearing, way }
    }

    /// The receipt of an acknowledgement: to ourselves where something was sent, otherwise elsewhere.
    fn receipt(&self, wanted: bool, number: usize, outcome: Outcome) -> Option<NewReceipt> {
        let submission = one_of(&self.submissions, number);
        let nonce = submission.clone().unwrap_or_else(|| Nonce::parse("elsewhere").unwrap());
        wanted
            .then(|| self.message(&nonce, submission.is_some() && !number.is_multiple_of(3), outcome.into()))
    }

    async fn mailbox_of(&self, whose: usize) -> Result<Option<u64>, StoreError> {
        Ok(self.store.account(agent(whose)).await?.map(|account| account.mailbox))
    }

    async fn cursor(&self, whose: usize, mail: usize) -> Result<Option<u64>, StoreError> {
        let page = self.store.mailbox(agent(whose), 0, 500, usize::MAX).await?;
        let mail_there = page.map(|page| page.mail).unwrap_or_default();
        Ok((!mail_there.is_empty()).then(|| mail_there[mail % mail_there.len()].cursor))
    }

    async fn make(&self, next: Move) -> Result<(), StoreError> {
        let store = &self.store;
        match next {
            Move::Deliver { to, size, receipt } => {
                let nonce = format!("r{}", self.token());
                let new = NewDelivery {
                    message: self.body(size),
                    arrival: Arrival::local(self.wall()),
                    receipt: receipt.then(|| {
                        let nonce = Nonce::parse(&nonce).unwrap();
                        self.message(&nonce, false, ReceiptOutcome::Delivered)
                    }),
                    ..delivery(&nonce, &agent(to).to_string(), 1)
                };
                if let DeliveryOutcome::Delivered { receipt: Some(row), .. } = store.deliver(new).await? {
                    self.rows.borrow_mut().push(*row);
                }
            }
            Move::Submit { size, own, remote, unknown, receipts } => {
                let mut own: Vec<usize> = own.into_iter().map(|one| one % AGENTS.len()).collect();
                own.sort_unstable();
                own.dedup();
                let bounce = Some(self.body(1));
                let nobody = Fate::Unknown { bounce, step: step("550 5.1.1") };
                let mut recipients: Vec<_> = own.into_iter().map(|one| (AGENTS[one], Fate::Own)).collect();
                recipients.extend(remote.then_some(("x@b.test", Fate::Remote)));
                recipients
                    .extend([("u@a.test", nobody.clone()), ("v@a.test", nobody)].into_iter().take(unknown));
                if recipients.is_empty() {
                    return Ok(());
                }
                let nonce = format!("n{}", self.token());
                let new = NewSubmission {
                    at: self.now.get(),
                    expires: self.now.get().plus(Duration::from_secs(3 * DAY)),
                    receipts: ReceiptsWanted { delivered: receipts, acked: receipts },
                    first_lease: self.wall().plus(Duration::from_secs(2)),
                    ..submission(&nonce, &self.body(size), &recipients)
                };
                if let Acceptance::Accepted { rows } = store.accept(new).await? {
                    self.rows.borrow_mut().extend(rows);
                    self.submissions.borrow_mut().push(Nonce::parse(&nonce).unwrap());
                }
            }
            Move::Settle { row, how } => {
                let Some(row) = one_of(&self.rows, row) else { return Ok(()) };
                let settlement = match how {
                    0 => retry(self.wall().plus(Duration::from_secs(30))),
                    1 => Settlement::Delivered { ending: Ending::Delivered, step: step("250 2.0.0") },
                    _ => Settlement::Bounced { step: step("550 5.1.1"), bounce: Some(self.body(1)) },
                };
                store.lease(row.id, self.wall(), Arc::new(Schedule::default())).await?;
                store.settle(row.id, self.wall(), settlement).await?;
            }
            Move::DeliverOwn { row } => {
                let Some(row) = one_of(&self.rows, row) else { return Ok(()) };
                if row.recipient.domain() == agent(0).domain() && !row.sender.is_automaton() {
                    store.deliver_own(row.id, self.wall()).await?;
                }
            }
            Move::Cancel { row } => {
                let Some(row) = one_of(&self.rows, row) else { return Ok(()) };
                let filter = RowFilter { nonce: Some(row.nonce), ..RowFilter::default() };
                store.act(filter, RowAction::Cancel, step(""), None, false).await?;
            }
            Move::Claim { whose, limit, lease } => {
                let (token, lease) = (self.token(), Duration::from_secs(lease));
                let asked = NewClaims { limit, max_bytes: 30_000, lease, token, now: self.wall() };
                let claimed = store.claim(agent(whose), asked).await?.unwrap_or_default();
                let made = claimed.grants.iter().map(|grant| (agent(whose), grant.claim));
                self.claims.borrow_mut().extend(made);
            }
            Move::Ack { claim, outcome, receipt } => {
                let Some((whose, claim)) = one_of(&self.claims, claim) else { return Ok(()) };
                let (number, outcome) = (outcome, Outcome::ALL[outcome % 4]);
                let receipt = self.receipt(receipt, number, outcome);
                let holder = Holder::Claim(claim);
                let ack = NewAck { holder, outcome, payload: None, receipt, now: self.wall() };
                if let Ok(acked) = store.ack(whose, ack).await? {
                    self.rows.borrow_mut().extend(acked.receipt.map(|row| *row));
                }
            }
            Move::AckOwn { whose, mail, outcome, receipt } => {
                let Some(cursor) = self.cursor(whose, mail).await? else { return Ok(()) };
                let (number, outcome) = (outcome, Outcome::ALL[1 + outcome % 3]);
                let receipt = self.receipt(receipt, number, outcome);
                let holder = Holder::Nobody(cursor);
                let ack = NewAck { holder, outcome, payload: None, receipt, now: self.wall() };
                if let Ok(acked) = store.ack(agent(whose), ack).await? {
                    self.rows.borrow_mut().extend(acked.receipt.map(|row| *row));
                }
            }
            Move::Nack { claim, delay } => {
                let Some((whose, claim)) = one_of(&self.claims, claim) else { return Ok(()) };
                let delay = Some(Duration::from_secs(delay));
                let _ = store.nack(whose, NewNack { claim, delay, reason: None, now: self.wall() }).await?;
            }
            Move::Extend { claim, lease } => {
                let Some((whose, claim)) = one_of(&self.claims, claim) else { return Ok(()) };
                let _ = store.extend(whose, claim, Duration::from_secs(lease), self.wall()).await?;
            }
            Move::Bury { whose } => {
                for _ in 0..=MAX_RETURNS {
                    let (token, now) = (self.token(), self.wall());
                    let lease = Duration::from_secs(60);
                    let asked = NewClaims { limit: 1, max_bytes: usize::MAX, lease, token, now };
                    let claimed = store.claim(agent(whose), asked).await?.unwrap_or_default();
                    for claim in claimed.grants.iter().map(|grant| grant.claim) {
                        let delay = Some(Duration::ZERO);
                        let _ = store.nack(agent(whose), NewNack { claim, delay, reason: None, now }).await?;
                    }
                }
            }
            Move::Restore { whose, mail } => {
                let Some(cursor) = self.cursor(whose, mail).await? else { return Ok(()) };
                store.restore(agent(whose), cursor, self.wall()).await?;
            }
            Move::Delete { whose, mail } => {
                let Some(cursor) = self.cursor(whose, mail).await? else { return Ok(()) };
                store.delete_mail(agent(whose), cursor, self.wall()).await?;
            }
            Move::DeleteThrough { whose, mail } => {
                let Some(cursor) = self.cursor(whose, mail).await? else { return Ok(()) };
                store.delete_through(agent(whose), 0, cursor, self.wall()).await?;
            }
            Move::Limits { whose, quota, keep } => {
                let days = keep.map_or(Setting::Unlimited, |days| Setting::At(days * DAY * 1000));
                let quota = Some(quota.map_or(Setting::Default, Setting::At));
                let change = LimitsChange { quota, keep_acknowledged: Some(days), keep_unread: Some(days) };
                store.set_limits(agent(whose), change).await?;
            }
            Move::SetWebhook { whose } => {
                let Some(mailbox) = self.mailbox_of(whose).await? else { return Ok(()) };
                let (secret, url) = (WebhookSecret::new(vec![7; 32]), "https://hook.example/".into());
                let new = NewWebhook { agent: agent(whose), url, secret, at: self.wall() };
                store.set_webhook(mailbox, new).await?;
            }
            Move::RemoveWebhook { whose } => {
                let Some(mailbox) = self.mailbox_of(whose).await? else { return Ok(()) };
                store.remove_webhook(mailbox).await?;
            }
            Move::SweepWebhook { whose } => {
                let Some(mailbox) = self.mailbox_of(whose).await? else { return Ok(()) };
                store.sweep_webhook(mailbox).await?;
            }
            Move::Push { whose } => {
                let Some(mailbox) = self.mailbox_of(whose).await? else { return Ok(()) };
                if let NextPush::Due(push) = store.lease_push(mailbox, self.wall(), lease()).await? {
                    self.pushes.borrow_mut().push((mailbox, *push));
                }
            }
            Move::EndPush { push, how } => {
                let Some((mailbox, push)) = one_of(&self.pushes, push) else { return Ok(()) };
                let at = self.wall();
                let next = (how != 2).then(|| at.plus(Duration::from_secs(30)));
                let notice = self.body(1);
                let disable =
                    (how == 3).then(|| Disable { why: Disabling::Failing, failing_since: None, notice });
                let failure = (how > 0).then(|| PushFailure { next, resume_at: at, disable });
                let outcome = PushOutcome::Answered(if how > 0 { 500 } else { 200 });
                let (setting, cursor) = (push.webhook.setting, push.cursor);
                let result = PushResult { at, outcome };
                let end = PushEnd { setting, cursor, result, failure, catch_up: true };
                store.settle_push(mailbox, end).await?;
            }
            Move::Remove { whose } => {
                store.remove_account(agent(whose), None).await?;
            }
            Move::Register { whose } => {
                store.register(agent(whose), Some("hash".into()), self.wall()).await?;
            }
            Move::Hear { submission, outcome } => {
                let Some(nonce) = one_of(&self.submissions, submission) else { return Ok(()) };
                let hearing = self.message(&nonce, true, ReceiptOutcome::ALL[outcome]).hearing;
                store.hear(hearing).await?;
            }
            Move::Expire => {
                store.expire(self.now.get()).await?;
            }
            Move::Forget => {
                store.forget(self.now.get()).await?;
            }
            Move::Pack => {
                Store::pack(store, self.now.get()).await?;
            }
            Move::Wait { seconds, running } => {
                let now = self.now.get().plus(Duration::from_secs(seconds));
                let running = if running { now.running } else { self.now.get().running };
                self.now.set(Moment { running, ..now });
            }
            Move::PowerCut { .. } => {}
        }
        Ok(())
    }

    /// Everybody goes, and all of what is due to go.
    async fn end(&self) {
        let open: Vec<_> = self.rows.borrow().iter().map(|row| row.id).collect();
        for id in open {
            let delivered = Settlement::Delivered { ending: Ending::Delivered, step: step("250 2.0.0") };
            self.store.settle(id, self.wall(), delivered).await.unwrap();
        }
        // Rows of which nobody was told, for the power went.
        let none = RowFilter::default();
        let left = self.store.list(none, None, 500).await.unwrap().rows;
        for row in left {
            let delivered = Settlement::Delivered { ending: Ending::Delivered, step: step("250 2.0.0") };
            self.store.settle(row.id, self.wall(), delivered).await.unwrap();
        }
        for name in AGENTS.into_iter().chain([POSTMASTER]) {
            self.store.remove_account(address(name), None).await.unwrap();
        }
        // What is packed is forgotten later than what is not, and what was heard of it later still.
        for _ in 0..4 {
            while self.store.forget(EVER).await.unwrap() {}
            while Store::pack(&self.store, EVER).await.unwrap() {}
            while self.store.expire(EVER).await.unwrap() {}
        }
    }
}

async fn play(moves: Vec<Move>) {
    let mut game = Game::new();
    game.store.register(address(POSTMASTER), None, T0).await.unwrap();
    for name in AGENTS {
        game.store.register(address(name), Some("hash".into()), T0).await.unwrap();
    }
    let mut heard = BTreeMap::new();
    let mut moves = moves.into_iter();
    while let Some(first) = moves.next() {
        if let Move::PowerCut { steps } = first {
            game.disk.fail_after(steps);
            let (one, two) = (moves.next().unwrap_or(Move::Expire), moves.next().unwrap_or(Move::Expire));
            let _ = tokio::join!(game.make(one), game.make(two));
            game.restart();
        } else {
            // At once, so that both are in one group, and neither waits for the other.
            let second = moves.next().filter(|next| !matches!(next, Move::PowerCut { .. }));
            let (one, two) = tokio::join!(game.make(first), game.make(second.unwrap_or(Move::Expire)));
            one.unwrap();
            two.unwrap();
        }
        let found = agree::Found::on(&game.disk);
        found.agrees();
        found.only_went_forward(&mut heard);
    }
    game.end().await;
    let found = agree::Found::on(&game.disk);
    found.agrees();
    found.is_empty();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_in_whatever_order_all_records_agree(moves in moves()) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(play(moves));
    }
}
