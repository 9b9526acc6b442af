//! Workers, their owner and power cuts in any order, beside a model that says in plain words what should happen.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What happens next. Who is meant is a number, taken modulo how many there are.
#[derive(Debug, Clone)]
enum Move {
    Deliver,
    Claim { limit: usize, lease: u64 },
    Ack { claim: usize, outcome: usize },
    AckOwn { mail: usize },
    Nack { claim: usize, delay: u64 },
    Extend { claim: usize, lease: u64 },
    Restore { mail: usize },
    Wait { seconds: u64 },
    PowerCut,
    Drop { mail: usize },
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        3 => Just(Move::Deliver),
        8 => (1..4_usize, 1..20_u64).prop_map(|(limit, lease)| Move::Claim { limit, lease }),
        4 => (any::<usize>(), 0..4_usize).prop_map(|(claim, outcome)| Move::Ack { claim, outcome }),
        1 => any::<usize>().prop_map(|mail| Move::AckOwn { mail }),
        8 => (any::<usize>(), 0..6_u64).prop_map(|(claim, delay)| Move::Nack { claim, delay }),
        2 => (any::<usize>(), 1..20_u64).prop_map(|(claim, lease)| Move::Extend { claim, lease }),
        2 => any::<usize>().prop_map(|mail| Move::Restore { mail }),
        6 => (0..15_u64).prop_map(|seconds| Move::Wait { seconds }),
        1 => Just(Move::PowerCut),
        1 => any::<usize>().prop_map(|mail| Move::Drop { mail }),
    ];
    prop::collection::vec(one, 1..150)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Fresh,
    /// In a worker's hands until then.
    Out(UnixMillis),
    /// Given back, or put back, until then.
    Back(UnixMillis),
    Done,
    Dead,
}

#[derive(Debug, Clone)]
struct Known {
    stage: Stage,
    claim: Option<ClaimId>,
    said: Option<Outcome>,
    returns: u32,
}

/// What should be so.
#[derive(Default)]
struct Model {
    mail: BTreeMap<u64, Known>,
}

impl Model {
    fn claim(&mut self, claims: &NewClaims) -> (Vec<(ClaimId, u32)>, Vec<u64>) {
        let due = |known: &Known| match known.stage {
            Stage::Out(due) | Stage::Back(due) if due <= claims.now => Some(due),
            _ => None,
        };
        let mut back: Vec<(UnixMillis, u64)> =
            self.mail.iter().filter_map(|(cursor, known)| Some((due(known)?, *cursor))).collect();
        back.sort_unstable();
        let (mut given, mut dead) = (Vec::new(), Vec::new());
        for (_, cursor) in back.iter().take(claims.limit + 1) {
            let known = self.mail.get_mut(cursor).unwrap();
            let returns = known.returns + u32::from(matches!(known.stage, Stage::Out(_)));
            if returns >= MAX_RETURNS {
                *known = Known { stage: Stage::Dead, claim: None, returns, said: None };
                dead.push(*cursor);
            } else if given.len() < claims.limit {
                known.returns = returns;
                given.push(*cursor);
            }
        }
        if given.len() + dead.len() <= claims.limit {
            let fresh = self.mail.iter().filter(|(_, known)| known.stage == Stage::Fresh);
            given.extend(fresh.map(|(cursor, _)| *cursor).take(claims.limit - given.len()));
        }
        let until = claims.now.plus(claims.lease);
        let give = |cursor| {
            let known = self.mail.get_mut(&cursor).unwrap();
            let claim = ClaimId { cursor, token: claims.token };
            *known =
                Known { stage: Stage::Out(until), claim: Some(claim), said: None, returns: known.returns };
            (claim, known.returns)
        };
        (given.into_iter().map(give).collect(), dead)
    }

    /// The message, if the claim is the latest on it.
    fn of(&mut self, claim: ClaimId) -> Result<&mut Known, NotYours> {
        match self.mail.get_mut(&claim.cursor) {
            Some(known) if known.claim == Some(claim) => Ok(known),
            Some(known) if known.stage != Stage::Fresh => Err(NotYours::Ended),
            _ => Err(NotYours::Unknown),
        }
    }

