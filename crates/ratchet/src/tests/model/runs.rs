//! Which configurations are checked, and that every mutant is caught.

use stateright::{Checker, HasDiscoveries, Model};

use super::super::mutant::Mutant;
use super::World;
use crate::key_schedule::Mode;
use crate::session::Freshness;

/// Explores a configuration to the end: every invariant holds, and what must be possible happens.
/// Depth first, because the states that wait to be explored are large and the stack is short.
fn explore(world: World) {
    let checker = world.checker().threads(1).spawn_dfs().join();
    for property in world.properties() {
        let found = checker.discovery(property.name);
        let is_failure = property.expectation.discovery_is_failure();
        if let Some(path) = found.as_ref().filter(|_| is_failure) {
            let broken = path.last_state().broken;
            let acts = path.clone().into_actions();
            panic!("{}: {} {broken:?}\n{acts:?}", world.name, property.name);
        }
        assert!(is_failure || found.is_some(), "{}: not reached: {}", world.name, property.name);
    }
    println!(
        "{:<44} {:>9} states {:>9} steps depth {:>3}",
        world.name,
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth()
    );
}

/// Small enough for every change.
fn quick() -> Vec<World> {
    let quiet = World::QUIET;
    let two = World { requests: [2, 2], epochs: 2, ..quiet };
    let both = [true, true];
    vec![
        World { name: "2 rounds", ..two },
        World { name: "2 rounds, closed and cut anywhere", close: both, cut: true, ..two },
        World { name: "6 rounds", requests: [6, 6], epochs: 6, ..quiet },
        World {
            name: "3 rounds, any will do",
            requests: [3, 3],
            epochs: 3,
            freshness: Freshness::Any,
            ..quiet
        },
        World {
            name: "3 rounds, closed and cut anywhere",
            requests: [3, 3],
            epochs: 3,
            close: both,
            cut: true,
            ..quiet
        },
        World { name: "2 rounds, 1 message each", messages: [1, 1], ..two },
        World {
            name: "2 rounds, 2 messages from Low, credit 1",
            messages: [2, 0],
            credit: 1,
            pipe: 2,
            ..two
        },
        World {
            name: "1 round, 2 messages each, credit 1",
            messages: [2, 2],
            requests: [1, 1],
            epochs: 1,
            credit: 1,
            pipe: 3,
            ..quiet
        },
        World {
            name: "1 round, 1 message each, closed",
            messages: [1, 1],
            requests: [1, 1],
            epochs: 1,
            close: both,
            ..quiet
        },
        World { name: "2 rounds, nobody reads", messages: [3, 3], credit: 1, reads: false, ..two },
        World {
            name: "a key for each record",
            messages: [1, 1],
            mode: Mode::RecordFs,
            requests: [1, 1],
            epochs: 1,
            ..two
        },
        World {
            name: "an epoch for each message",
            messages: [2, 2],
            mode: Mode::FreshEpoch,
            pipe: 3,
            ..quiet
        },
        World {
            name: "1 fault of the pipe",
            faults: 1,
            messages: [1, 1],
            requests: [1, 1],
            epochs: 1,
            close: both,
            ..two
        },
    ]
}

/// As large as the table of the docs; minutes.
fn large() -> Vec<World> {
    let quiet = World::QUIET;
    let both = [true, true];
    let three = World { requests: [3, 3], epochs: 3, ..quiet };
    let two = World { requests: [2, 2], epochs: 2, ..quiet };
    vec![
        World {
            name: "6 rounds, closed and cut anywhere",
            requests: [6, 6],
            epochs: 6,
            close: both,
            cut: true,
            ..quiet
        },
        World { name: "2 rounds, 2 messages each", messages: [2, 2], pipe: 3, ..two },
        World {
            name: "2 rounds, 2 messages each, credit 1, closed, cut",
            messages: [2, 2],
            credit: 1,
            pipe: 2,
            close: both,
            cut: true,
            ..two
        },
        World { name: "3 rounds, 1 message each, closed", messages: [1, 1], close: both, ..three },
        World {
            name: "an epoch for each of 3 messages",
            messages: [3, 3],
            mode: Mode::FreshEpoch,
            pipe: 3,
            close: both,
            ..quiet
        },
        World { name: "2 faults of the pipe", faults: 2, messages: [1, 1], close: both, ..two },
        World {
            name: "3 rounds, 2 messages each, credit 1, closed",
            messages: [2, 2],
            credit: 1,
            pipe: 2,
            close: both,
            ..three
        },
        World { name: "3 rounds, 3 messages each", messages: [3, 3], pipe: 3, ..three },
    ]
}

#[test]
fn t03_every_reachable_state_of_the_quick_configurations_keeps_the_invariants() {
    for world in quick() {
        explore(world);
    }
}

#[test]
#[ignore = "minutes and gigabytes: cargo xtask model --large"]
fn t03_every_reachable_state_of_the_large_configurations_keeps_the_invariants() {
    for world in large() {
        explore(world);
    }
}

#[test]
fn every_mutant_is_caught_by_the_invariant_it_breaks() {
    let two = World { requests: [2, 2], epochs: 2, ..World::QUIET };
    let closing = World { requests: [1, 1], epochs: 1, close: [true, true], ..World::QUIET };
    let crowded =
        World { messages: [3, 3], requests: [1, 1], epochs: 1, credit: 1, reads: false, ..two };
    for (mutant, world, broken) in [
        (Mutant::BothStand, two, "I3, I15: at rest both ends are idle and agree"),
        (Mutant::BothYield, two, "I1: no fatal error between honest ends"),
        (Mutant::SwitchBeforeResp, two, "I1: no fatal error between honest ends"),
        (Mutant::NoSwitchAfterFin, two, "I1: no fatal error between honest ends"),
        (Mutant::TornSnapshot, two, "I3, I15: at rest both ends are idle and agree"),
        (Mutant::ReusedEphemeral, two, "I1: no fatal error between honest ends"),
        (Mutant::LateTicket, two, "I6: no ticket is orphaned at rest"),
        (Mutant::EarlyReceiveKey, two, "I1: no fatal error between honest ends"),
        (Mutant::Overlap, two, "I5: at most two handshake frames per direction"),
        (Mutant::CloseIgnoresResp, closing, "I1: no fatal error between honest ends"),
        (Mutant::NoCredit, crowded, "I3, I15: at rest both ends are idle and agree"),
    ] {
        let until = HasDiscoveries::AllOf([broken].into());
        let world = World { name: "mutant", mutant: Some(mutant), ..world };
        let checker = world.checker().threads(1).finish_when(until).spawn_bfs().join();
        let states = checker.unique_state_count();
        assert!(checker.discovery(broken).is_some(), "{mutant:?} survives {states} states");
        println!("{mutant:?}: {states} states");
        // The same configuration without the fault keeps every invariant.
        let world = World { mutant: None, ..world };
        let checker = world.checker().threads(1).spawn_bfs().join();
        assert!(checker.discovery(broken).is_none(), "{mutant:?}");
    }
}
