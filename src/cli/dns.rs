//! `atp dns generate` and `check`

use clap::{Args, Subcommand};

use super::as_server::ServerFile;
use super::error::CliError;
use super::options::HomeOptions;
use super::output::Output;
use crate::config::Config;
use crate::config::home::Home;
use crate::proto::address::Domain;
use crate::sign::Keyring;

mod check;
mod generate;
mod target;

/// Print and check a domain's DNS records.
#[derive(Subcommand)]
pub(super) enum Dns {
    /// Print the records to publish; makes a domain's first key if there is none
    Generate(generate::Generate),
    /// Compare what name servers and resolvers answer with what the server needs
    Check(check::Check),
}

/// Which domains.
#[derive(Args)]
pub(super) struct Domains {
    /// The domain; may be repeated [default: those of --config; check: without it, those of the state directory]
    #[arg(long, env = "ATP_DOMAIN", value_name = "DOMAIN", num_args = 1.., value_delimiter = ',')]
    domain: Vec<Domain>,
    #[command(flatten)]
    file: ServerFile,
    #[command(flatten)]
    home: HomeOptions,
}

impl Dns {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        match self {
            Dns::Generate(generate) => generate.run(output),
            Dns::Check(check) => check.run(output).await,
        }
    }
}

impl Domains {
    /// Those named, else those of the configuration, else, if `kept`, those of the state directory.
    fn list(&self, config: Option<&Config>, kept: bool) -> Result<Vec<Domain>, CliError> {
        if !self.domain.is_empty() {
            return Ok(self.domain.clone());
        }
        self.every(config, kept)
    }

    /// Those of the configuration, else, if `kept`, those of the state directory.
    fn every(&self, config: Option<&Config>, kept: bool) -> Result<Vec<Domain>, CliError> {
        let domains = match config {
            Some(config) => config.domains().to_vec(),
            None if kept => in_home(&self.home.home()?),
            None => return Err(CliError::usage("which domain? give --domain, or --config")),
        };
        match domains.is_empty() {
            true => Err(CliError::usage(
                "the state directory has no domain; give --domain, --config or --state-dir",
            )),
            false => Ok(domains),
        }
    }

    fn ring(&self, domain: &Domain) -> Result<Keyring, CliError> {
        let directory = self.home.home()?.domain(domain).keys();
        Ok(Keyring::open(domain.clone(), &directory)?)
    }
}

/// Every domain this home holds state of.
fn in_home(home: &Home) -> Vec<Domain> {
    let Ok(entries) = std::fs::read_dir(home.root().join("domains")) else { return Vec::new() };
    let mut domains: Vec<Domain> =
        entries.flatten().filter_map(|entry| Domain::parse(entry.file_name().to_str()?).ok()).collect();
    domains.sort();
    domains
}
