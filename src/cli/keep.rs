//! What backup, restore, verify, export and import share: which server, running or stopped.

use std::path::Path;

use clap::Args;

use super::control;
use super::error::CliError;
use super::http::Client;
use super::options::HomeOptions;
use crate::config::home::{Home, NodeDir};
use crate::daemon::keep::KeepError;
use crate::proto::address::Domain;

/// Which server.
#[derive(Args)]
pub(super) struct At {
    /// A domain of the server; may be left out if only one server has run here
    #[arg(long, env = "ATP_DOMAIN", value_name = "DOMAIN")]
    pub domain: Option<String>,
    #[command(flatten)]
    pub home: HomeOptions,
}

/// A server, and whether it runs.
pub(super) enum Found {
    /// It answers on its control socket.
    Running(Client),
    /// It does not; its state is here.
    Stopped(Home, NodeDir),
}

impl At {
    /// The server that is meant, asked whether it runs.
    pub async fn find(&self) -> Result<Found, CliError> {
        let home = self.home.home()?;
        let domain = self.domain.as_deref().filter(|text| !text.is_empty()).map(|text| {
            Domain::parse(text).map_err(|error| CliError::usage(format!("--domain {text:?}: {error}")))
        });
        let domain = domain.transpose()?;
        let node = match &domain {
            Some(domain) => home.node_of(domain).ok(),
            None => control::only_node(&home).unwrap_or(None),
        };
        match node {
            Some(node) if !answers(&node.control_socket()).await => Ok(Found::Stopped(home, node)),
            _ => Ok(Found::Running(control::client_of(&home, domain.as_ref())?)),
        }
    }
}

async fn answers(socket: &Path) -> bool {
    tokio::net::UnixStream::connect(socket).await.is_ok()
}

/// Why the store of a stopped server cannot be read, and what to do.
pub(super) fn explained(store: &Path, error: &KeepError) -> CliError {
    let path = store.display();
    CliError::failed(match error {
        KeepError::InUse => format!(
            "the store {path} is in use, and no server answers on its control socket; try again in a moment"
        ),
        KeepError::Absent => format!("there is no store in {path}"),
        KeepError::Store(error) => {
            format!("the store {path} cannot be read: {error}; see docs/durability.md")
        }
        KeepError::Private(_) | KeepError::Out(_) => error.to_string(),
    })
}

/// A size to read: three digits are enough.
pub(super) fn size(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}
