//! The seats of the ring: who may be a loop's thread.
//!
//! A [`Seat`] is the owner's end of a loop. Whoever takes it runs the loop; a seat that nobody holds waits here. Loop 0 is the calling
//! thread's: `block_on` takes its seat, and gives it back at the end. While nobody blocks on the runtime, a *stand-in* thread takes it, so that
//! sockets and timers of loop 0 are served (with more than one worker; a runtime of one loop works only while somebody is inside of it, and
//! then starts no thread at all). A thread that blocks on a runtime whose seat 0 is taken waits without one, and takes it when it comes free.
//!
//! All of it is behind one lock; none of it is on a hot path.

use std::time::{Duration, Instant};

use super::worker::Worker;
use super::{LoopShared, Shared, signal};
use crate::loom::thread::{self, Thread};
use crate::loom::{Arc, Condvar, Mutex};
use crate::queue::DefaultDeque;
use crate::task::Runnable;

/// The owner's end of one loop.
pub(crate) struct Seat {
    pub(crate) index: usize,
    pub(crate) deque: DefaultDeque<Runnable>,
}

impl Seat {
    pub(crate) fn new(index: usize, deque: DefaultDeque<Runnable>) -> Self {
        Seat { index, deque }
    }
}

/// How long `block_on` waits for the stand-in to leave before it goes on without a seat.
const HAND_OVER: Duration = Duration::from_millis(2);

/// The seats that nobody holds, and who wants seat 0.
pub(crate) struct Seats {
    state: Mutex<State>,
    /// A seat came free, or the runtime closes.
    changed: Condvar,
}

/// Read and written under the lock.
struct State {
    free: Vec<Seat>,
    /// Threads in [`Seats::request`]: the stand-in keeps its hands off the seat meanwhile.
    wanted: usize,
    /// Threads that block without a seat: unparked when seat 0 comes free, and preferred to the stand-in for a while.
    waiting: Vec<Thread>,
    has_stand_in: bool,
}

impl State {
    fn take(&mut self, index: usize) -> Option<Seat> {
        let at = self.free.iter().position(|seat| seat.index == index)?;
        Some(self.free.swap_remove(at))
    }
}

impl Seats {
    pub(crate) fn new(seats: Vec<Seat>) -> Self {
        let state = State { free: seats, wanted: 0, waiting: Vec::new(), has_stand_in: false };
        Seats { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Takes the seat of loop `index`, if it is free.
    pub(crate) fn take(&self, index: usize) -> Option<Seat> {
        self.state.lock().take(index)
    }

    /// Whether nobody sits in the seat of loop `index` at this moment.
    pub(crate) fn is_free(&self, index: usize) -> bool {
        self.state.lock().free.iter().any(|seat| seat.index == index)
    }

    /// Takes seat 0, or has the calling thread unparked when it comes free.
    fn take_or_wait(&self) -> Option<Seat> {
        let mut state = self.state.lock();
        let seat = state.take(0);
        if seat.is_none() {
            let this = thread::current();
            if state.waiting.iter().all(|waiting| waiting.id() != this.id()) {
                state.waiting.push(this);
            }
        }
        seat
    }

    /// The calling thread no longer wants to be unparked.
    fn wait_no_more(&self) {
        let this = thread::current().id();
        self.state.lock().waiting.retain(|waiting| waiting.id() != this);
        self.changed.notify_all();
    }

    pub(crate) fn give_back(&self, seat: Seat) {
        let waiting = {
            let mut state = self.state.lock();
            state.free.push(seat);
            state.waiting.clone()
        };
        self.changed.notify_all();
        for thread in waiting {
            thread.unpark();
        }
    }

    /// The shutdown has begun: whoever waits for a seat looks again.
    pub(crate) fn wake_all(&self) {
        drop(self.state.lock());
        self.changed.notify_all();
    }
}

/// A thread that blocks on the runtime without a seat, from its first look for one until it has one or its future is through.
pub(crate) struct Seatless<'a>(&'a Shared);

impl Seatless<'_> {
    /// Takes seat 0, or has the calling thread unparked when it comes free. A stand-in is asked to leave.
    pub(crate) fn take_seat(&self) -> Option<Seat> {
        let seat = self.0.seats.take_or_wait();
        if seat.is_none() && self.0.seats.state.lock().has_stand_in {
            self.0.loops[0].signal(signal::LEAVE);
        }
        seat
    }
}

impl Drop for Seatless<'_> {
    fn drop(&mut self) {
        self.0.seats.wait_no_more();
    }
}

