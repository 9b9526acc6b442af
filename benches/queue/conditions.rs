//! Under which conditions figures were taken: without them they mean nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Prints them.
pub fn print(store: &Path) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("conditions");
    println!("  machine     {cores} cores of {}, {} MiB", field("/proc/cpuinfo", "model name"), memory_mib());
    println!("  kernel      {}", first_line("/proc/sys/kernel/osrelease"));
    println!("  store on    {}", file_system(store));
    println!("  atp         {}, profile {}", env!("CARGO_PKG_VERSION"), profile());
    println!("  compiler    {}", said("rustc", &["--version"]));
    println!("  revision    {}", said("git", &["describe", "--always", "--dirty"]));
    println!("  durability  fdatasync before every answer");
    println!("  peers       in the process of the benchmark, on the same cores, over TLS 1.3 on loopback");
    println!("  log         level info, to a file");
    println!("  load        {} (at the start)", load());
    println!();
}

/// The load average, one, five and fifteen minutes.
pub fn load() -> String {
    first_line("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn profile() -> &'static str {
    if cfg!(debug_assertions) { "debug (figures mean nothing)" } else { "release, thin LTO" }
}

fn first_line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().lines().next().unwrap_or("unknown").to_owned()
}

fn field(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_once(':')).map_or("unknown", |(_, value)| value.trim()).to_owned()
}

fn memory_mib() -> u64 {
    let kib = field("/proc/meminfo", "MemTotal");
    kib.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Type and device of the mount that holds a path.
fn file_system(path: &Path) -> String {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?, words.next()?, words.next()?))
    });
    let holding = mounts.filter(|(_, point, _)| path.starts_with(point));
    holding
        .max_by_key(|(_, point, _)| point.len())
        .map_or_else(|| "unknown".to_owned(), |(device, _, kind)| format!("{kind} ({device})"))
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    said.ok().filter(|said| !said.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}
