//! Files that appear whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::error::CliError;

/// How often it is begun again because another process took what we had just begun for what an ended one has left.
const ATTEMPTS: usize = 5;

/// A file beside the one it becomes; removed if it does not. For as long as it is written it is locked, so that the next
/// one knows what a process that was killed has left.
pub(super) struct Unfinished {
    /// What it is written through.
    pub file: File,
    /// `None`: it has got its name.
    path: Option<PathBuf>,
    target: PathBuf,
    overwrite: bool,
}

impl Unfinished {
    /// Begins it, for nobody's eyes but the user's. Only with `overwrite` may `target` be there, and only as a file.
    pub fn create(target: &Path, overwrite: bool) -> Result<Unfinished, CliError> {
        vacant(target, overwrite)?;
        let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        remove_left(target, &name);
        let path = target.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
        let file = begin(&path).map_err(|error| {
            let directory = directory_of(target).display();
            CliError::failed(match error.kind() {
                io::ErrorKind::NotFound => {
                    format!("there is no directory {directory}; make it with: install -d -m 700 {directory}")
                }
                _ => format!("cannot write {}: {error}", path.display()),
            })
        })?;
        Ok(Unfinished { file, path: Some(path), target: target.to_owned(), overwrite })
    }

    /// Syncs it and gives it its name.
    pub fn keep(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        if let Some(path) = &self.path {
            name_it(path, &self.target, self.overwrite)?;
        }
        self.path = None;
        File::open(directory_of(&self.target))?.sync_all()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // What stays has another name than a backup, and goes with the next.
            let _ = fs::remove_file(path);
        }
    }
}

/// Whether something may be written under that name.
fn vacant(target: &Path, overwrite: bool) -> Result<(), CliError> {
    let path = target.display();
    if target.file_name().is_none() {
        return Err(CliError::usage(format!("{path} is a directory; name a file in it")));
    }
    // Not followed: what a link or a device leads to is nothing to replace.
    let Ok(there) = fs::symlink_metadata(target) else { return Ok(()) };
    let kind = there.file_type();
    Err(CliError::usage(match () {
        () if kind.is_dir() => format!("{path} is a directory; name a file in it"),
        () if kind.is_symlink() => format!("{path} is a symbolic link; name the file that is to be written"),
        () if !kind.is_file() => format!("{path} is no file; write to - and redirect the output to it"),
        () if overwrite => return Ok(()),
        () => format!("{path} is there already; name another file, or give --overwrite"),
    }))
}

fn begin(path: &Path) -> io::Result<File> {
    for _ in 0..ATTEMPTS {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let is_ours = file.try_lock().is_ok()
            && fs::symlink_metadata(path)
                .is_ok_and(|there| file.metadata().is_ok_and(|ours| ours.ino() == there.ino()));
        if is_ours {
            return Ok(file);
        }
        // Best effort: whoever has locked it removes it as well.
        let _ = fs::remove_file(path);
    }
    Err(io::Error::other("other processes write the same file; try again"))
}

fn name_it(path: &Path, target: &Path, overwrite: bool) -> io::Result<()> {
    if overwrite {
        return fs::rename(path, target);
    }
    match renameat_with(CWD, path, CWD, target, RenameFlags::NOREPLACE) {
        // Not every file system can; the name was free when it was begun.
        Err(Errno::INVAL | Errno::NOSYS) => fs::rename(path, target),
        done => Ok(done?),
    }
}

/// Removes what processes that were killed have left of files of this name. Whose writer lives is locked.
fn remove_left(target: &Path, name: &str) {
    let Ok(entries) = fs::read_dir(directory_of(target)) else { return };
    for entry in entries.flatten() {
        let found = entry.file_name();
        let process = found.to_str().and_then(|found| {
            found.strip_prefix('.')?.strip_prefix(name)?.strip_prefix('.')?.strip_suffix(".tmp")
        });
        if !process.is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit())) {
            continue;
        }
        let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(entry.path());
        if file.is_ok_and(|file| file.metadata().is_ok_and(|meta| meta.is_file()) && file.try_lock().is_ok())
        {
            // Best effort: it harms nobody but by the space it takes.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn directory_of(target: &Path) -> &Path {
    target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_directory_that_is_missing_is_named_with_what_makes_it() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("none");
        let error = Unfinished::create(&directory.join("a.backup"), false).err().unwrap();
        let wanted = format!("make it with: install -d -m 700 {}", directory.display());
        assert!(error.message.ends_with(&wanted), "{}", error.message);
    }

    #[test]
    fn a_file_appears_whole_and_what_could_not_be_named_does_not_stay() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("backup");
        let mut file = Unfinished::create(&target, false).unwrap();
        file.file.write_all(b"new").unwrap();
        assert!(!target.exists());
        file.keep().unwrap();
        assert_eq!(names(place.path()), ["backup"]);
        // Somebody else was first.
        let other = place.path().join("other");
        let late = Unfinished::create(&other, false).unwrap();
        fs::write(&other, "first").unwrap();
        assert_eq!(late.keep().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        // A directory came into its way.
        let third = place.path().join("third");
        let late = Unfinished::create(&third, true).unwrap();
        fs::create_dir(&third).unwrap();
        assert!(late.keep().is_err());
        assert_eq!(names(place.path()), ["backup", "other", "third"]);
        assert_eq!(fs::read(&other).unwrap(), b"first");
    }

    #[test]
    fn only_files_are_replaced() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::write(at("file"), "old").unwrap();
        symlink(at("file"), at("link")).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        fs::create_dir(at("directory")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        let why = |name: &str| Unfinished::create(&at(name), true).err().unwrap().message;
        for (name, what) in [
            ("link", "symbolic link"),
            ("dangling", "symbolic link"),
            ("directory", "is a directory"),
            ("..", "is a directory"),
            ("socket", "is no file; write to -"),
        ] {
            assert!(why(name).contains(what), "{name}: {}", why(name));
        }
        let device = Unfinished::create(Path::new("/dev/null"), true).err().unwrap().message;
        assert!(device.contains("is no file"), "{device}");
        let there = Unfinished::create(&at("file"), false).err().unwrap().message;
        assert!(there.contains("--overwrite"), "{there}");
        drop(Unfinished::create(&at("file"), true).unwrap());
        assert_eq!(fs::read(at("file")).unwrap(), b"old");
    }

    #[test]
    fn what_a_killed_backup_has_left_goes_with_the_next_of_its_name() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        for left in
            [".backup.1.tmp", ".backup.4194304.tmp", ".backup.more.1.tmp", ".backup.x.tmp", ".other.1.tmp"]
        {
            fs::write(at(left), "half").unwrap();
        }
        let alive = File::open(at(".backup.1.tmp")).unwrap();
        alive.lock().unwrap();
        Unfinished::create(&at("backup"), false).unwrap().keep().unwrap();
        assert_eq!(
            names(place.path()),
            [".backup.1.tmp", ".backup.more.1.tmp", ".backup.x.tmp", ".other.1.tmp", "backup"]
        );
    }
}
