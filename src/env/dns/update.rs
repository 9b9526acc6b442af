//! Dynamic updates (RFC 2136) of one name server, over TCP, signed with TSIG (RFC 8945) if there is a key.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, Query, ResponseCode, update_message};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_proto::rr::{Name, RData, Record, RecordSet, RecordType, TSigner};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::env::clock::Clock;

/// Longest time one exchange may take, connecting included.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(15);
/// Seconds by which the server's clock may differ from ours (RFC 8945 §10).
const FUDGE_SECONDS: u16 = 300;
/// Most CNAMEs followed to where a record is to be.
const MAX_CNAMES: usize = 8;

/// Why a name server did not do it. Every text is one line.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// A name or a key that DNS cannot carry.
    #[error("{0:?} cannot be used in DNS")]
    Name(String),
    /// It could not be reached, or broke off.
    #[error("the name server {server} does not answer: {cause}")]
    Unreachable {
        /// Which.
        server: SocketAddr,
        /// What the system said.
        cause: String,
    },
    /// It answered with another code than success.
    #[error("the name server {server} refuses {what}: {code}{}", remedy(*code))]
    Refused {
        /// Which.
        server: SocketAddr,
        /// What was asked of it.
        what: String,
        /// Its answer.
        code: ResponseCode,
    },
    /// It does not have the zone the name is in.
    #[error("the name server {server} has no zone with {name} in it")]
    NoZone {
        /// Which.
        server: SocketAddr,
        /// The name.
        name: String,
    },
    /// Its answer is none, or not signed with our key.
    #[error("the answer of the name server {server} cannot be believed: {cause}")]
    Unusable {
        /// Which.
        server: SocketAddr,
        /// What is wrong with it.
        cause: String,
    },
}

fn remedy(code: ResponseCode) -> &'static str {
    match code {
        ResponseCode::NotAuth => {
            "; does it know the key, by this name and with this secret, and are both clocks right?"
        }
        ResponseCode::Refused => "; does its update policy let this key write there?",
        _ => "",
    }
}

/// A name server that takes updates.
pub struct Updater {
    server: SocketAddr,
    signer: Option<TSigner>,
    clock: Arc<dyn Clock>,
}

impl Updater {
    /// The server at this address. `key`: name and secret of a key for HMAC-SHA256. `None`: nothing is signed.
    ///
    /// # Errors
    /// [`UpdateError::Name`] if the key's name is none.
    pub fn new(
        server: SocketAddr,
        key: Option<(&str, &[u8])>,
        clock: Arc<dyn Clock>,
    ) -> Result<Updater, UpdateError> {
        let signer = key.map(|(name, secret)| {
            let wrong = || UpdateError::Name(name.to_owned());
            let named = Name::from_ascii(name).map_err(|_| wrong())?;
            TSigner::new(secret.to_vec(), TsigAlgorithm::HmacSha256, named, FUDGE_SECONDS)
                .map_err(|_| wrong())
        });
        Ok(Updater { server, signer: signer.transpose()?, clock })
    }

    /// Adds a TXT record beside those the name has; `ttl_seconds` is for all of them. Where a CNAME leads on, it is
    /// added at its end.
    ///
    /// # Errors
    /// [`UpdateError`]
    pub async fn add(&self, name: &str, text: &str, ttl_seconds: u32) -> Result<(), UpdateError> {
        let (zone, records) = self.records(name, text, ttl_seconds).await?;
        self.apply(update_message::append(records, zone, false, false), name).await
    }

    /// Removes the TXT record with this text; that there is none is no error.
    ///
    /// # Errors
    /// [`UpdateError`]
    pub async fn remove(&self, name: &str, text: &str) -> Result<(), UpdateError> {
        let (zone, records) = self.records(name, text, 0).await?;
        self.apply(update_message::delete_by_rdata(records, zone, false), name).await
    }

    /// Whether the server shows a TXT record with this text.
    ///
    /// # Errors
    /// [`UpdateError`]
    pub async fn shows(&self, name: &str, text: &str) -> Result<bool, UpdateError> {
        let reply = self.ask(&parse(name)?, RecordType::TXT).await?;
        let same = |record: &Record| match &record.data {
            RData::TXT(txt) => txt.txt_data.concat() == text.as_bytes(),
            _ => false,
        };
        Ok(reply.answers.iter().any(same))
    }

