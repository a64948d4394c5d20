//! Semaphores: so many at once.
//!
//! Permits are a number; a waiter is granted its number as a whole when it is first in the list and there are enough. A big wish at the
//! head holds up small ones behind it, so it is never starved (S1); when it leaves, those behind it are looked at again.

use std::fmt;
use std::sync::Arc;

use super::errors::{NoPermits, NotTaken};
use super::wait_list::{Wait, WaitList, Waiter, Wakes};
use crate::loom::Mutex;

struct Permits {
    /// Free ones. Less than the first waiter wants.
    free: usize,
    /// Taken and not to come back by themselves. Counted for [`BoundedSemaphore`].
    forgotten: usize,
    waiters: WaitList<usize>,
}

impl Permits {
    fn new(free: usize) -> Mutex<Permits> {
        Mutex::new(Permits { free, forgotten: 0, waiters: WaitList::new() })
    }

    fn take(&mut self, count: usize) -> Option<usize> {
        let can = self.waiters.is_empty() && self.free >= count;
        can.then(|| {
            self.free -= count;
            count
        })
    }

    fn put_back(&mut self, count: usize, wakes: &mut Wakes) {
        self.free += count;
        while let Some(wants) = self.waiters.first_wants().filter(|&wants| wants <= self.free) {
            self.free -= wants;
            let granted = self.waiters.grant(wants, wakes);
            debug_assert!(granted.is_ok(), "somebody waits");
        }
    }
}

struct Acquire(usize);

impl Waiter for Acquire {
    type State = Permits;
    type Grant = usize;
    type Output = usize;

    fn list(state: &mut Permits) -> &mut WaitList<usize> {
        &mut state.waiters
    }

    fn wants(&self) -> usize {
        self.0
    }

    fn try_now(&mut self, state: &mut Permits, _: &mut Wakes) -> Option<usize> {
        state.take(self.0)
    }

    fn claim(&mut self, count: usize, _: &mut Permits, _: &mut Wakes) -> usize {
        count
    }

    fn left(&mut self, count: Option<usize>, state: &mut Permits, wakes: &mut Wakes) {
        state.put_back(count.unwrap_or(0), wakes);
    }
}

/// A number of permits, taken and given back by tasks: asyncio's `Semaphore`.
///
/// It is fair: who asks first is served first, and a waiter that is cancelled hands its permits on. It works on any thread, inside a
/// runtime or not.
///
/// ```
/// use std::sync::Arc;
/// use eddies::sync::Semaphore;
///
/// eddies::run(async {
///     let two_at_once = Arc::new(Semaphore::new(2));
///     let tasks: Vec<_> = (0..6)
///         .map(|_| {
///             let two_at_once = two_at_once.clone();
///             eddies::spawn(async move {
///                 let _permit = two_at_once.acquire().await;
///                 eddies::yield_now().await;
///             })
///         })
///         .collect();
///     for task in tasks {
///         task.await.unwrap();
///     }
///     assert_eq!(two_at_once.available_permits(), 2);
/// });
/// ```
pub struct Semaphore {
    /// Any thread.
    permits: Mutex<Permits>,
}

impl Semaphore {
    /// A semaphore with so many permits.
    ///
    /// ```
    /// assert_eq!(eddies::sync::Semaphore::new(3).available_permits(), 3);
    /// ```
    pub fn new(permits: usize) -> Self {
        Semaphore { permits: Permits::new(permits) }
    }

