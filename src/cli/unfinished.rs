//! Files that appear whole or not at all.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::error::CliError;

/// A file beside the one it becomes; removed if it does not.
pub(super) struct Unfinished {
    /// What it is written through.
    pub file: File,
    /// `None`: it has got its name.
    path: Option<PathBuf>,
}

impl Unfinished {
    /// Begins it, for nobody's eyes but the user's.
    pub fn create(target: &Path) -> Result<Unfinished, CliError> {
        let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let path = target.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file =
            file.map_err(|error| CliError::failed(format!("cannot write {}: {error}", path.display())))?;
        Ok(Unfinished { file, path: Some(path) })
    }

    /// Syncs it and gives it its name.
    pub fn keep(mut self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        if let Some(path) = self.path.take() {
            std::fs::rename(path, target)?;
        }
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // What stays has another name than a backup.
            let _ = std::fs::remove_file(path);
        }
    }
}
