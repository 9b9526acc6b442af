//! What a server stands on, opened in the order in which mistakes are found out: the store with its lock, the port,
//! the outside world, the control sockets.

use std::sync::Arc;

use tokio::net::TcpListener;

use super::{Sockets, StartError, outside, room, store};
use crate::config::home::{Home, NodeDir};
use crate::config::runtime::{self, RuntimeDir};
use crate::config::{Config, checked};
use crate::counters::Counters;
use crate::env::ballast::Ballast;
use crate::env::local::LocalDirectory;
use crate::env::machine::LinuxMachine;
use crate::guard::Guard;
use crate::server::control::{self, ControlSocket};

/// Everything opened; nothing is served yet.
pub(super) struct Ground {
    pub(super) node: NodeDir,
    pub(super) mailboxes: Arc<room::Mailboxes>,
    pub(super) store: store::Opened,
    pub(super) ballast: Arc<Ballast>,
    pub(super) guard: Guard,
    pub(super) listener: TcpListener,
    /// Where servers on this machine find one another.
    pub(super) local: LocalDirectory,
    pub(super) outside: outside::Outside,
    /// The operator's sockets: in the state directory, and where there is one in the runtime directory.
    pub(super) controls: Vec<ControlSocket>,
    /// Where challenges of an authority are answered. `None`: we open it ourselves, if it is wanted.
    pub(super) acme_http: Option<std::net::TcpListener>,
    /// Where the operator calls over HTTP. `None`: we open it ourselves, if it is wanted.
    pub(super) admin_socket: Option<std::net::TcpListener>,
    pub(super) counters: Arc<Counters>,
    pub(super) machine: Arc<LinuxMachine>,
}

impl Ground {
    pub(super) async fn open(
        config: &Arc<Config>,
        home: &Home,
        mut sockets: Sockets,
    ) -> Result<Ground, StartError> {
        home.create()?;
        if let Some(notice) = home.foreign_notice() {
            tracing::info!("{notice}");
        }
        let node = home.node(config.first_domain());
        // The store's lock comes first: what follows must not disturb a server that is running.
        let ballast = Arc::new(Ballast::new(node.ballast()));
        let counters = Arc::new(Counters::default());
        let mailboxes = Arc::new(room::Mailboxes::new(Arc::clone(config)));
        let limits = Arc::clone(&mailboxes) as _;
        let store = store::open(&node.store(), Arc::clone(&ballast), limits, &counters)
            .await
            .map_err(|error| error.or_closed(home.root()))?;
        node.announce(config.domains())?;
        let listener = sockets.public(config)?;
        let is_http = |acme: &checked::Acme| matches!(acme.challenge, checked::Challenge::Http(_));
        let acme_http =
            config.acme.as_ref().filter(|acme| is_http(acme)).and_then(|_| sockets.acme_http.take());
        let admin_socket = config.admin.listen.and_then(|_| sockets.admin.take());
        sockets.tell_unserved();
        let local = LocalDirectory::new(home.root());
        let outside = outside::Outside::new(config, &local, &counters, None)?;
        let machine = Arc::new(LinuxMachine::new(node.store()));
        let guard = Guard::new(room::limits(&config.guard), machine.clone(), Arc::clone(&ballast));
        // Before keys are made: a path too long for a socket is found out here.
        let controls = controls(config, &node)?;
        Ok(Ground {
            node,
            mailboxes,
            store,
            ballast,
            guard,
            listener,
            local,
            outside,
            controls,
            acme_http,
            admin_socket,
            counters,
            machine,
        })
    }
}

fn controls(config: &Config, node: &NodeDir) -> Result<Vec<ControlSocket>, StartError> {
    let own = control::bind(&node.control_socket())
        .map_err(|error| StartError::Control { path: node.control_socket(), error })?;
    let shared = runtime::given().and_then(|directory| shared_control(&directory, config));
    Ok([Some(own), shared].into_iter().flatten().collect())
}

/// The socket that the group `atp` reaches too. `None`: it cannot be made, and only our own user and root command.
fn shared_control(directory: &RuntimeDir, config: &Config) -> Option<ControlSocket> {
    let path = directory.socket(config.first_domain());
    match control::bind_for_group(&path) {
        Ok(socket) => Some(socket),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "no control socket in the runtime directory");
            None
        }
    }
}
