use std::net::IpAddr;

use crate::cli::error::CliError;
use crate::cli::prompt::Prompt;
use crate::proto::address::Domain;

/// Questions to whoever sets a server up. Without a terminal, or with `--yes`, what has a default is not asked.
pub(super) struct Questions {
    prompt: Option<Prompt>,
}

/// A domain as people write it.
pub(super) fn host_name(text: &str) -> Result<Domain, String> {
    if !text.is_ascii() {
        return Err(
            "write it as DNS has it, each part with other letters than a to z in its xn-- form".into()
        );
    }
    // How zone files end a whole name.
    let domain = Domain::parse(text.strip_suffix('.').unwrap_or(text)).map_err(|error| error.to_string())?;
    if !domain.as_str().contains('.') && !domain.is_special_use() {
        return Err("it is only the last part of a name; write all of it, such as example.com".into());
    }
    Ok(domain)
}

impl Questions {
    pub(super) fn new(yes: bool) -> Questions {
        Questions { prompt: Some(Prompt::new()).filter(|prompt| !yes && prompt.is_interactive()) }
    }

    pub(super) fn domain(&self) -> Result<Domain, CliError> {
        let missing = || CliError::usage("which domain? give --domain or set ATP_DOMAIN");
        let prompt = self.prompt.ok_or_else(missing)?;
        let text = prompt.line("The domain whose mail server this is (such as example.com)", "")?;
        host_name(&text).map_err(|error| CliError::usage(format!("{text:?}: {error}")))
    }

    pub(super) fn target(&self, usual: Domain) -> Result<Domain, CliError> {
        let Some(prompt) = self.prompt else { return Ok(usual) };
        let text = prompt.line("The server's host name", usual.as_str())?;
        let wrong = |error| CliError::usage(format!("{text:?}: {error}; press Enter for {usual}"));
        host_name(&text).map_err(wrong)
    }

    pub(super) fn addresses(&self, own: &[IpAddr]) -> Result<Vec<IpAddr>, CliError> {
        let Some(prompt) = self.prompt else {
            let missing = "this machine has no public address of its own; give --ip, as others see it";
            return if own.is_empty() { Err(CliError::usage(missing)) } else { Ok(own.to_vec()) };
        };
        let usual = own.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ");
        let text = prompt.line("Its public addresses, IPv4 and IPv6", &usual)?;
        let texts = text.split([' ', ',']).filter(|text| !text.is_empty());
        let addresses = texts
            .map(|text| text.parse().map_err(|_| CliError::usage(format!("{text:?} is not an IP address"))))
            .collect::<Result<Vec<_>, _>>()?;
        if addresses.is_empty() { Err(CliError::usage("no address; give --ip")) } else { Ok(addresses) }
    }

    /// Whether the terms of service are agreed to; whoever cannot be asked has to say so by a flag.
    pub(super) fn terms(&self, target: &Domain) -> Result<bool, CliError> {
        let missing = "a certificate is given only to who agrees to the authority's terms of service; \
                       give --agree-to-terms, or --acme off";
        let prompt = self.prompt.ok_or_else(|| CliError::usage(missing))?;
        let question = format!(
            "Ask the certificate authority (Let's Encrypt unless configured otherwise) for a certificate of {target}, \
             and agree to its terms of service?"
        );
        match prompt.confirm(&question) {
            Some(true) => Ok(true),
            _ => Err(CliError::usage("not agreed; give --acme off to do without, or --cert and --key")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_no_host_name_is_refused() {
        for (text, is_good) in [("y", false), ("yes", false), ("a b.example", false), ("atp.a.example", true)]
        {
            assert_eq!(host_name(text).is_ok(), is_good, "{text}");
        }
    }
}
