//! Named faults: F1 to F5, F7, F8, F10, F12, F13, and the bugs of the reference that they would show.

use proctor_p2p::sync::{Config, Halt, Offence, Reason};

use crate::liar::{Lie, snapshot_height};
use crate::world::{Peer, World};

/// A sequencer with so many commits.
fn world(seed: u64, commits: usize) -> World {
    let mut world = World::new(seed);
    world.grow(commits);
    world.honest(Config::default(), commits as u64);
    world
}

/// Makes everything between two nodes fast or slow.
fn link(world: &mut World, a: usize, b: usize, delay_ms: u64, bytes_per_ms: u64) {
    for pair in [(a, b), (b, a)] {
        let link = world.links.get_mut(&pair).unwrap();
        (link.delay_ms, link.jitter_ms, link.bytes_per_ms) = (delay_ms, 1, bytes_per_ms);
    }
}

fn stored(world: &World, at: usize) -> u64 {
    world.node(at).core.marks().stored
}

fn offences(world: &World, at: usize) -> Vec<Offence> {
    world.node(at).offences.iter().map(|(_, offence)| *offence).collect()
}

#[test]
fn f1_a_partition_stops_the_cut_off_side_and_no_more_and_it_catches_up() {
    for (seed, both, ms) in [(1, true, 60_000), (2, true, 4_000), (3, false, 30_000)] {
        let mut world = world(seed, 300);
        for _ in 0..3 {
            world.honest(Config::default(), 0);
        }
        world.produce(100);
        world.run_for(10_000);
        for (a, b) in [(0, 2), (0, 3), (1, 2), (1, 3)] {
            world.cut(a, b, ms, both);
        }
        world.run_for(2_000);
        let (cut_off, connected) = (stored(&world, 2), stored(&world, 1));
        world.run_for(ms - 2_500);
        assert_eq!(stored(&world, 2), cut_off, "nothing comes through a partition");
        assert!(stored(&world, 1) > connected + 10, "the others go on");
        world.produce(0);
        world.run_for(12_000);
        world.assert_synced();
    }
}

#[test]
fn f1_a_link_that_flaps_bans_nobody_and_delays_nobody_for_long() {
    let mut world = world(4, 600);
    for _ in 0..3 {
        world.honest(Config::default(), 0);
    }
    world.produce(150);
    for round in 0..20 {
        world.cut(0, 1 + round % 3, 1_000 + 1_500 * (round as u64 % 20), round % 2 == 0);
        world.run_for(3_000);
    }
    world.produce(0);
    world.run_for(45_000);
    world.assert_synced();
}

/// F2, B20: in the reference one slow peer at the head held back everybody behind it.
#[test]
fn f2_b20_a_slow_peer_costs_a_fifth_at_most() {
    let time = |slow: Option<Lie>, drip: bool| {
        let mut world = world(5, 2_000);
        world.honest(Config::default(), 2_000);
        let at = world.honest(Config::default(), 0);
        (0..2).for_each(|other| link(&mut world, other, at, 30, 20_000));
        if let Some(lie) = slow {
            let liar = world.liar(lie);
            link(&mut world, liar, at, 1, 20_000);
        }
        if drip {
            let peer = world.honest(Config::default(), 2_000);
            link(&mut world, peer, at, 300, 16);
        }
        let time = world.time_to_sync(at, 120_000);
        world.assert_synced();
        time
    };
    let alone = time(None, false);
    let (dripping, silent) = (time(None, true), time(Some(Lie::Silent), false));
    println!("2,000 commits: {alone} ms, with a slow peer {dripping}, with a silent one {silent}");
    // A fifth, and the second that it takes to find out.
    assert!(dripping <= alone * 5 / 4 + 2_000, "{dripping} against {alone} ms");
    assert!(silent <= alone * 5 / 4 + 4_000, "{silent} against {alone} ms");
}

