//! The operator's calls about the certificate.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Answer, json_answer};
use super::openapi::Refusal;
use super::state::{App, Operator};
use super::tls::CertificateSummary;
use crate::acme::{self, Certificate, Held, NotRenewed};
use crate::error::Fault;
use crate::proto::address::Domain;
use crate::proto::calendar::Calendar;
use crate::proto::status::Reason;
use crate::proto::time::UnixMillis;

/// The certificates, and the dealings with an authority.
#[derive(Serialize, ToSchema)]
pub struct CertificatesShown {
    shown: Vec<CertificateShown>,
    /// Null: no authority is asked.
    #[schema(required, inline = false)]
    acme: Option<Acme>,
}

/// A certificate as clients see it.
#[derive(Serialize, ToSchema)]
struct CertificateShown {
    /// Null: it is shown for every other name.
    #[schema(required)]
    domain: Option<String>,
    file: String,
    names: Vec<String>,
    /// In Unix seconds.
    not_after: i64,
    /// Whether the server made it itself although servers elsewhere are to accept it: they refuse it.
    own: bool,
    /// Why what now lies in the files is not shown. Null: it is.
    #[schema(required)]
    trouble: Option<String>,
}

/// How an authority is asked. Times are Unix seconds.
#[derive(Serialize, ToSchema)]
struct Acme {
    /// URL of its directory.
    directory: String,
    /// The names that are to be in the certificate.
    names: Vec<String>,
    /// `dns-01` or `http-01`.
    challenge: &'static str,
    /// The one in place. Null: there is none yet, or none that can be read.
    #[schema(required, inline = false)]
    certificate: Option<Given>,
    /// Null: a certificate is due at once.
    #[schema(required)]
    renew_at: Option<i64>,
    next_attempt: i64,
    under_way: bool,
    /// Attempts since the last success.
    failures: u32,
    /// Null: there was none.
    #[schema(required)]
    last_attempt: Option<i64>,
    /// Why the last attempt failed. Null: it did not.
    #[schema(required)]
    last_error: Option<String>,
    /// Until when the authority wants no more orders. Null: it has not said so.
    #[schema(required)]
    limited_until: Option<i64>,
    /// Why none is asked before the server is started anew, and what to do. Null: nothing is in the way.
    #[schema(required)]
    hindered: Option<&'static str>,
}

/// A certificate of an authority.
#[derive(Serialize, ToSchema)]
struct Given {
    names: Vec<String>,
    issuer: String,
    /// In Unix seconds.
    not_before: i64,
    /// In Unix seconds.
    not_after: i64,
    /// Of the certificate, in hex.
    sha256: String,
}

/// That an order is under way.
#[derive(Serialize, ToSchema)]
pub struct Renewing {
    /// `begun`, or `under_way`: it was begun before.
    status: &'static str,
}

/// What is shown, and what an authority last said.
///
/// # Errors
/// None of its own.
#[utoipa::path(get, path = "/certificate", tag = "server", responses((status = 200, body = CertificatesShown)))]
pub async fn show(State(app): State<Arc<App>>) -> Answer {
    let shown = app
        .certificates
        .iter()
        .flat_map(|all| all.summary())
        .map(|one| CertificateShown::from(&one))
        .collect();
    let acme = app.acme.get().map(|acme| Acme::from(acme.state()));
    json_answer(StatusCode::OK, CertificatesShown { shown, acme })
}

/// Begins an order now. The answer does not wait for what comes of it.
///
/// # Errors
/// [`Reason::NoSuchPath`] if no authority is asked, [`Reason::Conflict`] if nothing could come of it, [`Reason::RateLimited`] if a limit forbids it.
#[utoipa::path(post, path = "/certificate/renew", tag = "server",
    responses((status = 202, body = Renewing),
        (status = 404, description = "No authority is asked.", body = Refusal),
        (status = 409, description = "Nothing could come of it before the server is started anew.", body = Refusal),
        (status = 429, description = "The authority allows no more now. Retry-After says when.", body = Refusal)))]
pub async fn renew(State(app): State<Arc<App>>, Extension(operator): Extension<Operator>) -> Answer {
    let acme = app.acme.get().ok_or_else(|| {
        let text = "This server asks no authority for certificates; set acme.challenge in its configuration.";
        Fault::new(Reason::NoSuchPath, text)
    })?;
    match acme.renew().await {
        Ok(()) => {
            tracing::info!(%operator, "an order for a certificate was begun by the operator");
            json_answer(StatusCode::ACCEPTED, Renewing { status: "begun" })
        }
        Err(NotRenewed::UnderWay) => json_answer(StatusCode::ACCEPTED, Renewing { status: "under_way" }),
        Err(NotRenewed::Held(held)) => {
            let now = app.pipeline.env.clock.now();
            Err(Fault::new(Reason::RateLimited, refused(held)).after(held.until().since(now)).into())
        }
        Err(NotRenewed::Hindered(why)) => {
            Err(Fault::new(Reason::Conflict, format!("No certificate is asked for: {why}.")).into())
        }
        Err(NotRenewed::Stopping) => Err(not_running().into()),
    }
}

fn refused(held: Held) -> String {
    let why = match held {
        Held::ByAuthority(_) => "The authority wants no further order",
        Held::ByFailures(_) => {
            "Five orders have failed within an hour, and the authority allows no more; there is none"
        }
        Held::ByDisk(_) => {
            "The state directory cannot be written, without which no order is begun; there is none"
        }
    };
    format!("{why} before {}.", Calendar::from(held.until()))
}

impl From<acme::State> for Acme {
    fn from(state: acme::State) -> Acme {
        Acme {
            directory: state.directory,
            names: state.names,
            challenge: state.challenge,
            certificate: state.certificate.map(Given::from),
            renew_at: state.renew_at.map(UnixMillis::seconds),
            next_attempt: state.next_attempt.seconds(),
            under_way: state.under_way,
            failures: state.failures,
            last_attempt: state.last_attempt.map(UnixMillis::seconds),
            last_error: state.last_error,
            limited_until: state.limited_until.map(UnixMillis::seconds),
            hindered: state.hindered,
        }
    }
}

impl From<&CertificateSummary> for CertificateShown {
    fn from(certificate: &CertificateSummary) -> CertificateShown {
        CertificateShown {
            domain: certificate.domain.as_ref().map(Domain::to_string),
            file: certificate.file.display().to_string(),
            names: certificate.names.clone(),
            not_after: certificate.not_after.seconds(),
            own: certificate.is_own && certificate.is_public(),
            trouble: certificate.trouble.clone(),
        }
    }
}

impl From<Certificate> for Given {
    fn from(certificate: Certificate) -> Given {
        let Certificate { names, issuer, not_before, not_after, sha256, .. } = certificate;
        Given { names, issuer, not_before: not_before.seconds(), not_after: not_after.seconds(), sha256 }
    }
}

fn not_running() -> Fault {
    Fault::new(Reason::ShuttingDown, "The server is not running; please try again.")
}
