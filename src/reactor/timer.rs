//! Deadlines and who waits for them: one [`Timers`] for each event loop.
//!
//! A sleep registers here on its first Pending poll or at the end of it ([`settle`](Timers::settle)), in the loop that polled it, and stays there:
//! when its task has moved to another worker, that worker polls, resets and cancels in this *home*. The owner of the loop fires what is due before it looks for work and
//! after it slept; while the owner is busy with a long poll, a thief does ([`try_fire_due`](Timers::try_fire_due)). All methods may be
//! called from any thread.
//!
//! The entries lie in a [timing wheel](wheel) of 1 ms ticks behind a lock. Nearly always its owner alone takes that lock, and a lock
//! without contention is cheaper than any queue that would keep other threads out. Beside it stands the tick of the next deadline, to be
//! read without the lock, so that "is something due?" costs one load, and a worker about to sleep knows for how long.
//!
//! # Invariants
//!
//! - **T1** Never early: deadlines are rounded up to ticks, the present is rounded down.
//! - **T2** An entry leaves the wheel once, under the lock: by firing, by being cancelled, or by [`close`](Timers::close). Whoever took it
//!   out owns its waker. So a waker is woken once at most, and not at all once `cancel` has returned it to be dropped.
//! - **T3** `next` is written under the lock and is the wheel's own answer when the lock is released. It is never later than a deadline
//!   that waits.
//! - **T4** Whoever makes `next` earlier learns it, and has to look whether the owner sleeps ("nudge"): `next` is stored before
//!   `insert` returns, the nudge begins with `fence(SeqCst)`. The owner announces its sleep, passes a `fence(SeqCst)` too, and reads
//!   `next` after. Whichever fence is first: either the owner reads the new deadline, or the nudge finds it asleep.
//! - **T5** No waker is cloned, woken or dropped under the lock.
//! - **T6** Order: `fire_due` hands out an earlier tick before a later one, and within one tick whoever was inserted or reset first. So equal deadlines
//!   fire in the order of their registration, and of two deadlines within one tick of 1 ms the one that was registered first does, though it
//!   may be the later one. Exact timers have ticks of a nanosecond, and so the order of the deadlines always.
//!
//! # Exact timers
//!
//! Those of a [virtual clock](crate::scheduler::clock), which moves from deadline to deadline: their ticks are nanoseconds, for a clock that nobody
//! has to wait for may as well be exact. A deadline that does not fit, 584 years away, is never reached.
//!
//! # What it deliberately does not do
//!
//! It reads no clock (each caller has just read it, or has a tick), sleeps nowhere, and wakes nobody: due wakers are handed out. It does
//! not move entries between loops.
//!
//! # Rejected
//!
//! - *One wheel for all loops*, or shards that every sleeper has to visit: tokio's experience with both is that the locks are where the
//!   time goes.
//! - *A queue of insertions and cancellations in front of an owner-only wheel*: an allocation and a node per timer, and a timer that was
//!   dropped elsewhere lives until the owner comes round.

mod wheel;

use std::task::Waker;
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

use crate::loom::atomic::{AtomicU64, Ordering};
use crate::loom::{Mutex, MutexGuard};
pub(crate) use wheel::TimerKey;
use wheel::Wheel;

/// Stands for "no deadline" among ticks; the latest deadline is the tick before.
const NEVER: u64 = u64::MAX;

/// How many timers one call fires at most: a bound on how long the lock is held, and on what a loop takes on at once.
pub(crate) const BATCH: usize = 256;

/// What the poll of a registered timer found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Polled {
    /// Not due yet; the waker that was given is the one that will be woken.
    Waiting,
    /// It has fired.
    Fired,
    /// Its worker has not registered it yet, and will wake another task: see [`Timers::keep`].
    Unsettled,
    /// The loop has closed its timers: this one has fired before, or never will.
    Closed,
}

