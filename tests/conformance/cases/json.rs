//! What JSON is accepted (docs/protocol.md §2).

use serde_json::Value;

use crate::sender::Sender;
use crate::suite::{Case, Outcome, ensure, must};
use crate::wire::canonical;

const MALFORMED: &str = "550 5.6.0";

/// Bodies that are no messages, made from a good signed one.
type Spoil = fn(&str) -> Vec<u8>;

fn spoiled() -> Vec<(&'static str, &'static str, Spoil)> {
    vec![
        ("empty", "An empty body", |_| Vec::new()),
        ("array", "An array", |text| format!("[{text}]").into_bytes()),
        ("text", "A text", |_| b"\"hello\"".to_vec()),
        ("not-json", "What is no JSON", |_| b"from=alice&to=bob".to_vec()),
        ("cut", "A message that is cut short", |text| text.as_bytes()[..text.len() - 1].to_vec()),
        ("bom", "A byte order mark before the message", |text| format!("\u{feff}{text}").into_bytes()),
        ("trailing", "Something after the message", |text| format!("{text}{{}}").into_bytes()),
        ("comma", "A comma behind the last member", |text| {
            format!("{},}}", &text[..text.len() - 1]).into_bytes()
        }),
        ("twice", "A member twice", |text| with(text, r#""x":1,"x":1"#)),
        ("twice-escaped", "A member twice, once with an escape in its name", |text| {
            with(text, r#""x":1,"\u0078":1"#)
        }),
        ("twice-deep", "A member twice in an inner object", |text| with(text, r#""x":[{"y":1,"y":2}]"#)),
        ("twice-from", "Two senders", |text| with(text, r#""from":"mallory@elsewhere.test""#)),
        ("surrogate-high", "The first half of a surrogate pair", |text| with(text, r#""x":"\ud83d""#)),
        ("surrogate-low", "The second half of a surrogate pair", |text| with(text, r#""x":"\ude00 ""#)),
        ("surrogate-name", "Half of a surrogate pair in a name", |text| with(text, r#""\ud83d":1"#)),
        ("nan", "NaN", |text| with(text, r#""x":NaN"#)),
        ("infinity", "Infinity", |text| with(text, r#""x":-Infinity"#)),
        ("overflow", "A number beyond a double", |text| with(text, r#""x":1e999"#)),
        ("long-number", "A number of 1,001 characters", |text| {
            with(text, &format!(r#""x":0.{}"#, "1".repeat(999)))
        }),
        ("leading-zero", "A number with a leading zero", |text| with(text, r#""x":01"#)),
        ("single-quotes", "A text in single quotes", |text| with(text, r#""x":'y'"#)),
        ("control", "A line feed within a text", |text| with(text, "\"x\":\"a\nb\"")),
        ("deep", "Nesting of 65 levels", |text| with(text, &nested(64))),
        ("many", "More than 100,000 values", |text| {
            with(text, &format!(r#""x":[{}0]"#, "0,".repeat(100_000)))
        }),
        ("private-name", "A name that begins with $serde_json::private::", |text| {
            with(text, r#""x":{"$serde_json::private::Number":"1"}"#)
        }),
        ("exponent-stamp", "A timestamp with an exponent", |text| {
            let stamp = text.find(r#""timestamp":1"#).unwrap_or(0);
            let (head, tail) = text.split_at(stamp);
            let rest = tail.split_once(',').map_or("", |(_, rest)| rest);
            format!(r#"{head}"timestamp":1.8e9,{rest}"#).into_bytes()
        }),
        ("not-utf8", "Bytes that are not UTF-8", |text| {
            let mut bytes = with(text, r#""x":"?""#);
            if let Some(place) = bytes.iter().position(|byte| *byte == b'?') {
                bytes[place] = 0xff;
            }
            bytes
        }),
    ]
}

/// A message with more members in front.
fn with(text: &str, members: &str) -> Vec<u8> {
    format!("{{{members},{}", &text[1..]).into_bytes()
}

/// Members that make an object `levels` deeper.
fn nested(levels: usize) -> String {
    format!(r#""x":{}{}"#, "[".repeat(levels), "]".repeat(levels))
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (id, what, spoil) in spoiled() {
        let asks = format!("{what} is refused as malformed.");
        cases.push(must(2, &format!("json/{id}"), &asks, move |s| async move {
            let (sender, bob) = (s.sender(), s.agent().await?);
            let text = sender.signed(sender.message(&bob.address)).to_string();
            s.post(spoil(&text)).await?.refused(400, MALFORMED)?;
            bob.counts(0).await
        }));
    }
    let kept: [(&str, &str, &str); 6] = [
        (
            "deep-64",
            "Nesting of 64 levels is in order.",
            "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
        ),
        (
            "big-integer",
            "An integer of 22 digits reaches the reader with all of them.",
            "1180591620717411303424",
        ),
        ("trailing-zero", "0.10 reaches the reader as 0.10.", "0.10"),
        (
            "digits",
            "A fraction with more digits than a double has reaches the reader with all of them.",
            "0.12345678901234567890123",
        ),
        ("escapes", "A text with escapes means what it says.", r#""\u0041\/\ud83d\ude00""#),
        ("white-space", "White space between tokens is in order.", "[ 1 ,\t2 ,\r\n 3 ]"),
    ];
    for (id, asks, value) in kept {
        cases.push(must(2, &format!("json/{id}"), asks, move |s| async move {
            let (sender, bob) = (s.sender(), s.agent().await?);
            let message = sender.message(&bob.address);
            let nonce = message["nonce"].clone();
            carries(&s, &sender, message, value).await?;
            let page = bob.get("messages").await?;
            let text = String::from_utf8_lossy(&page.body).into_owned();
            bob.has(&nonce).await?;
            let wanted = if id == "escapes" { "\"A/😀\"" } else { value };
            let wanted = wanted.replace([' ', '\t', '\r', '\n'], "");
            let readable = text.replace("\\ud83d\\ude00", "😀");
            ensure(readable.replace(' ', "").contains(&wanted), || format!("{wanted} is not in {text}"))
        }));
    }
    cases
}

/// Hands over a message whose payload has the text `value` as it stands.
async fn carries(s: &crate::site::Site, sender: &Sender, mut message: Value, value: &str) -> Outcome {
    message["payload"] = serde_json::from_str(&format!(r#"{{"x":{value}}}"#)).map_err(|e| e.to_string())?;
    let signed = sender.with_signature_over(message.clone(), &canonical::rfc8785(&message));
    // Numbers keep their text in `Value` as well; white space and escapes would not.
    let plain = message["payload"].to_string();
    let text = signed.to_string().replace(&plain, &format!(r#"{{"x":{value}}}"#));
    s.post(text).await?.accepted()
}
