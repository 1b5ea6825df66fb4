//! The states of two nodes: their snapshots, held against each other and against the fold.
//!
//! A log holds inputs, and of results only digests. So where two logs state other results for the
//! same inputs, the field can be named from a snapshot that one of them has written since, as long
//! as the inputs of both still agree there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proctor_commit_log::{Reader, Record, SnapshotStore, Storage, base};
use proctor_engine::difference::{Difference, Owner};
use proctor_engine::state_digest::{Effects, verdict_hash};
use proctor_engine::{Engine, Event};
use proctor_types::Digest;
use proctor_wire::checkpoint;
use proctor_wire::log_entry::LogEntry;

use super::{Comparison, DiffError, Field, decode};
use crate::data_dir;

/// What the states show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct States {
    /// The commits whose states were compared and found equal.
    pub equal: Vec<u64>,
    /// The first difference.
    pub finding: Option<Finding>,
    /// What the commit that was judged differently did, according to whom; one line each.
    pub judged: Vec<String>,
    /// What could not be compared, and why; one line each.
    pub left_out: Vec<String>,
}

/// The first field in which two states differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The commit after which both states are.
    pub commit: u64,
    /// Where the first value stands and where the second.
    pub witnesses: (Witness, Witness),
    /// The part of the engine, the trader, the field, and both values.
    pub difference: Difference,
}

/// Where a state is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Witness {
    /// The snapshot in this data directory.
    Snapshot(PathBuf),
    /// The inputs that both logs have, folded by this build.
    Fold,
}

impl std::fmt::Display for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Snapshot(of) => write!(f, "the snapshot of {}", of.display()),
            Self::Fold => f.write_str("what the inputs give"),
        }
    }
}

/// One of the two nodes.
struct Side {
    path: PathBuf,
    storage: Arc<dyn Storage>,
    snapshots: SnapshotStore,
    /// The commit after which its log begins.
    begins: u64,
}

impl Side {
    fn open(path: &Path) -> Result<Self, DiffError> {
        let storage = data_dir::log_of(path)?;
        let begins = Reader::open(Arc::clone(&storage))?.first() - 1;
        let snapshots = SnapshotStore::new(Arc::clone(&storage));
        Ok(Self { path: path.to_owned(), storage, snapshots, begins })
    }

    fn witness(&self) -> Witness {
        Witness::Snapshot(self.path.clone())
    }

    /// Returns the commits of the snapshots up to `end` that are of this log.
    fn commits(&self, end: u64) -> Result<Vec<u64>, DiffError> {
        let all = self.snapshots.list().map_err(proctor_commit_log::LogError::Io)?;
        // Older ones are not of this log any more.
        Ok(all.into_iter().filter(|commit| (self.begins..=end).contains(commit)).collect())
    }

    fn records(&self, from: u64) -> Result<Reader, DiffError> {
        Ok(Reader::open_at(Arc::clone(&self.storage), from.max(self.begins + 1))?)
    }
}

/// Compares the states of the nodes in `paths`, whose logs compare as `logs`.
pub(super) fn compare(paths: [&Path; 2], logs: &Comparison) -> Result<States, DiffError> {
    let sides = [Side::open(paths[0])?, Side::open(paths[1])?];
    let (common, judged_differently) = match logs {
        Comparison::Equal { commits, .. } => (*commits, false),
        Comparison::Prefix { common, .. } => (*common, false),
        Comparison::Parted { commit, field } => {
            (commit - 1, matches!(field, Field::StateBefore(..) | Field::EffectsBefore))
        }
    };
    let mut work = Work { sides, common, started: None, states: States::default() };
    let end = if judged_differently { work.end_of_equal_inputs()? } else { common };
    let mut suspects = work.suspects(end)?;
    let needs_fold = judged_differently || !suspects.is_empty();
    let fold = if needs_fold { work.fold_begin() } else { None };
    match fold {
        Some((engine, side)) => work.fold(engine, side, end, &mut suspects, judged_differently)?,
        None => work.without_fold(&suspects),
    }
    if judged_differently && work.states.finding.is_none() {
        work.states.left_out.push(format!(
            "the field: logs hold digests of results only, and neither node has a snapshot of a \
             commit from {common} to {end} that shows it"
        ));
    }
    work.states.equal.sort_unstable();
    Ok(work.states)
}

struct Work {
    sides: [Side; 2],
    /// The last commit up to which the records are the same.
    common: u64,
    /// After which commit the fold began, with whose snapshot.
    started: Option<(u64, usize)>,
    states: States,
}

/// Which of the two nodes have a snapshot of a commit.
type Suspects = BTreeMap<u64, [bool; 2]>;