    /// Waits for its turn and takes one permit.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up its turn; a permit that it had just been granted goes to the next waiter.
    ///
    /// ```
    /// eddies::run(async {
    ///     let semaphore = eddies::sync::Semaphore::new(1);
    ///     let permit = semaphore.acquire().await;
    ///     assert_eq!(semaphore.available_permits(), 0);
    ///     drop(permit);
    ///     assert_eq!(semaphore.available_permits(), 1);
    /// });
    /// ```
    pub async fn acquire(&self) -> SemaphorePermit<'_> {
        self.acquire_many(1).await
    }

    /// Waits for its turn and takes `count` permits at once. Those that come later wait behind it, however little they want. If there are
    /// never so many permits, it waits for ever.
    ///
    /// # Cancel safety
    ///
    /// As with [`acquire`](Semaphore::acquire).
    ///
    /// ```
    /// eddies::run(async {
    ///     let semaphore = eddies::sync::Semaphore::new(5);
    ///     assert_eq!(semaphore.acquire_many(3).await.count(), 3);
    /// });
    /// ```
    pub async fn acquire_many(&self, count: usize) -> SemaphorePermit<'_> {
        SemaphorePermit { permits: &self.permits, count: Wait::new(&self.permits, Acquire(count)).await }
    }

    /// Like [`acquire`](Semaphore::acquire), with a permit that keeps the semaphore alive itself.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// eddies::run(async {
    ///     let semaphore = Arc::new(eddies::sync::Semaphore::new(1));
    ///     let permit = semaphore.clone().acquire_owned().await;
    ///     eddies::spawn(async move { drop(permit) }).await.unwrap();
    ///     assert_eq!(semaphore.available_permits(), 1);
    /// });
    /// ```
    pub async fn acquire_owned(self: Arc<Self>) -> OwnedSemaphorePermit {
        let count = Wait::new(&self.permits, Acquire(1)).await;
        OwnedSemaphorePermit { semaphore: self, count }
    }

    /// Takes a permit if that needs no waiting.
    ///
    /// # Errors
    ///
    /// [`NoPermits`] when none is free or others wait.
    ///
    /// ```
    /// let semaphore = eddies::sync::Semaphore::new(1);
    /// let permit = semaphore.try_acquire().unwrap();
    /// assert!(semaphore.try_acquire().is_err());
    /// # drop(permit);
    /// ```
    pub fn try_acquire(&self) -> Result<SemaphorePermit<'_>, NoPermits> {
        self.try_acquire_many(1)
    }

    /// Takes `count` permits if that needs no waiting.
    ///
    /// # Errors
    ///
    /// [`NoPermits`] when fewer are free or others wait.
    ///
    /// ```
    /// assert!(eddies::sync::Semaphore::new(1).try_acquire_many(2).is_err());
    /// ```
    pub fn try_acquire_many(&self, count: usize) -> Result<SemaphorePermit<'_>, NoPermits> {
        let count = self.permits.lock().take(count).ok_or(NoPermits(()))?;
        Ok(SemaphorePermit { permits: &self.permits, count })
    }

    /// Adds `count` permits: asyncio's `release()` without an `acquire()` before it.
    ///
    /// # Panics
    ///
    /// When there would be more than `usize::MAX / 8` free permits: that is a permit given back in a loop.
    ///
    /// ```
    /// let semaphore = eddies::sync::Semaphore::new(0);
    /// semaphore.add_permits(2);
    /// assert_eq!(semaphore.available_permits(), 2);
    /// ```
    pub fn add_permits(&self, count: usize) {
        let mut wakes = Wakes::new();
        let fits = {
            let mut permits = self.permits.lock();
            let fits = permits.free.checked_add(count).is_some_and(|sum| sum <= usize::MAX / 8);
            if fits {
                permits.put_back(count, &mut wakes);
            }
            fits
        };
        wakes.wake();
        assert!(fits, "a semaphore cannot have more than usize::MAX / 8 free permits");
    }

    /// How many permits are free at this moment.
    ///
    /// ```
    /// assert_eq!(eddies::sync::Semaphore::new(4).available_permits(), 4);
    /// ```
    pub fn available_permits(&self) -> usize {
        self.permits.lock().free
    }

    /// Whether [`acquire`](Semaphore::acquire) would wait: none is free, or others wait for more than are free. asyncio's `locked()`.
    ///
    /// ```
    /// assert!(eddies::sync::Semaphore::new(0).is_locked());
    /// ```
    pub fn is_locked(&self) -> bool {
        let permits = self.permits.lock();
        permits.free == 0 || permits.waiters.waiting() > 0
    }
}

fn fmt_permits(permits: &Mutex<Permits>, mut shown: fmt::DebugStruct<'_, '_>) -> fmt::Result {
    let (free, waiting) = {
        let permits = permits.lock();
        (permits.free, permits.waiters.waiting())
    };
    shown.field("available_permits", &free).field("waiting", &waiting).finish()
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_permits(&self.permits, f.debug_struct("Semaphore"))
    }
}

fn give_back(permits: &Mutex<Permits>, count: usize) {
    let mut permits = permits.lock();
    if permits.waiters.is_empty() {
        permits.free += count;
        return;
    }
    let mut wakes = Wakes::new();
    permits.put_back(count, &mut wakes);
    drop(permits);
    wakes.wake();
}

/// Permits taken from a semaphore; dropping it gives them back.
///
/// ```
/// let semaphore = eddies::sync::Semaphore::new(2);
/// let permit = semaphore.try_acquire().unwrap();
/// assert_eq!(permit.count(), 1);
/// ```
#[must_use = "a permit that is dropped at once limits nothing"]
pub struct SemaphorePermit<'a> {
    permits: &'a Mutex<Permits>,
    count: usize,
}

impl SemaphorePermit<'_> {
    /// How many permits it stands for.
    ///
    /// ```
    /// let semaphore = eddies::sync::Semaphore::new(2);
    /// assert_eq!(semaphore.try_acquire_many(2).unwrap().count(), 2);
    /// ```
    pub fn count(&self) -> usize {
        self.count
    }

    /// Keeps the permits out of the semaphore for good, or until `add_permits` or `release`.
    ///
    /// ```
    /// let semaphore = eddies::sync::Semaphore::new(2);
    /// semaphore.try_acquire().unwrap().forget();
    /// assert_eq!(semaphore.available_permits(), 1);
    /// ```
    pub fn forget(mut self) {
        let count = std::mem::take(&mut self.count);
        let mut permits = self.permits.lock();
        permits.forgotten = permits.forgotten.saturating_add(count);
    }
}

