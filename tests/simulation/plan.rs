//! What will happen in a world, drawn from its seed before it begins: who there is, who writes what to whom and when, and
//! what goes wrong. A plan is data: the same seed has the same one.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::dice::Dice;
use crate::plan::faults::{Fault, What};

pub mod faults;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// How long before something goes wrong letters are written that it catches on their way.
const BEFORE: Duration = Duration::from_secs(3);

/// How large worlds are, and how much is written in them.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub domains: (usize, usize),
    pub messages: (usize, usize),
}

pub struct Plan {
    pub seed: u64,
    /// The servers, and the domains of each, by number.
    pub sites: Vec<Vec<usize>>,
    pub domains: Vec<Domain>,
    pub letters: Vec<Arc<Letter>>,
    pub faults: Vec<Fault>,
    /// For how long letters are written and things go wrong.
    pub troubled: Duration,
    pub terms: Terms,
}

pub struct Domain {
    pub name: String,
    pub site: usize,
    pub agents: usize,
    pub policy: Policy,
}

/// What a domain's ATS record says of other machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// They may not send for it.
    Strict,
    /// Nothing.
    Neutral,
    /// There is no record.
    Absent,
}

/// What every server is configured with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    pub schedule: &'static [&'static str],
    pub give_up_after: Duration,
    pub delay_notice_after: Duration,
    pub max_message_age: Duration,
    /// How long mailboxes keep what they have.
    pub keep: Duration,
    /// Whether to wait until all that is kept for a time has gone, and look at what is left.
    pub to_the_end: bool,
}

/// A message to be written.
#[derive(Debug, Clone)]
pub struct Letter {
    pub at: Duration,
    pub from: String,
    /// The first is `to`, the others are `cc`.
    pub to: Vec<String>,
    pub nonce: String,
    pub bytes: usize,
    pub receipts: &'static [&'static str],
    pub manner: Manner,
}

/// How a message is submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Until there is an answer that ends it.
    Patient,
    /// A few times only.
    Impatient,
    /// By two machines of the agent at once.
    Twice,
    /// And then again something else under the same nonce.
    Clashing,
}

/// Agents of a domain are called so, followed by a number.
const AGENT: &str = "bot";
/// Somebody who does not exist.
const NOBODY: &str = "nobody";
/// A domain that does not exist.
const NOWHERE: &str = "nowhere.example";

/// The address of an agent.
pub fn agent(domain: &str, number: usize) -> String {
    format!("{AGENT}{number}@{domain}")
}

impl Plan {
    pub fn draw(seed: u64, size: Size) -> Plan {
        let mut dice = Dice::of(seed, "plan", 0);
        let count = dice.between(size.domains.0, size.domains.1);
        let mut sites: Vec<Vec<usize>> = Vec::new();
        let domains: Vec<Domain> = (0..count)
            .map(|number| {
                // Some servers serve two domains.
                let shares = number > 0 && dice.one_in(5) && sites.last().is_some_and(|site| site.len() == 1);
                if !shares {
                    sites.push(Vec::new());
                }
                let site = sites.len() - 1;
                sites[site].push(number);
                Domain {
                    name: format!("d{number}.example"),
                    site,
                    agents: dice.between(1, 4),
                    policy: dice.one_of(&[Policy::Strict, Policy::Strict, Policy::Neutral, Policy::Absent]),
                }
            })
            .collect();
        let terms = Terms::draw(&mut Dice::of(seed, "terms", 0));
        let mut dice = Dice::of(seed, "course", 0);
        let troubled = dice.time(5 * MINUTE, HOUR).min(terms.give_up_after * 2);
        let letters = dice.between(size.messages.0, size.messages.1);
        let faults = faults::draw(seed, &sites, &domains, troubled);
        let letters = draw_letters(seed, letters, &domains, (troubled, &faults), &terms);
        Plan { seed, sites, domains, letters, faults, troubled, terms }
    }

    /// By how much a clock is ahead at most. What a server has accepted by it is not given up before its time has come.
    pub fn most_ahead(&self) -> Duration {
        let ahead = |fault: &Fault| match fault.what {
            What::Clock(_, ahead) => u64::try_from(ahead).unwrap_or(0),
            _ => 0,
        };
        Duration::from_millis(self.faults.iter().map(ahead).max().unwrap_or(0))
    }

