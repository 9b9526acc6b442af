//! The certificates of the public listener, followed while the server runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::StartError;
use super::local::Neighbours;
use crate::config::Config;
use crate::config::home::{Home, NodeDir};
use crate::env::Env;
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
