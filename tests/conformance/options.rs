//! The command line: as much of the usual one of Rust's tests as makes sense here.

/// What was asked for.
#[derive(Default)]
pub struct Options {
    /// Only name the cases.
    pub list: bool,
    /// Say something about every case.
    pub verbose: bool,
    exact: bool,
    wanted: Vec<String>,
    unwanted: Vec<String>,
}

impl Options {
    pub fn from_arguments() -> Options {
        let mut options = Options::default();
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--list" => options.list = true,
                "--exact" => options.exact = true,
                "--nocapture" | "--show-output" | "-v" => options.verbose = true,
                "--skip" => options.unwanted.extend(arguments.next()),
                // Of no meaning here; their values must not be taken for names.
                "--test-threads" | "--format" | "--color" | "-Z" => drop(arguments.next()),
                flag if flag.starts_with('-') => {}
                name => options.wanted.push(name.to_owned()),
            }
        }
        options
    }

    /// Whether a case is to run: its name contains one of those that were given.
    pub fn wants(&self, id: &str) -> bool {
        let matches = |name: &String| if self.exact { id == name } else { id.contains(name.as_str()) };
        (self.wanted.is_empty() || self.wanted.iter().any(matches)) && !self.unwanted.iter().any(matches)
    }

    /// Whether all cases are to run.
    pub fn is_whole(&self) -> bool {
        self.wanted.is_empty() && self.unwanted.is_empty()
    }
}
