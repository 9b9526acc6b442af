//! The members of a request's JSON object, taken out one by one; one that nobody takes is a mistake.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::error::Fault;
use crate::proto::status::Reason;

/// What has not been taken yet.
pub struct Members(Map<String, Value>);

impl Members {
    /// Those of a request.
    pub fn new(object: Map<String, Value>) -> Members {
        Members(object)
    }

    /// A whole number. `None`: it is not there, or null.
    ///
    /// # Errors
    /// [`Reason::Malformed`] for anything else, and a number out of `range`.
    pub fn number(&mut self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Fault> {
        let Some(value) = self.value(name) else { return Ok(None) };
        match value.as_u64() {
            Some(number) if range.contains(&number) => Ok(Some(number)),
            _ => Err(malformed(match (range.start(), range.end()) {
                (start, &u64::MAX) => {
                    format!("The member {name} must be a whole number of at least {start}.")
                }
                (start, end) => format!("The member {name} must be a whole number from {start} to {end}."),
            })),
        }
    }

    /// A text of at most `max_bytes`. `None`: it is not there, or null.
    ///
    /// # Errors
    /// [`Reason::Malformed`] for anything else.
    pub fn text(&mut self, name: &str, max_bytes: usize) -> Result<Option<String>, Fault> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() <= max_bytes => Ok(Some(text)),
            Some(_) => {
                Err(malformed(format!("The member {name} must be a text of at most {max_bytes} bytes.")))
            }
        }
    }

    /// Anything. `None`: it is not there, or null.
    pub fn value(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// Nothing more is expected.
    ///
    /// # Errors
    /// [`Reason::Malformed`] if there is something left: most likely its name was misspelt.
    pub fn finish(self) -> Result<(), Fault> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(_) => Err(malformed("The body has a member that this call does not know.".into())),
        }
    }
}

fn malformed(text: String) -> Fault {
    Fault::new(Reason::Malformed, text)
}