    fn ack(&mut self, claim: ClaimId, outcome: Outcome, now: UnixMillis) -> Result<(), NotYours> {
        let known = self.of(claim)?;
        match (known.stage, known.said) {
            (Stage::Done, said) => {
                return if said == Some(outcome) { Ok(()) } else { Err(NotYours::Acknowledged) };
            }
            (Stage::Out(until), _) if until > now => {}
            _ => return Err(NotYours::Ended),
        }
        known.said = Some(outcome);
        if outcome.is_final() {
            known.stage = Stage::Done;
        }
        Ok(())
    }

    fn ack_own(&mut self, cursor: u64, now: UnixMillis) -> Result<(), NotYours> {
        let known = self.mail.get_mut(&cursor).unwrap();
        match (known.stage, known.said) {
            (Stage::Out(until), _) if until > now => Err(NotYours::Held),
            (Stage::Done, Some(Outcome::Completed)) => Ok(()),
            (Stage::Done, _) => Err(NotYours::Acknowledged),
            _ => {
                *known = Known {
                    stage: Stage::Done,
                    claim: None,
                    said: Some(Outcome::Completed),
                    returns: known.returns,
                };
                Ok(())
            }
        }
    }

    fn nack(&mut self, claim: ClaimId, due: UnixMillis, now: UnixMillis) -> Result<u32, NotYours> {
        let known = self.of(claim)?;
        match known.stage {
            Stage::Out(until) if until > now => {
                known.returns += 1;
                known.stage = if known.returns < MAX_RETURNS { Stage::Back(due) } else { Stage::Dead };
                Ok(known.returns)
            }
            Stage::Out(_) => Err(NotYours::Ended),
            Stage::Done => Err(NotYours::Acknowledged),
            _ => Ok(known.returns),
        }
    }

    fn extend(&mut self, claim: ClaimId, until: UnixMillis, now: UnixMillis) -> Result<UnixMillis, NotYours> {
        let known = self.of(claim)?;
        match known.stage {
            Stage::Out(before) if before > now => {
                known.stage = Stage::Out(until);
                Ok(until)
            }
            Stage::Done => Err(NotYours::Acknowledged),
            _ => Err(NotYours::Ended),
        }
    }

    fn restore(&mut self, cursor: u64, now: UnixMillis) -> bool {
        let known = self.mail.get_mut(&cursor).unwrap();
        let is_dead = known.stage == Stage::Dead;
        if is_dead {
            *known = Known { stage: Stage::Back(now), claim: None, said: None, returns: 0 };
        }
        is_dead
    }

    fn dead(&self) -> Vec<u64> {
        let dead = self.mail.iter().filter(|(_, known)| known.stage == Stage::Dead);
        dead.map(|(cursor, _)| *cursor).collect()
    }

    fn out(&self, now: UnixMillis) -> Vec<ClaimId> {
        let is_out = |known: &Known| matches!(known.stage, Stage::Out(until) if until > now);
        let mut out: Vec<_> = self.mail.values().filter(|known| is_out(known)).collect();
        out.sort_by_key(|known| match known.stage {
            Stage::Out(until) => (until, known.claim.map(|claim| claim.cursor)),
            _ => (UnixMillis(0), None),
        });
        out.into_iter().filter_map(|known| known.claim).collect()
    }
}

fn one_of<T: Copy>(list: &[T], number: usize) -> Option<T> {
    (!list.is_empty()).then(|| list[number % list.len()])
}

