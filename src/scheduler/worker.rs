//! The loop of one thread: run what is runnable, serve the reactor and the timers, steal, sleep.
//!
//! ```text
//!   signals? ─► next task: run-next slot ─► deque ─► yielded ─► pinned queue ─► inboxes ─► steal
//!      ▲            │ found                                               │ nothing anywhere
//!      │            ▼                                                     ▼
//!      └──── poll it once ◄──── every ~100 us: turn the reactor, fire due timers ◄──── sleep in the reactor or on the futex
//! ```
//!
//! The thread in a loop's seat makes a `Worker` on its stack; it is `!Send` and `!Sync`, and tasks that are pinned to the thread live in it.
//!
//! **Fairness.** The run-next slot is taken at most [`SLOT_RUN_MAX`] times in a row, pinned tasks and the others take turns, the inbox is
//! looked at with every check, a task that yields goes to the back, and a poll has a budget. The main future gets a turn between any two tasks.
//!
//! **Who yields after a long poll lets all others go first.** Such a task goes to the loop's `yielded` queue, which is looked at when nothing else is
//! runnable here, and after [`PASSED_OVER_MAX`] tasks all the same. So the answer to a request waits for the end of one computation and not for one of
//! each task that computes. Idle workers take from it too. Spare workers do not, for they are there for what cannot wait, and each that computed would be one
//! more that is stalled; only from a loop that is away, or nobody would. Under a virtual clock, which no measured time may meddle with, such tasks go to the back
//! of the deque as all others do.
//!
//! **When is a peer woken?** At once for tasks that are spawned, that come from outside or that go to the back; for tasks that the reactor or a timer woke
//! only if they are, by the mean of the polls so far, more than this loop is through with in [`WORTH_A_WAKE`]. (An echo server whose batches of ten
//! woke a peer each time spent a third more CPU on a request.) A peer that searches anyway takes them, and, if there are none, the reactor's turn.
//!
//! **When is the reactor turned under load?** By time, not by count: sixty tasks may take two microseconds or half a second. Each check reads
//! the clock once and sets the distance, in polls, to the next one so that checks come about every [`CHECK_PERIOD`]; between two checks no clock
//! is read. Tasks that suddenly become long are the monitor's business: it leaves the signal TURN
//! within two of its looks, so after 11 ms at most, or while it listens at the first event; after a millisecond or two if polls are that long. (lalinsky/zio
//! has the same budget; tokio counts to 61.)

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use self::attending::Attending;
use self::linger::{LOOKS, Linger};
use self::neighbour::Neighbour;
use super::call_timers::CallTimers;
use super::fresh_timer::FreshTimer;
use super::park::{Notice, Place};
use super::seat::Seat;
use super::{LoopShared, Shared, current, signal};
use crate::loom::Arc;
use crate::loom::atomic::AtomicUsize;
use crate::loom::atomic::Ordering::Relaxed;
use crate::queue::{DefaultDeque, Deque, DequeStealer, Stolen};
use crate::rand::Rand;
use crate::reactor::timer;
use crate::report::{self, ExceptionKind};
use crate::task::{self, Outcome, Runnable};

/// Events taken from the kernel in one turn.
pub(crate) const EVENTS: usize = 512;

/// How often the run-next slot is preferred to the queue before the queue gets a turn.
const SLOT_RUN_MAX: u32 = 3;

/// How deep eager tasks may begin eager tasks: the stack is the thread's.
const EAGER_DEPTH_MAX: u32 = 16;

/// Most tasks taken from a peer at once.
const STEAL_MAX: usize = 32;

/// How many tasks may be preferred to one that yielded after a long poll.
const PASSED_OVER_MAX: u32 = 16;

/// A poll this long is one that others should not queue behind more than once.
const LONG_POLL: Duration = CHECK_PERIOD;

/// How often a loop steals from one that it was asked to help beside its own work: the monitor asks again if there is more.
const HELP_STEALS: usize = 16;

/// How often a busy loop looks at its reactor, its timers and its inbox.
const CHECK_PERIOD: Duration = Duration::from_micros(100);

/// Most polls between two checks.
const CHECK_INTERVAL_MAX: u32 = 128;

/// Tasks that were just woken are worth a wake-up of a peer if this loop is not through with them in so much time: the wake-up costs its sender
/// 2 us and comes into effect after ten or so, and the memory of the tasks and of their sockets moves to the cache of another CPU.
const WORTH_A_WAKE: Duration = CHECK_PERIOD;

/// What a poll is taken to last before any was measured.
const POLL_TIME_AT_FIRST: Duration = Duration::from_micros(10);

/// Of a batch that is woken, the task so many places behind is fetched from memory meanwhile: a fetch takes as long as a few wakes.
const FETCHED_AHEAD: usize = 4;

/// How many running peers a search may relieve of a look at their reactor: each is a system call.
const REACTORS_TRIED_MAX: usize = 2;

/// What others see of a loop. The owner alone writes, with plain loads and stores; the monitor reads, and the loop before it in the ring (`neighbour.rs`).
pub(crate) struct Progress {
    polls: AtomicUsize,
    turns: AtomicUsize,
    /// What is being polled: the address of a task, [`MAIN_FUTURE`], or 0 between two polls.
    polled: AtomicUsize,
}

/// Stands for the main future in [`Progress::polled`]; no task has an odd address.
pub(crate) const MAIN_FUTURE: usize = 1;

impl Progress {
    pub(crate) fn new() -> Self {
        Progress { polls: AtomicUsize::new(0), turns: AtomicUsize::new(0), polled: AtomicUsize::new(0) }
    }

