//! Daemons that reach one another, in one process and without any network.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use super::*;
use crate::env::BoxFuture;
use crate::env::dial::{Connection, Dial, DialError, Endpoint};
use crate::env::dns::Record;
use crate::spool::store::SpoolStore;
use crate::verify::Received;

/// Bytes a connection holds back.
const PIPE_BYTES: usize = 64 * 1024;
/// What a daemon of ours says that it speaks.
pub const LIKE_US: &str =
    r#"{"capabilities":["message","rcpt","fields","receipt"],"max_message_age":259200}"#;

/// Where daemons find one another: names, and who stands behind them.
#[derive(Default)]
pub struct Net {
    pub dns: Arc<ScriptedResolver>,
    sites: Mutex<HashMap<String, Site>>,
}

struct Site {
    pipeline: Weak<Pipeline>,
    capabilities: String,
    up: bool,
    /// Every transfer it has read.
    transfers: Vec<Message>,
}

/// A daemon for one domain.
pub struct Town {
    pub domain: Domain,
    pub pipeline: Arc<Pipeline>,
    pub store: SpoolStore,
    pub disk: Arc<MemoryDisk>,
    pub net: Arc<Net>,
    pem: String,
    health: watch::Receiver<Option<StoreError>>,
    stop: watch::Sender<bool>,
}

impl Net {
    fn sites(&self) -> MutexGuard<'_, HashMap<String, Site>> {
        self.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, domain: &str, change: impl FnOnce(&mut Site) -> T) -> T {
        change(self.sites().get_mut(&host(domain)).unwrap())
    }

    /// The daemon of a domain can be reached, or cannot.
    pub fn up(&self, domain: &str, up: bool) {
        self.with(domain, |site| site.up = up);
    }

    /// What the daemon of a domain says that it speaks.
    pub fn speaks(&self, domain: &str, capabilities: &str) {
        self.with(domain, |site| site.capabilities = capabilities.into());
    }

    /// Every transfer the daemon of a domain has read.
    pub fn transfers(&self, domain: &str) -> Vec<Message> {
        self.with(domain, |site| site.transfers.clone())
    }

    /// The answer to one request. `None`: the connection is cut.
    async fn answer(
        &self,
        host: &str,
        source: IpAddr,
        request: Request<Incoming>,
    ) -> Option<Response<Full<Bytes>>> {
        let is_transfer = request.uri().path().ends_with("/message");
        let bytes = request.into_body().collect().await.ok()?.to_bytes();
        let (pipeline, capabilities) = {
            let sites = self.sites();
            let site = sites.get(host).filter(|site| site.up)?;
            (site.pipeline.upgrade()?, site.capabilities.clone())
        };
        let (status, text) = if is_transfer {
            let message = Message::parse(&bytes).ok()?;
            self.sites().get_mut(host)?.transfers.push(message.clone());
            let at = pipeline.env.clock.now();
            match pipeline.inbound(pipeline.settings.now(), Received { message, bytes, source, at }).await {
                Ok(_) => (202, json!({ "status": "accepted" }).to_string()),
                Err(fault) => {
                    let body = json!({ "error": fault.public, "error_code": fault.reason.code() });
                    (fault.reason.http()?, body.to_string())
                }
            }
        } else {
            (200, capabilities)
        };
        Response::builder().status(status).body(Full::new(text.into())).ok()
    }
}

/// Dials from a source address, by the names of the net.
struct DialFrom {
    net: Arc<Net>,
    source: IpAddr,
}

impl Dial for DialFrom {
    fn dial<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<Connection, DialError>> {
        let (net, source, host) = (Arc::clone(&self.net), self.source, endpoint.name.clone());
        if !net.sites().get(&host).is_some_and(|site| site.up) {
            return Box::pin(std::future::ready(Err(DialError::Connect("refused".into()))));
        }
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| {
                let (net, host) = (Arc::clone(&net), host.clone());
                async move { net.answer(&host, source, request).await.ok_or(Cut) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(theirs), service)
                .await;
        });
        Box::pin(std::future::ready(Ok(Connection {
            io: Box::new(ours),
            alpn: Some(b"http/1.1".to_vec()),
            certificate_sha256: None,
            certificate_ends: None,
        })))
    }
}

/// The connection is cut.
#[derive(Debug, thiserror::Error)]
#[error("cut")]
struct Cut;

fn host(domain: &str) -> String {
    format!("atp.{domain}")
}

/// Where a domain's daemon dials from: its letter is its number.
pub fn source(domain: &str) -> IpAddr {
    IpAddr::from([192, 0, 2, domain.as_bytes()[0]])
}

