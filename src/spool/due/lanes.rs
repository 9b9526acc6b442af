//! What the runner does with its lanes: rows come in, destinations fail, pause and come back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::Instrument;

use super::handover::{Command, LaneView};
use super::lane::{Candidate, Lane, share};
use super::trouble::{LONGEST_PAUSE, Standing, Trouble};
use super::{
    LONGEST_ROUND, MAX_HEADS, MAX_PARKING, MAX_RECORDS_WAITING, PAGE, Runner, SLOW_AFTER, STORE_PAUSE,
};
use crate::env::rng;
use crate::proto::address::Domain;
use crate::proto::status::Contact;
use crate::spool::contract::{Head, Store, StoreError};
use crate::spool::entry::{DestinationRecord, RowId, Step};
use crate::spool::keys::Place;

/// Lanes in memory; rows for further destinations wait on disk.
pub(super) const MAX_LANES: usize = 16_384;
/// Lanes below this are not tidied up before their time.
const FEW_LANES: usize = 4096;
/// How long they are.
const IDLE: Duration = Duration::from_secs(600);
/// How long a destination is remembered whose pause is over and for which nothing has come.
const FORGET_TROUBLE_AFTER: Duration = Duration::from_secs(3600);
/// Rows below which a lane takes more from its backlog.
const REFILL_BELOW: usize = 64;
/// Rows of one sender a lane takes from its backlog at a time.
const REFILL_OF_ONE: usize = 32;

/// Writes changes of destinations' trouble, in order, without holding up the runner.
pub(super) fn keep_records(store: Arc<dyn Store>) -> mpsc::Sender<(Domain, Option<DestinationRecord>)> {
    let (sender, mut changes) = mpsc::channel::<(Domain, Option<DestinationRecord>)>(MAX_RECORDS_WAITING);
    let write = async move {
        while let Some((domain, record)) = changes.recv().await {
            // In order: what is stored last must be what happened last.
            while let Err(error) = store.keep_destination(domain.clone(), record.clone()).await {
                tracing::warn!(%error, "queue: a destination's trouble could not be stored");
                if matches!(error, StoreError::Closed | StoreError::Lost(_)) {
                    return;
                }
                tokio::time::sleep(STORE_PAUSE).await;
            }
        }
    };
    tokio::spawn(write.in_current_span());
    sender
}

impl<A> Runner<A> {
    /// Takes up what was known of destinations before a restart.
    pub(super) async fn restore_lanes(&mut self) {
        let mut after = None;
        loop {
            self.pulse.within(LONGEST_ROUND);
            match self.parts.store.troubled(after.clone(), PAGE).await {
                Ok(page) => {
                    let Some((last, _)) = page.last() else { return };
                    after = Some(last.clone());
                    for (domain, record) in page {
                        self.restore_lane(domain, &record);
                    }
                }
                Err(error) => {
                    // One of them may have been stopped by the operator: nothing is sent before that is known.
                    tracing::warn!(%error, "queue: destinations in trouble cannot be read yet");
                    tokio::time::sleep(STORE_PAUSE).await;
                }
            }
        }
    }

    fn restore_lane(&mut self, domain: Domain, record: &DestinationRecord) {
        let Some(lane) = self.lane(&domain) else { return };
        lane.trouble = Trouble::restored(record);
        lane.last.clone_from(&record.last);
        lane.backlog = true;
        lane.pause = record.until;
        if let Some(until) = record.until {
            self.pauses.insert((until, domain.clone()));
        }
        self.shared.set_suspended(&domain, true);
    }

    /// The lane of a destination, made if there is room for another. `None`: there is none.
    pub(super) fn lane(&mut self, domain: &Domain) -> Option<&mut Lane> {
        if !self.lanes.contains_key(domain) {
            if self.lanes.len() >= self.tidy_at {
                self.lanes.retain(|_, lane| !lane.is_idle() || lane.listed || !lane.trouble.is_none());
                self.tidy_at = (self.lanes.len() * 2).clamp(FEW_LANES, MAX_LANES);
            }
            if self.lanes.len() >= MAX_LANES {
                return None;
            }
        }
        let limit = (self.parts.terms)().bounds.max_per_destination;
        let lane = self.lanes.entry(domain.clone()).or_insert_with(|| Lane::new(limit));
        lane.window.keep_to(limit);
        Some(lane)
    }

