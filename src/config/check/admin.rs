//! `[admin]`

use std::net::SocketAddr;

use super::Origin;
use crate::config::ConfigError;
use crate::config::checked::Admin;
use crate::config::file;
use crate::secret::Secret;

/// `given` is the token of the command line, and `listen` its address: they win.
pub(super) fn admin(
    file: file::Admin,
    given: Option<Secret>,
    listen: Option<SocketAddr>,
    origin: &Origin,
) -> Result<Admin, ConfigError> {
    let own = given.or(file.token.map(Secret::new));
    let admin = Admin {
        token: own.map(|own| token("admin.token", own, origin)).transpose()?,
        read_token: file
            .read_token
            .map(|text| token("admin.read_token", Secret::new(text), origin))
            .transpose()?,
        listen: file
            .listen
            .filter(|_| listen.is_none())
            .map(|text| {
                text.parse().map_err(|_| {
                    let remedy = format!("{text:?} is not IP:PORT; write \"127.0.0.1:7480\"");
                    origin.wrong("admin.listen", remedy)
                })
            })
            .transpose()?
            .or(listen),
        remote: file.remote,
    };
    let same = admin.token.as_ref().zip(admin.read_token.as_ref());
    if same.is_some_and(|(token, read_token)| token.matches(read_token)) {
        return Err(origin.wrong("admin.read_token", "must differ from admin.token, which may change things"));
    }
    Ok(admin)
}

/// A token must survive an HTTP header, and must not look like an agent's (`docs/protocol.md` §7).
fn token(key: &'static str, token: Secret, origin: &Origin) -> Result<Secret, ConfigError> {
    let text = token.expose();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(origin.wrong(key, "must be visible ASCII characters without spaces"));
    }
    if text.starts_with("atpa_") {
        return Err(origin.wrong(key, "must not start with atpa_, which marks the tokens of agents"));
    }
    Ok(token)
}
