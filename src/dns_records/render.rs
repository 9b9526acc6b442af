//! Zone text from templates.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use minijinja::{Environment, UndefinedBehavior, Value, context};

use super::Records;
use super::plan::{DEFAULT_KEY_TTL, Plan, Site, quoted_strings};
use crate::proto::atk::KeyRecord;
use crate::proto::signature::KeyId;

/// The templates the records are printed from, in the order they are printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Templates {
    /// Where the server is.
    pub discovery: Cow<'static, str>,
    /// Its host's addresses.
    pub address: Cow<'static, str>,
    /// Who may send.
    pub ats: Cow<'static, str>,
    /// Who signs.
    pub atk: Cow<'static, str>,
}

impl Default for Templates {
    /// Those of `dns-templates/`, as they were when the program was built.
    fn default() -> Templates {
        Templates {
            discovery: include_str!("../../dns-templates/discovery.zone.in").into(),
            address: include_str!("../../dns-templates/address.zone.in").into(),
            ats: include_str!("../../dns-templates/ats.zone.in").into(),
            atk: include_str!("../../dns-templates/atk.zone.in").into(),
        }
    }
}

impl Templates {
    /// Those of another directory, which has the same four files.
    ///
    /// # Errors
    /// [`TemplateError`] if one cannot be read.
    pub fn from_dir(directory: &Path) -> Result<Templates, TemplateError> {
        let read = |template: &'static str| {
            let text = std::fs::read_to_string(directory.join(template));
            text.map(Cow::Owned).map_err(|error| TemplateError::new(template, error))
        };
        Ok(Templates {
            discovery: read("discovery.zone.in")?,
            address: read("address.zone.in")?,
            ats: read("ats.zone.in")?,
            atk: read("atk.zone.in")?,
        })
    }
}

/// A template that cannot be read or filled in. The text is one line.
#[derive(Debug, thiserror::Error)]
#[error("template {template}: {cause}")]
pub struct TemplateError {
    template: String,
    cause: String,
}

impl TemplateError {
    /// What is wrong with a template, on one line.
    pub(super) fn new(template: &str, cause: impl fmt::Display) -> TemplateError {
        TemplateError { template: template.to_owned(), cause: cause.to_string().replace('\n', " ") }
    }
}

/// Prints all records as zone text with absolute names, which needs no `$ORIGIN`.
///
/// # Errors
/// [`TemplateError`] if a template is wrong; those shipped are not.
pub fn render(records: &Records, templates: &Templates) -> Result<String, TemplateError> {
    render_plan(&records.plan(), templates)
}

/// Prints a plan likewise: domain by domain, the addresses of the hosts once.
///
/// # Errors
/// As [`render`].
pub fn render_plan(plan: &Plan, templates: &Templates) -> Result<String, TemplateError> {
    let mut zone = String::new();
    for (index, site) in plan.sites.iter().enumerate() {
        let variables = site_variables(plan, site);
        zone.push_str(&fill_in("discovery.zone.in", &templates.discovery, variables.clone())?);
        if index == 0 {
            zone.push_str(&fill_in("address.zone.in", &templates.address, variables.clone())?);
        }
        zone.push_str(&fill_in("ats.zone.in", &templates.ats, variables)?);
        for (id, record) in &site.keys {
            let variables = key_variables(id, record, plan.key_ttl());
            zone.push_str(&fill_in("atk.zone.in", &templates.atk, variables)?);
        }
    }
    Ok(zone)
}

/// Prints a key's record alone, as after a rotation.
///
/// # Errors
/// As [`render`].
pub fn render_key(
    key_id: &KeyId,
    record: &KeyRecord,
    templates: &Templates,
) -> Result<String, TemplateError> {
    fill_in("atk.zone.in", &templates.atk, key_variables(key_id, record, DEFAULT_KEY_TTL))
}

/// The template filled in, ending in one line feed.
fn fill_in(template: &str, text: &str, variables: Value) -> Result<String, TemplateError> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("txt", |text: String| quoted_strings(text));
    let filled_in = environment.render_str(text, variables);
    let zone = filled_in.map_err(|error| TemplateError::new(template, error))?;
    Ok(format!("{}\n", zone.trim_end()))
}

fn key_variables(key_id: &KeyId, record: &KeyRecord, ttl: u32) -> Value {
    context! {
        domain => key_id.domain().as_str(),
        selector => key_id.selector(),
        public_key => BASE64_STANDARD.encode(record.key),
        revoked => record.revoked,
        expires => record.expires,
        ttl => ttl,
    }
}

fn site_variables(plan: &Plan, site: &Site) -> Value {
    let hosts = plan.hosts.iter().map(|host| {
        context! {
            target => host.name.as_str(),
            in_zone => plan.zone_of_host(&host.name).is_some(),
            priority => host.priority,
            addresses => host.addresses.iter().map(address).collect::<Vec<_>>(),
        }
    });
    context! {
        domain => site.domain.as_str(),
        hosts => hosts.collect::<Vec<_>>(),
        port => plan.port,
        srv => plan.srv,
        ttl => plan.record_ttl(),
        addresses => plan.senders().iter().map(address).collect::<Vec<_>>(),
    }
}

