//! Where closed positions are kept changes no answer.

use std::sync::atomic::Ordering;

use super::*;
use crate::positions::closed::tests::Room;

const ROUNDS: i64 = 150;
/// Longer than the cooldown between two orders.
const PAUSE_MS: i64 = 30_000;
/// For how long closed positions are kept: 120 days.
const WINDOW_MS: i64 = 120 * 86_400_000;

/// Two traders who open and close a position in every round.
fn story() -> String {
    let mut story =
        String::from("0 roster 1 alice bob\n0 class alice crypto\n0 class bob crypto\n");
    for round in 0..ROUNDS {
        let at = round * 2 * PAUSE_MS;
        for (half, side) in [(0, "LONG"), (1, "FLAT")] {
            let (at, price) = (at + half * PAUSE_MS, 100 + (round * 7 + half * 3) % 11);
            story += &format!("{at} price BTCUSD {price}\n");
            for who in ["alice", "bob"] {
                story += &format!("{at} order {who} o{round}{half} BTCUSD {side} 0.1\n");
            }
        }
    }
    // When half of them have left the window, in the middle of a page.
    story += &format!("{} tick\n", WINDOW_MS + ROUNDS * PAUSE_MS);
    story
}

fn saved(engine: &Engine) -> Vec<u8> {
    let mut bytes = Vec::new();
    engine.save(&mut bytes).expect("finite");
    bytes
}

#[test]
fn closed_positions_on_a_shelf_change_no_digest_and_no_byte_of_the_state() {
    let (mut plain, mut shelved, mut full) = (World::new(), World::new(), World::new());
    let room = Arc::new(Room { left: 1_000.into(), ..Room::default() });
    let narrow = Arc::new(Room { left: 3.into(), ..Room::default() });
    shelved.engine.set_shelf(Arc::clone(&room) as Arc<dyn Shelf>);
    full.engine.set_shelf(Arc::clone(&narrow) as Arc<dyn Shelf>);
    let mut kept_most = 0;
    for (number, line) in story().lines().enumerate() {
        let (at, input) = parsed(line);
        let answers = plain.commit(at, vec![input.clone()]);
        assert!(answers.iter().all(Result::is_ok), "{line}: {answers:?}");
        for other in [&mut shelved, &mut full] {
            assert_eq!(other.commit(at, vec![input.clone()]), answers);
            assert_eq!(other.engine.digest(), plain.engine.digest(), "{line}");
        }
        if number % 200 == 199 {
            assert_eq!(saved(&shelved.engine), saved(&plain.engine));
            assert_eq!(saved(&full.engine), saved(&plain.engine));
            // One that is loaded packs anew, from where it was saved on.
            let mut loaded = Engine::load(&saved(&plain.engine)).expect("its own bytes");
            loaded.set_shelf(Arc::clone(&room) as Arc<dyn Shelf>);
            shelved.engine = loaded;
        }
        if let Some(alice) = plain.engine.view().account(&trader("alice")) {
            let kept = alice.book.pairs().first().map_or(0, |book| book.closed().len());
            kept_most = kept_most.max(kept);
        }
    }
    assert_eq!(saved(&shelved.engine), saved(&plain.engine));
    assert_eq!(i64::try_from(kept_most).ok(), Some(ROUNDS));
    assert!(room.left.load(Ordering::Relaxed) < 990, "pages were put there");
    assert_eq!(narrow.left.load(Ordering::Relaxed), 0, "it was full");
    assert!(room.reads.load(Ordering::Relaxed) > 0, "a save reads them");
    let alice = shelved.account("alice");
    let left = alice.book.pairs()[0].closed().len();
    assert_eq!(i64::try_from(left).ok(), Some(ROUNDS / 2));
}
