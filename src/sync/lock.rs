//! A lock whose value travels.
//!
//! The value is in a box. The box lies in the lock while that is free, in the guard while it is locked, and goes from the guard straight to
//! the first waiter when the guard is dropped. So who has the value has the lock: there is no flag that could disagree, nothing unsafe, and
//! a guard can be held across an await and dropped on another thread. The price is one allocation for each lock, made at its birth.
//!
//! Invariant L1: while the box lies in the lock nobody waits. So taking it never overtakes a waiter, and `try_lock` is as fair as `lock`.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::errors::Locked;
use super::wait_list::{Wait, WaitList, Waiter, Wakes};
use crate::loom::Mutex;

/// A mutual exclusion for tasks: asyncio's `Lock`, with the value inside it that it guards.
///
/// It is fair: who asks first (polls first) is served first, and a waiter that is cancelled hands its turn on. It can be held across an
/// `.await`, and used on any thread, inside a runtime or not. Where nothing is awaited under the lock, [`std::sync::Mutex`] is faster.
///
/// A task that panics while it holds the lock unlocks it; there is no poisoning.
///
/// ```
/// use std::sync::Arc;
/// use eddies::sync::Lock;
///
/// eddies::run(async {
///     let count = Arc::new(Lock::new(0));
///     let tasks: Vec<_> = (0..10)
///         .map(|_| {
///             let count = count.clone();
///             eddies::spawn(async move {
///                 let mut count = count.lock().await;
///                 eddies::yield_now().await;
///                 *count += 1;
///             })
///         })
///         .collect();
///     for task in tasks {
///         task.await.unwrap();
///     }
///     assert_eq!(*count.lock().await, 10);
/// });
/// ```
pub struct Lock<T> {
    /// Any thread.
    state: Mutex<LockState<T>>,
}

struct LockState<T> {
    /// The value while nobody holds it. L1.
    value: Option<Box<T>>,
    waiters: WaitList<Box<T>>,
}

impl<T> LockState<T> {
    /// The value comes back: to the first waiter, or to the lock.
    fn put_back(&mut self, value: Box<T>, wakes: &mut Wakes) {
        self.value = self.waiters.grant(value, wakes).err();
    }
}

/// Waits for the value.
struct Turn<T>(PhantomData<fn() -> T>);

impl<T> Waiter for Turn<T> {
    type State = LockState<T>;
    type Grant = Box<T>;
    type Output = Box<T>;

    fn list(state: &mut LockState<T>) -> &mut WaitList<Box<T>> {
        &mut state.waiters
    }

    fn try_now(&mut self, state: &mut LockState<T>, _: &mut Wakes) -> Option<Box<T>> {
        state.value.take()
    }

    fn claim(&mut self, value: Box<T>, _: &mut LockState<T>, _: &mut Wakes) -> Box<T> {
        value
    }

    fn left(&mut self, value: Option<Box<T>>, state: &mut LockState<T>, wakes: &mut Wakes) {
        if let Some(value) = value {
            state.put_back(value, wakes);
        }
    }
}

impl<T> Lock<T> {
    /// An unlocked lock around `value`.
    ///
    /// ```
    /// let lock = eddies::sync::Lock::new(5);
    /// assert_eq!(lock.into_inner(), 5);
    /// ```
    pub fn new(value: T) -> Self {
        Lock { state: Mutex::new(LockState { value: Some(Box::new(value)), waiters: WaitList::new() }) }
    }

    /// Waits for its turn and locks.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up its turn; if the lock had just been handed to it, the next waiter gets it.
    ///
    /// ```
    /// eddies::run(async {
    ///     let lock = eddies::sync::Lock::new(vec![1]);
    ///     lock.lock().await.push(2);
    ///     assert_eq!(*lock.lock().await, [1, 2]);
    /// });
    /// ```
    pub async fn lock(&self) -> LockGuard<'_, T> {
        LockGuard::new(self, self.turn().await)
    }

    /// Like [`lock`](Lock::lock), with a guard that keeps the lock alive itself, for a task or a response that outlives the caller.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// eddies::run(async {
    ///     let lock = Arc::new(eddies::sync::Lock::new(1));
    ///     let mut guard = lock.clone().lock_owned().await;
    ///     eddies::spawn(async move { *guard += 1 }).await.unwrap();
    ///     assert_eq!(*lock.lock().await, 2);
    /// });
    /// ```
    pub async fn lock_owned(self: Arc<Self>) -> OwnedLockGuard<T> {
        let value = self.turn().await;
        OwnedLockGuard::new(self, value)
    }

    /// Locks if that needs no waiting.
    ///
    /// # Errors
    ///
    /// [`Locked`] when somebody holds the lock or has just been handed it.
    ///
    /// ```
    /// let lock = eddies::sync::Lock::new(5);
    /// let guard = lock.try_lock().unwrap();
    /// assert!(lock.try_lock().is_err());
    /// drop(guard);
    /// assert!(lock.try_lock().is_ok());
    /// ```
    pub fn try_lock(&self) -> Result<LockGuard<'_, T>, Locked> {
        let value = self.state.lock().value.take();
        value.map(|value| LockGuard::new(self, value)).ok_or(Locked(()))
    }

    /// [`try_lock`](Lock::try_lock) with a guard that keeps the lock alive itself.
    ///
    /// # Errors
    ///
    /// [`Locked`] when somebody holds the lock or has just been handed it.
    ///
    /// ```
    /// let lock = std::sync::Arc::new(eddies::sync::Lock::new(5));
    /// let guard = lock.clone().try_lock_owned().unwrap();
    /// assert!(lock.is_locked());
    /// # drop(guard);
    /// ```
    pub fn try_lock_owned(self: Arc<Self>) -> Result<OwnedLockGuard<T>, Locked> {
        let value = self.state.lock().value.take();
        value.map(|value| OwnedLockGuard::new(self, value)).ok_or(Locked(()))
    }

    /// Whether somebody holds the lock at this moment: asyncio's `locked()`.
    ///
    /// ```
    /// let lock = eddies::sync::Lock::new(());
    /// assert!(!lock.is_locked());
    /// ```
    pub fn is_locked(&self) -> bool {
        self.state.lock().value.is_none()
    }

    /// The value, of a lock that is the caller's alone.
    ///
    /// # Panics
    ///
    /// When a guard was leaked (`std::mem::forget`): the value went with it.
    ///
    /// ```
    /// let lock = eddies::sync::Lock::new(1);
    /// *lock.try_lock().unwrap() += 1;
    /// assert_eq!(lock.into_inner(), 2);
    /// ```
    pub fn into_inner(self) -> T {
        let value = self.state.lock().value.take();
        *value.expect("a guard of this lock was leaked, and the value with it")
    }

    fn turn(&self) -> Wait<'_, Turn<T>> {
        Wait::new(&self.state, Turn(PhantomData))
    }

    fn put_back(&self, value: Box<T>) {
        let mut wakes = Wakes::new();
        self.state.lock().put_back(value, &mut wakes);
        wakes.wake();
    }
}

