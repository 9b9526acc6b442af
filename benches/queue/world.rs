//! Everything outside the sending server: DNS, an authority, and destinations in every state of health.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use crate::authority::Authority;
use crate::fill;
use crate::names::{self, Ports, SERVFAIL_KIND};
use crate::sink::{self, Manner, Tally};

/// Destinations that work.
pub const HEALTHY: &str = "well";
/// A destination that takes its time.
pub const SLOW: &str = "slow";
/// How much.
pub const SLOW_ANSWER: Duration = Duration::from_millis(50);
/// Destinations that do not listen.
pub const REFUSED: &str = "refused";
/// Destinations that are dead, each in a way of its own.
pub const DEAD: [&str; 6] = [REFUSED, "hole", "tls", SERVFAIL_KIND, "error", "tarpit"];
/// What the names of all servers match.
const SERVERS: &str = "*.mx.example";
/// A port nobody listens at.
const CLOSED_PORT: u16 = 1;
/// How often the slowest server says another byte.
const DRIP_EVERY: Duration = Duration::from_secs(1);

/// It ends with the process.
pub struct World {
    pub authority: Authority,
    pub dns: SocketAddr,
    pub tally: Arc<Tally>,
    _hole: Hole,
}

/// A listener nobody accepts from, its queue full: what comes then is never answered.
struct Hole {
    _listener: Socket,
    _queued: TcpStream,
    port: u16,
}

impl World {
    pub async fn start(directory: &Path) -> World {
        let authority = Authority::new(directory);
        let tally = Arc::new(Tally::default());
        let good = authority.acceptor(SERVERS, &["h2"]);
        let serve = |manner| sink::serve(manner, good.clone(), Arc::clone(&tally));
        let hole = Hole::new();
        let other_name = authority.acceptor("elsewhere.example", &["h2"]);
        let ports = Ports::from([
            (HEALTHY, vec![serve(Manner::Takes).await]),
            (SLOW, vec![serve(Manner::Slow(SLOW_ANSWER)).await]),
            (fill::KIND, vec![serve(Manner::MailboxFull).await]),
            (REFUSED, vec![CLOSED_PORT]),
            ("hole", vec![hole.port]),
            ("tls", vec![sink::serve(Manner::Takes, other_name, Arc::clone(&tally)).await, garbage().await]),
            ("error", vec![serve(Manner::Unavailable).await, serve(Manner::Html).await]),
            (
                "tarpit",
                vec![serve(Manner::Mute).await, drip(authority.acceptor(SERVERS, &["http/1.1"])).await],
            ),
        ]);
        World { dns: names::serve(ports).await, authority, tally, _hole: hole }
    }
}

impl Hole {
    fn new() -> Hole {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("an address");
        // Linux queues one more than asked for.
        listener.listen(0).expect("a listener");
        let address = listener.local_addr().expect("its address").as_socket().expect("an IP address");
        let queued = TcpStream::connect(address).expect("the one connection there is room for");
        Hole { _listener: listener, _queued: queued, port: address.port() }
    }
}

/// Answers a TLS greeting with something else.
async fn garbage() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"220 this is another protocol\r\n").await;
        }
    });
    port
}

/// Answers every request with a byte a second.
async fn drip(acceptor: TlsAcceptor) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                for byte in
                    b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n".iter().chain([b' '; 3600].iter())
                {
                    if stream.write_all(&[*byte]).await.and(stream.flush().await).is_err() {
                        return;
                    }
                    sleep(DRIP_EVERY).await;
                }
            });
        }
    });
    port
}
