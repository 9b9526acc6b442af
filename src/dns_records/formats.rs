//! The records in the forms that name servers and providers take, each from a template of `dns-templates/`.

use std::collections::BTreeSet;

use minijinja::{Environment, UndefinedBehavior, Value, context};

use super::plan::{Data, Entry, Plan, quoted_strings, svcb_parameters};
use super::render::{TemplateError, Templates, render_plan};

/// Whom the records are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Zone text (RFC 1035 §5).
    Zone,
    /// A batch of records for Cloudflare's API.
    Cloudflare,
    /// A change batch for Amazon Route 53.
    Route53,
    /// Terraform resources of Cloudflare's provider.
    TerraformCloudflare,
    /// Terraform resources of Amazon's provider.
    TerraformRoute53,
    /// A zone file of octoDNS.
    Octodns,
    /// A script for nsupdate (RFC 2136).
    Nsupdate,
    /// For programs.
    Json,
}

impl Format {
    /// Whether its consumer takes one zone at a time.
    pub fn is_of_one_zone(self) -> bool {
        matches!(self, Format::Cloudflare | Format::Route53 | Format::Octodns)
    }

    fn template(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            Format::Zone => return None,
            Format::Cloudflare => {
                ("cloudflare.json.in", include_str!("../../dns-templates/cloudflare.json.in"))
            }
            Format::Route53 => ("route53.json.in", include_str!("../../dns-templates/route53.json.in")),
            Format::TerraformCloudflare => {
                ("terraform-cloudflare.tf.in", include_str!("../../dns-templates/terraform-cloudflare.tf.in"))
            }
            Format::TerraformRoute53 => {
                ("terraform-route53.tf.in", include_str!("../../dns-templates/terraform-route53.tf.in"))
            }
            Format::Octodns => ("octodns.yaml.in", include_str!("../../dns-templates/octodns.yaml.in")),
            Format::Nsupdate => ("nsupdate.in", include_str!("../../dns-templates/nsupdate.in")),
            Format::Json => ("records.json.in", include_str!("../../dns-templates/records.json.in")),
        })
    }
}

/// Prints a plan in a format.
///
/// # Errors
/// [`TemplateError`] if a template is wrong; those shipped are not.
pub fn print(plan: &Plan, format: Format) -> Result<String, TemplateError> {
    match format.template() {
        Some((name, text)) => print_with(plan, name, text),
        None => render_plan(plan, &Templates::default()),
    }
}

/// Prints a plan with a template, which errors call `name`. It has the variables `records`, `sets` (records of one
/// name and type together), `zones` (these by zone), `domains` and `foreign_hosts`, and the filters `json` and `txt`.
///
/// # Errors
/// [`TemplateError`] naming what is wrong with the template.
pub fn print_with(plan: &Plan, name: &str, text: &str) -> Result<String, TemplateError> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("json", |text: String| serde_json::Value::from(text).to_string());
    environment.add_filter("txt", |text: String| quoted_strings(text));
    // Terraform's Amazon provider puts the outermost quotes itself, and wants nothing between two strings.
    environment
        .add_filter("inner_strings", |quoted: String| quoted.trim_matches('"').replace("\" \"", "\"\""));
    let printed = environment.render_str(text, variables(plan));
    let printed = printed.map_err(|error| TemplateError::new(name, error))?;
    Ok(format!("{}\n", printed.trim_end()))
}

fn variables(plan: &Plan) -> Value {
    let entries = plan.entries();
    let sets = sets(&entries);
    let mut names: Vec<&str> = Vec::new();
    for entry in &entries {
        if !names.contains(&entry.zone.as_str()) {
            names.push(&entry.zone);
        }
    }
    let zones: Vec<Value> = names.into_iter().map(|zone| zone_value(zone, &sets)).collect();
    let foreign = plan.hosts.iter().filter(|host| plan.zone_of_host(&host.name).is_none());
    context! {
        records => entries.iter().map(record_value).collect::<Vec<_>>(),
        sets => sets.iter().map(|set| set_value(set)).collect::<Vec<_>>(),
        zones => zones,
        domains => plan.sites.iter().map(|site| Value::from(site.domain.as_str())).collect::<Vec<_>>(),
        foreign_hosts => foreign.map(|host| Value::from(host.name.as_str())).collect::<Vec<_>>(),
    }
}

