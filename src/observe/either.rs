//! One of two ways to write lines, which can change at any moment.
//!
//! A layer that writes lines keeps something of its own with each span, and cannot do without it at an event inside
//! that span. So both see every span, and one of them writes.

use std::sync::atomic::{AtomicBool, Ordering};

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Writes with `first`, or with `second` while the switch is on.
pub(super) struct Either<A, B> {
    first: A,
    second: B,
    switch: &'static AtomicBool,
}

impl<A, B> Either<A, B> {
    pub(super) fn new(first: A, second: B, switch: &'static AtomicBool) -> Either<A, B> {
        Either { first, second, switch }
    }
}

impl<S, A, B> Layer<S> for Either<A, B>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    A: Layer<S>,
    B: Layer<S>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.first.on_new_span(attributes, id, context.clone());
        self.second.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.first.on_record(id, values, context.clone());
        self.second.on_record(id, values, context);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if self.switch.load(Ordering::Relaxed) {
            self.second.on_event(event, context);
        } else {
            self.first.on_event(event, context);
        }
    }
}
