//! Every promise of `docs/security.md` names the tests that hold it, and they exist.

use super::shipped::{root, shipped};

/// A promise and its tests, as the document has them: a paragraph, then lines of `path`: `test`, `test`.
struct Promise<'a> {
    said: &'a str,
    tests: Vec<(&'a str, &'a str)>,
}

/// The promises below the heading: list items, whose tests follow a dash at their end.
fn promises(document: &str) -> Vec<Promise<'_>> {
    let (_, section) = document.split_once("\n## Each promise and its tests\n").expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let items = section.split("\n- ").skip(1);
    items
        .map(|item| {
            let item = item.split("\n\n").next().unwrap_or_default();
            let (said, tests) = item.split_once('—').unwrap_or((item, ""));
            let mut file = "";
            let quoted = tests.split('`').skip(1).step_by(2);
            let named = quoted.filter_map(|word| {
                if word.ends_with(".rs") {
                    file = word;
                    return None;
                }
                Some((file, word))
            });
            Promise { said, tests: named.collect() }
        })
        .collect()
}

#[test]
fn every_promise_names_tests_that_exist() {
    let document = shipped("docs/security.md");
    let promises = promises(&document);
    assert!(promises.len() >= 20, "{} promises", promises.len());
    for Promise { said, tests } in promises {
        assert!(!tests.is_empty(), "no test holds this: {said}");
        for (file, test) in tests {
            assert!(root().join(file).is_file(), "{file} holds nothing: {said}");
            let is_there = shipped(file).contains(&format!("fn {test}("));
            assert!(is_there, "{file} has no test {test}, which is to hold this: {said}");
        }
    }
}
