//! Accepted means kept: whichever server is killed at whichever moment, each acknowledged message ends exactly
//! once for each of its recipients: in the mailbox, or as a bounce, or it is still in the queue.
//!
//! Two servers under load in both directions, with a proxy between them that cuts connections. To play longer,
//! and the same game again:
//!
//!     ATP_TEST_KILLS=300 ATP_TEST_MESSAGES=100000 ATP_TEST_SEED=1 \
//!         cargo test --release --test process kills -- --nocapture

use std::time::Duration;

use atp::env::clock::{Clock as _, SystemClock};
use tokio::time::Instant;

use self::count::Count;
use self::dice::Dice;
use self::field::Field;
use self::load::Load;
use self::proxy::Proxy;
use self::readers::Readers;
use crate::place::Place;
use crate::waiting::pause;

pub mod client;
mod count;
pub mod dice;
mod field;
mod load;
mod messages;
mod proxy;
mod readers;
mod servers;
mod settling;

/// How exact the moment of a kill is: whatever happens in so long a time, it can be anywhere in it.
const MOMENT: Duration = Duration::from_millis(20);
/// For how long answers are swallowed before the connection is cut, at most.
const LONGEST_SWALLOWING: Duration = Duration::from_millis(100);
/// How long to wait until there is a connection that can be cut, at most.
const LONGEST_WAIT_FOR_CUT: Duration = Duration::from_secs(3);
const POLL_PAUSE: Duration = Duration::from_millis(1);
/// Copies that may be on their way when the next kill is planned, so that the servers keep up with the load.
const MAX_OPEN_COPIES: usize = 2000;
/// Lines of progress in a game.
const REPORTS: usize = 20;

/// How long to play, and which game.
struct Game {
    seed: u64,
    kills: usize,
    messages: usize,
}

#[test]
fn whichever_server_is_killed_whenever_each_acknowledged_message_ends_exactly_once() {
    let game = Game::from_environment();
    eprintln!("{}", game.name());
    let place = Place::new().kept_after_a_failure(&game.name());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    game.play(&mut Field::prepare(&place, &runtime.expect("a runtime")));
}

impl Game {
    fn from_environment() -> Game {
        let number = |name: &str, otherwise: u64| match std::env::var(name) {
            Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a number")),
            Err(_) => otherwise,
        };
        Game {
            seed: number("ATP_TEST_SEED", SystemClock.now().seconds().unsigned_abs()),
            kills: number("ATP_TEST_KILLS", 30) as usize,
            messages: number("ATP_TEST_MESSAGES", 3000) as usize,
        }
    }

    fn name(&self) -> String {
        let Game { seed, kills, messages } = self;
        format!("ATP_TEST_SEED={seed} ATP_TEST_KILLS={kills} ATP_TEST_MESSAGES={messages}")
    }

    fn play(&self, field: &mut Field<'_>) {
        let begun = Instant::now();
        let readers = Readers::start(field.runtime.handle(), &field.clients);
        let load = Load::start(field.runtime.handle(), self.seed, self.messages, &field.clients);
        self.kill_and_cut(field, &load, &readers);
        let planned = load.finish();
        eprintln!("all acknowledged after {} s", begun.elapsed().as_secs());
        settling::open_copies_at_most(0, &load, &readers);
        settling::await_empty_queues(field);

        let mut count = Count::new(planned);
        let misled = settling::read_all(field, &readers, &mut count);
        let (totals, wrong) =
            count.close(|planned, recipient| settling::is_queued(field, planned, recipient));
        let (kills, cuts) = (&field.servers.kills, field.proxies.iter().map(Proxy::cuts).sum::<usize>());
        let (messages, known_already, seconds) =
            (self.messages, load.known_already(), begun.elapsed().as_secs());
        let summary = format!(
            "{kills:?}, {cuts} connections cut before the answer; {messages} messages acknowledged, \
             {known_already} of them after a lost answer; {totals:?}; {seconds} s"
        );
        eprintln!("{summary}");
        assert!(wrong.is_empty(), "{wrong}{}", field.place.log_lines_with(wrong.nonce().unwrap_or_default()));
        assert!(misled.is_empty(), "{misled:?} followed their mailboxes and missed mail, or saw some twice");
        assert_eq!(totals.copies, totals.delivered + totals.bounced + totals.queued);
        assert_eq!(totals.queued, 0, "both servers run, and yet the queue is not done");
        assert!(cuts > 0 && known_already > 0 && kills.in_recovery > 0, "it was no game: {summary}");
    }

    /// Spreads the kills evenly over the load, with a cut before each round of them.
    fn kill_and_cut(&self, field: &mut Field<'_>, load: &Load, readers: &Readers) {
        const PARTS: usize = 1000;
        let mut dice = Dice::new(self.seed);
        for round in 0.. {
            let done = field.servers.kills.all();
            if done >= self.kills {
                return;
            }
            settling::open_copies_at_most(MAX_OPEN_COPIES, load, readers);
            // So that the load is not done with while servers start, and runs when the next is killed.
            let share = |parts: usize| (done * PARTS + parts) * self.messages / (self.kills * PARTS);
            load.release(share(2 * PARTS));
            load.reach(share(dice.below(PARTS)));
            cut(&field.proxies[dice.below(2)], &mut dice);
            pause(dice.time(MOMENT));
            let victims = [&[0], &[1], [0, 1].as_slice()][round % 3];
            field.servers.kill(victims, round / 3 % 3 == 0, &mut dice);
            let kills = &field.servers.kills;
            if kills.all() * REPORTS / self.kills > done * REPORTS / self.kills {
                eprintln!("{} acknowledged, {kills:?}", load.acknowledged());
            }
        }
    }
}

/// Has a connection cut. What follows may come before that or after it.
fn cut(proxy: &Proxy, dice: &mut Dice) {
    let (before, begun) = (proxy.cuts(), Instant::now());
    proxy.cut_next(dice.time(LONGEST_SWALLOWING));
    let patience = if dice.one_in(2) { LONGEST_WAIT_FOR_CUT } else { Duration::ZERO };
    while proxy.cuts() == before && begun.elapsed() < patience {
        pause(POLL_PAUSE);
    }
}
