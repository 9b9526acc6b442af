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
    (0..count).map(|number| Fault::draw(seed, number, sites, domains, troubled)).collect()
}

impl Fault {
    fn draw(seed: u64, number: usize, sites: &[Vec<usize>], domains: &[Domain], troubled: Duration) -> Fault {
        let mut dice = Dice::of(seed, "fault", number);
        let from = dice.moment(troubled - SECOND);
        let lasts = dice.time(SECOND, troubled / 2).min(troubled - from);
        let what = What::draw(&mut dice, sites, domains);
        Fault { from, lasts, what }
    }
}

impl What {
    fn draw(dice: &mut Dice, sites: &[Vec<usize>], domains: &[Domain]) -> What {
        let site = dice.below(sites.len());
        let domain = dice.below(domains.len());
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
