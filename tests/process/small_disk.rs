//! A server whose store lies on a small file system of its own, which can really be full.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use atp::env::machine::{LinuxMachine, Machine as _};

use crate::place::{Place, text};
use crate::server::Server;
use crate::tools;

/// Says that tests on such a file system must not be skipped.
const REQUIRED: &str = "ATP_TEST_TMPFS";
const MIB: u64 = 1024 * 1024;

/// Whether a file system can be mounted here, in namespaces of our own. Where it cannot, that is said loudly; in
/// continuous integration it is a failure.
pub fn available(what: &str) -> bool {
    let works = tools::available("unshare", "util-linux", what)
        && tools::works("unshare", &["-Urm", "mount", "-t", "tmpfs", "-o", "size=1m", "disk", "/mnt"], what);
    let required = std::env::var(REQUIRED).is_ok_and(|value| value == "required");
    assert!(works || !required, "{REQUIRED}=required: {what} must be seen");
    works
}

/// The server, and the file system under the directory of its node.
pub struct SmallDisk {
    pub server: Server,
    node: PathBuf,
}

impl SmallDisk {
    /// Starts the server of `domain` with its node's directory on a new file system of that size.
    pub fn start(place: &Place, domain: &str, mebibytes: u64, more: &[&str]) -> SmallDisk {
        let node = place.state().join("node").join(domain);
        fs::create_dir_all(&node).expect("a mount point");
        for directory in [place.state(), place.state().join("node"), node.clone()] {
            tools::make_private(&directory);
        }
        let server = place.server_command(domain, more);
        let script = format!("mount -t tmpfs -o size={mebibytes}m,mode=700 disk \"$0\" && exec \"$@\"");
        let mut command: Command = place.program("unshare");
        command.args(["-Urm", "sh", "-c", &script, &text(&node)]);
        command.arg(server.get_program()).args(server.get_args());
        SmallDisk { server: Server::start(command, place.log()), node }
    }

    /// A file on the small file system, as seen from outside.
    pub fn path(&self, name: &str) -> PathBuf {
        let inside = self.node.strip_prefix("/").expect("an absolute path");
        PathBuf::from(format!("/proc/{}/root", self.server.pid())).join(inside).join(name)
    }

    /// Bytes free there.
    pub fn free(&self) -> u64 {
        LinuxMachine::new(self.path("")).space().expect("a file system").free
    }

    /// Writes a file that leaves only so much free.
    pub fn fill(&self, mebibytes_left: u64) {
        let size = self.free().saturating_sub(mebibytes_left * MIB);
        fs::write(self.path("filler"), vec![1; usize::try_from(size).expect("a size")]).expect("a filler");
    }

    /// Removes it.
    pub fn make_room(&self) {
        fs::remove_file(self.path("filler")).expect("a filler");
    }
}
