//! The mutants: small mistakes that anybody could make, as patches. `tests/simulation/mutants.sh` shows that each is found.

use std::path::Path;

const FEWEST: usize = 5;

/// A patch that no longer applies must be made anew, or it is not known any more whether its mistake would be found.
#[test]
fn every_mutant_is_of_the_present_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = 0;
    for entry in std::fs::read_dir(root.join("tests/simulation/mutants")).unwrap() {
        let path = entry.unwrap().path();
        let patch = std::fs::read_to_string(&path).unwrap();
        let file = patch.lines().find_map(|line| line.strip_prefix("--- a/"));
        let file = file.unwrap_or_else(|| panic!("{}: which file?", path.display()));
        let source = std::fs::read_to_string(root.join(file)).unwrap_or_default();
        for hunk in patch.split("\n@@ ").skip(1) {
            let lines = hunk.lines().skip(1).filter(|line| !line.starts_with('+'));
            let before: String = lines.map(|line| format!("{}\n", line.get(1..).unwrap_or(""))).collect();
            assert!(
                source.contains(&before),
                "{} no longer applies to {file}; make it anew:\n{before}",
                path.display()
            );
        }
        found += 1;
    }
    assert!(found >= FEWEST, "only {found} mutants");
}
