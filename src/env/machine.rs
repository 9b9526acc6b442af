//! What the machine has left for us: disk and memory.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Where the kernel says in which control group we are.
const OWN_GROUP: &str = "/proc/self/cgroup";
/// Where control groups of version 2 are.
const GROUPS: &str = "/sys/fs/cgroup";
/// Most levels of control groups that are looked at.
const MAX_GROUP_DEPTH: usize = 32;

/// Most files and directories that are looked at for what the state takes.
pub const MAX_FILES: usize = 20_000;

/// A file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What this user may still write.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// The figures of this machine. Calls may block.
pub trait Machine: Send + Sync {
    /// The file system the state is on.
    ///
    /// # Errors
    /// If the system does not say.
    fn space(&self) -> io::Result<Space>;

    /// Memory of this process that is resident, in bytes.
    ///
    /// # Errors
    /// If the system does not say.
    fn resident(&self) -> io::Result<u64>;

    /// Memory this process may use, in bytes: the machine's, or the smallest limit of its control groups if that is
    /// less.
    ///
    /// # Errors
    /// If the system does not say.
    fn memory(&self) -> io::Result<u64>;

    /// Bytes that the files of the state take, as far as [`MAX_FILES`] of them tell.
    ///
    /// # Errors
    /// If the system does not say.
    fn occupied(&self) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// This machine, as Linux tells of it.
#[derive(Debug, Clone)]
pub struct LinuxMachine {
    directory: PathBuf,
}

impl LinuxMachine {
    /// The machine, and the file system `directory` is on.
    pub fn new(directory: PathBuf) -> LinuxMachine {
        LinuxMachine { directory }
    }
}

impl Machine for LinuxMachine {
    fn space(&self) -> io::Result<Space> {
        let figures = rustix::fs::statvfs(&self.directory)?;
        let bytes = |blocks: u64| blocks.saturating_mul(figures.f_frsize);
        Ok(Space { free: bytes(figures.f_bavail), total: bytes(figures.f_blocks) })
    }

    fn resident(&self) -> io::Result<u64> {
        let pages = resident_pages(&fs::read_to_string("/proc/self/statm")?)?;
        Ok(pages.saturating_mul(rustix::param::page_size() as u64))
    }

    fn memory(&self) -> io::Result<u64> {
        let machine = total_memory(&fs::read_to_string("/proc/meminfo")?)?;
        // No such file: no control groups.
        let group = fs::read_to_string(OWN_GROUP).unwrap_or_default();
        Ok(group_limit(Path::new(GROUPS), &group).map_or(machine, |limit| limit.min(machine)))
    }

    fn occupied(&self) -> io::Result<u64> {
        let (mut bytes, mut seen, mut directories) = (0_u64, 0, vec![self.directory.clone()]);
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(&directory)? {
                seen += 1;
                if seen > MAX_FILES {
                    return Ok(bytes);
                }
                let entry = entry?;
                match entry.metadata() {
                    Ok(metadata) if metadata.is_dir() => directories.push(entry.path()),
                    Ok(metadata) => bytes = bytes.saturating_add(metadata.blocks().saturating_mul(512)),
                    // Removed meanwhile.
                    Err(_) => {}
                }
            }
        }
        Ok(bytes)
    }
}

fn unreadable(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} has another form than known"))
}

/// The second number of statm.
fn resident_pages(statm: &str) -> io::Result<u64> {
    let second = statm.split_whitespace().nth(1).and_then(|number| number.parse().ok());
    second.ok_or_else(|| unreadable("/proc/self/statm"))
}

fn total_memory(meminfo: &str) -> io::Result<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kibibytes.map(|number| number.saturating_mul(1024)).ok_or_else(|| unreadable("/proc/meminfo"))
}

/// The smallest limit of our control group and those above it. `None`: there is none.
fn group_limit(groups: &Path, own_group: &str) -> Option<u64> {
    let path = own_group.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // "max" is no number, and no limit.
    let limit_in =
        |group: &Path| fs::read_to_string(group.join("memory.max")).ok()?.trim().parse::<u64>().ok();
    let own = groups.join(path);
    own.ancestors()
        .take(MAX_GROUP_DEPTH)
        .take_while(|group| group.starts_with(groups))
        .filter_map(limit_in)
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_figures() {
        let machine = LinuxMachine::new(std::env::temp_dir());
        let space = machine.space().unwrap();
        assert!(space.free <= space.total && space.total > 0, "{space:?}");
        let (resident, memory) = (machine.resident().unwrap(), machine.memory().unwrap());
        assert!(0 < resident && resident < memory, "{resident} of {memory}");
    }

    #[test]
    fn what_the_files_of_the_state_take_is_added_up() {
        let state = tempfile::tempdir().unwrap();
        let machine = LinuxMachine::new(state.path().to_owned());
        assert_eq!(machine.occupied().unwrap(), 0);
        fs::create_dir(state.path().join("blobs")).unwrap();
        fs::write(state.path().join("db"), vec![1; 100_000]).unwrap();
        fs::write(state.path().join("blobs/1"), vec![1; 50_000]).unwrap();
        let bytes = machine.occupied().unwrap();
        assert!((150_000..250_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn the_kernels_texts_are_read() {
        assert_eq!(resident_pages("9000 1234 800 1 0 2 0\n").unwrap(), 1234);
        assert_eq!(total_memory("MemTotal:       16384 kB\nMemFree: 1 kB\n").unwrap(), 16384 * 1024);
        assert!(resident_pages("").is_err());
        assert!(total_memory("MemFree: 1 kB\n").is_err());
    }

    #[test]
    fn the_smallest_limit_of_the_groups_above_counts() {
        let groups = tempfile::tempdir().unwrap();
        let inner = groups.path().join("mail.slice/atp.service");
        fs::create_dir_all(&inner).unwrap();
        let limit = |group: &str| group_limit(groups.path(), group);
        assert_eq!(limit("0::/mail.slice/atp.service\n"), None);
        fs::write(inner.join("memory.max"), "max\n").unwrap();
        fs::write(groups.path().join("mail.slice/memory.max"), "1048576\n").unwrap();
        assert_eq!(limit("0::/mail.slice/atp.service\n"), Some(1_048_576));
        fs::write(inner.join("memory.max"), "4096\n").unwrap();
        assert_eq!(limit("0::/mail.slice/atp.service\n"), Some(4096));
        // As seen inside a container, and on a machine of version 1.
        assert_eq!(limit("0::/\n"), None);
        assert_eq!(limit("5:memory:/mail.slice\n"), None);
    }
}
