//! A barrier: so many tasks meet.
//!
//! The task that completes a round grants its index to each that waits, so those are off the list and the next round can begin at once:
//! asyncio's draining state, in which newcomers have to wait, does not exist.

use std::fmt;

use super::errors::BrokenBarrier;
use super::wait_list::{Wait, WaitList, Waiter, Wakes};
use crate::loom::Mutex;

/// A point that a fixed number of tasks pass together, again and again: asyncio's `Barrier`.
///
/// ```
/// use std::sync::Arc;
/// use eddies::sync::Barrier;
///
/// eddies::run(async {
///     let barrier = Arc::new(Barrier::new(3));
///     let tasks: Vec<_> = (0..3)
///         .map(|_| {
///             let barrier = barrier.clone();
///             eddies::spawn(async move { barrier.wait().await.unwrap() })
///         })
///         .collect();
///     let mut indices = Vec::new();
///     for task in tasks {
///         indices.push(task.await.unwrap());
///     }
///     indices.sort();
///     assert_eq!(indices, [0, 1, 2]);
/// });
/// ```
pub struct Barrier {
    parties: usize,
    /// Any thread.
    state: Mutex<Round>,
}

struct Round {
    is_broken: bool,
    /// Fewer than `parties`; none while broken.
    waiters: WaitList<Result<usize, BrokenBarrier>>,
}

struct Party {
    parties: usize,
}

impl Waiter for Party {
    type State = Round;
    type Grant = Result<usize, BrokenBarrier>;
    type Output = Result<usize, BrokenBarrier>;

    fn list(state: &mut Round) -> &mut WaitList<Self::Grant> {
        &mut state.waiters
    }

    fn try_now(&mut self, state: &mut Round, wakes: &mut Wakes) -> Option<Self::Output> {
        if state.is_broken {
            return Some(Err(BrokenBarrier(())));
        }
        if state.waiters.waiting() + 1 < self.parties {
            return None;
        }
        let mut index = 0;
        state.waiters.grant_all(wakes, || {
            index += 1;
            Ok(index - 1)
        });
        Some(Ok(self.parties - 1))
    }

    fn claim(&mut self, grant: Self::Grant, _: &mut Round, _: &mut Wakes) -> Self::Output {
        grant
    }

    fn left(&mut self, _: Option<Self::Grant>, _: &mut Round, _: &mut Wakes) {
        // Before the round was complete: there is one fewer now. After it: the others have passed.
    }
}

impl Barrier {
    /// A barrier for so many tasks.
    ///
    /// # Panics
    ///
    /// When `parties` is 0.
    ///
    /// ```
    /// assert_eq!(eddies::sync::Barrier::new(2).parties(), 2);
    /// ```
    #[track_caller]
    pub fn new(parties: usize) -> Self {
        assert!(parties > 0, "a barrier needs at least one party");
        Barrier { parties, state: Mutex::new(Round { is_broken: false, waiters: WaitList::new() }) }
    }

    /// Waits until as many wait as there are parties. Each is given another index, from 0 (who came first) to `parties - 1` (who came
    /// last), so that one of them can be chosen for what is to be done once.
    ///
    /// # Errors
    ///
    /// [`BrokenBarrier`] when the barrier was [aborted](Barrier::abort), or is [reset](Barrier::reset) while this waits.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future while the round is incomplete takes this party out of it. A complete round stays complete.
    ///
    /// ```
    /// eddies::run(async {
    ///     assert_eq!(eddies::sync::Barrier::new(1).wait().await, Ok(0));
    /// });
    /// ```
    pub async fn wait(&self) -> Result<usize, BrokenBarrier> {
        Wait::new(&self.state, Party { parties: self.parties }).await
    }

    /// Makes the barrier as new: who waits is sent away with [`BrokenBarrier`], a broken barrier is whole again.
    ///
    /// ```
    /// let barrier = eddies::sync::Barrier::new(2);
    /// barrier.abort();
    /// barrier.reset();
    /// assert!(!barrier.is_broken());
    /// ```
    pub fn reset(&self) {
        self.send_away(false);
    }

    /// Breaks the barrier: who waits, and who comes until the next [`reset`](Barrier::reset), is sent away with [`BrokenBarrier`].
    ///
    /// ```
    /// let barrier = eddies::sync::Barrier::new(2);
    /// barrier.abort();
    /// assert!(eddies::run(barrier.wait()).is_err());
    /// ```
    pub fn abort(&self) {
        self.send_away(true);
    }

    fn send_away(&self, is_broken: bool) {
        let mut wakes = Wakes::new();
        let mut state = self.state.lock();
        state.is_broken = is_broken;
        state.waiters.grant_all(&mut wakes, || Err(BrokenBarrier(())));
        drop(state);
        wakes.wake();
    }

    /// How many it takes.
    ///
    /// ```
    /// assert_eq!(eddies::sync::Barrier::new(4).parties(), 4);
    /// ```
    pub fn parties(&self) -> usize {
        self.parties
    }

    /// How many wait at this moment.
    ///
    /// ```
    /// assert_eq!(eddies::sync::Barrier::new(4).n_waiting(), 0);
    /// ```
    pub fn n_waiting(&self) -> usize {
        self.state.lock().waiters.waiting()
    }

    /// Whether the barrier is broken at this moment.
    ///
    /// ```
    /// assert!(!eddies::sync::Barrier::new(4).is_broken());
    /// ```
    pub fn is_broken(&self) -> bool {
        self.state.lock().is_broken
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (is_broken, waiting) = {
            let state = self.state.lock();
            (state.is_broken, state.waiters.waiting())
        };
        let mut shown = f.debug_struct("Barrier");
        shown.field("parties", &self.parties).field("waiting", &waiting).field("is_broken", &is_broken).finish()
    }
}
