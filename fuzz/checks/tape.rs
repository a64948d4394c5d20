//! Checks of what reads bytes or text that others write: the same functions for `cargo test`, which tries some thousand inputs from a seed, and for
//! a fuzzer that looks where the code branches (`fuzz/`, `scripts/fuzz.sh stream_reader`).
//!
//! A check takes a *tape* of bytes, which decides its input and what is done with it, and compares each answer with a plain model's. It lies in
//! `fuzz/checks/`, as a module of the file that it is about.
//!
//! `EDDIES_FUZZ_ROUNDS` sets how many tapes are tried, `EDDIES_FUZZ_SEED` the first seed: what a failed test prints. Files in `fuzz/corpus/NAME/`, where a
//! fuzzer leaves what it found, are tried first.

/// Bytes that decide what a check does. After the last one every answer is zero.
#[derive(Debug)]
pub struct Tape<'a>(&'a [u8]);

impl<'a> Tape<'a> {
    /// A tape from its beginning.
    pub fn new(bytes: &'a [u8]) -> Tape<'a> {
        Tape(bytes)
    }

    /// Whether all of it was read.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    /// A number below `limit`, which is at most 256.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::from(self.byte()) % limit
    }

    /// The next `len` bytes, or what is left.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        self.take(usize::MAX)
    }
}

/// The reader of `streams`, driven by a tape.
#[cfg(fuzzing)]
pub fn stream_reader(tape: &[u8]) {
    crate::streams::check_reader(tape);
}

/// Addresses as text, taken from a tape.
#[cfg(fuzzing)]
pub fn addresses(tape: &[u8]) {
    crate::net::check_addresses(tape);
}

/// What environment variables set, taken from a tape.
#[cfg(fuzzing)]
pub fn settings(tape: &[u8]) {
    crate::runtime::builder::fuzz::check(tape);
}

/// Numbers of signals, taken from a tape.
#[cfg(fuzzing)]
pub fn signals(tape: &[u8]) {
    crate::signal::fuzz::check(tape);
}

#[cfg(test)]
pub(crate) use drive::drive;

#[cfg(test)]
mod drive {
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::path::Path;
    use std::{env, fs};

    const ROUNDS: u64 = 8_000;
    const LEN_MAX: u64 = 160;

    /// xorshift, begun away from zero.
    struct Random(u64);

    impl Random {
        fn of(seed: u64) -> Random {
            Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
        }

        fn below(&mut self, limit: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 11) % limit
        }

        fn byte(&mut self) -> u8 {
            self.below(256) as u8
        }
    }

    /// Bytes out of nothing, or a known one with some changes.
    fn tape(seed: u64, known: &[Vec<u8>]) -> Vec<u8> {
        let random = &mut Random::of(seed);
        let _ = random.below(2);
        if known.is_empty() || random.below(3) == 0 {
            return (0..random.below(LEN_MAX)).map(|_| random.byte()).collect();
        }
        let mut tape = known[random.below(known.len() as u64) as usize].clone();
        for _ in 0..=random.below(6) {
            let at = random.below(tape.len() as u64 + 1) as usize;
            match random.below(4) {
                0 => tape.insert(at, random.byte()),
                1 if at < tape.len() => tape[at] = random.byte(),
                2 if at < tape.len() => drop(tape.remove(at)),
                _ => {
                    let len = (random.below(8) as usize).min(tape.len() - at);
                    let piece = tape[at..at + len].to_vec();
                    tape.splice(at..at, piece);
                }
            }
        }
        tape
    }

    fn number(variable: &str) -> Option<u64> {
        let text = env::var(variable).ok()?;
        Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, and not {text:?}")))
    }

    /// Tries the `known` tapes, those in `fuzz/corpus/NAME/`, and then as many as the head of this file says.
    ///
    /// # Panics
    ///
    /// With the panic of the check, after telling the tape that led to it and how to come there again.
    #[track_caller]
    pub(crate) fn drive(name: &str, known: &[&[u8]], check: impl Fn(&[u8])) {
        let run = |tape: &[u8], again: &str| {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(tape))) {
                eprintln!("{name} failed, {again}, with the tape {tape:?}");
                resume_unwind(panic);
            }
        };
        let mut tapes: Vec<Vec<u8>> = known.iter().map(|tape| tape.to_vec()).collect();
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        for entry in fs::read_dir(corpus).into_iter().flatten() {
            tapes.push(fs::read(entry.unwrap().path()).unwrap());
        }
        for tape in &tapes {
            run(tape, "a known one");
        }
        let first = number("EDDIES_FUZZ_SEED").unwrap_or(0);
        for seed in first..first + number("EDDIES_FUZZ_ROUNDS").unwrap_or(ROUNDS) {
            run(&tape(seed, &tapes), &format!("EDDIES_FUZZ_SEED={seed} EDDIES_FUZZ_ROUNDS=1"));
        }
    }

    #[test]
    fn a_check_that_fails_is_found_from_its_known_input() {
        let answer = catch_unwind(|| drive("planted", &[b"abcdef"], |tape| assert!(!tape.starts_with(b"abd"))));
        assert!(answer.is_err(), "one change away");
        let (mut count, count_of) = (std::cell::Cell::new(0_u64), |tape: &[u8]| tape.len() as u64);
        drive("planted", &[], |tape| count.set(count.get() + count_of(tape)));
        assert!(
            *count.get_mut() > 10 * ROUNDS.min(number("EDDIES_FUZZ_ROUNDS").unwrap_or(ROUNDS)),
            "tapes have a length"
        );
    }
}
