//! The account at an authority: its key is made once, kept, and used for every order there.

use std::path::{Path, PathBuf};

use instant_acme::{Account, Error, ExternalAccountKey, Key, NewAccount};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::binding;
use super::http::Http;
use super::issue::Failure;
use crate::config::checked;
use crate::config::private;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// Version of the file's form.
const VERSION: u8 = 1;
/// Bytes of the directory URL's hash that name the file.
const NAME_BYTES: usize = 8;

/// `acme/account-<hash of the directory URL>.json`: another authority is another account.
#[derive(Serialize, Deserialize)]
struct Kept {
    version: u8,
    directory: String,
    /// PKCS #8, base64.
    key: String,
    /// The account's URL. `None`: the authority has not yet said it.
    id: Option<String>,
    /// Where the authority has been told to write to.
    email: Option<String>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// The account for this configuration. One that the authority does not know is made there, with the key that is kept.
pub(super) async fn open(config: &checked::Acme, directory: &Path, http: &Http) -> Result<Account, Failure> {
    let path = path(directory, &config.directory);
    let mut kept = keep(&path, &config.directory).await?;
    if let Some(id) = kept.id.clone() {
        let account = Account::builder_with_http(Box::new(http.clone()))
            .from_parts(id, key(&kept)?, config.directory.clone())
            .await
            .map_err(|error| Failure::of(&error, "the authority's directory", http))?;
        return update(account, kept, config, &path, http).await;
    }
    let account = register(&mut kept, config, http).await?;
    kept.id = Some(account.id().to_owned());
    kept.email = None;
    store(&path, &kept).await?;
    tracing::info!(directory = config.directory, "made an account at the certificate authority");
    update(account, kept, config, &path, http).await
}

/// Has the account be made anew at the next attempt, with the same key: the authority has forgotten it.
pub(super) async fn forget(config: &checked::Acme, directory: &Path) -> Result<(), Failure> {
    let path = path(directory, &config.directory);
    let mut kept = keep(&path, &config.directory).await?;
    kept.id = None;
    store(&path, &kept).await
}

/// Tells the authority where to write to, if that has changed.
async fn update(
    account: Account,
    mut kept: Kept,
    config: &checked::Acme,
    path: &Path,
    http: &Http,
) -> Result<Account, Failure> {
    if kept.email == config.email {
        return Ok(account);
    }
    let contact = config.email.as_ref().map(|email| format!("mailto:{email}"));
    let contacts: Vec<&str> = contact.iter().map(String::as_str).collect();
    account
        .update_contacts(&contacts)
        .await
        .map_err(|error| Failure::of(&error, "telling the authority acme.email", http))?;
    kept.email.clone_from(&config.email);
    store(path, &kept).await?;
    Ok(account)
}

/// An account with this key: a new one, or the one that has it (RFC 8555 §7.3.1). One that is bound to a customer's
/// (§7.3.4) comes with a key of its own, which takes the place of the one that is kept.
async fn register(kept: &mut Kept, config: &checked::Acme, http: &Http) -> Result<Account, Failure> {
    if let Some(binding) = &config.binding {
        let path = binding.key.clone();
        let secret = on_disk(move || binding::read(&path)).await?.map_err(Failure::own)?;
        let external = ExternalAccountKey::new(binding.id.clone(), &secret);
        let wanted = NewAccount { contact: &[], terms_of_service_agreed: true, only_return_existing: false };
        let made = Account::builder_with_http(Box::new(http.clone()))
            .create(&wanted, config.directory.clone(), Some(&external))
            .await;
        let (account, credentials) = made.map_err(|error| Failure::of(&error, "making an account", http))?;
        kept.key.zeroize();
        kept.key = BASE64_STANDARD.encode(credentials.private_key().secret_pkcs8_der());
        return Ok(account);
    }
    let pair = (signing_key(kept)?, PrivateKeyDer::Pkcs8(key(kept)?));
    let made = Account::builder_with_http(Box::new(http.clone()))
        .create_from_key(pair, config.directory.clone())
        .await;
    made.map(|(account, _)| account).map_err(|error| Failure::of(&error, "making an account", http))
}

fn key(kept: &Kept) -> Result<PrivatePkcs8KeyDer<'static>, Failure> {
    let bytes = BASE64_STANDARD.decode(&kept.key).map_err(|_| damaged(&kept.directory))?;
    Ok(PrivatePkcs8KeyDer::from(bytes))
}

fn signing_key(kept: &Kept) -> Result<Key, Failure> {
    Key::from_pkcs8_der(key(kept)?).map_err(|_| damaged(&kept.directory))
}

fn damaged(directory: &str) -> Failure {
    Failure::own(format!(
        "the file of the account at {directory} is damaged; move it away to have a new account"
    ))
}

/// What is kept; a key is made and kept before it is ever used, so that no account is lost.
async fn keep(path: &Path, directory: &str) -> Result<Kept, Failure> {
    let from = path.to_owned();
    match on_disk(move || private::read(&from)).await? {
        Ok(bytes) => {
            let bytes = Zeroizing::new(bytes);
            let kept: Kept = serde_json::from_slice(&bytes).map_err(|_| damaged(directory))?;
            if kept.version == VERSION && kept.directory == directory {
                Ok(kept)
            } else {
                Err(damaged(directory))
            }
        }
        Err(error) if error.is_absent() => {
            let (_, der) = Key::generate_pkcs8().map_err(|error: Error| Failure::own(error.to_string()))?;
            let key = BASE64_STANDARD.encode(der.secret_pkcs8_der());
            let kept = Kept { version: VERSION, directory: directory.to_owned(), key, id: None, email: None };
            store(path, &kept).await?;
            Ok(kept)
        }
        Err(error) => Err(Failure::own(error.to_string())),
    }
}

async fn store(path: &Path, kept: &Kept) -> Result<(), Failure> {
    let bytes = Zeroizing::new(serde_json::to_vec(kept).map_err(|error| Failure::own(error.to_string()))?);
    let path = path.to_owned();
    on_disk(move || private::write(&path, &bytes)).await?.map_err(|error| Failure::own(error.to_string()))
}

fn path(directory: &Path, url: &str) -> PathBuf {
    let hash = Sha256::digest(url.as_bytes());
    let name = hash.iter().take(NAME_BYTES).map(|byte| format!("{byte:02x}")).collect::<String>();
    directory.join(format!("account-{name}.json"))
}

/// Work that waits for the disk, on a thread that may.
pub(super) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Failure::own("the server is stopping".into()))
}
