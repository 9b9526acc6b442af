//! A DNS server that answers every question in one, mostly wrong, way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, CNAME, NS, SOA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

/// How it answers.
#[derive(Debug, Clone, Copy)]
pub enum Manner {
    ServFail,
    Refused,
    NotImp,
    /// Never.
    Silent,
    /// With bytes that are no message.
    Garbage,
    /// With whom to ask instead, as a server does that does not resolve for us.
    Referral,
    NxDomain {
        soa_minimum: Option<u32>,
    },
    NoData {
        soa_minimum: Option<u32>,
    },
    /// With an address, whatever was asked for.
    Address,
    /// With an address of the name among what is added to an answer without answers.
    Added,
    /// Always with a CNAME to a name not seen before.
    EndlessCnames,
    /// With a text, and the claim to have validated it.
    Validated,
    /// Cut short over UDP, with a long text over TCP.
    Truncated,
}

pub struct Responder {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Responder {
    pub async fn start(manner: Manner) -> Responder {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (tcp, udp);
            }
        };
        let address = tcp.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        tasks.spawn(over_udp(udp, manner, asked.clone()));
        tasks.spawn(over_tcp(tcp, manner));
        Responder { address, asked, _tasks: tasks }
    }

    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Questions over UDP so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

async fn over_udp(socket: UdpSocket, manner: Manner, asked: Arc<AtomicUsize>) {
    let mut buffer = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        asked.fetch_add(1, Ordering::Relaxed);
        if let Some(answer) = answer(&buffer[..length], manner, false) {
            socket.send_to(&answer, from).await.unwrap();
        }
    }
}

async fn over_tcp(listener: TcpListener, manner: Manner) {
    while let Ok((mut stream, _)) = listener.accept().await {
        while let Ok(length) = stream.read_u16().await {
            let mut question = vec![0; length.into()];
            stream.read_exact(&mut question).await.unwrap();
            if let Some(answer) = answer(&question, manner, true) {
                stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        }
    }
}

fn answer(question: &[u8], manner: Manner, tcp: bool) -> Option<Vec<u8>> {
    let mut message = Message::from_vec(question).unwrap();
    let name = message.queries[0].name().clone();
    message.metadata.message_type = MessageType::Response;
    message.edns = None;
    let mut code = ResponseCode::NoError;
    match manner {
        Manner::Silent => return None,
        Manner::Garbage => return Some(b"garbage".to_vec()),
        Manner::ServFail => code = ResponseCode::ServFail,
        Manner::Refused => code = ResponseCode::Refused,
        Manner::NotImp => code = ResponseCode::NotImp,
        Manner::Referral => {
            let server = Name::from_ascii("ns.example.").unwrap();
            message.add_authority(Record::from_rdata(name, 60, RData::NS(NS(server))));
        }
        Manner::Address => {
            message.add_answer(Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, 1))));
        }
        Manner::Added => {
            let text = TXT::new(vec!["text".to_owned()]);
            message.add_additional(Record::from_rdata(name, 60, RData::TXT(text)));
        }
        Manner::NxDomain { soa_minimum } => {
            code = ResponseCode::NXDomain;
            message.add_authorities(soa_minimum.map(soa));
        }
        Manner::NoData { soa_minimum } => {
            message.add_authorities(soa_minimum.map(soa));
        }
        Manner::EndlessCnames => {
            let next = Name::from_ascii("a").unwrap().append_domain(&name).unwrap();
            message.add_answer(Record::from_rdata(name, 60, RData::CNAME(CNAME(next))));
        }
        Manner::Validated => {
            message.metadata.authentic_data = true;
            let text = TXT::new(vec!["text".to_owned()]);
            message.add_answer(Record::from_rdata(name, 300, RData::TXT(text)));
        }
        Manner::Truncated if tcp => {
            let strings = vec!["long ".repeat(40); 10];
            message.add_answer(Record::from_rdata(name, 300, RData::TXT(TXT::new(strings))));
        }
        Manner::Truncated => message.metadata.truncation = true,
    }
    message.metadata.response_code = code;
    Some(message.to_vec().unwrap())
}

fn soa(minimum: u32) -> Record {
    let name = |text| Name::from_ascii(text).unwrap();
    let soa = SOA::new(name("ns.example."), name("hostmaster.example."), 1, 3600, 600, 86_400, minimum);
    Record::from_rdata(name("example."), 3600, RData::SOA(soa))
}
