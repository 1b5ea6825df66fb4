//! Who is killed when: an order that the seed decides, and how long it took to come back.

use std::time::{Duration, Instant};

use proctor_node::simulation::dice::Dice;

use crate::load::Told;
use crate::node::{ChaosNode, PATIENCE, SERVICES, signal};
use crate::until;

/// Answers to orders between two kills: there is something to lose.
const ANSWERS: u64 = 5;

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Node,
    Child(&'static str),
    /// Stopped, not killed: it must be found out and replaced.
    Stopped(&'static str),
}

/// What was done, and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) kills_of_the_node: u32,
    pub(crate) kills_of_children: u32,
    pub(crate) stopped: u32,
    /// Kills that did not wait until what was killed before was back.
    pub(crate) in_a_hurry: u32,
    /// From the kill until everything was ready again.
    pub(crate) node_back_max: Duration,
    pub(crate) child_back_max: Duration,
    pub(crate) stopped_back_max: Duration,
    /// From a kill until an order was answered again.
    pub(crate) answers_back_max: Duration,
    pub(crate) seconds: u64,
}

/// Returns everything once, and then what the dice say, shuffled; a child to be stopped among them.
fn targets(kills: u32, dice: &mut Dice) -> Vec<Target> {
    let pick = |dice: &mut Dice| {
        let place = usize::try_from(dice.below(6)).expect("small");
        SERVICES.get(place).map_or(Target::Node, |name| Target::Child(name))
    };
    let mut targets: Vec<Target> = vec![Target::Node];
    targets.extend(SERVICES.map(Target::Child));
    while targets.len() < usize::try_from(kills).expect("small") {
        targets.push(pick(dice));
    }
    let stopped = usize::try_from(dice.below(5)).expect("small");
    targets.push(Target::Stopped(SERVICES[stopped]));
    for place in (1..targets.len()).rev() {
        let other = dice.below(u32::try_from(place + 1).expect("small"));
        targets.swap(place, usize::try_from(other).expect("small"));
    }
    targets
}

/// Kills `kills` times, at least everything once; everything is ready again when it returns.
pub(crate) async fn run(node: &mut ChaosNode, told: &Told, kills: u32, seed: u64) -> Report {
    let mut dice = Dice::new(seed);
    let targets = targets(kills, &mut dice);
    println!("in this order: {targets:?}");
    let begun = Instant::now();
    let mut report = Report::default();
    for target in targets {
        let before = told.answers();
        until("orders are answered", PATIENCE, async || {
            (told.answers() >= before + ANSWERS).then_some(())
        })
        .await;
        let hurry = dice.chance(0.25);
        let struck = Instant::now();
        match target {
            Target::Node => {
                node.kill();
                report.kills_of_the_node += 1;
                node.start().await;
                report.node_back_max = report.node_back_max.max(struck.elapsed());
            }
            Target::Child(name) => {
                let struck_one = strike(node, name, "KILL").await;
                report.kills_of_children += 1;
                if hurry {
                    report.in_a_hurry += 1;
                    continue;
                }
                replaced(node, name, struck_one).await;
                report.child_back_max = report.child_back_max.max(struck.elapsed());
            }
            Target::Stopped(name) => {
                let struck_one = strike(node, name, "STOP").await;
                report.stopped += 1;
                replaced(node, name, struck_one).await;
                report.stopped_back_max = report.stopped_back_max.max(struck.elapsed());
            }
        }
        let before = told.answers();
        until("orders are answered again", PATIENCE, async || {
            (told.answers() > before).then_some(())
        })
        .await;
        report.answers_back_max = report.answers_back_max.max(struck.elapsed());
    }
    node.all_ready().await;
    report.seconds = begun.elapsed().as_secs();
    report
}

/// A process that was struck, and which start of its service it was.
#[derive(Clone, Copy)]
struct Struck {
    pid: u32,
    generation: u64,
}

/// Sends a signal to the process of `name`, once there is one that answers.
async fn strike(node: &ChaosNode, name: &str, with: &str) -> Struck {
    let struck = until("there is a process to strike", PATIENCE, async || {
        let children = node.children().await;
        let child = &children[name];
        let pid = child.pid.filter(|_| child.state == "ready")?;
        Some(Struck { pid, generation: child.generation })
    })
    .await;
    println!("{with} {name} ({})", struck.pid);
    signal(with, struck.pid);
    struck
}

/// Waits until another process answers for `name` than the one that was struck, and that one is gone.
async fn replaced(node: &ChaosNode, name: &str, struck: Struck) {
    until("the child is replaced", PATIENCE, async || {
        let children = node.children().await;
        let child = &children[name];
        let replaced = child.state == "ready" && child.generation != struck.generation;
        (replaced && !node.processes().contains(&struck.pid)).then_some(())
    })
    .await;
}
