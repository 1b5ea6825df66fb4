//! The steps of a pass, their order and their switches.

use super::*;
use crate::rulebook::{Switches, VANTA};

const NOW: UtcMs = UtcMs(1_755_000_000_000);
const TWO_DAYS: i64 = 172_800_000;

fn rules(switches: Option<Switches>) -> Rulebook {
    let mut rules = Rulebook::parse(VANTA).expect("the built-in rulebook");
    rules.switches = switches.unwrap_or(rules.switches);
    rules
}

fn name(text: &str) -> TraderId {
    TraderId::new(text).expect("valid")
}

/// A living, registered trader without a care.
fn calm(rules: &Rulebook) -> Subject<'_> {
    Subject {
        rules,
        has_account: true,
        record: None,
        has_open_position: false,
        liquidated_at: None,
        worst_ratio: Some(0.95),
        drawdown_reason: Reason::MaxTotalDrawdown,
        in_main_competition: false,
        absent_rosters: 0,
    }
}

fn recorded(ago: i64) -> Option<Recorded> {
    Some(Recorded { at: UtcMs(NOW.0 - ago), is_purged: false })
}

/// Plans a pass over `subjects` of whom all but those named `gone...` are registered.
fn planned(
    rules: &Rulebook,
    subjects: &[(&str, Subject<'_>)],
    reasons: &[(&str, Reason)],
    is_first: bool,
) -> PassPlan {
    let traders: Vec<(TraderId, Subject<'_>)> =
        subjects.iter().map(|(text, subject)| (name(text), *subject)).collect();
    let registered = traders.iter().map(|(trader, _)| trader.clone());
    let registered = registered.filter(|trader| !trader.as_str().starts_with("gone")).collect();
    let reasons = reasons
        .iter()
        .map(|(text, reason)| (name(text), (*reason, DrawdownNote::without_number(*reason))))
        .collect();
    let input = PassInput {
        at: NOW,
        registered: Some(&registered),
        is_first,
        traders: traders.iter().map(|(trader, subject)| (trader, *subject)).collect(),
        reasons: &reasons,
    };
    plan(rules, &input)
}

fn ends(plan: &PassPlan) -> Vec<(&str, Reason)> {
    plan.eliminate.iter().map(|ending| (ending.trader.as_str(), ending.reason)).collect()
}

#[test]
fn e_12_the_order_of_the_steps_decides_which_reason_wins() {
    let rules = rules(None);
    let calm = calm(&rules);
    let deep = Subject { worst_ratio: Some(0.5), absent_rosters: 9, ..calm };
    let lost = Subject { liquidated_at: Some(UtcMs(NOW.0 - 7)), ..deep };
    let subjects = [
        ("gone-lost", lost),
        ("gone-copy", deep),
        ("gone-deep", deep),
        ("gone", Subject { absent_rosters: 9, ..calm }),
    ];
    let reasons = [("gone-lost", Reason::Plagiarism), ("gone-copy", Reason::Plagiarism)];
    let plan = planned(&rules, &subjects, &reasons, false);
    assert_eq!(
        ends(&plan),
        [
            ("gone-lost", Reason::Liquidated),
            ("gone-copy", Reason::Plagiarism),
            ("gone-deep", Reason::MaxTotalDrawdown),
            ("gone", Reason::Zombie),
        ]
    );
    assert_eq!(plan.eliminate[0].decided_at, UtcMs(NOW.0 - 7), "E-42: when it was found");
    assert_eq!(plan.eliminate[1].decided_at, NOW, "E-47");
    assert_eq!(plan.eliminate[2].drawdown, DrawdownNote::percent(50.0));
    let late = Alert::ReasonDropped { trader: name("gone-lost"), reason: Reason::Plagiarism };
    assert_eq!(plan.alerts, [late]);
}

#[test]
fn e_47_nobody_with_a_record_gets_another() {
    let rules = rules(None);
    let ended = Subject {
        record: recorded(1),
        worst_ratio: Some(0.1),
        liquidated_at: Some(NOW),
        absent_rosters: 9,
        ..calm(&rules)
    };
    let plan = planned(&rules, &[("gone", ended)], &[("gone", Reason::Plagiarism)], true);
    assert_eq!((ends(&plan), plan.alerts.len()), (vec![], 1));
}

#[test]
fn e_50_every_stage_is_looked_at_unless_parity_is_wanted() {
    for (switches, ended) in [(None, &["main", "review"][..]), (Some(Switches::PARITY), &["main"])]
    {
        let rules = rules(switches);
        let deep = Subject { worst_ratio: Some(0.8), ..calm(&rules) };
        let main = Subject { in_main_competition: true, ..deep };
        let unknown = Subject { worst_ratio: None, in_main_competition: true, ..deep };
        let subjects = [("main", main), ("new", unknown), ("review", deep)];
        let plan = planned(&rules, &subjects, &[], false);
        let names: Vec<&str> = ends(&plan).into_iter().map(|(trader, _)| trader).collect();
        assert_eq!(names, ended);
    }
}

#[test]
fn e_54_zombies_need_absence_and_never_come_in_masses_unless_parity_is_wanted() {
    let (right, parity) = (rules(None), rules(Some(Switches::PARITY)));
    let zombies = |rules: &Rulebook, missing: usize, living: usize, absent_rosters: u64| {
        let absent = Subject { absent_rosters, ..calm(rules) };
        let names: Vec<String> = (0..living)
            .map(|n| if n < missing { format!("gone{n}") } else { format!("here{n}") })
            .collect();
        let subjects: Vec<(&str, Subject<'_>)> = names
            .iter()
            .map(|n| (n.as_str(), if n.starts_with("gone") { absent } else { calm(rules) }))
            .collect();
        let plan = planned(rules, &subjects, &[], false);
        (plan.eliminate.len(), plan.alerts.len())
    };
    // The boundaries of E-23.
    for (missing, living, ended, alerts) in
        [(15, 50, 0, 1), (5, 50, 5, 0), (10, 40, 10, 0), (11, 44, 0, 1), (11, 45, 11, 0)]
    {
        assert_eq!(zombies(&right, missing, living, 3), (ended, alerts), "{missing} of {living}");
        assert_eq!(zombies(&right, missing, living, 2), (0, alerts), "{missing} of {living}");
        assert_eq!(zombies(&parity, missing, living, 1), (missing, 0), "{missing} of {living}");
    }
}

#[test]
fn unknown_is_not_empty_and_without_a_roster_nobody_is_a_zombie_or_purged() {
    let rules = rules(None);
    let (gone, old) = (name("gone"), name("old"));
    let absent = Subject { absent_rosters: 9, ..calm(&rules) };
    let ended = Subject { record: recorded(9 * TWO_DAYS), ..absent };
    let reasons = BTreeMap::new();
    let traders = [(&gone, absent), (&old, ended)].into_iter().collect();
    let input = PassInput { at: NOW, registered: None, is_first: true, traders, reasons: &reasons };
    assert_eq!(plan(&rules, &input), PassPlan::default());
}

#[test]
fn e_59_leftovers_are_closed_by_every_pass_e_30_or_by_the_first_alone_when_parity_is_wanted() {
    for (switches, is_first, closes) in [
        (None, true, true),
        (None, false, true),
        (Some(Switches::PARITY), true, true),
        (Some(Switches::PARITY), false, false),
    ] {
        let rules = rules(switches);
        let left = Subject { record: recorded(1), has_open_position: true, ..calm(&rules) };
        let alive = Subject { has_open_position: true, ..calm(&rules) };
        let plan = planned(&rules, &[("alive", alive), ("ended", left)], &[], is_first);
        let expected = if closes { vec![name("ended")] } else { vec![] };
        assert_eq!(plan.flatten, expected, "{is_first}");
    }
}

#[test]
fn e_56_a_record_is_purged_from_two_days_on_once_and_only_of_those_who_left() {
    let rules = rules(None);
    let ended = |ago: i64, is_purged: bool| Subject {
        record: Some(Recorded { at: UtcMs(NOW.0 - ago), is_purged }),
        ..calm(&rules)
    };
    let subjects = [
        ("gone-done", ended(TWO_DAYS, true)),
        ("gone-fresh", ended(TWO_DAYS - 1, false)),
        ("gone-old", ended(TWO_DAYS, false)),
        ("here-old", ended(9 * TWO_DAYS, false)),
    ];
    assert_eq!(planned(&rules, &subjects, &[], false).purge, [name("gone-old")]);
}
