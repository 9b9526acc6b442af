//! The server of an agent's domain as DNS names it, for commands to which none is named.
//!
//! A password is shown to it, and whoever can forge an answer of DNS can name any host. So it counts only if it is the
//! agent's domain or below it, and its certificate has to be good for that name: nobody is asked to go on without.

use std::path::Path;
use std::sync::Arc;

use super::error::CliError;
use super::options::{NO_SERVER, ServerOptions};
use crate::discover::{Discovery, Target};
use crate::env::Env;
use crate::env::clock::SystemClock;
use crate::env::dns::Resolver;
use crate::env::dns::hickory::HickoryResolver;
use crate::env::local::LocalDirectory;
use crate::env::peers::Peers;
use crate::env::rng::SystemRng;
use crate::env::tls::TlsDial;
use crate::proto::address::{Address, Domain};

/// Names the server of `agent` in the options, which name none.
///
/// # Errors
/// Exit code 2 if DNS does not say: what to give.
pub(super) async fn name_server(options: &mut ServerOptions, agent: Option<&str>) -> Result<(), CliError> {
    let none = || CliError::usage(format!("{NO_SERVER}, or log in once: atp login"));
    let domain = agent.and_then(|agent| Address::parse(agent).ok()).map(|agent| agent.domain().clone());
    // Without a look at the certificate it could be anybody.
    let domain = domain.filter(|domain| !domain.is_special_use() && !options.no_verify).ok_or_else(none)?;
    let resolver = HickoryResolver::system().map_err(|error| unknown(&domain, &error.to_string()))?;
    options.server = Some(server_of(&domain, Arc::new(resolver)).await?);
    options.is_found = true;
    Ok(())
}

async fn server_of(domain: &Domain, dns: Arc<dyn Resolver>) -> Result<String, CliError> {
    let dial = Arc::new(TlsDial::new(Vec::new()));
    let env = Env { clock: Arc::new(SystemClock), dns, dial, rng: Arc::new(SystemRng) };
    let nowhere = LocalDirectory::new(Path::new(""));
    let route = Discovery::new(env, Peers::default(), nowhere).route(domain, None).await;
    let route = route.map_err(|fault| unknown(domain, fault.public.trim_end_matches('.')))?;
    let is_own = |target: &&Target| Domain::parse(&target.host).is_ok_and(|host| host.is_within(domain));
    if let Some(own) = route.targets.iter().find(is_own) {
        return Ok(own.to_string());
    }
    let others: Vec<String> = route.targets.iter().map(Target::to_string).collect();
    Err(CliError::usage(format!(
        "which server? DNS names {} for {domain}, a host elsewhere, which a forged answer could do as well; if it is \
         right, give it as --server",
        others.join(", ")
    )))
}

fn unknown(domain: &Domain, why: &str) -> CliError {
    let usual = domain.default_target().map(|host| format!(", usually --server {host}")).unwrap_or_default();
    CliError::usage(format!("{NO_SERVER}{usual} ({why}), or log in once: atp login"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::dns::{DnsTrouble, Kind, Record};
    use crate::proto::svcb::Svcb;
    use crate::testing::resolver::ScriptedResolver;

    async fn found(host: &str) -> Result<String, CliError> {
        let dns = ScriptedResolver::new();
        let record = Svcb { priority: 1, target: host.into(), port: Some(8443), ..Svcb::default() };
        dns.set("_atp.alpha.example", Kind::Svcb, vec![Record::Svcb(record)]);
        dns.addresses(host, &["192.0.2.1".parse().unwrap()]);
        server_of(&Domain::parse("alpha.example").unwrap(), Arc::new(dns)).await
    }

    #[tokio::test]
    async fn a_server_within_the_domain_is_found() {
        assert_eq!(found("atp.alpha.example").await.unwrap(), "atp.alpha.example:8443");
        assert_eq!(found("alpha.example").await.unwrap(), "alpha.example:8443");
    }

    #[tokio::test]
    async fn no_password_goes_to_a_host_elsewhere() {
        for host in ["atp.evil.example", "xalpha.example", "alpha.example.evil.example"] {
            let refused = found(host).await.unwrap_err();
            assert_eq!(refused.code, 2);
            assert!(
                refused.message.contains(&format!("DNS names {host}:8443 for alpha.example")),
                "{refused:?}"
            );
        }
    }

    #[tokio::test]
    async fn where_dns_says_nothing_it_is_said_what_to_give() {
        let dns = ScriptedResolver::new();
        let alpha = Domain::parse("alpha.example").unwrap();
        let none = server_of(&alpha, Arc::new(dns)).await.unwrap_err();
        assert!(none.message.contains("which server? give --server"), "{none:?}");
        assert!(
            none.message.contains("usually --server atp.alpha.example (The domain alpha.example has no"),
            "{none:?}"
        );
        let dns = ScriptedResolver::new();
        for name in ["_atp.alpha.example", "_agent.alpha.example"] {
            dns.fail(name, Kind::Svcb, DnsTrouble::TimedOut);
        }
        let trouble = server_of(&alpha, Arc::new(dns)).await.unwrap_err();
        assert!(trouble.message.contains("(DNS could not say which"), "{trouble:?}");
    }

    #[tokio::test]
    async fn nothing_is_asked_of_dns_where_no_certificate_could_prove_the_answer() {
        for (agent, no_verify) in [
            (None, false),
            (Some("bot"), false),
            (Some("bot@alice.local"), false),
            (Some("bot@alpha.example"), true),
        ] {
            let mut options = ServerOptions { server: None, no_verify, ca: None, is_found: false };
            let refused = name_server(&mut options, agent).await.unwrap_err();
            assert_eq!(refused.message, format!("{NO_SERVER}, or log in once: atp login"), "{agent:?}");
        }
    }
}
