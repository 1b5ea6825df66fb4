//! Random runs: each seed draws its own nodes, liars, sizes and faults.

use proctor_p2p::sync::Config;

use crate::liar::Lie;
use crate::world::World;

/// How many seeds are run; `PROCTOR_SEEDS` changes it.
const SEEDS: u64 = 200;
/// The first seed; `PROCTOR_SEED` changes it, and without `PROCTOR_SEEDS` runs that one alone.
const FIRST: u64 = 1;

#[allow(clippy::disallowed_methods, reason = "a test's own settings, not the core's")]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// How long this thread has been on a processor, in seconds, where the system tells it (Linux); else how
/// long it has been running.
#[allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a figure of the test's own"
)]
fn processor_seconds(begun: std::time::Instant) -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let used = text.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    used.map_or_else(|| begun.elapsed().as_secs_f64(), |nanoseconds| nanoseconds / 1e9)
}

/// Draws a run from a seed and runs it.
fn run(seed: u64) -> World {
    let mut world = World::new(seed);
    world.wire_checked = seed.is_multiple_of(2);
    let initial = [0, 30, 300, 700, 1_300][world.rng.below(5)];
    world.grow(initial);
    let mut knobs = |options: &[usize]| options[world.rng.below(options.len())];
    let config = Config {
        ranges: knobs(&[1, 2, 8]),
        bodies: knobs(&[1, 7, 64]),
        bodies_held: knobs(&[1, 30, 1_024]),
        body_bytes: knobs(&[1, 100_000, 32 << 20]) as u64,
        bodies_per_request: knobs(&[1, 5, 16]),
        store_bytes: knobs(&[1, 10_000, 4 << 20]) as u64,
        unapplied: knobs(&[1, 50, 4_096]) as u64,
        snapshot_gap: knobs(&[100, 100_000, 100_000]) as u64,
        ..Config::default()
    };
    world.honest(Config::default(), initial as u64);
    for _ in 0..1 + world.rng.below(3) {
        let height = world.rng.below(initial + 1) as u64;
        world.honest(config, height);
    }
    for _ in 0..world.rng.below(3) {
        let lie = Lie::ALL[world.rng.below(Lie::ALL.len())];
        world.liar(lie);
    }
    let every_ms = [0, 60, 250, 1_000][world.rng.below(4)];
    world.produce(every_ms);
    world.crash_permille = [0, 0, 30][world.rng.below(3)];
    for _ in 0..world.rng.below(4) {
        let count = world.peers.len();
        let (a, b) = (world.rng.below(count), world.rng.below(count));
        let ms = 500 + world.rng.below(25_000) as u64;
        match world.rng.below(3) {
            0 if a != b => world.cut(a, b, ms, true),
            1 if a != b => world.cut(a, b, ms, false),
            _ if world.honest_nodes().contains(&a) => world.crash(a, ms),
            _ => {}
        }
        let pause = world.rng.below(8_000) as u64;
        world.run_for(pause);
    }
    world.run_for(10_000);
    // Faults stop; from here everybody must get on, and arrive.
    world.crash_permille = 0;
    world.produce(0);
    world.settle();
    world
}

#[test]
#[allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a figure of the test's own"
)]
fn every_seed_ends_with_one_chain_and_one_state() {
    let begun = std::time::Instant::now();
    let used = processor_seconds(begun);
    let one = setting("PROCTOR_SEED");
    let alone = if one.is_some() { 1 } else { SEEDS };
    let count = setting("PROCTOR_SEEDS").unwrap_or(alone);
    let first = one.unwrap_or(FIRST);
    let (mut events, mut joins, mut commits, mut lies) = (0, 0, 0, 0);
    let mut virtual_ms = 0;
    for seed in first..first + count {
        let outcome = std::panic::catch_unwind(|| run(seed));
        let Ok(world) = outcome else {
            panic!("seed {seed} fails: PROCTOR_SEED={seed} runs it alone");
        };
        if (seed + 1 - first).is_multiple_of(500) {
            println!("{} seeds", seed + 1 - first);
        }
        events += world.events;
        virtual_ms += world.now;
        commits += world.truth.height();
        for at in world.honest_nodes() {
            joins += world.node(at).joins;
            lies += world.node(at).offences.len();
        }
    }
    println!(
        "{count} seeds: {events} events, {commits} commits, {joins} snapshots, {lies} offences"
    );
    let (real, used) = (begun.elapsed().as_secs_f64(), processor_seconds(begun) - used);
    let simulated = virtual_ms as f64 / 1e3;
    println!(
        "{simulated:.0} s of virtual time in {real:.1} s, {used:.1} s of them on a processor: {:.0} and \
         {:.0} times as fast",
        simulated / real,
        simulated / used
    );
    assert!(one.is_some() || count < 100 || (joins > 0 && lies > 0), "faults must have happened");
}

#[test]
fn a_seed_gives_the_same_run_twice() {
    for seed in [3, 4, 11] {
        let (one, other) = (run(seed), run(seed));
        assert_eq!((one.trace, one.events), (other.trace, other.events), "seed {seed}");
        assert_ne!(one.trace, run(seed + 100).trace);
    }
}
