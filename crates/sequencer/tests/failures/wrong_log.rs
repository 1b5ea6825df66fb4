//! Logs that are whole, but do not say what this build would say.

use std::sync::Arc;

use proctor_commit_log::storage::Storage;
use proctor_commit_log::storage::memory::MemoryStorage;
use proctor_commit_log::{Log, LogConfig};
use proctor_engine::{Engine, OutOfOrder};
use proctor_sequencer::{OpenError, ReplayError, Writer};
use proctor_types::{Digest, UtcMs};
use proctor_wire::log_entry::LogEntry;

use crate::common::{accepted, batch, config, fold, open};

/// Writes the first five commits by hand, entry 3 changed by `change`, and opens the log.
fn opened_with(change: impl FnOnce(&mut Vec<u8>)) -> OpenError {
    let good: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    accepted(open(&good, &config()).commit((0..5).map(batch).collect()));
    let commits = fold(&good).expect("a good log");
    let bad: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let (mut log, _) = Log::open(Arc::clone(&bad), LogConfig::default()).expect("empty");
    let mut folded = Engine::new();
    let mut change = Some(change);
    for (commit, digest) in commits {
        let (digest_before, effects_before) = (folded.digest(), folded.effects().clone());
        folded.apply(&commit).expect("in order");
        assert_eq!(folded.digest(), digest);
        let entry =
            LogEntry { at: commit.at, digest_before, effects_before, inputs: commit.inputs };
        let mut bytes = entry.encode();
        if commit.index == 3 {
            change.take().expect("there is one commit 3")(&mut bytes);
        }
        log.append(&bytes).expect("appended");
    }
    log.sync().expect("synced");
    drop(log);
    let refused = Writer::open(Arc::clone(&bad), config()).map(drop).expect_err("refused");
    fold(&bad).expect_err("verification refuses it too");
    refused
}

fn changed(change: impl FnOnce(&mut LogEntry)) -> OpenError {
    opened_with(|bytes| {
        let mut entry = LogEntry::decode(bytes).expect("it was just encoded");
        change(&mut entry);
        *bytes = entry.encode();
    })
}

#[test]
fn a_wrong_digest_is_a_divergence_at_the_commit_that_it_is_of() {
    let refused = changed(|entry| entry.digest_before = Digest::of(b"something else"));
    let OpenError::Replay(ReplayError::Diverged { commit: 2, stated, computed }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(stated, Digest::of(b"something else"));
    assert_ne!(stated, computed);
}

#[test]
fn wrong_effects_are_refused_at_the_commit_that_they_are_of() {
    let refused = changed(|entry| entry.effects_before.verdicts.push(Digest::of(b"a verdict")));
    assert!(matches!(refused, OpenError::Replay(ReplayError::Effects(2))), "{refused:?}");
}

#[test]
fn a_changed_input_is_a_divergence_at_its_commit() {
    let refused = changed(|entry| entry.inputs.clear());
    assert!(
        matches!(refused, OpenError::Replay(ReplayError::Diverged { commit: 3, .. })),
        "{refused:?}"
    );
}

#[test]
fn a_commit_that_cannot_be_decoded_is_named() {
    for change in [
        (|bytes| bytes.clear()) as fn(&mut Vec<u8>),
        |bytes| bytes[0] = 2,
        |bytes| bytes.push(0),
        |bytes| bytes.truncate(50),
    ] {
        let refused = opened_with(change);
        assert!(
            matches!(refused, OpenError::Replay(ReplayError::Decode { commit: 3, .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn a_commit_dated_before_the_one_before_it_or_outside_the_calendar_is_named() {
    let back = changed(|entry| entry.at = UtcMs(0));
    assert!(
        matches!(
            back,
            OpenError::Replay(ReplayError::OutOfOrder(OutOfOrder::Time { commit: 3, .. }))
        ),
        "{back:?}"
    );
    let end = changed(|entry| entry.at = UtcMs(i64::MAX));
    assert!(
        matches!(
            end,
            OpenError::Replay(ReplayError::OutOfOrder(OutOfOrder::Calendar { commit: 3, .. }))
        ),
        "{end:?}"
    );
}
