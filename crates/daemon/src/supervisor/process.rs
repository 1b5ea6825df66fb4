//! A child process: its handle, its three pipes, and the calls that it should answer.

use std::io;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Launch;
use super::keeper::End;
use crate::child::pipe::{self, LINE_BYTES_MAX, Order, Report, Start};
use crate::child::{EXIT_MISCONFIGURED, health};

/// How many things that were seen wait for the keeper; a child that says more waits for it.
const SEEN: usize = 64;
/// How long a line for the log may be; the rest is cut off.
const PRINTED_MAX: usize = 4_096;
/// How long the pipes of a process that has ended are read; a process of its own may hold them.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What is seen of a process.
pub(super) enum Seen {
    Said(Report),
    Printed(String),
    Answered,
    Ended(End),
}

/// A process that this supervisor has started.
pub(super) struct Process {
    child: Child,
    pid: u32,
    orders: Option<mpsc::Sender<String>>,
    seen: mpsc::Receiver<Seen>,
    sender: mpsc::Sender<Seen>,
    every: Duration,
    within: Duration,
    /// Readers of the two pipes.
    readers: JoinSet<()>,
    /// The pen of the third pipe, and the calls; both end with this.
    others: JoinSet<()>,
}

impl Process {
    /// Starts `launch` and writes `start` into its standard input. It is called every `every`, once
    /// it is ready.
    pub(super) fn start(
        launch: &Launch,
        start: &Start,
        every: Duration,
        within: Duration,
    ) -> Result<Self, End> {
        let line = pipe::line(start)
            .map_err(|error| End { how: error.to_string(), misconfigured: true })?;
        let mut command = Command::new(&launch.executable);
        command
            .args(&launch.arguments)
            .envs(launch.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A signal from the terminal is for the node, which ends its children in order.
            .process_group(0)
            .kill_on_drop(true);
        let failed = |error: io::Error| End {
            how: format!("cannot start {}: {error}", launch.executable.display()),
            misconfigured: matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
            ),
        };
        let mut child = command.spawn().map_err(failed)?;
        let gone = || failed(io::Error::other("it has ended at once"));
        let pid = child.id().ok_or_else(gone)?;
        let (Some(input), Some(output), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(gone());
        };
        let (orders, written) = mpsc::channel(4);
        let (sender, seen) = mpsc::channel(SEEN);
        let (mut readers, mut others) = (JoinSet::new(), JoinSet::new());
        others.spawn(write(input, line, written));
        readers.spawn(read(output, sender.clone(), true));
        readers.spawn(read(errors, sender.clone(), false));
        let orders = Some(orders);
        Ok(Self { child, pid, orders, seen, sender, every, within, readers, others })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns what is seen next; may be dropped and called again.
    pub(super) async fn seen(&mut self) -> Seen {
        tokio::select! {
            biased;
            // `None` cannot be: this holds a sender itself.
            Some(seen) = self.seen.recv() => seen,
            ended = self.child.wait() => Seen::Ended(end(ended)),
        }
    }

    /// Calls the service at `address` from now on, again and again.
    pub(super) fn call(&mut self, address: SocketAddr) {
        let (sender, every, within) = (self.sender.clone(), self.every, self.within);
        self.others.spawn(async move {
            loop {
                if health::call(address, within).await.is_ok()
                    && sender.send(Seen::Answered).await.is_err()
                {
                    return;
                }
                tokio::time::sleep(every).await;
            }
        });
    }

    /// Asks the process to end: by word, and by closing the pipe.
    pub(super) fn drain(&mut self) {
        if let Some(orders) = self.orders.take()
            && let Ok(line) = pipe::line(&Order::Drain)
        {
            // A full queue is closed all the same, and that says it too.
            drop(orders.try_send(line));
        }
    }

    /// Kills this process, by its handle; it cannot be any other.
    pub(super) fn kill(&mut self) {
        // It fails only when the process has ended already.
        drop(self.child.start_kill());
    }

    /// Returns what the ended process said and was not seen yet.
    pub(super) async fn last_words(mut self) -> Vec<Seen> {
        self.others.shutdown().await;
        drop(self.sender);
        let mut words = Vec::new();
        let all = async {
            while let Some(seen) = self.seen.recv().await {
                words.push(seen);
                // The rest of a process that printed without end is not worth more.
                if words.len() >= SEEN * 16 {
                    return;
                }
            }
        };
        drop(tokio::time::timeout(LAST_WORDS, all).await);
        self.readers.abort_all();
        words
    }
}

fn end(status: io::Result<ExitStatus>) -> End {
    match status {
        Ok(status) => End {
            how: status.to_string(),
            misconfigured: status.code() == Some(i32::from(EXIT_MISCONFIGURED)),
        },
        Err(error) => End { how: format!("its end is not known: {error}"), misconfigured: false },
    }
}

/// Writes what the process should read; closes the pipe when there is no more to come.
async fn write(mut input: ChildStdin, first: String, mut more: mpsc::Receiver<String>) {
    let mut line = Some(first);
    while let Some(text) = line {
        // A process that does not read is noticed by its silence.
        if input.write_all(text.as_bytes()).await.is_err() || input.flush().await.is_err() {
            return;
        }
        line = more.recv().await;
    }
}

/// Reads what the process says and prints.
async fn read(output: impl AsyncRead + Unpin, sender: mpsc::Sender<Seen>, reports: bool) {
    let mut lines = BufReader::new(output);
    while let Some(line) = next_line(&mut lines).await {
        let report = if reports { pipe::report(&line) } else { None };
        let seen = report.map_or_else(|| Seen::Printed(printable(&line)), Seen::Said);
        if sender.send(seen).await.is_err() {
            return;
        }
    }
}

/// Returns the next line without its end; a longer one than [`LINE_BYTES_MAX`] comes in parts.
async fn next_line(lines: &mut (impl AsyncBufRead + Unpin)) -> Option<String> {
    let mut line = Vec::new();
    let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
    let read = lines.take(limit).read_until(b'\n', &mut line).await;
    if read.ok()? == 0 {
        return None;
    }
    Some(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// Returns what of `line` may stand in a log.
fn printable(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).take(PRINTED_MAX).collect()
}
