//! `atp certificate …`: the certificate of a server on this machine, over its control socket.

use std::fmt::Write as _;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::error::CliError;
use super::http::{Client, Request};
use super::output::{self, Output};
use super::queue::At;
use crate::env::clock::{Clock as _, SystemClock};
use crate::proto::calendar::Calendar;
use crate::proto::time::UnixMillis;

/// How often it is asked what became of an order.
const ASK_EVERY: Duration = Duration::from_millis(500);
const SECONDS_A_DAY: i64 = 24 * 3600;

/// Look at a server's certificate, and have the authority renew it.
#[derive(Subcommand)]
pub(super) enum Certificate {
    /// Show which certificate a server shows, until when it is valid, and what the authority last said
    Show(Show),
    /// Have the authority issue a new certificate now, and wait for it
    #[command(after_help = RENEW_NOTES)]
    Renew(Renew),
}

const RENEW_NOTES: &str = "\
The server renews its certificate by itself; this is for when that cannot wait, or to try a configuration. It is
refused while the authority wants no more orders, and after five failed orders within an hour.
Exit codes: 0 there is a new certificate (with --no-wait: the order has begun); 1 there is none, the line on standard
error says why; 2 the command was not understood.";

/// `atp certificate show`
#[derive(Args)]
pub(super) struct Show {
    #[command(flatten)]
    at: At,
}

/// `atp certificate renew`
#[derive(Args)]
pub(super) struct Renew {
    /// Return when the order has begun
    #[arg(long, env = "ATP_NO_WAIT", value_parser = FalseyValueParser::new())]
    no_wait: bool,
    #[command(flatten)]
    at: At,
}

impl Certificate {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        match self {
            Certificate::Show(show) => show.run(output).await,
            Certificate::Renew(renew) => renew.run(output).await,
        }
    }
}

impl Show {
    async fn run(self, output: &Output) -> Result<(), CliError> {
        let answer = ask(&mut self.at.client()?).await?;
        if output.is_json() {
            return output::print_json(&answer);
        }
        output::print(&described(&answer, SystemClock.now().seconds()))
    }
}

impl Renew {
    async fn run(self, output: &Output) -> Result<(), CliError> {
        let mut client = self.at.client()?;
        let begun = client.call(Request::command("admin/certificate/renew")).await?.success()?;
        if self.no_wait {
            return if output.is_json() {
                output::print_json(&begun)
            } else {
                output::print("An order is under way; `atp certificate show` says what becomes of it.")
            };
        }
        let answer = loop {
            sleep(ASK_EVERY).await;
            let answer = ask(&mut client).await?;
            if !answer["acme"]["under_way"].as_bool().unwrap_or_default() {
                break answer;
            }
        };
        let acme = &answer["acme"];
        if let Some(error) = acme["last_error"].as_str() {
            return Err(CliError::failed(format!("no certificate was issued: {error}")));
        }
        let certificate = &acme["certificate"];
        if output.is_json() {
            return output::print_json(&json!({ "status": "renewed", "certificate": certificate }));
        }
        output::print(&format!(
            "There is a new certificate for {}, valid until {}.",
            names(certificate),
            date(certificate, "not_after")
        ))
    }
}

async fn ask(client: &mut Client) -> Result<Value, CliError> {
    client.call(Request::get("admin/certificate")).await?.success()
}

fn described(answer: &Value, now: i64) -> String {
    let mut text = String::new();
    for shown in answer["shown"].as_array().into_iter().flatten() {
        let whose = shown["domain"].as_str().map(|domain| format!(", for {domain}")).unwrap_or_default();
        let file = shown["file"].as_str().unwrap_or("?");
        let _ = writeln!(text, "Shown:    {}", output::one_line(&format!("{file}{whose}")));
        certificate(&mut text, shown, now);
    }
    let acme = &answer["acme"];
    if acme.is_null() {
        text.push_str("No authority is asked for certificates (acme.challenge = \"off\").\n");
        return text;
    }
    let word = |name: &str| output::one_line(acme[name].as_str().unwrap_or_default());
    let _ = writeln!(text, "\nAuthority: {} ({})", word("directory"), word("challenge"));
    if acme["certificate"].is_null() {
        let _ = writeln!(text, "Issued:   nothing yet, for {}", names(acme));
    } else {
        let _ = writeln!(text, "Issued:   {}", &date(&acme["certificate"], "not_before"));
        certificate(&mut text, &acme["certificate"], now);
    }
    if let Some(why) = acme["hindered"].as_str() {
        let _ = writeln!(text, "Hindered: {}", output::one_line(why));
    } else if acme["under_way"].as_bool().unwrap_or_default() {
        text.push_str("Now:      an order is under way\n");
    } else {
        let _ = writeln!(text, "Next:     {}", date(acme, "next_attempt"));
    }
    if let Some(error) = acme["last_error"].as_str() {
        let failures = acme["failures"].as_u64().unwrap_or_default();
        let tries = if failures == 1 { "1 attempt".to_owned() } else { format!("{failures} attempts") };
        let _ =
            writeln!(text, "Failed:   {}, {tries}: {}", date(acme, "last_attempt"), output::one_line(error));
    }
    if !acme["limited_until"].is_null() {
        let _ = writeln!(text, "Limited:  no order before {}", date(acme, "limited_until"));
    }
    text
}

