//! `atp dns generate` and `check`

use clap::{Args, Subcommand};

use super::as_server::ServerFile;
use super::control;
use super::error::CliError;
use super::options::HomeOptions;
use super::output::Output;
use crate::config::Config;
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
            Dns::Generate(generate) => generate.run(output).await,
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
            None if kept => self.home.home()?.domains(),
            None => return Err(CliError::usage("which domain? give --domain, or --config")),
        };
        match domains.is_empty() {
            true => Err(CliError::usage(
                "the state directory has no domain; give --domain, --config or --state-dir",
            )),
            false => Ok(domains),
        }
    }

    /// Refuses to make the first key of a domain that another state directory of this machine has the keys of.
    async fn may_make_key(&self, domain: &Domain) -> Result<(), CliError> {
        control::served_here(&self.home.home()?, domain).await
    }

    fn ring(&self, domain: &Domain) -> Result<Keyring, CliError> {
        let directory = self.home.home()?.domain(domain).keys();
        Ok(Keyring::open(domain.clone(), &directory)?)
    }
}
