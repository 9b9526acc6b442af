//! `atp top`: how a server on this machine is doing, drawn anew each second.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::time::Duration;

use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::error::CliError;
use super::http::{Client, Request};
use super::output::{self, Output};
use super::queue::At;

mod frame;

use frame::frame;

/// How often it is drawn.
const EVERY: Duration = Duration::from_secs(1);
/// The size of a terminal that does not say, in columns and rows.
const USUAL_SIZE: (usize, usize) = (80, 24);
/// The largest that is made use of.
const LARGEST_SIZE: (usize, usize) = (400, 200);

/// Watch a server on this machine, live; q or Ctrl-C ends it.
#[derive(Args)]
pub(super) struct Top {
    #[command(flatten)]
    at: At,
}

impl Top {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let mut client = self.at.client()?;
        if output.is_json() {
            return output::print_json(&ask(&mut client).await?);
        }
        if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
            let status = ask(&mut client).await?;
            let (width, height) = USUAL_SIZE;
            return output::print(&frame(&status, None, width, height).join("\n"));
        }
        watch(&mut client).await
    }
}

async fn ask(client: &mut Client) -> Result<Value, CliError> {
    client.call(Request::get("admin/status").query("brief", "true")).await?.success()
}

async fn watch(client: &mut Client) -> Result<(), CliError> {
    let unusable = |error: std::io::Error| CliError::failed(format!("the terminal cannot be used: {error}"));
    // Asked before the screen is touched, so that a server that is not there is said in the usual way.
    let mut status = ask(client).await?;
    let mut terminate = signal(SignalKind::terminate()).map_err(unusable)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(unusable)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(unusable)?;
    let screen = Screen::open().map_err(unusable)?;
    let mut keys = keys();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first one comes at once.
    ticks.tick().await;
    let mut before: Option<(Value, Instant)> = None;
    let mut asked = Instant::now();
    loop {
        let (width, height) = size();
        let since = before.as_ref().map(|(status, at)| (status, asked.duration_since(*at)));
        screen.draw(&frame(&status, since, width, height)).map_err(unusable)?;
        before = Some((status, asked));
        loop {
            tokio::select! {
                biased;
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                _ = hangup.recv() => return Ok(()),
                key = keys.recv() => match key {
                    Some(b'q' | b'Q' | 3) | None => return Ok(()),
                    Some(_) => {}
                },
                _ = ticks.tick() => break,
            }
        }
        status = ask(client).await?;
        asked = Instant::now();
    }
}

/// Keys as they are pressed. The thread ends with the process.
fn keys() -> mpsc::Receiver<u8> {
    let (sender, keys) = mpsc::channel(16);
    std::thread::spawn(move || {
        let mut byte = [0];
        while matches!(std::io::stdin().read(&mut byte), Ok(1)) && sender.blocking_send(byte[0]).is_ok() {}
    });
    keys
}

fn size() -> (usize, usize) {
    let told =
        tcgetwinsize(std::io::stdout()).map(|size| (usize::from(size.ws_col), usize::from(size.ws_row)));
    match told {
        Ok((width @ 1.., height @ 1..)) => (width.min(LARGEST_SIZE.0), height.min(LARGEST_SIZE.1)),
        _ => USUAL_SIZE,
    }
}

/// The terminal's other screen, without echo and lines; the usual one is back when this is dropped.
struct Screen {
    usual: Termios,
}

impl Screen {
    fn open() -> std::io::Result<Screen> {
        let usual = tcgetattr(std::io::stdin())?;
        let mut own = usual.clone();
        own.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Now, &own)?;
        let screen = Screen { usual };
        let mut out = std::io::stdout().lock();
        out.write_all(b"\x1b[?1049h\x1b[?25l")?;
        out.flush()?;
        Ok(screen)
    }

    fn draw(&self, lines: &[String]) -> std::io::Result<()> {
        let drawn = format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\r\n"));
        let mut out = std::io::stdout().lock();
        out.write_all(drawn.as_bytes())?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nobody is left to be told of an error.
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(b"\x1b[?25h\x1b[?1049l");
        let _ = out.flush();
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.usual);
    }
}