    /// Takes a row into memory, or sees to it that it waits in its destination's backlog.
    pub(super) fn enlist(&mut self, place: Place, candidate: Candidate) {
        if !self.active.insert(candidate.id()) {
            return;
        }
        let now = self.parts.env.clock.now();
        let free = MAX_HEADS.saturating_sub(self.waiting);
        if let Some(lane) = self.lane(&place.destination) {
            lane.used = Instant::now();
            let open = matches!(lane.trouble.standing(now), Standing::Open | Standing::Probed);
            if open && lane.has_room(place.sender, free) {
                let put_back = candidate.was_put_back();
                lane.push(place.sender, candidate);
                self.waiting += 1;
                self.put_back += usize::from(put_back);
                return self.list(&place.destination);
            }
        }
        self.park(place.destination, &candidate);
    }

    /// Puts a row into its destination's backlog, where it uses up nothing.
    fn park(&mut self, domain: Domain, candidate: &Candidate) {
        let (id, waited) = (candidate.id(), candidate.waited());
        let (store, now) = (Arc::clone(&self.parts.store), self.parts.env.clock.now());
        self.parking.spawn(async move {
            let parked = store.park(id, now, waited).await;
            if let Err(error) = &parked {
                tracing::warn!(?id, %error, "queue: a row could not be put into its destination's backlog");
                tokio::time::sleep(STORE_PAUSE).await;
            }
            (id, domain, parked)
        });
    }

    /// Whether rows may be put into backlogs without waiting.
    pub(super) fn can_park(&self) -> bool {
        self.parking.len() < MAX_PARKING
    }

    /// A row has been put into its destination's backlog, or is not due any more. If the store failed, where it lies
    /// is for the disk to say.
    pub(super) fn parked(
        &mut self,
        parked: Result<(RowId, Domain, Result<bool, StoreError>), tokio::task::JoinError>,
    ) {
        let Ok((id, domain, parked)) = parked else { return };
        if matches!(parked, Err(StoreError::Unreadable(_))) {
            // It stays among the active, or it would be found and parked again without end.
            return;
        }
        self.active.remove(&id);
        if parked.is_err() {
            self.shared.lost_sight();
        }
        if !matches!(parked, Ok(false)) {
            self.has_backlog(&domain);
        }
    }

    /// The disk may hold rows that wait for a destination.
    pub(super) fn has_backlog(&mut self, domain: &Domain) {
        match self.lane(domain) {
            Some(lane) => {
                lane.backlog = true;
                self.list(domain);
            }
            // It is found again once there is room.
            None => {
                self.survey.get_or_insert_default();
            }
        }
    }

    /// Lets a lane stand among the ready if it may start an attempt, and among the hungry if it wants rows.
    pub(super) fn list(&mut self, domain: &Domain) {
        let now = self.parts.env.clock.now();
        let Some(lane) = self.lanes.get_mut(domain) else { return };
        let may = match lane.trouble.standing(now) {
            Standing::Open => lane.under_way < lane.window.size() && !lane.hangs(),
            Standing::Probed => lane.probe.is_none(),
            Standing::Suspended(_) | Standing::Stopped => false,
        };
        if may && !lane.listed && lane.waiting() > 0 {
            lane.listed = true;
            let ready = if lane.next_was_put_back() { &mut self.ready_again } else { &mut self.ready };
            ready.push_back(domain.clone());
        }
        if may && lane.backlog && !lane.hungry && lane.waiting() < REFILL_BELOW {
            lane.hungry = true;
            self.hungry.push_back(domain.clone());
        }
    }

