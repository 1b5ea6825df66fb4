//! Fuzz target: log entries, inputs and log paths from any bytes.

use proctor_engine::input_chain::{Link, Pruned};
use proctor_wire::log_path::{LogPath, PathCommit, PathInputs};

use super::*;

/// One value, one encoding, of whatever the first byte says that the rest is.
fn fuzz(input: &[u8]) -> String {
    let (kind, bytes) = input.split_first().map_or((0, input), |(kind, bytes)| (*kind, bytes));
    let outcome = match kind % 3 {
        0 => LogEntry::decode(bytes).map(|entry| {
            assert_eq!(entry.encode(), bytes);
            entry.inputs.len().min(8)
        }),
        1 => log_entry::decode_inputs(bytes).map(|inputs| {
            assert_eq!(log_entry::encode_inputs(&inputs), bytes);
            inputs.len().min(8)
        }),
        _ => {
            let (length, bytes) = bytes.split_first().map_or((0, bytes), |(n, rest)| (*n, rest));
            let (hashes, rest) = bytes.split_at(bytes.len().min(32 * usize::from(length % 8)));
            LogPath::decode(hashes, rest).map(|path| {
                let encoded = path.encode();
                assert_eq!((&encoded.hashes[..], &encoded.rest[..]), (hashes, rest));
                path.commits.len().min(8)
            })
        }
    };
    format!("{} {}", kind % 3, proctor_fuzz::kind(&outcome.map_err(|error| error.to_string())))
}

#[test]
fn fuzz_log_entry_any_bytes_are_refused_or_the_one_encoding_of_a_value() {
    let mut fuzzer = proctor_fuzz::Fuzz::target("log-entry").executions(30_000);
    let all = every_input();
    for input in &all.inputs {
        fuzzer = fuzzer
            .seed([&[1][..], &log_entry::encode_inputs(std::slice::from_ref(input))].concat());
    }
    fuzzer = fuzzer.seed([&[0][..], &all.encode()].concat());
    let path = LogPath {
        trader: trader("alice"),
        attested: None,
        commits: vec![
            PathCommit {
                at: UtcMs(AT),
                inputs: PathInputs::Hidden(Link { touches: 5, root: Digest([7; 32]) }),
            },
            PathCommit {
                at: UtcMs(AT + 5),
                inputs: PathInputs::Shown {
                    touches: 9,
                    tree: Pruned::Branch(
                        Box::new(Pruned::Hidden(Digest([8; 32]))),
                        Box::new(Pruned::Nothing),
                    ),
                },
            },
        ],
        stated: None,
    };
    let encoded = path.encode();
    fuzzer.seed([&[2, 2][..], &encoded.hashes, &encoded.rest].concat()).run(fuzz);
}
