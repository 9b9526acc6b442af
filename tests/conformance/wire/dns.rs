//! A DNS server that says what a case wants it to say: records, or trouble, for so many questions.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::dns_message::{Question, Record, RecordSet, Response, kind, name_bytes};

/// How long what is said may be kept, in seconds: cases change their minds.
const TTL_SECONDS: u32 = 1;
/// What is longer is cut short over UDP.
const MAX_UDP_BYTES: usize = 1200;
/// CNAMEs followed within one answer.
const MAX_CNAMES: usize = 4;

/// How a name can fail to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// SERVFAIL.
    ServFail,
    /// REFUSED.
    Refused,
    /// No answer at all.
    Silent,
}

#[derive(Clone)]
struct Entry {
    trouble: Option<(Trouble, usize)>,
    records: RecordSet,
}

/// The server; what it knows is changed while it runs.
pub struct Dns {
    address: SocketAddr,
    known: Mutex<HashMap<(String, u16), Entry>>,
}

impl Dns {
    /// Listens at `address`, over UDP and TCP.
    pub async fn start(address: SocketAddr) -> Result<Arc<Dns>, String> {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind(address).await.map_err(|e| format!("DNS at {address}: {e}"))?;
            let bound = tcp.local_addr().map_err(|e| e.to_string())?;
            match UdpSocket::bind(bound).await {
                Ok(udp) => break (tcp, udp),
                Err(error) if address.port() != 0 => return Err(format!("DNS at {address}: {error}")),
                Err(_) => {}
            }
        };
        let address = tcp.local_addr().map_err(|e| e.to_string())?;
        let dns = Arc::new(Dns { address, known: Mutex::default() });
        tokio::spawn(over_udp(udp, Arc::clone(&dns)));
        tokio::spawn(over_tcp(tcp, Arc::clone(&dns)));
        Ok(dns)
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// One TXT record, cut into strings of 255 bytes.
    pub fn txt(&self, name: &str, text: &str) {
        self.txts(name, &[text]);
    }

    /// Several TXT records at one name.
    pub fn txts(&self, name: &str, texts: &[&str]) {
        let split = |text: &&str| text.as_bytes().chunks(255).map(<[u8]>::to_vec).collect::<Vec<_>>();
        self.set(name, kind::TXT, texts.iter().map(split).map(|strings| Record::txt(&strings)).collect());
    }

    /// Addresses of a host.
    pub fn addresses(&self, name: &str, addresses: &[IpAddr]) {
        let v4 = addresses.iter().filter_map(|address| match address {
            IpAddr::V4(v4) => Some(v4.octets().to_vec()),
            IpAddr::V6(_) => None,
        });
        self.set(name, kind::A, v4.collect());
        let v6 = addresses.iter().filter_map(|address| match address {
            IpAddr::V6(v6) => Some(Ipv6Addr::octets(v6).to_vec()),
            IpAddr::V4(_) => None,
        });
        self.set(name, kind::AAAA, v6.collect());
    }

    /// Another name for a name.
    pub fn cname(&self, name: &str, target: &str) {
        self.set(name, kind::CNAME, vec![name_bytes(target)]);
    }

    /// Whatever records of one type; none: the name has none of them.
    pub fn set(&self, name: &str, kind: u16, records: RecordSet) {
        self.change(name, kind, Entry { trouble: None, records });
    }

    /// Takes records back.
    pub fn remove(&self, name: &str, kind: u16) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&(name.to_lowercase(), kind));
    }

    /// Trouble instead of whatever is there, for the next `times` questions.
    pub fn trouble(&self, name: &str, kind: u16, trouble: Trouble, times: usize) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = known.entry((name.to_lowercase(), kind));
        let entry = entry.or_insert_with(|| Entry { trouble: None, records: Vec::new() });
        entry.trouble = Some((trouble, times));
    }

    fn change(&self, name: &str, kind: u16, entry: Entry) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert((name.to_lowercase(), kind), entry);
    }

    /// What to say to a question. `None`: nothing.
    fn answer(&self, question: &Question) -> Option<Response> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut response = Response::default();
        let mut name = question.name.clone();
        for _ in 0..=MAX_CNAMES {
            if let Some(trouble) = take_trouble(&mut known, &name, question.kind) {
                match trouble {
                    Trouble::ServFail => return Some(Response { code: 2, ..Response::default() }),
                    Trouble::Refused => return Some(Response { code: 5, ..Response::default() }),
                    Trouble::Silent => return None,
                }
            }
            if let Some(entry) = known.get(&(name.clone(), question.kind)) {
                for record in &entry.records {
                    response.answers.push(Record::new(&name, question.kind, TTL_SECONDS, record));
                }
                return Some(response);
            }
            let cname = known.get(&(name.clone(), kind::CNAME)).and_then(|entry| entry.records.first());
            let Some(target) = cname else { break };
            response.answers.push(Record::new(&name, kind::CNAME, TTL_SECONDS, target));
            name = super::dns_message::name_text(target);
        }
        let exists = known.keys().any(|(known, _)| *known == name);
        if !exists {
            response.code = 3;
        }
        Some(response)
    }
}

fn take_trouble(known: &mut HashMap<(String, u16), Entry>, name: &str, kind: u16) -> Option<Trouble> {
    let entry = known.get_mut(&(name.to_owned(), kind))?;
    let (trouble, left) = entry.trouble?;
    entry.trouble = left.checked_sub(1).filter(|left| *left > 0).map(|left| (trouble, left));
    Some(trouble)
}

async fn over_udp(socket: UdpSocket, dns: Arc<Dns>) {
    let mut buffer = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let Some(question) = Question::read(&buffer[..length]) else { continue };
        let Some(response) = dns.answer(&question) else { continue };
        let mut bytes = response.write(&question);
        if bytes.len() > MAX_UDP_BYTES {
            bytes = Response { truncated: true, ..Response::default() }.write(&question);
        }
        let _ = socket.send_to(&bytes, from).await;
    }
}

async fn over_tcp(listener: TcpListener, dns: Arc<Dns>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(one_stream(stream, Arc::clone(&dns)));
    }
}

async fn one_stream(mut stream: TcpStream, dns: Arc<Dns>) -> Option<()> {
    loop {
        let length = stream.read_u16().await.ok()?;
        let mut bytes = vec![0; length.into()];
        stream.read_exact(&mut bytes).await.ok()?;
        let question = Question::read(&bytes)?;
        let Some(response) = dns.answer(&question) else { continue };
        let bytes = response.write(&question);
        stream.write_u16(bytes.len().try_into().ok()?).await.ok()?;
        stream.write_all(&bytes).await.ok()?;
    }
}
