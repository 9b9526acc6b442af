//! The operator's calls about the certificate, on the control socket only.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Answer, json_answer};
use super::state::{App, Operator};
use super::tls::CertificateSummary;
use crate::acme::{self, Certificate, Held, NotRenewed};
use crate::error::Fault;
use crate::proto::address::Domain;
use crate::proto::calendar::Calendar;
use crate::proto::status::Reason;
use crate::proto::time::UnixMillis;

/// What is shown, and what an authority last said.
///
/// # Errors
/// None of its own.
pub async fn show(State(app): State<Arc<App>>) -> Answer {
    let shown: Vec<Value> = app.certificates.summary().iter().map(shown).collect();
    let acme = app.acme.get().map(|acme| state(&acme.state()));
    json_answer(StatusCode::OK, json!({ "shown": shown, "acme": acme }))
}

/// Begins an order now. The answer does not wait for what comes of it.
///
/// # Errors
/// [`Reason::NoSuchPath`] if no authority is asked, [`Reason::RateLimited`] if a limit forbids it.
pub async fn renew(State(app): State<Arc<App>>, Extension(operator): Extension<Operator>) -> Answer {
    let acme = app.acme.get().ok_or_else(|| {
        let text = "This server asks no authority for certificates; set acme.challenge in its configuration.";
        Fault::new(Reason::NoSuchPath, text)
    })?;
    match acme.renew().await {
        Ok(()) => {
            tracing::info!(%operator, "an order for a certificate was begun by the operator");
            json_answer(StatusCode::ACCEPTED, json!({ "status": "begun" }))
        }
        Err(NotRenewed::UnderWay) => json_answer(StatusCode::ACCEPTED, json!({ "status": "under_way" })),
        Err(NotRenewed::Held(held)) => {
            let now = app.pipeline.env.clock.now();
            Err(Fault::new(Reason::RateLimited, refused(held)).after(held.until().since(now)).into())
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

fn state(state: &acme::State) -> Value {
    json!({
        "directory": state.directory,
        "names": state.names,
        "challenge": state.challenge,
        "certificate": state.certificate.as_ref().map(described),
        "renew_at": state.renew_at.map(UnixMillis::seconds),
        "next_attempt": state.next_attempt.seconds(),
        "under_way": state.under_way,
        "failures": state.failures,
        "last_attempt": state.last_attempt.map(UnixMillis::seconds),
        "last_error": state.last_error,
        "limited_until": state.limited_until.map(UnixMillis::seconds),
    })
}

fn shown(certificate: &CertificateSummary) -> Value {
    json!({
        "domain": certificate.domain.as_ref().map(Domain::as_str),
        "file": certificate.file.display().to_string(),
        "names": certificate.names,
        "not_after": certificate.not_after.seconds(),
    })
}

fn described(certificate: &Certificate) -> Value {
    json!({
        "names": certificate.names,
        "issuer": certificate.issuer,
        "not_before": certificate.not_before.seconds(),
        "not_after": certificate.not_after.seconds(),
        "sha256": certificate.sha256,
    })
}

fn not_running() -> Fault {
    Fault::new(Reason::ShuttingDown, "The server is not running; please try again.")
}
