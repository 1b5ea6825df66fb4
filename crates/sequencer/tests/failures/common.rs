//! Inputs that leave traces, clocks and disks that wait, and the fold that everything is held to.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use proctor_commit_log::storage::Storage;
use proctor_commit_log::{LogConfig, Reader};
use proctor_engine::input::{RecordedFill, Roster};
use proctor_engine::rulebook::VANTA;
use proctor_engine::{Commit, Input};
use proctor_sequencer::{
    Batch, Clock, CommitError, Receipt, Replay, ReplayError, Writer, WriterConfig,
};
use proctor_types::{
    AssetClass, Digest, Leverage, OrderId, OrderRequest, PairName, Price, Side, SizeFields,
    TraderId, Usd, UtcMs,
};

/// Monday 2025-11-03 14:00 UTC.
pub(crate) const T0: i64 = 1_762_178_400_000;

/// Small segments, so that workloads cross them, and no snapshots but those asked for.
pub(crate) fn config() -> WriterConfig {
    WriterConfig {
        log: LogConfig { segment_bytes: 24 * 512, preallocate_bytes: 4 * 512 },
        snapshot_every: 0,
        snapshots_kept: 2,
        snapshots_beside: false,
        shelf: None,
        keeps_oldest: false,
    }
}

pub(crate) fn open(storage: &Arc<dyn Storage>, config: &WriterConfig) -> Writer {
    Writer::open(Arc::clone(storage), config.clone()).expect("opens").writer
}

pub(crate) fn trader() -> TraderId {
    TraderId::new("alice").expect("valid")
}

/// Batch `number` of a history: every one changes the state, and no two are alike.
pub(crate) fn batch(number: u32) -> Batch {
    let at = UtcMs(T0 + i64::from(number) * 3_600_000);
    let inputs = match number {
        0 => vec![
            Input::Rulebook(VANTA.into()),
            Input::Roster(Roster::new(1, vec![trader()])),
            Input::AssetClass(trader(), AssetClass::Crypto),
        ],
        _ if number % 3 == 1 => vec![order(number), Input::Tick],
        _ => vec![size(f64::from(number))],
    };
    Batch { at, inputs }
}

/// An account size, which is accepted when it is above 0.
pub(crate) fn size(usd: f64) -> Input {
    Input::AccountSize(trader(), Usd::new(usd).expect("finite"))
}

fn order(number: u32) -> Input {
    let request = OrderRequest::market(
        trader(),
        OrderId::new(&format!("o{number}")).expect("valid"),
        PairName::new("BTCUSD").expect("valid"),
        if number.is_multiple_of(2) { Side::Flat } else { Side::Long },
        SizeFields { leverage: Leverage::new(0.02).ok(), ..SizeFields::default() },
    );
    let price = Price::new(100_000.0 + f64::from(number)).expect("finite");
    Input::RecordedOrder(request, RecordedFill { price, bid: None, ask: None, slippage: None })
}

/// Folds the log in `storage` from the first commit; returns every commit with the digest after it.
pub(crate) fn fold(storage: &Arc<dyn Storage>) -> Result<Vec<(Commit, Digest)>, ReplayError> {
    let mut replay = Replay::from_the_first(Reader::open(Arc::clone(storage))?);
    let mut commits = Vec::new();
    while let Some((commit, outcome)) = replay.step()? {
        commits.push((commit, outcome.digest));
    }
    Ok(commits)
}

pub(crate) fn accepted(answers: Vec<Result<Receipt, CommitError>>) -> Vec<Receipt> {
    answers.into_iter().map(|answer| answer.expect("committed")).collect()
}

/// A clock that always says the same.
pub(crate) struct Fixed(pub(crate) i64);

impl Clock for Fixed {
    fn now(&self) -> UtcMs {
        UtcMs(self.0)
    }
}

/// A point that a thread reaches and where it waits until it is let go.
pub(crate) struct Gate {
    reached: Sender<()>,
    go_on: Mutex<Receiver<()>>,
}

/// The other side of a [`Gate`].
pub(crate) struct Keeper {
    reached: Receiver<()>,
    go_on: Sender<()>,
}

pub(crate) fn gate() -> (Gate, Keeper) {
    let ((reached, was_reached), (let_go, go_on)) = (channel(), channel());
    (Gate { reached, go_on: Mutex::new(go_on) }, Keeper { reached: was_reached, go_on: let_go })
}

impl Gate {
    /// Waits here until the keeper lets go; a keeper that is gone stops nobody.
    pub(crate) fn pass(&self) {
        if self.reached.send(()).is_err() {
            return;
        }
        // Let go, or abandoned by the keeper: both are reasons to go on.
        let (Ok(()) | Err(_)) = self.go_on.lock().expect("no holder panics").recv();
    }
}

impl Keeper {
    /// Returns when a thread waits at the gate.
    pub(crate) fn wait(&self) {
        self.reached.recv().expect("the gate is there");
    }

    pub(crate) fn let_go(&self) {
        self.go_on.send(()).expect("somebody waits");
    }
}

/// A clock whose reader waits at a gate: the writer's thread stands still before it commits.
pub(crate) struct GatedClock(pub(crate) Gate, pub(crate) i64);

impl Clock for GatedClock {
    fn now(&self) -> UtcMs {
        self.0.pass();
        UtcMs(self.1)
    }
}
