//! `GET admin/status`: what is well, what is not, and what to do about it. What `atp status` and `atp top` show.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Answer, json_answer};
use super::sample;
use super::state::{App, Parameters};

mod checks;
mod figures;

use figures::Figures;

/// How it stands with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warning,
    Trouble,
}

/// One thing that was looked at.
#[derive(Debug, Serialize, ToSchema)]
struct Check {
    /// What it is about, in one fixed word.
    subject: &'static str,
    level: Level,
    /// How it stands, on one line.
    text: String,
    /// What to do about it. Null: nothing.
    #[serde(rename = "do")]
    #[schema(required)]
    remedy: Option<String>,
}

impl Check {
    fn new(subject: &'static str, level: Level, text: impl Into<String>) -> Check {
        Check { subject, level, text: text.into(), remedy: None }
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Check {
        self.remedy = Some(remedy.into());
        self
    }
}

/// How the server stands.
#[derive(Serialize, ToSchema)]
pub struct Status {
    #[serde(flatten)]
    figures: Figures,
    /// The worst of the checks. Absent where the answer is to be brief.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, inline = false)]
    status: Option<Level>,
    /// What was looked at. Absent where the answer is to be brief.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    checks: Option<Vec<Check>>,
}

/// How the server stands. With `brief=true` without the checks: cheap enough to be asked every second.
///
/// # Errors
/// None of its own.
#[utoipa::path(get, path = "/status", tag = "watching",
    params(("brief" = Option<bool>, Query, description = "`true`: without the checks.")),
    responses((status = 200, body = Status)))]
pub async fn get(State(app): State<Arc<App>>, Query(parameters): Query<Parameters>) -> Answer {
    let sample = sample::sample(&app).await;
    let figures = Figures::of(&app, &sample);
    let is_brief = parameters.get("brief").is_some_and(|value| value == "true");
    let checks = if is_brief { None } else { Some(checks::all(&app, &sample).await) };
    let status = checks.as_deref().map(worst);
    json_answer(StatusCode::OK, Status { figures, status, checks })
}

fn worst(checks: &[Check]) -> Level {
    checks.iter().map(|check| check.level).max().unwrap_or(Level::Ok)
}