fn zone_value(zone: &str, sets: &[Vec<&Entry>]) -> Value {
    let of_zone: Vec<_> = sets.iter().filter(|set| set.iter().all(|entry| entry.zone == zone)).collect();
    let names: BTreeSet<&str> =
        of_zone.iter().flat_map(|set| set.iter()).map(|entry| relative(entry)).collect();
    let names = names.into_iter().map(|name| {
        let is_of_name = |set: &&&Vec<&Entry>| set.iter().all(|entry| relative(entry) == name);
        let sets = of_zone.iter().filter(is_of_name).map(|set| set_value(set));
        context! { name => name, sets => sets.collect::<Vec<_>>() }
    });
    context! {
        name => zone,
        names => names.collect::<Vec<_>>(),
        sets => of_zone.iter().map(|set| set_value(set)).collect::<Vec<_>>(),
    }
}

/// The records of one name and type together, in the order of the first of each.
fn sets(entries: &[Entry]) -> Vec<Vec<&Entry>> {
    let mut sets: Vec<Vec<&Entry>> = Vec::new();
    for entry in entries {
        let same = |set: &&mut Vec<&Entry>| {
            set.first()
                .is_some_and(|first| first.name == entry.name && first.data.kind() == entry.data.kind())
        };
        match sets.iter_mut().find(same) {
            Some(set) => set.push(entry),
            None => sets.push(vec![entry]),
        }
    }
    sets
}

fn set_value(set: &[&Entry]) -> Value {
    let Some(first) = set.first() else { return Value::UNDEFINED };
    context! {
        label => label(first),
        records => set.iter().map(|entry| record_value(entry)).collect::<Vec<_>>(),
        ..record_value(first)
    }
}

fn record_value(entry: &Entry) -> Value {
    let own = match &entry.data {
        Data::Svcb { priority, target, port } => context! {
            priority => priority,
            target => target,
            port => port,
            parameters => svcb_parameters(*port),
        },
        Data::Srv { priority, target, port } => {
            context! { priority => priority, weight => 0, target => target, port => port }
        }
        Data::Txt(text) => context! { text => text },
        Data::Address(ip) => context! { address => ip.to_string() },
    };
    context! {
        zone => entry.zone.as_str(),
        name => entry.name.as_str(),
        relative => relative(entry),
        type => entry.data.kind(),
        ttl => entry.ttl,
        value => entry.data.to_string(),
        ..own
    }
}

/// The name within its zone; empty for the zone itself.
fn relative(entry: &Entry) -> &str {
    let within = entry.name.strip_suffix(entry.zone.as_str());
    within.map_or(entry.name.as_str(), |rest| rest.trim_end_matches('.'))
}

/// A name for configuration languages: letters, digits, hyphens and underscores, the first a letter. No two sets have the
/// same.
fn label(entry: &Entry) -> String {
    let text = format!("{}_{}", entry.name, entry.data.kind().to_ascii_lowercase());
    let text = text.trim_start_matches('_');
    let start = if text.starts_with(|c: char| c.is_ascii_alphabetic()) { "" } else { "r_" };
    let text = text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' });
    start.chars().chain(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found when `a-b.example` and `a.b.example` were one resource, and `1.example` was none.
    #[test]
    fn labels_are_names_in_terraform_and_all_different() {
        let label_of = |name: &str| {
            let data = Data::Address([192, 0, 2, 1].into());
            label(&Entry { zone: "example".into(), name: name.into(), ttl: 60, data })
        };
        let labels = ["a-b.example", "a.b.example", "1.example", "_atp.a.example"].map(label_of);
        assert_eq!(labels, ["a-b_example_a", "a_b_example_a", "r_1_example_a", "atp_a_example_a"]);
    }
}