    #[inline]
    fn count(counter: &AtomicUsize) {
        // Ordering: Relaxed: this thread is the only writer, and who reads compares values of one counter with themselves.
        let before = counter.load(Relaxed);
        // Ordering: Relaxed: as above; nothing is published.
        counter.store(before.wrapping_add(1), Relaxed);
    }

    /// Owner thread only: a poll begins.
    #[inline]
    fn begin_poll(&self, polled: usize) {
        Progress::count(&self.polls);
        // Ordering: Relaxed: the monitor looks the address up among the live tasks and never follows it.
        self.polled.store(polled, Relaxed);
    }

    /// Owner thread only: the poll is over.
    #[inline]
    fn end_poll(&self) {
        // Ordering: Relaxed: as in `begin_poll`.
        self.polled.store(0, Relaxed);
    }

    /// Polls begun and turns made so far, modulo the word.
    pub(crate) fn read(&self) -> (usize, usize) {
        // Ordering: Relaxed: a hint for the monitor and for neighbours.
        let polls = self.polls.load(Relaxed);
        // Ordering: Relaxed: as above.
        (polls, self.turns.load(Relaxed))
    }

    /// What is being polled now, if anything.
    pub(crate) fn polled(&self) -> Option<usize> {
        // Ordering: Relaxed: a hint for the monitor.
        Some(self.polled.load(Relaxed)).filter(|&polled| polled != 0)
    }
}

