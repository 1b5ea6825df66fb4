//! F18: nineteen of twenty nodes belong to one attacker, who wants to be all that the victim sees.

use proctor_p2p::NodeId;
use proctor_p2p::peers::rules::PeerRules;

use crate::world::{Kind, World, endpoint, node_id, record, spread_ip};

const HONEST: usize = 5;
const HOSTILE: usize = 95;
const VICTIM: usize = 0;

/// The victim and four honest nodes that know one another, and 95 hostile ones in `providers` that tell of each
/// other only and knock at the victim's door all the time.
fn besieged(seed: u64, providers: usize, rules: PeerRules) -> World {
    let mut world = World::new(seed);
    world.add(spread_ip(0, 1), rules);
    for index in 1..HONEST {
        let mut rules = PeerRules::default();
        for other in (1..HONEST).filter(|other| *other != index) {
            rules.fixed.insert(node_id(other), vec![endpoint(spread_ip(other, 1))]);
        }
        world.add(spread_ip(index, 1), rules);
    }
    let per_provider = HOSTILE.div_ceil(providers);
    let ip = |index: usize| spread_ip(5_000 * per_provider + index - HONEST, per_provider);
    let records: Vec<_> = (HONEST..HONEST + HOSTILE)
        .map(|index| record(index, ip(index), 1).record().clone())
        .collect();
    for index in HONEST..HONEST + HOSTILE {
        world.add(ip(index), PeerRules::default());
        world.nodes[index].kind = Kind::Hostile(records.clone());
    }
    (1..HONEST).for_each(|node| world.start(0, node));
    world
}

fn attack(world: &mut World) {
    for index in HONEST..HONEST + HOSTILE {
        let wait = world.dice.below(2_000);
        world.knock(wait, index, VICTIM, 15_000);
    }
}

fn honest_links(world: &World) -> Vec<NodeId> {
    let honest = &world.ids()[1..HONEST];
    world.up(VICTIM).into_iter().filter(|peer| honest.contains(peer)).collect()
}

#[test]
fn f18_a_required_peer_keeps_a_path_among_95_percent_hostile_peers() {
    for seed in 0..4 {
        let mut rules = PeerRules::default();
        rules.fixed.insert(node_id(1), vec![endpoint(spread_ip(1, 1))]);
        let mut world = besieged(seed, 5, rules);
        attack(&mut world);
        // The attacker is there first: all its nodes are connected before the victim knows anybody.
        world.start(0, VICTIM);
        for second in 1..=600 {
            world.run_until(second * 1_000);
            assert!(
                second < 10 || honest_links(&world).contains(&node_id(1)),
                "seed {seed}: alone among enemies at {second} s"
            );
        }
        assert!(world.up(VICTIM).len() > 20, "seed {seed}: the attack did not take place");
    }
}

/// The victim knew honest peers before the attack, then is restarted in its midst with nothing but its stored
/// book: the two anchors in it are dialled before anybody else.
#[test]
fn f18_anchors_lead_back_to_honest_peers_after_a_restart_under_attack() {
    for seed in 0..4 {
        let mut rules = PeerRules::default();
        rules.fixed.insert(node_id(1), vec![endpoint(spread_ip(1, 1))]);
        let mut world = besieged(seed, 5, rules);
        world.start(1_000, VICTIM);
        world.run_until(120_000);
        let anchors = world.peers(VICTIM).book().anchors().to_vec();
        assert_eq!(anchors.len(), 2, "seed {seed}");
        attack(&mut world);
        world.run_until(300_000);
        let before = world.peers(VICTIM).book().anchors().to_vec();
        assert_eq!(before, anchors, "seed {seed}: the attack replaced the anchors");
        // The configuration no longer names anybody, so that the anchors are all there is.
        world.nodes[VICTIM].rules = PeerRules::default();
        world.kill(0, VICTIM, false);
        world.start(5_000, VICTIM);
        world.run_until(world.now + 20_000);
        for _ in 0..300 {
            world.run_until(world.now + 1_000);
            assert!(!honest_links(&world).is_empty(), "seed {seed}: alone at {} ms", world.now);
        }
    }
}

/// Without any honest neighbour to begin with: what the attacker can put into the book stays within the caps per
/// source and provider, so it cannot push out what was there.
#[test]
fn f18_b23_the_attacker_cannot_fill_the_book() {
    let mut rules = PeerRules::default();
    rules.fixed.insert(node_id(1), vec![endpoint(spread_ip(1, 1))]);
    let mut world = besieged(9, 1, rules);
    attack(&mut world);
    world.start(0, VICTIM);
    world.run_until(30 * 60_000);
    let book = world.peers(VICTIM).book();
    let hostile = book.keys().filter(|key| (1..HONEST).all(|index| node_id(index) != **key));
    let hostile = hostile.count();
    assert!(hostile <= 64, "{hostile} records of one provider");
    assert!(hostile > 10, "the attack did not take place");
    let honest = (1..HONEST).filter(|index| book.find(&node_id(*index)).is_some()).count();
    assert_eq!(honest, HONEST - 1, "{:?} {:?}", book.size(), honest_links(&world));
}