impl<T: Default> Default for Lock<T> {
    fn default() -> Self {
        Lock::new(T::default())
    }
}

impl<T> From<T> for Lock<T> {
    fn from(value: T) -> Self {
        Lock::new(value)
    }
}

impl<T: fmt::Debug> fmt::Debug for Lock<T> {
    /// Shows the value, or that it is locked. It holds the lock meanwhile.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.state.lock().waiters.waiting();
        let mut shown = f.debug_struct("Lock");
        match self.try_lock() {
            Ok(guard) => shown.field("value", &*guard),
            Err(_) => shown.field("value", &format_args!("<locked>")),
        };
        shown.field("waiting", &waiting).finish()
    }
}

/// The right to a [`Lock`]'s value; dropping it hands the lock to the first waiter.
///
/// It may be dropped on another thread than the one that locked.
///
/// ```
/// eddies::run(async {
///     let lock = eddies::sync::Lock::new(String::new());
///     let mut guard = lock.lock().await;
///     guard.push('a');
///     assert_eq!(*guard, "a");
/// });
/// ```
#[must_use = "a guard that is dropped at once guards nothing"]
pub struct LockGuard<'a, T> {
    lock: &'a Lock<T>,
    /// The value. None only in `drop`.
    value: Option<Box<T>>,
}

impl<'a, T> LockGuard<'a, T> {
    fn new(lock: &'a Lock<T>, value: Box<T>) -> Self {
        LockGuard { lock, value: Some(value) }
    }

    /// The lock, for who has to lock again.
    pub(super) fn source(&self) -> &'a Lock<T> {
        self.lock
    }
}

impl<T> Drop for LockGuard<'_, T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            self.lock.put_back(value);
        }
    }
}

/// The right to the value of a [`Lock`] in an [`Arc`]: see [`Lock::lock_owned`].
///
/// ```
/// let lock = std::sync::Arc::new(eddies::sync::Lock::new(1));
/// let mut guard = lock.clone().try_lock_owned().unwrap();
/// std::thread::spawn(move || *guard += 1).join().unwrap();
/// assert_eq!(*lock.try_lock().unwrap(), 2);
/// ```
#[must_use = "a guard that is dropped at once guards nothing"]
pub struct OwnedLockGuard<T> {
    lock: Arc<Lock<T>>,
    /// The value. None only in `drop`.
    value: Option<Box<T>>,
}

impl<T> OwnedLockGuard<T> {
    fn new(lock: Arc<Lock<T>>, value: Box<T>) -> Self {
        OwnedLockGuard { lock, value: Some(value) }
    }
}

impl<T> Drop for OwnedLockGuard<T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            self.lock.put_back(value);
        }
    }
}

/// What both guards are: a way to the value.
macro_rules! guard_of_the_value {
    ($(<$($life:lifetime)?> $guard:ty),*) => {$(
        impl<$($life,)? T> Deref for $guard {
            type Target = T;

            fn deref(&self) -> &T {
                self.value.as_ref().expect("the value is in the guard until that is dropped")
            }
        }

        impl<$($life,)? T> DerefMut for $guard {
            fn deref_mut(&mut self) -> &mut T {
                self.value.as_mut().expect("the value is in the guard until that is dropped")
            }
        }

        impl<$($life,)? T: fmt::Debug> fmt::Debug for $guard {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                (**self).fmt(f)
            }
        }

        impl<$($life,)? T: fmt::Display> fmt::Display for $guard {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                (**self).fmt(f)
            }
        }
    )*};
}

guard_of_the_value!(<'a> LockGuard<'a, T>, <> OwnedLockGuard<T>);
