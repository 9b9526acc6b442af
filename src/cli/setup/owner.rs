use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::User;

use super::site::Site;
use super::step::Step;
use crate::cli::error::CliError;

/// Most files and directories whose owner is set: a state directory has tens.
const MAX_ENTRIES: usize = 100_000;

/// The user the service runs as.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    name: String,
}

impl Owner {
    /// A user who may not exist yet.
    pub(super) fn named(name: &str) -> Result<Owner, CliError> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if name.is_empty() || name.starts_with('-') || !name.bytes().all(good) {
            return Err(CliError::usage(format!("{name:?} is not a user's name; give --user")));
        }
        Ok(Owner { name: name.to_owned() })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The user's group. `None`: there is no such user.
    pub(super) fn group(&self) -> Option<u32> {
        self.find().ok().flatten().map(|user| user.gid.as_raw())
    }

    fn find(&self) -> Result<Option<User>, CliError> {
        User::from_name(&self.name)
            .map_err(|error| CliError::failed(format!("cannot look up the user {}: {error}", self.name)))
    }

    /// Makes everything below a directory this user's.
    pub(super) fn give(&self, directory: &Path) -> Result<(), CliError> {
        let Some(user) = self.find()? else { return Ok(()) };
        let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
        let refused = |path: &Path, error: io::Error| {
            CliError::failed(format!("cannot give {} to the user {}: {error}", path.display(), self.name))
        };
        let mut left: Vec<PathBuf> = vec![directory.to_owned()];
        for _ in 0..MAX_ENTRIES {
            let Some(path) = left.pop() else { return Ok(()) };
            let metadata = fs::symlink_metadata(&path).map_err(|error| refused(&path, error))?;
            if metadata.uid() != uid || metadata.gid() != gid {
                lchown(&path, Some(uid), Some(gid)).map_err(|error| refused(&path, error))?;
            }
            if metadata.is_dir() {
                let entries = fs::read_dir(&path).map_err(|error| refused(&path, error))?;
                left.extend(entries.flatten().map(|entry| entry.path()));
            }
        }
        Ok(())
    }
}

/// Makes the service's user if there is none.
pub(super) fn ensure(site: &Site) -> Result<Vec<Step>, CliError> {
    let Some(owner) = &site.owner else { return Ok(Vec::new()) };
    if owner.find()?.is_some() {
        return Ok(vec![Step::kept(format!("the user {}", owner.name))]);
    }
    let made = Command::new("useradd")
        .args(["--system", "--user-group", "--shell", "/usr/sbin/nologin", "--home-dir"])
        .arg(site.home.root())
        .arg(&owner.name)
        .output();
    let why = match made {
        Ok(output) if output.status.success() => {
            return Ok(vec![Step::made(format!("the user {}", owner.name))]);
        }
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    Err(CliError::failed(format!(
        "cannot make the user {} (useradd: {why}); make it, or give --user",
        owner.name
    )))
}
