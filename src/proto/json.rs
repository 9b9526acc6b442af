//! Strict I-JSON (RFC 7493) into a tree whose numbers keep their text (`docs/protocol.md` §2).
//!
//! `serde_json` keeps the last of two equal keys and lets a document be as wide as it likes; what is signed
//! must mean the same to every reader, so this visitor refuses what two parsers could read differently.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::limits::{MAX_JSON_DEPTH, MAX_JSON_VALUES};

/// Longest number, in bytes of its text. Python, which the published implementation is written in, refuses
/// integers of more than 4,300 digits; nobody needs a tenth of that.
pub const MAX_NUMBER_BYTES: usize = 1000;

/// Member names starting like this mean something to `serde_json` itself: an object with one of them could
/// turn into a number when it is stored and read again.
const RESERVED_KEY_PREFIX: &str = "$serde_json::private::";

/// Why bytes are not a document we accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not UTF-8 (RFC 7493 §2.1).
    #[error("it is not UTF-8")]
    NotUtf8,
    /// Starts with a byte order mark (RFC 8259 §8.1).
    #[error("it starts with a byte order mark")]
    ByteOrderMark,
    /// Not JSON, or a lone surrogate, or something after the document.
    #[error("it is not I-JSON (RFC 7493) at line {line}, column {column}")]
    Syntax {
        /// From 1.
        line: usize,
        /// In bytes, from 1.
        column: usize,
    },
    /// An object has two members of the same name (RFC 7493 §2.3).
    #[error("an object has two members of the same name")]
    DuplicateKey,
    /// Arrays and objects nested deeper than [`MAX_JSON_DEPTH`].
    #[error("arrays and objects are nested deeper than 64")]
    TooDeep,
    /// More than [`MAX_JSON_VALUES`] values.
    #[error("it holds more than 100,000 values")]
    TooManyValues,
    /// A number longer than [`MAX_NUMBER_BYTES`].
    #[error("a number is longer than 1,000 characters")]
    NumberTooLong,
    /// A number beyond the range of a double (RFC 7493 §2.2).
    #[error("a number is beyond the range of a double")]
    NumberRange,
    /// A member name that our JSON library keeps for itself.
    #[error("a member name starts with $serde_json::private::")]
    ReservedKey,
}

/// Parses one document.
///
/// # Errors
/// [`JsonError`] for anything but I-JSON within the limits of `docs/protocol.md` §2.
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|_| JsonError::NotUtf8)?;
    if text.starts_with('\u{feff}') {
        return Err(JsonError::ByteOrderMark);
    }
    let budget = Budget { values_left: Cell::new(MAX_JSON_VALUES), verdict: Cell::new(None) };
    let mut source = serde_json::Deserializer::from_str(text);
    let value = ValueSeed { budget: &budget, depth: 0 }.deserialize(&mut source);
    value.and_then(|value| source.end().map(|()| value)).map_err(|error| {
        let syntax = JsonError::Syntax { line: error.line(), column: error.column() };
        budget.verdict.get().unwrap_or(syntax)
    })
}

/// What is shared by all levels of one document.
struct Budget {
    values_left: Cell<usize>,
    /// Our own reason for stopping: it cannot travel inside `serde_json::Error`.
    verdict: Cell<Option<JsonError>>,
}

impl Budget {
    fn refuse<E: serde::de::Error>(&self, verdict: JsonError) -> E {
        self.verdict.set(Some(verdict));
        E::custom(verdict)
    }

    fn spend_value<E: serde::de::Error>(&self) -> Result<(), E> {
        let left =
            self.values_left.get().checked_sub(1).ok_or_else(|| self.refuse(JsonError::TooManyValues))?;
        self.values_left.set(left);
        Ok(())
    }

    fn number<E: serde::de::Error>(&self, text: &str) -> Result<Value, E> {
        if text.len() > MAX_NUMBER_BYTES {
            return Err(self.refuse(JsonError::NumberTooLong));
        }
        if !text.parse::<f64>().is_ok_and(f64::is_finite) {
            return Err(self.refuse(JsonError::NumberRange));
        }
        text.parse::<Number>().map(Value::Number).map_err(E::custom)
    }
}

/// Reads one value at `depth` levels of arrays and objects below the root.
#[derive(Clone, Copy)]
struct ValueSeed<'b> {
    budget: &'b Budget,
    depth: usize,
}

