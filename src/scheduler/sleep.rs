//! Who sleeps, who searches, whom to wake; and why no wake-up is lost.
//!
//! Waking a thread costs its sender about two microseconds, as much as forty spawns, so the protocol is built to wake seldom: at most one
//! worker *searches* at a time (the search token), a worker that searches is sure to find what others publish meanwhile, and only a push
//! that finds no searcher and some sleeper wakes anybody.
//!
//! Two words are shared: the *idle set*, one bit a loop, and the *search token*.
//!
//! ```text
//!   to publish work                               to fall asleep
//!   W1  push the work                             S1  give the search token back, if held
//!   W2  fence(SeqCst)                             S2  set the own idle bit
//!   W3  a searcher? then stop                     S3  fence(SeqCst)
//!   W4  take the token (0 -> 1), else stop        S4  look for work everywhere once more
//!   W5  clear some loop's idle bit (claim it)     S5  found some: clear the own bit and go on; if a claimer was faster, await its notice
//!   W6  none left: give the token back,           S6  found none: park until a notice comes
//!       fence, and if a bit is set again: W4
//!   W7  notify the claimed loop: it now holds
//!       the token
//! ```
//!
//! - **S-a (no lost wake-up)** Let P publish work and L fall asleep. One of the two fences W2, S3 is first in the order of SeqCst fences. If
//!   P's: L's S4 sees the work. If L's: P's W3 and W5 see L's idle bit, and see the token as L left it in S1 or newer; so either P wakes
//!   somebody, or a token is held by a third thread X. X is a searcher that will fall asleep or find something (S-b), or a publisher between
//!   W4 and W6, whose fence in W6 comes after P's W2 (or P would have seen the token free), so X sees L's bit and tries again.
//! - **S-b (the token ends in a look)** Whoever gives the token back looks at all queues after doing so: a searcher that found work, through
//!   `publish` when more is in sight; one that found none, through S1 to S4.
//! - **S-c (one notice for one claim)** A bit is set by its own loop only. Who clears it, the loop itself or a claimer, decides whether a
//!   notice comes: after a claim exactly one, and the loop waits for it before it goes on.
//!
//! - **S-d (work for some)** Work that only the first few loops take (the workers', not the spare ones') is published without the token, for its holder may
//!   not be one of them: W1, W2, then W5 among those loops, W7 without the token. If W2 is first, the loop's S4 sees the work; if S3 is, the claim
//!   sees its bit, or somebody else has claimed it, and it looks once it is awake.
//!
//! The fences are explicit because loom models `fence(SeqCst)`, not SeqCst accesses. rayon's sleep module and Go's `proc.go` argue the same way.

use crossbeam_utils::CachePadded;

use crate::loom::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use crate::loom::atomic::{AtomicBool, AtomicUsize, fence};

const BITS: usize = usize::BITS as usize;

/// The idle set and the search token of one runtime.
pub(crate) struct Sleep {
    /// One bit a loop. Set by the loop itself (S2); cleared by it (S5) or by a claimer (W5).
    idle: Box<[CachePadded<AtomicUsize>]>,
    /// The search token. Taken in W4 or by a worker that runs out of work; given back by its holder.
    searching: CachePadded<AtomicBool>,
}

impl Sleep {
    /// For `loops` loops, none of them idle.
    pub(crate) fn new(loops: usize) -> Self {
        let words = loops.div_ceil(BITS).max(1);
        Sleep {
            idle: (0..words).map(|_| CachePadded::new(AtomicUsize::new(0))).collect(),
            searching: CachePadded::new(AtomicBool::new(false)),
        }
    }

    /// S2 and S3. Only by loop `index`, which holds no token any more. What follows must be a look at all queues.
    pub(crate) fn announce(&self, index: usize) {
        // Ordering: Relaxed: the fence below orders it before the caller's look; the claim in `claim` acquires nothing from it.
        self.idle[index / BITS].fetch_or(1 << (index % BITS), Relaxed);
        // Ordering: SeqCst fence S3, pairs with the one in `publish` (W2) and with those of `claim`'s callers: see S-a.
        fence(SeqCst);
    }

    /// S5: loop `index` takes its own bit back. `false`: a claimer was faster, and its notice has to be awaited.
    #[must_use]
    pub(crate) fn retract(&self, index: usize) -> bool {
        self.clear(index)
    }

    /// Claims loop `index` if it sleeps. `true`: the caller owes it a notice (S-c). The caller has made its work visible and fenced.
    #[must_use]
    pub(crate) fn claim(&self, index: usize) -> bool {
        // Ordering: Relaxed: the caller's SeqCst fence orders this load after its publication (S-a).
        if self.idle[index / BITS].load(Relaxed) & (1 << (index % BITS)) == 0 {
            return false;
        }
        self.clear(index)
    }

