//! One question to one server and nothing in between, for what a resolver hides: who is authoritative, the SOA of an
//! absence, the bits of DNSSEC.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::proto::op::{Edns, Message, MessageType, Query};
use hickory_resolver::proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use super::DnsTrouble;
use crate::env::rng::Rng;

/// Largest answer asked for over UDP, in bytes: what passes every network in one piece.
const UDP_PAYLOAD_BYTES: u16 = 1232;
/// How often a question is put over UDP, each with an equal share of the time.
const UDP_TRIES: u32 = 2;
/// Datagrams that are not the answer, of which so many are passed over.
const MAX_STRAY_DATAGRAMS: usize = 16;

/// What is asked, and how.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub name: Name,
    pub kind: RecordType,
    /// Whether the server is to ask others: `true` for resolvers.
    pub recursion: bool,
    /// Whether a validating resolver is to answer although the signatures are wrong (RFC 4035 §3.2.2).
    pub unchecked: bool,
    /// Whether signatures are wanted, and the word of a validating resolver on them (RFC 4035 §3.2.1).
    pub signed: bool,
}

/// Why a server gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// This machine has no way to addresses of that family.
    NoRoute,
    /// It was asked in vain.
    Trouble(DnsTrouble),
}

impl From<NoAnswer> for DnsTrouble {
    fn from(no: NoAnswer) -> DnsTrouble {
        match no {
            NoAnswer::NoRoute => DnsTrouble::Unreachable,
            NoAnswer::Trouble(trouble) => trouble,
        }
    }
}

/// Asks servers directly.
#[derive(Clone)]
pub(super) struct Asker {
    pub rng: Arc<dyn Rng>,
    /// Longest time one question to one server may take, UDP and TCP together.
    pub limit: Duration,
}

impl Asker {
    /// The whole answer of one server, whatever its response code; over TCP where it does not fit into UDP.
    pub async fn ask(&self, server: SocketAddr, question: &Question) -> Result<Message, NoAnswer> {
        let asked = async {
            let answer = self.over_udp(server, question).await?;
            if answer.metadata.truncation { self.over_tcp(server, question).await } else { Ok(answer) }
        };
        let in_time = tokio::time::timeout(self.limit, asked).await;
        in_time.unwrap_or(Err(NoAnswer::Trouble(DnsTrouble::TimedOut)))
    }

    async fn over_udp(&self, server: SocketAddr, question: &Question) -> Result<Message, NoAnswer> {
        let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
        let socket = UdpSocket::bind(any).await.map_err(no_route)?;
        // Connected: the system lets only this server's datagrams in, and tells of a port nobody listens on.
        socket.connect(server).await.map_err(no_route)?;
        let mut last = NoAnswer::Trouble(DnsTrouble::TimedOut);
        for _ in 0..UDP_TRIES {
            let (id, bytes) = self.encoded(question)?;
            let attempt = async {
                socket.send(&bytes).await.map_err(no_route)?;
                answer_to(&socket, id, question).await
            };
            // One share more than tries, which is left to TCP.
            match tokio::time::timeout(self.limit / (UDP_TRIES + 1), attempt).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(why)) => last = why,
                Err(_) => {}
            }
        }
        Err(last)
    }

    async fn over_tcp(&self, server: SocketAddr, question: &Question) -> Result<Message, NoAnswer> {
        let (id, bytes) = self.encoded(question)?;
        let mut stream = TcpStream::connect(server).await.map_err(no_route)?;
        let length = u16::try_from(bytes.len()).map_err(|_| UNUSABLE)?;
        stream.write_all(&[&length.to_be_bytes(), bytes.as_slice()].concat()).await.map_err(no_route)?;
        let length = stream.read_u16().await.map_err(no_route)?;
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await.map_err(no_route)?;
        decoded(&answer, id, question).ok_or(UNUSABLE)
    }

    fn encoded(&self, question: &Question) -> Result<(u16, Vec<u8>), NoAnswer> {
        let mut id = [0; 2];
        self.rng.fill(&mut id);
        let mut message = Message::query();
        message.metadata.id = u16::from_be_bytes(id);
        message.metadata.recursion_desired = question.recursion;
        message.metadata.checking_disabled = question.unchecked;
        message.metadata.authentic_data = question.signed;
        message.add_query(Query::query(question.name.clone(), question.kind));
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_PAYLOAD_BYTES).set_dnssec_ok(question.signed);
        message.set_edns(edns);
        let bytes = message.to_vec().map_err(|_| UNUSABLE)?;
        Ok((message.metadata.id, bytes))
    }
}

const UNUSABLE: NoAnswer = NoAnswer::Trouble(DnsTrouble::Unusable);

async fn answer_to(socket: &UdpSocket, id: u16, question: &Question) -> Result<Message, NoAnswer> {
    let mut buffer = vec![0; usize::from(u16::MAX)];
    for _ in 0..MAX_STRAY_DATAGRAMS {
        let length = socket.recv(&mut buffer).await.map_err(no_route)?;
        if let Some(answer) = buffer.get(..length).and_then(|bytes| decoded(bytes, id, question)) {
            return Ok(answer);
        }
    }
    Err(UNUSABLE)
}

/// The message, if it is the answer to this question.
fn decoded(bytes: &[u8], id: u16, question: &Question) -> Option<Message> {
    let message = Message::from_vec(bytes).ok()?;
    let is_ours = message.metadata.id == id && message.metadata.message_type == MessageType::Response;
    let same = |query: &Query| query.name() == &question.name && query.query_type() == question.kind;
    // A server that cannot read a question may leave it out of its complaint.
    (is_ours && message.queries.iter().all(same)).then_some(message)
}

fn no_route(error: std::io::Error) -> NoAnswer {
    use std::io::ErrorKind as E;
    match error.kind() {
        E::NetworkUnreachable | E::HostUnreachable | E::AddrNotAvailable | E::Unsupported => {
            NoAnswer::NoRoute
        }
        E::ConnectionRefused | E::ConnectionReset => NoAnswer::Trouble(DnsTrouble::Unreachable),
        _ => UNUSABLE,
    }
}
