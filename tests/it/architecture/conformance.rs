//! The conformance suite knows nothing of the server that it tests.

use std::fs;
use std::path::{Path, PathBuf};

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_conformance_suite_uses_nothing_of_ours() {
    let mut found = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance"), &mut found);
    assert!(found.len() > 20, "{} files", found.len());
    for path in found {
        let text = fs::read_to_string(&path).unwrap();
        let names_ours = text.contains("atp::") || text.contains("extern crate");
        // One file of the other tests may be used: how Python packages are installed.
        let others = text.matches("#[path").count();
        let allowed = usize::from(text.contains(r#"#[path = "../python/environment.rs"]"#));
        assert!(!names_ours && others == allowed, "{} uses what it tests", path.display());
    }
}