    /// Every agent there is, and its site.
    pub fn agents(&self) -> impl Iterator<Item = (String, usize)> + '_ {
        self.domains
            .iter()
            .flat_map(|domain| (0..domain.agents).map(|number| (agent(&domain.name, number), domain.site)))
    }

    /// The site of an address. `None`: there is no such domain.
    pub fn site_of(&self, address: &str) -> Option<usize> {
        let domain = address.split_once('@')?.1;
        self.domains.iter().find(|known| known.name == domain).map(|domain| domain.site)
    }

    /// Whether there is such an agent.
    pub fn exists(&self, address: &str) -> bool {
        self.agents().any(|(agent, _)| agent == address)
    }
}

impl Terms {
    fn draw(dice: &mut Dice) -> Terms {
        let quick = Terms {
            schedule: &["2s", "5s", "15s", "60s", "5m"],
            give_up_after: dice.time(12 * MINUTE, 2 * HOUR),
            delay_notice_after: dice.time(3 * MINUTE, 10 * MINUTE),
            max_message_age: 72 * HOUR,
            keep: 30 * 24 * HOUR,
            to_the_end: false,
        };
        match dice.below(40) {
            0 => Terms {
                schedule: &["2s", "5s", "15s", "60s", "5m", "15m", "1h"],
                give_up_after: 48 * HOUR,
                delay_notice_after: 4 * HOUR,
                ..quick
            },
            1 => Terms { max_message_age: 28 * HOUR, keep: 12 * HOUR, to_the_end: true, ..quick },
            _ => quick,
        }
    }
}

fn draw_letters(
    seed: u64,
    count: usize,
    domains: &[Domain],
    (troubled, faults): (Duration, &[Fault]),
    terms: &Terms,
) -> Vec<Arc<Letter>> {
    let mut names = HashSet::new();
    let letters = (0..count).map(|number| {
        let at = Letter::moment(seed, number, troubled, faults);
        let mut letter = Letter::draw(seed, number, domains, at);
        // What becomes of a letter is known by its author and its nonce.
        if !names.insert((letter.from.clone(), letter.nonce.clone())) {
            letter.nonce = format!("msg-{number}");
            names.insert((letter.from.clone(), letter.nonce.clone()));
        }
        if terms.to_the_end {
            // What waits for an acknowledgement is remembered for a month.
            letter.receipts = if letter.receipts.is_empty() { &[] } else { &["delivered"] };
        }
        Arc::new(letter)
    });
    letters.collect()
}

impl Letter {
    /// When it is written: mostly when something goes wrong, or a little before.
    fn moment(seed: u64, number: usize, troubled: Duration, faults: &[Fault]) -> Duration {
        let mut dice = Dice::of(seed, "moment", number);
        if faults.is_empty() || dice.one_in(4) {
            return dice.moment(troubled);
        }
        let fault = &faults[dice.below(faults.len())];
        let begins = fault.from.saturating_sub(dice.moment(BEFORE));
        begins + dice.moment(BEFORE + fault.lasts.min(2 * MINUTE))
    }

    fn draw(seed: u64, number: usize, domains: &[Domain], at: Duration) -> Letter {
        let mut dice = Dice::of(seed, "letter", number);
        let somebody = |dice: &mut Dice| {
            let domain = &domains[dice.below(domains.len())];
            match dice.below(40) {
                0 => format!("{NOBODY}@{}", domain.name),
                1 => format!("{NOBODY}@{NOWHERE}"),
                _ => agent(&domain.name, dice.below(domain.agents)),
            }
        };
        let home = &domains[dice.below(domains.len())];
        let from = agent(&home.name, dice.below(home.agents));
        let recipients = if dice.one_in(4) { dice.between(2, 6) } else { 1 };
        let mut to: Vec<String> = Vec::new();
        while to.len() < recipients {
            let recipient = somebody(&mut dice);
            // A small world has not so many.
            if !to.contains(&recipient) || dice.one_in(3) {
                to.push(recipient);
            }
        }
        let bytes = match dice.below(30) {
            0 => dice.between(50_000, 300_000),
            1..4 => dice.between(4_000, 20_000),
            _ => dice.between(0, 900),
        };
        let receipts: &[&str] = match dice.below(8) {
            0 => &["delivered"],
            1 => &["delivered", "acked"],
            2 => &["acked"],
            _ => &[],
        };
        let manner = match dice.below(20) {
            0 => Manner::Impatient,
            1 => Manner::Twice,
            2 => Manner::Clashing,
            _ => Manner::Patient,
        };
        // Different agents may well use one nonce.
        let nonce = if dice.one_in(10) { format!("same-{}", number / 20) } else { format!("msg-{number}") };
        Letter { at, from, to, nonce, bytes, receipts, manner }
    }
}