    fn clear(&self, index: usize) -> bool {
        let bit = 1 << (index % BITS);
        // Ordering: AcqRel: claims of one loop follow one another; a loop that is claimed, runs and announces itself again has its new bit
        // cleared only by a claimer that comes after all of that.
        self.idle[index / BITS].fetch_and(!bit, AcqRel) & bit != 0
    }

    /// W2 to W6: the caller has made work visible that any loop may take. Returns the loop to be notified, if one has to be; it is handed the
    /// token with the notice.
    #[must_use]
    #[inline]
    pub(crate) fn publish(&self) -> Option<usize> {
        // Ordering: SeqCst fence W2, pairs with the one in `announce` (S3): see S-a.
        fence(SeqCst);
        // Ordering: Relaxed: ordered by the fence (S-a). A stale `true` was true after the fence's last predecessor, which is enough.
        if self.searching.load(Relaxed) || !self.has_idle() {
            return None;
        }
        self.wake_one()
    }

    /// S-d: the caller has made work visible that the loops before `end` may take. Returns the loop to be notified, if one of them slept; it is handed no
    /// token.
    #[must_use]
    pub(crate) fn publish_before(&self, end: usize) -> Option<usize> {
        // Ordering: SeqCst fence W2, pairs with the one in `announce` (S3): see S-d.
        fence(SeqCst);
        self.claim_any(end)
    }

    #[cold]
    fn wake_one(&self) -> Option<usize> {
        while self.begin_search() {
            if let Some(index) = self.claim_any(usize::MAX) {
                return Some(index);
            }
            // The fence in here is W6's.
            self.end_search();
            if !self.has_idle() {
                return None;
            }
        }
        None
    }

    /// Claims some loop before `end` that sleeps.
    fn claim_any(&self, end: usize) -> Option<usize> {
        for (word, idle) in self.idle.iter().enumerate() {
            // Ordering: Relaxed: a guess at which bit to claim; `clear` decides.
            let mut bits = idle.load(Relaxed);
            while bits != 0 {
                let index = word * BITS + bits.trailing_zeros() as usize;
                if index >= end {
                    return None;
                }
                if self.clear(index) {
                    return Some(index);
                }
                bits &= bits - 1;
            }
        }
        None
    }

    /// Takes the search token, if it is free.
    #[must_use]
    pub(crate) fn begin_search(&self) -> bool {
        // Ordering: Acquire pairs with the Release of `end_search`: searches follow one another. Relaxed on failure: nothing is done.
        self.searching.compare_exchange(false, true, Acquire, Relaxed).is_ok()
    }

    /// Gives the search token back. Only by its holder, who looks at the queues, or in W6 at the idle set, afterwards (S-b).
    pub(crate) fn end_search(&self) {
        // Ordering: Release pairs with the Acquire of `begin_search`: searches follow one another.
        self.searching.store(false, Release);
        // Ordering: SeqCst fence (S1, W6), pairs with W2 of a publisher that stopped because it saw our token: either it saw the token free,
        // or the look that follows sees its work (its bit, in W6).
        fence(SeqCst);
    }

    /// Whether some loop's bit is set. Ordered by the caller's fence.
    pub(crate) fn has_idle(&self) -> bool {
        // Ordering: Relaxed: ordered by the caller's fence, or only a hint.
        self.idle.iter().any(|word| word.load(Relaxed) != 0)
    }

    /// Whether loop `index` sleeps. A hint.
    pub(crate) fn is_idle(&self, index: usize) -> bool {
        // Ordering: Relaxed: ordered by the caller's fence, or only a hint.
        self.idle[index / BITS].load(Relaxed) & (1 << (index % BITS)) != 0
    }
}

#[cfg(all(test, eddies_loom))]
#[path = "../../loom-tests/models/sleep.rs"]
mod models;

#[cfg(all(test, not(eddies_loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_publisher_wakes_one_sleeper_and_the_token_keeps_the_second_back() {
        let sleep = Sleep::new(70);
        assert_eq!(sleep.publish(), None, "nobody sleeps");
        sleep.announce(3);
        sleep.announce(69);
        assert_eq!(sleep.publish(), Some(3));
        assert_eq!(sleep.publish(), None, "one is searching");
        sleep.end_search();
        assert_eq!(sleep.publish(), Some(69));
        sleep.end_search();
        assert_eq!(sleep.publish(), None);
        sleep.announce(69);
        assert!(sleep.claim(69) && !sleep.claim(69) && !sleep.retract(69));
    }

    #[test]
    fn work_for_the_first_loops_wakes_none_of_the_others_and_asks_for_no_token() {
        let sleep = Sleep::new(70);
        sleep.announce(66);
        assert_eq!(sleep.publish_before(66), None);
        sleep.announce(65);
        assert!(sleep.begin_search());
        assert_eq!(sleep.publish_before(66), Some(65), "whoever searches may be another");
        assert_eq!(sleep.publish_before(66), None);
    }
}
