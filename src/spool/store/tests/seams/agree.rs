//! Whether all records of a store agree with one another.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::*;
use crate::spool::entry::receipts::HeardRecord;
use crate::spool::entry::webhooks::PushRecord;
use crate::spool::entry::work::{WorkRecord, WorkState};
use crate::spool::entry::{AccountRecord, Body, MailRecord, decode};

/// A message's place: mailbox and cursor.
type Place = (u64, u64);

/// Everything on a disk.
pub(super) struct Found(BTreeMap<Vec<u8>, Vec<u8>>);

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().unwrap())
}

/// The mailbox that a key of one kind belongs to, and what is behind it.
fn of_mailbox(key: &[u8]) -> (u64, &[u8]) {
    (number(&key[1..9]), &key[9..])
}

fn place(key: &[u8]) -> Place {
    let (mailbox, rest) = of_mailbox(key);
    (mailbox, number(rest))
}

impl Found {
    /// What a power cut would leave.
    pub(super) fn on(disk: &MemoryDisk) -> Found {
        let mut all = BTreeMap::new();
        let visit = &mut |key: &[u8], value: &[u8]| {
            all.insert(key.to_vec(), value.to_vec());
            ControlFlow::Continue(())
        };
        disk.crash().scan(&[], &[], visit).unwrap();
        Found(all)
    }

    fn kind<'a>(&'a self, kind: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let entries = self.0.iter().filter(move |(key, _)| key.starts_with(kind));
        entries.map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    fn has(&self, key: &[u8]) -> bool {
        self.0.contains_key(key)
    }

    fn mail(&self) -> BTreeMap<Place, MailRecord> {
        self.kind(keys::MAIL).map(|(key, value)| (place(key), decode(value).unwrap())).collect()
    }

    fn rows(&self) -> Vec<Row> {
        let rows = self.kind(keys::FRESH).chain(self.kind(keys::QUEUED));
        rows.map(|(_, value)| decode(value).unwrap()).collect()
    }

    pub(super) fn agrees(&self) {
        let mail = self.mail();
        self.sizes_agree(&mail);
        self.work_agrees(&mail);
        self.pushes_agree(&mail);
        self.bodies_agree(&mail);
        self.counts_agree();
        self.receipts_agree();
        self.everything_has_an_owner();
    }

    fn sizes_agree(&self, mail: &BTreeMap<Place, MailRecord>) {
        let mut sizes: BTreeMap<u64, u64> = BTreeMap::new();
        for ((mailbox, _), record) in mail {
            *sizes.entry(*mailbox).or_default() += record.body.length() as u64;
        }
        let written: BTreeMap<u64, u64> =
            self.kind(b"km").map(|(key, value)| (number(&key[2..]), number(value))).collect();
        assert_eq!(written, sizes, "bytes in mailboxes");
    }

    fn work_agrees(&self, mail: &BTreeMap<Place, MailRecord>) {
        let work: BTreeMap<Place, WorkRecord> =
            self.kind(keys::WORK).map(|(key, value)| (place(key), decode(value).unwrap())).collect();
        let (mut claimable, mut dead) = (BTreeSet::new(), BTreeSet::new());
        for (at, record) in &work {
            assert!(mail.contains_key(at), "worked on, but gone: {at:?}");
            claimable.extend(record.state.due().map(|due| keys::work::claimable(at.0, due, at.1)));
            if record.state == WorkState::Dead {
                dead.insert(keys::work::dead_letter(at.0, at.1));
            }
        }
        let listed = |kind| self.kind(kind).map(|(key, _)| key.to_vec()).collect::<BTreeSet<_>>();
        assert_eq!(listed(keys::CLAIMABLE), claimable, "what may be handed out again");
        assert_eq!(listed(keys::DEAD_LETTERS), dead, "dead letters");
        for at in mail.keys() {
            let mark = self.0.get(&keys::work::handed_out(at.0)).map_or(0, |mark| decode(mark).unwrap());
            assert!(at.1 > mark || work.contains_key(at), "never handed out, never will be: {at:?}");
        }
        let mut expiring = BTreeSet::new();
        for (key, _) in self.kind(keys::EXPIRING) {
            let (_, mailbox, cursor) = keys::keeping::parse_expiring(key).unwrap();
            assert!(expiring.insert((mailbox, cursor)), "twice among what expires: {mailbox} {cursor}");
        }
        for at in mail.keys() {
            let done = work.get(at).is_some_and(|record| record.state == WorkState::Done);
            assert_eq!(expiring.contains(at), done, "acknowledged, and among what expires: {at:?}");
        }
    }

    fn pushes_agree(&self, mail: &BTreeMap<Place, MailRecord>) {
        let mut due = BTreeSet::new();
        for (key, value) in self.kind(keys::PUSHES) {
            let at = place(key);
            assert!(mail.contains_key(&at), "to be pushed, but gone: {at:?}");
            let push: PushRecord = decode(value).unwrap();
            due.insert(keys::webhooks::push_due(at.0, push.next, at.1));
        }
        let listed: BTreeSet<_> = self.kind(keys::PUSHES_DUE).map(|(key, _)| key.to_vec()).collect();
        assert_eq!(listed, due, "pushes by due time");
    }