    /// Takes rows of one backlog that is wanted; the others' turn comes.
    pub(super) async fn refill(&mut self) {
        let free = MAX_HEADS.saturating_sub(self.waiting);
        if free == 0 {
            return;
        }
        let Some(domain) = self.hungry.pop_front() else { return };
        let now = self.parts.env.clock.now();
        let Some(lane) = self.lanes.get_mut(&domain) else { return };
        lane.hungry = false;
        // Where there is none, its next row to go out, or the end of its pause, makes it hungry again.
        let room = share(free).max(1).saturating_sub(lane.waiting()).min(PAGE);
        if room == 0 || matches!(lane.trouble.standing(now), Standing::Suspended(_) | Standing::Stopped) {
            return;
        }
        // Rows in memory or under way lie in the backlog still and come again.
        let known = lane.waiting() + lane.under_way;
        let (after, probed) = (lane.taken_from, lane.trouble.standing(now) == Standing::Probed);
        let wanted = if probed { 1 } else { room };
        let page =
            self.parts.store.backlog(domain.clone(), after, REFILL_OF_ONE + known, wanted + known).await;
        let heads = match page {
            Ok(heads) => heads,
            Err(error) => {
                tracing::warn!(%domain, %error, "queue: a backlog cannot be read");
                // It is found again when the disk is looked at next.
                self.survey.get_or_insert_default();
                return;
            }
        };
        if let Some(lane) = self.lanes.get_mut(&domain) {
            lane.backlog = !heads.is_empty();
            lane.taken_from = heads.last().map(|head| head.place.sender);
        }
        let new: Vec<Head> =
            heads.into_iter().filter(|head| !self.active.contains(&head.id)).take(wanted).collect();
        if new.is_empty() {
            // All are in memory already: to ask again before one of them has moved would be in vain.
            return;
        }
        for head in new {
            self.active.insert(head.id);
            if let Some(lane) = self.lanes.get_mut(&domain) {
                lane.push(head.place.sender, Candidate::Stored(head.id, head.due));
                self.waiting += 1;
                self.put_back += 1;
            }
        }
        self.list(&domain);
    }

    /// An attempt of a lane has ended.
    pub(super) fn left(&mut self, domain: &Domain, id: RowId, quick: bool) {
        if let Some(lane) = self.lanes.get_mut(domain) {
            lane.under_way -= 1;
            lane.slow -= usize::from(!quick);
            if lane.probe == Some(id) {
                lane.probe = None;
            }
        }
    }

    /// An attempt, or a message from there, has shown something of a destination.
    pub(super) fn heard(&mut self, domain: &Domain, contact: Contact, trouble: Option<Step>) {
        let (now, rng) = (self.parts.env.clock.now(), Arc::clone(&self.parts.env.rng));
        let Some(lane) = self.lanes.get_mut(domain) else { return };
        lane.used = Instant::now();
        match contact {
            Contact::Unknown => {}
            Contact::Answered => lane.window.grow(),
            Contact::Busy | Contact::Failed => lane.window.shrink(),
        }
        match contact {
            Contact::Unknown => {}
            Contact::Answered | Contact::Busy => {
                (lane.proven, lane.failing) = (true, false);
                if lane.trouble.answered() {
                    tracing::info!(destination = %domain, "works again");
                    lane.last = None;
                    self.trouble_changed(domain);
                }
            }
            Contact::Failed => {
                (lane.proven, lane.failing) = (false, true);
                if let Some(pause) = lane.trouble.failed(now, |pause| rng::jittered(&*rng, pause)) {
                    let reason =
                        trouble.as_ref().map(|step| format!("{} {}", step.code, step.for_operator()));
                    tracing::warn!(destination = %domain, ?pause, reason, "suspended");
                    lane.last = trouble;
                    self.trouble_changed(domain);
                }
            }
        }
    }

    /// Stores a destination's new standing and acts by it.
    fn trouble_changed(&mut self, domain: &Domain) {
        let now = self.parts.env.clock.now();
        let Some(lane) = self.lanes.get_mut(domain) else { return };
        if let Some(until) = lane.pause.take() {
            self.pauses.remove(&(until, domain.clone()));
        }
        let standing = lane.trouble.standing(now);
        let mut parked = Vec::new();
        if let Standing::Suspended(until) = standing {
            lane.pause = Some(until);
            self.pauses.insert((until, domain.clone()));
        }
        if matches!(standing, Standing::Suspended(_) | Standing::Stopped) {
            parked = lane.drain();
        }
        let record = lane.trouble.record(lane.last.clone());
        self.shared.set_suspended(domain, record.is_some());
        if self.records.try_send((domain.clone(), record)).is_err() {
            tracing::warn!(destination = %domain, "queue: too many destinations change to note each");
        }
        self.waiting -= parked.len();
        self.put_back -= parked.iter().filter(|candidate| candidate.was_put_back()).count();
        for candidate in parked {
            self.park(domain.clone(), &candidate);
        }
        self.list(domain);
    }

