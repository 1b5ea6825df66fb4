//! Data: in order, once, whatever the sizes, the modes, the pipe and the rounds in between.

use std::time::Duration;

use proctor_ratchet::{Agreed, Freshness, Mode};
use proctor_transport::Options;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::time::Instant;

use crate::lab::{
    Dice, distant, over, pair, pattern, read_pattern, small, unhurried, write_pattern,
};

#[tokio::test(start_paused = true)]
async fn t09_what_is_written_is_read_whatever_the_pieces_and_the_rounds() {
    for (piece, between) in [(1, 40), (17, 3), (1000, 1), (1023, 7), (64 << 10, 2)] {
        let (one, other) = pair(small(Mode::RecordFs), &unhurried()).await;
        let begun = Instant::now();
        let count = piece * 2_000_000_usize.div_ceil(piece).min(5_000);
        let control = one.control().clone();
        let (from_one, to_other) = one.into_split();
        let (from_other, to_one) = other.into_split();
        let writers = [write_pattern(to_other, count, piece), write_pattern(to_one, count, piece)];
        let readers =
            async { tokio::join!(read_pattern(from_one, count), read_pattern(from_other, count)) };
        let rounds = async {
            let mut rounds = 0;
            while rounds < between && control.request_rekey(Freshness::Fresh).done().await.is_ok() {
                rounds += 1;
            }
            rounds
        };
        let (_, rounds) = tokio::join!(readers, rounds);
        assert!(rounds > 0, "the data was faster than any round");
        for writer in writers {
            writer.await.unwrap();
        }
        assert!(control.status().epoch >= rounds);
        // Over a pipe without delay nobody waits for a timer: credit is returned when it is due.
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn t09_pieces_of_random_sizes_survive_random_rounds() {
    let mut dice = Dice(9);
    let (mut one, mut other) =
        distant(Duration::from_millis(3), small(Mode::Throughput), &unhurried()).await;
    let mut at = 0;
    for _ in 0..500 {
        let size = 1 + dice.roll(5_000) as usize;
        match dice.roll(8) {
            0 => drop(one.control().request_rekey(Freshness::Any)),
            1 => drop(other.control().request_rekey(Freshness::Fresh)),
            _ => {}
        }
        let expected = pattern(at, size);
        let (from, to) =
            if dice.roll(2) == 0 { (&mut one, &mut other) } else { (&mut other, &mut one) };
        let mut found = vec![0; size];
        let (written, read) = tokio::join!(from.write_all(&expected), to.read_exact(&mut found));
        written.unwrap();
        read.unwrap();
        assert_eq!(expected, found);
        at += size;
    }
}

#[tokio::test(start_paused = true)]
async fn t12_a_pipe_of_one_byte_is_a_pipe() {
    let (near, far) = duplex(1);
    let (mut one, mut other) = over(near, far, small(Mode::RecordFs), &unhurried()).await;
    let epoch = one.control().request_rekey(Freshness::Any);
    one.write_all(&pattern(0, 3_000)).await.unwrap();
    let mut found = vec![0; 3_000];
    other.read_exact(&mut found).await.unwrap();
    assert_eq!(found, pattern(0, 3_000));
    assert_eq!(epoch.done().await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn t10_requests_and_answers_work_in_every_mode() {
    for mode in [Mode::Throughput, Mode::RecordFs, Mode::FreshEpoch] {
        // Each asks and answers in turns (U5), then all at once (U7).
        for turns in [true, false] {
            let agreed = Agreed { mode, ..Agreed::default() };
            let (one, other) = distant(Duration::from_millis(1), agreed, &unhurried()).await;
            let play = |mut stream: proctor_transport::SecureStream| async move {
                let mut message = [0; 100];
                for number in 0..100_u8 {
                    stream.write_all(&[number; 100]).await.unwrap();
                    stream.flush().await.unwrap();
                    if turns {
                        stream.read_exact(&mut message).await.unwrap();
                        assert_eq!(message, [number; 100]);
                    }
                }
                if !turns {
                    for number in 0..100_u8 {
                        stream.read_exact(&mut message).await.unwrap();
                        assert_eq!(message, [number; 100]);
                    }
                }
                stream
            };
            let (one, other) = tokio::join!(play(one), play(other));
            let epoch = one.status().epoch;
            assert!(epoch.abs_diff(other.status().epoch) <= 1);
            // Each message had an epoch of its own where that was agreed.
            assert_eq!(mode == Mode::FreshEpoch, epoch >= 99, "{mode:?}: {epoch} epochs");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_direction_that_is_shut_down_leaves_the_other_open() {
    let (mut one, mut other) = pair(Agreed::default(), &Options::default()).await;
    one.write_all(b"a question").await.unwrap();
    one.shutdown().await.unwrap();
    let mut question = Vec::new();
    other.read_to_end(&mut question).await.unwrap();
    assert_eq!(question, b"a question");
    // Rounds go on, and so does the other direction.
    assert_eq!(other.rekey().await, Ok(1));
    let answer = pattern(0, 3 << 20);
    let writer = write_pattern(other, answer.len(), 100_000);
    let mut found = Vec::new();
    one.read_to_end(&mut found).await.unwrap();
    assert!(found == answer);
    writer.await.unwrap();
    let error = one.write_all(b"more").await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
}

#[tokio::test(start_paused = true)]
async fn flushing_waits_until_all_is_on_its_way_and_shutting_down_twice_is_once() {
    let (mut one, mut other) = pair(small(Mode::RecordFs), &Options::default()).await;
    one.write_all(&pattern(0, 10_000)).await.unwrap();
    one.flush().await.unwrap();
    assert_eq!(one.status().unsent, 0);
    one.shutdown().await.unwrap();
    one.shutdown().await.unwrap();
    let mut found = Vec::new();
    other.read_to_end(&mut found).await.unwrap();
    assert_eq!(found, pattern(0, 10_000));
    // The end of file stays one.
    assert_eq!(other.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_halves_work_in_two_tasks_and_a_dropped_one_is_not_needed() {
    let (one, other) = pair(small(Mode::RecordFs), &Options::default()).await;
    let (reader, writer) = one.into_split();
    drop(reader);
    let (from_one, mut to_one) = other.into_split();
    // Nobody reads this, and it is more than the credit: it is thrown away, not stuck.
    to_one.write_all(&pattern(0, 200_000)).await.unwrap();
    to_one.shutdown().await.unwrap();
    let writer = write_pattern(writer, 50_000, 700);
    read_pattern(from_one, 50_000).await;
    drop(writer.await.unwrap());
}
