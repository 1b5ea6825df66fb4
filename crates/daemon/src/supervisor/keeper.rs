//! The task that keeps one child: what is seen goes into the plan, what it decides is done.

use std::sync::Arc;
use std::time::Duration;

use proctor_services::link::{Children, Secret};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::plan::{Child, Decision, Desired, Fault, Observed};
use super::process::{Process, Seen};
use super::{Journal, Note, Phase, Service, Setup, Status};
use crate::child::pipe::{Report, Start};
use crate::generation::Generations;

/// What the outside asks for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Command {
    Want(Desired),
    Release,
    Kill,
    /// The supervisor ends: so do the child and this task.
    End,
}

/// How a process, or the attempt to start one, ended.
pub(super) struct End {
    pub(super) how: String,
    pub(super) misconfigured: bool,
}

pub(super) struct Keeper {
    setup: Arc<Setup>,
    service: Service,
    children: Children,
    generations: Arc<Generations>,
    journal: Arc<dyn Journal>,
    epoch: Instant,
    child: Child,
    process: Option<Process>,
    /// Why the process cannot go on, as it said itself.
    reason: Option<String>,
    /// Whether the hold that lasts was told.
    told: bool,
    ending: bool,
    status: watch::Sender<Status>,
}

impl Keeper {
    pub(super) fn new(
        setup: Arc<Setup>,
        service: Service,
        children: Children,
        generations: Arc<Generations>,
        journal: Arc<dyn Journal>,
    ) -> (Self, watch::Receiver<Status>) {
        let status = Status {
            desired: Desired::Running,
            phase: Phase::Absent,
            pid: None,
            generation: 0,
            address: None,
            commit: 0,
            starts: 0,
            failures: 0,
            last_end: None,
        };
        let (status, told) = watch::channel(status);
        let keeper = Self {
            setup,
            service,
            children,
            generations,
            journal,
            epoch: Instant::now(),
            child: Child::new(Desired::Running),
            process: None,
            reason: None,
            told: false,
            ending: false,
            status,
        };
        (keeper, told)
    }

