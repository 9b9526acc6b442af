//! `atp demo`

use clap::Args;
use clap::builder::FalseyValueParser;

use super::error::CliError;

/// Show two domains exchange a message, on this machine alone.
#[derive(Args)]
pub(super) struct Demo {
    /// Leave both servers running and print commands to try
    #[arg(long, env = "ATP_KEEP", value_parser = FalseyValueParser::new())]
    keep: bool,
}

impl Demo {
    pub fn run(self) -> Result<(), CliError> {
        // SEAM: crate::demo::run(self.keep), which starts its own runtime.
        let _ = self.keep;
        Err(CliError::failed("this build has no demo yet"))
    }
}
