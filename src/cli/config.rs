//! `atp config check` and `show`

use std::fmt::Write as _;
use std::path::Path;

use clap::builder::FalseyValueParser;
use clap::{Args, Subcommand};
use serde_json::json;

use super::configuration::Configuration;
use super::error::CliError;
use super::output::{self, Output};
use crate::config::effective::{Origin, Setting};
use crate::config::reader::Reader;
use crate::config::service;
use crate::config::{ConfigError, Loaded, Source};
use crate::daemon;
use crate::proto::address::Domain;

/// Check and show a server's configuration.
#[derive(Subcommand)]
pub(super) enum Config {
    /// Say what is wrong with a configuration: everything at once, a line each
    Check(Box<Check>),
    /// Show a configuration as it is understood; secrets are left out
    Show(Box<Show>),
}

/// `atp config check`
#[derive(Args)]
pub(super) struct Check {
    #[command(flatten)]
    configuration: Configuration,
}

/// `atp config show`
#[derive(Args)]
pub(super) struct Show {
    #[command(flatten)]
    configuration: Configuration,
    /// Show every key, those at their defaults too
    #[arg(long, env = "ATP_EFFECTIVE", value_parser = FalseyValueParser::new())]
    effective: bool,
}

impl Config {
    pub fn run(self, output: &Output) -> Result<(), CliError> {
        match self {
            Config::Check(check) => check.run(output),
            Config::Show(show) => show.run(output),
        }
    }
}

impl Check {
    fn run(self, output: &Output) -> Result<(), CliError> {
        let source = self.configuration.source_to_look_at();
        let outcome = checked(&source);
        if output.is_json() {
            let findings: Vec<_> =
                outcome.as_ref().err().into_iter().flat_map(ConfigError::findings).collect();
            output::print_json(&json!({ "file": source.path, "findings": findings }))?;
        }
        match outcome {
            Ok(_) if output.is_json() => Ok(()),
            Ok(loaded) => {
                let domains: Vec<_> = loaded.config.domains().iter().map(Domain::as_str).collect();
                output::print(&format!("{} is good; domains: {}", name(&source), domains.join(", ")))
            }
            Err(error) => Err(told(&error, output)),
        }
    }
}

/// A configuration whose files are good as well.
fn checked(source: &Source) -> Result<Loaded, ConfigError> {
    let loaded = source.read()?;
    // Root can read what the service cannot.
    let is_service = source.path.as_deref().is_some_and(|path| path == Path::new(service::CONFIG));
    let reader = is_service.then(Reader::of_service).flatten();
    let mut wrong = daemon::files::check_for(&loaded.config, reader.as_ref());
    if let Some((reader, path)) = reader.as_ref().zip(source.path.as_deref())
        && let Err(why) = reader.check(path, false)
    {
        wrong.push((String::new(), why));
    }
    loaded.wrong(&wrong).map_or(Ok(loaded), Err)
}

/// Prints all findings but the last, which is what the command ends with.
fn told(error: &ConfigError, output: &Output) -> CliError {
    let mut lines: Vec<_> = error.findings().map(|finding| output::one_line(&finding.to_string())).collect();
    if output.is_json() {
        return CliError::failed(format!("{} wrong with the configuration", counted(lines.len())));
    }
    let last = lines.pop().unwrap_or_default();
    for line in lines {
        eprintln!("atp: {line}");
    }
    CliError::failed(last)
}

fn counted(number: usize) -> String {
    if number == 1 { "one thing is".into() } else { format!("{number} things are") }
}

fn name(source: &Source) -> String {
    source.path.as_ref().map_or_else(|| "the command line".into(), |path| path.display().to_string())
}

impl Show {
    fn run(self, output: &Output) -> Result<(), CliError> {
        let source = self.configuration.source_to_look_at();
        let loaded = source.read().map_err(|error| told(&error, output))?;
        let shown = |setting: &&Setting| self.effective || setting.from != Origin::Default;
        let settings: Vec<&Setting> = loaded.settings.iter().filter(shown).collect();
        if output.is_json() {
            return output::print_json(&json!({ "file": source.path, "settings": settings }));
        }
        output::print(&toml(&name(&source), &settings))
    }
}

/// As a file could say it.
fn toml(name: &str, settings: &[&Setting]) -> String {
    let mut text = format!("# {}\n", output::one_line(name));
    let mut section = String::new();
    for setting in settings {
        let (of, key) = setting
            .key
            .rsplit_once('.')
            .filter(|_| !setting.key.ends_with('"'))
            .unwrap_or(("", &setting.key));
        if of != section {
            section = of.to_owned();
            let _ = writeln!(text, "\n[{section}]");
        }
        let from = from(setting);
        let _ = match (setting.toml(), setting.secret) {
            (Some(value), _) => writeln!(text, "{key} = {}  # {from}", output::one_line(&value)),
            (None, true) => writeln!(text, "#{key} is a secret and not shown  # {from}"),
            (None, false) => writeln!(text, "#{key} is absent"),
        };
    }
    text
}

fn from(setting: &Setting) -> String {
    match (setting.from, setting.line) {
        (Origin::File, Some(line)) => format!("line {line}"),
        (Origin::File, None) => "file".into(),
        (Origin::CommandLine, _) => "command line or environment".into(),
        (Origin::Default, _) => "default".into(),
    }
}
