//! Snapshots of a chain: served, compared, joined by, tampered with; a log that is cut at its beginning.

use std::path::Path;
use std::sync::Arc;

use crate::common::{Node, bodies, key, memory, range, sequencer, sync};
use proctor_chain::{InstallFailed, Retain, Role, SnapshotFailed};
use proctor_commit_log::SnapshotStore;
use proctor_commit_log::storage::{Access, Storage};
use proctor_p2p::server::{Loaded, Read};
use proctor_p2p::{Manifest, Signature, Tip};
use proctor_sequencer::WriterConfig;
use proctor_types::{Digest, UtcMs};

/// Commits between two snapshots.
const EVERY: u64 = 16;

fn open(storage: Arc<dyn Storage>, directory: &Path, role: Role) -> Node {
    let config =
        WriterConfig { snapshot_every: EVERY, snapshots_beside: false, ..WriterConfig::default() };
    Node::open_with(storage, directory, role, config)
}

/// Returns the newest manifest that `node` shows, proven.
fn manifest(node: &Node) -> Option<Manifest> {
    node.chain.available().unwrap();
    let Loaded::Manifest(manifest) = node.chain.read(Read::Manifest(u64::MAX)).unwrap() else {
        return None;
    };
    assert_eq!(manifest.check(&node.chain.stand().trust), Ok(()));
    Some(manifest)
}

fn chunk(node: &Node, height: u64, index: u32) -> Option<Vec<u8>> {
    let loaded = node.chain.read(Read::Chunk { height, index }).unwrap();
    if let Loaded::Chunk(bytes) = loaded { Some(bytes) } else { None }
}

/// Stages all chunks of `manifest` from `source`.
fn stage(node: &Node, source: &Node, manifest: &Manifest) {
    assert_eq!(node.chain.begin(manifest).unwrap(), []);
    for (digest, index) in manifest.contents.chunks.iter().zip(0_u32..) {
        let bytes = chunk(source, manifest.height, index).expect("it is served");
        assert_eq!(Digest::of(&bytes), *digest);
        node.chain.stage(index, &bytes).unwrap();
    }
    let all: Vec<u32> =
        (0..manifest.contents.chunks.len()).map(|i| i.try_into().unwrap()).collect();
    assert_eq!(node.chain.begin(manifest).unwrap(), all, "what is staged need not come again");
}

fn attest_again(manifest: &Manifest, node: &Node) -> Manifest {
    let chain = node.chain.stand().trust.chain;
    let sign = |bytes: &[u8]| Signature(key().sign(bytes).into());
    Manifest::solo(&chain, manifest.contents.clone(), manifest.next.clone(), sign)
}

#[test]
fn f13_a_node_joins_by_a_snapshot_goes_on_and_shows_it_to_others() {
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let source = open(memory(), dirs[0].path(), sequencer());
    source.order(0, 50);
    let shown = manifest(&source).expect("a sequencer shows its newest");
    assert_eq!(shown.height, 48);
    assert!(
        matches!(source.chain.read(Read::Manifest(40)).unwrap(), Loaded::Manifest(m) if m.height == 32)
    );
    assert_eq!(chunk(&source, 16, 0), None, "two are kept");

    // One that has a beginning of the log drops it.
    let storage = memory();
    let late = open(Arc::clone(&storage), dirs[1].path(), Role::Follower);
    let (headers, certificate) = range(&source, &Tip::GENESIS, 10);
    let commits = headers.iter().cloned().zip(bodies(&source, &headers)).collect();
    late.chain.take_over(commits, &[certificate]).unwrap();
    stage(&late, &source, &shown);
    let stamp = late.chain.install(shown.clone()).unwrap();
    assert_eq!(stamp.commit, 48);
    assert_eq!(late.sequencer.handle().view().digest, shown.state());
    sync(&late, &source);
    let digest = source.sequencer.handle().view().digest;
    assert_eq!(late.sequencer.handle().view().digest, digest);
    let available = late.chain.available().unwrap();
    let floors = (available.lowest_body, available.lowest_header, available.latest_snapshot);
    assert_eq!((available.tip, floors), (50, (49, 49, 48)));
    assert!(matches!(
        late.chain.read(Read::Headers { from: 40, to: 50 }).unwrap(),
        Loaded::Missing
    ));

    // After a restart too, and without the files beside the log.
    late.close();
    for damage in [false, true] {
        if damage {
            std::fs::remove_dir_all(dirs[1].path()).unwrap();
        }
        let again = open(Arc::clone(&storage), dirs[1].path(), Role::Follower);
        assert_eq!(again.chain.stand().tip, source.chain.stand().tip);
        assert_eq!(again.chain.available().unwrap().lowest_header, 49);
        assert_eq!(manifest(&again), Some(shown.clone()));
        let third = open(memory(), dirs[2].path(), Role::Follower);
        stage(&third, &again, &shown);
        third.chain.install(shown.clone()).unwrap();
        let tip = third.chain.stand().tip;
        assert_eq!(tip, shown.base());
        again.close();
    }
}

