//! The fixes of an older ratchet, each as the interleaving that once broke it.
//!
//! Its log tells of six fixes to a rekey manager and of those that followed. Here each story is
//! played again; what made it possible does not exist, and the test says what happens instead.
//! (The fourth of its entries changed nothing; the story it exposed is the fifth.)

use super::mutant::Mutant;
use super::pair::{Pair, unhurried};
use crate::crypto::Crypto;
use crate::crypto::symbolic::Symbolic;
use crate::frame::Frame;
use crate::key_schedule::Mode;
use crate::limit::Moment;
use crate::reason::{Reason, Violation};
use crate::rekey::{Rekey, State};
use crate::session::{Event, Freshness, Life, Progress, Session, Status};

fn rekey(end: &mut Session<Symbolic>) -> &mut Rekey<Symbolic> {
    end.rekey.as_mut().unwrap()
}

/// Takes everything that an end has to send.
fn flush(end: &mut Session<Symbolic>) -> Vec<u8> {
    let mut out = Vec::new();
    end.poll_transmit(Moment(0), &mut out, usize::MAX);
    out
}

fn feed(end: &mut Session<Symbolic>, mut bytes: Vec<u8>) -> Result<usize, Reason> {
    end.input(Moment(0), &mut bytes)
}

/// Both ends have proposed epoch 1; returns the two INITs under way.
fn crossing() -> ([Session<Symbolic>; 2], [Vec<u8>; 2]) {
    let mut pair = Pair::new(Mode::Throughput, 0);
    for end in &mut pair.ends {
        end.request_rekey(Freshness::Any).unwrap();
    }
    let [mut low, mut high] = pair.ends;
    let inits = [flush(&mut low), flush(&mut high)];
    ([low, high], inits)
}

/// Fix 1: the round was over before the one who asked had registered for its completion.
#[test]
fn fix_1_and_t05_a_round_that_is_over_before_anybody_waits_for_it_is_still_seen() {
    let mut pair = Pair::new(Mode::Throughput, 0);
    let ticket = pair.ends[0].request_rekey(Freshness::Any).unwrap();
    pair.settle();
    // Nobody looked until now; two observers look late, one more than once.
    for _ in 0..3 {
        assert_eq!(pair.ends[0].progress(ticket), Progress::Done);
        assert_eq!(pair.ends[1].status().epoch, 1);
    }
    // Later rounds do not take the answer back, nor does the end of the session.
    pair.ends[1].request_rekey(Freshness::Fresh).unwrap();
    pair.settle();
    pair.ends[0].close(Moment(0), 0);
    pair.settle();
    assert_eq!(pair.ends[0].progress(ticket), Progress::Done);
}

/// Fix 2: a cancelled branch took protocol work with it. There is none outside the session: who
/// stops asking after the request changes nothing.
#[test]
fn fix_2_a_caller_that_goes_away_cancels_nothing() {
    let mut pair = Pair::new(Mode::Throughput, 5);
    let _ = pair.ends[0].request_rekey(Freshness::Any).unwrap();
    // No one polls the caller's side of anything from here on; the pair only moves bytes.
    pair.reads = [false; 2];
    pair.run(20);
    assert_eq!(pair.epochs(), [1, 1]);
}

/// Fix 3: the end of one connection looked for another that was gone, and panicked. Every call is
/// answered in every state after the end, in any order.
#[test]
fn fix_3_nothing_panics_after_the_end_whatever_is_called() {
    let mut pair = Pair::new(Mode::Throughput, 0);
    pair.ends[0].close(Moment(0), 0);
    pair.settle();
    pair.ends[1].end_of_input(Moment(1));
    for end in &mut pair.ends {
        let Status { life, .. } = end.status();
        assert_eq!(life, Life::Closed);
        assert!(flush(end).is_empty());
        assert_eq!(feed(end, vec![1; 100]), Ok(100));
        assert!(end.send(vec![1]).is_err() && end.request_rekey(Freshness::Any).is_err());
        end.close(Moment(2), 0);
        end.consume(1000);
        end.on_deadline(Moment(u64::MAX));
        end.end_of_input(Moment(u64::MAX));
        assert_eq!(end.poll_deadline(), None);
        assert_eq!(end.status().life, Life::Closed);
    }
}

/// Fix 5: the winner received the loser's superseded proposal after the round had moved on, and
/// waited for ever. The pipe delivers it before the answer, in the one state that expects it.
#[test]
fn fix_5_the_superseded_proposal_arrives_before_the_answer_and_is_expected() {
    let ([mut low, mut high], [from_low, from_high]) = crossing();
    feed(&mut high, from_low).unwrap();
    let resp = flush(&mut high);
    // The order of the pipe: High's own INIT, then its RESP.
    feed(&mut low, from_high).unwrap();
    assert!(matches!(rekey(&mut low).state, State::AwaitResp { crossed: true, .. }));
    feed(&mut low, resp).unwrap();
    feed(&mut high, flush(&mut low)).unwrap();
    assert_eq!([low.status().epoch, high.status().epoch], [1, 1]);
    // Should a pipe break its order, the record does not open: an end with a reason, no wait.
    let ([mut low, mut high], [from_low, from_high]) = crossing();
    feed(&mut high, from_low).unwrap();
    let resp = flush(&mut high);
    assert_eq!(feed(&mut low, resp), Err(Reason::OpenFailed { epoch: 0, seq: 0 }));
    assert_eq!(feed(&mut low, from_high), Err(Reason::OpenFailed { epoch: 0, seq: 0 }));
}

