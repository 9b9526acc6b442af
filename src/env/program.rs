//! Programs of the operator's that are run: no shell, bounded in time, their output bounded.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep, timeout};

/// Bytes of a program's output that are kept; the rest is read and thrown away.
pub const MAX_OUTPUT_BYTES: usize = 4096;
/// How often it is looked whether a program has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long output is still read once it has ended: what it started may hold the pipe open.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// What is ours alone in the environment: secrets, and what makes a process speak for a service.
const NOT_HANDED_ON: [&str; 8] = [
    "ATP_ADMIN_TOKEN",
    "ATP_PASSWORD",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
];

/// What came of a program.
#[derive(Debug, Clone)]
pub struct Ran {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output and standard error, cut at [`MAX_OUTPUT_BYTES`].
    pub output: Vec<u8>,
}

/// Runs a program with these arguments and no input. What it has not done within `limit` is killed, with all it has
/// started; so is what is under way when this future is dropped.
///
/// # Errors
/// The system's if it cannot be started, [`io::ErrorKind::TimedOut`] if it was killed.
pub async fn run<A: AsRef<OsStr>>(program: &Path, arguments: &[A], limit: Duration) -> io::Result<Ran> {
    let (reader, writer) = io::pipe()?;
    let mut output = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
    let mut running = Running::start(program, arguments, writer)?;
    let deadline = Instant::now() + limit;
    let mut kept = Vec::new();
    let status = loop {
        if let Some(status) = running.ended()? {
            break status;
        }
        if Instant::now() >= deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("not done within {limit:?}")));
        }
        // Whichever comes first: something to read, or time to look.
        let _ = timeout(LOOK_EVERY, read_some(&mut output, &mut kept)).await;
    };
    let rest = async { while read_some(&mut output, &mut kept).await {} };
    let _ = timeout(LAST_WORDS, rest).await;
    Ok(Ran { status, output: kept })
}

/// Reads what there is, and keeps what there is room for. `false`: there is no more.
async fn read_some(output: &mut pipe::Receiver, kept: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 1024];
    match output.read(&mut buffer).await {
        Ok(0) | Err(_) => {
            // Nobody writes any more, but the program may go on.
            sleep(LOOK_EVERY).await;
            false
        }
        Ok(read) => {
            let room = MAX_OUTPUT_BYTES.saturating_sub(kept.len()).min(read);
            kept.extend_from_slice(buffer.get(..room).unwrap_or_default());
            true
        }
    }
}

/// A program; with this value it ends, and all it has started.
struct Running(Option<Child>);

impl Running {
    fn start<A: AsRef<OsStr>>(
        program: &Path,
        arguments: &[A],
        output: io::PipeWriter,
    ) -> io::Result<Running> {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0);
        for name in NOT_HANDED_ON {
            command.env_remove(name);
        }
        command.spawn().map(|child| Running(Some(child)))
    }

    fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        let Some(child) = &mut self.0 else { return Err(io::ErrorKind::NotFound.into()) };
        let status = child.try_wait()?;
        if status.is_some() {
            self.0 = None;
        }
        Ok(status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut child) = self.0.take() else { return };
        if let Ok(group) = i32::try_from(child.id()) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        // The kernel keeps what has ended until it is asked for it; that takes a moment, which nobody here waits.
        std::thread::spawn(move || child.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str, limit: Duration) -> io::Result<Ran> {
        run(Path::new("/bin/sh"), &["-c", script, "sh", "a b", "$HOME"], limit).await
    }

    #[tokio::test]
    async fn output_and_status_come_back_and_arguments_go_as_they_are() {
        let ran = shell("echo \"$1|$2\"; echo trouble >&2; exit 3", Duration::from_secs(10)).await.unwrap();
        assert_eq!(ran.status.code(), Some(3));
        assert_eq!(String::from_utf8(ran.output).unwrap(), "a b|$HOME\ntrouble\n");
    }

    #[tokio::test]
    async fn a_program_that_writes_without_end_is_cut_and_killed() {
        let started = Instant::now();
        let error = shell("yes", Duration::from_millis(300)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let ran = shell("yes | head -c 100000", Duration::from_secs(10)).await.unwrap();
        assert_eq!(ran.output.len(), MAX_OUTPUT_BYTES);
        assert!(started.elapsed() < Duration::from_secs(9));
    }

    #[tokio::test]
    async fn what_it_has_started_holds_nobody_up_and_is_killed_with_it() {
        let started = Instant::now();
        let ran = shell("sleep 30 & echo done", Duration::from_secs(20)).await.unwrap();
        assert_eq!((ran.status.code(), ran.output.as_slice()), (Some(0), &b"done\n"[..]));
        assert!(started.elapsed() < Duration::from_secs(10));
        let directory = tempfile::tempdir().unwrap();
        let mark = directory.path().join("mark");
        let script = format!("(sleep 1; touch {}) & sleep 30", mark.display());
        assert!(shell(&script, Duration::from_millis(200)).await.is_err());
        sleep(Duration::from_millis(1500)).await;
        assert!(!mark.exists());
    }
}
