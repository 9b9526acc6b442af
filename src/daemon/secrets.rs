//! The operator's token: given, or made at the first start and kept in the state directory.

use super::StartError;
use crate::config::Config;
use crate::config::home::NodeDir;
use crate::config::private;
use crate::env::rng::{self, Rng};
use crate::secret::Secret;

/// What tokens of ours begin with.
const PREFIX: &str = "atpo_";
/// Random bytes in a token.
const TOKEN_BYTES: usize = 32;

/// The operator's token: the one configured, or the one of the state directory, which is made if there is none.
///
/// # Errors
/// [`StartError`] if its file cannot be read or written.
pub fn admin_token(config: &Config, node: &NodeDir, rng: &dyn Rng) -> Result<Secret, StartError> {
    if let Some(token) = &config.admin.token {
        return Ok(token.clone());
    }
    let path = node.admin_token();
    match private::read(&path) {
        Ok(bytes) => {
            let text = zeroize::Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned());
            let token = Secret::from(text.trim());
            if token.is_empty() {
                return Err(StartError::Other(format!(
                    "{} is empty; remove it to have a token made",
                    path.display()
                )));
            }
            Ok(token)
        }
        Err(error) if error.is_absent() => {
            let token = Secret::new(format!("{PREFIX}{}", rng::hex(rng, TOKEN_BYTES)));
            private::write(&path, token.expose().as_bytes())?;
            Ok(token)
        }
        Err(error) => Err(error.into()),
    }
}
