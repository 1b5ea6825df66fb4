//! What a process has used of the machine so far, where the system tells it (Linux).

/// Ticks of a second in `/proc`: the same on every Linux, whatever the kernel's own clock does.
const TICKS_PER_SECOND: f64 = 100.0;

/// Returns how long the process `pid` has been on a processor, threads that ended included, in seconds.
fn processor_seconds(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; user and system time are the 12th and 13th behind it.
    let (_, behind) = stat.rsplit_once(')')?;
    let mut ticks = behind.split_whitespace().skip(11).map(str::parse::<f64>);
    Some((ticks.next()?.ok()? + ticks.next()?.ok()?) / TICKS_PER_SECOND)
}

/// Returns how many bytes the process `pid` has written to files. What the system counts as written to
/// disks is whole pages, however often, and says nothing here; sockets are counted elsewhere.
fn written_bytes(pid: u32) -> Option<f64> {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    let line = io.lines().find_map(|line| line.strip_prefix("wchar:"))?;
    line.trim().parse().ok()
}

/// What this process and another one use from now on.
pub(super) struct Meter {
    pids: [u32; 2],
    processor: [Option<f64>; 2],
    written: Option<f64>,
}

/// What was used.
pub(super) struct Used {
    /// Seconds on a processor, of this process and of the other one.
    pub(super) processor: [Option<f64>; 2],
    /// Bytes that this process wrote.
    pub(super) written: Option<f64>,
}

impl Meter {
    pub(super) fn new(other: u32) -> Self {
        let pids = [std::process::id(), other];
        Self { pids, processor: pids.map(processor_seconds), written: written_bytes(pids[0]) }
    }

    pub(super) fn used(&self) -> Used {
        let since =
            |now: Option<f64>, then: Option<f64>| now.zip(then).map(|(now, then)| now - then);
        let [own, other] = self.pids;
        Used {
            processor: [
                since(processor_seconds(own), self.processor[0]),
                since(processor_seconds(other), self.processor[1]),
            ],
            written: since(written_bytes(own), self.written),
        }
    }
}
