//! What an agent does with the messages it has been given: read them, work on them, have them pushed.
//!
//! This side meets the way of a message only at delivery, through the store.
//!
//! - [`claims`]: what a worker may ask, and how it is answered
//! - [`read`]: what of a mailbox somebody wants to see, [`shown`] as its reader sees it
//! - [`receipt`]: what the sender is told of an acknowledgement
//! - [`seats`]: how many may wait for new messages at once
//! - [`webhook`]: messages pushed to a URL

pub mod claims;
pub mod read;
pub mod receipt;
pub mod seats;
pub mod shown;
pub mod webhook;
