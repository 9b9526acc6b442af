//! Payloads on which two JSON implementations like to disagree, and the comparison of what arrives.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// Deep, yet within the depth of 64 that a message may have as a whole.
const DEEP: usize = 50;

/// Name and JSON text.
pub fn awkward() -> Vec<(&'static str, String)> {
    let fixed = [
        ("text", r#"{"subject":"Hello","body":"two\nlines"}"#),
        ("empty object", "{}"),
        ("nested objects", r#"{"b":{"d":[1,{"z":null,"a":true}],"c":{}},"a":[[],[[]],""]}"#),
        ("non-ASCII keys and values", r#"{"grüße":"日本語","é":"e\u0301","ключ":["🦀"]}"#),
        ("keys ordered differently by code point and by UTF-16 unit", "{\"\u{fb33}\":1,\"😀\":2,\"a\":3}"),
        ("the same, nested", "{\"x\":[{\"\u{ffee}\":{\"𝒳\":1,\"\u{e000}\":2},\"🂡\":3}]}"),
        ("control characters", r#"{"c\u0000":"\u0001\b\t\n\f\r\u001f\u007f\u0080\u2028\"\\\/"}"#),
        ("1e-7", r#"{"n":1e-7}"#),
        ("1e16", r#"{"n":1e16}"#),
        ("2^60", r#"{"n":1152921504606846976}"#),
        ("2^70", r#"{"n":1180591620717411303424}"#),
        ("-2^70", r#"{"n":-1180591620717411303424}"#),
        ("2^53 + 1", r#"{"n":9007199254740993}"#),
        ("-0.0", r#"{"n":-0.0}"#),
        ("-0", r#"{"n":-0}"#),
        ("0.1", r#"{"n":0.1}"#),
        ("5e-324", r#"{"n":5e-324}"#),
        (
            "other floats",
            r#"{"n":[1.0,100.0,1e2,1E+2,1e21,1e22,1e15,123456789.125,1e-6,0.00001,1.7976931348623157e308]}"#,
        ),
    ];
    let mut all: Vec<_> = fixed.into_iter().map(|(name, text)| (name, text.to_owned())).collect();
    all.push(("deep nesting", format!("{}0{}", r#"{"a":["#.repeat(DEEP / 2), "]}".repeat(DEEP / 2))));
    all
}

/// Each document as Python reads it, so that two texts of one value are equal and 1 and 1.0 are not.
pub fn as_python_reads(python: &Path, documents: &[String]) -> Vec<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/normal.py");
    let output = assert_cmd::Command::new(python)
        .arg(script)
        .write_stdin(documents.join("\n"))
        .timeout(Duration::from_secs(30))
        .ok()
        .unwrap_or_else(|e| panic!("normal.py: {e}"));
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    printed.lines().map(str::to_owned).collect()
}

/// Asserts that every case arrived as it was sent. `sent` holds the nonce of each case, in order.
pub fn assert_arrived(python: &Path, sent: &[String], mailbox: &[Value]) {
    let cases = awkward();
    let arrived = sent.iter().map(|nonce| {
        let found = mailbox.iter().find(|message| message["nonce"] == nonce.as_str());
        found.unwrap_or_else(|| panic!("{nonce} did not arrive"))["payload"].to_string()
    });
    let arrived = as_python_reads(python, &arrived.collect::<Vec<_>>());
    let texts: Vec<String> = cases.iter().map(|(_, text)| text.clone()).collect();
    let wanted = as_python_reads(python, &texts);
    assert_eq!((arrived.len(), wanted.len()), (cases.len(), cases.len()));
    for (((name, _), arrived), wanted) in cases.iter().zip(arrived).zip(wanted) {
        assert_eq!(arrived, wanted, "payload {name:?} was changed on its way");
    }
}
