//! Secrets that the service manager hands over as files (`LoadCredential=` in `systemd.exec(5)`): they count where the
//! configuration file names none.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::file;
use super::finding::Finding;

/// What systemd names their directory in.
const VARIABLE: &str = "CREDENTIALS_DIRECTORY";
/// The operator's token: `admin.token`.
const ADMIN_TOKEN: &str = "admin-token";
/// The certificate chain and its key: `server.cert` and `server.key`, both or neither.
const CHAIN: &str = "server.crt";
const KEY: &str = "server.key";
/// Longest token that is read, in bytes.
const MAX_TOKEN_BYTES: u64 = 4096;

/// Lays what this process was given under what the file says.
///
/// # Errors
/// What is wrong if a credential is there and cannot be read.
pub(super) fn lay_under(file: &mut file::File) -> Result<(), Finding> {
    match std::env::var_os(VARIABLE).map(PathBuf::from).filter(|path| path.is_absolute()) {
        // systemd keeps a directory closed that it has put nothing into.
        Some(directory) if std::fs::read_dir(&directory).is_ok() => lay_under_from(&directory, file),
        _ => Ok(()),
    }
}

fn lay_under_from(directory: &Path, file: &mut file::File) -> Result<(), Finding> {
    if file.admin.token.is_none() {
        file.admin.token = token(&directory.join(ADMIN_TOKEN))?;
    }
    let (chain, key) = (directory.join(CHAIN), directory.join(KEY));
    if file.server.cert.is_none() && file.server.key.is_none() && chain.exists() && key.exists() {
        (file.server.cert, file.server.key) = (Some(chain), Some(key));
    }
    Ok(())
}

/// `None`: there is none. Who may read it is the service manager's affair, which shows it by access lists that the mode
/// does not tell.
fn token(path: &Path) -> Result<Option<String>, Finding> {
    let mut text = Zeroizing::new(String::new());
    let read =
        std::fs::File::open(path).and_then(|open| open.take(MAX_TOKEN_BYTES).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Finding {
            origin: path.display().to_string(),
            line: None,
            key: "admin.token".into(),
            remedy: format!("the credential cannot be read: {error}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_count_where_the_file_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let laid = |mut file: file::File| {
            lay_under_from(directory.path(), &mut file).unwrap();
            file
        };
        assert_eq!(laid(file::File::default()), file::File::default());
        for (name, content) in [(ADMIN_TOKEN, "from-systemd\n"), (CHAIN, "chain")] {
            std::fs::write(directory.path().join(name), content).unwrap();
        }
        let file = laid(file::File::default());
        assert_eq!(file.admin.token.as_deref(), Some("from-systemd"));
        assert_eq!((file.server.cert, file.server.key), (None, None), "a chain without a key");
        std::fs::write(directory.path().join(KEY), "key").unwrap();
        let file = laid(file::File::default());
        assert_eq!(file.server.cert, Some(directory.path().join(CHAIN)));
        assert_eq!(file.server.key, Some(directory.path().join(KEY)));

        let mut own = file::File::default();
        own.admin.token = Some("own".into());
        own.server.cert = Some("own.crt".into());
        own.server.key = Some("own.key".into());
        assert_eq!(laid(own.clone()), own);
    }
}
