//! `atp dns generate`

use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};
use serde_json::json;

use super::Domains;
use super::target::Target;
use crate::cli::error::CliError;
use crate::cli::output::{self, Output};
use crate::config::Config;
use crate::dns_records::check::reach::is_public;
use crate::dns_records::formats::{self, Format};
use crate::dns_records::{Host, Plan, Site};
use crate::env::rng::SystemRng;
use crate::proto::address::Domain;
use crate::proto::limits::DEFAULT_PORT;
use crate::sign::KeyError;
use crate::sign::keyring::FIRST_SELECTOR;

/// Largest template of the operator's own.
const MAX_TEMPLATE_BYTES: u64 = 1024 * 1024;
/// TTLs that name servers and providers take, in seconds.
const TTL_SECONDS: std::ops::RangeInclusive<i64> = 60..=86_400;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Zone,
    Cloudflare,
    Route53,
    Terraform,
    Octodns,
    Json,
    Nsupdate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Provider {
    Cloudflare,
    Route53,
}

/// `atp dns generate`
#[derive(Args)]
pub(in crate::cli) struct Generate {
    #[command(flatten)]
    domains: Domains,
    /// How to print them
    #[arg(long, env = "ATP_DNS_FORMAT", value_name = "FORMAT", value_enum, default_value_t = Form::Zone)]
    format: Form,
    /// For --format terraform: whose resources
    #[arg(long, env = "ATP_DNS_PROVIDER", value_name = "PROVIDER", value_enum, default_value_t = Provider::Cloudflare)]
    provider: Provider,
    /// A template of your own instead of a format
    #[arg(long, env = "ATP_DNS_TEMPLATE", value_name = "FILE", conflicts_with = "format")]
    template: Option<PathBuf>,
    /// A key to publish [default: all of the domain's]
    #[arg(long, env = "ATP_SELECTOR", value_name = "SELECTOR")]
    selector: Option<String>,
    /// The server's port [default: that of --config, else 7443]
    #[arg(long, env = "ATP_PORT")]
    port: Option<u16>,
    /// A host of the server, with its addresses and its priority; may be repeated [default: atp.DOMAIN, --ip]
    #[arg(long, env = "ATP_TARGET", value_name = "HOST[=IP,..][@PRIORITY]", value_delimiter = ' ')]
    target: Vec<Target>,
    /// A public address of the server, IPv4 or IPv6; may be repeated
    #[arg(long, env = "ATP_IP", value_name = "IP", num_args = 1.., value_delimiter = ',')]
    ip: Vec<IpAddr>,
    /// Seconds that resolvers keep a record [default: 3600, and 900 for keys]
    #[arg(long, env = "ATP_DNS_TTL", value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(TTL_SECONDS))]
    ttl: Option<u32>,
    /// Print SRV records too, for who cannot publish SVCB
    #[arg(long, env = "ATP_DNS_SRV", value_parser = FalseyValueParser::new())]
    srv: bool,
    /// The zone the records go into [default: the domain]
    #[arg(long, env = "ATP_DNS_ZONE", value_name = "ZONE")]
    zone: Option<Domain>,
}

impl Generate {
    pub async fn run(&self, output: &Output) -> Result<(), CliError> {
        let config = self.domains.file.read()?;
        let domains = self.domains.list(config.as_ref(), false)?;
        let plan = self.plan(&domains, config.as_ref()).await?;
        for ip in plan.senders().iter().filter(|ip| !is_public(**ip)) {
            eprintln!(
                "atp: {ip} is not a public address; servers in other networks know this one by another"
            );
        }
        let text = match &self.template {
            Some(file) => formats::print_with(&plan, &file.display().to_string(), &read(file)?)?,
            None => formats::print(&plan, self.format(&domains)?)?,
        };
        if output.is_json() && self.format == Form::Zone {
            let names: Vec<&str> = domains.iter().map(Domain::as_str).collect();
            return output::print_json(&json!({ "domain": names.first(), "domains": names, "zone": text }));
        }
        output::print(&text)
    }

