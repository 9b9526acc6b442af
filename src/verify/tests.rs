use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Map, Value, json};

use super::*;
use crate::env::dns::{DnsTrouble, Kind};
use crate::proto::atk::KeyRecord;
use crate::proto::canonical;
use crate::proto::signature::Signature;
use crate::testing;
use crate::testing::clock::SetClock;
use crate::testing::resolver::ScriptedResolver;

const NOW: i64 = 1_700_000_000;
const KEY: &str = "default.atk._atp.a.example";
const POLICY: &str = "ats._atp.a.example";

fn signing_key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn world() -> Arc<ScriptedResolver> {
    let dns = ScriptedResolver::new();
    let key = signing_key().verifying_key().to_bytes();
    dns.txt(POLICY, &["v=atp1 allow=ip:192.0.2.1 deny=all"]);
    dns.txt(KEY, &[&KeyRecord { key, revoked: false, expires: None }.to_string()]);
    Arc::new(dns)
}

fn unsigned() -> Map<String, Value> {
    let value = json!({
        "from": "Ann@A.example", "to": "bob@b.example", "timestamp": NOW, "nonce": "msg-1",
        "type": "message", "payload": {"body": "x", "n": 1e16}
    });
    value.as_object().unwrap().clone()
}

fn with(field: &str, value: Value) -> Map<String, Value> {
    let mut object = unsigned();
    object.insert(field.to_owned(), value);
    object
}

fn sign_over(mut object: Map<String, Value>, form: &[u8], key_id: &str) -> Map<String, Value> {
    let bytes = signing_key().sign(form).to_bytes();
    let signature = Signature { key_id: KeyId::parse(key_id).unwrap(), bytes };
    object.insert("signature".into(), signature.to_value(NOW));
    object
}

fn signed(object: Map<String, Value>) -> Map<String, Value> {
    let form = canonical::rfc8785(&object).unwrap();
    sign_over(object, &form, KEY)
}

fn signed_as_reference(object: Map<String, Value>) -> Map<String, Value> {
    let form = canonical::reference(&object);
    sign_over(object, &form, KEY)
}

fn received(object: Map<String, Value>, source: &str) -> Received {
    let bytes = Bytes::from(serde_json::to_vec(&object).unwrap());
    Received {
        message: Message::parse(&bytes).unwrap(),
        bytes,
        source: source.parse().unwrap(),
        at: UnixMillis::from_seconds(NOW),
    }
}

fn verifier(dns: &Arc<ScriptedResolver>, refuse_neutral: bool) -> Verifier {
    let clock = Arc::new(SetClock::at(UnixMillis::from_seconds(NOW)));
    let settings = VerifySettings {
        max_message_age: Duration::from_secs(3600),
        our_domains: BTreeMap::from([(
            Domain::parse("b.example").unwrap(),
            Wanted { refuse_neutral, max_bytes: 1 << 20 },
        )]),
    };
    Verifier::new(testing::env(dns, &clock), settings)
}

async fn verify(dns: &Arc<ScriptedResolver>, object: Map<String, Value>) -> Result<Verified, Reason> {
    let result = verifier(dns, false).verify(received(object, "192.0.2.1")).await;
    result.map_err(|fault| fault.reason)
}

#[tokio::test]
async fn a_good_transfer_passes_with_its_findings() {
    let object = signed(with("x-new", json!([1.50])));
    let post = received(object.clone(), "::ffff:192.0.2.1");
    let verified = verifier(&world(), true).verify(post).await.unwrap();
    assert_eq!(verified.message().object(), &object);
    assert_eq!(verified.bytes().as_ref(), serde_json::to_vec(&object).unwrap());
    assert_eq!(verified.restored().recipient.to_string(), "bob@b.example");
    assert_eq!(verified.restored().nonce().as_str(), "msg-1");
    assert_eq!(verified.ats(), AtsVerdict::Pass);
    assert_eq!(verified.selector(), "default");
    assert_eq!(verified.source().to_string(), "192.0.2.1");
    assert_eq!(verified.at().seconds(), NOW);
}

#[tokio::test]
async fn the_references_form_passes_if_it_covers_everything() {
    let dns = world();
    assert!(verify(&dns, signed_as_reference(unsigned())).await.is_ok());
    assert!(verify(&dns, signed_as_reference(with("cc", json!([])))).await.is_ok());
    let smuggled = signed_as_reference(with("in_reply_to", json!("msg-0")));
    assert_eq!(verify(&dns, smuggled).await.unwrap_err(), Reason::BadSignature);
}

/// A message that the published implementation (Python) wrote and signed.
#[derive(serde::Deserialize)]
struct SignedByReference {
    record: String,
    body: String,
}

#[tokio::test]
async fn what_the_published_implementation_signed_passes() {
    let sample: SignedByReference =
        serde_json::from_str(include_str!("../../tests/data/signed-by-reference.json")).unwrap();
    let dns = world();
    dns.txt(KEY, &[&sample.record]);
    let object = Message::parse(sample.body.as_bytes()).unwrap().into_object();
    assert!(verify(&dns, object.clone()).await.is_ok());
    let mut changed = object;
    changed["payload"]["numbers"][2] = json!(1e17);
    assert_eq!(verify(&dns, changed).await.unwrap_err(), Reason::BadSignature);
}

#[tokio::test]
async fn rcpt_decides_for_whom_it_is() {
    let dns = world();
    let mut object = with("to", json!("eve@e.example"));
    assert_eq!(verify(&dns, signed(object.clone())).await.unwrap_err(), Reason::Forbidden);
    object.insert("routing".into(), json!({"atp": {"rcpt": "Bob@b.example"}}));
    let verified = verify(&dns, signed(object)).await.unwrap();
    assert_eq!(verified.restored().recipient.to_string(), "bob@b.example");
    assert_eq!(verified.restored().author.to().to_string(), "eve@e.example");
    let away = with("routing", json!({"atp": {"rcpt": "eve@e.example"}}));
    assert_eq!(verify(&dns, signed(away)).await.unwrap_err(), Reason::Forbidden);
}

