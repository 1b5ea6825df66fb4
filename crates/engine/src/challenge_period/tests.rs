//! The matrix of moves, the ranking and the plan through pictures made by hand.

use std::collections::{BTreeMap, BTreeSet};

use proctor_types::time::DAY_MS;
use proctor_types::{AssetClass, TraderId, UtcMs};

use super::plagiarism::Findings;
use super::plan::{Belief, Closed, Verdict};
use super::ranking::{Contest, ScoresByClass, rank};
use super::*;
use crate::eliminations::Reason;
use crate::rulebook::{Rulebook, Switches, VANTA};
use crate::scoring::Ledgers;

/// After the moment from which a class must be chosen.
const NOW: UtcMs = UtcMs(1_762_178_400_000);

fn trader(name: &str) -> TraderId {
    TraderId::new(name).expect("valid")
}

fn vanta() -> Rulebook {
    Rulebook::parse(VANTA).expect("the built-in rulebook")
}

fn parity() -> Rulebook {
    Rulebook { switches: Switches::PARITY, ..vanta() }
}

/// Every standing there is, with two times, and none.
fn standings() -> Vec<Option<Standing>> {
    let mut all = vec![None];
    for stage in Stage::ALL {
        for since in [UtcMs(1), UtcMs(2)] {
            all.push(Some(Standing::new(stage, since)));
            for before in Stage::ALL {
                all.push(Some(Standing::new(before, UtcMs(1)).reviewed(since)));
                all.push(Some(Standing { stage, since, before: Some((before, UtcMs(1))) }));
            }
        }
    }
    all
}

#[test]
fn only_the_moves_of_the_matrix_are_legal_2_2() {
    let name = |standing: Option<Standing>| standing.map_or("-", |s| s.stage.name());
    let mut legal = BTreeSet::new();
    for cause in Cause::ALL.into_iter().filter(|cause| *cause != Cause::Set) {
        for from in standings().into_iter().filter(|from| from.is_none_or(|s| s.is_sound())) {
            for to in standings() {
                if is_legal(cause, from, to) {
                    assert!(to.is_none_or(|to| to.is_sound()), "{cause:?} {from:?} {to:?}");
                    legal.insert(format!("{cause:?}: {} -> {}", name(from), name(to)));
                }
            }
        }
    }
    let expected = [
        "Admitted: - -> challenge",
        "FirstOrder: challenge -> challenge",
        "Promoted: challenge -> funded",
        "Promoted: probation -> funded",
        "Demoted: funded -> probation",
        "Suspected: challenge -> under review",
        "Suspected: funded -> under review",
        "Suspected: probation -> under review",
        "Cleared: under review -> challenge",
        "Cleared: under review -> funded",
        "Cleared: under review -> probation",
    ];
    let mut expected: BTreeSet<String> = expected.map(String::from).into();
    for cause in ["Ended", "Departed", "Removed"] {
        for stage in Stage::ALL {
            expected.insert(format!("{cause}: {stage} -> -"));
        }
    }
    expected.extend(Stage::ALL.map(|stage| format!("Reinstated: - -> {stage}")));
    assert_eq!(legal, expected);
}

#[test]
fn c_43_a_review_gives_back_the_stage_and_its_clock_and_nothing_else() {
    let funded = Standing::new(Stage::Funded, UtcMs(5));
    let reviewed = funded.reviewed(UtcMs(9));
    assert_eq!(reviewed.restored(), Some(funded));
    for other in [Standing::new(Stage::Funded, UtcMs(9)), Standing::new(Stage::Challenge, UtcMs(5))]
    {
        assert!(!is_legal(Cause::Cleared, Some(reviewed), Some(other)), "{other:?}");
    }
    let forged = Standing { since: UtcMs(4), ..funded }.reviewed(UtcMs(9));
    assert!(!is_legal(Cause::Suspected, Some(funded), Some(forged)), "another stage before");
}

