//! What goes wrong, when, and for how long.
//!
//! A new kind of trouble is a variant of [`What`], a line in [`draw`], and an arm where it begins and where it ends in
//! `world/trouble.rs`.

use std::net::IpAddr;
use std::time::Duration;

use super::Domain;
use crate::dice::Dice;
use crate::disk::Trouble;
use crate::names::Wrong;
use crate::net::Bad;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// Faults per server.
const PER_SITE: usize = 4;
/// Fewest in a world.
const FEWEST: usize = 6;
/// Applies and syncs of a store before a power cut is sure to come.
const MOST_STEPS: usize = 60;

#[derive(Debug, Clone)]
pub struct Fault {
    pub from: Duration,
    /// It is over by the end of the troubled time.
    pub lasts: Duration,
    pub what: What,
}

#[derive(Debug, Clone)]
pub enum What {
    /// These servers and the others cannot reach one another.
    Apart(Vec<usize>),
    /// The way from one server to another is bad.
    Way(usize, usize, Bad),
    /// The way between a server and its own agents is bad, to it or from it.
    Agents(usize, Bad, bool),
    /// Nobody listens at a server, which itself goes on.
    Deaf(usize),
    /// The process is killed.
    Killed(usize),
    /// The power goes.
    Dark(usize),
    /// The power goes at that step of the store's.
    DarkAt(usize, u32),
    /// The disk is in trouble.
    Disk(usize, Trouble),
    /// The clock is wrong by so many milliseconds.
    Clock(usize, i64),
    /// What one server is told of names is wrong. `None`: of all names.
    Names(usize, Option<usize>, Wrong),
    /// What everybody is told of a domain is wrong.
    Zone(usize, Wrong),
    /// A domain changes its key; the old one is revoked when it is over, or taken out of DNS.
    Rotation(usize, bool),
}

/// What goes wrong in a world.
pub fn draw(seed: u64, sites: &[Vec<usize>], domains: &[Domain], troubled: Duration) -> Vec<Fault> {
    let mut dice = Dice::of(seed, "faults", 0);
    // Some worlds are nearly well.
    let most = if dice.one_in(10) { FEWEST } else { sites.len() * PER_SITE };
    let count = dice.between(FEWEST.min(most), most.max(FEWEST));
    let spots = (0..count / 4).map(|_| (dice.moment(troubled - MINUTE), dice.below(sites.len())));
    let spots: Vec<_> = spots.collect();
    (0..count).map(|number| Fault::draw(seed, number, (sites, domains), troubled, &spots)).collect()
}

impl Fault {
    /// `spots`: moments and servers where one misfortune follows another.
    fn draw(
        seed: u64,
        number: usize,
        (sites, domains): (&[Vec<usize>], &[Domain]),
        troubled: Duration,
        spots: &[(Duration, usize)],
    ) -> Fault {
        let mut dice = Dice::of(seed, "fault", number);
        let (from, site) = match dice.one_in(2) && !spots.is_empty() {
            true => {
                let (moment, site) = spots[dice.below(spots.len())];
                ((moment + dice.moment(MINUTE)).min(troubled - SECOND), site)
            }
            false => (dice.moment(troubled - SECOND), dice.below(sites.len())),
        };
        let left = troubled - from;
        let lasts = if dice.one_in(8) { left } else { dice.time(SECOND, troubled / 2).min(left) };
        let what = What::draw(&mut dice, site, sites, domains);
        Fault { from, lasts, what }
    }
}

impl What {
    /// What goes wrong at a server or with one of its domains, or on the way from it.
    fn draw(dice: &mut Dice, site: usize, sites: &[Vec<usize>], domains: &[Domain]) -> What {
        let domain = if dice.one_in(2) { dice.one_of(&sites[site]) } else { dice.below(domains.len()) };
        match dice.below(24) {
            0 | 1 => What::Apart((0..sites.len()).filter(|_| dice.one_in(2)).collect()),
            2..7 => {
                let bad = dice.one_of(&[Bad::Held, Bad::Breaks, Bad::Breaks, Bad::Breaks, Bad::Slow]);
                What::Way(site, (site + dice.between(1, sites.len().max(2) - 1)) % sites.len(), bad)
            }
            7 | 8 => {
                let bad = dice.one_of(&[Bad::Held, Bad::Breaks, Bad::Breaks, Bad::Slow]);
                What::Agents(site, bad, dice.one_in(2))
            }
            9 => What::Deaf(site),
            10 | 11 => What::Killed(site),
            12 => What::Dark(site),
            13..16 => What::DarkAt(site, dice.between(1, MOST_STEPS) as u32),
            16 | 17 => What::Disk(site, dice.one_of(&[Trouble::Full, Trouble::NoSync, Trouble::Flaky])),
            18 | 19 => What::Clock(site, clock(dice)),
            20 => {
                let wrong = dice.one_of(&[Wrong::Fails, Wrong::Silent]);
                What::Names(site, Some(domain).filter(|_| dice.one_in(2)), wrong)
            }
            21 => What::Names(site, Some(domain), wrong(dice)),
            22 => What::Zone(domain, wrong(dice)),
            _ => What::Rotation(domain, dice.one_in(2)),
        }
    }
}

/// Minutes or days, ahead or behind.
fn clock(dice: &mut Dice) -> i64 {
    let least = dice.one_of(&[MINUTE, 10 * MINUTE, 60 * 24 * MINUTE]);
    let millis = dice.time(least, 4 * least).as_millis() as i64;
    if dice.one_in(2) { millis } else { -millis }
}

fn wrong(dice: &mut Dice) -> Wrong {
    let elsewhere = IpAddr::from([198, 51, 100, dice.below(250) as u8]);
    dice.one_of(&[
        Wrong::Fails,
        Wrong::Silent,
        Wrong::NoSuchName,
        Wrong::At(elsewhere),
        Wrong::AnyoneMaySend,
        Wrong::NobodyMaySend,
        Wrong::OtherKey,
        Wrong::Garbage,
        Wrong::Twice,
    ])
}
