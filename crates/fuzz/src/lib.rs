//! A seeded fuzzer for tests: mutates known inputs and keeps those that show something new.
//!
//! It needs neither a nightly compiler nor anything installed. A target is an ordinary test that
//! calls [`Fuzz::run`] with a check, which panics when a promise is broken and otherwise tells what
//! kind of outcome it saw. An input with a new kind of outcome joins the corpus: a coarse stand-in
//! for coverage. Run by the test harness, a target makes a fixed number of executions from a fixed
//! seed; `cargo xtask fuzz TARGET` lets it run for as long as one likes (`docs/fuzzing.md`).
//!
//! Not the concern of this crate: what a target reads, and what must hold of it.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a long run tells its figures, a finding its input")]

mod mutate;
mod script;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use mutate::Rng;
use mutate::mutate;
pub use script::Script;

/// How many seconds a long run takes; without it a run is short.
pub const SECONDS: &str = "PROCTOR_FUZZ_SECONDS";
/// The seed of a long run.
pub const SEED: &str = "PROCTOR_FUZZ_SEED";
/// A file with one input in hex, which is then the only one that is tried.
pub const INPUT: &str = "PROCTOR_FUZZ_INPUT";

/// Inputs beyond this many replace others.
const CORPUS_MAX: usize = 4_096;
/// How many bytes of a failing input are printed; the file holds all.
const SHOWN_BYTES: usize = 2_048;

/// A target in the making.
#[derive(Clone, Debug)]
pub struct Fuzz {
    name: &'static str,
    corpus: Vec<Vec<u8>>,
    len_max: usize,
    executions: u64,
}

impl Fuzz {
    /// Begins the target `name`, which makes 20,000 executions in a short run, with inputs of up to
    /// 4 KiB.
    #[must_use]
    pub fn target(name: &'static str) -> Self {
        Self { name, corpus: Vec::new(), len_max: 4 << 10, executions: 20_000 }
    }

    /// Sets how many executions a short run makes: about a second's worth.
    #[must_use]
    pub fn executions(mut self, count: u64) -> Self {
        self.executions = count;
        self
    }

    /// Sets how long inputs may be, in bytes; those that are given are used as they are.
    #[must_use]
    pub fn len_max(mut self, bytes: usize) -> Self {
        self.len_max = bytes;
        self
    }

    /// Adds an input to begin with.
    #[must_use]
    pub fn seed(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.corpus.push(bytes.into());
        self
    }

    /// Adds inputs in hex that once showed something, to be tried in every run.
    ///
    /// # Panics
    /// When a row is not hex.
    #[must_use]
    pub fn rows(mut self, rows: &[&str]) -> Self {
        let bytes = |row: &&str| from_hex(row).expect("a row is written in hex");
        self.corpus.extend(rows.iter().map(bytes));
        self
    }

    /// Tries every input that was given, and then mutations. `check` panics when a promise is broken,
    /// and returns what kind of outcome it saw; [`kind`] makes one of a value.
    ///
    /// # Panics
    /// With the panic of `check`, after the input was printed and written below `target/fuzz/`; and
    /// when the environment asks for something that cannot be read.
    pub fn run<K: Hash>(self, check: impl Fn(&[u8]) -> K) {
        if let Some(file) = variable(INPUT) {
            let text = std::fs::read_to_string(&file)
                .unwrap_or_else(|error| panic!("cannot read {file}: {error}"));
            let input = from_hex(text.trim()).unwrap_or_else(|| panic!("{file} is not hex"));
            check(&input);
            println!("{}: the input of {file} breaks no promise", self.name);
            return;
        }
        let number = |name| {
            let text = variable(name)?;
            Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
        };
        let plan = match number(SECONDS) {
            Some(seconds) => Plan::Until(Instant::now() + Duration::from_secs(seconds)),
            None => Plan::Count(self.executions),
        };
        self.explore(plan, number(SEED).unwrap_or(1), check);
    }