#[test]
fn f13_what_is_not_as_attested_is_not_installed_and_the_log_is_as_before() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let source = open(memory(), dirs[0].path(), sequencer());
    source.order(0, 40);
    let shown = manifest(&source).unwrap();
    let storage = memory();
    let node = open(Arc::clone(&storage), dirs[1].path(), Role::Follower);
    let untouched = |what: &str| {
        let names: Vec<String> =
            storage.list().unwrap().into_iter().filter(|name| name.ends_with(".join")).collect();
        assert_eq!(names, Vec::<String>::new(), "{what}");
        assert_eq!(node.chain.stand().tip, Tip::GENESIS, "{what}");
        assert!(storage.open("BASE", Access::Read).is_err(), "{what}");
    };
    // A chunk is missing, or has another byte than the one that was checked on arrival.
    let mut changed = chunk(&source, shown.height, 0).unwrap();
    // Within the digest that the state itself states.
    changed[20] ^= 1;
    for staged in [None, Some(&changed)] {
        node.chain.begin(&shown).unwrap();
        if let Some(staged) = staged {
            node.chain.stage(0, staged).unwrap();
        }
        let error = node.chain.install(shown.clone()).unwrap_err();
        let is_wrong =
            matches!(error, InstallFailed::Snapshot(SnapshotFailed::WrongState { height: 32, .. }));
        assert!(is_wrong, "{error}");
        untouched("a wrong chunk");
    }
    // The sequencer itself vouches for bytes that are no state, or another one.
    let mut other = shown.clone();
    other.contents.chunks[0] = Digest::of(&changed);
    let other = attest_again(&other, &source);
    assert_eq!(other.check(&node.chain.stand().trust), Ok(()));
    node.chain.begin(&other).unwrap();
    node.chain.stage(0, &changed).unwrap();
    assert!(node.chain.install(other).is_err());
    untouched("a false attestation");
    // Another encoding of the state.
    let mut later = shown.clone();
    later.contents.format += 1;
    let refused = node.chain.begin(&attest_again(&later, &source)).unwrap_err();
    assert!(matches!(refused, SnapshotFailed::OtherFormat { found: 4, ours: 3 }), "{refused}");
    untouched("another format");
    // And the true one is taken after all that.
    stage(&node, &source, &shown);
    node.chain.install(shown).unwrap();
}