fn certificate(text: &mut String, of: &Value, now: i64) {
    let end = of["not_after"].as_i64().unwrap_or_default();
    let left = match (end - now).div_euclid(SECONDS_A_DAY) {
        ..=-1 => "EXPIRED".to_owned(),
        1 => "1 day left".to_owned(),
        days => format!("{days} days left"),
    };
    let _ = writeln!(text, "  for     {}", names(of));
    let _ = writeln!(text, "  until   {} ({left})", date(of, "not_after"));
    if of["own"].as_bool().unwrap_or_default() {
        text.push_str("  WARNING it is of the server's own making: servers elsewhere refuse it\n");
    }
    if let Some(trouble) = of["trouble"].as_str() {
        let trouble = output::one_line(trouble);
        let _ = writeln!(text, "  WARNING what now lies in its place cannot be used, so it stays: {trouble}");
    }
    for (label, member) in [("from   ", "issuer"), ("SHA-256", "sha256")] {
        if let Some(known) = of[member].as_str() {
            let _ = writeln!(text, "  {label} {}", output::one_line(known));
        }
    }
}

fn names(of: &Value) -> String {
    let names = of["names"].as_array().into_iter().flatten().filter_map(Value::as_str);
    output::one_line(&names.collect::<Vec<_>>().join(", "))
}

fn date(of: &Value, name: &str) -> String {
    of[name].as_i64().map_or("?".into(), |at| Calendar::from(UnixMillis::from_seconds(at)).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_and_what_the_authority_said_reads_well() {
        let leaf = json!({ "file": "/s/cert.pem", "names": ["atp.a.example"], "issuer": "CN=X\u{1b}[2J",
                           "not_before": 0, "not_after": 864_000, "sha256": "ab" });
        let off = described(&json!({ "shown": [leaf], "acme": null }), 0);
        for line in ["Shown:    /s/cert.pem", "  for     atp.a.example", "  from    CN=X\\u{1b}[2J"] {
            assert!(off.lines().any(|have| have == line), "{line:?} in {off}");
        }
        assert!(off.contains("until   1970-01-11 00:00:00 UTC (10 days left)"), "{off}");
        assert!(off.contains("No authority is asked"), "{off}");
        let acme = json!({ "directory": "https://ca.example/dir", "challenge": "http-01", "names": ["atp.a.example"],
                           "certificate": null, "next_attempt": 3600, "under_way": false, "failures": 2,
                           "last_attempt": 60, "last_error": "no\nroute", "limited_until": 7200 });
        let on = described(&json!({ "shown": [leaf], "acme": acme }), 900_000);
        for line in [
            "Authority: https://ca.example/dir (http-01)",
            "Issued:   nothing yet, for atp.a.example",
            "Next:     1970-01-01 01:00:00 UTC",
            "Failed:   1970-01-01 00:01:00 UTC, 2 attempts: no\\nroute",
            "Limited:  no order before 1970-01-01 02:00:00 UTC",
        ] {
            assert!(on.lines().any(|have| have == line), "{line:?} in {on}");
        }
        assert!(on.contains("(EXPIRED)"), "{on}");
        let leaf = json!({ "file": "/s/cert.pem", "names": [], "not_after": 864_000, "own": true,
                           "trouble": "cannot read /s/key.pem" });
        let acme = json!({ "certificate": null, "hindered": "run: this" });
        let bad = described(&json!({ "shown": [leaf], "acme": acme }), 0);
        for line in [
            "  WARNING it is of the server's own making: servers elsewhere refuse it",
            "  WARNING what now lies in its place cannot be used, so it stays: cannot read /s/key.pem",
            "Hindered: run: this",
        ] {
            assert!(bad.lines().any(|have| have == line), "{line:?} in {bad}");
        }
    }
}