/// When a timer is due.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Due {
    /// Then.
    At(Instant),
    /// So long after it is registered.
    After(Duration),
}

/// What the lock guards.
#[derive(Debug)]
struct Guarded {
    /// Who waits for what.
    wheel: Wheel<Waker>,
    /// Whether the loop is gone: then nothing is inserted any more.
    is_closed: bool,
}

/// The timers of one loop. See the head of this file.
#[derive(Debug)]
pub(crate) struct Timers {
    /// Tick 0. Never changes.
    epoch: Instant,
    /// Whether a tick is a nanosecond, and not a millisecond. Never changes.
    is_exact: bool,
    /// The tick before which nothing is due, or [`NEVER`]. Written under the lock (T3), read by anybody.
    next: CachePadded<AtomicU64>,
    /// The wheel. Locked by the owner, by threads that hold a sleep registered here, and by thieves.
    guarded: Mutex<Guarded>,
}

impl Timers {
    /// No timers; ticks count from `epoch`. Loops with the same epoch have the same ticks.
    pub(crate) fn new(epoch: Instant) -> Self {
        Timers {
            epoch,
            is_exact: false,
            next: CachePadded::new(AtomicU64::new(NEVER)),
            guarded: Mutex::new(Guarded { wheel: Wheel::new(), is_closed: false }),
        }
    }

    /// The last tick that exact timers can reach: the one of "never" comes after it.
    pub(crate) const LAST_EXACT_TICK: u64 = NEVER - 2;

    /// As [`new`](Timers::new), with ticks of a nanosecond.
    pub(crate) fn new_exact(epoch: Instant) -> Self {
        Timers { is_exact: true, ..Timers::new(epoch) }
    }

    /// The tick that `now` lies in.
    #[inline]
    pub(crate) fn tick(&self, now: Instant) -> u64 {
        self.tick_since(now.saturating_duration_since(self.epoch))
    }

    #[inline]
    fn tick_since(&self, since: Duration) -> u64 {
        if self.is_exact {
            return nanos(since).min(Timers::LAST_EXACT_TICK);
        }
        since.as_secs().saturating_mul(1000).saturating_add(u64::from(since.subsec_millis()))
    }

    /// The first tick that does not begin before `deadline` (T1).
    #[inline]
    fn tick_not_before(&self, deadline: Instant) -> u64 {
        self.tick_since_not_before(deadline.saturating_duration_since(self.epoch))
    }

    #[inline]
    fn tick_since_not_before(&self, since: Duration) -> u64 {
        if self.is_exact {
            return nanos(since);
        }
        let ms = u64::from(since.subsec_nanos().div_ceil(1_000_000));
        since.as_secs().saturating_mul(1000).saturating_add(ms)
    }

    /// Registers `waker` to be woken at `deadline`, at once if that has passed. `now` is the caller's clock.
    ///
    /// True beside the key when nothing was due earlier: then T4 asks for a nudge. `None` when the loop has closed its timers.
    pub(crate) fn insert(&self, now: Instant, deadline: Instant, waker: Waker) -> Option<(TimerKey, bool)> {
        self.insert_at(self.tick(now), self.tick_not_before(deadline), waker)
    }

    /// [`insert`](Timers::insert) in ticks.
    pub(crate) fn insert_at(&self, now: u64, deadline: u64, waker: Waker) -> Option<(TimerKey, bool)> {
        let mut guarded = self.guarded.lock();
        if guarded.is_closed {
            return None;
        }
        let key = guarded.wheel.insert(now, deadline.min(NEVER - 1), waker);
        Some((key, self.publish(&guarded.wheel)))
    }

    /// Keeps a place for a timer that comes with [`settle`](Timers::settle), and gives it its key at once. Owner of the loop only. `None` when the loop has
    /// closed its timers.
    pub(crate) fn keep(&self) -> Option<TimerKey> {
        let mut guarded = self.guarded.lock();
        (!guarded.is_closed).then(|| guarded.wheel.keep())
    }

