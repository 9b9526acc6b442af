//! `atp demo`

use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;

use super::error::CliError;

/// Show two domains exchange a message, on this machine alone.
#[derive(Args)]
pub(super) struct Demo {
    /// Leave both servers running and print commands to try
    #[arg(long, env = "ATP_KEEP", value_parser = FalseyValueParser::new())]
    keep: bool,
    /// Another directory of DNS templates, to see what becomes of a message when a record is wrong
    #[arg(long, env = "ATP_DEMO_TEMPLATES", value_name = "DIR")]
    templates: Option<PathBuf>,
}

impl Demo {
    #[cfg(feature = "demo")]
    pub fn run(self) -> Result<(), CliError> {
        let Demo { keep, templates } = self;
        crate::demo::run(&crate::demo::Options { keep, templates }).map_err(CliError::failed)
    }

    #[cfg(not(feature = "demo"))]
    pub fn run(self) -> Result<(), CliError> {
        let Demo { keep: _, templates: _ } = self;
        Err(CliError::failed("this program was built without the demo; build it with --features demo"))
    }
}