impl Work {
    /// Returns the last commit up to which times and inputs are the same, though digests are not.
    fn end_of_equal_inputs(&self) -> Result<u64, DiffError> {
        let from = self.common + 1;
        let [a, b] = &self.sides;
        let mut end = self.common;
        for (left, right) in a.records(from)?.zip(b.records(from)?) {
            let (left, right) = (decode(&left?)?, decode(&right?)?);
            if left.at != right.at || left.inputs != right.inputs {
                break;
            }
            end += 1;
        }
        Ok(end)
    }

    /// Returns the snapshots that have to be held against the fold: all but those that both have, with
    /// the same bytes.
    fn suspects(&mut self, end: u64) -> Result<Suspects, DiffError> {
        let mut found = Suspects::new();
        for (place, side) in self.sides.iter().enumerate() {
            for commit in side.commits(end)? {
                if let Some(has) = found.entry(commit).or_default().get_mut(place) {
                    *has = true;
                }
            }
        }
        let [a, b] = &self.sides;
        found.retain(|commit, has| {
            let equal = *has == [true, true]
                && matches!((hash(a, *commit), hash(b, *commit)), (Some(a), Some(b)) if a == b);
            if equal {
                self.states.equal.push(*commit);
            }
            !equal
        });
        Ok(found)
    }

    /// Returns the state after which the longer of both logs begins, and whose that is.
    fn fold_begin(&mut self) -> Option<(Engine, usize)> {
        let order = if self.sides[0].begins <= self.sides[1].begins { [0, 1] } else { [1, 0] };
        for place in order {
            let Some(side) = self.sides.get(place) else { continue };
            if side.begins == 0 {
                return Some((Engine::new(), place));
            }
            match load(side, side.begins) {
                Ok(engine) => return Some((engine, place)),
                Err(why) => {
                    let why = format!("the fold of {}: {why}", side.path.display());
                    self.states.left_out.push(why);
                }
            }
        }
        None
    }

    /// Folds what both have, and compares each suspect with the state there.
    fn fold(
        &mut self,
        mut engine: Engine,
        place: usize,
        end: u64,
        suspects: &mut Suspects,
        judged_differently: bool,
    ) -> Result<(), DiffError> {
        // The fold begins with one of the snapshots there: the other one, if any, is held against it.
        let begins = engine.stamp().commit;
        if let Some(has) = suspects.get_mut(&begins) {
            has.iter_mut().enumerate().for_each(|(side, has)| *has &= side != place);
        }
        suspects.retain(|_, has| *has != [false, false]);
        self.started = Some((begins, place));
        self.against_fold(&engine, suspects);
        let records = self.sides.get(place).map(|side| side.records(begins + 1)).transpose()?;
        let mut events = Vec::new();
        let wanted = end + 1;
        for record in records.into_iter().flatten() {
            let record = record?;
            let entry = decode(&record)?;
            let before = engine.stamp().commit;
            if before == self.common && judged_differently {
                self.judge(&engine, &events)?;
            } else if before < self.common && entry.digest_before != engine.digest() {
                // From here on the fold is no witness: this build computes something else.
                self.states.left_out.push(format!(
                    "the fold beyond commit {before}: both logs state digest {} after it, and this \
                     build computes {}; the nodes were of another version",
                    entry.digest_before,
                    engine.digest()
                ));
                self.without_fold(suspects);
                return Ok(());
            }
            if record.index == wanted {
                break;
            }
            let Ok(outcome) = engine.apply(&entry.into_commit(record.index)) else { break };
            events = outcome.events;
            self.against_fold(&engine, suspects);
        }
        self.without_fold(suspects);
        Ok(())
    }

    /// Compares the snapshots of the commit at which the fold stands; takes them from `suspects`.
    fn against_fold(&mut self, fold: &Engine, suspects: &mut Suspects) {
        let commit = fold.stamp().commit;
        let Some(has) = suspects.remove(&commit) else { return };
        if self.states.finding.is_some() {
            return;
        }
        let mut equal = true;
        for (side, _) in self.sides.iter().zip(has).filter(|(_, has)| *has) {
            let engine = match load(side, commit) {
                Ok(engine) => engine,
                Err(why) => {
                    self.states.left_out.push(told(side, commit, &why));
                    equal = false;
                    continue;
                }
            };
            let found = fold.first_difference(&engine);
            // Where the logs have parted the digests have too; that is known already.
            let is_news =
                |found: &Difference| commit <= self.common || found.owner != Owner::Digests;
            if let Some(difference) = found.filter(is_news) {
                let started = self.started.filter(|(at, _)| *at == commit);
                let start = started.and_then(|(_, place)| self.sides.get(place));
                let witnesses = (start.map_or(Witness::Fold, Side::witness), side.witness());
                self.states.finding = Some(Finding { commit, witnesses, difference });
                return;
            }
        }
        if equal {
            self.states.equal.push(commit);
        }
    }