    /// Ends the keeping of a place that nothing came into. Owner of the loop only.
    pub(crate) fn unkeep(&self) {
        self.guarded.lock().wheel.unkeep();
    }

    /// Registers `waker` in the kept place, with the deadline that `due` says, unless the key was reset; and keeps the next place, whose key it returns.
    /// Owner of the loop only, which is awake, and so needs no nudge (T4).
    ///
    /// The waker comes back from a place whose key was given up, to be dropped, and from closed timers, to be woken: then there is no key.
    pub(crate) fn settle(&self, now: Instant, due: Due, waker: Waker) -> (Option<TimerKey>, Option<Waker>) {
        let since = now.saturating_duration_since(self.epoch);
        let deadline = match due {
            Due::At(deadline) => deadline.saturating_duration_since(self.epoch),
            Due::After(duration) => since.saturating_add(duration),
        };
        self.settle_at(self.tick_since(since), self.tick_since_not_before(deadline), waker)
    }

    /// [`settle`](Timers::settle) in ticks.
    pub(crate) fn settle_at(&self, now: u64, deadline: u64, waker: Waker) -> (Option<TimerKey>, Option<Waker>) {
        let mut guarded = self.guarded.lock();
        if guarded.is_closed {
            return (None, Some(waker));
        }
        let left = guarded.wheel.fill(now, deadline.min(NEVER - 1), waker).err();
        self.publish(&guarded.wheel);
        (Some(guarded.wheel.keep()), left)
    }

    /// When a timer is due. `None` when it has fired, its loop is closed, or it is [`Unsettled`](Polled::Unsettled).
    pub(crate) fn deadline(&self, key: TimerKey) -> Option<Instant> {
        let tick = self.guarded.lock().wheel.deadline(key)?;
        self.instant(tick)
    }

    /// Whether the timer has fired; if not, it will wake `waker`.
    pub(crate) fn poll(&self, key: TimerKey, waker: &Waker) -> Polled {
        {
            let mut guarded = self.guarded.lock();
            match guarded.wheel.get_mut(key) {
                None => return guarded.gone(key),
                Some(current) if current.will_wake(waker) => return Polled::Waiting,
                Some(_) => {}
            }
        }
        // T5: cloned without the lock, and so the timer may fire meanwhile.
        let fresh = waker.clone();
        let mut guarded = self.guarded.lock();
        let Some(current) = guarded.wheel.get_mut(key) else { return guarded.gone(key) };
        let old = std::mem::replace(current, fresh);
        drop(guarded);
        drop(old);
        Polled::Waiting
    }

    /// Moves a timer to another deadline, with the waker that it has. `None` when it has fired; else as for [`insert`](Timers::insert): the key may be
    /// another one.
    pub(crate) fn reset(&self, key: TimerKey, deadline: Instant) -> Option<(TimerKey, bool)> {
        self.reset_at(key, self.tick_not_before(deadline))
    }

    /// [`reset`](Timers::reset) in ticks.
    pub(crate) fn reset_at(&self, key: TimerKey, deadline: u64) -> Option<(TimerKey, bool)> {
        let mut guarded = self.guarded.lock();
        let key = guarded.wheel.reset(key, deadline.min(NEVER - 1))?;
        Some((key, self.publish(&guarded.wheel)))
    }

    /// Takes a timer out and returns its waker, to be dropped; `None` when it has fired.
    pub(crate) fn cancel(&self, key: TimerKey) -> Option<Waker> {
        let mut guarded = self.guarded.lock();
        let waker = guarded.wheel.remove(key)?;
        self.publish(&guarded.wheel);
        Some(waker)
    }

    /// The tick before which nothing is due; `None` when nobody waits. One load.
    #[inline]
    pub(crate) fn next_tick(&self) -> Option<u64> {
        // Ordering: Relaxed, publishes nothing: who acts on it takes the lock. A reader about to sleep is paired with the writer in
        // `publish` by the fences of T4; any other reader comes again.
        Some(self.next.load(Ordering::Relaxed)).filter(|&next| next != NEVER)
    }

