//! What a path through a log proves: that what it shows stands there, and that nothing is missing.
//!
//! A path holds the links of **all** commits from the first to its last. Where nothing in a commit
//! concerns the trader, that is all; where something does, its tree is there with the trader's leaves
//! shown. So whoever recomputes the chain knows two things: what is shown stands in the log, and
//! nothing that concerns the trader was left out.

use std::collections::BTreeSet;

use proctor_engine::Input;
use proctor_engine::input::Extract;
use proctor_engine::input_chain::{BadTree, Link, Pruned, Subject, mark};
use proctor_engine::prices::conversion;
use proctor_types::{Digest, Stamp, TradePair, TraderId};
use proctor_wire::log_path::{LogPath, PathCommit, PathInputs};

/// Where a path begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchors {
    /// The input chain's hash after commit 1: names the log.
    pub chain: Digest,
    /// The last commit and its time.
    pub head: Stamp,
    /// The input chain's hash after it.
    pub input_chain: Digest,
    /// The state digest after it, when the log states what it is made of.
    pub digest: Option<Digest>,
}

/// Why a proof proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// There is no commit.
    #[error("the proof shows no commit")]
    Empty,
    /// A commit that may concern the trader is not shown.
    #[error("commit {commit} is left out, although it may hold {what}")]
    LeftOut {
        /// Which commit.
        commit: u64,
        /// What might be in it.
        what: String,
    },
    /// A commit is shown in part, and the rest may concern the trader.
    #[error("commit {commit} hides {what}")]
    Hides {
        /// Which commit.
        commit: u64,
        /// What may be hidden.
        what: String,
    },
    /// A commit's inputs contradict themselves.
    #[error("commit {commit}: {error}")]
    Tree {
        /// Which commit.
        commit: u64,
        /// How.
        error: BadTree,
    },
}

/// What concerns a trader: subjects and their keys, sorted by key.
pub(super) struct Wanted {
    names: Vec<(u64, String)>,
    keys: Vec<u64>,
    marks: u64,
}

impl Wanted {
    /// Returns what concerns `trader`, who has sent orders that name `pairs`.
    pub(super) fn of(trader: &TraderId, pairs: &BTreeSet<TradePair>) -> Self {
        let mut names = vec![
            (Subject::Everyone.key(), "inputs for everybody".to_owned()),
            (Subject::Trader(trader).key(), format!("inputs of {trader}")),
        ];
        let legs = pairs.iter().flat_map(|pair| conversion::legs(*pair));
        let all: BTreeSet<TradePair> = pairs.iter().copied().chain(legs).collect();
        names.extend(
            all.into_iter().map(|pair| (Subject::Pair(pair).key(), format!("prices of {pair}"))),
        );
        names.sort_unstable();
        let keys: Vec<u64> = names.iter().map(|(key, _)| *key).collect();
        let marks = keys.iter().fold(0, |all, key| all | mark(*key));
        Self { names, keys, marks }
    }

    pub(super) fn keys(&self) -> &[u64] {
        &self.keys
    }

    /// Tells whether a commit with these marks may hold something of it.
    pub(super) fn may_be_in(&self, touches: u64) -> bool {
        self.marks & touches != 0
    }

    fn first_in(&self, touches: u64) -> Option<&str> {
        self.names.iter().find(|(key, _)| mark(*key) & touches != 0).map(|(_, name)| name.as_str())
    }

    fn first_hidden(&self, tree: &Pruned) -> Option<&str> {
        self.names.iter().find(|(key, _)| !tree.shows(*key)).map(|(_, name)| name.as_str())
    }
}

/// Returns the pair that `input` names, if it is an order of `trader`.
pub(super) fn pair_of_order(trader: &TraderId, input: &Input) -> Option<TradePair> {
    let request = input.order().filter(|request| request.trader == *trader)?;
    TradePair::from_id(request.pair.as_str())
}

/// Checks that `path` leaves out nothing that concerns its trader; returns the extract that it shows,
/// one for each commit, and where it begins and ends.
///
/// # Errors
/// [`ProofError`] names the first commit with something wrong.
pub(super) fn check(path: &LogPath) -> Result<(Vec<Extract>, Anchors), ProofError> {
    let mut extracts = Vec::with_capacity(path.commits.len());
    let mut pairs = BTreeSet::new();
    for (index, commit) in (1..).zip(&path.commits) {
        let inputs = match &commit.inputs {
            PathInputs::Hidden(_) => Vec::new(),
            PathInputs::Shown { tree, .. } => {
                tree.inputs().map_err(|error| ProofError::Tree { commit: index, error })?
            }
        };
        pairs.extend(inputs.iter().filter_map(|p| pair_of_order(&path.trader, &p.input)));
        extracts.push(Extract { index, at: commit.at, inputs });
    }
    // Which prices matter follows from the trader's orders; if one is missing, its leaf is missed.
    let wanted = Wanted::of(&path.trader, &pairs);
    let (mut chain, mut first, mut head) = (Digest::default(), None, None);
    for (index, commit) in (1..).zip(&path.commits) {
        let stamp = Stamp { commit: index, at: commit.at };
        chain = link(index, commit, &wanted)?.after(chain, stamp);
        first.get_or_insert(chain);
        head = Some(stamp);
    }
    let (Some(first), Some(head)) = (first, head) else { return Err(ProofError::Empty) };
    let stated = path.stated.as_ref();
    let digest = stated.map(|stated| stated.effects.digest(stated.digest_before, chain));
    Ok((extracts, Anchors { chain: first, head, input_chain: chain, digest }))
}

/// Returns the commit's link, if all of `wanted` is shown.
fn link(index: u64, commit: &PathCommit, wanted: &Wanted) -> Result<Link, ProofError> {
    match &commit.inputs {
        PathInputs::Hidden(link) => match wanted.first_in(link.touches) {
            Some(what) => Err(ProofError::LeftOut { commit: index, what: what.into() }),
            None => Ok(*link),
        },
        PathInputs::Shown { touches, tree } => {
            if let Some(what) = wanted.first_hidden(tree) {
                return Err(ProofError::Hides { commit: index, what: what.into() });
            }
            let root = tree.root().map_err(|error| ProofError::Tree { commit: index, error })?;
            Ok(Link { touches: *touches, root })
        }
    }
}