    /// Lets destinations be probed whose pause is over.
    pub(super) fn end_pauses(&mut self) {
        let now = self.parts.env.clock.now();
        let latest = now.plus(LONGEST_PAUSE);
        loop {
            let first = self.pauses.first().filter(|(until, _)| *until <= now);
            // Later than any pause ends: the clock was set back.
            let last = || self.pauses.last().filter(|(until, _)| *until > latest);
            let Some((until, domain)) = first.or_else(last).cloned() else { return };
            self.pauses.remove(&(until, domain.clone()));
            if let Some(lane) = self.lanes.get_mut(&domain) {
                lane.pause = None;
            }
            self.list(&domain);
        }
    }

    /// Attempts that take long give their places among the quick ones back.
    pub(super) fn slow_down(&mut self) {
        let now = Instant::now();
        while let Some((began, task)) = self.quick.front().copied() {
            if let Some(task) = self.tasks.get_mut(&task) {
                if began + SLOW_AFTER > now {
                    break;
                }
                if std::mem::take(&mut task.quick) {
                    self.quick_count -= 1;
                    if let Some(lane) = self.lanes.get_mut(&task.domain) {
                        lane.slow += 1;
                    }
                }
            }
            self.quick.pop_front();
        }
    }

    /// Forgets lanes that have had nothing to do for long. To be called now and then.
    pub(super) fn tidy(&mut self) {
        let now = self.parts.env.clock.now();
        let mut over: Vec<Domain> = self
            .lanes
            .iter()
            .filter(|(_, lane)| lane.is_idle() && lane.used.elapsed() > FORGET_TROUBLE_AFTER)
            .filter(|(_, lane)| match lane.trouble.standing(now) {
                Standing::Probed => true,
                // Some failures, too few to suspend it.
                Standing::Open => !lane.trouble.is_none(),
                Standing::Suspended(_) | Standing::Stopped => false,
            })
            .map(|(domain, _)| domain.clone())
            .collect();
        // What is noted and told does not follow the dice of a map.
        over.sort_unstable();
        for domain in over {
            if let Some(lane) = self.lanes.get_mut(&domain) {
                lane.trouble.resume();
            }
            self.trouble_changed(&domain);
        }
        self.lanes.retain(|_, lane| {
            !lane.is_idle() || lane.listed || lane.used.elapsed() < IDLE || !lane.trouble.is_none()
        });
    }

    pub(super) fn obey(&mut self, command: Command) {
        let (domain, last, change): (Domain, Option<Step>, fn(&mut Trouble)) = match command {
            Command::Describe(answer) => {
                // Whoever asked may have gone.
                let _ = answer.send(self.views());
                return;
            }
            Command::Suspend(domain, step) => (domain, Some(step), Trouble::stop),
            Command::Resume(domain) => (domain, None, Trouble::resume),
            Command::Contact(domain) => (domain, None, |trouble| {
                trouble.answered();
            }),
        };
        let Some(lane) = self.lane(&domain) else {
            tracing::warn!(destination = %domain, "queue: too many destinations at once; not changed");
            return;
        };
        change(&mut lane.trouble);
        // Word from a destination that the operator stopped does not change why it is.
        if last.is_some() || !lane.trouble.is_by_operator() {
            lane.last = last;
        }
        lane.used = Instant::now();
        // What waits for it on disk is looked for.
        lane.backlog = true;
        self.trouble_changed(&domain);
    }

    fn views(&self) -> Vec<LaneView> {
        let now = self.parts.env.clock.now();
        let view = |(domain, lane): (&Domain, &Lane)| LaneView {
            domain: domain.clone(),
            under_way: lane.under_way,
            waiting: lane.waiting(),
            window: lane.window.size(),
            standing: lane.trouble.standing(now),
            failures: lane.trouble.failures(),
            since: lane.trouble.since(),
            last: lane.last.clone(),
        };
        let mut views: Vec<LaneView> = self.lanes.iter().map(view).collect();
        views.sort_unstable_by(|one, other| one.domain.cmp(&other.domain));
        views
    }
}
