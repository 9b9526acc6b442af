//! Both canonical forms (docs/protocol.md §3), written from the document.

use serde_json::{Map, Value};

/// The digits of the largest integers that a double holds exactly.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// The fields that the reference's form covers.
const COVERED: [&str; 8] = ["from", "to", "timestamp", "nonce", "type", "payload", "cc", "routing"];

/// RFC 8785 over all of a message but its signature.
pub fn rfc8785(message: &Value) -> Vec<u8> {
    let mut object = message.as_object().cloned().unwrap_or_default();
    object.remove("signature");
    let mut out = String::new();
    write(&Value::Object(object), Form::Rfc8785, &mut out);
    out.into_bytes()
}

/// The reference's form.
pub fn reference(message: &Value) -> Vec<u8> {
    let mut object = message.as_object().cloned().unwrap_or_default();
    object.retain(|name, value| COVERED.contains(&name.as_str()) && !is_left_out(name, value));
    let mut out = String::new();
    write(&Value::Object(object), Form::Reference, &mut out);
    out.into_bytes()
}

fn is_left_out(name: &str, value: &Value) -> bool {
    match name {
        "cc" => value.is_null() || value.as_array().is_some_and(Vec::is_empty),
        "routing" => value.is_null(),
        _ => false,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Rfc8785,
    Reference,
}

fn write(value: &Value, form: Form, out: &mut String) {
    match value {
        Value::Object(object) => {
            out.push('{');
            for (index, (name, value)) in sorted(object, form).into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write(value, form, out);
            }
            out.push('}');
        }
        Value::Array(array) => {
            out.push('[');
            for (index, value) in array.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(value, form, out);
            }
            out.push(']');
        }
        Value::Number(number) => out.push_str(&number_text(&number.to_string(), form)),
        other => out.push_str(&other.to_string()),
    }
}

fn sorted(object: &Map<String, Value>, form: Form) -> Vec<(&String, &Value)> {
    let mut members: Vec<_> = object.iter().collect();
    match form {
        Form::Rfc8785 => members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16())),
        Form::Reference => members.sort_by(|(a, _), (b, _)| a.chars().cmp(b.chars())),
    }
    members
}

fn number_text(text: &str, form: Form) -> String {
    let is_float = text.contains(['.', 'e', 'E']);
    if form == Form::Reference && !is_float {
        return if text == "-0" { "0".to_owned() } else { text.to_owned() };
    }
    let double: f64 = text.parse().unwrap_or(0.0);
    if double == 0.0 {
        return "0".to_owned();
    }
    let sign = if double < 0.0 { "-" } else { "" };
    let shortest = format!("{:e}", double.abs());
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let digits = mantissa.replace('.', "");
    // The point stands after so many digits.
    let point: i32 = exponent.parse::<i32>().unwrap_or(0) + 1;
    let count = i32::try_from(digits.len()).unwrap_or(0);
    let plain = match form {
        Form::Rfc8785 => -6 < point && point <= 21,
        Form::Reference if double.fract() == 0.0 && double.abs() < EXACT => true,
        Form::Reference => (-3..=16).contains(&point),
    };
    let magnitude = if plain && point >= count {
        let zeros = "0".repeat(usize::try_from(point - count).unwrap_or(0));
        let fraction = if form == Form::Reference && double.abs() >= EXACT { ".0" } else { "" };
        format!("{digits}{zeros}{fraction}")
    } else if plain && point > 0 {
        let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or(0));
        format!("{whole}.{fraction}")
    } else if plain {
        format!("0.{}{digits}", "0".repeat(usize::try_from(-point).unwrap_or(0)))
    } else {
        let (first, rest) = digits.split_at(1);
        let fraction = if rest.is_empty() { String::new() } else { format!(".{rest}") };
        let exponent = point - 1;
        let width = if form == Form::Reference { 2 } else { 1 };
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        format!("{first}{fraction}e{exponent_sign}{:0width$}", exponent.abs())
    };
    format!("{sign}{magnitude}")
}
