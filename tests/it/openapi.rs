//! The descriptions of the calls that are checked in are those that the routes make, and leave nothing out.

use std::collections::BTreeSet;

use serde_json::Value;

#[test]
fn the_descriptions_are_those_of_the_routes() {
    for (file, document) in [
        ("docs/openapi.json", atp::server::openapi::document()),
        ("docs/openapi-operator.json", atp::server::openapi::operators_document()),
    ] {
        let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
        let mut made = serde_json::to_string_pretty(&document).unwrap();
        made.push('\n');
        if std::env::var_os("ATP_TEST_WRITE_OPENAPI").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == made,
            "{file} is old: ATP_TEST_WRITE_OPENAPI=1 cargo test --test it openapi writes it anew"
        );
    }
}

#[test]
fn every_call_says_what_it_does_what_it_answers_and_what_it_refuses() {
    for document in [atp::server::openapi::document(), atp::server::openapi::operators_document()] {
        let mut names = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, call) in methods.as_object().unwrap() {
                let case = format!("{method} {path}");
                assert!(
                    call["summary"].as_str().is_some_and(|text| text.ends_with('.')),
                    "{case}: no summary"
                );
                let name = call["operationId"].as_str().unwrap();
                assert!(names.insert(name.to_owned()), "{case} is not the only {name}");
                let answers = call["responses"].as_object().unwrap();
                let (good, refusals): (Vec<_>, Vec<_>) =
                    answers.iter().partition(|(status, _)| status.starts_with('2'));
                assert!(
                    !good.is_empty() && good.iter().all(|(_, answer)| is_told(answer)),
                    "{case}: {good:?}"
                );
                assert!(answers.contains_key("500") && answers.contains_key("503"), "{case}");
                assert!(refusals.iter().all(|(_, answer)| answer["description"].is_string()), "{case}");
                for parameter in call["parameters"].as_array().into_iter().flatten() {
                    assert!(parameter["schema"].is_object(), "{case}: {parameter}");
                }
                let doors = &call["x-doors"];
                let wants_token = |door: &str| doors[door].as_array().is_some_and(|who| who[0] == "operator");
                assert!(!wants_token("listener") || answers.contains_key("401"), "{case}: a token is wanted");
                assert!(
                    doors["listener"].is_null() || method == "get" || answers.contains_key("403"),
                    "{case}: the read token is not good for that"
                );
            }
        }
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
            let schema = reference.split('"').next().unwrap();
            assert!(document["components"]["schemas"][schema].is_object(), "no schema {schema}");
        }
    }
}

/// Whether an answer's content has a form.
fn is_told(answer: &Value) -> bool {
    let content = answer["content"].as_object();
    content.is_some_and(|content| content.values().all(|form| form["schema"].is_object()))
}
