use super::*;
use crate::env::rng::SystemRng;
use crate::proto::address::Domain;
use crate::proto::signature::KeyId;
use crate::testing::authorities::ScriptedAuthorities;
use crate::testing::resolver::ScriptedResolver;

const NOW: UnixMillis = UnixMillis(1_795_176_000_000);
const TTL: Duration = Duration::from_secs(300);

fn key(expires: Option<i64>) -> Key {
    let id = KeyId::new("next", Domain::parse("a.example").unwrap()).unwrap();
    Key::generate(id, &SystemRng).noted(expires, false)
}

fn witness(authorities: &Arc<ScriptedAuthorities>) -> Witness {
    Witness {
        names: Arc::new(ScriptedResolver::new()),
        authorities: authorities.clone(),
        overrides: Overrides::default(),
        explicit: false,
    }
}

#[tokio::test]
async fn what_a_record_is_worth_to_a_key() {
    let otherwise = |text: &str| Showing::Otherwise(text.to_owned());
    let end = NOW.seconds() + 1000;
    let key = key(Some(end));
    let record = key.record();
    for (name, texts, want) in [
        ("as it should be", vec![record.to_string()], Showing::Shows),
        ("without the end", vec![KeyRecord { expires: None, ..record }.to_string()], Showing::Shows),
        ("beside others", vec!["x=y".into(), record.to_string()], Showing::Shows),
        ("none", vec![], Showing::Absent),
        ("of others", vec!["x=y".into()], Showing::Absent),
        ("twice", vec![record.to_string(); 2], otherwise("two v=atp1 records")),
        ("another", vec![KeyRecord { key: [7; 32], ..record }.to_string()], otherwise("another key")),
        (
            "revoked",
            vec![KeyRecord { revoked: true, ..record }.to_string()],
            otherwise("it is revoked there (t=s)"),
        ),
        (
            "expired",
            vec![KeyRecord { expires: Some(NOW.seconds()), ..record }.to_string()],
            otherwise("it has expired there (x=)"),
        ),
        (
            "sooner",
            vec![KeyRecord { expires: Some(end - 1), ..record }.to_string()],
            otherwise("it ends earlier there (x=)"),
        ),
        ("nonsense", vec!["v=atp1 k=rsa".into()], otherwise("the key record is not for ed25519")),
    ] {
        let authorities = Arc::new(ScriptedAuthorities::new("a.example", 1));
        authorities.txt("next.atk._atp.a.example", &texts.iter().map(String::as_str).collect::<Vec<_>>());
        let Sight::Servers(places, _) = witness(&authorities).ask(&key, NOW).await else { panic!("{name}") };
        assert_eq!(places[0].showing, want, "{name}");
    }
}

#[tokio::test]
async fn the_wait_is_bounded_and_outlasts_another_keys_record() {
    let key = key(None);
    for (negative, texts, want) in [
        (TTL, vec![], 300),
        (Duration::from_secs(7 * 24 * 3600), vec![], 3 * 3600),
        // Its TTL is 900.
        (TTL, vec![KeyRecord { key: [7; 32], ..key.record() }.to_string()], 900),
    ] {
        let authorities = Arc::new(ScriptedAuthorities::new("a.example", 1));
        authorities.negative_ttl(negative).ttl(Duration::from_secs(900));
        authorities.txt("next.atk._atp.a.example", &texts.iter().map(String::as_str).collect::<Vec<_>>());
        let Sight::Servers(_, wanted) = witness(&authorities).ask(&key, NOW).await else {
            panic!("{texts:?}")
        };
        assert_eq!(wanted.as_secs(), want, "{texts:?}");
    }
}
