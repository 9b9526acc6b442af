//! Whose a new file is: what root makes in somebody's directory belongs to that somebody, so that the server of the
//! user `atp` can read what `sudo atp keys rotate` wrote.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, fchown, lchown};
use std::path::Path;

/// Gives a file that was just made to the owner of its directory, if root made it.
///
/// # Errors
/// The system's.
pub(super) fn inherit(file: &File, path: &Path) -> io::Result<()> {
    match heir(file.metadata()?.uid(), path)? {
        Some((user, group)) => fchown(file, Some(user), Some(group)),
        None => Ok(()),
    }
}

/// The same for a directory.
///
/// # Errors
/// The system's.
pub(super) fn inherit_directory(path: &Path) -> io::Result<()> {
    match heir(fs::symlink_metadata(path)?.uid(), path)? {
        Some((user, group)) => lchown(path, Some(user), Some(group)),
        None => Ok(()),
    }
}

/// The user and group that what root made at `path` belongs to. `None`: it stays whose it is.
fn heir(made_by: u32, path: &Path) -> io::Result<Option<(u32, u32)>> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let owner = fs::metadata(directory.unwrap_or(Path::new(".")))?;
    Ok((made_by == 0 && owner.uid() != 0).then(|| (owner.uid(), owner.gid())))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::chown;

    use crate::config::private;

    use super::*;

    #[test]
    fn what_root_makes_in_somebodys_directory_is_theirs() {
        const SOMEBODY: u32 = 12_345;
        let root = tempfile::tempdir().unwrap();
        if fs::metadata(root.path()).unwrap().uid() != 0 {
            // Only root can make a file of somebody else's.
            return;
        }
        chown(root.path(), Some(SOMEBODY), Some(SOMEBODY)).unwrap();
        let directory = root.path().join("a/b");
        private::create_dir(&directory).unwrap();
        private::write(&directory.join("one"), b"x").unwrap();
        private::write_new(&directory.join("two"), b"x").unwrap();
        for path in ["a", "a/b", "a/b/one", "a/b/two"] {
            let made = fs::metadata(root.path().join(path)).unwrap();
            assert_eq!((made.uid(), made.gid()), (SOMEBODY, SOMEBODY), "{path}");
        }
    }
}
