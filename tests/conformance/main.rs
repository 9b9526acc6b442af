//! Asks a server, over the wire alone, for what `docs/protocol.md` says: README.md tells how.

mod agent;
mod cases;
mod neighbour;
mod options;
mod runner;
mod sender;
mod site;
mod suite;
mod table;
mod target;
mod wire;

#[path = "../python/environment.rs"]
mod environment;

use std::process::ExitCode;

use environment::Environment;
use options::Options;
use table::Differences;
use target::Target;

const REFERENCE: Environment = Environment {
    name: "reference-env",
    requirements: include_str!("../reference/requirements.txt"),
    probe: "import atp",
    mode: "ATP_TEST_REFERENCE",
    subject: "the Python reference",
    alone: "ATP_CONFORMANCE_TARGET=reference cargo test --test conformance",
};

fn main() -> ExitCode {
    match run(&Options::from_arguments()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all is as it should be.
fn run(options: &Options) -> Result<bool, String> {
    let cases = cases::all();
    if options.list {
        cases.iter().filter(|case| options.wants(&case.id)).for_each(|case| println!("{}: test", case.id));
        return Ok(true);
    }
    let differences = Differences::read(&cases)?;
    let mut is_good = true;
    for target in targets()? {
        let found = runner::run(&target, &cases, options)?;
        is_good &= found.report(&target, &cases, &differences, options.verbose);
    }
    if options.is_whole() {
        is_good &= table::check(&cases, &differences)?;
    }
    Ok(is_good)
}

/// What to test: what the environment says; otherwise ours.
fn targets() -> Result<Vec<Target>, String> {
    if let Some(target) = Target::from_environment()? {
        return Ok(vec![target]);
    }
    // Another build of the same program, such as one with a sanitizer.
    let program = std::env::var("ATP_CONFORMANCE_PROGRAM").ok().filter(|path| !path.is_empty());
    let ours = || Target::ours(program.as_deref().unwrap_or(env!("CARGO_BIN_EXE_atp")));
    let chosen = std::env::var("ATP_CONFORMANCE_TARGET").unwrap_or_default();
    match chosen.as_str() {
        "" | "ours" => Ok(vec![ours()]),
        "reference" => {
            Ok(REFERENCE.interpreter().map(|python| Target::reference(&python)).into_iter().collect())
        }
        other => Err(format!("ATP_CONFORMANCE_TARGET is {other:?}, and neither `ours` nor `reference`")),
    }
}
