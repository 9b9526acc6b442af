//! What a step of a row's story says, and to whom.
//!
//! A sender reads one sentence. The operator is also told why: `Connection refused`, or what DNS answered. Both are in
//! the text that is stored, with a character between them that no text from outside has in it.

use std::borrow::Cow;

use super::{Step, truncate};

/// Stands between the sentence and what is for the operator alone.
const FOR_THE_OPERATOR: char = '\u{1f}';
/// Longest cause that is kept, in bytes.
const MAX_CAUSE_BYTES: usize = 200;

impl Step {
    /// Adds why, for the operator alone: at most 200 bytes, and nothing in it steers a terminal. `None`: that
    /// is not known.
    #[must_use]
    pub fn because(mut self, cause: Option<&str>) -> Step {
        self.text.retain(|c| c != FOR_THE_OPERATOR);
        if let Some(cause) = cause.map(escaped).filter(|cause| !cause.is_empty()) {
            self.text.push(FOR_THE_OPERATOR);
            self.text.push_str(&cause);
        }
        self
    }

    /// What anybody may read who has to do with the message.
    pub fn sentence(&self) -> &str {
        self.text.split(FOR_THE_OPERATOR).next().unwrap_or_default()
    }

    /// Why, for the operator alone. `None`: that is not known.
    pub fn cause(&self) -> Option<&str> {
        self.text.split_once(FOR_THE_OPERATOR).map(|(_, cause)| cause)
    }

    /// All of it, on one line.
    pub fn for_operator(&self) -> Cow<'_, str> {
        match self.cause() {
            Some(cause) => format!("{} ({cause})", self.sentence()).into(),
            None => self.text.as_str().into(),
        }
    }
}

fn escaped(cause: &str) -> String {
    let mut out = String::new();
    for c in cause.trim().chars().take(MAX_CAUSE_BYTES) {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    truncate(&mut out, MAX_CAUSE_BYTES);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::time::UnixMillis;

    fn step(text: &str) -> Step {
        Step { code: "450 4.4.1".into(), ..Step::note(UnixMillis(0), text) }
    }

    #[test]
    fn a_cause_is_for_the_operator_alone() {
        let told = step("Not reached.").because(Some("Connection refused\u{1b}[2J"));
        assert_eq!(told.sentence(), "Not reached.");
        assert_eq!(told.for_operator(), "Not reached. (Connection refused\\u{1b}[2J)");
        let untold = step("Not reached.").because(None);
        assert_eq!((untold.sentence(), untold.for_operator().as_ref()), ("Not reached.", "Not reached."));
        assert_eq!(step("Not reached.").because(Some(" ")).cause(), None);
    }

    #[test]
    fn a_cause_is_bounded_and_no_sentence_makes_one() {
        let long = step("x").because(Some(&"é".repeat(1000)));
        assert_eq!(long.cause().map(str::len), Some(MAX_CAUSE_BYTES));
        let sly = step("one\u{1f}two").because(None);
        assert_eq!((sly.sentence(), sly.cause()), ("onetwo", None));
    }
}
