//! The facade: the one place that knows whether the crate runs on the machine or inside a loom model.
//!
//! Everything below takes its threads, locks, atomics and cells from here. In the ordinary build they are the standard library's, with
//! two liberties taken: a lock is never poisoned (user code never runs under one of ours, so a poisoned lock would only turn one panic
//! into many), and a cell gives out raw pointers through closures, as loom's does. Under `cfg(eddies_loom)`, set by the build script of
//! `loom-tests` for that package alone, they are loom's.
//!
//! What loom cannot model and therefore differs: a timed wait never times out, and there is no clock. Models do without both. In mio's place they
//! have the stand-in of `kernel`, for a thread that waits in the real one stops all of loom's.

#[cfg(not(eddies_loom))]
pub(crate) use real::*;

#[cfg(eddies_loom)]
pub(crate) use model::*;

#[cfg(eddies_loom)]
pub(crate) mod kernel;

#[cfg(not(eddies_loom))]
mod real {
    pub(crate) use std::sync::atomic;
    pub(crate) use std::sync::{Arc, OnceLock, Weak};
    pub(crate) use std::thread;
    pub(crate) use std::thread_local;

    /// What a reactor uses of mio.
    pub(crate) mod mio {
        pub(crate) use ::mio::event;
        pub(crate) use ::mio::unix::SourceFd;
        pub(crate) use ::mio::{Events, Interest, Poll, Registry, Token, Waker};
    }

    use std::sync::PoisonError;
    use std::time::Duration;

    /// A mutex that is never poisoned.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T: ?Sized>(std::sync::Mutex<T>);

    pub(crate) use std::sync::MutexGuard;

    impl<T> Mutex<T> {
        pub(crate) const fn new(value: T) -> Self {
            Mutex(std::sync::Mutex::new(value))
        }
    }

    impl<T: ?Sized> Mutex<T> {
        #[inline]
        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        #[inline]
        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            match self.0.try_lock() {
                Ok(guard) => Some(guard),
                Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
                Err(std::sync::TryLockError::WouldBlock) => None,
            }
        }

        /// The value, without locking: nobody else has the mutex.
        #[inline]
        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// A condition variable for [`Mutex`].
    #[derive(Debug, Default)]
    pub(crate) struct Condvar(std::sync::Condvar);

    impl Condvar {
        pub(crate) const fn new() -> Self {
            Condvar(std::sync::Condvar::new())
        }

        pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
            self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)
        }

        /// Waits at most `timeout`; the flag says whether the time ran out.
        pub(crate) fn wait_timeout<'a, T>(
            &self,
            guard: MutexGuard<'a, T>,
            timeout: Duration,
        ) -> (MutexGuard<'a, T>, bool) {
            let (guard, result) = self.0.wait_timeout(guard, timeout).unwrap_or_else(PoisonError::into_inner);
            (guard, result.timed_out())
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    /// What a model sees leaked, as `loom::alloc::Track`. Here it is the value alone.
    #[cfg(any(test, not(feature = "crossbeam-deque")))]
    #[derive(Debug)]
    pub(crate) struct Track<T> {
        _value: T,
    }

    #[cfg(any(test, not(feature = "crossbeam-deque")))]
    impl<T> Track<T> {
        pub(crate) const fn new(value: T) -> Self {
            Track { _value: value }
        }
    }

    /// `std::cell::UnsafeCell` with loom's interface.
    #[derive(Debug)]
    #[repr(transparent)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> Self {
            UnsafeCell(std::cell::UnsafeCell::new(value))
        }

        #[inline]
        pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }

        #[inline]
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }
}

#[cfg(eddies_loom)]
mod model {
    pub(crate) use loom::sync::Arc;
    pub(crate) use loom::sync::atomic;
    pub(crate) use loom::thread;

    pub(crate) use super::kernel as mio;