    fn explore<K: Hash>(self, plan: Plan, seed: u64, check: impl Fn(&[u8]) -> K) {
        let Self { name, mut corpus, len_max, .. } = self;
        let begun = Instant::now();
        let (mut rng, mut seen, mut done) = (Rng::new(seed), BTreeSet::new(), 0_u64);
        let mut try_one = |input: &[u8], done: u64| {
            let outcome = catch_unwind(AssertUnwindSafe(|| check(input)));
            let kind = outcome.unwrap_or_else(|panic| {
                report(name, seed, done, input);
                resume_unwind(panic)
            });
            let mut hasher = DefaultHasher::new();
            kind.hash(&mut hasher);
            seen.insert(hasher.finish())
        };
        if corpus.is_empty() {
            corpus.push(Vec::new());
        }
        for input in &corpus {
            try_one(input, done);
            done += 1;
        }
        while plan.goes_on(done) {
            let input = mutate(&mut rng, &corpus, len_max);
            if try_one(&input, done) {
                if corpus.len() < CORPUS_MAX {
                    corpus.push(input);
                } else {
                    let at = rng.below(CORPUS_MAX);
                    corpus[at] = input;
                }
            }
            done += 1;
        }
        println!(
            "fuzz {name}: seed {seed}, {done} executions in {:.0} s, {} kinds of outcome, no finding",
            begun.elapsed().as_secs_f64(),
            seen.len()
        );
    }
}

/// How long a run goes on.
#[derive(Clone, Copy)]
enum Plan {
    Count(u64),
    Until(Instant),
}

impl Plan {
    fn goes_on(self, done: u64) -> bool {
        match self {
            Self::Count(count) => done < count,
            // Not before every execution: some targets take a microsecond.
            Self::Until(end) => !done.is_multiple_of(64) || Instant::now() < end,
        }
    }
}

/// Returns the kind of a value: how it is written for debugging, without its numbers.
#[must_use]
pub fn kind(value: &impl Debug) -> String {
    let mut text = format!("{value:?}");
    text.retain(|letter| !letter.is_ascii_digit());
    text.truncate(text.char_indices().nth(120).map_or(text.len(), |(at, _)| at));
    text
}

/// Returns `bytes` in hex.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Prints a failing input and writes it to a file.
fn report(name: &str, seed: u64, done: u64, input: &[u8]) {
    let hex = to_hex(input);
    let shown = hex.get(..2 * SHOWN_BYTES).unwrap_or(&hex);
    println!("fuzz {name}: seed {seed}, execution {done} broke a promise; the input, in hex:");
    println!("{shown}");
    match write(name, seed, &hex) {
        Ok(file) => println!(
            "all of it is in {}; try it again with cargo xtask fuzz {name} --input FILE",
            file.display()
        ),
        Err(error) => println!("it cannot be written to a file: {error}"),
    }
}

fn write(name: &str, seed: u64, hex: &str) -> std::io::Result<PathBuf> {
    // The executable of a test lies in target/PROFILE/deps.
    let executable = std::env::current_exe()?;
    let target = executable.ancestors().nth(3).unwrap_or(Path::new("."));
    let folder = target.join("fuzz");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{name}-{seed}.hex"));
    std::fs::write(&file, hex)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lock of three bytes that are found one after the other.
    fn lock(input: &[u8]) -> usize {
        let right = input.iter().zip(b"\x7fkey").take_while(|(one, other)| one == other).count();
        assert!(right < 4, "opened");
        right
    }

    #[test]
    fn what_is_new_is_kept_so_that_a_lock_opens_digit_by_digit() {
        let open = || {
            Fuzz::target("lock").len_max(8).seed([0; 4]).explore(Plan::Count(3_000_000), 5, lock);
        };
        assert!(catch_unwind(open).is_err(), "no mutation opened it");
    }

    #[test]
    fn a_seed_gives_the_same_inputs_again() {
        let inputs = |seed| {
            let all = std::sync::Mutex::new(Vec::new());
            Fuzz::target("same").seed(*b"seed").explore(Plan::Count(500), seed, |input| {
                all.lock().unwrap().push(input.to_vec());
                input.len()
            });
            all.into_inner().unwrap()
        };
        assert_eq!(inputs(3), inputs(3));
        assert_ne!(inputs(3), inputs(4));
        assert!(inputs(3).iter().all(|input| input.len() <= 4 << 10));
    }

    #[test]
    fn hex_is_read_as_it_is_written() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(from_hex(&to_hex(&bytes)), Some(bytes));
        assert_eq!((from_hex("0"), from_hex("0x")), (None, None));
        assert_eq!(kind(&Some(17)), "Some()");
    }
}
