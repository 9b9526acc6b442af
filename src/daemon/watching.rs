//! What those who watch the server are served: the admin listener, and what the gauges are fed with.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::StartError;
use super::keys::Keys;
use crate::acme::State;
use crate::config::Config;
use crate::counters::{AcmeState, CertificateState, Gauges, KeyState};
use crate::proto::address::Domain;
use crate::proto::time::UnixMillis;
use crate::server::state::App;
use crate::server::tls::{CertificateSummary, Certificates};
use crate::server::{listen, observer, routes};
use crate::sign::KeysSummary;

/// The admin listener, if one is wanted, on the socket of the service manager if it has handed one over; its address is logged.
pub(super) fn serve(
    config: &Config,
    handed_over: Option<std::net::TcpListener>,
    app: &Arc<App>,
    serving: &mut JoinSet<()>,
    stopping: &watch::Receiver<bool>,
) -> Result<(), StartError> {
    let Some(wanted) = config.admin.listen else { return Ok(()) };
    let failed = |error| StartError::bind(wanted.ip(), wanted.port(), error);
    let listener = match handed_over {
        Some(socket) => TcpListener::from_std(socket).map_err(failed)?,
        None => listen::bind(wanted.ip(), wanted.port()).map_err(failed)?,
    };
    let address = listener.local_addr().map_err(failed)?;
    if address != wanted && wanted.port() != 0 {
        tracing::warn!(
            admin = %address,
            "admin.listen is {wanted}, but the service manager's socket counts; set ListenStream= in its unit"
        );
    }
    tracing::info!(admin = %address, "metrics and the operator's calls are served there");
    if !address.ip().is_loopback() {
        tracing::warn!(admin = %address, "the admin listener speaks plain HTTP: tokens cross the network readable");
    }
    let served = observer::serve(listener, routes::admin(Arc::clone(app)), stopping.clone());
    serving.spawn(served.in_current_span());
    Ok(())
}

/// Whether there is a resolver, if one is needed: special-use domains do without.
pub(super) fn has_resolver(config: &Config, has: bool) -> Option<bool> {
    let needs = !config.dns.servers.is_empty() || !config.domains().iter().all(Domain::is_special_use);
    needs.then_some(has)
}

/// The keys as they were when somebody last looked.
pub(super) type ShownKeys = ArcSwap<Vec<KeysSummary>>;

/// Has the gauges ask for the keys, which whoever follows them puts there.
pub(super) fn feed_keys(gauges: &Gauges, keys: &Keys) -> Arc<ShownKeys> {
    let shown = Arc::new(ShownKeys::from_pointee(keys.summaries()));
    let source = Arc::clone(&shown);
    gauges.feed_keys(move || {
        let state = |key: &KeysSummary| KeyState {
            domain: key.domain.to_string(),
            selector: key.selector.clone(),
            state: key.state.as_str(),
            expires: key.expires.map(UnixMillis::from_seconds),
        };
        source.load().iter().map(state).collect()
    });
    shown
}

/// Has the gauges ask whoever asks an authority for certificates, if somebody does.
pub(super) fn feed_acme(app: &App) {
    let Some(handle) = app.acme.get().cloned() else { return };
    app.gauges.feed_acme(move || {
        let State { certificate, renew_at, next_attempt, failures, last_error, hindered, .. } =
            handle.state();
        Some(AcmeState {
            renewed: certificate.map(|certificate| certificate.not_before),
            due: renew_at,
            hindered,
            next: Some(next_attempt).filter(|_| hindered.is_none()),
            failures: failures.into(),
            last_error,
        })
    });
}

/// Has the gauges ask for the certificates that are shown.
pub(super) fn feed(gauges: &Gauges, certificates: &Arc<Certificates>, config: &Config) {
    let (first, certificates) = (config.first_domain().clone(), Arc::clone(certificates));
    gauges.feed_certificates(move || {
        let state = |shown: CertificateSummary| CertificateState {
            is_public: shown.is_public(),
            domain: shown.domain.as_ref().unwrap_or(&first).to_string(),
            expires: shown.not_after,
            is_own: shown.is_own,
            trouble: shown.trouble,
        };
        certificates.summary().into_iter().map(state).collect()
    });
}
