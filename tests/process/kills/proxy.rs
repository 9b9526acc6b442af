//! A place between two servers where connections are cut after a request has passed and before its answer has.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::servers::Whereabouts;

const BUFFER_BYTES: usize = 16 * 1024;
/// What a client has certainly sent once it is past the TLS handshake and the question what the peer speaks.
const PREAMBLE_BYTES: usize = 4 * 1024;
/// Encrypted, a transfer is longer, and what HTTP/2 says beside requests is shorter.
const LEAST_REQUEST_BYTES: usize = 300;
/// How long a cut waits for an answer to swallow.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Forwards connections to a server, wherever that is at the moment.
pub struct Proxy {
    address: SocketAddr,
    cuts: Arc<Cuts>,
}

/// What is to be cut, and what was.
#[derive(Default)]
struct Cuts {
    /// For how long answers are to be swallowed after the first. `None`: nothing is to be cut.
    ordered: Mutex<Option<Duration>>,
    done: AtomicUsize,
}

impl Proxy {
    /// A proxy in front of `server`; while that is `None`, connections are closed at once.
    pub fn start(runtime: &Handle, server: Whereabouts) -> Proxy {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("its address");
        let cuts = Arc::new(Cuts::default());
        let proxy = Proxy { address, cuts: Arc::clone(&cuts) };
        runtime.spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (server, cuts) = (*server.borrow(), Arc::clone(&cuts));
                tokio::spawn(async move {
                    if let Some(server) = server
                        && let Ok(far) = TcpStream::connect(server).await
                    {
                        carry(near, far, &cuts).await;
                    }
                });
            }
        });
        proxy
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts the connection on which the next request comes: it passes, but no answer does any more; some time
    /// after the first answer that did not, both sides are closed.
    pub fn cut_next(&self, after: Duration) {
        *self.cuts.ordered.lock().unwrap_or_else(PoisonError::into_inner) = Some(after);
    }

    /// Connections that were cut with an answer swallowed.
    pub fn cuts(&self) -> usize {
        self.cuts.done.load(Ordering::Relaxed)
    }
}

impl Cuts {
    fn take(&self) -> Option<Duration> {
        self.ordered.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Carries one connection to its end.
async fn carry(near: TcpStream, far: TcpStream, cuts: &Cuts) {
    let (from_near, to_near) = near.into_split();
    let (from_far, to_far) = far.into_split();
    let (cut, is_cut) = watch::channel(None);
    tokio::select! {
        () = requests(from_near, to_far, cuts, cut) => {}
        () = answers(from_far, to_near, cuts, is_cut) => {}
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    cuts: &Cuts,
    cut: watch::Sender<Option<Duration>>,
) {
    let (mut buffer, mut carried) = (vec![0; BUFFER_BYTES], 0);
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        carried += read;
        let is_request = carried > PREAMBLE_BYTES && read >= LEAST_REQUEST_BYTES;
        if is_request && let Some(after) = cuts.take() {
            // Before the request passes, so that its answer cannot. A connection cut already is cut.
            cut.send_replace(Some(after));
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    cuts: &Cuts,
    mut is_cut: watch::Receiver<Option<Duration>>,
) {
    tokio::select! {
        biased;
        _ = is_cut.changed() => {}
        // Only that it ended matters, not how.
        _ = tokio::io::copy(&mut from, &mut to) => return,
    }
    let Some(after) = *is_cut.borrow() else { return };
    let mut answer = [0; BUFFER_BYTES];
    if let Ok(Ok(1..)) = timeout(LONGEST_WAIT, from.read(&mut answer)).await {
        cuts.done.fetch_add(1, Ordering::Relaxed);
        sleep(after).await;
    }
}
