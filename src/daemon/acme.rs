//! Who sees to the certificate that an authority issues.

use std::net::TcpListener;
use std::sync::Arc;

use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::reload::{Commit, Part};
use crate::acme::{Handle, Parts, Runner};
use crate::config::Config;
use crate::config::home::NodeDir;
use crate::env::dns::authorities::Authorities;
use crate::env::dns::zone_servers::ZoneServers;
use crate::env::{BoxFuture, Env};
use crate::server::state::App;

/// Has certificates asked for, if the operator wants that. What is issued is shown by whoever watches the place it is
/// put. `socket`: for `http-01`, from the service manager.
pub(super) fn start(
    config: &Config,
    node: &NodeDir,
    app: &App,
    socket: Option<TcpListener>,
    chores: &mut JoinSet<()>,
) {
    let Some(wanted) = config.acme.clone() else { return };
    if let Some(files) = &config.server.certificate {
        let path = files.chain.display();
        tracing::warn!(%path, "server.cert is shown, not what the authority issues; leave server.cert and server.key out");
    }
    let env = &app.pipeline.env;
    let authorities = authorities(config, env);
    let parts = Parts { config: wanted, directory: node.acme(), env: env.clone(), authorities, socket };
    let (runner, handle) = Runner::new(parts);
    chores.spawn(runner.run().in_current_span());
    // This is the only place that sets it, once for each daemon.
    let _ = app.acme.set(handle);
}

/// The names in the certificate follow the configuration when it is read again.
pub(super) struct Followed(pub(super) Option<Handle>);

impl Part for Followed {
    fn prepare<'a>(&'a mut self, next: &'a Arc<Config>) -> BoxFuture<'a, Result<Commit, String>> {
        let wanted = self.0.clone().zip(next.acme.as_ref().map(|acme| acme.names.clone()));
        let commit = move || {
            if let Some((handle, names)) = wanted {
                handle.follow(&names);
            }
        };
        Box::pin(std::future::ready(Ok(Box::new(commit) as Commit)))
    }
}

/// `None`: there is no resolver that could say where the name servers of a zone are.
fn authorities(config: &Config, env: &Env) -> Option<Arc<dyn Authorities>> {
    let rng = Arc::clone(&env.rng);
    let found = match config.dns.servers.as_slice() {
        [] => ZoneServers::system(rng),
        servers => Ok(ZoneServers::found_by(servers, rng)),
    };
    found.ok().map(|servers| Arc::new(servers) as Arc<dyn Authorities>)
}