/// F3, B4: in the reference one peer that claimed height 2^64-1 was everybody's target for ever.
#[test]
fn f3_b4_a_claim_without_a_certificate_is_no_target_and_costs_one_check() {
    for lie in [Lie::Inflated, Lie::OtherChain] {
        let mut world = world(6, 500);
        let at = world.honest(Config::default(), 0);
        let liar = world.liar(lie);
        link(&mut world, liar, at, 1, 20_000);
        world.run_for(20_000);
        world.assert_synced();
        let node = world.node(at);
        assert_eq!(offences(&world, at), [Offence::BadStatus], "{lie:?}: one check, one ban");
        assert!(node.banned.contains(&world.id(liar)));
        let Peer::Liar { asked, .. } = &world.peers[liar] else { panic!("it is a liar") };
        assert_eq!(*asked, 0, "{lie:?}: it is never asked for anything");
    }
}

fn only_the_liar_pays(lie: Lie, expected: Offence) {
    for seed in 0..3 {
        let mut world = world(10 + seed, 1_200);
        let at = world.honest(Config::default(), 0);
        let other = world.honest(Config::default(), 0);
        let liar = world.liar(lie);
        // The liar answers first, so that it is asked.
        for node in [at, other] {
            link(&mut world, liar, node, 1, 20_000);
            link(&mut world, 0, node, 80, 20_000);
        }
        world.run_for(40_000);
        world.assert_synced();
        for node in [at, other] {
            let offences = &world.node(node).offences;
            assert!(!offences.is_empty(), "{lie:?} was not noticed, seed {seed}");
            for (peer, offence) in offences {
                assert_eq!((*peer, *offence), (world.id(liar), expected), "{lie:?}, seed {seed}");
            }
        }
    }
}

/// F4, B6: the source of a range is charged, not who sent the next. B19: nothing is credited before
/// it is verified, so a fast liar has no good name.
#[test]
fn f4_b6_b19_wrong_headers_cost_their_source_and_nobody_else() {
    for lie in [Lie::WrongHeader, Lie::Reordered, Lie::WrongStart, Lie::Empty] {
        only_the_liar_pays(lie, Offence::BadRange);
    }
}

#[test]
fn f5_wrong_bodies_cost_their_source_and_nobody_else() {
    for lie in [Lie::BadBody, Lie::LongBody, Lie::CutBody] {
        only_the_liar_pays(lie, Offence::BadBody);
    }
}

/// B12: in the reference one peer that claimed to have everything kept the archive from being asked.
#[test]
fn f5_b12_a_peer_that_says_it_has_everything_and_has_nothing_does_not_stop_anybody() {
    only_the_liar_pays(Lie::NothingHere, Offence::Promised);
}

/// B31: in the reference a clock that was half a minute late made every peer's record one of the
/// future. Here no message is compared with a clock.
#[test]
fn f7_b31_a_clock_that_is_wrong_or_jumps_changes_nothing() {
    let mut world = world(20, 800);
    for _ in 0..3 {
        world.honest(Config::default(), 0);
    }
    world.node_mut(1).clock_ahead_ms = 3_600_000;
    world.node_mut(2).clock_ahead_ms = 365 * 86_400_000;
    world.produce(100);
    world.run_for(4_000);
    world.node_mut(3).clock_ahead_ms = 3_600_000;
    world.run_for(4_000);
    world.node_mut(3).clock_ahead_ms += 86_400_000;
    world.run_for(4_000);
    world.produce(0);
    world.run_for(10_000);
    world.assert_synced();
    for at in world.honest_nodes() {
        assert_eq!(world.node(at).offences, [], "nobody is charged for a clock");
    }
}

/// F8, B5, B27: pushes, statuses, requests and answers far above every limit. In the reference
/// pushed headers were kept without a limit. V7 is asserted after every event.
#[test]
fn f8_b5_under_a_flood_every_limit_holds_and_sync_keeps_half_its_speed() {
    let run = |floods: usize| {
        let mut world = world(21, 2_000);
        let at = world.honest(Config::default(), 0);
        link(&mut world, 0, at, 30, 20_000);
        let liars: Vec<usize> = (0..floods).map(|_| world.liar(Lie::Flood)).collect();
        world.run_for(400);
        let time = world.time_to_sync(at, 120_000);
        world.assert_synced();
        world.run_for(30_000);
        for liar in liars {
            let node = world.node(at);
            let banned = node.banned.contains(&world.id(liar));
            assert!(banned, "a flood ends in a ban: {:?} {:?}", node.trust, node.offences);
        }
        let tips = world.node(at).verifies.get("tip").copied().unwrap_or(0);
        assert!(tips <= 160 * floods as u64, "{tips} checks for {floods} floods");
        time
    };
    let (calm, flooded) = (run(0), run(6));
    println!("2,000 commits: {calm} ms, with six floods {flooded} ms");
    assert!(flooded <= 2 * calm + 500, "{flooded} against {calm} ms");
}