#[test]
fn c_3_names_have_one_spelling_and_an_unknown_one_is_refused_with_those_there_are() {
    for stage in Stage::ALL {
        assert_eq!(Stage::parse(stage.label()), Ok(stage));
    }
    let unknown = Stage::parse("unknown").expect_err("C-3").to_string();
    let known = "known are CHALLENGE, MAINCOMP, PROBATION, PLAGIARISM";
    assert_eq!(unknown, format!("unknown stage \"unknown\", {known}"));
    for reason in Reason::ALL {
        assert_eq!(Reason::parse(reason.code()), Ok(reason));
    }
    let unknown = Reason::parse("ZOMBY").expect_err("misspelt").to_string();
    assert!(unknown.contains("unknown reason \"ZOMBY\"") && unknown.contains("LIQUIDATED"));
}

/// Ranks one class; a name ending in `*` is funded, in `+` eligible, in neither ineligible.
fn ranked(rules: &Rulebook, places: u32, scores: &[(&str, f64)]) -> (Vec<String>, Vec<String>) {
    ranked_with(rules, places, scores, &[]).0
}

type Ranks = ((Vec<String>, Vec<String>), Option<Alert>);

fn ranked_with(rules: &Rulebook, places: u32, scores: &[(&str, f64)], unscored: &[&str]) -> Ranks {
    let mut rules = rules.clone();
    rules.challenge.funded_per_class.value = places;
    let names: Vec<TraderId> =
        scores.iter().map(|(name, _)| trader(name.trim_end_matches(['*', '+']))).collect();
    let absent: Vec<TraderId> = unscored.iter().map(|name| trader(name)).collect();
    let mut contest = Contest { ranked: [AssetClass::Crypto].into(), ..Contest::default() };
    for ((name, _), id) in scores.iter().zip(&names) {
        contest.classes.insert(id, AssetClass::Crypto);
        if name.ends_with('*') {
            contest.funded.insert(id);
        } else if name.ends_with('+') {
            contest.eligible.insert(id);
        }
    }
    for id in &absent {
        contest.classes.insert(id, AssetClass::Crypto);
        contest.funded.insert(id);
    }
    let class: BTreeMap<&TraderId, f64> =
        names.iter().zip(scores).map(|(id, (_, score))| (id, *score)).collect();
    let scores: ScoresByClass<'_> = [(AssetClass::Crypto, class)].into();
    let verdicts = rank(&rules.challenge, &rules.switches, &contest, &scores);
    let list = |set: BTreeSet<&TraderId>| set.iter().map(ToString::to_string).collect();
    ((list(verdicts.promote), list(verdicts.demote)), verdicts.alert)
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

#[test]
fn c_50_the_first_are_funded_and_who_is_not_among_them_is_demoted() {
    let scores = [("a+", 0.4), ("b*", 0.3), ("c*", 0.2), ("d+", 0.1)];
    assert_eq!(ranked(&vanta(), 2, &scores), (names(&["a"]), names(&["c"])));
    assert_eq!(ranked(&vanta(), 3, &scores), (names(&["a"]), vec![]));
    assert_eq!(ranked(&vanta(), 4, &scores), (names(&["a", "d"]), vec![]));
}

#[test]
fn c_50_zero_keeps_a_place_that_is_held_but_wins_none() {
    let scores = [("a*", 0.5), ("b*", 0.0), ("c+", 0.0)];
    assert_eq!(ranked(&vanta(), 25, &scores), (vec![], vec![]));
    assert_eq!(ranked(&parity(), 25, &scores), (names(&["c"]), vec![]));
    assert_eq!(ranked(&vanta(), 1, &scores), (vec![], names(&["b"])), "no place is left");
    let fallen = [("a*", 0.5), ("b*", -0.1)];
    assert_eq!(ranked(&vanta(), 25, &fallen), (vec![], names(&["b"])));
    assert_eq!(ranked(&parity(), 25, &fallen), (vec![], names(&["b"])));
}

#[test]
fn c_51_who_cannot_be_promoted_takes_no_place() {
    let scores = [("new", 0.6), ("a+", 0.3), ("b*", 0.1)];
    assert_eq!(ranked(&vanta(), 2, &scores), (names(&["a"]), vec![]));
    assert_eq!(ranked(&parity(), 2, &scores), (names(&["a"]), names(&["b"])));
}

#[test]
fn c_52_a_funded_trader_without_a_score_stays() {
    let mut scores: Vec<(String, f64)> = (0..18).map(|n| (format!("t{n:02}*"), 0.1)).collect();
    scores.push(("z+".into(), 0.05));
    let scores: Vec<(&str, f64)> = scores.iter().map(|(name, s)| (name.as_str(), *s)).collect();
    let (moves, alert) = ranked_with(&vanta(), 25, &scores, &["lost"]);
    assert_eq!((moves, alert), ((names(&["z"]), vec![]), None));
    let (moves, _) = ranked_with(&parity(), 25, &scores, &["lost"]);
    assert_eq!(moves.1, names(&["lost"]), "the reference demotes who has no score");
}

#[test]
fn c_53_x_27_with_too_few_scores_nobody_is_demoted() {
    let scores = [("a*", 0.5), ("b*", 0.2), ("c*", 0.1), ("d+", 0.3)];
    let demoted = |unscored: &[&str]| {
        let ((promote, demote), alert) = ranked_with(&vanta(), 2, &scores, unscored);
        assert_eq!(promote, names(&["d"]), "promotion rests on scores that are there");
        (demote, alert)
    };
    assert_eq!(demoted(&[]), (names(&["b", "c"]), None));
    let alert = Alert::Coverage { scored: 3, funded: 4 };
    assert_eq!(demoted(&["lost"]), (vec![], Some(alert)));
    // The reference's end of everything: no score at all.
    let (moves, alert) = ranked_with(&vanta(), 25, &[], &["a", "b", "c"]);
    assert_eq!(moves, (vec![], vec![]));
    assert_eq!(alert, Some(Alert::Coverage { scored: 0, funded: 3 }));
    assert_eq!(ranked_with(&parity(), 25, &[], &["a", "b", "c"]).0.1, names(&["a", "b", "c"]));
}

#[test]
fn c_54_equal_scores_are_ranked_by_trader() {
    let scores = [("d+", 0.2), ("b+", 0.2), ("c*", 0.2), ("a*", 0.1)];
    assert_eq!(ranked(&vanta(), 1, &scores), (names(&["b"]), names(&["a", "c"])));
    assert_eq!(ranked(&vanta(), 2, &scores), (names(&["b"]), names(&["a"])));
}

/// A trader of the picture.
struct Person {
    id: TraderId,
    standing: Option<Standing>,
    first_order: Option<i64>,
    registered: bool,
    ended: bool,
}

fn person(name: &str, standing: Option<(Stage, i64)>) -> Person {
    let standing = standing.map(|(stage, since)| Standing::new(stage, UtcMs(since)));
    Person { id: trader(name), standing, first_order: None, registered: true, ended: false }
}

/// Plans for `people`, and carries out what the plan says about stages on copies of them.
fn planned(
    rules: &Rulebook,
    roster: Belief,
    plagiarism: &Findings,
    people: &mut [Person],
) -> Vec<String> {
    people.sort_by(|a, b| a.id.cmp(&b.id));
    let (said, moves) = {
        let input = RefreshInput {
            at: NOW,
            roster,
            traders: people.iter().map(|person| entry_of(rules, person)).collect(),
            plagiarism: plagiarism.clone(),
            scores_due: true,
        };
        let plan = plan(rules, &input);
        (describe(&plan), moves(&plan, &input))
    };
    for (name, to) in moves {
        let person = people.iter_mut().find(|person| person.id == name).expect("in the picture");
        person.standing = to;
    }
    said
}

/// Lends the rulebook for as long as the person is borrowed.
fn entry_of<'a>(rules: &'a Rulebook, person: &'a Person) -> Entry<'a> {
    Entry {
        trader: &person.id,
        registered: person.registered,
        ended: person.ended,
        standing: person.standing,
        first_order: person.first_order.map(UtcMs),
        ledgers: Ledgers::default(),
        foreign_ledgers: false,
        closed: Closed::Scored(Vec::new()),
        account_size: None,
        class: Some(AssetClass::Crypto),
        rules,
    }
}

fn describe(plan: &RefreshPlan<'_>) -> Vec<String> {
    let mut said = Vec::new();
    let mut tell = |what: &str, traders: &[&TraderId]| {
        said.extend(traders.iter().map(|trader| format!("{what} {trader}")));
    };
    tell("review", &plan.review);
    tell("restore", &plan.restore);
    tell("promote", &plan.promote);
    tell("demote", &plan.demote);
    tell("prune", &plan.prune);
    said.extend(plan.admit.iter().map(|(t, since)| format!("admit {t} {}", since.0 - NOW.0)));
    said.extend(
        plan.restart_clock.iter().map(|(t, since)| format!("clock {t} {}", since.0 - NOW.0)),
    );
    said.extend(plan.eliminate.iter().map(|(t, verdict)| format!("end {t} {}", verdict.reason)));
    said.extend(plan.alerts.iter().map(|alert| format!("alert {alert}")));
    said
}

/// Returns where the plan leads everybody that it moves.
fn moves(plan: &RefreshPlan<'_>, input: &RefreshInput<'_>) -> Vec<(TraderId, Option<Standing>)> {
    let now = |t: &TraderId| {
        input.traders.iter().find(|e| e.trader == t).and_then(|entry| entry.standing)
    };
    let mut to = BTreeMap::new();
    for &t in &plan.review {
        to.insert(t, now(t).map(|s| s.reviewed(NOW)));
    }
    for &t in &plan.restore {
        to.insert(t, now(t).and_then(Standing::restored));
    }
    for (t, since) in plan.admit.iter().chain(&plan.restart_clock) {
        to.insert(t, Some(Standing::new(Stage::Challenge, *since)));
    }
    for t in plan.eliminate.iter().map(|(t, _)| *t).chain(plan.prune.iter().copied()) {
        to.insert(t, None);
    }
    to.into_iter().map(|(t, standing)| (t.clone(), standing)).collect()
}

#[test]
fn c_23_c_24_who_is_registered_is_admitted_and_the_clock_follows_the_first_order() {
    let now = NOW.0;
    let mut people = [
        person("new", None),
        Person { first_order: Some(now - 5), ..person("trading", None) },
        Person { ended: true, ..person("ended", None) },
        Person { registered: false, ..person("stranger", None) },
        Person { first_order: Some(now - 7), ..person("moved", Some((Stage::Challenge, now - 9))) },
        Person { first_order: Some(now - 7), ..person("funded", Some((Stage::Funded, now - 9))) },
        person("waiting", Some((Stage::Challenge, now - 9))),
    ];
    let said = planned(&vanta(), Belief::Believed, &Findings::default(), &mut people);
    let coverage = "alert 0 of 1 funded traders could be scored: nobody is demoted";
    assert_eq!(said, ["admit new 0", "admit trading -5", "clock moved -7", coverage]);
}

#[test]
fn c_35_the_time_limit_ends_a_stage_before_anything_else_is_asked() {
    let day = |days: i64, ms: i64| NOW.0 - days * DAY_MS + ms;
    let mut people = vec![
        person("a", Some((Stage::Challenge, day(90, 0)))),
        person("b", Some((Stage::Challenge, day(90, 1)))),
        person("c", Some((Stage::Probation, day(60, 0)))),
        person("d", Some((Stage::Probation, day(60, 1)))),
        person("e", Some((Stage::Funded, 0))),
        Person {
            standing: Some(Standing::new(Stage::Challenge, UtcMs(0)).reviewed(UtcMs(1))),
            ..person("f", None)
        },
    ];
    let said = |rules: &Rulebook, people: &mut [Person]| {
        let mut said = planned(rules, Belief::Believed, &Findings::default(), people);
        said.retain(|line| line.starts_with("end"));
        said
    };
    let time = |who: &str| format!("end {who} FAILED_CHALLENGE_PERIOD_TIME");
    assert_eq!(
        said(&parity(), &mut people),
        Vec::<String>::new(),
        "the reference's limit is past it"
    );
    assert_eq!(said(&vanta(), &mut people), [time("a"), time("c")]);
    // whoever was decided on is the one in the picture; the funded have no time limit.
    assert_eq!(said(&vanta(), &mut people), Vec::<String>::new(), "done twice is done once");
}

#[test]
fn c_43_c_44_suspects_come_under_review_the_cleared_return_and_the_overdue_end() {
    let list = |names: &[&str]| names.iter().map(|name| trader(name)).collect::<Vec<_>>();
    let reviewed = |since| Some(Standing::new(Stage::Probation, UtcMs(since)).reviewed(NOW));
    let mut people = vec![
        person("copycat", Some((Stage::Challenge, NOW.0 - 5))),
        Person { standing: reviewed(NOW.0 - 9), ..person("honest", None) },
        Person { standing: reviewed(NOW.0 - 61 * DAY_MS), ..person("late", None) },
        person("old", Some((Stage::Challenge, NOW.0 - 5))),
        Person { standing: reviewed(NOW.0 - 9), ..person("overdue", None) },
        Person { ended: true, ..person("gone", None) },
    ];
    let findings = Findings {
        new: list(&["copycat", "gone", "old", "unheard-of"]),
        cleared: list(&["honest", "late"]),
        overdue: list(&["gone", "old", "overdue", "unheard-of"]),
    };
    let said = planned(&vanta(), Belief::Believed, &findings, &mut people);
    let expected = [
        "review copycat",
        "review old",
        "restore honest",
        "restore late",
        // The clock that was given back had run out meanwhile (C-45).
        "end late FAILED_CHALLENGE_PERIOD_TIME",
        "end old PLAGIARISM",
        "end overdue PLAGIARISM",
    ];
    assert_eq!(said, expected);
}

#[test]
fn c_56_x_16_nobody_is_pruned_by_a_roster_that_is_unknown_or_held() {
    let people = || {
        [
            Person { registered: false, ..person("away", Some((Stage::Challenge, NOW.0))) },
            person("here", Some((Stage::Challenge, NOW.0))),
            person("new", None),
        ]
    };
    let said = |roster| planned(&vanta(), roster, &Findings::default(), &mut people());
    assert_eq!(said(Belief::Believed), ["prune away", "admit new 0"]);
    assert_eq!(
        said(Belief::Held),
        ["admit new 0", "alert a roster that lacks many traders is held: nobody leaves a stage"]
    );
    assert_eq!(said(Belief::Unknown), ["alert no roster has arrived: nobody is admitted"]);
}

#[test]
fn c_22_who_has_ended_leaves_the_stage_whatever_else_is_said() {
    let mut people = [Person { ended: true, ..person("a", Some((Stage::Challenge, 0))) }];
    let said = planned(&vanta(), Belief::Held, &Findings::default(), &mut people);
    assert!(said.contains(&"prune a".to_owned()), "{said:?}");
}

#[test]
fn c_30_without_candidates_the_funded_are_ranked_all_the_same() {
    let ranks = |rules: &Rulebook| {
        let mut people =
            [person("a", Some((Stage::Funded, 0))), person("b", Some((Stage::Funded, 0)))];
        planned(rules, Belief::Believed, &Findings::default(), &mut people)
    };
    assert_eq!(ranks(&parity()), Vec::<String>::new(), "the reference looks at nobody then");
    let mut unscored_demoted = vanta();
    unscored_demoted.switches.unscored = crate::rulebook::Unscored::Demoted;
    assert_eq!(ranks(&unscored_demoted), ["demote a", "demote b"]);
}

#[test]
fn a_verdict_that_is_no_loss_has_no_drawdown() {
    let people = [person("a", Some((Stage::Challenge, 0)))];
    let rules = vanta();
    let input = RefreshInput {
        at: NOW,
        roster: Belief::Believed,
        traders: people.iter().map(|person| entry_of(&rules, person)).collect(),
        plagiarism: Findings::default(),
        scores_due: true,
    };
    let expected = Verdict { reason: Reason::FailedChallengePeriodTime, drawdown: None };
    assert_eq!(plan(&rules, &input).eliminate, [(&trader("a"), expected)]);
}
