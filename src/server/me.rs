//! `me`, `me/password`, `me/tokens`: an agent asks who it is, and decides who else may be (`docs/protocol.md` §7).

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::answer::{Answer, json_answer};
use super::body;
use super::credential::{IsAgent, IsOwner};
use super::keeping::Kept;
use super::openapi::Refusal;
use super::state::{App, DomainMeant, Ends};
use crate::agents::tokens::NewToken;
use crate::error::Fault;
use crate::proto::status::Reason;
use crate::secret::Secret;
use crate::spool::entry::tokens::{Scope, TokenRecord};

/// An agent, as it has proved itself.
#[derive(Serialize, ToSchema)]
struct Me {
    /// Its address.
    agent_id: String,
    /// The domain of its address.
    domain: String,
    /// When it was registered, in Unix seconds.
    registered_at: i64,
    /// What may be done: `send`, `receive`, `both`, or `owner` by the password.
    scope: &'static str,
    /// The token's name; null by the password.
    token: Option<String>,
    /// When the token ends, in Unix seconds; null if it does not.
    expires_at: Option<i64>,
    /// What its mailbox holds and may hold.
    mailbox: Kept,
}

/// A token, but not its text.
#[derive(Serialize, ToSchema)]
struct Token {
    name: String,
    /// `send`, `receive` or `both`.
    scope: &'static str,
    /// In Unix seconds.
    created_at: i64,
    /// When it ends, in Unix seconds; null if it does not.
    expires_at: Option<i64>,
}

/// The caller's tokens.
#[derive(Serialize, ToSchema)]
struct Tokens {
    tokens: Vec<Token>,
}

/// A new token.
#[derive(Serialize, ToSchema)]
struct MadeToken {
    /// The token itself, which is told this once.
    #[schema(example = "atpa_6OPBrHOhIqPbrSjzAGGTBc_yR8nMa4CtfnFrGWpXHvg")]
    token: String,
    #[serde(flatten)]
    about: Token,
}

/// What to call a token, and what it is to be good for.
#[derive(Deserialize, ToSchema)]
// One that is overlooked could mean a token that never ends, or may do more than it should.
#[serde(deny_unknown_fields)]
struct WantedToken {
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    name: String,
    /// `send`, `receive` or `both`; `both` unless given.
    scope: Option<String>,
    /// How many seconds it lives, at most ten years; until it is revoked unless given.
    #[schema(minimum = 1, maximum = 315360000)]
    expires_in: Option<u64>,
}

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    /// At most 1024 bytes; does not begin with `atpa_`.
    #[schema(min_length = 1)]
    password: String,
    /// Whether all tokens end; they do not unless given.
    revoke_tokens: Option<bool>,
}

/// That a password has been changed.
#[derive(Serialize, ToSchema)]
struct Changed {
    /// `changed`.
    status: &'static str,
    /// Tokens that go on working.
    tokens: usize,
}

/// That a token has been revoked.
#[derive(Serialize, ToSchema)]
struct Revoked {
    /// `revoked`.
    status: &'static str,
    name: String,
}

/// Who the caller is, and by what.
///
/// # Errors
/// [`Reason::BadCredential`].
#[utoipa::path(get, path = "/me", tag = "agents", security(("password" = []), ("token" = [])), params(DomainMeant),
    responses((status = 200, body = Me)))]
pub async fn get(State(app): State<Arc<App>>, IsAgent(who): IsAgent) -> Answer {
    let usage = app.pipeline.store.usage(who.agent.clone()).await?;
    // Removed while it asked.
    let usage = usage.ok_or_else(|| Fault::new(Reason::BadCredential, "There is no such agent any more."))?;
    let token = who.token;
    json_answer(
        StatusCode::OK,
        Me {
            agent_id: who.agent.to_string(),
            domain: who.agent.domain().to_string(),
            registered_at: who.registered_at.seconds(),
            scope: token.as_ref().map_or("owner", |token| token.scope.as_str()),
            expires_at: token.as_ref().and_then(|token| token.expires_at).map(|end| end.seconds()),
            token: token.map(|token| token.name),
            mailbox: usage.into(),
        },
    )
}

/// Changes the caller's password.
///
/// # Errors
/// [`Reason::BadCredential`]; [`Reason::Forbidden`] by a token; [`Reason::Malformed`] for a password that cannot be.
#[utoipa::path(post, path = "/me/password", tag = "agents", security(("password" = [])), params(DomainMeant),
    request_body = NewPassword, responses(
        (status = 200, body = Changed),
    ))]
