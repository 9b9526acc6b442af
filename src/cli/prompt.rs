//! Questions to the person at the terminal, if there is one.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use super::error::CliError;
use super::output;
use crate::secret::Secret;

/// Longest answer read, in bytes.
const MAX_ANSWER_BYTES: u64 = 4096;

/// Whether there is somebody to ask.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prompt {
    interactive: bool,
}

impl Prompt {
    /// Asks if standard input and standard error are a terminal.
    pub fn new() -> Prompt {
        Prompt { interactive: io::stdin().is_terminal() && io::stderr().is_terminal() }
    }

    /// Nobody is asked.
    pub fn nobody() -> Prompt {
        Prompt { interactive: false }
    }

    /// The password given, or the one typed.
    pub fn password(self, given: Option<Secret>, of: &str) -> Result<Secret, CliError> {
        match given {
            Some(password) => Ok(password),
            None => self.ask(&format!("Password of {of}: ")),
        }
    }

    /// The password given, or one typed twice.
    pub fn new_password(self, given: Option<Secret>, of: &str) -> Result<Secret, CliError> {
        if let Some(password) = given {
            return Ok(password);
        }
        let first = self.ask(&format!("New password of {of}: "))?;
        let second = self.ask("The same again: ")?;
        if first.matches(&second) { Ok(first) } else { Err(CliError::failed("the two passwords differ")) }
    }

    /// Whether there is somebody to ask.
    pub fn is_interactive(self) -> bool {
        self.interactive
    }

    /// A line of text; what is taken if nothing is typed is shown, unless it is empty.
    pub fn line(self, question: &str, usual: &str) -> Result<String, CliError> {
        let shown = if usual.is_empty() { String::new() } else { format!(" [{usual}]") };
        eprint!("{}{}: ", output::one_line(question), output::one_line(&shown));
        let _ = io::stderr().flush();
        let mut answer = String::new();
        match io::stdin().lock().take(MAX_ANSWER_BYTES).read_line(&mut answer) {
            Ok(0) => Err(CliError::failed("no answer")),
            Ok(_) if answer.trim().is_empty() => Ok(usual.to_owned()),
            Ok(_) => Ok(answer.trim().to_owned()),
            Err(error) => Err(CliError::failed(format!("cannot read the answer: {error}"))),
        }
    }

    /// Yes or no; `None`: there is nobody to ask.
    pub fn confirm(self, question: &str) -> Option<bool> {
        if !self.interactive {
            return None;
        }
        eprint!("{} [y/N] ", output::one_line(question));
        let _ = io::stderr().flush();
        let mut answer = String::new();
        let read = io::stdin().lock().read_line(&mut answer);
        if matches!(read, Ok(0)) {
            // Nobody has ended the question's line.
            eprintln!();
        }
        Some(read.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    fn ask(self, question: &str) -> Result<Secret, CliError> {
        if !self.interactive {
            return Err(CliError::usage("no password; give --password or set ATP_PASSWORD"));
        }
        let typed = rpassword::prompt_password(question);
        typed.map(Secret::new).map_err(|error| CliError::failed(format!("cannot read the password: {error}")))
    }
}
