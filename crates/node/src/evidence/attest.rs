//! What others decided about an account: found in the whole log, and held against itself in a file.
//!
//! A rank is relative to others, and a command of several rows is judged by all whom it names. An
//! extract cannot show that, so the file states it. What is stated decides the verdict together with
//! what is shown, and the verdict is held to the state digest: a false statement that would change the
//! verdict gives one that the digest does not cover. See docs/evidence.md, section 6.

use std::sync::Arc;

use proctor_commit_log::{Reader, Storage};
use proctor_engine::Engine;
use proctor_engine::account::Account;
use proctor_engine::challenge_period::Stage;
use proctor_engine::engine::{Attested, Fact, attested_by};
use proctor_engine::rulebook::{Rulebook, Slots};
use proctor_sequencer::{Replay, ReplayError};
use proctor_types::TraderId;
use proctor_wire::log_path::{Placing, Ranking, Testimony};
use serde_json::{Value, json};

/// Folds the whole log in `storage` up to commit `upto`; returns what others decided about `trader`.
///
/// # Errors
/// [`ReplayError`] when the log cannot be folded.
pub(super) fn from_log(
    storage: &Arc<dyn Storage>,
    trader: &TraderId,
    upto: u64,
) -> Result<Vec<Testimony>, ReplayError> {
    let mut fold = Replay::from_the_first(Reader::open(Arc::clone(storage))?.until(upto));
    let mut testimonies = Vec::new();
    while let Some((commit, outcome)) = fold.step()? {
        for attested in attested_by(trader, &commit, &outcome) {
            let by_rank = matches!(attested.fact, Fact::Promoted | Fact::Demoted);
            let ranking = if by_rank { ranking(fold.engine(), trader) } else { None };
            testimonies.push(Testimony { attested, ranking });
        }
    }
    Ok(testimonies)
}

/// Returns the last ranking of the trader's class.
fn ranking(engine: &Engine, trader: &TraderId) -> Option<Ranking> {
    let class = engine.account(trader)?.terms.asset_class?;
    let view = engine.view();
    let ranked = view.challenge.ranking.as_ref()?;
    let scores = &ranked.classes.iter().find(|ranked| ranked.class == class)?.scores;
    let is_funded = |account: &Account| {
        let ended = account.elimination.as_ref().filter(|r| r.stamp.commit == view.stamp.commit);
        let standing = account.standing.or(ended.and_then(|record| record.standing));
        standing.is_some_and(|standing| standing.stage == Stage::Funded)
    };
    let mut places: Vec<Placing> = scores
        .iter()
        .map(|(trader, score)| Placing {
            trader: trader.clone(),
            score: *score,
            funded: view.account(trader).is_some_and(is_funded),
        })
        .collect();
    places.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.trader.cmp(&b.trader)));
    Some(Ranking { class, places })
}

/// Checks that a stated ranking says what is stated of the trader's rank.
///
/// # Errors
/// What contradicts what, in words.
pub(super) fn check(
    trader: &TraderId,
    testimony: &Testimony,
    rules: &Rulebook,
) -> Result<(), String> {
    let Testimony { attested: Attested { commit, fact, .. }, ranking } = testimony;
    let Some(ranking) = ranking else { return Ok(()) };
    let refuse = |what: &str| Err(format!("the ranking stated of commit {commit} {what}"));
    let sorted = ranking.places.is_sorted_by(|a, b| {
        a.score.total_cmp(&b.score).reverse().then_with(|| a.trader.cmp(&b.trader)).is_lt()
    });
    if !sorted {
        return refuse("is not in the order of its scores");
    }
    let Some(own) = ranking.places.iter().position(|place| place.trader == *trader) else {
        return match fact {
            Fact::Promoted => refuse(&format!("does not name {trader}, who was promoted by it")),
            Fact::Demoted | Fact::CarriedOut | Fact::Absent => Ok(()),
        };
    };
    // Who cannot hold a place does not take one from others.
    let all = rules.switches.slots == Slots::AllRanked;
    let ahead = ranking.places[..own].iter().filter(|place| all || place.funded).count();
    let places = usize::try_from(rules.challenge.funded_per_class.value).unwrap_or(usize::MAX);
    let score = ranking.places[own].score;
    match fact {
        Fact::Promoted if ahead >= places => {
            refuse(&format!("has {ahead} ahead of {trader} for {places} places: no promotion"))
        }
        Fact::Demoted if ahead < places && score > 0.0 => {
            refuse(&format!("has {ahead} ahead of {trader} for {places} places: no demotion"))
        }
        Fact::Promoted | Fact::Demoted | Fact::CarriedOut | Fact::Absent => Ok(()),
    }
}

/// Returns what is stated, a sentence each.
pub(super) fn in_words(trader: &TraderId, testimonies: &[Testimony]) -> Vec<String> {
    if testimonies.is_empty() {
        return vec![format!(
            "no rank, no command judged by others as well and no absence changed {trader}"
        )];
    }
    testimonies.iter().map(|testimony| sentence(trader, testimony)).collect()
}

fn sentence(trader: &TraderId, testimony: &Testimony) -> String {
    let Attested { commit, input, fact } = testimony.attested;
    let ranked = testimony.ranking.as_ref().map_or_else(String::new, |ranking| {
        let of = ranking.places.len();
        match ranking.places.iter().position(|place| place.trader == *trader) {
            Some(own) => format!(
                ", {} of {of} in {} with score {}",
                own + 1,
                ranking.class,
                ranking.places[own].score
            ),
            None => format!(", without a score among {of} in {}", ranking.class),
        }
    });
    match fact {
        Fact::Promoted => format!("{trader} was promoted by rank at commit {commit}{ranked}"),
        Fact::Demoted => format!("{trader} was demoted by rank at commit {commit}{ranked}"),
        Fact::CarriedOut => {
            let place = input.unwrap_or_default();
            format!("input {place} of commit {commit}, judged by several accounts, was carried out")
        }
        Fact::Absent => format!(
            "at commit {commit} not so many traders were missing that ending accounts was held"
        ),
    }
}

/// Returns a row of the file: what is stated, and with which scores.
pub(super) fn row(trader: &TraderId, testimony: &Testimony) -> Value {
    let places = testimony.ranking.iter().flat_map(|ranking| &ranking.places);
    let places = places.map(|place| json!([place.trader.to_string(), place.score, place.funded]));
    json!({
        "commit": testimony.attested.commit,
        "fact": sentence(trader, testimony),
        "class": testimony.ranking.as_ref().map(|ranking| ranking.class.to_string()),
        "places": places.collect::<Vec<_>>(),
    })
}
