//! Ways to damage a message: its bytes, its members, the values anywhere in it.

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, RngExt as _};
use serde_json::{Map, Value, json};

/// How many changes are made to one message, each as likely as it stands here.
const CHANGES: [usize; 5] = [1, 1, 1, 2, 3];

/// Texts that mean something to a JSON reader, to us, or to neither.
const SNIPPETS: [&str; 24] = [
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "1e999",
    "-0",
    "NaN",
    "\\ud800",
    "\\u0000",
    "\u{feff}",
    "\u{202e}",
    "💬",
    "é",
    "@",
    "..",
    " ",
    "\n",
    "$serde_json::private::Number",
    "\0",
];

/// Names that mean something in a message.
const NAMES: [&str; 14] = [
    "from",
    "to",
    "cc",
    "timestamp",
    "nonce",
    "type",
    "payload",
    "routing",
    "signature",
    "in_reply_to",
    "receipt",
    "atp",
    "rcpt",
    "x",
];

/// The message with one to three changes, as text.
pub fn mutate(rng: &mut StdRng, message: &Value) -> Vec<u8> {
    let changes = *CHANGES.choose(rng).unwrap();
    if rng.random_bool(0.4) {
        let mut bytes = message.to_string().into_bytes();
        for _ in 0..changes {
            change_bytes(rng, &mut bytes);
        }
        return bytes;
    }
    let mut message = message.clone();
    let only_order = rng.random_bool(0.1);
    for _ in 0..if only_order { 0 } else { changes } {
        change_value(rng, &mut message);
    }
    if !only_order && rng.random_bool(0.5) { message.to_string() } else { change_members(rng, &message) }
        .into_bytes()
}

fn change_bytes(rng: &mut StdRng, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        bytes.push(b'{');
    }
    let at = rng.random_range(0..bytes.len());
    let end = rng.random_range(at..bytes.len().min(at + 40)) + 1;
    match rng.random_range(0..9) {
        0 => bytes[at] ^= 1 << rng.random_range(0..8),
        1 => bytes[at] = rng.random(),
        2 => bytes.insert(at, rng.random()),
        3 => drop(bytes.remove(at)),
        4 => drop(bytes.drain(at..end)),
        5 => bytes.truncate(at),
        6 => {
            let part = bytes[at..end].to_vec();
            let to = rng.random_range(0..=bytes.len());
            bytes.splice(to..to, part);
        }
        7 => bytes[at..end].reverse(),
        _ => {
            let snippet = SNIPPETS.choose(rng).unwrap();
            bytes.splice(at..at, snippet.bytes());
        }
    }
}

/// Changes one value somewhere below, or the names and number of its members.
fn change_value(rng: &mut StdRng, value: &mut Value) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            let names: Vec<String> = members.keys().cloned().collect();
            let name = names.choose(rng).unwrap();
            match rng.random_range(0..8) {
                0 => drop(members.remove(name)),
                1 => rename(rng, members, name),
                2 => drop(members.insert(NAMES.choose(rng).unwrap().to_string(), anything(rng))),
                _ => change_value(rng, &mut members[name.as_str()]),
            }
        }
        Value::Array(elements) if !elements.is_empty() => {
            let at = rng.random_range(0..elements.len());
            match rng.random_range(0..5) {
                0 => drop(elements.remove(at)),
                1 => elements.push(anything(rng)),
                2 => elements.shuffle(rng),
                _ => change_value(rng, &mut elements[at]),
            }
        }
        Value::String(text) if rng.random_bool(0.6) => change_text(rng, text),
        other => *other = anything(rng),
    }
}

fn rename(rng: &mut StdRng, members: &mut Map<String, Value>, name: &str) {
    let value = members.remove(name).unwrap_or_default();
    let new = match rng.random_range(0..3) {
        0 => name.to_uppercase(),
        1 => NAMES.choose(rng).unwrap().to_string(),
        _ => format!("{name}{}", SNIPPETS.choose(rng).unwrap()),
    };
    members.insert(new, value);
}

fn change_text(rng: &mut StdRng, text: &mut String) {
    let mut chars: Vec<char> = text.chars().collect();
    let at = rng.random_range(0..=chars.len());
    match rng.random_range(0..6) {
        0 => *text = text.to_uppercase(),
        1 => *text = text.repeat(rng.random_range(0..40)),
        2 => text.push_str(SNIPPETS.choose(rng).unwrap()),
        3 => *text = chars.iter().rev().collect(),
        4 => {
            chars.insert(at, char::from_u32(rng.next_u32() % 0x11_0000).unwrap_or('\u{fffd}'));
            *text = chars.into_iter().collect();
        }
        _ => {
            chars.truncate(at);
            *text = chars.into_iter().collect();
        }
    }
}

/// A value of any type.
fn anything(rng: &mut StdRng) -> Value {
    match rng.random_range(0..9) {
        0 => Value::Null,
        1 => json!(rng.random::<bool>()),
        2 => json!(rng.random::<i64>()),
        3 => json!(rng.random::<f64>() * 1e3),
        4 => json!([]),
        5 => json!({}),
        6 => json!([{ "atp": { "rcpt": "bob@ours.example" } }]),
        7 => json!({ "atp": { "rcpt": "alice@ours.example" } }),
        _ => json!(SNIPPETS.choose(rng).unwrap()),
    }
}

/// The object as text, its members in another order, one of them perhaps twice, and space between them.
fn change_members(rng: &mut StdRng, value: &Value) -> String {
    let Value::Object(members) = value else { return value.to_string() };
    let mut texts: Vec<String> = members.iter().map(|(name, value)| member(rng, name, value)).collect();
    texts.shuffle(rng);
    if rng.random_bool(0.3)
        && let Some((name, value)) = members.iter().nth(rng.random_range(0..members.len().max(1)))
    {
        let value = if rng.random_bool(0.5) { value.clone() } else { anything(rng) };
        texts.push(member(rng, name, &value));
    }
    let space = ["", "", " ", "\n\t"].choose(rng).unwrap();
    format!("{{{space}{}{space}}}", texts.join(&format!("{space},{space}")))
}

/// A member as text, its name perhaps spelled with an escape.
fn member(rng: &mut StdRng, name: &str, value: &Value) -> String {
    let mut spelled = Value::from(name).to_string();
    if rng.random_bool(0.1)
        && let Some(first) = name.chars().next().filter(char::is_ascii_alphabetic)
    {
        spelled = spelled.replacen(first, &format!("\\u{:04x}", u32::from(first)), 1);
    }
    format!("{spelled}:{value}")
}
