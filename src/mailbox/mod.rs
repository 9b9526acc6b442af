//! What an agent does with the messages it has been given: read them, work on them, have them pushed.
//!
//! This side meets the way of a message only at delivery, through the store.

pub mod page;
pub mod webhook;