    /// The instant of [`next_tick`](Timers::next_tick): how long the loop may sleep.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.instant(self.next_tick()?)
    }

    /// The earliest deadline, exactly, where [`next_deadline`](Timers::next_deadline) may name one that was cancelled. `None` when nobody waits, or
    /// only for what exact timers never reach.
    pub(crate) fn earliest_deadline(&self) -> Option<Instant> {
        let earliest = self.guarded.lock().wheel.earliest()?;
        let is_reached = !self.is_exact || earliest <= Timers::LAST_EXACT_TICK;
        is_reached.then(|| self.instant(earliest)).flatten()
    }

    /// When a tick begins.
    fn instant(&self, tick: u64) -> Option<Instant> {
        let since = if self.is_exact { Duration::from_nanos(tick) } else { Duration::from_millis(tick) };
        self.epoch.checked_add(since)
    }

    /// Whether something may be due at `now`. One load.
    #[inline]
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.is_due_at(self.tick(now))
    }

    /// [`is_due`](Timers::is_due) in ticks.
    #[inline]
    pub(crate) fn is_due_at(&self, now: u64) -> bool {
        self.next_tick().is_some_and(|next| next <= now)
    }

    /// Adds the wakers of up to [`BATCH`] timers that are due to `wakers`, the earliest first; returns how many. Whoever gets [`BATCH`]
    /// comes again.
    pub(crate) fn fire_due(&self, now: Instant, wakers: &mut Vec<Waker>) -> usize {
        self.fire_due_at(self.tick(now), wakers)
    }

    /// [`fire_due`](Timers::fire_due) in ticks.
    pub(crate) fn fire_due_at(&self, now: u64, wakers: &mut Vec<Waker>) -> usize {
        if !self.is_due_at(now) {
            return 0;
        }
        self.fire(self.guarded.lock(), now, wakers)
    }

    /// [`fire_due`](Timers::fire_due) for thieves: leaves alone a loop whose lock is held, for then somebody is firing or about to look.
    pub(crate) fn try_fire_due(&self, now: Instant, wakers: &mut Vec<Waker>) -> usize {
        self.try_fire_due_at(self.tick(now), wakers)
    }

    /// [`try_fire_due`](Timers::try_fire_due) in ticks.
    pub(crate) fn try_fire_due_at(&self, now: u64, wakers: &mut Vec<Waker>) -> usize {
        if !self.is_due_at(now) {
            return 0;
        }
        self.guarded.try_lock().map_or(0, |guarded| self.fire(guarded, now, wakers))
    }

    /// Ends the timers of a loop that stops: returns every waker that still waits, to be woken, and refuses new ones. Later calls return
    /// nothing.
    pub(crate) fn close(&self) -> Vec<Waker> {
        let mut guarded = self.guarded.lock();
        guarded.is_closed = true;
        let waiting = guarded.wheel.drain();
        self.publish(&guarded.wheel);
        waiting
    }

    fn fire(&self, mut guarded: MutexGuard<'_, Guarded>, now: u64, wakers: &mut Vec<Waker>) -> usize {
        let count = guarded.wheel.fire(now, BATCH, wakers);
        self.publish(&guarded.wheel);
        count
    }

    /// Brings `next` up to date; true when it became earlier. The caller holds the lock, and has changed the wheel under it.
    #[inline]
    fn publish(&self, wheel: &Wheel<Waker>) -> bool {
        let next = wheel.next().unwrap_or(NEVER);
        // Ordering: Relaxed, the last store was made under the lock that the caller holds.
        let before = self.next.load(Ordering::Relaxed);
        if next != before {
            // Ordering: Relaxed, publishes nothing. That a sleeper does not miss it is the fences' work (T4), see `next_tick`.
            self.next.store(next, Ordering::Relaxed);
        }
        next < before
    }
}

