//! Names as people type them.

use serde_json::Value;

use super::error::CliError;
use super::http::{Client, Request};
use crate::proto::address::{Address, Domain};

/// An address; a name without `@` is one of the server's own domain, which the server is asked for.
pub(super) async fn complete(client: &mut Client, name: &str) -> Result<Address, CliError> {
    if name.contains('@') {
        return parse(name);
    }
    let domain = domain_of(client).await?;
    Address::new(name, domain).map_err(|error| CliError::usage(format!("{name:?}: {error}")))
}

/// A complete address.
pub(super) fn parse(name: &str) -> Result<Address, CliError> {
    Address::parse(name).map_err(|error| CliError::usage(format!("{name:?}: {error}")))
}

async fn domain_of(client: &mut Client) -> Result<Domain, CliError> {
    let reply = client.call(Request::get("health")).await?.success()?;
    let domain = reply.get("domain").and_then(Value::as_str).and_then(|text| Domain::parse(text).ok());
    domain.ok_or_else(|| {
        CliError::failed("the server does not say its domain; write the whole name, NAME@DOMAIN")
    })
}