impl Drop for SemaphorePermit<'_> {
    fn drop(&mut self) {
        if self.count > 0 {
            give_back(self.permits, self.count);
        }
    }
}

impl fmt::Debug for SemaphorePermit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SemaphorePermit").field("count", &self.count).finish()
    }
}

/// A permit of a [`Semaphore`] in an [`Arc`]: see [`Semaphore::acquire_owned`]. Dropping it gives the permit back.
///
/// ```
/// use std::sync::Arc;
///
/// eddies::run(async {
///     let semaphore = Arc::new(eddies::sync::Semaphore::new(1));
///     let permit = semaphore.clone().acquire_owned().await;
///     assert!(semaphore.is_locked());
///     drop(permit);
/// });
/// ```
#[must_use = "a permit that is dropped at once limits nothing"]
pub struct OwnedSemaphorePermit {
    semaphore: Arc<Semaphore>,
    count: usize,
}

impl Drop for OwnedSemaphorePermit {
    fn drop(&mut self) {
        give_back(&self.semaphore.permits, self.count);
    }
}

impl fmt::Debug for OwnedSemaphorePermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedSemaphorePermit").field("count", &self.count).finish()
    }
}

/// A semaphore that never has more permits than at its birth: asyncio's `BoundedSemaphore`.
///
/// A permit that is dropped comes back by itself, once; so what is left to get wrong is [`release`](BoundedSemaphore::release), for
/// permits that were [forgotten](SemaphorePermit::forget), and that one refuses.
///
/// ```
/// let semaphore = eddies::sync::BoundedSemaphore::new(1);
/// semaphore.try_acquire().unwrap().forget();
/// assert!(semaphore.release().is_ok());
/// assert!(semaphore.release().is_err());
/// ```
pub struct BoundedSemaphore {
    semaphore: Semaphore,
}

impl BoundedSemaphore {
    /// A semaphore with so many permits, and never more.
    ///
    /// ```
    /// assert_eq!(eddies::sync::BoundedSemaphore::new(3).available_permits(), 3);
    /// ```
    pub fn new(permits: usize) -> Self {
        BoundedSemaphore { semaphore: Semaphore::new(permits) }
    }

    /// Waits for its turn and takes one permit: see [`Semaphore::acquire`], also for cancel safety.
    ///
    /// ```
    /// eddies::run(async {
    ///     let semaphore = eddies::sync::BoundedSemaphore::new(1);
    ///     let _permit = semaphore.acquire().await;
    ///     assert!(semaphore.is_locked());
    /// });
    /// ```
    pub async fn acquire(&self) -> SemaphorePermit<'_> {
        self.semaphore.acquire().await
    }

    /// Takes a permit if that needs no waiting.
    ///
    /// # Errors
    ///
    /// [`NoPermits`] when none is free or others wait.
    ///
    /// ```
    /// assert!(eddies::sync::BoundedSemaphore::new(0).try_acquire().is_err());
    /// ```
    pub fn try_acquire(&self) -> Result<SemaphorePermit<'_>, NoPermits> {
        self.semaphore.try_acquire()
    }

    /// Gives back a permit that was [forgotten](SemaphorePermit::forget).
    ///
    /// # Errors
    ///
    /// [`NotTaken`] when no permit of this semaphore is forgotten: it would then have one too many.
    ///
    /// ```
    /// assert!(eddies::sync::BoundedSemaphore::new(1).release().is_err());
    /// ```
    pub fn release(&self) -> Result<(), NotTaken> {
        let mut wakes = Wakes::new();
        {
            let mut permits = self.semaphore.permits.lock();
            permits.forgotten = permits.forgotten.checked_sub(1).ok_or(NotTaken(()))?;
            permits.put_back(1, &mut wakes);
        }
        wakes.wake();
        Ok(())
    }

    /// How many permits are free at this moment.
    ///
    /// ```
    /// assert_eq!(eddies::sync::BoundedSemaphore::new(1).available_permits(), 1);
    /// ```
    pub fn available_permits(&self) -> usize {
        self.semaphore.available_permits()
    }

    /// Whether [`acquire`](BoundedSemaphore::acquire) would wait: see [`Semaphore::is_locked`].
    ///
    /// ```
    /// assert!(!eddies::sync::BoundedSemaphore::new(1).is_locked());
    /// ```
    pub fn is_locked(&self) -> bool {
        self.semaphore.is_locked()
    }
}

impl fmt::Debug for BoundedSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_permits(&self.semaphore.permits, f.debug_struct("BoundedSemaphore"))
    }
}