/// The loop, seen from the thread in its seat.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    home: Arc<LoopShared>,
    seat: Option<Seat>,
    /// Runnable local tasks.
    pub(super) pinned: RefCell<VecDeque<Runnable>>,
    rand: Rand,
    /// Polls so far.
    tick: Cell<u32>,
    /// The tick of the next check, and the distance it was set at.
    next_check: Cell<u32>,
    last_check: Cell<(u32, Instant)>,
    /// What a poll takes here, in nanoseconds: a running mean.
    poll_time: Cell<u64>,
    linger: Linger,
    /// The loop that this one looks after while both run.
    neighbour: Neighbour,
    /// How often in a row the run-next slot was taken.
    slot_run: Cell<u32>,
    /// How many tasks were preferred to those of the `yielded` queue since it was last taken from.
    passed_over: Cell<u32>,
    /// How many eager tasks are in their first poll, each begun by the one before.
    eager_depth: Cell<u32>,
    /// Where a task goes that is woken on this thread.
    placing: Cell<Placing>,
    /// What is to be called later on this loop.
    calls: Rc<CallTimers>,
    /// The timer that the running poll has made.
    pub(super) fresh_timer: FreshTimer,
    /// Debug mode: what takes longer in an iteration is reported.
    pub(super) slow_call: Cell<Option<Duration>>,
    /// Under a virtual clock: how many tasks of the deque and of the pinned queue were woken at this instant before the main future was.
    ahead_of_main: Cell<(usize, usize)>,
    /// Wakers collected from reactor and timers; kept to reuse its memory.
    wakers: RefCell<Vec<Waker>>,
    /// The stalled loops that this one was sent to, which it sleeps over.
    attending: RefCell<Attending>,
    /// What becomes ready on the own reactor is told to the monitor, once.
    is_armed: Cell<bool>,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, seat: Seat) -> Self {
        let home = shared.at(seat.index).clone();
        home.set_occupied(true);
        let now = Instant::now();
        Worker {
            rand: Rand::new(seat.index as u32),
            seat: Some(seat),
            pinned: RefCell::new(VecDeque::new()),
            tick: Cell::new(0),
            next_check: Cell::new((CHECK_PERIOD.as_nanos() / POLL_TIME_AT_FIRST.as_nanos()) as u32),
            last_check: Cell::new((0, now)),
            poll_time: Cell::new(POLL_TIME_AT_FIRST.as_nanos() as u64),
            linger: Linger::new(),
            neighbour: Neighbour::new(),
            slot_run: Cell::new(0),
            passed_over: Cell::new(0),
            eager_depth: Cell::new(0),
            placing: Cell::new(if shared.settings.is_fifo { Placing::Fifo } else { Placing::Slot }),
            calls: Rc::new(CallTimers::new(&home)),
            fresh_timer: FreshTimer::new(&home),
            slow_call: Cell::new(None),
            ahead_of_main: Cell::new((0, 0)),
            wakers: RefCell::new(Vec::with_capacity(EVENTS)),
            attending: RefCell::new(Attending::new()),
            is_armed: Cell::new(false),
            shared,
            home,
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn home(&self) -> &Arc<LoopShared> {
        &self.home
    }

    pub(crate) fn calls(&self) -> &Rc<CallTimers> {
        &self.calls
    }

    #[inline]
    pub(crate) fn is_of(&self, runtime: &std::sync::Weak<Shared>) -> bool {
        std::ptr::eq(Arc::as_ptr(&self.shared), runtime.as_ptr())
    }

    #[inline]
    pub(crate) fn sits_in(&self, home: &LoopShared) -> bool {
        std::ptr::eq(&*self.home, home)
    }

    #[inline]
    pub(super) fn deque(&self) -> &DefaultDeque<Runnable> {
        &self.seat.as_ref().expect("the seat is taken out only when the worker ends").deque
    }

    /// THE loop. `on_signals` hears what other threads left for this one, and ends the loop by answering.
    pub(crate) fn run<R>(&self, mut on_signals: impl FnMut(u32) -> Option<R>) -> R {
        let _restore = current::drive(self);
        self.step_before_the_monitor();
        loop {
            let signals = self.home.signals.take();
            if signals != 0 {
                if signals & signal::COMMON != 0 {
                    self.serve_signals(signals);
                }
                if signals & signal::MAIN != 0 {
                    self.run_ahead_of_main();
                }
                if let Some(result) = on_signals(signals) {
                    return result;
                }
            }
            match self.next_task() {
                Some(runnable) => self.run_task(runnable),
                None => self.search_or_sleep(),
            }
        }
    }

    /// This thread begins to run: from now on the monitor watches it.
    pub(super) fn step_before_the_monitor(&self) {
        if self.shared.is_watched() {
            self.home.cpu.sit_down();
            self.stir_monitor();
        }
    }

    /// This thread runs, for the first time or after a sleep.
    fn stir_monitor(&self) {
        // Nobody is to compare this point with one in the sleep.
        Progress::count(&self.home.progress.turns);
        if self.shared.monitor.stir(&self.home.reactor) {
            self.is_armed.set(true);
        }
    }

    /// A sleep is over, and what ended it is in the queues: the monitor, if it listens, is told of tasks that others could run. They have come together
    /// with what this thread runs first, and trip nothing.
    fn tell_of_others(&self) {
        let tasks = self.deque().len() + usize::from(!self.home.next.is_empty());
        let has_own = || {
            self.home.signals.has(signal::MAIN | signal::CALLS)
                || !self.pinned.borrow().is_empty()
                || !self.home.pinned_inbox.is_empty()
        };
        if tasks > 1 || tasks == 1 && has_own() {
            self.shared.monitor.hurry();
        }
    }

    /// This thread is about to sleep or to leave.
    fn disarm(&self) {
        if self.is_armed.take() {
            self.shared.monitor.disarm(&self.home.reactor);
        }
    }

    /// What concerns every loop among the signals, whoever runs it.
    #[cold]
    pub(super) fn serve_signals(&self, signals: u32) {
        if signals & signal::TURN != 0 {
            self.check();
        }
        if signals & signal::CALLS != 0 {
            self.calls.fire(&mut self.pinned.borrow_mut());
        }
        if signals & signal::HELP != 0 {
            self.help();
        }
        if signals & signal::CLOSE != 0 && self.shared.is_closing() {
            self.calls.clear(&mut self.pinned.borrow_mut());
        }
    }

    /// What a thread of the runtime's own does: run until the shutdown has ended every task, or, if `may_leave`, until the seat is wanted. Local
    /// tasks that were spawned on it keep it: whoever wants the seat does without.
    pub(crate) fn run_until_closed(&self, may_leave: bool) {
        if self.shared.is_closing() {
            self.home.signal(signal::CLOSE);
        }
        self.run(|signals| {
            let is_done = signals & signal::CLOSE != 0 && self.shared.is_closing() && !self.shared.is_populated();
            let is_wanted = may_leave && signals & signal::LEAVE != 0 && !self.home.has_local();
            (is_done || is_wanted).then_some(())
        });
    }

    /// What a spare worker's thread does: run until it has been idle for a while, or the shutdown has ended every task. Local tasks that were
    /// spawned on it keep it.
    pub(crate) fn run_as_spare(&self) {
        if self.shared.is_closing() {
            self.home.signal(signal::CLOSE);
        }
        self.run(|signals| {
            let is_closed = self.shared.is_closing() && !self.shared.is_populated();
            let is_surplus = signals & signal::LEAVE != 0 && !self.home.has_local();
            (is_closed || is_surplus).then_some(())
        });
    }

    /// Whether the runtime has no loop but this one, and will have none.
    pub(crate) fn is_alone(&self) -> bool {
        !self.shared.has_peers()
    }

    /// Whether this thread may block in the middle of a poll: others can take over.
    pub(crate) fn can_lend(&self) -> bool {
        self.shared.has_peers()
    }

    /// Has the peers take over this loop's work until the guard is dropped.
    pub(crate) fn lend(&self) -> Lent<'_> {
        let polled = self.begin_lending();
        if self.shared.send_rescuer(self.home.index).is_none() && self.shared.all_stalled() {
            self.shared.start_spare();
        }
        self.shared.monitor.hurry();
        Lent { worker: self, polled }
    }

    /// Lays open what is queued here. What was being polled.
    fn begin_lending(&self) -> Option<usize> {
        self.lay_open();
        self.settle_fresh();
        let polled = self.home.progress.polled();
        self.home.progress.end_poll();
        self.home.set_lent(true);
        polled
    }

    /// What this thread was to run itself goes where anybody finds it.
    fn lay_open(&self) {
        if let Some(runnable) = self.home.next.take() {
            self.deque().push(runnable);
        }
        while let Some(runnable) = self.home.yielded.pop() {
            self.deque().push(runnable);
        }
    }

    fn end_lending(&self, polled: Option<usize>) {
        self.home.set_lent(false);
        if let Some(polled) = polled {
            self.home.progress.begin_poll(polled);
        }
    }

    /// The loop that sockets, timers and tasks made here belong to: a spare worker's own is not there to stay.
    pub(crate) fn service_home(&self) -> &Arc<LoopShared> {
        if self.home.index < self.shared.settings.workers { &self.home } else { self.shared.pick_loop() }
    }

    // ---- what tasks call -------------------------------------------------------------------------------------------------------

    /// A task was woken, or spawned, by something on this thread.
    #[inline]
    pub(crate) fn schedule(&self, runnable: Runnable) {
        match self.placing.get() {
            Placing::Slot => {
                if let Err(runnable) = self.home.next.fill(runnable) {
                    self.deque().push(runnable);
                    self.shared.publish();
                }
            }
            Placing::Deque => self.deque().push(runnable),
            Placing::Fifo => self.schedule_local(runnable),
        }
    }

    /// A local task or a callback of this loop was woken or made on this thread.
    pub(crate) fn schedule_local(&self, runnable: Runnable) {
        self.pinned.borrow_mut().push_back(runnable);
    }

    // ---- running ---------------------------------------------------------------------------------------------------------------

    fn next_task(&self) -> Option<(Runnable, Origin)> {
        let tick = self.tick.get().wrapping_add(1);
        self.tick.set(tick);
        if tick == self.next_check.get() {
            self.check();
        }
        if tick & 1 == 0 {
            self.next_pinned().or_else(|| self.next_shared())
        } else {
            self.next_shared().or_else(|| self.next_pinned())
        }
    }

    #[inline]
    pub(super) fn next_shared(&self) -> Option<(Runnable, Origin)> {
        if !self.home.yielded.is_empty()
            && let Some(runnable) = self.next_yielded()
        {
            return Some((runnable, Origin::Shared));
        }
        if let Some(runnable) = self.home.next.take() {
            let run = self.slot_run.get() + 1;
            if run <= SLOT_RUN_MAX {
                self.slot_run.set(run);
                return Some((runnable, Origin::Shared));
            }
            self.deque().push(runnable);
            self.publish_surplus();
        }
        self.slot_run.set(0);
        self.deque().pop().map(|runnable| (runnable, Origin::Shared))
    }

    /// One that yielded after a long poll, if nothing else waits here, or such tasks were passed over often enough.
    #[cold]
    fn next_yielded(&self) -> Option<Runnable> {
        let passed_over = self.passed_over.get() + 1;
        if passed_over <= PASSED_OVER_MAX && (!self.home.next.is_empty() || self.deque().len() > 0) {
            self.passed_over.set(passed_over);
            return None;
        }
        self.passed_over.set(0);
        self.home.yielded.pop()
    }

    #[inline]
    fn next_pinned(&self) -> Option<(Runnable, Origin)> {
        self.fetch_pinned();
        self.pinned.borrow_mut().pop_front().map(|runnable| (runnable, Origin::Pinned))
    }

    /// Moves what others sent to the back of the own queue.
    #[inline]
    pub(crate) fn fetch_pinned(&self) {
        if !self.home.pinned_inbox.is_empty() {
            self.pinned.borrow_mut().extend(self.home.pinned_inbox.take_all());
        }
    }

    #[inline]
    pub(super) fn run_task(&self, (runnable, origin): (Runnable, Origin)) {
        self.home.progress.begin_poll(runnable.address());
        let outcome = runnable.run();
        self.home.progress.end_poll();
        self.settle_fresh();
        match outcome {
            Outcome::Idle | Outcome::Finished => {}
            Outcome::Reschedule(runnable) => self.reschedule(runnable, origin),
        }
    }

    /// The first poll of an eager task, in the midst of what this thread does. Tasks that begin each other go to the queue when they are too deep.
    pub(super) fn run_at_once(&self, runnable: Runnable, origin: Origin) {
        let depth = self.eager_depth.get();
        if depth == EAGER_DEPTH_MAX {
            return match origin {
                Origin::Shared => self.schedule(runnable),
                Origin::Pinned => self.schedule_local(runnable),
            };
        }
        self.eager_depth.set(depth + 1);
        let polled = self.home.progress.polled();
        // No guard: a panic of the task is caught further in, and nothing else here panics.
        self.run_task((runnable, origin));
        if let Some(polled) = polled {
            self.home.progress.begin_poll(polled);
        }
        self.eager_depth.set(depth);
    }

    /// Polls the main future, under the eyes of the monitor.
    pub(crate) fn poll_main<R>(&self, poll: impl FnOnce() -> R) -> R {
        self.home.progress.begin_poll(MAIN_FUTURE);
        let polled = poll();
        self.home.progress.end_poll();
        self.settle_fresh();
        polled
    }

    /// Timers of a virtual clock that are due at one instant take effect in the order in which they fire: who was woken before the main future is
    /// polled before it. (A real clock has no such instants, and there the main future is polled first.)
    #[inline]
    fn run_ahead_of_main(&self) {
        let (shared, pinned) = self.ahead_of_main.take();
        for _ in 0..shared {
            if let Some(runnable) = self.deque().pop() {
                self.run_task((runnable, Origin::Shared));
            }
        }
        for _ in 0..pinned {
            if let Some(runnable) = self.next_pinned() {
                self.run_task(runnable);
            }
        }
    }

    /// The task was woken while it ran: it goes to the back.
    fn reschedule(&self, runnable: Runnable, origin: Origin) {
        match origin {
            Origin::Pinned => self.pinned.borrow_mut().push_back(runnable),
            Origin::Shared if self.has_polled_long() => self.reschedule_last(runnable),
            Origin::Shared => {
                self.deque().push(runnable);
                self.publish_surplus();
            }
        }
    }

    /// Whether the poll that has just ended was a long one. The clock is read only where polls are long by the mean: there it is read before each one,
    /// too (`check`). Not in the runtime of an event loop, whose iterations make no checks, and are an order of their own.
    #[inline]
    fn has_polled_long(&self) -> bool {
        self.poll_time.get() >= LONG_POLL.as_nanos() as u64
            && self.last_check.get().1.elapsed() >= LONG_POLL
            && !self.home.clock.is_virtual()
            && self.shared.owner.get().is_none()
    }

    /// The task lets all others go first: of this loop or, on a spare worker, of a worker's.
    #[cold]
    fn reschedule_last(&self, runnable: Runnable) {
        let home = if self.is_spare() { self.shared.pick_present_loop() } else { Some(&self.home) };
        let Some(home) = home else {
            self.deque().push(runnable);
            return self.publish_surplus();
        };
        home.yielded.push(runnable);
        // A single one is no reason to wake anybody if this thread runs it next.
        if self.is_spare() || home.yielded.len() > 1 || self.deque().len() > 0 || !home.next.is_empty() {
            self.shared.publish_yielded();
        }
    }

    fn is_spare(&self) -> bool {
        self.home.index >= self.shared.settings.workers
    }

    /// Work came into this loop's queues that no peer was told of: tells one, if this loop has more than the task it runs next.
    #[inline]
    pub(super) fn publish_surplus(&self) {
        if self.has_surplus() {
            self.shared.publish();
        }
    }

    /// As [`publish_surplus`](Worker::publish_surplus), for tasks that have been polled before: only if they are more than this loop is through with soon. What
    /// is said here may be wrong, for a poll may last longer than those before; then the monitor sends somebody.
    fn publish_backlog(&self) {
        let backlog = self.poll_time.get().saturating_mul(self.deque().len() as u64);
        if u128::from(backlog) > WORTH_A_WAKE.as_nanos() || !self.home.inbox.is_empty() {
            self.publish_surplus();
        }
    }

    /// So many polls from now as fit into [`CHECK_PERIOD`], at most `max`: by what the last ones took, in nanoseconds, or the mean if that is longer, for a
    /// short poll among long ones says little of the next.
    fn set_next_check(&self, poll_time: u64, max: u32) {
        let affordable = CHECK_PERIOD.as_nanos() as u64 / poll_time.max(self.poll_time.get()).max(1);
        self.next_check.set(self.tick.get().wrapping_add(affordable.clamp(1, u64::from(max)) as u32));
    }

    /// The last `polls` polls took `passed` in all.
    fn learn_poll_time(&self, polls: u32, passed: Duration) {
        let passed = u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX);
        let mean = self.poll_time.get();
        self.poll_time.set(mean - mean / 4 + passed / u64::from(polls) / 4);
    }

    /// Whether there is more in this loop's queues than the task it runs next.
    #[inline]
    fn has_surplus(&self) -> bool {
        self.deque().len() + usize::from(!self.home.next.is_empty()) > 1 || !self.home.inbox.is_empty()
    }

    /// Looks at clock, reactor, timers and inbox, and sets the time of the next look.
    fn check(&self) {
        let now = Instant::now();
        let tick = self.tick.get();
        let (last_tick, last_time) = self.last_check.get();
        let passed = now.saturating_duration_since(last_time);
        let polls = tick.wrapping_sub(last_tick).max(1);
        self.learn_poll_time(polls, passed);
        let of_these = u64::try_from(passed.as_nanos() / u128::from(polls)).unwrap_or(u64::MAX);
        self.set_next_check(of_these, CHECK_INTERVAL_MAX);
        if passed >= CHECK_PERIOD / 2 {
            self.last_check.set((tick, now));
            if self.shared.is_watched() {
                self.look_at_neighbour(now);
            }
            self.turn(Some(Duration::ZERO));
        }
        if self.drain_inbox(&self.home) {
            self.publish_surplus();
        }
    }

    // ---- reactor and timers ----------------------------------------------------------------------------------------------------

    /// Serves the loop's reactor and timers, waiting at most `timeout` for the reactor.
    pub(super) fn turn(&self, timeout: Option<Duration>) {
        Progress::count(&self.home.progress.turns);
        let mut wakers = std::mem::take(&mut *self.wakers.borrow_mut());
        if self.home.reactor.sources() > 0
            && let Err(error) = self.home.reactor.turn(timeout, &mut wakers)
        {
            self.shared.report_loop_error("turning the reactor", &error);
            crate::loom::thread::yield_now();
        }
        self.fire_timers(&mut wakers);
        self.dispatch(wakers);
    }

    /// Collects what is due now; a crowd comes out in batches, with the lock free in between.
    fn fire_timers(&self, wakers: &mut Vec<Waker>) {
        if self.home.timers.next_tick().is_none() {
            return;
        }
        let now = self.home.clock.now();
        while self.home.timers.fire_due(now, wakers) == timer::BATCH {}
    }

    /// Wakes what became ready. The tasks go to the deque, and one decision about waking a peer is taken for all of them.
    fn dispatch(&self, mut wakers: Vec<Waker>) {
        if !wakers.is_empty() {
            let placing = self.placing.get();
            if placing == Placing::Slot {
                self.placing.set(Placing::Deque);
            }
            let is_virtual = self.home.clock.is_virtual();
            let mut due = wakers.drain(..);
            while let Some(waker) = due.next() {
                if let Some(later) = due.as_slice().get(FETCHED_AHEAD) {
                    task::prefetch(later);
                }
                let ahead = if is_virtual && !self.home.signals.has(signal::MAIN) { Some(self.queued()) } else { None };
                report::catch(ExceptionKind::Waker, || waker.wake());
                if let Some(ahead) = ahead.filter(|_| self.home.signals.has(signal::MAIN)) {
                    self.ahead_of_main.set(ahead);
                }
            }
            drop(due);
            self.placing.set(placing);
            self.publish_backlog();
        }
        *self.wakers.borrow_mut() = wakers;
    }

    /// How many tasks wait in the deque and in the pinned queue.
    fn queued(&self) -> (usize, usize) {
        (self.deque().len(), self.pinned.borrow().len())
    }

    /// Does for `stalled`, whose owner is stuck in a poll, what can be done from here: its reactor, its timers, its run-next slot. Its deque
    /// and inbox are found by the search that follows.
    fn rescue(&self, stalled: &LoopShared) {
        let mut wakers = std::mem::take(&mut *self.wakers.borrow_mut());
        stalled.reactor.try_turn(&mut wakers);
        if stalled.timers.next_tick().is_some() {
            stalled.timers.try_fire_due(stalled.clock.now(), &mut wakers);
        }
        self.dispatch(wakers);
        if let Some(runnable) = stalled.next.take() {
            self.deque().push(runnable);
            self.publish_surplus();
        }
    }

    /// Helps a stalled loop between two polls of the own tasks. A worker that always has something to run never searches, so what is queued there
    /// is fetched too.
    fn help(&self) {
        let Some(stalled) = self.home.rescue.take().filter(|&stalled| stalled != self.home.index) else { return };
        self.take_over(self.shared.at(stalled));
    }

    /// Takes over what waits on a stalled loop.
    fn take_over(&self, stalled: &Arc<LoopShared>) {
        self.rescue(stalled);
        self.attend(stalled);
        for _ in 0..HELP_STEALS {
            match stalled.stealer.steal_into(self.deque(), STEAL_MAX) {
                Stolen::Taken(runnable) => self.take_first(runnable),
                Stolen::Retry => {}
                Stolen::Empty => break,
            }
        }
        self.drain_inbox(stalled);
        if stalled.is_away()
            && let Some(runnable) = stalled.yielded.pop()
        {
            self.deque().push(runnable);
        }
        self.publish_surplus();
    }

    // ---- searching and sleeping ------------------------------------------------------------------------------------------------

    pub(super) fn search_or_sleep(&self) {
        if !self.search() && !self.linger() {
            self.sleep();
        }
    }

    /// Looks for work of its own some more times, if that paid off lately; whether it did now. No idle bit is set: it is a part of running.
    fn linger(&self) -> bool {
        if self.home.clock.is_virtual() || !self.linger.is_due() {
            return false;
        }
        let found = (0..LOOKS).any(|_| self.look_once_more());
        self.linger.learn(found);
        found
    }

    fn look_once_more(&self) -> bool {
        crate::loom::thread::yield_now();
        if self.home.reactor.sources() > 0 {
            self.turn(Some(Duration::ZERO));
        }
        !self.home.signals.is_empty()
            || self.deque().len() > 0
            || !self.home.next.is_empty()
            || !self.pinned.borrow().is_empty()
            || !self.home.pinned_inbox.is_empty()
            || self.fetch_inbox()
    }

    /// Looks for work in the inbox and at the peers; whether some came into the own queues.
    fn search(&self) -> bool {
        if self.fetch_inbox() {
            return true;
        }
        if self.shared.in_use().len() == 1 {
            return false;
        }
        let has_token = self.shared.sleep.begin_search();
        let found = self.steal() || self.steal_ready_io() || self.steal_yielded();
        if has_token {
            self.end_search(found);
        } else if found {
            self.publish_surplus();
        }
        found
    }

    fn fetch_inbox(&self) -> bool {
        let found = self.drain_inbox(&self.home);
        if found {
            self.publish_surplus();
        }
        found
    }

    /// Moves everything in a loop's inbox to the deque. The caller publishes: of all who filled the inbox only the first told anybody (I3),
    /// and while the items moved no searcher could see them. The same is true of what was stolen from a deque.
    pub(super) fn drain_inbox(&self, of: &LoopShared) -> bool {
        if of.inbox.is_empty() {
            return false;
        }
        let mut found = false;
        for runnable in of.inbox.take_all() {
            self.deque().push(runnable);
            found = true;
        }
        found
    }

    /// Takes work from a peer into the own deque.
    fn steal(&self) -> bool {
        let loops = self.shared.in_use();
        let start = self.rand.below(loops.len());
        for victim in (0..loops.len()).map(|offset| &loops[(start + offset) % loops.len()]) {
            if victim.index == self.home.index {
                continue;
            }
            if !victim.stealer.is_empty()
                && let Stolen::Taken(runnable) = victim.stealer.steal_into(self.deque(), STEAL_MAX)
            {
                self.take_first(runnable);
                return true;
            }
            if self.drain_inbox(victim) {
                return true;
            }
        }
        false
    }

    /// Turns the reactors of peers that run, in their place: they come to it when their own queues are empty, or after [`CHECK_PERIOD`].
    fn steal_ready_io(&self) -> bool {
        let loops = self.shared.in_use();
        let start = self.rand.below(loops.len());
        let peers = (0..loops.len()).map(|offset| &loops[(start + offset) % loops.len()]);
        // Who sleeps does so in its reactor, and hears of what is ready first.
        let is_running = |peer: &&Arc<LoopShared>| peer.reactor.sources() > 0 && !self.shared.sleep.is_idle(peer.index);
        for peer in peers.filter(|peer| peer.index != self.home.index).filter(is_running).take(REACTORS_TRIED_MAX) {
            let mut wakers = std::mem::take(&mut *self.wakers.borrow_mut());
            peer.reactor.try_turn(&mut wakers);
            let found = !wakers.is_empty();
            self.dispatch(wakers);
            if found {
                return true;
            }
        }
        false
    }

    /// Takes one task that yielded after a long poll.
    fn steal_yielded(&self) -> bool {
        let workers = self.shared.workers();
        let start = self.rand.below(workers.len());
        let mut victims = (0..workers.len()).map(|offset| &workers[(start + offset) % workers.len()]);
        let stolen = victims.find_map(|victim| if self.may_take_yielded(victim) { victim.yielded.pop() } else { None });
        stolen.map(|runnable| self.take_first(runnable)).is_some()
    }

    fn may_take_yielded(&self, victim: &LoopShared) -> bool {
        !victim.yielded.is_empty() && (!self.is_spare() || victim.is_away())
    }

    /// What was stolen first is the oldest: it goes where it is taken from next, if that place is free.
    fn take_first(&self, runnable: Runnable) {
        if let Err(runnable) = self.home.next.fill(runnable) {
            self.deque().push(runnable);
        }
    }

    /// Gives the token back and looks once more (S-b), so that what was published while this thread held it has a searcher.
    fn end_search(&self, found: bool) {
        self.shared.sleep.end_search();
        // One task of its own is no reason to wake anybody: this thread runs it next. The own inbox counts, for this thread may come to it late.
        if found && (self.has_surplus() || self.sees_stealable_elsewhere()) {
            self.shared.publish();
        }
    }

    fn sees_stealable_elsewhere(&self) -> bool {
        self.shared.in_use().iter().any(|each| each.index != self.home.index && each.has_stealable())
    }

    /// S4: whether there is anything for this loop to do. Its own deque and run-next slot are empty.
    fn sees_work(&self) -> bool {
        !self.home.signals.is_empty()
            || !self.home.pinned_inbox.is_empty()
            || !self.home.inbox.is_empty()
            || self.sees_stealable_elsewhere()
            || self.shared.workers().iter().any(|each| self.may_take_yielded(each))
    }

    /// Announces the sleep, looks once more, sleeps, and serves what ended it.
    fn sleep(&self) {
        self.announce_sleep();
        let notice = if self.sees_work() { None } else { self.park() };
        self.wake_up(notice);
    }

    fn announce_sleep(&self) {
        self.deque().trim();
        self.disarm();
        self.shared.sleep.announce(self.home.index);
    }

    /// The sleep is over, with a notice or without. Serves what ended it.
    fn wake_up(&self, notice: Option<Notice>) {
        let notice = match notice {
            Some(notice) => notice,
            None if self.shared.sleep.retract(self.home.index) => Notice::Work,
            None => self.home.parker.await_notice(),
        };
        if self.shared.is_watched() {
            self.stir_monitor();
            self.serve_attended();
            if let Some(stalled) = self.home.rescue.take() {
                let stalled = self.shared.at(stalled);
                self.rescue(stalled);
                self.attend(stalled);
            }
        }
        // Who filled the inbox may have told this thread alone, which may have something else to run first, and for long.
        if self.drain_inbox(&self.home) {
            self.publish_surplus();
        }
        if notice == Notice::Search {
            let found = self.deque().len() > 0 || self.steal();
            self.end_search(found);
        }
        if self.is_armed.get() {
            self.tell_of_others();
        }
    }

    /// Sleeps in the reactor or on the futex, and serves reactor and timers afterwards: only that puts off the next check. (A look for work
    /// that found some does not: a main future that yields in a loop brings one such look after the other.)
    fn park(&self) -> Option<Notice> {
        let in_vigil = self.enters_vigil();
        let place = if in_vigil || self.home.reactor.sources() > 0 { Place::Reactor } else { Place::Futex };
        let timeout = if self.home.clock.is_virtual() || self.home.standstill.is_awaited() {
            match self.stand_still() {
                Rest::Over => return None,
                Rest::Sleep(timeout) => timeout,
            }
        } else {
            self.until_next_deadline()
        };
        let (last_tick, last_time) = self.last_check.get();
        // The last of these ticks found nothing. There may be none since the check: then there is nothing to learn.
        let polls = self.tick.get().wrapping_sub(last_tick).saturating_sub(1);
        if polls > 0 {
            self.learn_poll_time(polls, last_time.elapsed());
        }
        if !self.home.parker.begin(place) {
            return self.home.parker.end();
        }
        match place {
            Place::Reactor if in_vigil => drop(self.turn_in_vigil(timeout)),
            Place::Reactor => self.turn(timeout),
            Place::Futex => self.home.parker.wait(timeout),
        }
        let notice = self.home.parker.end();
        if place == Place::Futex {
            self.turn(Some(Duration::ZERO));
        }
        self.last_check.set((self.tick.get(), Instant::now()));
        self.set_next_check(0, CHECK_INTERVAL_MAX / 4);
        notice
    }

    /// How long the machine's clock takes to the next deadline.
    fn until_next_deadline(&self) -> Option<Duration> {
        self.home.timers.next_deadline().map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Nothing was found to run, and somebody waits for that: tasks that want to know of it, or a virtual clock.
    ///
    /// The waiting tasks come first, before time moves. A virtual clock then jumps to the next deadline, unless something may still come at the
    /// present one: a job of the blocking pool, somebody who holds the clock, an answer to a socket operation made a moment ago. Then the
    /// thread sleeps on the machine's clock, until that is decided. A clock that is moved by hand does not ask.
    #[cold]
    fn stand_still(&self) -> Rest {
        let LoopShared { clock, standstill, timers, reactor, .. } = &*self.home;
        self.turn(Some(Duration::ZERO));
        if self.sees_own_work() {
            return Rest::Over;
        }
        if standstill.is_awaited() {
            let mut wakers = std::mem::take(&mut *self.wakers.borrow_mut());
            standstill.reach(&mut wakers);
            self.dispatch(wakers);
            return Rest::Over;
        }
        if !clock.is_virtual() {
            return Rest::Sleep(self.until_next_deadline());
        }
        let Some(deadline) = timers.earliest_deadline() else { return Rest::Sleep(None) };
        if !clock.is_advanced_to(deadline) {
            if clock.is_held() || self.shared.blocking.is_at_work() {
                // Who ends that nudges this loop, which has announced its sleep before it looked (V3).
                return Rest::Sleep(None);
            }
            // A job that is over has woken its task before the pool said that it is at rest.
            if self.sees_own_work() {
                return Rest::Over;
            }
            if reactor.sources() > 0
                && let Some(silence) = clock.io_silence_left()
            {
                return Rest::Sleep(Some(silence));
            }
        }
        clock.jump_to(deadline);
        self.turn(Some(Duration::ZERO));
        Rest::Over
    }

    /// Whether there is anything for this loop to do, in its own queues or elsewhere.
    fn sees_own_work(&self) -> bool {
        self.deque().len() > 0 || !self.home.next.is_empty() || !self.pinned.borrow().is_empty() || self.sees_work()
    }

    // ---- leaving ---------------------------------------------------------------------------------------------------------------

    /// Cancels the tasks, and drops the callbacks, that must stay on this thread, and runs until they are gone. Tasks that refuse for too long are
    /// aborted.
    fn end_local_tasks(&self) {
        if !self.home.has_local() {
            return;
        }
        let registries = [&self.home.local_registry, &self.home.local_callbacks];
        registries.iter().for_each(|registry| registry.pause());
        self.home.local_registry.cancel_all("the thread of this local task leaves its loop");
        self.home.local_callbacks.abort_all();
        self.calls.clear(&mut self.pinned.borrow_mut());
        let begin = Instant::now();
        let limit = begin.checked_add(self.shared.settings.shutdown_timeout);
        let alarm = limit.and_then(|limit| self.home.timers.insert(begin, limit, Waker::from(self.home.clone())));
        self.home.signal(signal::CLOSE);
        while self.home.has_local() {
            let is_late = || limit.is_some_and(|limit| Instant::now() >= limit);
            self.run(|_| (!self.home.has_local() || is_late()).then_some(()));
            if is_late() {
                self.home.local_registry.abort_all();
                self.home.signal(signal::CLOSE);
                self.run(|_| (!self.home.has_local()).then_some(()));
            }
        }
        if let Some((key, _)) = alarm {
            drop(self.home.timers.cancel(key));
        }
        registries.iter().for_each(|registry| registry.resume());
    }

    /// This thread no longer runs the loop, for now or for good: what any loop may run is left to the peers.
    pub(crate) fn rest(&self) {
        self.disarm();
        self.lay_open();
        if self.is_spare() {
            self.hand_over();
        }
        self.home.set_occupied(false);
        // The inbox too: who filled it may have told this thread alone, which leaves with the notice.
        if self.home.has_stealable() {
            self.shared.publish();
        }
    }

    /// A spare worker that goes home in the midst of work gives it to the workers: one that always has some of its own would never look here.
    fn hand_over(&self) {
        while let Some(runnable) = self.deque().pop() {
            self.shared.push_from_outside(self.shared.pick_loop().index, runnable);
        }
    }

    /// Leaves the callbacks that any thread may run to the next one in the seat, in their order. What stays on this thread is gone.
    fn leave_callbacks(&self) {
        let mut pinned = self.pinned.take();
        pinned.extend(self.home.pinned_inbox.take_all());
        for callback in pinned {
            // Nobody is to be told: who takes the seat next looks there first.
            self.home.pinned_inbox.push(callback);
        }
    }
}

