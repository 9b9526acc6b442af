//! `atp keys list`

use std::net::SocketAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use clap::builder::FalseyValueParser;
use serde_json::{Value, json};

use super::Ring;
use super::words::{described, story};
use crate::cli::as_server::Names;
use crate::cli::error::CliError;
use crate::cli::output::{self, Output};
use crate::cli::server::resolver;
use crate::env::clock::{Clock as _, SystemClock};
use crate::env::local::LocalDirectory;
use crate::sign::publication::{Showing, Sight, Witness};
use crate::sign::{Key, Keyring};

/// `atp keys list`
#[derive(Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    ring: Ring,
    /// Ask the name servers now, instead of showing what the running server last saw
    #[arg(long, env = "ATP_CHECK", value_parser = FalseyValueParser::new())]
    check: bool,
    /// With --check: a DNS resolver to ask [default: those of --config, else the system's]; may be repeated
    #[arg(long, env = "ATP_DNS_SERVER", value_name = "IP:PORT", value_delimiter = ',', value_parser = resolver)]
    dns_server: Vec<SocketAddr>,
}

impl List {
    pub(super) async fn run(&self, output: &Output) -> Result<(), CliError> {
        let ring = self.ring.open()?;
        let witness = if self.check { Some(self.witness()?) } else { None };
        let (mut json, mut lines) = (Vec::new(), Vec::new());
        for key in ring.keys() {
            let sight = match &witness {
                Some(witness) => Some(witness.ask(key, SystemClock.now()).await),
                None => None,
            };
            if output.is_json() {
                json.push(for_programs(&ring, key, sight.as_ref()));
            } else {
                lines.push(line(&ring, key));
                lines.extend(sight.iter().flat_map(places).map(|place| format!("{:16} {place}", "")));
            }
        }
        if output.is_json() {
            return output::print_json(&json);
        }
        output::print(if lines.is_empty() { "No keys found.".into() } else { lines.join("\n") }.as_str())
    }

    fn witness(&self) -> Result<Witness, CliError> {
        let (home, _) = self.ring.locate()?;
        let config = self.ring.file.read()?;
        let names = Names::of(&self.dns_server, config.as_ref())?;
        Ok(names.witness(LocalDirectory::new(home.root())))
    }
}

fn line(ring: &Keyring, key: &Key) -> String {
    let (state, public) = (ring.state(key, SystemClock.now()), BASE64_STANDARD.encode(key.public_key()));
    format!("{:<16} {state:<8} {public}\n{:16} {}", key.id().selector(), "", story(ring, key))
}

/// What each name server shows, a line each.
fn places(sight: &Sight) -> Vec<String> {
    match sight {
        Sight::Nearby(showing) => vec![format!("this machine: {}", said(showing))],
        Sight::Unknown(trouble) => vec![format!("its name servers cannot be found: {trouble}; try again")],
        Sight::Servers(places, _) => places
            .iter()
            .map(|place| {
                let (server, said) =
                    (output::one_line(&place.server), output::one_line(&said(&place.showing)));
                format!("{server} ({}): {said}", place.address)
            })
            .collect(),
    }
}

fn said(showing: &Showing) -> String {
    match showing {
        Showing::Shows => "shows it".into(),
        Showing::Absent => "no record".into(),
        Showing::Otherwise(how) => how.clone(),
        Showing::Silent(trouble) => trouble.to_string(),
    }
}

fn for_programs(ring: &Keyring, key: &Key, sight: Option<&Sight>) -> Value {
    let mut value = described(ring, key);
    let servers = sight.map(|sight| match sight {
        Sight::Nearby(showing) => {
            json!([{ "server": null, "shows": *showing == Showing::Shows, "said": said(showing) }])
        }
        Sight::Unknown(trouble) => json!([{ "server": null, "shows": false, "said": trouble.to_string() }]),
        Sight::Servers(places, _) => places
            .iter()
            .map(|place| {
                json!({ "server": place.server, "address": place.address,
                        "shows": place.showing == Showing::Shows, "said": said(&place.showing) })
            })
            .collect(),
    });
    if let (Some(members), Some(servers)) = (value.as_object_mut(), servers) {
        members.insert("servers".into(), servers);
    }
    value
}
