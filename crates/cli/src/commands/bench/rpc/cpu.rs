//! How much of the processors the threads of this process have used, where the system tells it (Linux).

use std::collections::BTreeMap;

/// Nanoseconds on a processor, by whose work it was.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    pub(super) client: u64,
    pub(super) sequencer: u64,
    pub(super) services: u64,
}

impl Used {
    /// Returns what the threads that run now have used so far. The caller's is the client's.
    pub(super) fn now() -> Option<Self> {
        let threads = by_thread()?;
        let own = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        let client = on_processor(&own)?;
        let sequencer = threads.get("sequencer").copied().unwrap_or_default();
        let all: u64 = threads.values().sum();
        Some(Self { client, sequencer, services: all.saturating_sub(client + sequencer) })
    }

    /// Returns what was used since `before`.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            client: self.client.saturating_sub(before.client),
            sequencer: self.sequencer.saturating_sub(before.sequencer),
            services: self.services.saturating_sub(before.services),
        }
    }

    pub(super) fn plus(self, more: Self) -> Self {
        Self {
            client: self.client + more.client,
            sequencer: self.sequencer + more.sequencer,
            services: self.services + more.services,
        }
    }

    pub(super) fn total(self) -> u64 {
        self.client + self.sequencer + self.services
    }
}

/// Returns nanoseconds by the name of the thread; threads of one name are added up.
fn by_thread() -> Option<BTreeMap<String, u64>> {
    let mut used = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task").ok()?.flatten() {
        // A thread that has ended meanwhile is not there any more.
        let read = |name: &str| std::fs::read_to_string(task.path().join(name)).ok();
        let (Some(name), Some(times)) = (read("comm"), read("schedstat")) else { continue };
        *used.entry(name.trim().to_owned()).or_insert(0) += on_processor(&times)?;
    }
    Some(used)
}

fn on_processor(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}