/// F10: a crash at each store job, before its write and after it. V2 to V5 are asserted at every
/// write, at every restart and at the end.
#[test]
fn f10_a_crash_at_any_store_job_loses_nothing_that_was_acknowledged() {
    let config = Config { store_bytes: 2_000, ..Config::default() };
    for job in 1..=14 {
        for before in [true, false] {
            let mut world = world(30, 250);
            world.honest(config, 0);
            world.crash_at = Some((job, before));
            world.run_for(30_000);
            assert!(world.node(1).life > 2, "job {job} came, and with it the crash");
            world.assert_synced();
        }
    }
}

#[test]
fn f10_after_a_failed_write_the_node_stops_and_stores_no_more() {
    let mut world = world(31, 400);
    let at = world.honest(Config { store_bytes: 5_000, ..Config::default() }, 0);
    world.run_for(400);
    world.node_mut(at).disk.broken = true;
    world.run_for(5_000);
    world.node_mut(at).disk.broken = false;
    let stored = stored(&world, at);
    world.run_for(20_000);
    assert_eq!(world.node(at).halted, Some(Halt::StoreFailed));
    assert_eq!(self::stored(&world, at), stored);
    assert_eq!(world.node(at).core.reason(), Some(Reason::Halted));
    // A new start begins with what the disk holds.
    world.crash(at, 100);
    world.run_for(20_000);
    world.assert_synced();
}

#[test]
fn f12_from_pruned_peers_a_node_joins_by_a_snapshot() {
    let mut world = world(40, 700);
    world.node_mut(0).disk.pruned_below = 500;
    let at = world.honest(Config::default(), 0);
    world.produce(200);
    world.run_for(30_000);
    world.produce(0);
    world.run_for(10_000);
    world.assert_synced();
    assert_eq!(world.node(at).joins, 1);
    assert!(world.node(at).disk.base.height >= 640);
}

/// R14, B7: in the reference a failed header job was started again by its own completion, at once.
#[test]
fn f12_r14_b7_when_nobody_has_it_the_node_says_so_and_asks_no_faster_than_its_backoff() {
    let mut world = world(41, 700);
    world.node_mut(0).disk.pruned_below = 500;
    world.node_mut(0).disk.without_snapshots = true;
    let at = world.honest(Config::default(), 0);
    world.run_for(10_000);
    let before = world.node(at).requests;
    world.run_for(60_000);
    assert_eq!(world.node(at).core.reason(), Some(Reason::Pruned));
    let asked = world.node(at).requests - before;
    assert!(asked <= 200, "{asked} requests in a minute");
    // And it goes on by itself, once somebody has it.
    world.node_mut(0).disk.without_snapshots = false;
    world.run_for(40_000);
    world.assert_synced();
    assert_eq!(world.node(at).core.reason(), None);
}

#[test]
fn f12_alone_and_behind_the_reason_is_that_there_is_nobody() {
    let mut world = world(42, 2_000);
    let config = Config { bodies: 1, ..Config::default() };
    let at = world.honest(config, 0);
    world.run_for(2_000);
    assert!(stored(&world, at) > 0);
    world.cut(0, at, 90_000, true);
    world.run_for(60_000);
    assert_eq!(world.node(at).core.reason(), Some(Reason::NoPeers));
}

/// A node that is far behind, a snapshot of three chunks, and liars.
fn far_behind(seed: u64, lies: &[Lie]) -> (World, usize) {
    let mut world = world(seed, 600);
    world.truth.snapshot_len = 2_500_000;
    world.honest(Config::default(), 600);
    let at = world.honest(Config { snapshot_gap: 200, ..Config::default() }, 0);
    for lie in lies {
        let liar = world.liar(*lie);
        link(&mut world, liar, at, 1, 20_000);
    }
    for honest in [0, 1] {
        link(&mut world, honest, at, 60, 5_000);
    }
    (world, at)
}