async fn play(moves: Vec<Move>) {
    let (mut store, mut disk) = fresh_store();
    registered(&store).await;
    let (mut model, mut now, mut delivered) = (Model::default(), T0, 0_usize);
    let mut claims_made: Vec<ClaimId> = Vec::new();
    for (token, next) in (0..).zip(moves) {
        let mail: Vec<u64> = model.mail.keys().copied().collect();
        match next {
            Move::Deliver => {
                delivered += 1;
                let sent = delivery(&format!("g{delivered}"), BOB, 1);
                let DeliveryOutcome::Delivered { cursor, .. } = store.deliver(sent).await.unwrap() else {
                    panic!("not delivered")
                };
                let known = Known { stage: Stage::Fresh, claim: None, said: None, returns: 0 };
                model.mail.insert(cursor, known);
            }
            Move::Claim { limit, lease } => {
                let asked = NewClaims { lease: Duration::from_secs(lease), ..claims(limit, token, now) };
                let (given, dead) = model.claim(&asked);
                let claimed = store.claim(bob(), asked).await.unwrap().unwrap();
                let got: Vec<_> = claimed.grants.iter().map(|grant| (grant.claim, grant.returns)).collect();
                assert_eq!((&got, &claimed.dead), (&given, &dead));
                claims_made.extend(got.iter().map(|(claim, _)| *claim));
            }
            Move::Ack { claim, outcome } => {
                let Some(claim) = one_of(&claims_made, claim) else { continue };
                let said = ack(&store, Holder::Claim(claim), Outcome::ALL[outcome], now).await;
                assert_eq!(said.map(drop), model.ack(claim, Outcome::ALL[outcome], now));
            }
            Move::AckOwn { mail: number } => {
                let Some(cursor) = one_of(&mail, number) else { continue };
                let said = ack(&store, Holder::Nobody(cursor), Outcome::Completed, now).await;
                assert_eq!(said.map(drop), model.ack_own(cursor, now));
            }
            Move::Nack { claim, delay } => {
                let Some(claim) = one_of(&claims_made, claim) else { continue };
                let said = nack(&store, claim, delay, now).await;
                let due = now.plus(Duration::from_secs(delay));
                assert_eq!(said.map(|back| back.returns), model.nack(claim, due, now));
            }
            Move::Extend { claim, lease } => {
                let Some(claim) = one_of(&claims_made, claim) else { continue };
                let lease = Duration::from_secs(lease);
                let said = store.extend(bob(), claim, lease, now).await.unwrap();
                assert_eq!(said, model.extend(claim, now.plus(lease), now));
            }
            Move::Restore { mail: number } => {
                let Some(cursor) = one_of(&mail, number) else { continue };
                assert_eq!(store.restore(bob(), cursor, now).await.unwrap(), model.restore(cursor, now));
            }
            Move::Wait { seconds } => now = now.plus(Duration::from_secs(seconds)),
            Move::PowerCut => (store, disk) = after_crash(&disk),
            Move::Drop { mail: number } => {
                let Some(cursor) = one_of(&mail, number) else { continue };
                drop_mail(&store, cursor).await;
                model.mail.remove(&cursor);
            }
        }
        assert_eq!(dead(&store).await.iter().map(|(cursor, _)| *cursor).collect::<Vec<_>>(), model.dead());
        let out = store.leases(bob(), now, 100).await.unwrap();
        assert_eq!(out.iter().map(|lease| lease.claim).collect::<Vec<_>>(), model.out(now));
    }
    // Nothing is lost: what is not done with, nor dead, is handed out in the end.
    let mut left: Vec<u64> = Vec::new();
    loop {
        let claimed = claim(&store, 100, u64::MAX, s(1_000_000)).await;
        left.extend(cursors(&claimed.grants));
        left.extend(&claimed.dead);
        if claimed.grants.is_empty() && claimed.next.is_none_or(|next| next > s(1_000_000)) {
            break;
        }
    }
    left.sort_unstable();
    let is_left = |known: &Known| !matches!(known.stage, Stage::Done | Stage::Dead);
    let expected: Vec<u64> =
        model.mail.iter().filter(|(_, known)| is_left(known)).map(|(cursor, _)| *cursor).collect();
    assert_eq!(left, expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_workers_do_it_is_as_the_model_says(moves in moves()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(moves));
    }
}
