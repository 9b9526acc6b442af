//! Everything the daemons trace, kept to be told (the vocabulary stands in [`observe`](crate::observe)).

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

use super::error::DemoError;
use crate::proto::nonce::Nonce;

/// Events kept; older ones are dropped.
const MAX_EVENTS: usize = 4096;

/// An event of one of the servers.
#[derive(Debug, Clone, Default)]
pub(super) struct Event {
    pub name: String,
    /// The domain of the server it comes from.
    pub server: String,
    /// The message it is about. `None`: it is about none.
    nonce: Option<String>,
    fields: BTreeMap<&'static str, String>,
}

impl Event {
    pub fn is_about(&self, nonce: &Nonce) -> bool {
        self.nonce.as_deref() == Some(nonce.as_str())
    }

    /// Whether an attempt to transfer a message ends with it.
    pub fn is_ending(&self) -> bool {
        matches!(self.name.as_str(), "transferred" | "attempt failed")
    }

    pub fn nonce(&self) -> Option<Nonce> {
        self.nonce.as_deref().and_then(|nonce| Nonce::parse(nonce).ok())
    }

    /// A field as text; empty if the event has none of that name.
    pub fn get(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// How long it took, in microseconds. `None`: it does not say.
    pub fn micros(&self) -> Option<u64> {
        self.get("micros").parse().ok()
    }
}

/// The events so far. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Tape(Arc<Shared>);

#[derive(Default)]
struct Shared {
    reel: Mutex<Reel>,
    more: Notify,
}

#[derive(Default)]
struct Reel {
    /// How many events came before the first one kept.
    dropped: usize,
    events: VecDeque<Event>,
}

impl Tape {
    /// Takes down what this process traces from now on.
    pub fn install() -> Result<Tape, DemoError> {
        let tape = Tape::default();
        let ours = Targets::new().with_target("atp", Level::DEBUG);
        let subscriber = Registry::default().with(tape.clone().with_filter(ours));
        tracing::subscriber::set_global_default(subscriber).map_err(|_| DemoError::Taped)?;
        Ok(tape)
    }

    /// The place on the tape where the next event goes.
    pub fn mark(&self) -> usize {
        self.with_reel(|reel| reel.dropped + reel.events.len())
    }

    /// The events from a place on.
    pub fn since(&self, mark: usize) -> Vec<Event> {
        self.with_reel(|reel| reel.since(mark).cloned().collect())
    }

    /// Waits for the first event from a place on that is `wanted`, and gives it with the place after it.
    pub async fn wait(&self, mark: usize, wanted: impl Fn(&Event) -> bool) -> (usize, Event) {
        loop {
            let more = self.0.more.notified();
            let found = self.with_reel(|reel| {
                let from = mark.max(reel.dropped);
                let mut events = reel.since(mark).enumerate();
                events.find(|(_, event)| wanted(event)).map(|(at, event)| (from + at + 1, event.clone()))
            });
            if let Some(found) = found {
                return found;
            }
            more.await;
        }
    }

    fn push(&self, event: Event) {
        self.with_reel(|reel| {
            if reel.events.len() >= MAX_EVENTS {
                reel.events.pop_front();
                reel.dropped += 1;
            }
            reel.events.push_back(event);
        });
        self.0.more.notify_waiters();
    }

    fn with_reel<T>(&self, use_it: impl FnOnce(&mut Reel) -> T) -> T {
        use_it(&mut self.0.reel.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Reel {
    fn since(&self, mark: usize) -> impl Iterator<Item = &Event> {
        self.events.iter().skip(mark.saturating_sub(self.dropped))
    }
}

/// What the spans around an event say about it.
enum Label {
    Server(String),
    Message(String),
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Tape {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let mut take = |name| fields.0.remove(name).unwrap_or_default();
        let label = match span.name() {
            "server" => Label::Server(take("domain")),
            "message" => Label::Message(take("nonce")),
            _ => return,
        };
        span.extensions_mut().insert(label);
    }

    fn on_event(&self, traced: &tracing::Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        traced.record(&mut fields);
        let mut event = Event { name: fields.0.remove("message").unwrap_or_default(), ..Event::default() };
        for span in context.event_scope(traced).into_iter().flatten() {
            match span.extensions().get::<Label>() {
                Some(Label::Server(domain)) => event.server.clone_from(domain),
                Some(Label::Message(nonce)) => event.nonce = Some(nonce.clone()),
                None => {}
            }
        }
        // The demo's own agents trace as well; they are no servers.
        if !event.server.is_empty() {
            self.push(Event { fields: fields.0, ..event });
        }
    }
}

/// Fields as texts that are safe on a terminal.
#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        self.record_str(field, &text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let safe = value.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        self.0.insert(field.name(), safe);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn events_are_kept_with_their_server_and_message() {
        let tape = Tape::default();
        let subscriber = Registry::default().with(tape.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("of no server");
            let _server = tracing::debug_span!("server", domain = "a.example").entered();
            tracing::debug!(jobs = 2, "synced");
            let _message = tracing::debug_span!("message", nonce = "n-1").entered();
            tracing::debug!(answer = "x\u{1b}[2J", micros = 7, "dns");
        });
        let nonce = Nonce::parse("n-1").unwrap();
        let (next, dns) = tape.wait(0, |event| event.is_about(&nonce)).await;
        assert_eq!((next, dns.name.as_str(), dns.server.as_str()), (2, "dns", "a.example"));
        assert_eq!((dns.get("answer"), dns.micros()), ("x\u{fffd}[2J", Some(7)));
        let names: Vec<_> = tape.since(0).into_iter().map(|event| event.name).collect();
        assert_eq!(names, ["synced", "dns"]);
    }

    #[tokio::test]
    async fn the_oldest_events_make_room_and_places_stay_valid() {
        let tape = Tape::default();
        let event = |number: usize| Event { name: number.to_string(), ..Event::default() };
        (0..MAX_EVENTS + 10).for_each(|number| tape.push(event(number)));
        let mark = tape.mark();
        assert_eq!(mark, MAX_EVENTS + 10);
        assert_eq!(tape.since(0).len(), MAX_EVENTS);
        tape.push(event(mark));
        let (next, found) = tape.wait(mark, |_| true).await;
        assert_eq!((next, found.name), (mark + 1, mark.to_string()));
    }
}