#[test]
fn f13_a_snapshot_is_taken_from_several_peers_and_gives_the_certified_state() {
    let (mut world, at) = far_behind(50, &[]);
    world.run_for(20_000);
    world.assert_synced();
    assert_eq!((world.node(at).joins, world.node(at).alarms), (1, 0));
    assert_eq!(world.node(at).disk.base.height, 576);
}

#[test]
fn f13_a_false_chunk_or_an_unproven_manifest_is_charged_and_the_snapshot_goes_on() {
    for (lie, expected) in [
        (Lie::BadChunk, Offence::BadChunk),
        (Lie::BadManifest, Offence::BadManifest),
        (Lie::MadeUpSnapshot, Offence::BadManifest),
    ] {
        let (mut world, at) = far_behind(51, &[lie]);
        world.run_for(40_000);
        world.assert_synced();
        assert_eq!(world.node(at).joins, 1, "{lie:?}");
        let charged = offences(&world, at);
        assert!(!charged.is_empty() && charged.iter().all(|one| *one == expected), "{charged:?}");
    }
}

/// Even bytes that the sequencer vouches for count for nothing when they give another state than the
/// certified one: they are never applied, an alarm is raised, and another snapshot is tried.
#[test]
fn f13_a_false_snapshot_is_never_applied_whoever_vouches_for_it() {
    let (mut world, at) = far_behind(52, &[Lie::FalseSnapshot]);
    world.run_for(60_000);
    world.assert_synced();
    assert_eq!(world.node(at).alarms, 1, "the fast liar's manifest came first");
    assert_eq!(world.node(at).joins, 1, "and then a true one");
}

#[test]
fn f13_when_a_peer_vanishes_or_the_node_crashes_the_snapshot_is_resumed() {
    for crashed in [0, 1, 2] {
        let (mut world, at) = far_behind(53, &[]);
        let mut staged = 0;
        while staged < 2 && world.now < 30_000 {
            world.run_for(5);
            staged = world.node(at).core.join_progress().map_or(0, |(staged, _)| staged);
        }
        assert_eq!(staged, 2, "two of three chunks are here");
        world.crash(crashed, 5_000);
        world.run_for(40_000);
        world.assert_synced();
        assert_eq!(world.node(at).joins, 1, "{crashed} crashed");
    }
}

#[test]
fn f13_a_full_disk_aborts_cleanly_and_the_node_goes_on_by_replay() {
    let (mut world, at) = far_behind(54, &[]);
    world.node_mut(at).disk.full = true;
    world.run_for(60_000);
    world.assert_synced();
    assert_eq!((world.node(at).joins, &world.node(at).halted), (0, &None));
}

/// F13, two snapshots race: the peers make new ones and drop old ones while one is fetched.
#[test]
fn f13_snapshots_that_come_and_go_do_not_keep_a_node_from_joining() {
    let (mut world, at) = far_behind(55, &[]);
    for honest in [0, 1] {
        link(&mut world, honest, at, 60, 300);
    }
    world.produce(20);
    world.run_for(60_000);
    world.produce(0);
    world.run_for(30_000);
    world.assert_synced();
    assert!(world.node(at).joins >= 1);
}

/// A follower's own snapshot is served once it is the one that the sequencer vouches for; one whose
/// bytes differ never is, and raises an alarm.
#[test]
fn v5_an_own_snapshot_is_served_only_if_it_is_the_one_that_is_vouched_for() {
    let mut world = world(56, 100);
    let (good, bad) = (world.honest(Config::default(), 0), world.honest(Config::default(), 0));
    world.node_mut(bad).disk.own_differs = true;
    world.produce(50);
    world.run_for(20_000);
    world.produce(0);
    world.run_for(10_000);
    world.assert_synced();
    let newest = snapshot_height(world.truth.height());
    assert!(newest > 128, "several were made");
    assert!(world.node(good).available().latest_snapshot >= newest - 64);
    assert_eq!(world.node(bad).available().latest_snapshot, 0);
    assert_eq!(world.node(good).alarms, 0);
    assert!(world.node(bad).alarms >= 2, "one for each snapshot that differs");
    assert_eq!(world.node(bad).halted, None, "its state is right: it follows on");
}

