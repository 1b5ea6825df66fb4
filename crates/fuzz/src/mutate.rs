//! Mutations: bits, interesting numbers, cut and repeated ranges, parts of other inputs.

/// A small generator of repeatable choices (SplitMix64).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Begins at `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    /// Returns a number below `end`, or 0 when that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.bits() % end).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.bits().to_le_bytes()[0]
    }
}

/// Numbers at which code changes its mind.
const INTERESTING: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
];

/// Returns an input of the corpus with one to eight mutations, at most `len_max` bytes long or as long
/// as it was.
pub(crate) fn mutate(rng: &mut Rng, corpus: &[Vec<u8>], len_max: usize) -> Vec<u8> {
    // Half of the time one of the newest, which are the least explored.
    let newest = corpus.len().saturating_sub(16);
    let from = if rng.below(2) == 0 { newest } else { 0 };
    let mut input = corpus[from + rng.below(corpus.len() - from)].clone();
    let max = input.len().max(len_max);
    for _ in 0..=rng.below(8) {
        step(rng, corpus, &mut input);
        input.truncate(max);
    }
    input
}

fn step(rng: &mut Rng, corpus: &[Vec<u8>], input: &mut Vec<u8>) {
    let at = rng.below(input.len());
    match rng.below(10) {
        0 | 1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << rng.below(8);
            }
        }
        2 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = rng.byte();
            }
        }
        3 => {
            let width = 1 << rng.below(4);
            let number = INTERESTING[rng.below(INTERESTING.len())].to_le_bytes();
            if let Some(place) = input.get_mut(at..at + width) {
                place.copy_from_slice(&number[..width]);
            }
        }
        4 => {
            // A number of one to eight bytes becomes a little more or less.
            if let Some(byte) = input.get_mut(at) {
                *byte = byte.wrapping_add(rng.byte() % 9).wrapping_sub(4);
            }
        }
        5 => {
            let count = 1 + rng.below(16);
            let new: Vec<u8> = (0..count).map(|_| rng.byte()).collect();
            input.splice(at..at, new);
        }
        6 => {
            let end = at + rng.below((input.len() - at).min(64) + 1);
            input.drain(at..end);
        }
        7 => {
            let end = at + rng.below((input.len() - at).min(128) + 1);
            let part = input[at..end].to_vec();
            let to = rng.below(input.len() + 1);
            input.splice(to..to, part);
        }
        8 => {
            let other = &corpus[rng.below(corpus.len())];
            let from = rng.below(other.len());
            let end = from + rng.below((other.len() - from).min(256) + 1);
            let over = if rng.below(2) == 0 { input.len().min(at + end - from) } else { at };
            input.splice(at..over, other[from..end].iter().copied());
        }
        _ => input.truncate(at),
    }
}
