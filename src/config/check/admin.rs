//! `[admin]`

use super::report::Report;
use super::server::all;
use crate::config::checked::Admin;
use crate::config::file;
use crate::secret::Secret;

pub(super) fn admin(file: file::Admin, report: &Report<'_>) -> Option<Admin> {
    let own = file.token.map(|text| token("admin.token", Secret::new(text), report));
    let read = file.read_token.map(|text| token("admin.read_token", Secret::new(text), report));
    let listen = file.listen.map(|text| {
        let remedy = || format!("{text:?} is not IP:PORT; write \"127.0.0.1:7480\"");
        report.or_told("admin.listen", text.parse().map_err(|_| remedy()))
    });
    let admin = Admin { token: all(own)?, read_token: all(read)?, listen: all(listen)?, remote: file.remote };
    let same = admin.token.as_ref().zip(admin.read_token.as_ref());
    if same.is_some_and(|(token, read_token)| token.matches(read_token)) {
        report.tell("admin.read_token", "must differ from admin.token, which may change things");
    }
    Some(admin)
}

/// A token must survive an HTTP header, and must not look like an agent's (`docs/protocol.md` §7).
fn token(key: &str, token: Secret, report: &Report<'_>) -> Option<Secret> {
    let text = token.expose();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return report.wrong(key, "must be visible ASCII characters without spaces");
    }
    if text.starts_with("atpa_") {
        return report.wrong(key, "must not start with atpa_, which marks the tokens of agents");
    }
    Some(token)
}
