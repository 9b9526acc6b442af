//! Which messages of a mailbox a reader wants (`docs/protocol.md` §7, "Filters").

use serde_json::{Map, Value};

use super::address::Address;
use super::nonce::{DerivedDigits, Nonce};
use super::routing::Identity;

/// The query parameters that make a filter.
pub const PARAMETERS: [&str; 5] = ["from", "type", "context_id", "in_reply_to", "since"];
/// Longest value of a condition, in bytes: what a field can hold, and an address.
const MAX_VALUE_BYTES: usize = 320;

/// A condition makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Not the form of an address.
    #[error("The parameter from must be an address.")]
    From,
    /// Not a point in time.
    #[error("The parameter since must be a time in whole Unix seconds.")]
    Since,
    /// Empty, or longer than what it is compared with can be.
    #[error("The parameter {0} must be a text of 1 to 320 bytes.")]
    Text(&'static str),
}

/// Conditions on a message, all of which must hold. The default holds for every message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    from: Option<Address>,
    kind: Option<String>,
    context_id: Option<String>,
    in_reply_to: Option<Original>,
    since: Option<i64>,
}

/// The message that is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Original {
    nonce: String,
    /// What all nonces of its copies have in common. `None`: a nonce that no copy can have.
    digits: Option<DerivedDigits>,
    /// The nonce its author gave it, where `nonce` is that of a copy and more is known.
    authors: Option<Nonce>,
}

impl Filter {
    /// Reads the conditions among query parameters; `value` gives each by its name.
    ///
    /// # Errors
    /// [`FilterError`], fit for whoever asked.
    pub fn parse<'a>(value: impl Fn(&str) -> Option<&'a str>) -> Result<Filter, FilterError> {
        let text = |name: &'static str| match value(name) {
            None => Ok(None),
            Some(text) if (1..=MAX_VALUE_BYTES).contains(&text.len()) => Ok(Some(text.to_owned())),
            Some(_) => Err(FilterError::Text(name)),
        };
        let from = text("from")?.map(|text| Address::parse(&text)).transpose();
        let since = value("since").map(str::parse).transpose();
        Ok(Filter {
            from: from.map_err(|_| FilterError::From)?,
            kind: text("type")?,
            context_id: text("context_id")?,
            in_reply_to: text("in_reply_to")?.map(Original::new),
            since: since.map_err(|_| FilterError::Since)?,
        })
    }

    /// Whether every message meets it.
    pub fn is_empty(&self) -> bool {
        *self == Filter::default()
    }

    /// The nonce of `in_reply_to`, if it may be that of a copy: whoever knows what was sent can say of which
    /// message ([`Filter::stands_for`]).
    pub fn copy(&self) -> Option<Nonce> {
        let original = self.in_reply_to.as_ref()?;
        original.digits.and_then(|_| Nonce::parse(&original.nonce).ok())
    }

    /// The copy is one of the message that its author named `nonce`.
    pub fn stands_for(&mut self, nonce: Nonce) {
        if let Some(original) = &mut self.in_reply_to {
            original.authors = Some(nonce);
        }
    }

    /// Whether a message that came at `at` (Unix seconds) is recent enough. Says nothing of the other conditions.
    pub fn reaches(&self, at: i64) -> bool {
        self.since.is_none_or(|since| at >= since)
    }

    /// Whether the author's message, as readers are shown it, in the mailbox of `owner`, meets every condition but
    /// that on its time.
    pub fn wants(&self, message: &Map<String, Value>, owner: &Address) -> bool {
        let text = |name: &str| message.get(name).and_then(Value::as_str);
        let same =
            |wanted: &Option<String>, name| wanted.as_deref().is_none_or(|wanted| text(name) == Some(wanted));
        let author = || text("from").and_then(|text| Address::parse(text).ok());
        same(&self.kind, "type")
            && same(&self.context_id, "context_id")
            && self.from.as_ref().is_none_or(|from| author().as_ref() == Some(from))
            && self.in_reply_to.as_ref().is_none_or(|original| original.is_answered(message, author(), owner))
    }
}

impl Original {
    fn new(nonce: String) -> Original {
        let digits = Nonce::parse(&nonce).ok().and_then(|nonce| nonce.derived_digits());
        Original { nonce, digits, authors: None }
    }

    /// Whether a message in the mailbox of `owner`, who wrote the original, is an answer to it: by `in_reply_to`,
    /// or as what a server says became of it.
    fn is_answered(&self, message: &Map<String, Value>, author: Option<Address>, owner: &Address) -> bool {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        if let Some(named) = text(message.get("in_reply_to"))
            && self.is_named(&named, author.as_ref(), owner)
        {
            return true;
        }
        if !author.is_some_and(|author| author.is_automaton()) {
            return false;
        }
        let payload = message.get("payload");
        let Some(named) = text(payload.and_then(|payload| payload.get("original_nonce"))) else {
            return false;
        };
        let recipient = text(payload.and_then(|payload| payload.pointer("/status/recipient")));
        self.is_named(&named, recipient.and_then(|text| Address::parse(&text).ok()).as_ref(), owner)
    }

