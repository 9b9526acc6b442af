//! Which part does each verb of the contract, and whether through the committer or beside it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::SpoolStore;
use super::reads::Reader;
use crate::env::BoxFuture;
use crate::proto::address::{Address, Domain};
use crate::proto::nonce::Nonce;
use crate::proto::time::{Moment, UnixMillis};
use crate::spool::contract::{
    Acceptance, ActionPage, Answer, Arrivals, Counts, DeliveryOutcome, Destination, DuePlace, DueRows, Head,
    Mail, NewDelivery, NewSubmission, Page, Registration, Removal, RowAction, RowFilter, RowPage, Settlement,
    Snapshot, Store, Trace, UnderWay,
};
use crate::spool::entry::{AccountRecord, Body, DestinationRecord, Row, RowId, SentRecord, Step, Unanswered};
use crate::spool::exchange::Line;
use crate::spool::keys;
use crate::spool::retry::Schedule;

impl Store for SpoolStore {
    fn arrivals(&self) -> Arrivals {
        self.arrivals.clone()
    }

    fn moment(&self, wall: UnixMillis) -> Moment {
        self.running.moment(wall)
    }

    fn under_way(&self) -> UnderWay {
        self.under_way.clone()
    }

    fn accept(&self, submission: NewSubmission) -> Answer<'_, Acceptance> {
        self.taken_in.fetch_add(1, Ordering::Relaxed);
        let key = keys::sent(&submission.from, &submission.nonce);
        Box::pin(
            self.commit_fetched(move |reader| reader.touch(&key), move |writer| writer.accept(submission)),
        )
    }

    fn deliver(&self, delivery: NewDelivery) -> Answer<'_, DeliveryOutcome> {
        self.taken_in.fetch_add(1, Ordering::Relaxed);
        let identity = &delivery.identity;
        let key = keys::received(&identity.from, &identity.nonce, &identity.recipient);
        Box::pin(
            self.commit_fetched(move |reader| reader.touch(&key), move |writer| writer.deliver(delivery)),
        )
    }

    fn lease(&self, id: RowId, now: UnixMillis, schedule: Arc<Schedule>) -> Answer<'_, Option<Row>> {
        let steps = Arc::clone(&schedule);
        let fetch = move |reader: &Reader| {
            let attempt = reader.row(id)?.map_or(1, |row| row.attempt());
            reader.touch_row(id, Some(now.plus(steps.wait_after(attempt)))).map(drop)
        };
        Box::pin(self.commit_fetched(fetch, move |writer| writer.lease(id, now, &schedule)))
    }

    fn lease_first(&self, id: RowId, now: UnixMillis, schedule: Arc<Schedule>) -> Answer<'_, Option<Row>> {
        let fetch = move |reader: &Reader| reader.touch_row(id, None).map(drop);
        Box::pin(self.commit_fetched(fetch, move |writer| writer.lease_first(id, now, &schedule)))
    }

    fn taken_in(&self) -> u64 {
        self.taken_in.load(Ordering::Relaxed)
    }

    fn first_number(&self) -> u64 {
        self.first_number
    }

    fn note_unanswered(&self, id: RowId, unanswered: Unanswered) -> Answer<'_, ()> {
        Box::pin(self.commit(move |writer| writer.note_unanswered(id, unanswered)))
    }

    fn settle(&self, id: RowId, now: UnixMillis, settlement: Settlement) -> Answer<'_, ()> {
        let (packed, due) = (Arc::clone(&self.identities), settlement.due());
        Box::pin(self.commit_fetched(
            move |reader| reader.touch_ending(id, due, &packed),
            move |writer| writer.settle(id, now, settlement),
        ))
    }

    fn park(&self, id: RowId, now: UnixMillis, waited: bool) -> Answer<'_, bool> {
        let fetch = move |reader: &Reader| reader.touch_row(id, None).map(drop);
        Box::pin(self.commit_fetched(fetch, move |writer| writer.park(id, now, waited)))
    }

    fn give_up(&self, id: RowId, step: Step, bounce: Option<Bytes>, even_held: bool) -> Answer<'_, bool> {
        Box::pin(self.commit(move |writer| writer.give_up(id, step, bounce, even_held)))
    }

    fn notice(&self, id: RowId, step: Step, notice: Option<Bytes>) -> Answer<'_, ()> {
        Box::pin(self.commit(move |writer| writer.notice(id, step, notice)))
    }

    fn keep_destination(&self, domain: Domain, record: Option<DestinationRecord>) -> Answer<'_, ()> {
        Box::pin(self.commit(move |writer| writer.keep_destination(&domain, record)))
    }

    fn act(
        &self,
        filter: RowFilter,
        action: RowAction,
        step: Step,
        after: Option<RowId>,
        dry_run: bool,
    ) -> Answer<'_, ActionPage> {
        Box::pin(self.commit(move |writer| writer.act(&filter, action, &step, after, dry_run)))
    }

    fn backlog(
        &self,
        destination: Domain,
        after: Option<u64>,
        per_sender: usize,
        limit: usize,
    ) -> Answer<'_, Vec<Head>> {
        Box::pin(self.read(move |reader| reader.backlog(&destination, after, per_sender, limit)))
    }

    fn backlogs(&self, after: Option<Domain>, limit: usize) -> Answer<'_, Vec<Domain>> {
        Box::pin(self.read(move |reader| reader.backlogs(after.as_ref(), limit)))
    }

    fn destinations(&self, after: Option<Domain>, limit: usize) -> Answer<'_, Vec<Destination>> {
        Box::pin(self.read(move |reader| reader.destinations(after.as_ref(), limit)))
    }

    fn troubled(&self, after: Option<Domain>, limit: usize) -> Answer<'_, Vec<(Domain, DestinationRecord)>> {
        Box::pin(self.read(move |reader| reader.troubled(after.as_ref(), limit)))
    }

    fn put_back(&self, after: Option<RowId>, limit: usize) -> Answer<'_, Vec<Row>> {
        Box::pin(self.read(move |reader| reader.put_back(after, limit)))
    }

    fn list(&self, filter: RowFilter, after: Option<RowId>, limit: usize) -> Answer<'_, RowPage> {
        let packed = Arc::clone(&self.identities);
        Box::pin(self.read(move |reader| reader.page(&filter, after, limit, &packed)))
    }

    fn due(&self, now: UnixMillis, after: Option<DuePlace>, limit: usize) -> Answer<'_, DueRows> {
        Box::pin(self.read(move |reader| reader.due(now, after, limit)))
    }

    fn fresh(&self, after: Option<RowId>, limit: usize) -> Answer<'_, Vec<(RowId, Option<Head>)>> {
        Box::pin(self.read(move |reader| reader.fresh(after, limit)))
    }

    fn body(&self, body: Body) -> Answer<'_, Bytes> {
        if let Body::Inline(bytes) = body {
            return Box::pin(std::future::ready(Ok(bytes.into())));
        }
        Box::pin(self.read(move |reader| reader.body(&body)))
    }

    fn mailbox(
        &self,
        address: Address,
        after: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Answer<'_, Option<Page>> {
        Box::pin(self.read(move |reader| reader.mailbox(&address, after, limit, max_bytes)))
    }

    fn mail(&self, address: Address, cursor: u64) -> Answer<'_, Option<Mail>> {
        Box::pin(self.read(move |reader| reader.mail(&address, cursor)))
    }

    fn sent(&self, from: Address, nonce: Nonce) -> Answer<'_, Option<(SentRecord, Vec<Row>)>> {
        // Through the committer, so that nothing is shown before it is on disk.
        Box::pin(self.commit(move |writer| writer.reader().sent(&from, &nonce, &writer.identities)))
    }

    fn trace(&self, nonce: Nonce) -> Answer<'_, Trace> {
        // Through the committer, so that nothing is shown before it is on disk.
        Box::pin(self.commit(move |writer| writer.reader().trace(&nonce, &writer.identities)))
    }

    fn register(
        &self,
        address: Address,
        password_hash: Option<String>,
        now: UnixMillis,
    ) -> Answer<'_, Registration> {
        Box::pin(self.commit(move |writer| writer.register(&address, password_hash, now)))
    }

    fn account(&self, address: Address) -> Answer<'_, Option<AccountRecord>> {
        // One read of a key that is mostly cached: not worth a trip to another thread.
        let found = self.latest().account(&address);
        Box::pin(std::future::ready(found))
    }

    fn accounts(&self, after: Option<Address>, limit: usize) -> Answer<'_, Vec<(Address, AccountRecord)>> {
        Box::pin(self.read(move |reader| reader.accounts(after.as_ref(), limit)))
    }

    fn remove_account(&self, address: Address, reserved_until: Option<Moment>) -> Answer<'_, Removal> {
        Box::pin(self.commit(move |writer| writer.remove_account(&address, reserved_until)))
    }

    fn forget(&self, now: Moment) -> Answer<'_, bool> {
        Box::pin(self.forget(now))
    }

    fn pack(&self, now: Moment) -> Answer<'_, bool> {
        Box::pin(self.pack(now))
    }

    fn packable(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.identities.enough.notified())
    }

    fn snapshot(&self) -> Answer<'_, Option<Snapshot>> {
        Box::pin(self.cut())
    }

    fn import(
        &self,
        lines: Vec<Line>,
        now: UnixMillis,
        strict: bool,
    ) -> Answer<'_, Vec<Result<bool, String>>> {
        Box::pin(self.commit(move |writer| writer.import(lines, now, strict)))
    }

    fn counts(&self) -> Answer<'_, Counts> {
        Box::pin(self.read(Reader::counts))
    }
}
