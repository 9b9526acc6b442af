//! The certificates of the public listener, followed while the server runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::StartError;
use super::local::Neighbours;
use super::reload::{Commit, Part};
use crate::config::Config;
use crate::config::home::{Home, NodeDir};
use crate::env::{BoxFuture, Env};
use crate::server::tls::{Certificates, Places};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) fn open(
    config: &Config,
    home: &Home,
    node: &NodeDir,
    env: &Env,
) -> Result<Arc<Certificates>, StartError> {
    let places = Places { own: home.domain(config.first_domain()).tls(), issued: node.issued_certificate() };
    Ok(Arc::new(Certificates::open(config, places, Arc::clone(&env.clock))?))
}

/// Certificates follow the configuration when it is read again.
pub(super) struct Followed(pub(super) Arc<Certificates>);

impl Part for Followed {
    fn prepare<'a>(&'a mut self, next: &'a Arc<Config>) -> BoxFuture<'a, Result<Commit, String>> {
        Box::pin(async move {
            let (certificates, next) = (Arc::clone(&self.0), Arc::clone(next));
            let preparing = tokio::task::spawn_blocking(move || {
                let prepared = certificates.prepare(&next).map_err(|error| error.to_string())?;
                Ok(Box::new(move || certificates.commit(prepared)) as Commit)
            });
            preparing.await.map_err(|error| error.to_string())?
        })
    }
}

/// Takes up what is new in the files, and tells neighbours on this machine.
pub(super) async fn watch(certificates: Arc<Certificates>, neighbours: Neighbours) {
    loop {
        sleep(LOOK_EVERY).await;
        let looked = Arc::clone(&certificates);
        // Files may be on a disk that is slow.
        if tokio::task::spawn_blocking(move || looked.look()).await.is_err() {
            return;
        }
        // Also what a reload or an authority has changed meanwhile.
        neighbours.show(&certificates);
    }
}
