//! The description of the calls that is checked in is the one that the routes make.

/// Where it lies.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");

#[test]
fn the_description_is_that_of_the_routes() {
    let mut made = serde_json::to_string_pretty(&atp::server::openapi::document()).unwrap();
    made.push('\n');
    if std::env::var_os("ATP_TEST_WRITE_OPENAPI").is_some() {
        std::fs::write(FILE, &made).unwrap();
    }
    let kept = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        kept == made,
        "docs/openapi.json is old: ATP_TEST_WRITE_OPENAPI=1 cargo test --test it openapi writes it anew"
    );
}