#[tokio::test]
async fn what_can_be_refused_without_dns_is() {
    let dns = world();
    for (object, want) in [
        (with("timestamp", json!(NOW - 3601)), Reason::Stale),
        (with("timestamp", json!(NOW + 301)), Reason::Stale),
        (with("routing", json!({"atp": {"rcpt": "bob"}})), Reason::Malformed),
        (with("to", json!("eve@e.example")), Reason::Forbidden),
    ] {
        assert_eq!(verify(&dns, signed(object)).await.unwrap_err(), want);
    }
    assert!(dns.asked().is_empty());
}

#[tokio::test]
async fn what_the_policy_decides() {
    for (name, policy, refuse_neutral, want) in [
        ("denied", Some("v=atp1 deny=all"), false, Err(Reason::AtsDenied)),
        ("broken", Some("v=atp1 x=y"), false, Err(Reason::AtsBroken)),
        ("allowed", Some("v=atp1 allow=all"), true, Ok(AtsVerdict::Pass)),
        ("none", None, false, Ok(AtsVerdict::Neutral)),
        ("none, but demanded", None, true, Err(Reason::AtsDenied)),
    ] {
        let dns = world();
        dns.txt(POLICY, policy.as_slice());
        let post = received(signed(unsigned()), "192.0.2.1");
        let got = verifier(&dns, refuse_neutral).verify(post).await;
        assert_eq!(got.map(|verified| verified.ats()).map_err(|fault| fault.reason), want, "{name}");
    }
    let dns = world();
    dns.fail(POLICY, Kind::Txt, DnsTrouble::ServFail);
    assert_eq!(verify(&dns, signed(unsigned())).await.unwrap_err(), Reason::AtsLookup);
}

#[tokio::test]
async fn what_the_key_decides() {
    let key = signing_key().verifying_key().to_bytes();
    let good = KeyRecord { key, revoked: false, expires: None };
    let other = SigningKey::from_bytes(&[2; 32]).verifying_key().to_bytes();
    for (name, texts, want) in [
        ("absent", vec![], Reason::BadKey),
        ("unreadable", vec!["v=atp1 k=ed25519 p=x".to_owned()], Reason::BadKey),
        ("two", vec![good.to_string(), good.to_string()], Reason::BadKey),
        ("revoked", vec![KeyRecord { revoked: true, ..good }.to_string()], Reason::BadKey),
        ("expired", vec![KeyRecord { expires: Some(NOW), ..good }.to_string()], Reason::BadKey),
        ("another", vec![KeyRecord { key: other, ..good }.to_string()], Reason::BadSignature),
    ] {
        let dns = world();
        dns.txt(KEY, &texts.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(verify(&dns, signed(unsigned())).await.unwrap_err(), want, "{name}");
    }
    let dns = world();
    dns.fail(KEY, Kind::Txt, DnsTrouble::TimedOut);
    assert_eq!(verify(&dns, signed(unsigned())).await.unwrap_err(), Reason::AtkLookup);
}

#[tokio::test]
async fn signatures_that_do_not_count() {
    let dns = world();
    let form = canonical::rfc8785(&unsigned()).unwrap();
    let foreign = sign_over(unsigned(), &form, "default.atk._atp.evil.example");
    let below = sign_over(unsigned(), &form, "default.atk._atp.sub.a.example");
    let mut changed = signed(unsigned());
    changed.insert("payload".into(), json!({"body": "y"}));
    let mut added = signed(unsigned());
    added.insert("x-new".into(), json!(1));
    let mut respelled = signed(unsigned());
    respelled.insert("from".into(), json!("ann@a.example"));
    let mut short = signed(unsigned());
    short.insert("signature".into(), json!({"key_id": KEY, "algorithm": "ed25519"}));
    let zeros = Signature { key_id: KeyId::parse(KEY).unwrap(), bytes: [0; 64] };
    for (name, object) in [
        ("none", unsigned()),
        ("null", with("signature", Value::Null)),
        ("members missing", short),
        ("foreign key", foreign),
        ("key of a subdomain", below),
        ("payload changed", changed),
        ("field added", added),
        ("address respelled", respelled),
        ("all zero", with("signature", zeros.to_value(NOW))),
    ] {
        assert_eq!(verify(&dns, object).await.unwrap_err(), Reason::BadSignature, "{name}");
    }
    let foreign_asked = dns.asked().iter().any(|(name, _)| name.contains("evil"));
    assert!(!foreign_asked, "a foreign key is never looked up");
}

/// What `docs/protocol.md` §3 warns of: RFC 8785 covers a number as a double, and no closer.
#[tokio::test]
async fn a_number_is_signed_as_a_double() {
    let dns = world();
    let mut object = signed(with("payload", json!({"n": 9_007_199_254_740_992_u64})));
    object.insert("payload".into(), json!({"n": 9_007_199_254_740_993_u64}));
    assert!(verify(&dns, object.clone()).await.is_ok());
    object.insert("payload".into(), json!({"n": 9_007_199_254_740_994_u64}));
    assert_eq!(verify(&dns, object).await.unwrap_err(), Reason::BadSignature);
}

#[tokio::test]
async fn refusals_say_what_to_change() {
    let dns = world();
    let post = received(signed(unsigned()), "198.51.100.7");
    let fault = verifier(&dns, false).verify(post).await.unwrap_err();
    assert_eq!(fault.public, "The policy of a.example does not let 198.51.100.7 send for it.");
}
