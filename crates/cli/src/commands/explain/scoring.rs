//! How the account scores, in plain words.

use proctor_node::explain::{ClassStory, PenaltyStory, Scoring};
use proctor_node::report::{count, usd};

use crate::commands::text::{entry, plural, title, wrapped};

/// Adds the section on scoring.
pub(super) fn scoring(page: &mut String, scoring: &Scoring) {
    title(page, "SCORING as of the end of the log (it decides nothing by itself)");
    let days = plural(usize::try_from(scoring.complete_days).unwrap_or(0), "day", "days");
    entry(page, 2, "complete", &format!("{days} with both half-days covered"));
    let fall = format!("{:.4} % by complete days", scoring.daily_drawdown_percent);
    entry(page, 2, "deepest fall", &fall);
    let total = format!("{:.6}, {} USD", scoring.total_return, usd(scoring.pnl_usd));
    entry(page, 2, "return and profit", &total);
    match &scoring.penalties {
        Some(penalties) => penalty(page, penalties),
        None => entry(page, 2, "penalties", "none: there is no ledger"),
    }
    for class in &scoring.classes {
        class_section(page, class, scoring.field);
    }
    if let (Some(weight), Some(by_rank)) = (scoring.weight, scoring.rank_weight) {
        let text = format!(
            "{weight:.6} of the whole, {by_rank:.4e} by rank (the reference's, from before it paid \
             by debt; S-53, S-54)"
        );
        entry(page, 2, "weight", &text);
    }
}

fn penalty(page: &mut String, penalties: &PenaltyStory) {
    let PenaltyStory { drawdown, risk_profile, collateral, product } = penalties;
    let text = format!(
        "drawdown {drawdown} x risk profile {risk_profile:.6} x collateral {collateral} = \
         {product:.6}{}",
        if *product == 0.0 { ": excluded from every ranking" } else { "" },
    );
    entry(page, 2, "penalties", &text);
}

fn class_section(page: &mut String, class: &ClassStory, field: usize) {
    let too_few = if class.days < class.minimum_days { ", too few to judge risk by" } else { "" };
    let text = format!(
        "{} of {} that make a sample{too_few}",
        plural(usize::try_from(class.days).unwrap_or(0), "complete day", "complete days"),
        count(u64::from(class.minimum_days)),
    );
    entry(page, 2, &class.class, &text);
    let metrics: Vec<String> = class
        .metrics
        .iter()
        .map(|(name, value)| format!("{} {value:.6}", name.replace('_', " ")))
        .collect();
    wrapped(page, &" ".repeat(22), &metrics.join(", "));
    let volatility = class
        .volatility
        .map_or_else(|| "unknown".to_owned(), |volatility| format!("{:.4} %", volatility * 100.0));
    let returns = format!(
        "log return of a day {:+.8}, of a year compounded {:+.4} %, volatility {volatility}; \
         penalty for its risk {:.4} (not applied)",
        class.daily_return, class.yearly_percent, class.risk_adjusted_penalty
    );
    wrapped(page, &" ".repeat(22), &returns);
    let place = match &class.place {
        Some(place) => format!(
            "rank {} of {} by {}: score {:.6}, share {:.6}, inequality {}",
            place.rank,
            place.of,
            class.ranked_by.join(", "),
            place.score,
            place.share,
            place.competitiveness.map_or_else(|| "none".to_owned(), |gini| format!("{gini:.4}")),
        ),
        None if field < 2 => "not ranked: there is nobody to be ranked against".to_owned(),
        None => "not ranked: excluded, or no longer taking part".to_owned(),
    };
    wrapped(page, &" ".repeat(22), &place);
}
