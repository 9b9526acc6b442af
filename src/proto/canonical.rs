//! The bytes a signature is made over (`docs/protocol.md` §3): RFC 8785, and the published implementation's
//! own form, which differs in numbers, in the order of keys and in the fields it covers.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Number, Value};

/// The top-level fields the published implementation signs. It drops every other one.
pub(super) const COVERED_BY_REFERENCE: [&str; 8] =
    ["from", "to", "timestamp", "nonce", "type", "payload", "cc", "routing"];

/// Integral floats from here on keep their point or exponent in the reference's form.
const FIRST_INEXACT_INTEGER: f64 = 9_007_199_254_740_992.0;

/// An object has no canonical form, because of a number beyond the range of a double. Cannot happen to what
/// [`super::json::parse`] gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message has no canonical form: a number is beyond the range of a double")]
pub struct CanonicalError;

/// The RFC 8785 form of a message without its top-level `signature`.
///
/// # Errors
/// [`CanonicalError`] if a number does not fit a double.
pub fn rfc8785(object: &Map<String, Value>) -> Result<Vec<u8>, CanonicalError> {
    to_jcs(&Unsigned(object))
}

/// The RFC 8785 form of anything built from JSON values.
pub(super) fn to_jcs(value: &impl Serialize) -> Result<Vec<u8>, CanonicalError> {
    serde_json_canonicalizer::to_vec(value).map_err(|_| CanonicalError)
}

/// A message without its signature, borrowed: a payload may be a megabyte.
struct Unsigned<'o>(&'o Map<String, Value>);

impl Serialize for Unsigned<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.0.iter().filter(|(key, _)| *key != "signature") {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// Whether the reference's form covers every field of the message, so that what verifies in that form alone
/// carries nothing unsigned.
pub fn covered_by_reference(object: &Map<String, Value>) -> bool {
    object.keys().all(|key| key == "signature" || COVERED_BY_REFERENCE.contains(&key.as_str()))
}

/// The form the published implementation signs. Fields it does not cover are left out: see
/// [`covered_by_reference`].
pub fn reference(object: &Map<String, Value>) -> Vec<u8> {
    let signed = |(key, value): &(&String, &Value)| match key.as_str() {
        "cc" => !value.is_null() && value.as_array().is_none_or(|cc| !cc.is_empty()),
        "routing" => !value.is_null(),
        other => COVERED_BY_REFERENCE.contains(&other),
    };
    let mut out = Vec::with_capacity(512);
    write_members(object.iter().filter(signed), &mut out);
    out
}

fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(number, out),
        Value::String(text) => write_text(text, out),
        Value::Array(elements) => {
            out.push(b'[');
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_value(element, out);
            }
            out.push(b']');
        }
        Value::Object(members) => write_members(members.iter(), out),
    }
}

/// Members in the order of their names' code points, which is the order of their UTF-8 bytes.
fn write_members<'o>(members: impl Iterator<Item = (&'o String, &'o Value)>, out: &mut Vec<u8>) {
    let mut members: Vec<_> = members.collect();
    members.sort_unstable_by_key(|(key, _)| *key);
    out.push(b'{');
    for (index, (key, value)) in members.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_text(key, out);
        out.push(b':');
        write_value(value, out);
    }
    out.push(b'}');
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Python reads a number with a point or an exponent as a float, any other as an integer of any size.
fn write_number(number: &Number, out: &mut Vec<u8>) {
    let text = number.as_str();
    if !text.contains(['.', 'e', 'E']) {
        out.extend_from_slice(if text == "-0" { b"0" } else { text.as_bytes() });
        return;
    }
    match text.parse::<f64>() {
        Ok(float) => out.extend_from_slice(float_text(float).as_bytes()),
        Err(_) => out.extend_from_slice(text.as_bytes()),
    }
}

fn float_text(float: f64) -> String {
    if float == 0.0 {
        "0".to_owned()
    } else if float.fract() == 0.0 && float.abs() < FIRST_INEXACT_INTEGER {
        format!("{float:.0}")
    } else {
        python_repr(float)
    }
}

/// What Python's `repr` gives for a finite float that is not zero: with an exponent, of at least two digits,
/// if the first digit stands more than 4 places right of the point or more than 15 left of it.
fn python_repr(float: f64) -> String {
    let sign = if float < 0.0 { "-" } else { "" };
    let (digits, exponent) = shortest_digits(float.abs());
    let (first, rest) = digits.split_at_checked(1).unwrap_or(("0", ""));
    match exponent {
        -4..0 => format!(
            "{sign}0.{:0>width$}",
            digits,
            width = digits.len() + exponent.unsigned_abs() as usize - 1
        ),
        0..16 => {
            let whole_digits = exponent as usize + 1;
            let (whole, fraction) = digits.split_at(digits.len().min(whole_digits));
            format!("{sign}{whole:0<whole_digits$}.{}", if fraction.is_empty() { "0" } else { fraction })
        }
        _ => {
            let point = if rest.is_empty() { "" } else { "." };
            let direction = if exponent < 0 { '-' } else { '+' };
            format!("{sign}{first}{point}{rest}e{direction}{:02}", exponent.unsigned_abs())
        }
    }
}

