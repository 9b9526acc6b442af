//! How many may wait for new messages at once: open streams, and calls that wait for an answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Fault;
use crate::proto::status::Reason;

/// Most that wait at one mailbox.
pub const MAX_PER_MAILBOX: usize = 64;
/// Most that wait at all of them.
pub const MAX_IN_ALL: usize = 4096;

/// The seats of a daemon. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Seats(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    /// By mailbox; no entry where there is none.
    at: HashMap<u64, usize>,
    in_all: usize,
}

/// One who waits; the seat is free again when this is dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Seats,
    mailbox: u64,
}

impl Seats {
    /// Takes a seat at a mailbox.
    ///
    /// # Errors
    /// [`Reason::RateLimited`] if too many wait there, [`Reason::NoSpace`] if too many wait everywhere.
    pub fn take(&self, mailbox: u64) -> Result<Seat, Fault> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.in_all >= MAX_IN_ALL {
            let text = "Too many wait for messages at this server; please try again later.";
            return Err(Fault::new(Reason::NoSpace, text));
        }
        let at = taken.at.entry(mailbox).or_default();
        if *at >= MAX_PER_MAILBOX {
            let text = "Too many streams and waiting calls of this agent are open; close one of them first.";
            return Err(Fault::new(Reason::RateLimited, text));
        }
        *at += 1;
        taken.in_all += 1;
        Ok(Seat { seats: self.clone(), mailbox })
    }

    /// How many wait at present.
    pub fn taken(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).in_all
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.in_all = taken.in_all.saturating_sub(1);
        if let Some(at) = taken.at.get_mut(&self.mailbox) {
            *at = at.saturating_sub(1);
            if *at == 0 {
                taken.at.remove(&self.mailbox);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_bounded_at_each_mailbox_and_in_all() {
        let seats = Seats::default();
        let at_one: Vec<_> = (0..MAX_PER_MAILBOX).map(|_| seats.take(1).unwrap()).collect();
        assert_eq!(seats.take(1).unwrap_err().reason, Reason::RateLimited);
        let others: Vec<_> = (MAX_PER_MAILBOX as u64..MAX_IN_ALL as u64)
            .map(|mailbox| seats.take(mailbox + 1).unwrap())
            .collect();
        assert_eq!(seats.take(0).unwrap_err().reason, Reason::NoSpace);
        assert_eq!(seats.taken(), MAX_IN_ALL);
        drop(others);
        assert_eq!(seats.take(1).unwrap_err().reason, Reason::RateLimited);
        drop(at_one);
        drop(seats.take(1).unwrap());
        assert_eq!(seats.taken(), 0);
        assert!(seats.0.lock().unwrap().at.is_empty());
    }
}