    /// Compares what both have snapshots of, and says what remains.
    fn without_fold(&mut self, suspects: &Suspects) {
        for (commit, has) in suspects {
            if self.states.finding.is_some() {
                return;
            }
            let [a, b] = &self.sides;
            if *has != [true, true] {
                let side = if has[0] { a } else { b };
                let why = "the other node has none, and the inputs before it are not here to fold";
                self.states.left_out.push(told(side, *commit, why));
                continue;
            }
            match (load(a, *commit), load(b, *commit)) {
                (Ok(left), Ok(right)) => {
                    if let Some(difference) = left.first_difference(&right) {
                        let witnesses = (a.witness(), b.witness());
                        let commit = *commit;
                        self.states.finding = Some(Finding { commit, witnesses, difference });
                    }
                }
                (Err(why), _) => self.states.left_out.push(told(a, *commit, &why)),
                (_, Err(why)) => self.states.left_out.push(told(b, *commit, &why)),
            }
        }
    }

    /// Says which of the two agrees with this build on the last commit that both have, and in what the
    /// other does not. `events` are those of that commit.
    fn judge(&mut self, fold: &Engine, events: &[Event]) -> Result<(), DiffError> {
        let mut lines = Vec::new();
        for side in &self.sides {
            let Some(next) = side.records(self.common + 1)?.next().transpose()? else { continue };
            let stated = decode(&next)?;
            lines.push(stand(&side.path, self.common, fold, &stated, events));
        }
        self.states.judged = lines;
        Ok(())
    }
}

/// Says how what `path` states of commit `commit` compares with the fold.
fn stand(path: &Path, commit: u64, fold: &Engine, stated: &LogEntry, events: &[Event]) -> String {
    let node = path.display();
    let computed = fold.effects();
    if stated.digest_before == fold.digest() && stated.effects_before == *computed {
        return format!("{node} states of commit {commit} what this build computes");
    }
    format!(
        "{node} states of commit {commit} another result than this build: {}",
        other_effects(computed, &stated.effects_before, events)
    )
}

/// Names what differs in the effects of a commit, as far as hashes tell.
fn other_effects(computed: &Effects, stated: &Effects, events: &[Event]) -> String {
    let verdicts = |index: usize| {
        let mut all = events.iter().filter(|event| verdict_hash(event).is_some());
        let event = all.nth(index);
        let trader = event.and_then(Event::trader);
        trader.map_or_else(|| "nobody".to_owned(), ToString::to_string)
    };
    let pairs = computed.verdicts.len().max(stated.verdicts.len());
    let other = |index: &usize| computed.verdicts.get(*index) != stated.verdicts.get(*index);
    if let Some(index) = (0..pairs).find(other) {
        let here = stated.verdicts.get(index).map_or("no verdict", |_| "another verdict");
        return format!(
            "eliminations, verdict {index}: {here} there, {} by this build",
            match computed.verdicts.get(index) {
                Some(_) => format!("that on {}", verdicts(index)),
                None => "none".to_owned(),
            }
        );
    }
    if computed.changes != stated.changes {
        return format!(
            "its events or valuations (hash {} there, {} by this build); the verdicts are the same",
            stated.changes, computed.changes
        );
    }
    "its effects are the same, and what came before is not".to_owned()
}

fn told(side: &Side, commit: u64, why: &str) -> String {
    format!("the snapshot of commit {commit} in {}: {why}", side.path.display())
}

/// Returns a hash of the state in a snapshot, unless that cannot be read.
fn hash(side: &Side, commit: u64) -> Option<Digest> {
    let file = side.snapshots.open(commit).ok()?;
    let mut hasher = blake3::Hasher::new();
    file.read_all(|piece| {
        hasher.update(piece);
    })
    .ok()?;
    Some(Digest(*hasher.finalize().as_bytes()))
}

/// Returns the state in a snapshot, or why there is none to compare. The digest that the file states is
/// not held against the state: what differs is what is looked for.
fn load(side: &Side, commit: u64) -> Result<Engine, String> {
    let found = side.snapshots.load(commit).map_err(|error| error.to_string())?;
    let base = base::base(&*side.storage).map_err(|error| error.to_string())?;
    let expected = match base.filter(|base| base.head.index == commit) {
        Some(base) => Some(base.head.hash),
        None => record_at(side, commit).map(|record| record.hash),
    };
    if expected.is_some_and(|hash| hash != found.head.hash) {
        return Err("it was made from another log".to_owned());
    }
    let engine = checkpoint::decode(&found.state).map_err(|error| error.to_string())?;
    if engine.stamp().commit != commit {
        return Err(format!("its state is that after commit {}", engine.stamp().commit));
    }
    Ok(engine)
}

fn record_at(side: &Side, commit: u64) -> Option<Record> {
    if commit <= side.begins {
        return None;
    }
    side.records(commit).ok()?.next()?.ok()
}