/// The fewest digits that read back as this positive float, the closest of them, the even of two as close;
/// and the power of ten of the first. RFC 8785 §3.2.2.3 and Python agree on the digits. (Rust's own
/// formatting takes the greater of two as close, as of 1158669668407836.25.)
fn shortest_digits(float: f64) -> (String, i32) {
    let text = serde_json_canonicalizer::to_string(&float).unwrap_or_default();
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let significant = all.trim_start_matches('0');
    let places = whole.len() as i32 - 1 - (all.len() - significant.len()) as i32;
    let digits = significant.trim_end_matches('0');
    (digits.to_owned(), exponent.parse::<i32>().unwrap_or(0) + places)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::proto::json;
    use crate::proto::json::tests::any_value;

    fn object(text: &str) -> Map<String, Value> {
        json::parse(text.as_bytes()).unwrap().as_object().unwrap().clone()
    }

    fn as_text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    /// `sent` is the text of a message, `signed` what the published implementation (Python) signs of it.
    #[derive(serde::Deserialize)]
    struct Vector {
        name: String,
        sent: String,
        signed: String,
    }

    #[test]
    fn reference_form_is_what_python_writes() {
        let file = include_str!("../../tests/data/canonical-reference.json");
        let vectors: Vec<Vector> = serde_json::from_str(file).unwrap();
        assert!(vectors.len() >= 60);
        for Vector { name, sent, signed } in vectors {
            assert_eq!(as_text(reference(&object(&sent))), signed, "{name}");
        }
    }

    #[test]
    fn rfc8785_examples() {
        let cases = [
            // RFC 8785 §3.2.2 and §3.2.3.
            (
                r#"{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}"#,
                "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}",
            ),
            (
                r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"#,
                "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}",
            ),
            (
                r#"{"a":-0,"b":-0.0,"c":9007199254740993,"d":1e21,"e":1e20}"#,
                r#"{"a":0,"b":0,"c":9007199254740992,"d":1e+21,"e":100000000000000000000}"#,
            ),
        ];
        for (sent, want) in cases {
            assert_eq!(as_text(rfc8785(&object(sent)).unwrap()), want);
        }
    }

    #[test]
    fn only_the_signature_at_the_top_is_left_out() {
        let sent = r#"{"signature":{"x":1},"payload":{"signature":1},"b":[{"signature":2}]}"#;
        assert_eq!(
            as_text(rfc8785(&object(sent)).unwrap()),
            r#"{"b":[{"signature":2}],"payload":{"signature":1}}"#
        );
    }

    #[test]
    fn what_the_reference_covers() {
        for (sent, want) in [
            (
                r#"{"from":1,"to":1,"timestamp":1,"nonce":1,"type":1,"payload":1,"cc":1,"routing":1,"signature":1}"#,
                true,
            ),
            (r#"{"from":1,"in_reply_to":"x"}"#, false),
            (r#"{"from":1,"From":1}"#, false),
        ] {
            assert_eq!(covered_by_reference(&object(sent)), want, "{sent}");
        }
        assert_eq!(reference(&object(r#"{"to":1,"x":2,"signature":{},"from":3}"#)), br#"{"from":3,"to":1}"#);
    }

    #[test]
    fn a_number_beyond_a_double_has_no_form() {
        let mut huge = Map::new();
        huge.insert("n".to_owned(), Value::Number("1e400".parse().unwrap()));
        assert_eq!(rfc8785(&huge), Err(CanonicalError));
    }

    proptest! {
        #[test]
        fn reading_a_canonical_form_gives_the_same_form(value in any_value()) {
            let message = json!({ "payload": value });
            let message = message.as_object().unwrap();
            let strict = rfc8785(message).unwrap();
            prop_assert_eq!(&rfc8785(&object(std::str::from_utf8(&strict).unwrap())).unwrap(), &strict);
            let python = reference(message);
            let again = object(std::str::from_utf8(&python).unwrap());
            prop_assert_eq!(&reference(&again), &python);
            prop_assert_eq!(&rfc8785(&again).unwrap(), &strict);
        }

        #[test]
        fn a_float_reads_back_the_same(float in any::<f64>().prop_filter("finite", |x| x.is_finite())) {
            let read: f64 = float_text(float).parse().unwrap();
            prop_assert!(read == float);
        }
    }
}
