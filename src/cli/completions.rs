//! `atp completions`

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::error::CliError;
use super::{Cli, output};

/// `atp completions`
#[derive(Args)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

impl Completions {
    pub fn run(&self) -> Result<(), CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "atp", &mut script);
        output::print(&String::from_utf8_lossy(&script))
    }
}
