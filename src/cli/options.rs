//! Flags that several commands have.

use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;

use super::error::CliError;
use crate::config::home::Home;
use crate::secret::Secret;

/// What is said where no server is named.
pub(super) const NO_SERVER: &str = "which server? give --server or set ATP_SERVER";

/// Which server, and how far to trust it.
#[derive(Args, Clone)]
pub(super) struct ServerOptions {
    /// The server: HOST, HOST:PORT, https://HOST or http://HOST; port 7443 unless given
    #[arg(long, env = "ATP_SERVER", value_name = "SERVER")]
    pub server: Option<String>,
    /// Do not verify the server's certificate, nor ask before an unencrypted connection
    #[arg(long, env = "ATP_NO_VERIFY", value_parser = FalseyValueParser::new())]
    pub no_verify: bool,
    /// PEM file of the only certificate authorities to trust; without meaning beside --no-verify
    #[arg(long, env = "ATP_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Whether DNS named it, and not the user: then only a good certificate will do.
    #[arg(skip)]
    pub is_found: bool,
}

impl ServerOptions {
    /// Whether a server is named.
    pub fn is_given(&self) -> bool {
        self.server.as_ref().is_some_and(|text| !text.is_empty())
    }

    /// The server's text; most commands cannot do without.
    pub fn server(&self) -> Result<&str, CliError> {
        let missing = || CliError::usage(NO_SERVER);
        self.server.as_deref().filter(|text| !text.is_empty()).ok_or_else(missing)
    }
}

/// The operator's token.
#[derive(Args, Clone)]
pub(super) struct AdminOptions {
    /// The operator's token; the server says at its start where it keeps it
    #[arg(long, env = "ATP_ADMIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub admin_token: Option<Secret>,
}

impl AdminOptions {
    /// The token; the operator's calls cannot do without.
    pub fn token(&self) -> Result<&Secret, CliError> {
        let missing = || CliError::usage("no admin token; give --admin-token or set ATP_ADMIN_TOKEN");
        self.admin_token.as_ref().filter(|token| !token.is_empty()).ok_or_else(missing)
    }
}

/// Where state is kept.
#[derive(Args, Clone)]
pub(super) struct HomeOptions {
    /// Directory of keys and state [default: ~/.atp; for root and the service's user /var/lib/atp, if /etc/atp/atp.toml is there]
    #[arg(long, env = "ATP_HOME", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

impl HomeOptions {
    /// Where a server's state is, which may not exist yet.
    pub fn home(&self) -> Result<Home, CliError> {
        Ok(Home::locate(self.state_dir.clone())?)
    }

    /// Where the user's own things are, such as identities; it may not exist yet.
    pub fn of_user(&self) -> Result<Home, CliError> {
        Ok(Home::of_user(self.state_dir.clone())?)
    }
}
