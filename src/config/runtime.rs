//! The runtime directory: where a service manager lets a daemon keep its sockets, for others than its own user too.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::proto::address::Domain;

/// What systemd names it in.
const VARIABLE: &str = "RUNTIME_DIRECTORY";
/// Where our service's is.
const OF_THE_SERVICE: &str = "/run/atp";
/// What sockets' names end in.
const SOCKET: &str = "sock";
/// Most sockets that are looked for.
const MAX_SOCKETS: usize = 1000;

/// A directory of sockets, one a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeDir {
    root: PathBuf,
}

/// The directory this process was given. `None`: none.
pub fn given() -> Option<RuntimeDir> {
    let names = std::env::var_os(VARIABLE)?;
    // Of several, separated by colons, the first is the main one (systemd.exec(5)).
    let root = std::env::split_paths(&names).next().filter(|path| path.is_absolute())?;
    Some(RuntimeDir { root })
}

/// The directory to look for a running daemon in: the one this process was given, else that of our service.
pub fn likely() -> RuntimeDir {
    given().unwrap_or_else(|| RuntimeDir { root: OF_THE_SERVICE.into() })
}

impl RuntimeDir {
    /// The socket of the daemon whose first domain this is.
    pub fn socket(&self, first_domain: &Domain) -> PathBuf {
        self.root.join(format!("{first_domain}.{SOCKET}"))
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether it is our service's.
    pub fn is_of_the_service(&self) -> bool {
        self.root == Path::new(OF_THE_SERVICE)
    }

    /// Whether it is there, and we may not look into it.
    pub fn is_closed(&self) -> bool {
        std::fs::read_dir(&self.root).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    }

    /// The sockets that are there, in order.
    pub fn sockets(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(&self.root) else { return Vec::new() };
        let paths = entries.flatten().take(MAX_SOCKETS).map(|entry| entry.path());
        let mut found: Vec<_> = paths.filter(|path| is_socket(path)).collect();
        found.sort();
        found
    }
}

fn is_socket(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == SOCKET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_found_by_their_names() {
        let directory = tempfile::tempdir().unwrap();
        let runtime = RuntimeDir { root: directory.path().into() };
        assert_eq!(runtime.sockets(), Vec::<PathBuf>::new());
        let (a, b) = (Domain::parse("a.test").unwrap(), Domain::parse("b.test").unwrap());
        for path in [runtime.socket(&b), runtime.socket(&a), directory.path().join("else")] {
            std::fs::write(path, "").unwrap();
        }
        assert_eq!(runtime.sockets(), [runtime.socket(&a), runtime.socket(&b)]);
    }
}
