//! Which messages want to be acknowledged to their senders (`docs/protocol.md` §10).

use crate::proto::message::{Message, ReceiptsWanted};
use crate::proto::routing;
use crate::spool::contract::Mail;

/// The name of the field that asks, as it stands in nearly every message that does.
const FIELD: &[u8] = b"\"receipt\"";
/// What a name with escapes has in it.
const ESCAPE: &[u8] = b"\\u";

/// The author's message, if it asks for receipts, wherever that travelled. `None`: it does not, or cannot be read any
/// more, and the acknowledgement counts all the same.
pub fn asking(mail: &Mail) -> Option<Message> {
    if !holds(&mail.message, FIELD) && !holds(&mail.message, ESCAPE) {
        return None;
    }
    let message = Message::parse(&mail.message).ok()?;
    let author = if mail.restore { routing::read(&message).ok()?.author } else { message };
    (author.receipts_wanted() != ReceiptsWanted::default()).then_some(author)
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::proto::time::UnixMillis;
    use crate::spool::entry::Arrival;

    fn asks(more: &str, restore: bool) -> bool {
        let text = format!(
            r#"{{"from":"a@a.test","to":"b@b.test","timestamp":1,"nonce":"n","type":"message","payload":{{}}{more}}}"#
        );
        let mail = Mail { cursor: 1, arrival: Arrival::local(UnixMillis(0)), restore, message: text.into() };
        asking(&mail).is_some()
    }

    #[test]
    fn wherever_the_wish_travelled_it_is_found() {
        assert!(!asks("", false));
        assert!(!asks(r#","subject":"receipt""#, false) && !asks(r#","receipt":[]"#, false));
        assert!(asks(r#","receipt":["acked"]"#, false));
        assert!(asks(r#","rece\u0069pt":["acked"]"#, false), "the same name");
        let moved = json!({ "atp": { "fields": { "receipt": ["delivered"] } } });
        assert!(asks(&format!(r#","routing":{moved}"#), true));
        assert!(!asks(r#","receipt":"broken""#, false), "such a message does not get here");
    }
}
