use std::path::Path;

use serde::Serialize;

use crate::cli::output;

/// What was done about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Step {
    outcome: Outcome,
    what: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Made,
    Changed,
    Kept,
    Skipped,
}

impl Step {
    pub(super) fn made(what: impl Into<String>) -> Step {
        Step { outcome: Outcome::Made, what: what.into() }
    }

    pub(super) fn changed(what: impl Into<String>) -> Step {
        Step { outcome: Outcome::Changed, what: what.into() }
    }

    pub(super) fn kept(what: impl Into<String>) -> Step {
        Step { outcome: Outcome::Kept, what: what.into() }
    }

    pub(super) fn skipped(what: impl Into<String>) -> Step {
        Step { outcome: Outcome::Skipped, what: what.into() }
    }

    /// A file that is there now: made just now, or before.
    pub(super) fn file(made: bool, what: &str, path: &Path) -> Step {
        let what = format!("{what}: {}", path.display());
        if made { Step::made(what) } else { Step::kept(what) }
    }
}

/// A line each.
pub(super) fn lines(steps: &[Step]) -> String {
    let line = |step: &Step| {
        let outcome = match step.outcome {
            Outcome::Made => "made",
            Outcome::Changed => "changed",
            Outcome::Kept => "as it was",
            Outcome::Skipped => "left out",
        };
        format!("{outcome:<10}{}\n", output::one_line(&step.what))
    };
    steps.iter().map(line).collect()
}
