//! Random commits, crashes and restarts against a plain list of what was acknowledged.

use std::sync::Arc;

use proctor_commit_log::storage::Storage;
use proctor_commit_log::storage::faulty::{Fault, FaultyDisk, Survival};
use proctor_sequencer::{Batch, Receipt, Writer, WriterConfig};
use proptest::prelude::*;

use crate::common::{batch, config, fold};

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Commit so many batches as one group.
    Commit(u32),
    Snapshot,
    /// The operation that comes so many after the next one fails or crashes.
    Trouble(u64, bool),
    /// The power goes; what was not synced survives by this seed.
    PowerLoss(u64),
    /// The process ends without a word and starts again.
    Restart,
    /// The process ends cleanly and starts again.
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..5_u32).prop_map(Step::Commit),
        1 => Just(Step::Snapshot),
        3 => (0..8_u64, any::<bool>()).prop_map(|(after, crash)| Step::Trouble(after, crash)),
        3 => any::<u64>().prop_map(Step::PowerLoss),
        1 => Just(Step::Restart),
        1 => Just(Step::Close),
    ]
}

/// What must be there, and what may be.
struct Model {
    disk: FaultyDisk,
    /// `None` while the machine is down.
    writer: Option<Writer>,
    /// Every commit that is known to be in the log, in order.
    known: Vec<Batch>,
    receipts: Vec<Option<Receipt>>,
    /// What was submitted after them and not acknowledged.
    unknown: Vec<Batch>,
    number: u32,
}

impl Model {
    fn new() -> Self {
        let mut model = Self {
            disk: FaultyDisk::new(),
            writer: None,
            known: Vec::new(),
            receipts: Vec::new(),
            unknown: Vec::new(),
            number: 0,
        };
        model.start();
        model
    }

    fn config() -> WriterConfig {
        WriterConfig { snapshot_every: 4, ..config() }
    }

    /// Starts the writer on what the disk has, and learns which commits there are.
    fn start(&mut self) {
        let storage: Arc<dyn Storage> = Arc::new(self.disk.clone());
        self.disk.heal();
        let opened = Writer::open(Arc::clone(&storage), Self::config()).expect("starts");
        let commits = fold(&storage).expect("verifies");
        assert!(commits.len() >= self.known.len(), "an acknowledged commit is gone");
        let new = commits.len() - self.known.len();
        assert!(new <= self.unknown.len(), "a commit was invented");
        self.known.extend(self.unknown.drain(..).take(new));
        self.receipts.resize(self.known.len(), None);
        for ((commit, digest), (batch, receipt)) in
            commits.iter().zip(self.known.iter().zip(&self.receipts))
        {
            assert_eq!((commit.at, &commit.inputs), (batch.at, &batch.inputs));
            assert!(receipt.as_ref().is_none_or(|receipt| receipt.digest == *digest));
        }
        let last = commits.last().map_or_else(Default::default, |(_, digest)| *digest);
        assert_eq!(opened.writer.views().latest().digest, last);
        self.writer = Some(opened.writer);
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Commit(count) => self.commit(count),
            Step::Snapshot => {
                if let Some(writer) = &mut self.writer {
                    // It may fail; what it left behind is judged at the next start.
                    drop(writer.snapshot());
                }
            }
            Step::Trouble(after, crash) => {
                let fault = if crash { Fault::Crash } else { Fault::Fail(0) };
                self.disk.inject(self.disk.operations() + after, fault);
            }
            Step::PowerLoss(seed) => {
                self.writer = None;
                self.disk.power_loss(Survival::Random(seed));
                self.start();
            }
            Step::Restart => {
                self.writer = None;
                self.disk.restart();
                self.start();
            }
            Step::Close => {
                // A close that fails is a crash.
                drop(self.writer.take().map(Writer::close));
                self.disk.restart();
                self.start();
            }
        }
    }

    fn commit(&mut self, count: u32) {
        let Some(writer) = &mut self.writer else { return };
        let group: Vec<_> = (self.number..self.number + count).map(batch).collect();
        self.number += count;
        let healthy = writer.stopped().is_none();
        let mut answers = writer.commit(group.clone());
        let committed = answers.iter().take_while(|answer| answer.is_ok()).count();
        let refused = answers.split_off(committed);
        assert!(refused.iter().all(Result::is_err), "acknowledged after a failure");
        assert!(committed == 0 || healthy && self.unknown.is_empty());
        let rest = group.iter().skip(committed).cloned().collect::<Vec<_>>();
        self.known.extend(group.into_iter().take(committed));
        self.receipts.extend(answers.into_iter().map(Result::ok));
        if !refused.is_empty() && healthy {
            // A group is acknowledged as a whole, or up to a commit with a snapshot.
            let every = Self::config().snapshot_every;
            assert!(committed == 0 || (self.known.len() as u64).is_multiple_of(every));
            self.unknown.extend(rest);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn x_1_x_3_x_24_no_acknowledged_decision_is_lost_and_none_is_invented(
        steps in prop::collection::vec(step(), 1..30),
    ) {
        let mut model = Model::new();
        for step in steps {
            model.run(step);
        }
        model.run(Step::PowerLoss(7));
        model.run(Step::Commit(1));
        prop_assert!(model.unknown.is_empty(), "a healthy disk takes commits again");
    }
}
