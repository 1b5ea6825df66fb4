//! Liars: peers that have the true chain and tell something else.

use proctor_fuzz::Rng;
use proctor_p2p::message::{Outcome, PART_BYTES_MAX, Part};
use proctor_p2p::snapshot::CHUNK_BYTES;
use proctor_p2p::{Answer, Certificate, Certified, ChainId, Failure, Header, Request};
use proctor_types::Digest;

use crate::truth::{Truth, key, sign};

/// What a peer does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Claims a far height with a certificate by the wrong key.
    Inflated,
    /// Claims the true header with a certificate of another chain.
    OtherChain,
    /// Changes a header in the middle of a range.
    WrongHeader,
    /// Swaps two headers.
    Reordered,
    /// Begins one header later.
    WrongStart,
    /// Answers with no headers at all.
    Empty,
    /// Changes a byte of a body.
    BadBody,
    /// Sends a byte too many.
    LongBody,
    /// Ends within a body.
    CutBody,
    /// Says that it has everything, and has nothing.
    NothingHere,
    /// Never answers.
    Silent,
    /// Pushes and asks without end.
    Flood,
    /// Changes a byte of each chunk.
    BadChunk,
    /// Makes up a snapshot: right state in the header, chunks of its own.
    MadeUpSnapshot,
    /// The same, and the sequencer vouches for it: it is a liar as well.
    FalseSnapshot,
    /// A manifest that no certificate proves.
    BadManifest,
}

impl Lie {
    pub(crate) const ALL: [Self; 16] = [
        Self::Inflated,
        Self::OtherChain,
        Self::WrongHeader,
        Self::Reordered,
        Self::WrongStart,
        Self::Empty,
        Self::BadBody,
        Self::LongBody,
        Self::CutBody,
        Self::NothingHere,
        Self::Silent,
        Self::Flood,
        Self::BadChunk,
        Self::MadeUpSnapshot,
        Self::FalseSnapshot,
        Self::BadManifest,
    ];

    /// The tip that a liar claims.
    pub(crate) fn tip(self, truth: &mut Truth) -> Option<Certified> {
        let height = truth.height();
        if height == 0 {
            return None;
        }
        let mut tip = truth.certified(height);
        if self == Self::Inflated {
            tip.header.height = u64::MAX / 2;
            let end = tip.header.tip(&crate::truth::CHAIN);
            let wrong = key(200);
            tip.certificate =
                Certificate::solo(&crate::truth::CHAIN, 0, &end, |bytes| sign(&wrong, bytes));
        }
        if self == Self::OtherChain {
            let other = ChainId(Digest([8; 32]));
            let end = tip.header.tip(&crate::truth::CHAIN);
            let key = truth.key;
            tip.certificate = Certificate::solo(&other, 0, &end, |bytes| sign(&key, bytes));
        }
        Some(tip)
    }

    fn headers(self, truth: &mut Truth, rng: &mut Rng, from: u64, max: u32) -> Vec<Answer> {
        let to = from.saturating_add(u64::from(max) - 1).min(truth.height());
        if from == 0 || from > to {
            return vec![Answer::Failed(Failure::NotHere)];
        }
        let mut headers: Vec<Header> =
            (from..=to).map(|height| truth.header(height).clone()).collect();
        let middle = rng.below(headers.len());
        match self {
            Self::WrongHeader => headers[middle].facts.body.0[5] ^= 1,
            Self::Reordered if headers.len() > 1 => headers.swap(0, 1),
            Self::Reordered => headers[0].facts.time.0 -= 5,
            Self::WrongStart => drop(headers.remove(0)),
            Self::Empty => headers.clear(),
            _ => {}
        }
        vec![Answer::Headers { headers, certificate: truth.certificate(to) }]
    }

    /// The pieces that a liar answers with.
    pub(crate) fn answer(self, truth: &mut Truth, rng: &mut Rng, request: Request) -> Vec<Answer> {
        let missing = vec![Answer::Failed(Failure::NotHere)];
        if self == Self::NothingHere {
            return missing;
        }
        match request {
            Request::GetHeaders { from, max } => self.headers(truth, rng, from, max),
            Request::GetBodies(bodies) => {
                let mut pieces = Vec::new();
                for (body, index) in bodies.iter().zip(0..) {
                    if body.height == 0 || body.height > truth.height() {
                        pieces.push(Answer::NoBody(index));
                        continue;
                    }
                    let mut bytes = truth.body(body.height).clone();
                    match self {
                        Self::BadBody => bytes[0] ^= 1,
                        Self::LongBody => bytes.push(0),
                        Self::CutBody => drop(bytes.pop()),
                        _ => {}
                    }
                    pieces.extend(parts(index, &bytes).into_iter().map(Answer::Body));
                }
                pieces
            }
            Request::GetCommit(height) if height > 0 && height <= truth.height() => {
                vec![Answer::Commit(truth.certified(height))]
            }
            Request::GetSnapshot(_) => {
                let height = snapshot_height(truth.height());
                if height == 0 {
                    return missing;
                }
                let mut manifest = truth.manifest(height);
                match self {
                    Self::FalseSnapshot | Self::MadeUpSnapshot => {
                        let bytes = vec![1; usize::try_from(manifest.contents.len).unwrap()];
                        let chunks = bytes.chunks(CHUNK_BYTES as usize).map(Digest::of).collect();
                        manifest.contents.chunks = chunks;
                        if self == Self::FalseSnapshot {
                            manifest = truth.attest(manifest.contents, manifest.next);
                        }
                    }
                    Self::BadManifest => manifest.next.header.facts.state_before.0[0] ^= 1,
                    _ => {}
                }
                vec![Answer::Manifest(manifest)]
            }
            Request::GetChunk { height, index } => {
                let mut bytes = truth.snapshot(height);
                match self {
                    Self::FalseSnapshot | Self::MadeUpSnapshot => {
                        bytes.iter_mut().for_each(|byte| *byte = 1);
                    }
                    Self::BadChunk => bytes.iter_mut().step_by(1_000).for_each(|byte| *byte ^= 1),
                    _ => {}
                }
                let chunk = bytes.chunks(CHUNK_BYTES as usize).nth(index as usize);
                chunk.map_or(missing, |chunk| {
                    parts(0, chunk).into_iter().map(Answer::Chunk).collect()
                })
            }
            Request::GetCommit(_) => missing,
            Request::GetPeers => vec![Answer::Peers(Vec::new())],
            Request::SubmitInput(_) => vec![Answer::Outcome(Outcome::Refused("no".to_owned()))],
        }
    }
}

/// The newest snapshot of a chain: a multiple of 64, below the tip.
pub(crate) fn snapshot_height(height: u64) -> u64 {
    height.saturating_sub(1) / 64 * 64
}

fn parts(index: u32, bytes: &[u8]) -> Vec<Part> {
    let pieces = bytes.chunks(PART_BYTES_MAX).zip(0_u32..);
    let part = |(piece, nth): (&[u8], u32)| Part {
        index,
        offset: nth * PART_BYTES_MAX as u32,
        bytes: piece.to_vec(),
    };
    pieces.map(part).collect()
}