fn address(ip: &IpAddr) -> Value {
    let ip = ip.to_canonical();
    context! { ip => ip.to_string(), kind => if ip.is_ipv4() { "A" } else { "AAAA" } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::address::Domain;
    use crate::proto::ats::Policy;

    fn records(target: &str, addresses: &[&str]) -> Records {
        Records {
            target: Domain::parse(target).unwrap(),
            port: 7443,
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            key_id: KeyId::new("default", Domain::parse("example.com").unwrap()).unwrap(),
            public_key: [7; 32],
            expires: None,
        }
    }

    fn lines(zone: &str) -> Vec<&str> {
        zone.lines().filter(|line| !line.starts_with(';')).collect()
    }

    #[test]
    fn the_shipped_templates_print_the_records_of_the_protocol() {
        let zone =
            render(&records("atp.example.com", &["203.0.113.1", "2001:db8::1"]), &Templates::default())
                .unwrap();
        let key = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
        assert_eq!(
            lines(&zone),
            [
                r#"_atp.example.com. 3600 IN SVCB 1 atp.example.com. port=7443 alpn="atp/1,h2,http/1.1" key65280="message""#,
                "atp.example.com. 3600 IN A 203.0.113.1",
                "atp.example.com. 3600 IN AAAA 2001:db8::1",
                r#"ats._atp.example.com. 3600 IN TXT "v=atp1 allow=ip:203.0.113.1 allow=ip:2001:db8::1 deny=all""#,
                &format!(r#"default.atk._atp.example.com. 900 IN TXT "v=atp1 k=ed25519 p={key}""#),
            ]
        );
        assert!(zone.ends_with('\n') && !zone.contains("\n\n"), "{zone}");
    }

    #[test]
    fn the_policy_is_the_one_we_would_write_ourselves() {
        let records = records("atp.example.com", &["203.0.113.1", "::ffff:192.0.2.1", "2001:db8::1"]);
        let zone = render(&records, &Templates::default()).unwrap();
        assert!(zone.contains(&format!("\"{}\"", Policy::for_addresses(&records.addresses))), "{zone}");
    }

    #[test]
    fn a_target_elsewhere_has_no_address_records_here() {
        let zone = render(&records("mx.provider.net", &["203.0.113.1"]), &Templates::default()).unwrap();
        assert!(!zone.contains(" IN A "), "{zone}");
        assert!(zone.contains("; The addresses of mx.provider.net"), "{zone}");
    }

    #[test]
    fn a_key_is_printed_with_its_end_and_whether_it_is_revoked() {
        let id = KeyId::new("next", Domain::parse("example.com").unwrap()).unwrap();
        for (revoked, expires) in [(false, None), (true, None), (false, Some(1_900_000_000)), (true, Some(7))]
        {
            let record = KeyRecord { key: [7; 32], revoked, expires };
            let zone = render_key(&id, &record, &Templates::default()).unwrap();
            assert!(zone.contains(&format!("next.atk._atp.example.com. 900 IN TXT \"{record}\"")), "{zone}");
        }
    }

    #[test]
    fn long_texts_are_split_and_odd_bytes_escaped() {
        let long = "x".repeat(600);
        let quoted = quoted_strings(&long);
        let strings: Vec<_> = quoted.split(' ').map(|part| part.trim_matches('"').len()).collect();
        assert_eq!(strings, [255, 255, 90]);
        assert_eq!(quoted_strings("a\"b\\c\u{e9}\n"), r#""a\"b\\c\195\169\010""#);
        assert_eq!(quoted_strings(""), "");
    }

    #[test]
    fn the_zone_text_is_read_by_hickory() {
        use hickory_resolver::proto::rr::{Name, RecordType};
        use hickory_resolver::proto::serialize::txt::Parser;
        let many: Vec<String> = (0..40).map(|n| format!("2001:db8:aaaa:bbbb:cccc::{n:x}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let zone = render(&records("atp.example.com", &many), &Templates::default()).unwrap();
        let origin = Name::from_ascii("example.com.").unwrap();
        let (_, sets) = Parser::new(zone, None, Some(origin)).parse().unwrap();
        let count = |kind| sets.values().filter(|set| set.record_type() == kind).count();
        assert_eq!((count(RecordType::SVCB), count(RecordType::TXT), count(RecordType::AAAA)), (1, 2, 1));
    }

    #[test]
    fn a_wrong_template_is_named_on_one_line() {
        for wrong in ["{{ nothing }}", "{% if %}", "{{ domain | upper }}"] {
            let templates = Templates { ats: wrong.into(), ..Templates::default() };
            let error = render(&records("a.b", &["192.0.2.1"]), &templates).unwrap_err().to_string();
            assert!(error.starts_with("template ats.zone.in: ") && !error.contains('\n'), "{error}");
        }
    }
}