impl Drop for Worker {
    /// Leaves the seat, also when a main future panics: no task is left in a place that only this thread looks at.
    fn drop(&mut self) {
        self.settle_fresh();
        self.end_local_tasks();
        self.attend_nobody();
        self.leave_callbacks();
        self.give_up_place();
        self.rest();
        if let Some(seat) = self.seat.take() {
            self.shared.seats.give_back(seat);
        }
    }
}

/// The time in which a worker's thread may block; see [`Worker::lend`].
pub(crate) struct Lent<'a> {
    worker: &'a Worker,
    polled: Option<usize>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.worker.end_lending(self.polled);
    }
}

/// What a loop that had nothing to run does next.
enum Rest {
    /// It has something to run.
    Over,
    /// It sleeps, at most so long.
    Sleep(Option<Duration>),
}

/// Where a task goes that is woken or spawned on its worker's thread.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Placing {
    /// Into the run-next slot, or else to the back of the deque.
    Slot,
    /// To the back of the deque: the loop itself is waking tasks (events, timers), and one decision about waking a peer follows.
    Deque,
    /// To the back of the pinned queue: the loop of an `EventLoop` without peers has one order for everything.
    Fifo,
}

/// Which queue a Runnable came from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Shared,
    Pinned,
}

mod attending;
mod linger;
mod neighbour;
#[cfg(all(test, not(eddies_loom)))]
mod simulation;
#[cfg(all(test, not(eddies_loom)))]
mod tests;