/// In nanoseconds, or the last number there is.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Guarded {
    /// What to say of an entry that is not there.
    fn gone(&self, key: TimerKey) -> Polled {
        if self.wheel.is_kept(key) {
            Polled::Unsettled
        } else if self.is_closed {
            Polled::Closed
        } else {
            Polled::Fired
        }
    }
}

#[cfg(all(test, eddies_loom))]
#[path = "../../loom-tests/models/timers.rs"]
mod models;

#[cfg(all(test, eddies_loom))]
#[path = "../../loom-tests/models/timers_moved.rs"]
mod moved_models;

#[cfg(all(test, not(eddies_loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            // Ordering: Relaxed, one thread.
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn fire(timers: &Timers, now: Instant) -> usize {
        let mut wakers = Vec::new();
        let count = timers.fire_due(now, &mut wakers);
        assert_eq!(wakers.len(), count);
        count
    }

    #[test]
    fn deadlines_round_up_and_the_present_rounds_down() {
        let epoch = Instant::now();
        let timers = Timers::new(epoch);
        let nanos = Duration::from_nanos(1);
        timers.insert(epoch, epoch + ms(5) + nanos, Waker::noop().clone());
        assert_eq!(timers.next_deadline(), Some(epoch + ms(6)));
        assert!(!timers.is_due(epoch + ms(6) - nanos));
        assert_eq!(fire(&timers, epoch + ms(6) - nanos), 0);
        assert!(timers.is_due(epoch + ms(6)));
        assert_eq!(fire(&timers, epoch + ms(6)), 1);
        assert_eq!(timers.next_deadline(), None);
    }

    #[test]
    fn past_and_impossible_deadlines_are_legal() {
        let epoch = Instant::now() + ms(60_000);
        let timers = Timers::new(epoch);
        let (_, is_earliest) = timers.insert(epoch, epoch - ms(50_000), Waker::noop().clone()).unwrap();
        assert!(is_earliest);
        assert_eq!(fire(&timers, epoch), 1);
        let century = epoch + ms(100 * 365 * 86_400_000);
        timers.insert(epoch, century, Waker::noop().clone());
        assert_eq!(timers.next_deadline(), Some(century));
        let (key, is_earliest) = timers.insert_at(0, u64::MAX, Waker::noop().clone()).unwrap();
        assert!(!is_earliest);
        assert_eq!(timers.fire_due_at(u64::MAX - 2, &mut Vec::new()), 1);
        assert_eq!(timers.next_tick(), Some(u64::MAX - 1));
        assert!(timers.cancel(key).is_some());
    }

    #[test]
    fn exact_timers_are_due_to_the_nanosecond_and_never_means_never() {
        let epoch = Instant::now();
        let timers = Timers::new_exact(epoch);
        let nano = Duration::from_nanos(1);
        let end = epoch + Duration::from_nanos(Timers::LAST_EXACT_TICK);
        timers.insert(epoch, end + nano, Waker::noop().clone());
        assert_eq!((timers.earliest_deadline(), fire(&timers, end + ms(1_000))), (None, 0), "after the end of time");
        timers.insert(epoch, end, Waker::noop().clone());
        let (cancelled, _) = timers.insert(epoch, epoch + nano * 65, Waker::noop().clone()).unwrap();
        timers.insert(epoch, epoch + nano * 66, Waker::noop().clone());
        assert!(timers.cancel(cancelled).is_some());
        assert_eq!(timers.next_deadline(), Some(epoch + nano * 65), "what is cheap to know");
        assert_eq!(timers.earliest_deadline(), Some(epoch + nano * 66), "what is true");
        assert_eq!((fire(&timers, epoch + nano * 65), fire(&timers, epoch + nano * 66)), (0, 1));
        assert_eq!(timers.earliest_deadline(), Some(end));
        assert_eq!(fire(&timers, end), 1);
    }

    #[test]
    fn within_a_tick_the_order_is_that_of_registration_and_exact_timers_know_better() {
        let order = |timers: Timers, epoch: Instant| {
            let counts: Vec<_> = (0..3).map(|_| Arc::new(Count::default())).collect();
            for (count, micros) in counts.iter().zip([900, 100, 500]) {
                timers.insert(epoch, epoch + Duration::from_micros(micros), count.clone().into());
            }
            let mut wakers = Vec::new();
            assert_eq!(timers.fire_due(epoch + ms(1), &mut wakers), 3);
            let place = |waker: &Waker| counts.iter().position(|count| waker.will_wake(&count.clone().into())).unwrap();
            wakers.iter().map(place).collect::<Vec<_>>()
        };
        let epoch = Instant::now();
        assert_eq!(order(Timers::new(epoch), epoch), [0, 1, 2]);
        assert_eq!(order(Timers::new_exact(epoch), epoch), [1, 2, 0]);
    }

    #[test]
    fn only_an_earlier_deadline_is_reported() {
        let timers = Timers::new(Instant::now());
        let insert = |tick| timers.insert_at(0, tick, Waker::noop().clone()).unwrap();
        let (first, is_earliest) = insert(100);
        assert!(is_earliest);
        assert!(!insert(100).1);
        assert!(!insert(5000).1);
        assert!(insert(99).1);
        assert_eq!(timers.reset_at(first, 98), Some((first, true)));
        assert_eq!(timers.reset_at(first, 200), Some((first, false)));
        // 98 has left a slot that others are in: its tick is found out to be nobody's when it comes.
        assert_eq!(timers.fire_due_at(98, &mut Vec::new()), 0);
        assert_eq!(timers.next_tick(), Some(99));
    }

    #[test]
    fn a_poll_says_what_became_of_it_and_replaces_the_waker() {
        let timers = Timers::new(Instant::now());
        let (old, new) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let (key, _) = timers.insert_at(0, 5, old.clone().into()).unwrap();
        let waker: Waker = new.clone().into();
        assert_eq!(timers.poll(key, &waker), Polled::Waiting);
        assert_eq!(timers.poll(key, &waker), Polled::Waiting);
        assert_eq!(Arc::strong_count(&old), 1, "the old waker is dropped");
        let mut wakers = Vec::new();
        assert_eq!(timers.try_fire_due_at(5, &mut wakers), 1);
        wakers.drain(..).for_each(Waker::wake);
        // Ordering: Relaxed, one thread.
        assert_eq!(new.0.load(Ordering::Relaxed), 1);
        assert_eq!(timers.poll(key, &waker), Polled::Fired);
        assert!(timers.cancel(key).is_none());
        assert_eq!(timers.reset_at(key, 9), None);
    }

    #[test]
    fn a_batch_is_bounded_and_the_rest_stays_due() {
        let timers = Timers::new(Instant::now());
        for _ in 0..BATCH + 1 {
            timers.insert_at(0, 3, Waker::noop().clone());
        }
        assert_eq!(timers.fire_due_at(3, &mut Vec::new()), BATCH);
        assert!(timers.is_due_at(3));
        assert_eq!(timers.fire_due_at(3, &mut Vec::new()), 1);
        assert!(!timers.is_due_at(u64::MAX));
    }

    #[test]
    fn a_closed_loop_returns_its_wakers_and_takes_no_more() {
        let timers = Timers::new(Instant::now());
        let (key, _) = timers.insert_at(0, 5, Waker::noop().clone()).unwrap();
        assert_eq!(timers.close().len(), 1);
        assert_eq!(timers.poll(key, Waker::noop()), Polled::Closed);
        assert_eq!(timers.insert_at(0, 1, Waker::noop().clone()), None);
        assert_eq!((timers.next_tick(), timers.close().len()), (None, 0));
    }
}
