//! What a server on this machine would ask and trust, for commands that look at the world on its behalf.

use std::fs::File;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::error::CliError;
use crate::config::{self, Config, Overrides as Flags, service};
use crate::env::dns::hickory::{HickoryResolver, LOOKUP_TIMEOUT};
use crate::env::dns::layered::LayeredResolver;
use crate::env::dns::overrides::Overrides;
use crate::env::dns::zone_servers::ZoneServers;
use crate::env::local::LocalDirectory;
use crate::env::rng::SystemRng;
use crate::sign::Key;
use crate::sign::publication::{self, Witness};

/// The server's configuration.
#[derive(Args, Clone)]
pub(super) struct ServerFile {
    /// The server's configuration file [default: /etc/atp/atp.toml if it is there]
    #[arg(long, env = "ATP_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ServerFile {
    /// What it says. `None`: no file was named, and there is none at the usual place that we may read.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(&self) -> Result<Option<Config>, CliError> {
        let usual = || service::config().filter(|path| is_readable(path));
        match self.config.clone().or_else(usual) {
            Some(path) => Ok(Some(config::load(Some(&path), Flags::default())?)),
            None => Ok(None),
        }
    }
}

/// Whether the usual file counts. Somebody who may not read it may still look after a server of their own.
fn is_readable(path: &Path) -> bool {
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            eprintln!("atp: {} may not be read and counts for nothing here; try as root", path.display());
            false
        }
        opened => opened.is_ok(),
    }
}

/// Whom to ask for names.
pub(super) struct Names {
    /// As everybody asks.
    pub resolver: HickoryResolver,
    /// Each name server for itself.
    pub zones: ZoneServers,
    /// What the server is told instead.
    pub overrides: Overrides,
    /// Whether the resolvers were named, so that special-use names are asked of DNS too.
    pub explicit: bool,
}

impl Names {
    /// The resolvers given, else those of the configuration, else the system's.
    ///
    /// # Errors
    /// What cannot be set up or read.
    pub fn of(given: &[SocketAddr], config: Option<&Config>) -> Result<Names, CliError> {
        let of_config = || config.map(|config| config.dns.servers.as_slice()).unwrap_or_default();
        let servers = if given.is_empty() { of_config() } else { given };
        let rng = Arc::new(SystemRng);
        let (resolver, zones) = match servers {
            [] => (HickoryResolver::system(), ZoneServers::system(rng)),
            servers => {
                let resolver = HickoryResolver::with_servers(servers, LOOKUP_TIMEOUT);
                (resolver, Ok(ZoneServers::found_by(servers, rng)))
            }
        };
        let file = config.and_then(|config| config.dns.overrides.as_deref());
        Ok(Names {
            resolver: resolver.map_err(CliError::failed)?,
            zones: zones.map_err(CliError::failed)?,
            overrides: file.map(Overrides::load).transpose().map_err(CliError::failed)?.unwrap_or_default(),
            explicit: !servers.is_empty(),
        })
    }

    /// Whether this machine itself decides when a key signs.
    pub fn is_nearby(&self, key: &Key) -> bool {
        publication::is_nearby(key, &self.overrides, self.explicit)
    }

    /// Whom to ask whether a key can be seen.
    pub fn witness(self, local: LocalDirectory) -> Witness {
        let Names { resolver, zones, overrides, explicit } = self;
        Witness {
            names: Arc::new(LayeredResolver::new(overrides.clone(), Some(local), Some(resolver), explicit)),
            authorities: Arc::new(zones),
            overrides,
            explicit,
        }
    }
}
