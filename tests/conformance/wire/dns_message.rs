//! As much of DNS messages (RFC 1035, RFC 9460) as it takes to answer one question.

/// Types of records.
pub mod kind {
    pub const A: u16 = 1;
    pub const CNAME: u16 = 5;
    pub const SOA: u16 = 6;
    pub const TXT: u16 = 16;
    pub const AAAA: u16 = 28;
    pub const SRV: u16 = 33;
    pub const SVCB: u16 = 64;
}

const HEADER_BYTES: usize = 12;
const IN: u16 = 1;
/// How long an absence may be kept.
const ABSENCE_SECONDS: u32 = 1;

/// The data of the records of one type at one name.
pub type RecordSet = Vec<Vec<u8>>;

/// What is asked.
pub struct Question {
    id: u16,
    flags: u16,
    /// Lower-cased, without a dot at the end.
    pub name: String,
    pub kind: u16,
    /// As it was written, to be repeated.
    bytes: Vec<u8>,
}

impl Question {
    /// The first question of a query.
    pub fn read(message: &[u8]) -> Option<Question> {
        let word = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
        let mut at = HEADER_BYTES;
        let mut labels = Vec::new();
        loop {
            let length = usize::from(*message.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            labels.push(String::from_utf8_lossy(message.get(at..at + length)?).to_lowercase());
            at += length;
        }
        let (id, flags, kind) = (word(0)?, word(2)?, word(at)?);
        let bytes = message.get(HEADER_BYTES..at + 4)?.to_vec();
        Some(Question { id, flags, name: labels.join("."), kind, bytes })
    }
}

/// A record, ready to be written.
pub struct Record(Vec<u8>);

impl Record {
    pub fn new(name: &str, kind: u16, ttl: u32, data: &[u8]) -> Record {
        let mut bytes = name_bytes(name);
        bytes.extend(kind.to_be_bytes());
        bytes.extend(IN.to_be_bytes());
        bytes.extend(ttl.to_be_bytes());
        bytes.extend(u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend(data);
        Record(bytes)
    }

    /// The data of a TXT record of these strings.
    pub fn txt(strings: &[Vec<u8>]) -> Vec<u8> {
        let length = |string: &Vec<u8>| u8::try_from(string.len()).unwrap_or(u8::MAX);
        strings.iter().flat_map(|string| [vec![length(string)], string.clone()].concat()).collect()
    }

    /// The data of an SRV record.
    pub fn srv(priority: u16, port: u16, target: &str) -> Vec<u8> {
        [&priority.to_be_bytes()[..], &[0, 0], &port.to_be_bytes(), &name_bytes(target)].concat()
    }
}

/// The data of an SVCB record, to be put together.
pub struct Svcb {
    priority: u16,
    target: String,
    parameters: Vec<(u16, Vec<u8>)>,
}

impl Svcb {
    pub fn new(priority: u16, target: &str) -> Svcb {
        Svcb { priority, target: target.to_owned(), parameters: Vec::new() }
    }

    /// One parameter as it stands; they must come in the order of their keys.
    pub fn with(mut self, key: u16, value: &[u8]) -> Svcb {
        self.parameters.push((key, value.to_vec()));
        self
    }

    pub fn mandatory(self, keys: &[u16]) -> Svcb {
        self.with(0, &keys.iter().flat_map(|key| key.to_be_bytes()).collect::<Vec<_>>())
    }

    pub fn alpn(self, protocols: &[&str]) -> Svcb {
        let length = |name: &str| u8::try_from(name.len()).unwrap_or(u8::MAX);
        let one = |name: &&str| [vec![length(name)], name.as_bytes().to_vec()].concat();
        self.with(1, &protocols.iter().flat_map(one).collect::<Vec<_>>())
    }

    pub fn port(self, port: u16) -> Svcb {
        self.with(3, &port.to_be_bytes())
    }

    pub fn data(self) -> Vec<u8> {
        let mut bytes = self.priority.to_be_bytes().to_vec();
        bytes.extend(name_bytes(&self.target));
        for (key, value) in self.parameters {
            bytes.extend(key.to_be_bytes());
            bytes.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
            bytes.extend(value);
        }
        bytes
    }
}

/// An answer.
#[derive(Default)]
pub struct Response {
    /// The response code (RFC 1035 §4.1.1).
    pub code: u16,
    pub truncated: bool,
    pub answers: Vec<Record>,
}

impl Response {
    pub fn write(&self, question: &Question) -> Vec<u8> {
        const RESPONSE: u16 = 0x8000;
        const TRUNCATED: u16 = 0x0200;
        const RECURSION_DESIRED: u16 = 0x0100;
        const RECURSION_AVAILABLE: u16 = 0x0080;
        let truncated = if self.truncated { TRUNCATED } else { 0 };
        let flags =
            RESPONSE | RECURSION_AVAILABLE | (question.flags & RECURSION_DESIRED) | truncated | self.code;
        let says_absent = self.answers.is_empty() && !self.truncated && matches!(self.code, 0 | 3);
        let count = u16::try_from(self.answers.len()).unwrap_or(u16::MAX);
        let mut bytes = Vec::new();
        for word in [question.id, flags, 1, count, says_absent.into(), 0] {
            bytes.extend(word.to_be_bytes());
        }
        bytes.extend(&question.bytes);
        self.answers.iter().for_each(|record| bytes.extend(&record.0));
        if says_absent {
            bytes.extend(Record::new("test", kind::SOA, ABSENCE_SECONDS, &soa()).0);
        }
        bytes
    }
}

fn soa() -> Vec<u8> {
    let mut data = [name_bytes("ns.test"), name_bytes("hostmaster.test")].concat();
    for number in [1, 3600, 600, 86_400, ABSENCE_SECONDS] {
        data.extend(number.to_be_bytes());
    }
    data
}

/// A name as it is written in messages. `.` and the empty text are the root.
pub fn name_bytes(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap_or(63));
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

/// The other way round.
pub fn name_text(mut bytes: &[u8]) -> String {
    let mut labels = Vec::new();
    while let Some((length, rest)) = bytes.split_first().filter(|(length, _)| **length > 0) {
        let (label, after) = rest.split_at(usize::from(*length).min(rest.len()));
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        bytes = after;
    }
    labels.join(".")
}
