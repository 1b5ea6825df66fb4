//! Pure: what to do about a child now, from what is wanted, what is seen and what has been.
//!
//! Times are spans since the supervisor's start. They should never go back; when they do, stamps of
//! the future are taken for now, so that nothing waits for a clock to catch up (services 9, P-8).

use std::time::Duration;

/// How many failures are remembered, however long the window.
pub(crate) const FAILURES_MAX: usize = 64;

/// When to start, to wait and to give up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long a child may take from its start until it is ready; default 5 min, because it folds
    /// the log first.
    pub start_limit: Duration,
    /// How long a child may be silent, or ready and without an answer to a call; default 10 s.
    pub hang_limit: Duration,
    /// How long a child may take to end by itself; default 10 s.
    pub stop_grace: Duration,
    /// The wait after the first failure, doubled after each further one; default 1 s.
    pub back_off_first: Duration,
    /// The longest wait between two starts; default 60 s.
    pub back_off_max: Duration,
    /// How many restarts there are within the window before the child is held; default 5.
    pub restarts_max: usize,
    /// The window, and how long a child is held after its last failure; default 10 min.
    pub window: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            start_limit: Duration::from_secs(300),
            hang_limit: Duration::from_secs(10),
            stop_grace: Duration::from_secs(10),
            back_off_first: Duration::from_secs(1),
            back_off_max: Duration::from_secs(60),
            restarts_max: 5,
            window: Duration::from_secs(600),
        }
    }
}

impl Policy {
    /// Returns the wait after the last of `failures` failures within the window.
    fn back_off(&self, failures: usize) -> Duration {
        let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX).min(31);
        self.back_off_first.saturating_mul(1 << doublings).min(self.back_off_max)
    }
}

/// What is wanted; it outlives every process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Desired {
    /// The service answers.
    Running,
    /// There is no process.
    Stopped,
}

/// What is seen of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// There is none.
    Absent,
    /// It has been started and is not ready yet.
    Starting {
        /// When it was started.
        since: Duration,
        /// When it was last heard of; the start counts.
        heartbeat: Duration,
    },
    /// It has called itself and got an answer.
    Ready {
        /// When it was last heard of.
        heartbeat: Duration,
        /// When it last answered a call; becoming ready counts.
        answer: Duration,
    },
    /// It was told to end.
    Stopping {
        /// When it was told.
        since: Duration,
        /// Whether it was killed, so that only its end is waited for.
        killed: bool,
    },
}

/// Why a process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No heartbeat: it is stopped or hangs.
    #[error("no heartbeat for {} s", .0.as_secs())]
    Silent(Duration),
    /// It beats, but no call is answered.
    #[error("no answer to a call for {} s", .0.as_secs())]
    Deaf(Duration),
    /// It does not become ready.
    #[error("not ready {} s after its start", .0.as_secs())]
    Slow(Duration),
    /// It was told to end and does not.
    #[error("still there {} s after it was told to end", .0.as_secs())]
    Obstinate(Duration),
}

/// Why a child is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It says that it cannot start as it is configured: trying again would change nothing.
    Misconfigured,
    /// It has failed this often within the window.
    Flapping(usize),
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Start a process.
    Start,
    /// Ask the process to end.
    Stop,
    /// Kill the process.
    Kill(Fault),
    /// Nothing, before `until` or before something else is seen. Always later than now.
    Wait {
        /// When to decide again.
        until: Duration,
    },
    /// Nothing, and somebody should look at it; a start is tried at `until`. Always later than now.
    Hold {
        /// When to decide again.
        until: Duration,
        /// Why.
        cause: Cause,
    },
    /// Nothing, before something else is seen.
    Rest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failure {
    at: Duration,
    misconfigured: bool,
}

/// A child as its supervisor knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// What is wanted.
    pub desired: Desired,
    /// What is seen.
    pub observed: Observed,
    /// Ends that nobody wanted, oldest first.
    failures: Vec<Failure>,
    /// Until when the child is held, and why.
    held: Option<(Duration, Cause)>,
}

impl Child {
    /// Returns a child without process or history.
    #[must_use]
    pub fn new(desired: Desired) -> Self {
        Self { desired, observed: Observed::Absent, failures: Vec::new(), held: None }
    }

    /// Takes note of a start.
    pub fn started(&mut self, now: Duration) {
        self.observed = Observed::Starting { since: now, heartbeat: now };
    }

    /// Takes note of a heartbeat.
    pub fn beat(&mut self, now: Duration) {
        if let Observed::Starting { heartbeat, .. } | Observed::Ready { heartbeat, .. } =
            &mut self.observed
        {
            *heartbeat = now;
        }
    }

    /// Takes note that a starting child is ready.
    pub fn ready(&mut self, now: Duration) {
        if let Observed::Starting { .. } = self.observed {
            self.observed = Observed::Ready { heartbeat: now, answer: now };
        }
    }