impl ValueSeed<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth < MAX_JSON_DEPTH {
            true => Ok(ValueSeed { depth: self.depth + 1, ..self }),
            false => Err(self.budget.refuse(JsonError::TooDeep)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        self.budget.spend_value()?;
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let element = self.deeper()?;
        let mut array = Vec::new();
        while let Some(value) = elements.next_element_seed(element)? {
            array.push(value);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut key = members.next_key_seed(KeySeed)?;
        if matches!(key, Some(Key::NumberToken)) {
            return self.budget.number(&members.next_value::<String>()?);
        }
        let member = self.deeper()?;
        let mut object = Map::new();
        while let Some(Key::Member(name)) = key {
            if name.starts_with(RESERVED_KEY_PREFIX) {
                return Err(self.budget.refuse(JsonError::ReservedKey));
            }
            if object.contains_key(&name) {
                return Err(self.budget.refuse(JsonError::DuplicateKey));
            }
            object.insert(name, members.next_value_seed(member)?);
            key = members.next_key_seed(KeySeed)?;
        }
        Ok(Value::Object(object))
    }
}

/// A member's name, or the sign that this "object" is how `serde_json` hands over a number's text.
enum Key {
    Member(String),
    NumberToken,
}

/// Tells the two apart. A number's only key looks like a member named `$serde_json::private::Number`, which
/// a sender could write too; but asked for an option, a real key answers "some" and the token a plain string.
struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Key, D::Error> {
        source.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for KeySeed {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_some<D: Deserializer<'de>>(self, source: D) -> Result<Key, D::Error> {
        <String as serde::Deserialize>::deserialize(source).map(Key::Member)
    }

    fn visit_borrowed_str<E>(self, _token: &'de str) -> Result<Key, E> {
        Ok(Key::NumberToken)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nested(open: &str, close: &str, depth: usize) -> String {
        format!("{}{}", open.repeat(depth), close.repeat(depth))
    }

    #[test]
    fn numbers_keep_their_text() {
        for text in
            ["0", "-0", "1.0", "1.10", "12345678901234567890123", "0.1", "-0.0", "18446744073709551616"]
        {
            assert_eq!(parse(text.as_bytes()).unwrap().to_string(), text);
        }
        // The library writes every exponent with its sign; no canonical form depends on that.
        assert_eq!(parse(b"1E5").unwrap().to_string(), "1e+5");
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let text = r#"{"a":[null,true,false,1,-1,1.5,"x\n",{}],"b":{"c":[]}}"#;
        assert_eq!(parse(text.as_bytes()).unwrap().to_string(), text);
        assert_eq!(parse(b" \t\r\n1 ").unwrap(), Value::from(1));
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        use JsonError::{ByteOrderMark, DuplicateKey, NotUtf8, NumberRange, ReservedKey};
        let huge = "9".repeat(400);
        let cases: &[(&str, &[u8], JsonError)] = &[
            ("duplicate", br#"{"a":1,"a":1}"#, DuplicateKey),
            ("duplicate, nested", br#"[{"x":{"a":1,"b":2,"a":3}}]"#, DuplicateKey),
            ("duplicate after unescaping", br#"{"a":1,"\u0061":1}"#, DuplicateKey),
            ("invalid UTF-8", b"\"\xff\"", NotUtf8),
            ("UTF-8 encoded surrogate", b"\"\xed\xa0\x80\"", NotUtf8),
            ("byte order mark", b"\xef\xbb\xbf{}", ByteOrderMark),
            ("overflow", b"1e400", NumberRange),
            ("negative overflow", b"[-1e309]", NumberRange),
            ("integer overflow", huge.as_bytes(), NumberRange),
            ("number token as member", br#"{"$serde_json::private::Number":"1"}"#, ReservedKey),
            ("number token, escaped", br#"{"\u0024serde_json::private::Number":"1"}"#, ReservedKey),
            ("number token as second member", br#"{"a":1,"$serde_json::private::Number":"1"}"#, ReservedKey),
            ("raw value token", br#"{"$serde_json::private::RawValue":"1"}"#, ReservedKey),
        ];
        for (name, bytes, want) in cases {
            assert_eq!(parse(bytes), Err(*want), "{name}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        for text in [
            "",
            " ",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{'a':1}",
            "{a:1}",
            "nul",
            "NaN",
            "Infinity",
            "-Infinity",
            "-",
            "01",
            "+1",
            ".5",
            "1.",
            "1e",
            "0x1",
            "{} {}",
            "1 2",
            "\"\\ud800\"",
            "\"\\udc00\\ud800\"",
            "{\"\\ud800\":1}",
            "\"\u{1}\"",
            "// c\n1",
            "\"\\x41\"",
            "\u{a0}1",
        ] {
            assert!(
                matches!(parse(text.as_bytes()), Err(JsonError::Syntax { .. })),
                "{text:?}: {:?}",
                parse(text.as_bytes())
            );
        }
        assert_eq!(parse(b"{\n  \"a\" 1}"), Err(JsonError::Syntax { line: 2, column: 7 }));
    }

    #[test]
    fn limits_hold_at_their_edges() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let leaf = if open == "[" { "" } else { "1" };
            let at = |depth| format!("{}{leaf}{}", open.repeat(depth), close.repeat(depth));
            assert!(parse(at(MAX_JSON_DEPTH).as_bytes()).is_ok());
            assert_eq!(parse(at(MAX_JSON_DEPTH + 1).as_bytes()), Err(JsonError::TooDeep));
        }
        assert_eq!(parse(nested("[", "]", 100_000).as_bytes()), Err(JsonError::TooDeep));
        assert_eq!(
            parse(format!("{}{{}}{}", "[".repeat(64), "]".repeat(64)).as_bytes()),
            Err(JsonError::TooDeep)
        );

        let wide = |values: usize| format!("[{}]", vec!["0"; values - 1].join(","));
        assert!(parse(wide(MAX_JSON_VALUES).as_bytes()).is_ok());
        assert_eq!(parse(wide(MAX_JSON_VALUES + 1).as_bytes()), Err(JsonError::TooManyValues));

        let fraction = |bytes: usize| format!("0.{}", "1".repeat(bytes - 2));
        assert!(parse(fraction(MAX_NUMBER_BYTES).as_bytes()).is_ok());
        assert_eq!(parse(fraction(MAX_NUMBER_BYTES + 1).as_bytes()), Err(JsonError::NumberTooLong));
    }

    #[test]
    fn the_deepest_document_fits_a_small_stack() {
        let deepest = nested("[", "]", MAX_JSON_DEPTH);
        let thread = std::thread::Builder::new().stack_size(512 * 1024);
        thread.spawn(move || assert!(parse(deepest.as_bytes()).is_ok())).unwrap().join().unwrap();
    }

    pub fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_we_write_we_read(value in any_value()) {
            let text = value.to_string();
            prop_assert_eq!(parse(text.as_bytes()).unwrap().to_string(), text);
        }

        #[test]
        fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn no_json_like_input_panics(text in r#"[\[\]{}",:0-9eE.+\\ua-f -]{0,80}"#) {
            let _ = parse(text.as_bytes());
        }
    }
}