pub async fn password(
    State(app): State<Arc<App>>,
    IsOwner(who): IsOwner,
    ends: Option<Extension<Ends>>,
    headers: HeaderMap,
    request: Body,
) -> Answer {
    let members = body::object(&headers, request, &app.readiness.stopping).await?;
    let new: NewPassword = serde_json::from_value(Value::Object(members))
        .map_err(|_| malformed("The members are password, a text, and revoke_tokens, true or false."))?;
    let (password, revoke) = (Secret::from(new.password), new.revoke_tokens.unwrap_or_default());
    let tokens = app.accounts.change_password(&who, &password, revoke, Ends::origin(ends.as_deref())).await?;
    tracing::info!(agent = %who.agent, tokens, "password changed");
    json_answer(StatusCode::OK, Changed { status: "changed", tokens })
}

/// The caller's tokens, but not their texts.
///
/// # Errors
/// [`Reason::BadCredential`]; [`Reason::Forbidden`] by a token.
#[utoipa::path(get, path = "/me/tokens", tag = "agents", security(("password" = [])), params(DomainMeant),
    responses((status = 200, body = Tokens)))]
pub async fn tokens(State(app): State<Arc<App>>, IsOwner(who): IsOwner) -> Answer {
    let tokens = app.accounts.tokens(&who).await?.into_iter().map(described).collect();
    json_answer(StatusCode::OK, Tokens { tokens })
}

/// Makes a token, and tells its text this once.
///
/// # Errors
/// [`Reason::BadCredential`]; [`Reason::Forbidden`] by a token; [`Reason::Malformed`] for what cannot be;
/// [`Reason::Conflict`] if there is one of that name, or if there are too many.
#[utoipa::path(post, path = "/me/tokens", tag = "agents", security(("password" = [])), params(DomainMeant),
    request_body = WantedToken, responses(
        (status = 201, body = MadeToken),
        (status = 409, description = "There is a token of that name, or there are too many.", body = Refusal),
    ))]
pub async fn create_token(
    State(app): State<Arc<App>>,
    IsOwner(who): IsOwner,
    headers: HeaderMap,
    request: Body,
) -> Answer {
    let members = body::object(&headers, request, &app.readiness.stopping).await?;
    let (secret, record) = app.accounts.create_token(&who, wanted(members)?).await?;
    tracing::info!(agent = %who.agent, token = record.name, scope = record.scope.as_str(), "token made");
    let made = MadeToken { token: secret.expose().to_owned(), about: described(record) };
    json_answer(StatusCode::CREATED, made)
}

/// Ends a token. A token may end itself.
///
/// # Errors
/// [`Reason::BadCredential`]; [`Reason::Forbidden`] by another token; [`Reason::NoSuchPath`] if there is none of that
/// name.
#[utoipa::path(delete, path = "/me/tokens/{name}", tag = "agents", security(("password" = []), ("token" = [])),
    params(("name" = String, Path), DomainMeant), responses(
        (status = 200, body = Revoked),
        (status = 400, description = "The path is not UTF-8.", body = Refusal),
        (status = 404, description = "There is no token of that name.", body = Refusal),
    ))]
pub async fn revoke_token(
    State(app): State<Arc<App>>,
    IsAgent(who): IsAgent,
    name: Result<Path<String>, PathRejection>,
) -> Answer {
    let Path(name) = name.map_err(|_| malformed("The path is not UTF-8."))?;
    app.accounts.revoke_token(&who, &name).await?;
    tracing::info!(agent = %who.agent, token = name, "token revoked");
    json_answer(StatusCode::OK, Revoked { status: "revoked", name })
}

fn wanted(members: Map<String, Value>) -> Result<NewToken, Fault> {
    let wanted: WantedToken = serde_json::from_value(Value::Object(members)).map_err(|_| {
        malformed("The members are name and scope, texts, and expires_in, a whole number of seconds.")
    })?;
    let scope = wanted.scope.as_deref().map_or(Some(Scope::Both), Scope::parse);
    let scope = scope.ok_or_else(|| malformed("The member scope must be send, receive or both."))?;
    Ok(NewToken { name: wanted.name, scope, life: wanted.expires_in.map(Duration::from_secs) })
}

fn described(token: TokenRecord) -> Token {
    Token {
        name: token.name,
        scope: token.scope.as_str(),
        created_at: token.created_at.seconds(),
        expires_at: token.expires_at.map(|end| end.seconds()),
    }
}

fn malformed(text: &'static str) -> Fault {
    Fault::new(Reason::Malformed, text)
}
