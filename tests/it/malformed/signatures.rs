//! Forms a signature can have.

use serde_json::{Value, json};

use super::World;
use crate::support::node::Node;

const BOB: &str = "bob@ours.example";

async fn refused(node: &Node, case: &str, message: &Value, (status, code): (u16, &str)) {
    node.transfer(message).await.refuses(case, status, code);
}

#[tokio::test]
async fn members_of_another_form() {
    const REFUSED: (u16, &str) = (403, "550 5.7.28");
    let World { node, peer } = &World::new().await;
    let any = [json!(null), json!(true), json!(1), json!(""), json!([]), json!({}), json!("?")];
    for member in ["key_id", "algorithm", "signature", "headers", "timestamp"] {
        for value in &any {
            // An array of no strings is an array of strings, and any integer will do.
            let fits = match member {
                "headers" => value.is_array(),
                "timestamp" => value.is_i64(),
                _ => false,
            };
            let mut message = peer.transfer(BOB);
            message["signature"][member] = value.clone();
            let case = format!("{member}: {value}");
            if fits {
                node.transfer(&message).await.accepts(&case, "accepted");
            } else {
                refused(node, &case, &message, REFUSED).await;
            }
        }
    }
    let long_selector = format!("{}.atk._atp.peer.example", "s".repeat(64));
    for key_id in [
        "default.atk._atp.",
        ".atk._atp.peer.example",
        "default.atk.peer.example",
        "default._atp.peer.example",
        "default.atk._atp.peer.example.",
        "default.atk._atp.peer.example ",
        "de fault.atk._atp.peer.example",
        "de_fault.atk._atp.peer.example",
        "a.b.atk._atp.peer.example",
        "-.atk._atp.peer.example",
        "default.atk._atp.127.0.0.1",
        "default.atk._atp.ours.example",
        "default.atk._atp.example",
        "default.atk._atp.peer.example.atk._atp.peer.example",
        "\u{0}.atk._atp.peer.example",
        "../../etc/passwd",
        &long_selector,
    ] {
        let mut message = peer.transfer(BOB);
        message["signature"]["key_id"] = json!(key_id);
        refused(node, key_id, &message, REFUSED).await;
    }
    for algorithm in ["Ed25519", "ED25519", "ed25519 ", "ed448", "hmac-sha256", "none"] {
        let mut message = peer.transfer(BOB);
        message["signature"]["algorithm"] = json!(algorithm);
        refused(node, algorithm, &message, REFUSED).await;
    }
}

#[tokio::test]
async fn spellings_of_the_64_bytes() {
    let World { node, peer } = &World::new().await;
    let message = peer.transfer(BOB);
    let text = message["signature"]["signature"].as_str().unwrap().to_owned();
    let (head, tail) = text.split_at(4);
    for (case, spelled) in [
        ("no padding", text.trim_end_matches('=').to_owned()),
        ("one = too few", text[..text.len() - 1].to_owned()),
        ("one = too many", format!("{text}=")),
        ("line break", format!("{head}\n{tail}")),
        ("space before", format!(" {text}")),
        ("one byte fewer", text[..84].to_owned()),
        ("three bytes more", format!("AAAA{text}")),
        ("twice", format!("{text}{text}")),
        ("hexadecimal", "00".repeat(64)),
        ("letters swapped", format!("{}{head}{}", &text[4..8], &text[8..])),
    ] {
        let mut message = message.clone();
        message["signature"]["signature"] = json!(spelled);
        refused(node, case, &message, (403, "550 5.7.28")).await;
    }
    node.transfer(&message).await.accepts("as it was", "accepted");
}