/// Fix 6: the loser kept what it had made for its superseded proposal and used it for the next
/// one, which the idle winner took for stale. The secret is gone with the state that owned it.
#[test]
fn fix_6_what_was_made_for_a_superseded_proposal_is_gone_and_the_next_round_is_answered() {
    let ([mut low, mut high], [from_low, from_high]) = crossing();
    feed(&mut high, from_low).unwrap();
    assert!(matches!(rekey(&mut high).state, State::AwaitFin { .. }), "its own secret is gone");
    feed(&mut low, from_high).unwrap();
    feed(&mut low, flush(&mut high)).unwrap();
    feed(&mut high, flush(&mut low)).unwrap();
    // Both are idle. The former loser asks; the former winner must answer.
    let ticket = high.request_rekey(Freshness::Fresh).unwrap();
    feed(&mut low, flush(&mut high)).unwrap();
    assert!(matches!(rekey(&mut low).state, State::AwaitFin { .. }));
    feed(&mut high, flush(&mut low)).unwrap();
    feed(&mut low, flush(&mut high)).unwrap();
    assert_eq!(high.progress(ticket), Progress::Done);
    assert_eq!(low.status().epoch, 2);
}

/// Fix 7: a late answer at the winner. An answer to nothing is not skipped, it ends the session.
#[test]
fn fix_7_an_answer_to_nothing_is_fatal_and_not_skipped() {
    let mut pair = Pair::new(Mode::Throughput, 0);
    pair.ends[0].request_rekey(Freshness::Any).unwrap();
    pair.settle();
    let [mut low, mut high] = pair.ends;
    let mut forged = Vec::new();
    let fields = crate::frame::Resp {
        epoch: 1,
        answer: &[0; Symbolic::ANSWER_BYTES],
        confirm: [0; 32],
        signature: &[0; Symbolic::SIGNATURE_BYTES],
    };
    rekey(&mut high).send.seal(&mut forged, |out| Frame::Resp(fields).encode(out));
    assert_eq!(feed(&mut low, forged), Err(Violation::UnexpectedResp(1).into()));
}

/// The double loser: both had answered the other's proposal, with different keys, and both skipped
/// the other's answer. The tie is decided by the state alone, so exactly one answers.
#[test]
fn the_double_loser_of_two_crossing_proposals_exactly_one_is_answered() {
    let ([mut low, mut high], [from_low, from_high]) = crossing();
    // Both proposals arrive before either end has sent anything else.
    feed(&mut low, from_high).unwrap();
    feed(&mut high, from_low).unwrap();
    assert!(matches!(rekey(&mut low).state, State::AwaitResp { .. }));
    assert!(matches!(rekey(&mut high).state, State::AwaitFin { .. }));
    assert!(flush(&mut low).is_empty());
}

/// The torn snapshot, which the older ratchet still has: a proposal made of two moments. It stalls
/// as a mutant; the session makes a proposal from its one state at the moment it is sealed.
#[test]
fn d1_a_request_that_waits_while_a_round_completes_proposes_the_epoch_after_it_or_nothing() {
    let play = |mutant: Option<Mutant>| {
        let mut pair = Pair::with(super::pair::terms(Mode::Throughput), &unhurried(), 0);
        for end in &mut pair.ends {
            rekey(end).mutation.mutant = mutant;
        }
        let [mut low, mut high] = pair.ends;
        high.request_rekey(Freshness::Any).unwrap();
        let init = flush(&mut high);
        // Low asks now, and gets to send only after the round of High.
        let ticket = low.request_rekey(Freshness::Any).unwrap();
        feed(&mut low, init).unwrap();
        feed(&mut high, flush(&mut low)).unwrap();
        feed(&mut low, flush(&mut high)).unwrap();
        feed(&mut high, flush(&mut low)).unwrap();
        feed(&mut low, flush(&mut high)).unwrap();
        (low.progress(ticket), low.status().rekeying)
    };
    assert_eq!(play(None), (Progress::Done, false));
    let (_, still_waits) = play(Some(Mutant::TornSnapshot));
    assert!(still_waits, "the old interleaving is really played");
}

/// Fast rounds do not hide the end: the newest epoch stands for those before it.
#[test]
fn events_that_nobody_took_are_summed_up_and_not_lost() {
    let mut pair = Pair::new(Mode::Throughput, 0);
    for _ in 0..10 {
        pair.ends[0].request_rekey(Freshness::Fresh).unwrap();
        pair.reads = [false; 2];
        pair.settle();
    }
    assert_eq!(pair.ends[0].poll_event(), Some(Event::Epoch(10)));
    assert_eq!(pair.ends[0].poll_event(), None);
}
