//! Every seed in `fuzz/seeds/<target>/` through the function its fuzz target calls.

use std::fs;
use std::path::Path;

#[path = "../../fuzz/src/lib.rs"]
mod targets;

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 11] = [
    ("address", targets::address),
    ("message", targets::message),
    ("canonical", targets::canonical),
    ("svcb", targets::svcb),
    ("ats", targets::ats),
    ("atk", targets::atk),
    ("signature", targets::signature),
    ("peer_reply", targets::peer_reply),
    ("routing_read", targets::routing_read),
    ("record", targets::record),
    ("webhook_url", targets::webhook_url),
];

#[test]
fn no_seed_breaks_its_target() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for (name, target) in TARGETS {
        let mut seeds: Vec<_> = fs::read_dir(fuzz.join("seeds").join(name)).unwrap().flatten().collect();
        seeds.sort_by_key(fs::DirEntry::path);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for seed in seeds {
            println!("{}", seed.path().display());
            target(&fs::read(seed.path()).unwrap());
        }
    }
}

#[test]
fn every_target_is_run_here() {
    let manifest = include_str!("../../fuzz/Cargo.toml");
    let built: Vec<&str> =
        manifest.split("[[bin]]\nname = \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(built, TARGETS.map(|(name, _)| name));
}