/// An archive keeps what it has: it says that it waits for somebody who has the commits.
#[test]
fn f12_a_node_that_joins_by_no_snapshot_says_that_all_have_deleted_what_it_needs() {
    let mut world = world(57, 700);
    world.node_mut(0).disk.pruned_below = 500;
    let at = world.honest(Config { joins: false, ..Config::default() }, 0);
    world.run_for(60_000);
    assert_eq!(world.node(at).core.reason(), Some(Reason::Pruned));
    assert_eq!(world.node(at).joins, 0);
    world.honest(Config::default(), 700);
    world.run_for(40_000);
    world.assert_synced();
}

/// Who keeps what it has replays, however far behind, and says so when that cannot be; an empty node of
/// the same kind joins by a snapshot, for it loses nothing.
#[test]
fn f12_commits_that_are_kept_are_not_deleted_to_join_by_a_snapshot() {
    let keeps = || Config { drops_history: false, snapshot_gap: 200, ..Config::default() };
    let mut world = world(58, 700);
    let (old, empty) = (world.honest(keeps(), 100), world.honest(keeps(), 0));
    world.run_for(40_000);
    world.assert_synced();
    assert_eq!((world.node(old).joins, world.node(empty).joins), (0, 1));

    let mut world = self::world(59, 700);
    world.node_mut(0).disk.pruned_below = 500;
    let old = world.honest(keeps(), 100);
    world.run_for(60_000);
    assert_eq!(world.node(old).core.reason(), Some(Reason::Pruned));
    assert_eq!((world.node(old).joins, world.node(old).disk.base.height), (0, 0));
}

/// B10: contents above the default of the RPC library could never be fetched. B11: a commit over the
/// whole budget never started.
#[test]
fn b10_b11_a_body_of_megabytes_above_the_whole_budget_is_fetched_in_parts() {
    let mut world = world(60, 5);
    let at = world.honest(Config { body_bytes: 1_000, ..Config::default() }, 0);
    world.run_for(2_000);
    world.grow_by_body(vec![3; 5 << 20]);
    world.grow(3);
    let height = world.truth.height();
    world.fill(0, height);
    world.run_for(20_000);
    world.assert_synced();
    assert_eq!(offences(&world, at), []);
}

/// A follower hears of a commit by a push, with the body in it, and passes it on.
#[test]
fn a_commit_reaches_every_follower_by_pushes_within_a_second() {
    let mut world = world(61, 100);
    for _ in 0..6 {
        world.honest(Config::default(), 100);
    }
    world.run_for(6_000);
    world.produce(500);
    world.run_for(20_000);
    world.produce(0);
    world.run_for(1_000);
    world.assert_synced();
    for at in world.honest_nodes() {
        assert_eq!(offences(&world, at), []);
    }
}

/// More commits a second than pushes are taken: the sequencer tells of the newest as often as it may,
/// and of the last one when nothing comes after it.
#[test]
fn under_many_commits_a_second_nobody_is_charged_and_the_last_one_is_told_of() {
    let mut world = world(33, 10);
    let follower = world.honest(Config::default(), 0);
    let second = world.honest(Config::default(), 0);
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        link(&mut world, a, b, 5, 20_000);
    }
    world.run_for(3_000);
    // 250 commits a second: more than four times the rate at which pushes are read.
    world.produce(4);
    for _ in 0..100 {
        world.run_for(300);
        for at in [follower, second] {
            let behind = world.truth.height() - stored(&world, at);
            assert!(behind < 60, "{behind} commits behind at {} ms", world.now);
        }
    }
    world.produce(0);
    // Less than the time to the next status.
    world.run_for(300);
    for at in [0, follower, second] {
        assert_eq!(offences(&world, at), [], "node {at}");
        assert_eq!(stored(&world, at), world.truth.height(), "node {at}");
    }
}
