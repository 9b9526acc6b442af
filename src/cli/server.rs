//! `atp server start`

use clap::builder::FalseyValueParser;
use clap::{Args, Subcommand};

use super::configuration::Configuration;
pub(super) use super::configuration::resolver;
use super::error::CliError;
use super::options::HomeOptions;
use crate::{daemon, observe};

/// Run the server.
#[derive(Subcommand)]
pub(super) enum Server {
    /// Start the server of one or more domains
    Start(Box<Start>),
}

/// The domain in the configuration that a package brings, which is nobody's.
const EXAMPLE: &str = "example.com";
/// Threads for reads of the disk and password hashing; more such work waits. Each costs memory of its own.
const MAX_BLOCKING_THREADS: usize = 32;

/// `atp server start`
#[derive(Args)]
pub(super) struct Start {
    #[command(flatten)]
    configuration: Configuration,
    #[command(flatten)]
    home: HomeOptions,
    /// Known from other implementations; see what it says
    #[arg(long, env = "ATP_NO_TLS", hide = true, value_parser = FalseyValueParser::new())]
    no_tls: bool,
}

impl Server {
    pub fn run(self) -> Result<(), CliError> {
        let Server::Start(start) = self;
        start.run()
    }
}

impl Start {
    fn run(self) -> Result<(), CliError> {
        if self.no_tls {
            return Err(CliError::usage(
                "--no-tls does not exist: passwords and messages would cross the network readable; \
                 without --cert and --key the server makes its own certificate",
            ));
        }
        let home = self.home.home()?;
        // Before there are threads.
        let sockets = daemon::Sockets::given().map_err(CliError::failed)?;
        let source = self.configuration.source();
        let loaded = source.read()?;
        if source.overrides.domains.is_empty() && loaded.config.first_domain().as_str() == EXAMPLE {
            return Err(CliError::failed(format!(
                "nothing has been set up yet: the configuration's domain is still {EXAMPLE}; run: sudo atp setup"
            )));
        }
        observe::start(loaded.config.log);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .max_blocking_threads(MAX_BLOCKING_THREADS)
            .build()
            .map_err(|error| CliError::failed(format!("the system refuses what a server needs: {error}")))?;
        let result = runtime.block_on(daemon::run(loaded, source, &home, sockets));
        // What is still under way after the drain is given up; its leases bring it back.
        runtime.shutdown_background();
        result.map_err(|error| CliError::failed(error.to_string()))
    }
}
