//! The log that survived, beside what was told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proctor_client::v1;
use proctor_commit_log::Reader;
use proctor_engine::{Commit, Engine, Input, Outcome};
use proctor_node::data_dir::log_of;
use proctor_sequencer::Replay;

use crate::load::{Key, Said, Told};

/// What the log has.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) commits: u64,
    pub(crate) inputs: usize,
    pub(crate) orders: usize,
    /// Orders that are there more than once, because they were sent again.
    pub(crate) repeated: usize,
    pub(crate) digest: String,
}

/// What became of each order that is in the log: the commits that judged it and their codes.
#[derive(Default)]
struct Judged {
    orders: BTreeMap<Key, Vec<(u64, String)>>,
    /// Commit and time of prices.
    prices: BTreeSet<(u64, i64)>,
    /// Commits in which an operator wrote records that were taken.
    records: BTreeSet<u64>,
}

impl Judged {
    fn take(&mut self, commit: &Commit, outcome: &Outcome) {
        for (input, reply) in commit.inputs.iter().zip(&outcome.replies) {
            let code = reply.as_ref().err().map(|rejection| rejection.code()).unwrap_or_default();
            if let Some(order) = input.order() {
                let key = (order.trader.to_string(), order.id.to_string());
                self.orders.entry(key).or_default().push((commit.index, code.into()));
            } else if let Input::Prices(quotes) = input {
                self.prices.extend(quotes.iter().map(|quote| (commit.index, quote.end().0)));
            } else if let (Input::Eliminations(_), Ok(())) = (input, reply) {
                self.records.insert(commit.index);
            }
        }
    }
}

/// Asserts that everything `told` is in the log below `data` as it was told, and that a fold of it
/// from nothing gives the `digest` that the node told as of `commit`.
pub(crate) fn check(
    data: &Path,
    told: &Told,
    verdicts: &[v1::Elimination],
    commit: u64,
    digest: &str,
) -> Found {
    let storage = log_of(data).expect("a log");
    let mut fold = Replay::from_the_first(Reader::open(storage).expect("it can be read"));
    // Twice: once held to the digests that the log states, once by its inputs alone.
    let mut undisturbed = Engine::new();
    let (mut judged, mut found) = (Judged::default(), Found::default());
    while let Some((commit_made, outcome)) = fold.step().expect("the log is whole") {
        let again = undisturbed.apply(&commit_made).expect("commits follow each other");
        assert_eq!(again, outcome, "commit {}", commit_made.index);
        if commit_made.index == commit {
            found.digest = outcome.digest.to_string();
        }
        found.commits = commit_made.index;
        found.inputs += commit_made.inputs.len();
        judged.take(&commit_made, &outcome);
    }
    assert_eq!(found.digest, digest, "an undisturbed run ends in the same state");
    found.orders = judged.orders.len();
    found.repeated = judged.orders.values().filter(|times| times.len() > 1).count();
    orders(&judged, told);
    for told in told.prices() {
        assert!(judged.prices.contains(&told), "the prices {told:?} were taken, and are lost");
    }
    let told = told.verdicts();
    assert_eq!(told.len(), verdicts.len(), "as many verdicts as were told");
    for verdict in verdicts {
        assert_eq!(Some(verdict), told.get(&verdict.trader), "a verdict is another one now");
        let decided = verdict.decided.expect("a verdict has its commit").commit;
        assert!(judged.records.contains(&decided), "no record was taken by commit {decided}");
    }
    found
}

fn orders(judged: &Judged, told: &Told) {
    let none = Vec::new();
    for (key, said) in told.orders() {
        let times = judged.orders.get(&key).unwrap_or(&none);
        let accepted = times.iter().filter(|(_, code)| code.is_empty()).count();
        match &said {
            Said::Judged { commit, code } => {
                let told = (*commit, code.clone());
                assert!(times.contains(&told), "{key:?} was told {told:?}, the log has {times:?}");
                // A copy whose answer was lost was accepted, if this one came second.
                let taken = usize::from(code.is_empty() || code == "duplicate_id");
                assert!(accepted >= taken, "{key:?} was told {told:?}, the log has {times:?}");
            }
            Said::Taken => assert_eq!(accepted, 1, "{key:?}: {times:?}"),
            Said::Nothing => assert_eq!(times.len(), 0, "{key:?} was not taken: {times:?}"),
        }
    }
    for (key, times) in &judged.orders {
        let accepted = times.iter().filter(|(_, code)| code.is_empty()).count();
        assert!(accepted <= 1, "{key:?} was accepted more than once: {times:?}");
    }
}