#[test]
fn v5_a_follower_shows_its_snapshot_once_it_is_the_sequencers_and_never_another() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let source = open(memory(), dirs[0].path(), sequencer());
    source.order(0, 40);
    let shown = manifest(&source).unwrap();
    let storage = memory();
    let follower = open(Arc::clone(&storage), dirs[1].path(), Role::Follower);
    sync(&follower, &source);
    assert_eq!(manifest(&follower), None, "nobody has vouched for it");
    assert_eq!(follower.chain.unattested(EVERY).unwrap(), Some(32));
    follower.chain.attest(&shown).unwrap();
    assert_eq!(follower.chain.unattested(EVERY).unwrap(), None);
    assert_eq!(manifest(&follower), Some(shown));
    assert_eq!(chunk(&follower, 32, 0), chunk(&source, 32, 0));
    // What was compared is remembered.
    follower.close();
    let follower = open(Arc::clone(&storage), dirs[1].path(), Role::Follower);
    assert_eq!(manifest(&follower).map(|own| own.height), Some(32));

    // A byte changes on the disk: the chunk is not given away any more.
    let name = format!("{:020}.snap", 32);
    let file = storage.open(&name, Access::Write).unwrap();
    file.write_at(300, &[0xAA; 9]).unwrap();
    assert_eq!(chunk(&follower, 32, 0), None);
    assert_eq!(follower.chain.differing(), [32]);
    assert_eq!(manifest(&follower).map(|own| own.height), None);

    // A snapshot whose bytes differ is refused, and said to.
    source.order(40, 60);
    sync(&follower, &source);
    let mut other = manifest(&source).unwrap();
    assert_eq!(other.height, 48);
    other.contents.chunks[0] = Digest::of(b"other bytes");
    let error = follower.chain.attest(&attest_again(&other, &source)).unwrap_err();
    assert!(matches!(error, SnapshotFailed::Differs { height: 48 }), "{error}");
    assert_eq!((follower.chain.differing(), manifest(&follower)), (vec![32, 48], None));
    assert_eq!(follower.chain.unattested(EVERY).unwrap(), None, "it is not asked for again");
}

#[test]
fn f12_a_log_is_cut_at_its_beginning_by_policy_and_serves_from_there() {
    let dir = tempfile::tempdir().unwrap();
    let storage = memory();
    let open = || {
        let config = WriterConfig {
            snapshot_every: EVERY,
            snapshots_beside: false,
            ..WriterConfig::default()
        };
        let config = WriterConfig { keeps_oldest: true, ..config };
        Node::open_with(Arc::clone(&storage), dir.path(), sequencer(), config)
    };
    let source = open();
    let now = UtcMs(crate::common::T0 + 1_000_000);
    let retain = |commits, days| Retain { commits, days };
    source.order(0, 60);
    source.chain.available().unwrap();
    // 16, 32 and 48 are there. Too young by commits, by days; and then not.
    for (retain, begins) in [
        (retain(45, 0), 1),
        (retain(28, 1), 1),
        (retain(29, 0), 17),
        (retain(29, 0), 17),
        (retain(28, 0), 33),
    ] {
        assert_eq!(source.chain.prune(&retain, now).unwrap(), begins, "{retain:?}");
    }
    let available = source.chain.available().unwrap();
    assert_eq!((available.lowest_body, available.lowest_header), (33, 1));
    let (headers, _) = range(&source, &Tip::GENESIS, 40);
    let Loaded::Bodies(found) = source.chain.read(crate::common::wanted(&headers)).unwrap() else {
        panic!("bodies")
    };
    let here: Vec<bool> = found.iter().map(Option::is_some).collect();
    assert_eq!(here, (1..=40).map(|height| height > 32).collect::<Vec<_>>());
    // Nothing is cut that two snapshots need, and more follows as more is made.
    assert_eq!(source.chain.prune(&retain(1, 0), now).unwrap(), 33);
    source.order(60, 100);
    source.chain.available().unwrap();
    for begins in [49, 81, 81] {
        assert_eq!(source.chain.prune(&retain(1, 0), now).unwrap(), begins);
    }
    let tip = source.chain.stand().tip;
    source.close();
    let again = open();
    assert_eq!(again.chain.stand().tip, tip);
    again.order(100, 103);
    let kept = SnapshotStore::new(storage).list().unwrap();
    assert!(kept.contains(&80), "the log begins with it: {kept:?}");
}
