//! A sequencer's chain and a follower's: what is served, taken over, found damaged and made again.

use std::fs;
use std::sync::Arc;

use proctor_chain::{ChainError, Role};
use proctor_p2p::message::BodyId;
use proctor_p2p::server::{Loaded, Read};
use proctor_p2p::{Header, Tip};
use proctor_types::UtcMs;

use crate::common::{Node, T0, bodies, memory, range, sequencer, sync};

#[test]
fn a_follower_takes_over_ranges_and_serves_them_with_the_certificates_that_it_was_shown() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let source = Node::open(memory(), dirs[0].path(), sequencer());
    source.order(0, 600);
    let follower = Node::open(memory(), dirs[1].path(), Role::Follower);
    assert!(matches!(follower.chain.read(Read::Commit(1)).unwrap(), Loaded::Missing));
    sync(&follower, &source);
    let ours = follower.sequencer.handle().view();
    assert_eq!(ours.digest, source.sequencer.handle().view().digest);
    // It serves a third what it has: up to a certificate, which is not every height.
    let (headers, certificate) = range(&follower, &Tip::GENESIS, 400);
    assert_eq!((headers.len(), certificate.height), (256, 256));
    assert_eq!(follower.chain.available().unwrap().tip, 600);
    assert!(matches!(follower.chain.read(Read::Commit(599)).unwrap(), Loaded::Missing));
    let third = Node::open(memory(), &dirs[1].path().join("third"), Role::Follower);
    sync(&third, &follower);
    assert_eq!(third.sequencer.handle().view().digest, ours.digest);
}

#[test]
fn a_restart_goes_on_where_the_log_ends_and_makes_what_is_missing_or_damaged_again() {
    let dir = tempfile::tempdir().unwrap();
    let source = Node::open(memory(), dir.path(), sequencer());
    source.order(0, 300);
    let stand = source.chain.stand().tip;
    let storage = source.close();
    let file = dir.path().join("headers");
    let whole = fs::read(&file).unwrap();
    let torn = whole[..whole.len() - 100].to_vec();
    let mut flipped = whole.clone();
    flipped[whole.len() - 1_000] ^= 1;
    let mut other_chain = whole.clone();
    other_chain[20] ^= 1;
    for damage in [torn, flipped, other_chain, Vec::new(), whole.repeat(2)] {
        fs::write(&file, damage).unwrap();
        let again = Node::open(Arc::clone(&storage), dir.path(), sequencer());
        assert_eq!(again.chain.stand().tip, stand);
        assert_eq!(fs::read(&file).unwrap(), whole);
        again.close();
    }
    let again = Node::open(storage, dir.path(), sequencer());
    again.order(300, 310);
    let (headers, _) = range(&again, &Tip::GENESIS, 256);
    range(&again, &headers[255].tip(&again.chain.stand().trust.chain), 310);
}

#[test]
fn headers_that_were_left_by_a_longer_log_are_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let source = Node::open(memory(), dir.path(), sequencer());
    source.order(0, 50);
    source.close();
    // A copy of the log that ends earlier, and one that is another history.
    let shorter = Node::open(memory(), &dir.path().join("other"), sequencer());
    shorter.order(0, 20);
    let expected = shorter.chain.stand().tip;
    let storage = shorter.close();
    let again = Node::open(storage, dir.path(), sequencer());
    assert_eq!(again.chain.stand().tip, expected);
}

#[test]
fn certificates_survive_a_restart_and_a_damaged_end() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let source = Node::open(memory(), dirs[0].path(), sequencer());
    source.order(0, 520);
    let follower = Node::open(memory(), dirs[1].path(), Role::Follower);
    sync(&follower, &source);
    let storage = follower.close();
    let file = dirs[1].path().join("certificates");
    let mut bytes = fs::read(&file).unwrap();
    bytes.pop();
    fs::write(&file, bytes).unwrap();
    // The last certificate is gone, so the tip that can be shown is the end of the second range.
    let again = Node::open(storage, dirs[1].path(), Role::Follower);
    assert_eq!(again.chain.available().unwrap().tip, 512);
    assert_eq!(again.chain.stand().tip.height, 520);
}

#[test]
fn what_is_not_as_certified_is_refused_before_anything_is_written() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let source = Node::open(memory(), dirs[0].path(), sequencer());
    source.order(0, 10);
    let follower = Node::open(memory(), dirs[1].path(), Role::Follower);
    let (headers, certificate) = range(&source, &Tip::GENESIS, 10);
    let bodies = bodies(&source, &headers);
    type Wrong = fn(&mut Vec<(Header, Vec<u8>)>);
    let wrong: [Wrong; 5] = [
        |commits| commits[3].1 = vec![1; 80],
        |commits| commits[3].0.facts.time = UtcMs(T0),
        |commits| commits[3].0.facts.state_before.0[0] ^= 1,
        |commits| commits.swap(4, 5),
        |commits| drop(commits.remove(0)),
    ];
    for change in wrong {
        let mut commits: Vec<_> = headers.iter().cloned().zip(bodies.iter().cloned()).collect();
        change(&mut commits);
        let refused = follower.chain.take_over(commits, std::slice::from_ref(&certificate));
        let refused = refused.expect_err("it is wrong");
        assert!(
            matches!(refused, ChainError::NotAsCertified(_) | ChainError::Decode { .. }),
            "{refused}"
        );
        assert_eq!(follower.chain.stand().tip, Tip::GENESIS);
    }
    let commits = headers.into_iter().zip(bodies).collect();
    assert_eq!(follower.chain.take_over(commits, &[certificate]).unwrap().commit, 10);
}

#[test]
fn a_body_is_given_only_under_its_own_digest() {
    let dir = tempfile::tempdir().unwrap();
    let source = Node::open(memory(), dir.path(), sequencer());
    source.order(0, 5);
    let (headers, _) = range(&source, &Tip::GENESIS, 5);
    let wrong = BodyId { height: 2, digest: headers[2].facts.body };
    let right = BodyId { height: 5, digest: headers[4].facts.body };
    let absent = BodyId { height: 6, digest: headers[4].facts.body };
    let read = Read::Bodies { bodies: vec![wrong, right, absent], bytes_max: u64::MAX };
    let Loaded::Bodies(found) = source.chain.read(read).unwrap() else { panic!("bodies") };
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false]);
}