    fn bodies_agree(&self, mail: &BTreeMap<Place, MailRecord>) {
        let mut holders: BTreeMap<u64, (u16, usize)> = BTreeMap::new();
        let rows = self.rows();
        for body in mail.values().map(|record| &record.body).chain(rows.iter().map(|row| &row.body)) {
            if let Body::Chunks { number, length } = body {
                holders.entry(*number).or_insert((0, *length as usize)).0 += 1;
            }
        }
        let mut bytes: BTreeMap<u64, usize> = BTreeMap::new();
        for (key, value) in self.kind(keys::CHUNKS) {
            *bytes.entry(number(&key[1..9])).or_default() += value.len();
        }
        let held: BTreeMap<u64, usize> = holders.iter().map(|(at, (_, length))| (*at, *length)).collect();
        assert_eq!(bytes, held, "bodies, and those that somebody holds");
        for (at, (count, _)) in holders {
            let shares = self
                .0
                .get(&keys::shares(at))
                .map_or(1, |shares| u16::from_be_bytes(shares.as_slice().try_into().unwrap()));
            assert_eq!(shares, count, "holders of the body {at}");
        }
        for (key, _) in self.kind(keys::SHARES) {
            assert!(bytes.contains_key(&number(&key[1..])), "a share count of nothing");
        }
    }

    fn counts_agree(&self) {
        let mut counts: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        let mut due = BTreeSet::new();
        for (_, value) in self.kind(keys::QUEUED) {
            let row: Row = decode(value).unwrap();
            let (sender, destination) = (&row.sender, row.recipient.domain());
            for key in [
                keys::COUNTS.to_vec(),
                keys::count_of_sender(sender),
                keys::count_of_destination(destination),
            ] {
                *counts.entry(key).or_default() += 1;
            }
            due.extend(row.state.due().map(|at| (at, row.id)));
        }
        let written = self.kind(keys::COUNTS).filter(|(key, _)| key.get(1) != Some(&b'm'));
        let written: BTreeMap<_, _> = written.map(|(key, value)| (key.to_vec(), number(value))).collect();
        assert_eq!(written, counts, "rows that have been put back");
        let listed = self.kind(keys::DUE).map(|(key, _)| keys::parse_due(key).unwrap());
        let waiting = self.kind(keys::BACKLOG).map(|(key, _)| keys::parse_waiting(key).unwrap());
        let all: Vec<_> = listed.chain(waiting.map(|(_, at, id)| (at, id))).collect();
        assert_eq!(all.len(), due.len(), "each row is due once");
        assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), due, "rows by due time");
    }

    fn receipts_agree(&self) {
        for (key, _) in self.kind(keys::RECEIPTS) {
            let sent = keys::receipts::sent_of(key).unwrap();
            assert!(self.has(&keys::receipts::asked(&sent)), "heard of what asked for nothing");
        }
    }

    /// What was heard of a message is never less than what had been heard before, and no other end.
    pub(super) fn only_went_forward(&self, before: &mut BTreeMap<Vec<u8>, ReceiptOutcome>) {
        for (key, value) in self.kind(keys::RECEIPTS) {
            if keys::receipts::recipient_of(key).is_none() {
                continue;
            }
            let heard: HeardRecord = decode(value).unwrap();
            if let Some(before) = before.insert(key.to_vec(), heard.outcome) {
                assert!(
                    before == heard.outcome || heard.outcome.is_news(Some(before)),
                    "{before:?} became {:?}",
                    heard.outcome
                );
            }
        }
    }

    fn everything_has_an_owner(&self) {
        let accounts =
            self.kind(keys::ACCOUNTS).map(|(_, value)| decode::<AccountRecord>(value).unwrap().mailbox);
        let garbage = self.kind(keys::GARBAGE).map(|(key, _)| number(&key[1..]));
        let known: BTreeSet<u64> = accounts.chain(garbage).collect();
        for kind in [
            keys::MAIL,
            keys::WORK,
            keys::CLAIMABLE,
            keys::DEAD_LETTERS,
            keys::PUSHES,
            keys::PUSHES_DUE,
            keys::OF_MAILBOX,
        ] {
            for (key, _) in self.kind(kind) {
                let (mailbox, _) = of_mailbox(key);
                assert!(
                    known.contains(&mailbox),
                    "{} of a mailbox that nobody has: {mailbox}",
                    char::from(kind[0])
                );
            }
        }
        for (key, _) in self.kind(b"km") {
            assert!(known.contains(&number(&key[2..])), "the size of a mailbox that nobody has");
        }
    }

    /// Nothing is left of any mailbox, nor of any message.
    pub(super) fn is_empty(&self) {
        let stays = [keys::SCHEMA, keys::NUMBERS, keys::RUNNING, keys::RUNNING_MARKS, keys::SEGMENTS];
        let left: Vec<_> =
            self.0.keys().filter(|key| !stays.iter().any(|kind| key.starts_with(kind))).collect();
        let left: Vec<String> = left.into_iter().map(|key| key.escape_ascii().to_string()).collect();
        assert!(left.is_empty(), "left over: {left:?}");
    }
}