    async fn records(&self, name: &str, text: &str, ttl: u32) -> Result<(Name, RecordSet), UpdateError> {
        let (zone, name) = self.place(name).await?;
        let mut records = RecordSet::with_ttl(name.clone(), RecordType::TXT, ttl);
        let text = RData::TXT(TXT::new(vec![text.to_owned()]));
        records.insert(Record::from_rdata(name, ttl, text), 0);
        Ok((zone, records))
    }

    /// The zone the name is in, and the name at the end of its CNAMEs.
    async fn place(&self, name: &str) -> Result<(Name, Name), UpdateError> {
        let mut end = parse(name)?;
        for _ in 0..=MAX_CNAMES {
            let reply = self.ask(&end, RecordType::SOA).await?;
            let next = reply.answers.iter().find_map(|record| match &record.data {
                RData::CNAME(target) if record.name == end => Some(target.0.clone()),
                _ => None,
            });
            if let Some(next) = next {
                end = next;
                continue;
            }
            let records = reply.answers.iter().chain(&reply.authorities);
            let mut zones = records.filter(|record| record.record_type() == RecordType::SOA);
            let zone = zones.find(|record| record.name.zone_of(&end)).map(|record| record.name.clone());
            let none = || UpdateError::NoZone { server: self.server, name: name.to_owned() };
            return zone.map(|zone| (zone, end)).ok_or_else(none);
        }
        Err(UpdateError::NoZone { server: self.server, name: name.to_owned() })
    }

    async fn ask(&self, name: &Name, kind: RecordType) -> Result<Message, UpdateError> {
        let mut message = Message::query();
        message.metadata.recursion_desired = false;
        message.add_query(Query::query(name.clone(), kind));
        let reply = self.exchange(message).await?;
        match reply.response_code {
            ResponseCode::NoError | ResponseCode::NXDomain => Ok(reply),
            ResponseCode::Refused => Err(UpdateError::NoZone { server: self.server, name: name.to_string() }),
            code => {
                Err(UpdateError::Refused { server: self.server, what: format!("a look at {name}"), code })
            }
        }
    }

    async fn apply(&self, update: Message, name: &str) -> Result<(), UpdateError> {
        let reply = self.exchange(update).await?;
        match reply.response_code {
            ResponseCode::NoError => Ok(()),
            code => {
                Err(UpdateError::Refused { server: self.server, what: format!("an update of {name}"), code })
            }
        }
    }

    async fn exchange(&self, mut message: Message) -> Result<Message, UpdateError> {
        let unusable = |cause: &dyn std::fmt::Display| UpdateError::Unusable {
            server: self.server,
            cause: cause.to_string(),
        };
        let now = u64::try_from(self.clock.now().seconds()).unwrap_or_default();
        let signer = self.signer.as_ref();
        let verifier = signer.map(|signer| message.finalize(signer, now)).transpose();
        let verifier = verifier.map_err(|error| unusable(&error))?.flatten();
        let bytes = message.to_vec().map_err(|error| unusable(&error))?;
        let reply = match timeout(EXCHANGE_TIMEOUT, self.send(&bytes)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => {
                return Err(UpdateError::Unreachable { server: self.server, cause: error.to_string() });
            }
            Err(_) => {
                return Err(UpdateError::Unreachable {
                    server: self.server,
                    cause: "no answer in time".into(),
                });
            }
        };
        let parsed = Message::from_vec(&reply).map_err(|error| unusable(&error))?;
        if parsed.id != message.id || parsed.message_type != MessageType::Response {
            return Err(unusable(&"it answers something else"));
        }
        // A refusal need not be signed: a server that does not know the key cannot (RFC 8945 §5.3.2).
        let refusal = !matches!(parsed.response_code, ResponseCode::NoError | ResponseCode::NXDomain);
        if let (Some(mut verifier), false) = (verifier, refusal) {
            verifier.verify(&reply).map_err(|error| unusable(&error))?;
        }
        Ok(parsed)
    }

    async fn send(&self, message: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(self.server).await?;
        let length = u16::try_from(message.len()).map_err(std::io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes(), message].concat()).await?;
        let length = stream.read_u16().await?;
        let mut reply = vec![0; length.into()];
        stream.read_exact(&mut reply).await?;
        Ok(reply)
    }
}

fn parse(name: &str) -> Result<Name, UpdateError> {
    let mut parsed = Name::from_ascii(name).map_err(|_| UpdateError::Name(name.to_owned()))?;
    parsed.set_fqdn(true);
    Ok(parsed)
}
