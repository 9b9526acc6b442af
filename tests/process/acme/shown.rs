//! Which certificate a TLS client is shown.

use std::net::SocketAddr;

use atp::env::dial::{Dial as _, Endpoint, Trust};
use atp::env::tls::TlsDial;

/// Whether who asks for `name` is shown the certificate with this SHA-256, in hex.
pub fn is(address: SocketAddr, name: &str, sha256: &str) -> bool {
    let mut pin = [0; 32];
    for (index, byte) in pin.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&sha256[2 * index..2 * index + 2], 16).expect("hex");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let endpoint = Endpoint { address, name: name.into(), trust: Trust::Pin(pin) };
    runtime.block_on(TlsDial::new(Vec::new()).dial(&endpoint)).is_ok()
}
