//! The screen: at most 110 columns, colour only on a terminal.

use std::cell::Cell;
use std::io::{self, IsTerminal, Write};

use super::agent::Letter;
use super::error::DemoError;
use super::pair::Pair;
use super::story::{Line, Stage, Story, Tone};

/// Columns of the stage's name.
const STAGE_COLUMNS: usize = 12;
/// Columns of the server's domain.
const SERVER_COLUMNS: usize = 15;
/// Columns of what happened.
const TEXT_COLUMNS: usize = 68;
/// Columns of the microseconds.
const MICROS_COLUMNS: usize = 12;

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const CYAN: &str = "36";

/// Standard output, and a line of progress on standard error while there is nothing to show.
pub(super) struct Page {
    colour: bool,
    /// Whether somebody watches standard error.
    watched: bool,
    /// Whether a line of progress stands there.
    progress: Cell<bool>,
}

impl Page {
    pub fn stdout() -> Page {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Page {
            colour: io::stdout().is_terminal() && !plain,
            watched: io::stderr().is_terminal(),
            progress: Cell::default(),
        }
    }

    /// Says what is going on, on a terminal only.
    pub fn progress(&self, what: &str) {
        if self.watched {
            self.progress.set(true);
            eprint!("\r\x1b[K{what} …");
        }
    }

    pub fn no_progress(&self) {
        if self.progress.take() {
            eprint!("\r\x1b[K");
        }
    }

    /// Writes one line.
    pub fn line(&self, text: &str) -> Result<(), DemoError> {
        self.no_progress();
        match writeln!(io::stdout().lock(), "{text}") {
            // Whoever reads has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(DemoError::Output),
        }
    }

    pub fn introduce(&self, pair: &Pair) -> Result<(), DemoError> {
        self.line(&self.paint(
            BOLD,
            "ATP carries mail between agents: name@domain, and every domain runs its own server.",
        ))?;
        self.line("Here are two, on this machine alone but set up as in production: DNS, TLS 1.3, signatures, a durable spool.")?;
        self.line("")?;
        for site in [&pair.north, &pair.south] {
            let (domain, address) = (site.domain.as_str(), site.address);
            self.line(&format!(
                "  {domain:<SERVER_COLUMNS$}server {address}   agent {}",
                site.agent.address
            ))?;
        }
        let dns = pair.dns;
        self.line(&format!(
            "  {:<SERVER_COLUMNS$}DNS    {dns}   answers with the text of dns-templates/",
            "both zones"
        ))?;
        self.line("")?;
        self.line("Each line below is an event traced by the server it names, with the microseconds that server measured.")
    }

    /// Every line of a story.
    pub fn full(&self, letter: &Letter, story: &Story) -> Result<(), DemoError> {
        self.line("")?;
        self.line(&self.title("There", letter))?;
        self.lines(story.lines.iter())
    }

    /// One line a stage.
    pub fn brief(&self, title: &str, letter: &Letter, story: &Story) -> Result<(), DemoError> {
        self.line("")?;
        self.line(&self.title(title, letter))?;
        self.summary(story)
    }

    /// One line a stage, without a title.
    pub fn summary(&self, story: &Story) -> Result<(), DemoError> {
        self.lines(story.lines.iter().filter(|line| line.sums_up))
    }

    pub fn what_next(&self) -> Result<(), DemoError> {
        let program = super::keep::program();
        self.line("")?;
        self.line(&self.paint(BOLD, "What to try next"))?;
        self.line(&format!(
            "  {:<34} both servers stay, with commands to try on them",
            format!("{program} demo --keep")
        ))?;
        self.line(&format!("  {:<34} your own two servers: the quick start", "README.md"))?;
        self.line(&format!("  {:<34} what goes over the wire, and why", "docs/protocol.md"))
    }

    /// A text in bold.
    pub fn bold(&self, text: &str) -> String {
        self.paint(BOLD, text)
    }

    fn title(&self, title: &str, letter: &Letter) -> String {
        let Letter { nonce, from, to, .. } = letter;
        let text = format!("{title}: {from} writes to {to}: \"{}\"", letter.body());
        format!("{}  {}", self.paint(BOLD, &text), self.paint(DIM, &format!("nonce {nonce}")))
    }

    fn lines<'a>(&self, lines: impl Iterator<Item = &'a Line>) -> Result<(), DemoError> {
        let mut stage = None;
        for line in lines {
            let (label, server) =
                if stage == Some(line.stage) { ("", "") } else { (line.stage.label(), line.server.as_str()) };
            stage = Some(line.stage);
            self.told(label, server, line)?;
        }
        Ok(())
    }

    fn told(&self, label: &str, server: &str, line: &Line) -> Result<(), DemoError> {
        let micros = line.micros.map(|micros| format!("{} µs", thousands(micros))).unwrap_or_default();
        let colour = match line.tone {
            Tone::Bad => RED,
            Tone::Good => GREEN,
            Tone::Plain if line.stage == Stage::End => DIM,
            Tone::Plain => "",
        };
        let (mut label, mut server, mut micros) = (format!("  {label}"), server, micros.as_str());
        for text in laid_out(&line.text, &line.answer) {
            let left = self.paint(CYAN, &format!("{label:<STAGE_COLUMNS$} "));
            let right = self.paint(DIM, &format!("{micros:>MICROS_COLUMNS$}"));
            let text = self.paint(colour, &format!("{text:<TEXT_COLUMNS$}"));
            self.line(format!("{left}{server:<SERVER_COLUMNS$}{text}{right}").trim_end())?;
            (label, server, micros) = (String::new(), "", "");
        }
        Ok(())
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colour && !colour.is_empty() {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Text and answer in one line if they fit, else the answer below, cut where lines end.
fn laid_out(text: &str, answer: &str) -> Vec<String> {
    let one = if answer.is_empty() { text.to_owned() } else { format!("{text} = {answer}") };
    if one.chars().count() <= TEXT_COLUMNS {
        return vec![one];
    }
    let mut lines = wrapped(text, 0);
    lines.extend(wrapped(answer, 2));
    lines
}

/// A text in lines of [`TEXT_COLUMNS`], broken at spaces where there are any; indented, the first by `indent`.
fn wrapped(text: &str, indent: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if line.is_empty() {
            line = " ".repeat(indent);
        } else if line.chars().count() + 1 + word.chars().count() > TEXT_COLUMNS {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent.max(2))));
        } else {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// `1234567` as `1,234,567`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, want) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), want);
        }
    }

    #[test]
    fn long_texts_take_more_lines_and_stay_within_the_columns() {
        assert_eq!(laid_out("A host", "127.0.0.1"), ["A host = 127.0.0.1"]);
        assert_eq!(laid_out("short", ""), ["short"]);
        let answer = "v=atp1 ".repeat(12);
        let lines = laid_out("TXT ats._atp.north.example", &answer);
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.chars().count() <= TEXT_COLUMNS), "{lines:?}");
        assert!(lines.iter().skip(1).all(|line| line.starts_with("  v=atp1")), "{lines:?}");
    }
}
