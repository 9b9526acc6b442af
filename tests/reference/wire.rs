//! A wire between our server and a peer on loopback that can lose an answer. TLS passes through untouched:
//! all it looks at are the record headers, which are in the clear (RFC 8446 §5.1).

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const RECORD_HEADER_BYTES: usize = 5;
const APPLICATION_DATA: u8 = 23;
/// A record with a signed message in it is longer; one with a request's head or of the handshake's end shorter.
const MESSAGE_RECORD_BYTES: usize = 300;
/// How long a peer whose answer is being lost may be quiet before its end of the connection is closed too.
const QUIET: Duration = Duration::from_millis(500);

/// What happens to our server's end of a connection when the answer on it is lost.
#[derive(Clone, Copy, PartialEq)]
pub enum Lost {
    /// It breaks as the answer begins.
    Cut,
    /// It stays open, and nothing ever comes.
    Silent,
}

/// A wire; it carries connections for as long as the test's process lives.
pub struct Wire {
    /// Where our server finds it.
    pub port: u16,
    state: Arc<State>,
}

struct State {
    /// Messages still to pass before one loses its answer; 0: none will.
    countdown: AtomicU64,
    cut: AtomicBool,
    messages: AtomicU64,
    lost: AtomicU64,
}

impl Wire {
    /// A wire to `port`, where nobody need listen yet.
    pub fn to(port: u16) -> Wire {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("its number");
        let zero = || AtomicU64::new(0);
        let state = State { countdown: zero(), cut: AtomicBool::new(true), messages: zero(), lost: zero() };
        let state = Arc::new(state);
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for ours in listener.incoming().flatten() {
                let theirs = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
                if let Ok(theirs) = theirs {
                    carry(ours, theirs, &shared);
                }
            }
        });
        Wire { port: address.port(), state }
    }

    /// Loses the answer to the `nth` message from now on, 1 being the next. The message itself arrives.
    pub fn lose_answer(&self, nth: u64, how: Lost) {
        self.state.cut.store(how == Lost::Cut, Ordering::SeqCst);
        self.state.countdown.store(nth, Ordering::SeqCst);
    }

    /// Messages that have passed towards the peer.
    pub fn messages(&self) -> u64 {
        self.state.messages.load(Ordering::SeqCst)
    }

    /// Answers lost so far: the peer had begun to give them.
    pub fn lost(&self) -> u64 {
        self.state.lost.load(Ordering::SeqCst)
    }
}

fn carry(ours: TcpStream, theirs: TcpStream, state: &Arc<State>) {
    let losing = Arc::new(AtomicBool::new(false));
    let pair = || Some((ours.try_clone().ok()?, theirs.try_clone().ok()?));
    let (Some(up), Some(down)) = (pair(), pair()) else { return };
    let (state, shared, flag) = (Arc::clone(state), Arc::clone(state), Arc::clone(&losing));
    thread::spawn(move || {
        let _ = forward_messages(up, &state, &losing);
    });
    thread::spawn(move || {
        let _ = forward_answers(down, &shared, &flag);
    });
}

/// From our server to the peer. Ends with the connection.
fn forward_messages(
    (mut ours, mut theirs): (TcpStream, TcpStream),
    state: &State,
    losing: &AtomicBool,
) -> io::Result<()> {
    while let Some(record) = read_record(&mut ours)? {
        if record[0] == APPLICATION_DATA && record.len() > MESSAGE_RECORD_BYTES {
            state.messages.fetch_add(1, Ordering::SeqCst);
            let down = |left: u64| left.checked_sub(1);
            if state.countdown.fetch_update(Ordering::SeqCst, Ordering::SeqCst, down) == Ok(1) {
                losing.store(true, Ordering::SeqCst);
            }
        }
        theirs.write_all(&record)?;
    }
    // While an answer is being lost, the peer must not learn that nobody waits for it.
    if !losing.load(Ordering::SeqCst) {
        theirs.shutdown(Shutdown::Write)?;
    }
    Ok(())
}

/// From the peer to our server, until an answer is to be lost; that one is read to its end.
fn forward_answers(
    (mut ours, mut theirs): (TcpStream, TcpStream),
    state: &State,
    losing: &AtomicBool,
) -> io::Result<()> {
    while let Some(record) = read_record(&mut theirs)? {
        if !losing.load(Ordering::SeqCst) {
            ours.write_all(&record)?;
            continue;
        }
        if state.cut.load(Ordering::SeqCst) {
            ours.shutdown(Shutdown::Both)?;
        }
        state.lost.fetch_add(1, Ordering::SeqCst);
        theirs.set_read_timeout(Some(QUIET))?;
        while read_record(&mut theirs)?.is_some() {}
    }
    if !losing.load(Ordering::SeqCst) {
        ours.shutdown(Shutdown::Write)?;
    }
    Ok(())
}

/// One TLS record with its header. `None`: the connection has ended.
fn read_record(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut record = vec![0; RECORD_HEADER_BYTES];
    match stream.read_exact(&mut record) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
    record.resize(RECORD_HEADER_BYTES + length, 0);
    stream.read_exact(&mut record[RECORD_HEADER_BYTES..])?;
    Ok(Some(record))
}
