//! Whose a directory's content is: what root makes in somebody's directory is given to that somebody, so that the server of
//! the user `atp` can open the store that root has looked at, rewritten or restored.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::Path;

use nix::unistd::geteuid;

/// Gives what root has made in `tree`, and `tree` itself, to the owner of `whose`. Does nothing for other users, or where
/// that is root.
///
/// # Errors
/// The system's.
pub fn give(tree: &Path, whose: &Path) -> io::Result<()> {
    let owner = fs::metadata(whose)?;
    if !geteuid().is_root() || owner.uid() == 0 {
        return Ok(());
    }
    let mut waiting = vec![tree.to_owned()];
    while let Some(path) = waiting.pop() {
        let found = match fs::symlink_metadata(&path) {
            // Somebody has removed it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            found => found?,
        };
        if found.is_dir() {
            for entry in fs::read_dir(&path)? {
                waiting.push(entry?.path());
            }
        }
        // What has a second name may be a file from elsewhere that its owner must not get.
        if found.uid() == 0 && (found.is_dir() || found.nlink() == 1) {
            lchown(&path, Some(owner.uid()), Some(owner.gid()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::chown;

    use super::*;

    #[test]
    fn what_root_makes_is_theirs_and_what_has_two_names_is_not() {
        const SOMEBODY: u32 = 12_345;
        if !geteuid().is_root() {
            // Only root can give anything away.
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let (tree, elsewhere) = (place.path().join("tree"), place.path().join("elsewhere"));
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::write(tree.join("a/b/file"), "x").unwrap();
        fs::write(&elsewhere, "root's").unwrap();
        fs::hard_link(&elsewhere, tree.join("linked")).unwrap();
        let uid = |path: &Path| fs::symlink_metadata(path).unwrap().uid();
        give(&tree, &tree).unwrap();
        assert_eq!(uid(&tree.join("a")), 0, "root's own stays root's");
        chown(&tree, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
        give(&tree, &tree).unwrap();
        assert!(["", "a", "a/b", "a/b/file"].iter().all(|path| uid(&tree.join(path)) == SOMEBODY));
        assert_eq!(uid(&elsewhere), 0);
    }
}