    /// Keeps the child until the supervisor ends.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            let now = self.now();
            let decision = self.child.decide(&self.setup.policy, now);
            let wake = match decision {
                Decision::Start => {
                    self.start(now);
                    continue;
                }
                Decision::Stop => {
                    self.child.stopping(now, false);
                    if let Some(process) = &mut self.process {
                        process.drain();
                    }
                    continue;
                }
                Decision::Kill(fault) => {
                    self.kill(fault, now);
                    continue;
                }
                Decision::Wait { until } => Some(until),
                Decision::Hold { until, cause } => {
                    let last = self.status.borrow().last_end.clone().unwrap_or_default();
                    if !std::mem::replace(&mut self.told, true) {
                        let retry_after = until.saturating_sub(now);
                        self.note(&Note::Held { cause, last, retry_after });
                    }
                    Some(until)
                }
                Decision::Rest if self.ending && self.process.is_none() => return,
                Decision::Rest => None,
            };
            self.publish(matches!(decision, Decision::Hold { .. }));
            self.wait(wake, &mut commands).await;
        }
    }

    /// Waits until something is seen or asked for, at most until `wake`.
    async fn wait(&mut self, wake: Option<Duration>, commands: &mut mpsc::Receiver<Command>) {
        let epoch = self.epoch;
        let timer = async {
            match wake {
                Some(wake) => tokio::time::sleep_until(epoch + wake).await,
                None => std::future::pending().await,
            }
        };
        let seen = async {
            match &mut self.process {
                Some(process) => process.seen().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            command = commands.recv() => self.obey(command.unwrap_or(Command::End)),
            seen = seen => self.see(seen).await,
            () = timer => {}
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Want(desired) if !self.ending => self.child.desired = desired,
            Command::Want(_) => {}
            Command::Release => self.release(),
            Command::Kill => {
                if let Some(process) = &mut self.process {
                    process.kill();
                }
            }
            Command::End => {
                self.ending = true;
                self.child.desired = Desired::Stopped;
            }
        }
    }

    fn release(&mut self) {
        self.child.release();
        self.told = false;
    }

    /// Starts a process with a secret and a generation of its own.
    fn start(&mut self, now: Duration) {
        self.told = false;
        self.reason = None;
        self.child.started(now);
        let generation = self.generations.next();
        self.status.send_modify(|status| {
            status.starts += 1;
            status.generation = generation;
            status.commit = 0;
        });
        match self.spawn(generation) {
            Ok(process) => {
                self.note(&Note::Started { pid: process.pid(), generation });
                self.process = Some(process);
            }
            Err(end) => self.ended(end),
        }
    }

    fn spawn(&mut self, generation: u64) -> Result<Process, End> {
        let mut entropy = [0; 32];
        getrandom::fill(&mut entropy).map_err(|error| End {
            how: format!("the system gives no random numbers: {error}"),
            misconfigured: false,
        })?;
        let secret = Secret::new(entropy);
        let start = Start {
            service: self.service.name.clone(),
            node: self.setup.node,
            log: self.setup.log.clone(),
            listen: self.service.listen,
            generation,
            secret: secret.clone(),
            stale_after_ms: ms(self.setup.stale_after),
            beat_every_ms: ms(self.setup.beat_every),
            drain_ms: ms(self.setup.drain),
            settings: self.service.settings.clone(),
        };
        // Before the process is there: its first call comes after this.
        self.children.admit(&self.service.name, &secret);
        Process::start(
            &self.service.launch,
            &start,
            self.setup.beat_every,
            self.setup.policy.hang_limit,
        )
    }

    async fn see(&mut self, seen: Seen) {
        let now = self.now();
        match seen {
            Seen::Said(Report::Beat { commit }) => {
                self.child.beat(now);
                self.status.send_if_modified(|status| {
                    let changed = status.commit != commit;
                    status.commit = commit;
                    changed
                });
            }
            Seen::Said(Report::Ready { address }) => {
                self.child.ready(now);
                if let Some(process) = &mut self.process {
                    process.call(address);
                }
                self.status.send_modify(|status| status.address = Some(address));
                self.note(&Note::Ready { address });
            }
            Seen::Said(Report::Calls(counted)) => {
                self.journal.calls(&self.service.name, &counted);
            }
            Seen::Said(Report::Failed { message }) => self.reason = Some(message),
            Seen::Printed(line) => self.note(&Note::Line(line)),
            Seen::Answered => self.child.answered(now),
            Seen::Ended(end) => {
                // What it said last comes before its end is told.
                if let Some(process) = self.process.take() {
                    for last in process.last_words().await {
                        match last {
                            Seen::Said(Report::Failed { message }) => self.reason = Some(message),
                            Seen::Printed(line) => self.note(&Note::Line(line)),
                            Seen::Said(Report::Calls(counted)) => {
                                self.journal.calls(&self.service.name, &counted);
                            }
                            Seen::Said(_) | Seen::Answered | Seen::Ended(_) => {}
                        }
                    }
                }
                self.ended(end);
            }
        }
    }

    fn ended(&mut self, end: End) {
        self.children.dismiss(&self.service.name);
        let failure = self.child.ended(self.now(), end.misconfigured);
        let how = match self.reason.take() {
            Some(reason) => format!("{reason} ({})", end.how),
            None => end.how,
        };
        self.status.send_modify(|status| {
            status.last_end = Some(how.clone());
            status.address = None;
        });
        self.note(&Note::Ended { how, failure });
    }

    fn kill(&mut self, fault: Fault, now: Duration) {
        self.child.stopping(now, true);
        // Whatever it still sends to the node is refused from here on.
        self.children.dismiss(&self.service.name);
        if let Some(process) = &mut self.process {
            process.kill();
        }
        self.note(&Note::Killed(fault));
    }

    fn publish(&self, held: bool) {
        let phase = match self.child.observed {
            Observed::Absent if held => Phase::Held,
            Observed::Absent => Phase::Absent,
            Observed::Starting { .. } => Phase::Starting,
            Observed::Ready { .. } => Phase::Ready,
            Observed::Stopping { .. } => Phase::Stopping,
        };
        let pid = self.process.as_ref().map(Process::pid);
        let (desired, failures) = (self.child.desired, self.child.failures());
        self.status.send_if_modified(|status| {
            let before = (status.desired, status.phase, status.pid, status.failures);
            (status.desired, status.phase, status.pid, status.failures) =
                (desired, phase, pid, failures);
            before != (desired, phase, pid, failures)
        });
    }

    fn note(&self, note: &Note) {
        self.journal.note(&self.service.name, note);
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
