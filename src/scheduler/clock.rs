//! What time it is for one runtime: the machine's clock, or a virtual one that stands still while anything runs.
//!
//! Timers go by this clock, and nothing else does: the monitor, the distance between two checks, keep-alives and the deadline of a shutdown
//! are about the machine and read its clock themselves.
//!
//! A virtual clock is moved by the one worker of its runtime when that has nothing to run (`Worker::stand_still`), from deadline to deadline. It
//! is read by any thread, and any thread may hold it ([`Clock::hold`]) or drop a wait for [`Clock::advance_by`]: a lock guards it, for only tests
//! come here.
//!
//! - **V1** The time never goes back: only the worker moves it, and only forward.
//! - **V2** Ticks of a virtual clock's timers are nanoseconds counted from `base`, so a jump ends exactly on a deadline. The clock ends with the last
//!   tick that is not "never" ([`Timers`](crate::reactor::timer::Timers)), some 584 years after it began.
//! - **V3** Who lets go of what held the clock nudges the worker, which looks at the holds after it has announced its sleep: one of them sees the
//!   other (model `a_nudge_is_not_lost`).
//!
//! Rejected: *a clock in a thread-local*, as most mocks have it: threads of the blocking pool, `LoopHandle::enter` and a second runtime on the
//! thread would each see another time.

use std::time::{Duration, Instant};

use crate::loom::atomic::AtomicBool;
use crate::loom::atomic::Ordering::Relaxed;
use crate::loom::{Arc, Mutex};
use crate::reactor::timer::Timers;

/// How long the machine's clock must have shown no socket operation before the virtual one may jump past a task that waits for a socket.
const IO_SILENCE: Duration = Duration::from_millis(5);

/// Whether this process has ever made a virtual clock. Set for good by the first; read by every look at the clock.
static ANY_VIRTUAL: AtomicBool = AtomicBool::new(false);

/// Whether there may be a virtual clock. `false` on a thread that is inside a runtime with one cannot happen.
#[inline]
pub(crate) fn any_virtual() -> bool {
    // Ordering: Relaxed: a thread gets inside a runtime by way of something that its builder made after `Clock::new_virtual` had set the flag, and
    // such a thread sees it; a thread that is inside none, or in one whose clock is real, reads the machine's clock either way.
    ANY_VIRTUAL.load(Relaxed)
}

/// One runtime's clock; clones are the same clock.
#[derive(Clone)]
pub(crate) struct Clock {
    /// `None`: the machine's.
    moved: Option<Arc<Virtual>>,
}

/// A clock that is moved by hand.
struct Virtual {
    /// Where it began. Never changes.
    base: Instant,
    state: Mutex<State>,
}

/// Behind the lock.
struct State {
    /// The present. Written by the worker (V1).
    now: Instant,
    /// How many hold the clock.
    holds: usize,
    /// To where it is being moved by hand, whoever holds it.
    targets: Vec<Instant>,
    /// The machine's time of the last operation on a socket.
    last_io: Option<Instant>,
}

impl Clock {
    /// The machine's clock.
    pub(crate) fn new_real() -> Clock {
        Clock { moved: None }
    }

    /// A clock that shows the machine's present, and stands there.
    pub(crate) fn new_virtual() -> Clock {
        // Ordering: Relaxed, see `any_virtual`: the clock is handed on by what publishes the runtime.
        ANY_VIRTUAL.store(true, Relaxed);
        let base = Instant::now();
        let state = State { now: base, holds: 0, targets: Vec::new(), last_io: None };
        Clock { moved: Some(Arc::new(Virtual { base, state: Mutex::new(state) })) }
    }

    /// Timers that go by this clock.
    pub(crate) fn new_timers(&self) -> Timers {
        match &self.moved {
            None => Timers::new(Instant::now()),
            Some(moved) => Timers::new_exact(moved.base),
        }
    }

    #[inline]
    pub(crate) fn is_virtual(&self) -> bool {
        self.moved.is_some()
    }

    /// The present. Any thread.
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        match &self.moved {
            None => Instant::now(),
            Some(moved) => moved.state.lock().now,
        }
    }

    /// The present, for who has just read the machine's clock. Any thread.
    #[inline]
    pub(crate) fn now_given(&self, machine: Instant) -> Instant {
        if self.is_virtual() { self.now() } else { machine }
    }

    /// Owner of the loop only: the virtual clock goes to `deadline`, if that lies ahead.
    pub(crate) fn jump_to(&self, deadline: Instant) {
        if let Some(moved) = &self.moved {
            let mut state = moved.state.lock();
            state.now = state.now.max(deadline);
        }
    }

    /// Whether the clock is on its way to `deadline`, or past it, by somebody's [`advance_by`](Clock::advance_by).
    pub(crate) fn is_advanced_to(&self, deadline: Instant) -> bool {
        let is_beyond = |moved: &Arc<Virtual>| moved.state.lock().targets.iter().any(|&target| target >= deadline);
        self.moved.as_ref().is_some_and(is_beyond)
    }

    /// Whether somebody holds the clock.
    pub(crate) fn is_held(&self) -> bool {
        self.moved.as_ref().is_some_and(|moved| moved.state.lock().holds > 0)
    }

    /// How much longer no task may touch a socket before the clock may jump; `None`: it may.
    pub(crate) fn io_silence_left(&self) -> Option<Duration> {
        let last_io = self.moved.as_ref()?.state.lock().last_io?;
        IO_SILENCE.checked_sub(last_io.elapsed()).filter(|left| !left.is_zero())
    }

    /// A task tried an operation on a socket. Any thread.
    pub(crate) fn note_io(&self) {
        if let Some(moved) = &self.moved {
            let now = Instant::now();
            moved.state.lock().last_io = Some(now);
        }
    }

    /// Keeps the clock from jumping by itself until [`release`](Clock::release). Any thread.
    pub(crate) fn hold(&self) {
        if let Some(moved) = &self.moved {
            moved.state.lock().holds += 1;
        }
    }

    /// Takes one `hold` back. `true`: it was the last, and the worker has to be nudged (V3). Any thread.
    #[must_use]
    pub(crate) fn release(&self) -> bool {
        let Some(moved) = &self.moved else { return false };
        let mut state = moved.state.lock();
        state.holds -= 1;
        state.holds == 0
    }

    /// Moves the clock `duration` ahead, or to its end (V2): it jumps over whatever holds it until the target is reached, or given up with
    /// [`end_advance`](Clock::end_advance). The target; `None` when the clock is real.
    pub(crate) fn advance_by(&self, duration: Duration) -> Option<Instant> {
        let moved = self.moved.as_ref()?;
        let end = moved.base + Duration::from_nanos(Timers::LAST_EXACT_TICK);
        let mut state = moved.state.lock();
        let target = state.now.checked_add(duration).map_or(end, |target| target.min(end));
        state.targets.push(target);
        Some(target)
    }

    /// Takes one `advance_by` to `target` back, reached or not. Any thread.
    pub(crate) fn end_advance(&self, target: Instant) {
        if let Some(moved) = &self.moved {
            let mut state = moved.state.lock();
            if let Some(place) = state.targets.iter().position(|&other| other == target) {
                state.targets.swap_remove(place);
            }
        }
    }
}