    fn format(&self, domains: &[Domain]) -> Result<Format, CliError> {
        let format = match (self.format, self.provider) {
            (Form::Zone, _) => Format::Zone,
            (Form::Cloudflare, _) => Format::Cloudflare,
            (Form::Route53, _) => Format::Route53,
            (Form::Terraform, Provider::Cloudflare) => Format::TerraformCloudflare,
            (Form::Terraform, Provider::Route53) => Format::TerraformRoute53,
            (Form::Octodns, _) => Format::Octodns,
            (Form::Json, _) => Format::Json,
            (Form::Nsupdate, _) => Format::Nsupdate,
        };
        if format.is_of_one_zone() && self.zone.is_none() && domains.len() > 1 {
            return Err(CliError::usage(
                "this format is for one zone at a time: give one --domain, or the --zone that all are in",
            ));
        }
        Ok(format)
    }

    async fn plan(&self, domains: &[Domain], config: Option<&Config>) -> Result<Plan, CliError> {
        let mut sites = Vec::with_capacity(domains.len());
        for domain in domains {
            sites.push(self.site(domain).await?);
        }
        if let Some(outside) =
            self.zone.as_ref().and_then(|zone| domains.iter().find(|domain| !domain.is_within(zone)))
        {
            return Err(CliError::usage(format!("{outside} is not in the zone of --zone; leave --zone out")));
        }
        let hosts = self.hosts(domains)?;
        let port = self.port.or(config.map(|config| config.server.port)).unwrap_or(DEFAULT_PORT);
        Ok(Plan { sites, hosts, port, ttl: self.ttl, srv: self.srv, zone: self.zone.clone() })
    }

    fn hosts(&self, domains: &[Domain]) -> Result<Vec<Host>, CliError> {
        let mut targets = self.target.clone();
        if targets.is_empty() {
            let first = domains.first();
            let too_long = || CliError::usage("atp.DOMAIN is too long a host name; give --target");
            let name = first.and_then(Domain::default_target).ok_or_else(too_long)?;
            targets.push(Target { name, addresses: Vec::new(), priority: 1 });
        }
        let host = |target: Target| {
            let Target { name, addresses, priority } = target;
            let addresses = if addresses.is_empty() { self.ip.clone() } else { addresses };
            match addresses.is_empty() {
                true => Err(CliError::usage(format!(
                    "which address has {name}? give --ip, or --target {name}=IP"
                ))),
                false => Ok(Host { name, priority, addresses }),
            }
        };
        targets.into_iter().map(host).collect()
    }

    async fn site(&self, domain: &Domain) -> Result<Site, CliError> {
        let mut ring = self.domains.ring(domain)?;
        if ring.keys().next().is_none() {
            // A ring that has lost its key is not one that never had any.
            if let Err(lost @ KeyError::Lost { .. }) = ring.active() {
                return Err(lost.into());
            }
            self.domains.may_make_key(domain).await?;
            let selector = self.selector.as_deref().unwrap_or(FIRST_SELECTOR);
            let key = ring.generate(selector, &SystemRng)?;
            let path = ring.key_path(key.id().selector());
            eprintln!("atp: {domain} had no key; made one: {}", path.display());
        }
        let keys = match &self.selector {
            Some(selector) => vec![ring.key(selector)?.clone()],
            None => ring.keys().cloned().collect(),
        };
        let keys = keys.iter().map(|key| (key.id().clone(), key.record())).collect();
        Ok(Site { domain: domain.clone(), keys })
    }
}

fn read(file: &Path) -> Result<String, CliError> {
    let failed =
        |why: String| CliError::failed(format!("cannot read the template {}: {why}", file.display()));
    let mut text = String::new();
    let open = File::open(file).map_err(|error| failed(error.to_string()))?;
    let read = open.take(MAX_TEMPLATE_BYTES + 1).read_to_string(&mut text);
    read.map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > MAX_TEMPLATE_BYTES {
        return Err(failed(format!("it is over {MAX_TEMPLATE_BYTES} bytes")));
    }
    Ok(text)
}
