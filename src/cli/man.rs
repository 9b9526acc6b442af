//! `atp man`

use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory as _};
use clap_mangen::Man as Page;

use super::error::CliError;
use super::{Cli, output};

/// Which section of the manual commands are in.
const SECTION: &str = "1";

/// `atp man`
#[derive(Args)]
pub(super) struct Man {
    /// Directory to write the pages of all commands to: atp.1, atp-send.1, atp-queue-list.1 …
    #[arg(long, env = "ATP_MAN_OUT", value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Man {
    pub fn run(&self) -> Result<(), CliError> {
        let mut program = Cli::command().disable_help_subcommand(true);
        program.build();
        let Some(directory) = &self.out else {
            return output::print(&String::from_utf8_lossy(&page(&program, "atp")?));
        };
        std::fs::create_dir_all(directory).map_err(|error| cannot_write(directory, &error))?;
        write(&program, "atp", directory)
    }
}

/// Writes the page of a command and of every command in it.
fn write(command: &Command, name: &str, directory: &Path) -> Result<(), CliError> {
    let path = directory.join(format!("{name}.{SECTION}"));
    std::fs::write(&path, page(command, name)?).map_err(|error| cannot_write(&path, &error))?;
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write(below, &format!("{name}-{}", below.get_name()), directory)?;
    }
    Ok(())
}

fn page(command: &Command, name: &str) -> Result<Vec<u8>, CliError> {
    let mut text = Vec::new();
    let page = Page::new(command.clone()).title(name.to_uppercase()).section(SECTION).manual("atp manual");
    page.render(&mut text).map_err(|error| CliError::failed(format!("cannot make the page: {error}")))?;
    Ok(text)
}

fn cannot_write(path: &Path, error: &std::io::Error) -> CliError {
    CliError::failed(format!("cannot write {}: {error}; give another --out", path.display()))
}