    /// Takes note of an answer to a call.
    pub fn answered(&mut self, now: Duration) {
        if let Observed::Ready { answer, .. } = &mut self.observed {
            *answer = now;
        }
    }

    /// Takes note that the process was asked to end, or killed.
    pub fn stopping(&mut self, now: Duration, killed: bool) {
        self.observed = Observed::Stopping { since: now, killed };
    }

    /// Takes note that the process, or the attempt to start one, has ended; returns whether that
    /// was a failure. `misconfigured` says that the child gave its configuration as the reason.
    pub fn ended(&mut self, now: Duration, misconfigured: bool) -> bool {
        let asked = matches!(self.observed, Observed::Stopping { killed: false, .. });
        let failed = self.desired == Desired::Running && !asked;
        self.observed = Observed::Absent;
        if failed {
            self.failures.push(Failure { at: now, misconfigured });
            if self.failures.len() > FAILURES_MAX {
                self.failures.remove(0);
            }
        }
        failed
    }

    /// Forgets the failures, so that a held child is started at once.
    pub fn release(&mut self) {
        self.failures.clear();
        self.held = None;
    }

    /// Returns how many failures count at present.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.failures.len()
    }

    /// Returns what to do at `now`; forgets what lies outside of the window.
    pub fn decide(&mut self, policy: &Policy, now: Duration) -> Decision {
        self.settle(policy, now);
        match (self.desired, self.observed) {
            (Desired::Stopped, Observed::Absent) => Decision::Rest,
            (Desired::Running, Observed::Absent) => self.start(policy, now),
            (_, Observed::Stopping { killed: true, .. }) => Decision::Rest,
            (_, Observed::Stopping { since, killed: false }) => {
                limit(now, since, policy.stop_grace, Fault::Obstinate)
            }
            (Desired::Stopped, Observed::Starting { .. } | Observed::Ready { .. }) => {
                Decision::Stop
            }
            (Desired::Running, Observed::Starting { since, heartbeat }) => sooner(
                limit(now, heartbeat, policy.hang_limit, Fault::Silent),
                limit(now, since, policy.start_limit, Fault::Slow),
            ),
            (Desired::Running, Observed::Ready { heartbeat, answer }) => sooner(
                limit(now, heartbeat, policy.hang_limit, Fault::Silent),
                limit(now, answer, policy.hang_limit, Fault::Deaf),
            ),
        }
    }

    fn start(&mut self, policy: &Policy, now: Duration) -> Decision {
        if let Some((until, cause)) = self.held {
            if now < until {
                return Decision::Hold { until, cause };
            }
            // A new beginning: what was before the hold counts no more.
            self.release();
        }
        let Some(last) = self.failures.last() else { return Decision::Start };
        let count = self.failures.len();
        let cause = match last.misconfigured {
            true => Some(Cause::Misconfigured),
            false => (count > policy.restarts_max).then_some(Cause::Flapping(count)),
        };
        if let Some(cause) = cause {
            let until = last.at + policy.window;
            self.held = Some((until, cause));
            return Decision::Hold { until, cause };
        }
        let until = last.at + policy.back_off(count);
        if until <= now { Decision::Start } else { Decision::Wait { until } }
    }

    /// Takes stamps of the future for now, and forgets failures that are older than the window.
    fn settle(&mut self, policy: &Policy, now: Duration) {
        match &mut self.observed {
            Observed::Absent => {}
            Observed::Starting { since: first, heartbeat: second }
            | Observed::Ready { heartbeat: first, answer: second } => {
                *first = now.min(*first);
                *second = now.min(*second);
            }
            Observed::Stopping { since, .. } => *since = now.min(*since),
        }
        for failure in &mut self.failures {
            failure.at = now.min(failure.at);
        }
        if let Some((until, _)) = &mut self.held {
            *until = (*until).min(now + policy.window);
        }
        self.failures.retain(|failure| now - failure.at < policy.window);
    }
}

/// Returns to kill when `limit` has passed since `since`, else to wait until then.
fn limit(
    now: Duration,
    since: Duration,
    limit: Duration,
    fault: fn(Duration) -> Fault,
) -> Decision {
    let age = now.saturating_sub(since);
    if age >= limit { Decision::Kill(fault(age)) } else { Decision::Wait { until: since + limit } }
}

/// Returns the first of two decisions that kills, else the shorter wait.
fn sooner(first: Decision, second: Decision) -> Decision {
    match (first, second) {
        (Decision::Wait { until: a }, Decision::Wait { until: b }) => {
            Decision::Wait { until: a.min(b) }
        }
        (Decision::Wait { .. }, other) => other,
        (first, _) => first,
    }
}

#[cfg(test)]
mod tests;
