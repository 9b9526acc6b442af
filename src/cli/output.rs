//! What commands print: JSON for programs, text for people, and nothing that could steer a terminal.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::error::CliError;

/// Place in `--help`: behind the flags a command has of its own.
const LAST: usize = 900;

/// The two forms of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Json,
    Text,
}

/// The flags that choose between them.
#[derive(Args, Debug, Clone, Default)]
pub(super) struct Output {
    /// Print json or text [default: text; send, recv, ask, reply and claim print json unless to a terminal]
    #[arg(long, global = true, env = "ATP_OUTPUT", value_enum, hide_possible_values = true, display_order = LAST)]
    output: Option<Format>,
    /// Same as --output json
    #[arg(long, global = true, env = "ATP_JSON", value_parser = FalseyValueParser::new(), display_order = LAST)]
    json: bool,
}

impl Output {
    /// Whether a command made for people prints JSON.
    pub fn is_json(&self) -> bool {
        self.json || self.output == Some(Format::Json)
    }

    /// Whether a command made for programs prints JSON: unless a person is looking.
    pub fn is_json_unless_terminal(&self) -> bool {
        self.is_json() || (self.output.is_none() && !io::stdout().is_terminal())
    }
}

/// Prints a value as indented JSON.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), CliError> {
    let json = serde_json::to_string_pretty(value)
        .map_err(|error| CliError::failed(format!("cannot print the answer: {error}")))?;
    print(&escaped_json(&json))
}

/// A value as JSON on one line.
pub(super) fn json_line(value: &impl Serialize) -> Result<String, CliError> {
    let json = serde_json::to_string(value)
        .map_err(|error| CliError::failed(format!("cannot print the answer: {error}")))?;
    Ok(escaped_json(&json))
}

/// Prints text and ends the line.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    print_on(text).map(|_| ())
}

/// Prints text of which there is more to come, and ends the line. `false`: whoever reads has seen enough, as with
/// `atp queue list | head`.
pub(super) fn print_on(text: &str) -> Result<bool, CliError> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{}", text.trim_end_matches('\n')).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CliError::failed(format!("cannot write the output: {error}"))),
        Ok(()) => Ok(true),
    }
}

/// Remote text as one line: control characters and those that turn the writing direction are spelled out.
pub(super) fn one_line(text: &str) -> String {
    escaped(text, |_| false)
}

/// Remote text of several lines; line feeds and tabs stay.
pub(super) fn lines(text: &str) -> String {
    escaped(&text.replace("\r\n", "\n"), |c| matches!(c, '\n' | '\t'))
}

fn escaped(text: &str, keep: impl Fn(char) -> bool) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if is_dangerous(c) && !keep(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        out
    })
}

/// JSON that is safe on a terminal: what [`is_dangerous`] can stand inside strings only, where it may be
/// written as an escape.
fn escaped_json(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut out, c| {
        if is_dangerous(c) && c != '\n' {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
        out
    })
}

/// Control characters (C0, DEL, C1) and the invisible ones that reorder what is shown.
fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_text_cannot_steer_the_terminal() {
        assert_eq!(one_line("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
        assert_eq!(one_line("\u{9b}31m\u{202e}x\u{61c} ü 💬"), "\\u{9b}31m\\u{202e}x\\u{61c} ü 💬");
        assert_eq!(lines("a\r\nb\tc\rd"), "a\nb\tc\\rd");
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = serde_json::json!({ "a": "\u{9b}\u{202e}\n\u{7f}ü" });
        let json = escaped_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!json.contains('\u{9b}') && !json.contains('\u{7f}'));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), value);
    }
}
