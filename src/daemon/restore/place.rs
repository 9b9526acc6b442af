//! Directories that take the place of others, and are on the disk when they do.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{RestoreError, at};
use crate::config::private;

/// Called before each step that changes something.
pub(super) type Before<'a> = dyn FnMut(&'static str) -> Result<(), RestoreError> + 'a;

/// Puts `from` in the place of `to`. What is there changes places with it in one step, by which it comes to lie in `aside`
/// and nowhere else: whatever is staged may be removed at any time.
pub(super) fn place(
    from: &Path,
    to: &Path,
    aside: &Path,
    before: &mut Before<'_>,
) -> Result<(), RestoreError> {
    if let Some(parent) = to.parent() {
        private::create_dir(parent)?;
    }
    if to.exists() {
        private::create_dir(aside)?;
        let beside = aside.join(to.file_name().unwrap_or_default());
        fs::rename(from, &beside).map_err(at(aside))?;
        let exchanged = before("changing places").and_then(|()| {
            renameat_with(CWD, &beside, CWD, to, RenameFlags::EXCHANGE).map_err(|error| at(to)(error.into()))
        });
        if exchanged.is_err() {
            // What lies aside is to be what was there before. The error is what matters.
            let _ = fs::rename(&beside, from);
        }
        exchanged?;
        before("what was there lies aside")?;
        sync_directory(aside)?;
    } else {
        fs::rename(from, to).map_err(at(to))?;
    }
    to.parent().map_or(Ok(()), sync_directory)
}

/// Whether two directories hold the same.
pub(super) fn same(one: &Path, other: &Path) -> bool {
    let list = |path: &Path| {
        let names = fs::read_dir(path).ok()?.map(|entry| Some(entry.ok()?.file_name()));
        names.collect::<Option<std::collections::BTreeSet<_>>>()
    };
    if one.is_dir() && other.is_dir() {
        let names = list(one);
        return names.is_some()
            && names == list(other)
            && names.into_iter().flatten().all(|name| same(&one.join(&name), &other.join(&name)));
    }
    one.is_file() && other.is_file() && fs::read(one).ok() == fs::read(other).ok()
}

pub(super) fn remove(directory: &Path) -> Result<(), RestoreError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done.map_err(at(directory)),
    }
}

pub(super) fn sync_tree(directory: &Path) -> Result<(), RestoreError> {
    for entry in fs::read_dir(directory).map_err(at(directory))? {
        let path = entry.map_err(at(directory))?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            File::open(&path).and_then(|file| file.sync_all()).map_err(at(&path))?;
        }
    }
    sync_directory(directory)
}

fn sync_directory(directory: &Path) -> Result<(), RestoreError> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(at(directory))
}
