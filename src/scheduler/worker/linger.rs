//! Whether a loop that has nothing to run looks for work some more times before it sleeps.
//!
//! A sleep and its end are two context switches and a wake-up that somebody pays for: 5 us or more. Where the next task comes within that time (a
//! client that answers, a job of the blocking pool that is short, a thread that spawns), a loop that gives up its CPU and looks again has it without
//! all that, and a socket's next batch is larger. Where none comes, the looks are wasted microseconds. What happened the last times decides:
//!
//! - looks that found something pay for [`GAIN`] times that find nothing;
//! - when the credit is used up, one sleep in so many is put to the test: in [`TRIAL_MIN`] after a success, half as often after each failure, down
//!   to one in [`TRIAL_MAX`].
//!
//! So an idle loop, or one with a request now and then, sleeps at once.
//!
//! The number of looks, [`LOOKS`], takes about what the sleep would cost: whoever waits so long before he pays, pays at most twice what he had to. (The rule of
//! the ski rental problem; Karlin, Li, Manasse, Owicki: Empirical Studies of Competitive Spinning for a Shared-Memory Multiprocessor, 1991. glommio and
//! Go's `findRunnable` spin for a while. Here the CPU is given up before each look, so that a client that shares it can run: spinning instead
//! made the echo server slower, not faster, where CPUs were scarce.)
//!
//! Rejected: counting it as a failure when others had the CPU for long. A sleeper that is woken comes before a thread that has given up its CPU, so
//! beside hogs that should have been better; `benches/mixed.rs` showed no difference, and the echo server lost a tenth.

use std::cell::Cell;

/// How often to look. Half a microsecond each, a whole one where there are sockets.
pub(super) const LOOKS: usize = 8;

/// How often lingering may be in vain after it paid off once, and most that can be saved up.
const GAIN: u32 = 2;
const CREDIT_MAX: u32 = 8;

/// Sleeps from one trial to the next, at least and at most.
const TRIAL_MIN: u32 = 16;
const TRIAL_MAX: u32 = 128;

/// The memory of one loop. Its owner's alone.
pub(super) struct Linger {
    /// How often lingering may be in vain.
    credit: Cell<u32>,
    /// Sleeps until the next trial, and how many there are between two.
    until_trial: Cell<u32>,
    between_trials: Cell<u32>,
}

impl Linger {
    pub(super) fn new() -> Self {
        Linger { credit: Cell::new(0), until_trial: Cell::new(TRIAL_MIN), between_trials: Cell::new(TRIAL_MIN) }
    }

    /// Whether to linger before this sleep. If so, what came of it is to be learnt.
    pub(super) fn is_due(&self) -> bool {
        if self.credit.get() > 0 {
            return true;
        }
        let left = self.until_trial.get() - 1;
        self.until_trial.set(if left == 0 { self.between_trials.get() } else { left });
        left == 0
    }

    /// What came of lingering.
    pub(super) fn learn(&self, found: bool) {
        let (credit, between) = (self.credit.get(), self.between_trials.get());
        let (credit, between) = match (found, credit) {
            (true, _) => ((credit + GAIN).min(CREDIT_MAX), TRIAL_MIN),
            (false, 0) => (0, (between * 2).min(TRIAL_MAX)),
            (false, _) => (credit - 1, between),
        };
        self.credit.set(credit);
        self.between_trials.set(between);
        self.until_trial.set(between);
    }
}

#[cfg(all(test, not(eddies_loom)))]
mod tests {
    use super::*;

    /// How many of the next `sleeps` are put off, each time in vain.
    fn trials(linger: &Linger, sleeps: u32) -> usize {
        (0..sleeps).filter(|_| linger.is_due()).inspect(|_| linger.learn(false)).count()
    }

    #[test]
    fn without_luck_it_is_tried_ever_more_seldom() {
        let linger = Linger::new();
        assert_eq!(trials(&linger, 15), 0);
        assert_eq!(trials(&linger, 1), 1);
        assert_eq!(trials(&linger, 31), 0);
        assert_eq!(trials(&linger, 1), 1);
        trials(&linger, 10 * TRIAL_MAX);
        assert_eq!(trials(&linger, 10 * TRIAL_MAX), 10);
    }

    #[test]
    fn luck_is_remembered_but_not_for_long() {
        let linger = Linger::new();
        trials(&linger, 10 * TRIAL_MAX);
        while !linger.is_due() {}
        linger.learn(true);
        assert_eq!(trials(&linger, GAIN), GAIN as usize);
        assert_eq!(trials(&linger, TRIAL_MIN - 1), 0, "the credit is used up");
        assert_eq!(trials(&linger, 1), 1, "and soon tried again");
        (0..100).for_each(|_| linger.learn(true));
        assert_eq!(trials(&linger, CREDIT_MAX + TRIAL_MIN - 1), CREDIT_MAX as usize);
    }
}
