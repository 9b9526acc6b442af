//! What a server keeps beside its store and cannot do without: keys, certificates, tokens, accounts with authorities.

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::home::{Home, NodeDir};
use super::private::PrivateError;

/// Most files that are looked at.
const MAX_FILES: usize = 10_000;
/// Largest of them, in bytes; keys, certificates and tokens are far smaller.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Bytes of all of them.
pub const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Where these files are.
#[derive(Debug, Clone)]
pub struct StateFiles {
    home: Home,
    node: NodeDir,
}

impl StateFiles {
    /// Of the daemon in `node`.
    pub fn new(home: &Home, node: &NodeDir) -> StateFiles {
        StateFiles { home: home.clone(), node: node.clone() }
    }

    /// Every file that belongs to the daemon or one of its `domains`: its path below the state directory, and its
    /// content. The store, the ballast and what is being written are left out.
    ///
    /// # Errors
    /// [`PrivateError`] naming the file that cannot be read.
    pub fn read(&self, domains: &[String]) -> Result<Vec<(String, Vec<u8>)>, PrivateError> {
        let mut found = Vec::new();
        self.gather(self.node.root(), true, &mut found)?;
        for domain in domains {
            self.gather(&self.home.root().join("domains").join(domain), false, &mut found)?;
        }
        found.sort();
        Ok(found)
    }

    fn gather(
        &self,
        directory: &Path,
        is_node: bool,
        found: &mut Vec<(String, Vec<u8>)>,
    ) -> Result<(), PrivateError> {
        let io = |what, path: &Path| {
            let path = path.to_owned();
            move |cause| PrivateError::Io { what, path, cause }
        };
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(io("read", directory))?,
        };
        for entry in entries {
            let path = entry.map_err(io("read", directory))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            let kind = fs::symlink_metadata(&path).map_err(io("look at", &path))?;
            let left_out = is_node && (name == "ballast" || name == "store" || name.starts_with("store."));
            if left_out || name.starts_with('.') {
                continue;
            }
            // What an authority issued last is a link to one of the directories beside it.
            if kind.is_dir() || (kind.is_symlink() && leads_beside(&path)) {
                self.gather(&path, false, found)?;
            } else if kind.is_file() || kind.is_symlink() {
                if fs::metadata(&path).map_err(io("look at", &path))?.len() > MAX_FILE_BYTES
                    || found.len() >= MAX_FILES
                {
                    return Err(PrivateError::TooLarge { path });
                }
                let bytes = fs::read(&path).map_err(io("read", &path))?;
                let all: u64 = found.iter().map(|(_, bytes)| bytes.len() as u64).sum();
                if all + bytes.len() as u64 > MAX_BYTES {
                    return Err(PrivateError::TooLarge { path });
                }
                if let Ok(below) = path.strip_prefix(self.home.root())
                    && let Some(below) = below.to_str()
                {
                    found.push((below.to_owned(), bytes));
                }
            }
        }
        Ok(())
    }
}

/// Whether a link leads to a directory of its own directory: such links make no circles.
fn leads_beside(link: &Path) -> bool {
    let is_name = |target: &Path| {
        let mut parts = target.components();
        matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
    };
    fs::read_link(link).is_ok_and(|target| is_name(&target)) && link.is_dir()
}

/// Where a file of a backup goes: a path below the state directory that belongs to a daemon of these domains. `None`: it
/// has no business there.
pub fn placed(path: &str, domains: &[String]) -> Option<PathBuf> {
    let path = Path::new(path);
    let names: Vec<&str> = path
        .components()
        .map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect::<Option<_>>()?;
    match names.as_slice() {
        ["node", first, file, ..] => {
            (domains.first().map(String::as_str) == Some(first) && *file != "store").then(|| path.to_owned())
        }
        ["domains", domain, _, ..] => domains.iter().any(|known| known == domain).then(|| path.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::private;
    use crate::proto::address::Domain;

    #[test]
    fn what_belongs_to_a_server_is_found_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(root.path().into())).unwrap();
        let [a, b, c] = ["a.test", "b.test", "c.test"].map(|domain| Domain::parse(domain).unwrap());
        let node = home.node(&a);
        node.announce(&[a.clone(), b.clone()]).unwrap();
        for directory in
            [node.store(), home.domain(&a).keys(), home.domain(&c).keys(), node.root().join("acme")]
        {
            private::create_dir(&directory).unwrap();
            private::write(&directory.join("file"), b"x").unwrap();
        }
        private::write(&node.ballast(), b"big").unwrap();
        private::write(&node.root().join(".x.1.tmp"), b"half").unwrap();
        let found = StateFiles::new(&home, &node).read(&["a.test".into(), "b.test".into()]).unwrap();
        let paths: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["domains/a.test/keys/file", "node/a.test/acme/file", "node/a.test/node.toml"]);
        for (path, _) in &found {
            assert!(placed(path, &["a.test".into()]).is_some(), "{path}");
        }
    }

    #[test]
    fn an_issued_certificate_is_found_behind_its_link_and_circles_are_not_followed() {
        use std::os::unix::fs::symlink;
        let root = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(root.path().into())).unwrap();
        let node = home.node(&Domain::parse("a.test").unwrap());
        let issued = node.acme().join("issued-2");
        private::create_dir(&issued).unwrap();
        private::write(&issued.join("cert.pem"), b"chain").unwrap();
        symlink("issued-2", node.issued_certificate()).unwrap();
        let read = || StateFiles::new(&home, &node).read(&["a.test".into()]);
        let paths: Vec<String> = read().unwrap().into_iter().map(|(path, _)| path).collect();
        let wanted = ["node/a.test/acme/certificate/cert.pem", "node/a.test/acme/issued-2/cert.pem"];
        assert_eq!(paths, wanted);
        symlink("..", issued.join("up")).unwrap();
        assert!(read().is_err(), "a link that leads elsewhere is told, not followed");
    }

    #[test]
    fn a_backup_writes_nowhere_else() {
        let domains = ["a.test".to_owned(), "b.test".to_owned()];
        for path in [
            "/etc/passwd",
            "../x",
            "node/a.test/../../x",
            "node/b.test/admin-token",
            "node/a.test",
            "domains/c.test/keys/k",
            "node/a.test/store/db",
            "domains/a.test",
            "local/a.test.toml",
            "",
            ".",
            "domains/./a.test/x/../y",
        ] {
            assert_eq!(placed(path, &domains), None, "{path}");
        }
        assert!(placed("domains/b.test/keys/default.key", &domains).is_some());
    }
}