    /// Whether `named` means the original, of which `recipient` got a copy: each may be the author's nonce or that
    /// of a copy (`docs/protocol.md` §4, §10).
    fn is_named(&self, named: &str, recipient: Option<&Address>, owner: &Address) -> bool {
        if named == self.nonce || self.authors.as_ref().is_some_and(|nonce| named == nonce.as_str()) {
            return true;
        }
        let Ok(named) = Nonce::parse(named) else { return false };
        let copy_of = |nonce: &Nonce| {
            let (from, nonce, recipient) = (owner.clone(), nonce.clone(), recipient?.clone());
            Some(Identity { from, nonce, recipient }.derived_digits())
        };
        match (self.digits, named.derived_digits()) {
            (Some(wanted), Some(named)) if wanted == named => true,
            (Some(wanted), None) => copy_of(&named) == Some(wanted),
            (_, Some(named)) => {
                let nonce = self.authors.clone().or_else(|| Nonce::parse(&self.nonce).ok());
                nonce.and_then(|nonce| copy_of(&nonce)) == Some(named)
            }
            (None, None) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::json;

    use super::*;

    fn parse(parameters: &[(&str, &str)]) -> Result<Filter, FilterError> {
        let parameters: HashMap<_, _> = parameters.iter().copied().collect();
        Filter::parse(|name| parameters.get(name).copied())
    }

    fn wants(parameters: &[(&str, &str)], message: &Value) -> bool {
        parse(parameters).unwrap().wants(message.as_object().unwrap(), &address("alice@a.test"))
    }

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn copy(kind: &str, recipient: &str) -> String {
        let nonce = Nonce::parse("msg-1").unwrap();
        let identity = Identity { from: address("alice@a.test"), nonce, recipient: address(recipient) };
        Nonce::derived(kind, &identity.derived_digits()).as_str().to_owned()
    }

    #[test]
    fn every_condition_must_hold() {
        let message = json!({ "from": "Bob@B.test", "type": "response", "context_id": "c", "payload": {} });
        assert!(wants(&[], &message));
        for (name, same, other) in
            [("from", "bob@b.TEST", "bo@b.test"), ("type", "response", "Response"), ("context_id", "c", "C")]
        {
            assert!(wants(&[(name, same)], &message), "{name}");
            assert!(!wants(&[(name, other)], &message), "{name}");
            assert!(!wants(&[(name, other), ("type", "response"), ("context_id", "d")], &message), "{name}");
        }
        assert!(wants(&[("from", "bob@b.test"), ("type", "response"), ("context_id", "c")], &message));
        assert!(!wants(&[("context_id", "c")], &json!({ "from": "a@b.c" })));
    }

    #[test]
    fn since_counts_from_that_second_on() {
        let filter = parse(&[("since", "100")]).unwrap();
        assert!(filter.reaches(100) && !filter.reaches(99) && !filter.is_empty());
        assert!(parse(&[]).unwrap().reaches(i64::MIN) && parse(&[]).unwrap().is_empty());
    }

    /// A copy's own nonce means the message it is a copy of, whoever names it.
    #[test]
    fn an_answer_is_found_whichever_nonce_is_named() {
        let reply = |named: &str| json!({ "from": "bob@b.test", "in_reply_to": named });
        let (c, d) = (copy("c-", "bob@b.test"), copy("d2-", "bob@b.test"));
        let carols = copy("c-", "carol@b.test");
        for wanted in ["msg-1", &c, &d] {
            for named in ["msg-1", &c, &d] {
                assert!(wants(&[("in_reply_to", wanted)], &reply(named)), "{named} for {wanted}");
            }
            for other in ["msg-2", "MSG-1", "", "a b", &carols] {
                assert!(!wants(&[("in_reply_to", wanted)], &reply(other)), "{other} for {wanted}");
            }
        }
        assert!(wants(&[("in_reply_to", "no nonce")], &reply("no nonce")));
        // Somebody else answers a copy: only whoever knows what was sent can tell.
        let from_elsewhere = json!({ "from": "dave@b.test", "in_reply_to": "msg-1" });
        let mut filter = parse(&[("in_reply_to", &c)]).unwrap();
        assert!(!filter.wants(from_elsewhere.as_object().unwrap(), &address("alice@a.test")));
        assert_eq!(filter.copy().unwrap().as_str(), c);
        filter.stands_for(Nonce::parse("msg-1").unwrap());
        assert!(filter.wants(from_elsewhere.as_object().unwrap(), &address("alice@a.test")));
    }

    #[test]
    fn a_bounce_answers_what_bounced_and_nobody_else_can_say_so() {
        let told = |from: &str| json!({ "from": from, "payload": { "original_nonce": "msg-1", "status": { "recipient": "bob@b.test" } } });
        let bounce = told("postmaster@a.test");
        assert!(wants(&[("in_reply_to", "msg-1")], &bounce));
        assert!(wants(&[("in_reply_to", &copy("c-", "bob@b.test"))], &bounce));
        assert!(!wants(&[("in_reply_to", "msg-2")], &bounce));
        assert!(!wants(&[("in_reply_to", &copy("c-", "carol@b.test"))], &bounce));
        assert!(!wants(&[("in_reply_to", "msg-1")], &told("mallory@a.test")));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let long = "x".repeat(321);
        for (name, value, error) in [
            ("from", "bob", FilterError::From),
            ("from", "", FilterError::Text("from")),
            ("type", "", FilterError::Text("type")),
            ("context_id", &long, FilterError::Text("context_id")),
            ("in_reply_to", "", FilterError::Text("in_reply_to")),
            ("since", "yesterday", FilterError::Since),
            ("since", "1.5", FilterError::Since),
        ] {
            assert_eq!(parse(&[(name, value)]), Err(error), "{name}={value}");
        }
    }
}
