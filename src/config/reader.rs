//! Whether the user of the service can read a file, where root looks at its configuration: root can read everything.

use std::ffi::CString;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{Gid, Uid, User, getgrouplist};

use super::service;

/// What the service sees nothing of, whoever may read it (`ProtectHome=`, `PrivateTmp=` of its unit).
const HIDDEN: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];
/// Permission bits, as they stand for all others.
const READ: u32 = 0o4;
const ENTER: u32 = 0o1;
/// Where a copy of a file is good to be.
const PLACE: &str = "/etc/atp";

/// The user a server runs as.
#[derive(Debug, Clone)]
pub struct Reader {
    name: String,
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    hidden: &'static [&'static str],
}

impl Reader {
    /// The service's user, where root asks. `None`: the service is somebody's who can look for himself, or there is none.
    pub fn of_service() -> Option<Reader> {
        let state = fs::metadata(service::STATE).ok()?;
        Reader::of(User::from_uid(Uid::from_raw(state.uid())).ok().flatten()?)
    }

    /// The user of this name, likewise.
    pub fn named(name: &str) -> Option<Reader> {
        Reader::of(User::from_name(name).ok().flatten()?)
    }

    fn of(user: User) -> Option<Reader> {
        if !nix::unistd::geteuid().is_root() || user.uid.is_root() {
            return None;
        }
        let groups =
            CString::new(user.name.as_str()).ok().and_then(|name| getgrouplist(&name, user.gid).ok());
        let groups = groups.unwrap_or_default().into_iter().map(Gid::as_raw).collect();
        let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
        Some(Reader { name: user.name, uid, gid, groups, hidden: &HIDDEN })
    }

    /// Whether this user can read a file that is there. `is_secret`: of others only its owner may.
    ///
    /// # Errors
    /// One sentence with the command that mends it.
    pub fn check(&self, path: &Path, is_secret: bool) -> Result<(), String> {
        let Ok(real) = fs::canonicalize(path) else { return Ok(()) };
        let (name, shown) = (&self.name, path.display());
        let copy = || {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            format!("run: install -o {name} -m 600 {shown} {PLACE}/{file}, and name that file")
        };
        if let Some(hidden) = self.hidden.iter().find(|hidden| real.starts_with(hidden)) {
            return Err(format!("the service sees nothing of {hidden}, and so not {shown}; {}", copy()));
        }
        let ways =
            path.ancestors().chain(real.ancestors()).skip(1).filter(|way| *way != path && *way != real);
        let closed = ways.filter(|way| way.is_absolute()).find(|way| !self.may(way, ENTER));
        if (closed.is_none() && self.may(&real, READ)) || self.can(path) {
            return Ok(());
        }
        let who = format!("the user {name}, as whom the server runs,");
        Err(match closed {
            Some(closed) => {
                format!("{who} may not enter {}, and so not read {shown}; {}", closed.display(), copy())
            }
            None if is_secret => format!("{who} may not read {shown}; run: chown {name}: {shown}"),
            None => format!("{who} may not read {shown}; run: chgrp {name} {shown} && chmod g+r {shown}"),
        })
    }

    /// What the bits of the mode say.
    fn may(&self, path: &Path, bit: u32) -> bool {
        fs::metadata(path).is_ok_and(|metadata| self.is_let(&metadata, bit))
    }

    fn is_let(&self, of: &Metadata, bit: u32) -> bool {
        let shift = match of {
            of if of.uid() == self.uid => 6,
            of if of.gid() == self.gid || self.groups.contains(&of.gid()) => 3,
            _ => 0,
        };
        of.mode() >> shift & bit != 0
    }

    /// What the system says, which knows of more than modes: access control lists.
    fn can(&self, path: &Path) -> bool {
        let mut test = Command::new("test");
        test.arg("-r").arg(path).uid(self.uid).gid(self.gid);
        test.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        test.status().is_ok_and(|status| status.success())
    }
}

/// The file or directory below `root` that this process may not open for writing, of those the first. `None`: it may
/// open all of them, as far as it has looked.
pub fn closed_to_us(root: &Path) -> Option<PathBuf> {
    /// More are not looked at: a state directory has tens.
    const MAX_ENTRIES: usize = 10_000;
    let mut left = vec![root.to_owned()];
    for _ in 0..MAX_ENTRIES {
        let path = left.pop()?;
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_dir() {
            match fs::read_dir(&path) {
                Ok(entries) => left.extend(entries.flatten().map(|entry| entry.path())),
                Err(_) => return Some(path),
            }
        } else if metadata.is_file() && fs::OpenOptions::new().read(true).write(true).open(&path).is_err() {
            return Some(path);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;

    /// Nobody on this machine has these.
    const USER: u32 = 43_210;
    const GROUP: u32 = 43_211;

    #[test]
    fn root_hears_what_the_service_cannot_read_and_how_to_mend_it() {
        if !nix::unistd::geteuid().is_root() {
            // Only root can make a file of somebody else's.
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let reader =
            Reader { name: "atp".into(), uid: USER, gid: USER, groups: vec![GROUP], hidden: &["/nowhere"] };
        let file = |path: &str, mode, owner, group| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "x").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            chown(&path, Some(owner), Some(group)).unwrap();
            path
        };
        let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        mode(root.path(), 0o755);
        for (mode, owner, group, is_good) in [
            (0o600, 0, 0, false),
            (0o640, 0, 0, false),
            (0o640, 0, GROUP, true),
            (0o640, 0, USER, true),
            (0o600, USER, 0, true),
            (0o644, 0, 0, true),
        ] {
            let path = file("key", mode, owner, group);
            let said = reader.check(&path, true);
            assert_eq!(said.is_ok(), is_good, "{mode:o} {owner} {group}: {said:?}");
            assert!(
                said.err().is_none_or(|said| said.ends_with(&format!("run: chown atp: {}", path.display())))
            );
        }
        let shared = reader.check(&file("shared", 0o600, 0, 0), false).unwrap_err();
        assert!(shared.contains("run: chgrp atp ") && shared.contains(" && chmod g+r "), "{shared}");
        // As certbot has it: a link from a directory to a file in another that only root may enter.
        let real = file("archive/key", 0o644, 0, 0);
        let link = root.path().join("link");
        symlink(&real, &link).unwrap();
        assert_eq!(reader.check(&link, true), Ok(()));
        mode(real.parent().unwrap(), 0o700);
        let said = reader.check(&link, true).unwrap_err();
        let remedy =
            format!("run: install -o atp -m 600 {} /etc/atp/link, and name that file", link.display());
        assert!(said.contains("may not enter") && said.ends_with(&remedy), "{said}");
        let hidden = Reader { hidden: &["/tmp", "/var", "/root", "/home"], ..reader };
        assert!(hidden.check(Path::new("/var/tmp"), true).unwrap_err().contains("sees nothing of /var"));
    }

    #[test]
    fn what_is_closed_is_named() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("a")).unwrap();
        fs::write(root.path().join("a/b"), "x").unwrap();
        assert_eq!(closed_to_us(root.path()), None);
        if !nix::unistd::geteuid().is_root() {
            fs::set_permissions(root.path().join("a/b"), Permissions::from_mode(0o000)).unwrap();
            assert_eq!(closed_to_us(root.path()), Some(root.path().join("a/b")));
        }
    }
}
