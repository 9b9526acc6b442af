//! The service of this machine: where the package and `atp setup` put it, and who is in charge of it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Its configuration.
pub const CONFIG: &str = "/etc/atp/atp.toml";
/// Its state.
pub const STATE: &str = "/var/lib/atp";

/// Where the service's state is, if whoever runs this program is in charge of it: root, or the user it runs as. `None`:
/// there is no service here, or it is somebody else's.
pub fn state_in_charge() -> Option<PathBuf> {
    let state = std::fs::metadata(STATE).ok()?;
    let user = nix::unistd::geteuid();
    let in_charge = user.is_root() || user.as_raw() == state.uid();
    (in_charge && Path::new(CONFIG).exists()).then(|| STATE.into())
}

/// Whether there is a service here that whoever runs this program is not in charge of.
pub fn is_anothers() -> bool {
    Path::new(STATE).exists() && Path::new(CONFIG).exists() && state_in_charge().is_none()
}

/// The configuration of the service, if it is there.
pub fn config() -> Option<PathBuf> {
    Path::new(CONFIG).exists().then(|| CONFIG.into())
}

/// The same for a server that is started by hand: on a machine with a service, another user's has nothing to do with it.
pub fn config_in_charge() -> Option<PathBuf> {
    config().filter(|_| state_in_charge().is_some() || !Path::new(STATE).exists())
}
