//! A page of a mailbox, and how it is printed.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::cli::error::CliError;
use crate::cli::output;
use crate::proto::address::Address;
use crate::proto::calendar::Calendar;
use crate::proto::filter::Filter;
use crate::proto::time::UnixMillis;

/// A page of a mailbox.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub messages: Vec<Value>,
    /// Parallel to `messages`. `None`: the server does not tell, so it is not one of ours.
    pub received: Option<Vec<Value>>,
    /// Where to go on. `None`: the server does not tell.
    pub last_id: Option<u64>,
    /// Whether more can be fetched at once.
    pub more: bool,
}

impl Page {
    /// What the server answered.
    pub fn of(mut reply: Value) -> Result<Page, CliError> {
        let mut list = |name| match reply.get_mut(name).map(Value::take) {
            Some(Value::Array(list)) => Some(list),
            _ => None,
        };
        let messages = list("messages");
        Ok(Page {
            messages: messages
                .ok_or_else(|| CliError::failed("the server's answer has no messages in it"))?,
            received: list("received"),
            last_id: reply.get("last_id").and_then(Value::as_u64),
            more: reply.get("more").and_then(Value::as_bool).unwrap_or_default(),
        })
    }

    /// Takes out what `filter` does not want, for servers that know no filters.
    pub fn sift(&mut self, filter: &Filter, owner: &Address) {
        let came = |message: &Map<String, Value>| message.get("timestamp").and_then(Value::as_i64);
        self.messages.retain(|message| {
            message.as_object().is_some_and(|message| {
                filter.reaches(came(message).unwrap_or_default()) && filter.wants(message, owner)
            })
        });
    }

    /// Each message, and how it came.
    pub fn full(&self) -> impl Iterator<Item = Value> {
        (0..).zip(&self.messages).map(|(at, message)| {
            let received = self.received.as_ref().and_then(|received: &Vec<Value>| received.get(at));
            json!({ "message": message, "received": received })
        })
    }

    /// The messages as people read them.
    pub fn text(&self) -> String {
        let texts: Vec<_> =
            (0..).zip(&self.messages).map(|(at, message)| self.text_of(at, message)).collect();
        texts.join("\n")
    }

    fn text_of(&self, at: usize, message: &Value) -> String {
        let member =
            |name| message.get(name).and_then(Value::as_str).map(output::one_line).unwrap_or_default();
        let seconds = message.get("timestamp").and_then(Value::as_i64).unwrap_or_default();
        let date = Calendar::from(UnixMillis::from_seconds(seconds));
        let received = self.received.as_ref().and_then(|received| received.get(at));
        let cursor = received.and_then(|received| received.get("cursor")).and_then(Value::as_u64);
        let mut text = cursor.map(|cursor| format!("#{cursor}  ")).unwrap_or_default();
        let _ = writeln!(text, "{} -> {}  {date}  {}", member("from"), member("to"), member("nonce"));
        for line in payload_text(message.get("payload").unwrap_or(&Value::Null)).lines() {
            let _ = writeln!(text, "    {line}");
        }
        text
    }
}

/// Subject and body as text, then whatever else there is as JSON.
pub(in crate::cli) fn payload_text(payload: &Value) -> String {
    let text = |name| payload.get(name).and_then(Value::as_str);
    let subject = text("subject").map(|subject| format!("Subject: {}", output::one_line(subject)));
    let body = text("body").map(output::lines);
    let mut rest = payload.clone();
    if let Value::Object(members) = &mut rest {
        members.retain(|name, value| !(matches!(name.as_str(), "subject" | "body") && value.is_string()));
    }
    let told_all = rest.as_object().is_some_and(Map::is_empty) && (subject.is_some() || body.is_some());
    let rest = (!told_all).then(|| output::lines(&serde_json::to_string_pretty(&rest).unwrap_or_default()));
    let head: Vec<_> = [subject, body].into_iter().flatten().collect();
    let head = (!head.is_empty()).then(|| head.join("\n"));
    [head, rest].into_iter().flatten().collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_like_mail_and_cannot_steer_the_terminal() {
        let reply = json!({
            "messages": [{ "from": "a@a.test", "to": "b@b.test", "timestamp": 0, "nonce": "n\u{1b}[2J",
                           "payload": { "subject": "s\nFrom: x", "body": "one\ntwo\u{9b}" } }],
            "received": [{ "cursor": 7 }], "last_id": 7, "more": false,
        });
        let page = Page::of(reply).unwrap();
        let text = page.text();
        let wanted = "#7  a@a.test -> b@b.test  1970-01-01 00:00:00 UTC  n\\u{1b}[2J\n    \
                      Subject: s\\nFrom: x\n    one\n    two\\u{9b}\n";
        assert_eq!(text, wanted);
    }

    #[test]
    fn what_is_neither_subject_nor_body_is_shown_as_json() {
        assert_eq!(payload_text(&json!({ "body": "x\ny", "n": 1 })), "x\ny\n\n{\n  \"n\": 1\n}");
        assert_eq!(payload_text(&json!({ "body": 1 })), "{\n  \"body\": 1\n}");
        assert_eq!(payload_text(&json!({})), "{}");
        assert_eq!(payload_text(&json!({ "body": "x" })), "x");
        assert_eq!(payload_text(&json!({ "body": "x", "subject": "s" })), "Subject: s\nx");
    }

    #[test]
    fn an_answer_of_something_else_is_an_error() {
        assert!(Page::of(json!({ "hello": 1 })).is_err());
        assert!(Page::of(json!({ "messages": [] })).unwrap().messages.is_empty());
    }
}