impl Town {
    /// The daemon of a domain, with these agents.
    pub async fn new(net: &Arc<Net>, domain: &str, agents: &[&str]) -> Town {
        let town = Town::idle(net, domain, None, Arc::default(), NOON);
        for agent in agents.iter().chain(&["postmaster"]) {
            let agent = address(&format!("{agent}@{domain}"));
            town.store.register(agent, None, NOON).await.unwrap();
        }
        town.run();
        town
    }

    /// A daemon on a disk that may have been used before, at `now`. Nothing is attempted yet.
    pub fn idle(
        net: &Arc<Net>,
        domain: &str,
        pem: Option<&str>,
        disk: Arc<MemoryDisk>,
        now: UnixMillis,
    ) -> Town {
        let ours = Domain::parse(domain).unwrap();
        let id = KeyId::new("default", ours.clone()).unwrap();
        let key = match pem {
            Some(pem) => Key::from_pem(id, pem.as_bytes()).unwrap(),
            None => Key::generate(id, &SystemRng),
        };
        let pem = key.to_pem().unwrap().to_string();
        let route = Svcb { priority: 1, target: host(domain), ..Svcb::default() };
        net.dns.set(&format!("_atp.{domain}"), Kind::Svcb, vec![Record::Svcb(route)]);
        net.dns.addresses(&host(domain), &[source(domain)]);
        net.dns.txt(&format!("default.atk._atp.{domain}"), &[&key.record().to_string()]);
        let policy = format!("v=atp1 allow=ip:{} deny=all", source(domain));
        net.dns.txt(&format!("ats._atp.{domain}"), &[&policy]);
        let env = Env {
            clock: Arc::new(TokioClock::at(now)),
            dns: net.dns.clone(),
            dial: Arc::new(DialFrom { net: Arc::clone(net), source: source(domain) }),
            rng: Arc::new(SystemRng),
        };
        let (store, committer, health) = store::open(disk.clone(), Arc::new(MemoryFiles::default())).unwrap();
        tokio::spawn(committer.run());
        let pipeline = Arc::new(pipeline_of(&ours, key, env, Arc::new(store.clone())));
        let site = Site {
            pipeline: Arc::downgrade(&pipeline),
            capabilities: LIKE_US.into(),
            up: true,
            transfers: Vec::new(),
        };
        net.sites().insert(host(domain), site);
        let (net, stop) = (Arc::clone(net), watch::Sender::new(false));
        Town { domain: ours, pipeline, store, disk, net, pem, health, stop }
    }

    /// What a power cut leaves of it, started again at `now`.
    pub fn after_power_cut(self, now: UnixMillis) -> Town {
        let domain = self.domain.to_string();
        let disk = Arc::new(self.disk.crash());
        Town::idle(&self.net, &domain, Some(&self.pem), disk, now)
    }

    /// Starts attempts.
    pub fn run(&self) {
        attempts(&self.pipeline, &self.health, &self.stop);
    }

    /// Submits a message of one of its agents, which must be accepted.
    pub async fn submit(&self, from: &str, to: &str, nonce: &str, more: Value) {
        let mut message = json!({
            "from": from, "to": to, "timestamp": self.pipeline.env.clock.now().seconds(),
            "nonce": nonce, "type": "message", "payload": { "subject": "hi" },
        });
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let message = Message::parse(message.to_string().as_bytes()).unwrap();
        let accepted =
            self.pipeline.submit(self.pipeline.settings.now(), message, &address(from)).await.unwrap();
        assert_eq!(accepted, Accepted::Now);
    }

    /// What lies in the mailbox of one of its agents.
    pub async fn mailbox(&self, agent: &str) -> Vec<Message> {
        let page = self.store.mailbox(address(agent), 0, 1000, 1 << 20).await.unwrap().unwrap();
        page.mail.iter().map(|mail| Message::parse(&mail.message).unwrap()).collect()
    }

    /// Signs a message in the name of this domain, as only its key can.
    pub fn signed(&self, message: Value) -> Bytes {
        let Value::Object(unsigned) = message else { panic!("a message is an object") };
        let id = KeyId::new("default", self.domain.clone()).unwrap();
        let signer = Signer::new(Arc::new(Key::from_pem(id, self.pem.as_bytes()).unwrap()));
        let now = self.pipeline.env.clock.now();
        let signed = signer.sign(unsigned, crate::sign::CanonicalForm::Rfc8785, now).unwrap();
        Bytes::copy_from_slice(signed.bytes())
    }

    /// Takes in a transfer that comes from `source`.
    pub async fn takes(&self, bytes: Bytes, source: IpAddr) -> Result<Accepted, crate::error::Fault> {
        let message = Message::parse(&bytes).unwrap();
        let at = self.pipeline.env.clock.now();
        self.pipeline.inbound(self.pipeline.settings.now(), Received { message, bytes, source, at }).await
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}