impl Shared {
    /// The calling thread begins to block without a seat.
    pub(crate) fn block_seatless(&self) -> Seatless<'_> {
        Seatless(self)
    }

    /// Seat 0, if it is free or its stand-in leaves it in time.
    pub(crate) fn request_seat(&self) -> Option<Seat> {
        let mut state = self.seats.state.lock();
        if let Some(seat) = state.take(0) {
            return Some(seat);
        }
        if !state.has_stand_in {
            return None;
        }
        state.wanted += 1;
        drop(state);
        self.at(0).signal(signal::LEAVE);
        let deadline = Instant::now() + HAND_OVER;
        let mut state = self.seats.state.lock();
        let seat = loop {
            if let Some(seat) = state.take(0) {
                break Some(seat);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break None;
            }
            state = self.seats.changed.wait_timeout(state, left).0;
        };
        state.wanted -= 1;
        drop(state);
        self.seats.changed.notify_all();
        seat
    }

    /// Sees to it that somebody takes seat 0 while no thread blocks on the runtime. A thread that cannot be started is reported: the
    /// tasks of loop 0 are then stolen by its peers, but its sockets and timers rest until the next `block_on`.
    pub(crate) fn ensure_stand_in(self: &Arc<Self>) {
        if self.settings.workers == 1 {
            return self.end_single_loop();
        }
        if self.is_closing() {
            return;
        }
        let mut state = self.seats.state.lock();
        if state.has_stand_in {
            return;
        }
        state.has_stand_in = true;
        drop(state);
        let shared = self.clone();
        let name = format!("{}-0", self.settings.thread_name);
        if let Err(error) = self.start_thread(name, move || stand_in(&shared)) {
            self.seats.state.lock().has_stand_in = false;
            self.report_loop_error("starting the stand-in for the calling thread", &error);
        }
    }

    /// The loop of one more spare worker, if one is allowed, that a thread is now on its way to.
    pub(super) fn admit_spare(&self) -> Option<Arc<LoopShared>> {
        if self.is_closing() {
            return None;
        }
        let spare = self.spares().iter().find(|spare| spare.try_occupy())?;
        self.put_to_use(spare.index);
        Some(spare.clone())
    }

    /// Starts a spare worker, if one more is allowed: every loop that runs is stalled, or lent, and work waits.
    pub(crate) fn start_spare(self: &Arc<Self>) {
        let Some(spare) = self.admit_spare() else { return };
        let (shared, name) =
            (self.clone(), format!("{}-spare-{}", self.settings.thread_name, spare.index - self.settings.workers));
        let home = spare.clone();
        let body = move || match shared.seats.take(home.index) {
            Some(seat) => Worker::new(shared, seat).run_as_spare(),
            // Its last thread is just leaving. If a spare worker is still wanted at the monitor's next tick it will be found free.
            None => home.set_occupied(false),
        };
        if let Err(error) = self.start_thread(name, body) {
            spare.set_occupied(false);
            self.report_loop_error("starting a spare worker", &error);
        }
    }

    /// A runtime of one loop that was shut down while this thread blocked on it has no other thread to end its tasks. The shutdown looks for
    /// the free seat after it has said that the runtime closes, this thread looks in the opposite order: one of them takes it.
    fn end_single_loop(self: &Arc<Self>) {
        if self.is_closing() && self.is_populated() {
            self.end_tasks();
        }
    }

    /// Sits in seat 0, if it is free, until the shutdown that has begun has ended every task.
    pub(crate) fn end_tasks(self: &Arc<Self>) {
        if let Some(seat) = self.seats.take(0) {
            Worker::new(self.clone(), seat).run_until_closed(false);
        }
    }

    /// Starts a thread of the runtime's own.
    pub(crate) fn start_thread(
        self: &Arc<Self>,
        name: String,
        body: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<()> {
        let settings = &self.settings;
        let mut builder = thread::Builder::new().name(name);
        if let Some(size) = settings.thread_stack_size {
            builder = builder.stack_size(size);
        }
        let (start, stop) = (settings.on_thread_start.clone(), settings.on_thread_stop.clone());
        let handler = settings.exception_handler.clone();
        let shared = self.clone();
        shared.thread_enters();
        let started = builder.spawn(move || {
            crate::report::set_thread_handler(handler);
            super::current::drive_for_good();
            super::home::call_hook(start.as_ref());
            body();
            super::home::call_hook(stop.as_ref());
            shared.thread_leaves();
        });
        match started {
            Ok(handle) => {
                self.keep_thread(handle);
                Ok(())
            }
            Err(error) => {
                self.thread_leaves();
                Err(error)
            }
        }
    }
}

/// Sits in seat 0 whenever nobody else wants it, until the runtime closes.
fn stand_in(shared: &Arc<Shared>) {
    loop {
        let seat = {
            let mut state = shared.seats.state.lock();
            // Who waits for the seat has been unparked and goes first; but it may be in a long poll, and loop 0 must not wait for that.
            let mut has_waited = false;
            loop {
                if shared.is_closing() && !shared.is_populated() {
                    return;
                }
                if state.wanted == 0
                    && (state.waiting.is_empty() || has_waited)
                    && let Some(seat) = state.take(0)
                {
                    break seat;
                }
                (state, has_waited) = if state.waiting.is_empty() {
                    (shared.seats.changed.wait(state), false)
                } else {
                    shared.seats.changed.wait_timeout(state, HAND_OVER)
                };
            }
        };
        Worker::new(shared.clone(), seat).run_until_closed(true);
    }
}
