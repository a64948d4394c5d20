//! Whether a loop that has nothing to run looks at its reactor once more before it sleeps.
//!
//! A sleep and its end are two context switches and a wake-up that somebody pays for: some microseconds. Where clients answer within that time, a
//! loop that gives up its CPU once and looks again gets the next batch without all that, and a larger one. Where they do not, the look is a wasted
//! microsecond. What happened the last times decides: a look that found something pays for [`GAIN`] that find nothing, and when the credit is used up
//! one sleep in [`TRIAL`] is put to the test. So an idle loop, or one with a request now and then, sleeps at once.
//!
//! (glommio spins before it parks, Go's `findRunnable` for a while too; both for a length of time. One look costs less where CPUs are shared, and giving
//! up the CPU lets the client run that shares it.)

use std::cell::Cell;

/// Fruitless looks that a fruitful one pays for, and most that can be saved up.
const GAIN: u32 = 2;
const CREDIT_MAX: u32 = 8;

/// Without credit, every so many sleeps begin with a look.
const TRIAL: u32 = 16;

/// The memory of one loop. Its owner's alone.
pub(super) struct Linger {
    /// How many fruitless looks can be afforded.
    credit: Cell<u32>,
    /// Sleeps without a look since the last trial.
    skipped: Cell<u32>,
}

impl Linger {
    pub(super) fn new() -> Self {
        Linger { credit: Cell::new(0), skipped: Cell::new(0) }
    }

    /// Whether to look before this sleep.
    pub(super) fn is_due(&self) -> bool {
        if self.credit.get() > 0 {
            return true;
        }
        let skipped = self.skipped.get() + 1;
        self.skipped.set(skipped % TRIAL);
        skipped == TRIAL
    }

    /// What came of a look.
    pub(super) fn learn(&self, found: bool) {
        let credit = self.credit.get();
        self.credit.set(if found { (credit + GAIN).min(CREDIT_MAX) } else { credit.saturating_sub(1) });
    }
}

#[cfg(all(test, not(eddies_loom)))]
mod tests {
    use super::*;

    #[test]
    fn without_luck_one_sleep_in_sixteen_is_put_to_the_test() {
        let linger = Linger::new();
        let looks = (0..160).filter(|_| linger.is_due()).inspect(|_| linger.learn(false)).count();
        assert_eq!(looks, 10);
    }

    #[test]
    fn luck_is_remembered_but_not_for_long() {
        let linger = Linger::new();
        while !linger.is_due() {}
        linger.learn(true);
        assert_eq!((0..GAIN).filter(|_| linger.is_due()).inspect(|_| linger.learn(false)).count(), GAIN as usize);
        assert!(!linger.is_due(), "the credit is used up");
        (0..100).for_each(|_| linger.learn(true));
        let looks = (0..CREDIT_MAX + TRIAL - 2).filter(|_| linger.is_due()).inspect(|_| linger.learn(false)).count();
        assert_eq!(looks, CREDIT_MAX as usize);
    }
}