    /// `std::thread_local!` in its constant form, which loom's does not know: here the values are made when a thread first asks.
    macro_rules! constant_thread_local {
        ($($(#[$attribute:meta])* static $name:ident: $type:ty = const { $init:expr };)*) => {
            loom::thread_local! { $($(#[$attribute])* static $name: $type = $init;)* }
        };
    }
    pub(crate) use constant_thread_local as thread_local;

    pub(crate) use loom::alloc::Track;
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::MutexGuard;

    use std::time::Duration;

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Mutex(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("loom's mutex is never poisoned")
        }

        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }

        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.0.get_mut().expect("loom's mutex is never poisoned")
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Condvar(loom::sync::Condvar);

    impl Condvar {
        pub(crate) fn new() -> Self {
            Condvar(loom::sync::Condvar::new())
        }

        pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
            self.0.wait(guard).expect("loom's mutex is never poisoned")
        }

        /// loom has no time: this is `wait`, and a model that needs the time to run out notifies.
        pub(crate) fn wait_timeout<'a, T>(
            &self,
            guard: MutexGuard<'a, T>,
            _timeout: Duration,
        ) -> (MutexGuard<'a, T>, bool) {
            (self.wait(guard), false)
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    /// A cell that is written once. The value is in one of the standard library's; a flag beside it lets loom see when it is written and looked
    /// at, and show an old state to whoever looks without being ordered after the write.
    #[derive(Debug)]
    pub(crate) struct OnceLock<T> {
        value: std::sync::OnceLock<T>,
        is_set: atomic::AtomicBool,
    }

    impl<T> OnceLock<T> {
        pub(crate) fn new() -> Self {
            OnceLock { value: std::sync::OnceLock::new(), is_set: atomic::AtomicBool::new(false) }
        }

        pub(crate) fn get(&self) -> Option<&T> {
            // Ordering: Acquire pairs with the Release in `set`, as in the standard library's.
            if self.is_set.load(atomic::Ordering::Acquire) { self.value.get() } else { None }
        }

        pub(crate) fn set(&self, value: T) -> Result<(), T> {
            self.value.set(value)?;
            // Ordering: Release pairs with the Acquire in `get`.
            self.is_set.store(true, atomic::Ordering::Release);
            Ok(())
        }

        /// The value; of `make` if there is none. `make` must not pass anything of loom's: another thread would come in here meanwhile.
        pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
            let value = self.value.get_or_init(make);
            // Ordering: AcqRel, as in `get` and `set`, for this thread may have been either.
            self.is_set.swap(true, atomic::Ordering::AcqRel);
            value
        }

        pub(crate) fn take(&mut self) -> Option<T> {
            self.is_set = atomic::AtomicBool::new(false);
            self.value.take()
        }
    }

    /// A point that the threads of a model pass in every order.
    ///
    /// loom decides which orders to try by the last access to an atomic alone. A thread that loads an atomic and then writes it hides,
    /// behind its own load, an earlier load by another thread: the order in which the write comes first is not tried. Threads that begin
    /// by passing one line are tried in every order of their beginnings, whatever they do next. (loom issues 166 and 392.)
    #[cfg(test)]
    #[derive(Debug, Clone)]
    pub(crate) struct StartLine(std::sync::Arc<atomic::AtomicUsize>);

    #[cfg(test)]
    impl StartLine {
        /// A line for one execution of a model.
        pub(crate) fn new() -> Self {
            StartLine(std::sync::Arc::new(atomic::AtomicUsize::new(0)))
        }

        /// The thread that explores passes the line, after it has spawned the others.
        pub(crate) fn pass(&self) {
            // Ordering: Relaxed, must order nothing between the threads, or it would hide what a model looks for.
            self.0.fetch_add(1, atomic::Ordering::Relaxed);
        }

        /// Spawns a thread that passes the line before it does anything else.
        pub(crate) fn spawn<T: 'static>(&self, f: impl FnOnce() -> T + 'static) -> thread::JoinHandle<T> {
            let line = self.clone();
            thread::spawn(move || {
                line.pass();
                f()
            })
        }
    }

    /// Thread switches in one execution: what loom allows before it gives up. Loud: it panics.
    #[cfg(test)]
    const BRANCHES_MAX: usize = 50_000;

    /// Says how far an exploration came, also when a failed assertion ends it.
    #[cfg(test)]
    struct Report<'a> {
        name: &'a str,
        bound: Option<usize>,
        executions: std::sync::Arc<std::sync::atomic::AtomicUsize>,
        start: std::time::Instant,
    }

    #[cfg(test)]
    impl Report<'_> {
        fn executions(&self) -> usize {
            // Ordering: publishes nothing, a count read by the thread that explores.
            self.executions.load(std::sync::atomic::Ordering::Relaxed)
        }
    }

    #[cfg(test)]
    impl Drop for Report<'_> {
        fn drop(&mut self) {
            let bound = self.bound.map_or("every execution".to_owned(), |bound| format!("preemptions <= {bound}"));
            let end = if std::thread::panicking() { ", the last one FAILED" } else { "" };
            println!(
                "model {}: {} executions, {bound}, {:.2} s{end}",
                self.name,
                self.executions(),
                self.start.elapsed().as_secs_f64()
            );
        }
    }

    /// Explores every execution of `model` with at most `preemptions` involuntary thread switches, and prints one line about it.
    ///
    /// `EDDIES_LOOM_PREEMPTIONS` in the environment takes the place of `preemptions`: a number, or `none` for no bound. loom's own
    /// variables cannot cut an exploration short: every limit is set here.
    ///
    /// # Panics
    ///
    /// When an execution fails, and when fewer than `min_executions` (at least two, whatever the caller says) ran: a model whose threads
    /// never meet explores one execution and checks nothing. Under a smaller bound than the model's own, two are enough.
    #[cfg(test)]
    #[track_caller]
    pub(crate) fn check(
        name: &str,
        preemptions: usize,
        min_executions: usize,
        model: impl Fn() + Send + Sync + 'static,
    ) {
        let bound = match std::env::var("EDDIES_LOOM_PREEMPTIONS") {
            Err(_) => Some(preemptions),
            Ok(text) if text == "none" => None,
            Ok(text) => Some(text.parse().expect("EDDIES_LOOM_PREEMPTIONS is a number or `none`")),
        };
        let min = if bound.is_some_and(|bound| bound < preemptions) { 2 } else { min_executions.max(2) };

        // The type is non-exhaustive, so there is no literal: each field that limits is set after the fact.
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = bound;
        builder.max_branches = BRANCHES_MAX;
        builder.max_permutations = None;
        builder.max_duration = None;
        builder.checkpoint_file = None;
        builder.expect_explicit_explore = false;

        let executions = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let report = Report { name, bound, executions: executions.clone(), start: std::time::Instant::now() };
        builder.check(move || {
            // Ordering: publishes nothing; loom runs all threads of a model on the one that explores.
            executions.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            model();
        });
        assert!(
            report.executions() >= min,
            "model {name} ran {} executions, fewer than the {min} that it must have",
            report.executions()
        );
    }
}

#[cfg(all(test, eddies_loom))]
#[path = "../loom-tests/models/harness.rs"]
mod models;
