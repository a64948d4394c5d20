//! The ring of loops: what they share, and how a task finds its way to one.
//!
//! A runtime is a fixed number of loops. Each has a *shared face*, [`LoopShared`], that any thread may use (inbox, stealing ends, reactor,
//! timers, park word), and a *seat*, [`seat::Seat`], that one thread at a time holds: the owner's ends. The thread in the seat runs the loop
//! as a [`worker::Worker`]. This is the one place where the islands below (tasks, queues, reactor, blocking pool) meet.
//!
//! Where a woken or new task goes:
//!
//! - on a worker of its runtime: into that worker's run-next slot if it is empty (nobody is told: the worker takes it next), else to the back
//!   of its deque, which is published (`sleep`, W1-W7);
//! - from anywhere else: into the inbox of its home loop, whose owner is woken if it sleeps, else one sleeper is;
//! - a local task, and a callback, always goes to its own loop.
//!
//! Invariants:
//!
//! - **H1** A task that is not complete is linked in one of the registries of its home loop (a callback is a task here), and a runtime is not
//!   freed before all its registries are closed and empty: each worker's thread holds it until then. So the home of a task that is not
//!   complete is alive. [`home`] relies on it.
//! - **H2** Who publishes work from outside the runtime's threads holds a counted reference to the runtime from before the push until after
//!   the notification, for the task may run, and end the runtime, as soon as it is pushed.

pub(crate) mod attendance;
pub(crate) mod call_timers;
pub(crate) mod callback;
pub(crate) mod clock;
pub(crate) mod current;
pub(crate) mod drowse;
pub(crate) mod executor;
pub(crate) mod fresh_timer;
pub(crate) mod home;
pub(crate) mod iteration;
#[cfg(all(test, not(eddies_loom)))]
mod layout;
pub(crate) mod monitor;
mod pace;
pub(crate) mod park;
pub(crate) mod rescue;
pub(crate) mod seat;
pub(crate) mod signals;
pub(crate) mod sleep;
pub(crate) mod standstill;
pub(crate) mod thread_cpu;
pub(crate) mod thread_waker;
pub(crate) mod worker;

use std::io;
use std::panic::Location;
use std::task::Wake;
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

use crate::blocking;
use crate::loom::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use crate::loom::atomic::{AtomicBool, AtomicUsize, fence};
use crate::loom::thread::{JoinHandle, ThreadId};
use crate::loom::{Arc, Condvar, Mutex, OnceLock, Weak};
use crate::queue::inbox::Inbox;
use crate::queue::locked::LockedQueue;
use crate::queue::run_next::RunNext;
use crate::queue::{DefaultDeque, Deque};
use crate::reactor::Reactor;
use crate::reactor::timer::Timers;
use crate::report::{self, Exception, ExceptionKind, Handler, Hooks, SlowPollHook};
use crate::task::registry::Registry;
use crate::task::{Runnable, TaskHandle};

use attendance::Attendance;
use clock::Clock;
use home::Job;
use monitor::Monitor;
use park::{Notice, Parker};
use rescue::Rescue;
use seat::Seats;
use signals::Signals;
use sleep::Sleep;
use standstill::Standstill;
use thread_cpu::ThreadCpu;

/// The stealing end of a loop's deque.
pub(crate) type TaskStealer = <DefaultDeque<Runnable> as Deque<Runnable>>::Stealer;

/// A function that runs on a thread of the runtime when the thread starts or stops.
pub(crate) type ThreadHook = std::sync::Arc<dyn Fn() + Send + Sync>;

/// What the builder was told; never changes afterwards.
pub(crate) struct Settings {
    pub(crate) workers: usize,
    /// Most spare workers at a time.
    pub(crate) spare_workers: usize,
    pub(crate) thread_name: String,
    pub(crate) thread_stack_size: Option<usize>,
    pub(crate) on_thread_start: Option<ThreadHook>,
    pub(crate) on_thread_stop: Option<ThreadHook>,
    /// The handler of every thread of the runtime: `hooks`.
    pub(crate) exception_handler: Option<Handler>,
    pub(crate) hooks: std::sync::Arc<Hooks>,
    pub(crate) shutdown_timeout: Duration,
    /// `None`: slow polls are not reported.
    pub(crate) slow_poll: Option<Duration>,
    pub(crate) on_slow_poll: Option<SlowPollHook>,
    /// The one loop of an `EventLoop` without peers: every Runnable goes through the pinned queue, in one order.
    pub(crate) is_fifo: bool,
    pub(crate) blocking_threads: usize,
    pub(crate) blocking_queue: Option<usize>,
    pub(crate) blocking_keep_alive: Duration,
    /// Only with one worker and no spare ones.
    pub(crate) virtual_time: bool,
}

/// Why the tasks are cancelled that live when their runtime ends.
const SHUTDOWN: &str = "the runtime shuts down";

/// What the loops of one runtime share.
pub(crate) struct Shared {
    /// The workers' loops, and after them those of the spare workers.
    loops: Box<[Arc<LoopShared>]>,
    /// How many of the loops have ever had a thread: nobody looks at the others. Raised under the lock of the seats.
    in_use: AtomicUsize,
    pub(crate) sleep: Arc<Sleep>,
    pub(crate) blocking: blocking::Pool<Job>,
    /// Takes an event loop's jobs in place of the blocking pool. Any thread sets and reads it.
    pub(crate) executor: Mutex<Option<Arc<dyn executor::Executor>>>,
    pub(crate) monitor: Arc<Monitor>,
    pub(crate) seats: Seats,
    pub(crate) settings: Settings,
    /// The process that made it: a forked child must not use it. Never changes.
    process: u32,
    /// The thread whose event loop it is, if it is one's. Set by that thread when it makes the loop, read by any.
    pub(crate) owner: OnceLock<ThreadId>,
    /// Set once, when the shutdown begins; read by workers that run out of work.
    is_closing: AtomicBool,
    /// Where the next task or socket from outside goes. Any thread.
    next_loop: CachePadded<AtomicUsize>,
    /// The runtime's own threads in `Worker::run` or on the way to it. Behind the lock; `exited` is told of each that leaves, and of the
    /// shutdown's last task.
    running_threads: Mutex<usize>,
    exited: Condvar,
    /// The threads started so far, to be joined by the shutdown.
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Bits of [`LoopShared::signals`].
pub(crate) mod signal {
    /// The main future of the thread in the seat was woken.
    pub(crate) const MAIN: u32 = 1;
    /// The runtime shuts down, or has just lost its last task while shutting down.
    pub(crate) const CLOSE: u32 = 2;
    /// Another thread asks for the seat.
    pub(crate) const LEAVE: u32 = 4;
    /// The monitor saw no turn of the reactor between two looks.
    pub(crate) const TURN: u32 = 8;
    /// The loop's first timed call is due.
    pub(crate) const CALLS: u32 = 16;
    /// An `EventLoop` is asked to end its run after the iteration.
    pub(crate) const STOP: u32 = 32;
    /// An `EventLoop` is asked to end its run at once.
    pub(crate) const INTERRUPT: u32 = 64;
    /// The monitor asks the loop, which runs and is not stalled, to help one that is: see [`LoopShared::rescue`](super::LoopShared).
    pub(crate) const HELP: u32 = 128;

    /// What concerns every loop, whoever runs it and for what.
    pub(crate) const COMMON: u32 = TURN | CALLS | CLOSE | HELP;
}

/// One loop, as any thread may use it.
pub(crate) struct LoopShared {
    pub(crate) index: usize,
    /// The way to the runtime for wakes from outside (H2).
    shared: Weak<Shared>,
    sleep: Arc<Sleep>,
    /// The runtime's. Timers go by it.
    pub(crate) clock: Clock,
    /// Who waits until the owner has nothing to run.
    pub(crate) standstill: Standstill,
    pub(crate) reactor: Arc<Reactor>,
    pub(crate) timers: Arc<Timers>,
    /// Runnables from outside; drained by the owner or by any thief.
    pub(crate) inbox: CachePadded<Inbox<Runnable>>,
    /// Tasks that yielded after a long poll, in a worker's loop: pushed by the owner and by spare workers, taken by the owner, by idle workers and, if the
    /// loop is away, by anybody.
    pub(crate) yielded: CachePadded<LockedQueue<Runnable>>,
    /// Runnables of local tasks from outside; drained by the owner only.
    pub(crate) pinned_inbox: CachePadded<Inbox<Runnable>>,
    pub(crate) stealer: TaskStealer,
    /// Filled by the owner; taken by it, or by a rescuer when the owner is stuck in a poll.
    pub(crate) next: CachePadded<RunNext<Runnable>>,
    pub(crate) registry: CachePadded<Registry>,
    pub(crate) local_registry: Registry,
    /// The callbacks that wait for their turn, those that stay on the owner's thread apart; see `callback`.
    pub(crate) callbacks: Registry,
    pub(crate) local_callbacks: Registry,
    pub(crate) parker: CachePadded<Parker>,
    /// Bits of [`signal`]. Set by any thread, taken by the owner.
    pub(crate) signals: CachePadded<Signals>,
    /// Polls and turns the owner has made. Written by the owner alone, read by the monitor.
    pub(crate) progress: CachePadded<worker::Progress>,
    /// The thread in the seat, for the kernel. Written by that thread, read by the monitor.
    pub(crate) cpu: ThreadCpu,
    /// A stalled loop that this one was asked to help. Written by the monitor and by who lends a loop, taken by the owner.
    rescue: Rescue,
    /// Which loop attends this one while it is stalled. Written by that loop's owner, read by it and the monitor.
    attendance: Attendance,
    /// Whether a thread is in the seat. Written by that thread, read by the monitor and by who places work from outside.
    is_occupied: AtomicBool,
    /// Whether the owner is in `block_in_place`. Written by the owner, read by the monitor, which takes it for stalled at once.
    is_lent: AtomicBool,
    /// Whether the owner has been in one poll for long. Written by the monitor, read by who may take from `yielded` or push there.
    is_stuck: AtomicBool,
    /// Where `block_on` was called, while its thread is in the seat; for reports. Written by that thread, read by the monitor.
    main_location: Mutex<Option<&'static Location<'static>>>,
}

impl LoopShared {
    /// Leaves `bits` for the owner and wakes it if it sleeps. Any thread.
    pub(crate) fn signal(&self, bits: u32) {
        if self.signals.leave(bits) {
            self.nudge();
        }
    }

    /// Something was left for this loop's owner that it may not know of (a signal, a pinned task, a first file descriptor, an earlier
    /// deadline): wakes it if it sleeps. Any thread.
    pub(crate) fn nudge(&self) {
        if current::with_worker(|worker| worker.is_some_and(|worker| worker.sits_in(self))) {
            // This thread is the owner, and awake: it looks at all of that before it sleeps.
            return;
        }
        // Ordering: SeqCst fence, as W2: pairs with S3. Either the owner's last look sees what was left, or the claim sees its bit.
        fence(SeqCst);
        if self.sleep.claim(self.index) {
            self.notify(Notice::Work);
        }
    }

    /// The runtime that the loop is one of, unless it is gone. Any thread.
    pub(crate) fn runtime(&self) -> Option<Arc<Shared>> {
        self.shared.upgrade()
    }

    /// Wakes the owner, which the caller has claimed (S-c).
    fn notify(&self, notice: Notice) {
        if self.parker.notify(notice) {
            self.reactor.wake();
        }
    }

    pub(crate) fn set_occupied(&self, is_occupied: bool) {
        // Ordering: Release pairs with the Acquire in `is_occupied`: a hint for placement, and the monitor's reason to look at a loop.
        self.is_occupied.store(is_occupied, Release);
    }

    /// Says that a thread is on its way to the seat. `false`: one is already, or sits there.
    pub(crate) fn try_occupy(&self) -> bool {
        // Ordering: AcqRel: of several that start a spare worker one wins; see `set_occupied`.
        !self.is_occupied.swap(true, AcqRel)
    }

    pub(crate) fn is_occupied(&self) -> bool {
        // Ordering: Acquire pairs with the Release in `set_occupied`.
        self.is_occupied.load(Acquire)
    }

    pub(crate) fn set_lent(&self, is_lent: bool) {
        // Ordering: Release pairs with the Acquire in `is_lent`: a hint for the monitor.
        self.is_lent.store(is_lent, Release);
    }

    pub(crate) fn is_lent(&self) -> bool {
        // Ordering: Acquire pairs with the Release in `set_lent`.
        self.is_lent.load(Acquire)
    }

    /// The monitor only.
    pub(crate) fn set_stuck(&self, is_stuck: bool) {
        // Ordering: Relaxed: a hint, compared with nothing else.
        if self.is_stuck.load(Relaxed) != is_stuck {
            // Ordering: Relaxed: as above.
            self.is_stuck.store(is_stuck, Relaxed);
        }
    }

    /// Whether the owner will not come to its queues soon: nobody is in the seat, or who is has lent the loop or been in one poll for long. A hint.
    pub(crate) fn is_away(&self) -> bool {
        // Ordering: Relaxed: as in `set_stuck`.
        self.is_stuck.load(Relaxed) || self.is_lent() || !self.is_occupied()
    }

    /// Everything that keeps the loop in memory while something is linked in it (H1).
    pub(crate) fn registries(&self) -> [&Registry; 4] {
        [&self.registry, &self.local_registry, &self.callbacks, &self.local_callbacks]
    }

    /// Whether something lives that only the thread in the seat may run and drop.
    pub(crate) fn has_local(&self) -> bool {
        self.local_registry.len() + self.local_callbacks.len() > 0
    }

    /// Whether a thief could find something here: ordered by the caller's fence.
    pub(crate) fn has_stealable(&self) -> bool {
        use crate::queue::DequeStealer;
        !self.stealer.is_empty() || !self.inbox.is_empty()
    }
}

/// The waker of a main future: it only leaves a signal.
impl Wake for LoopShared {
    fn wake(self: std::sync::Arc<Self>) {
        self.signal(signal::MAIN);
    }

    fn wake_by_ref(self: &std::sync::Arc<Self>) {
        self.signal(signal::MAIN);
    }
}

impl Shared {
    /// A runtime's shared part, with no thread in any seat.
    pub(crate) fn new(settings: Settings) -> Arc<Shared> {
        let total = settings.workers + settings.spare_workers;
        let sleep = Arc::new(Sleep::new(total));
        let monitor = Arc::new(Monitor::new());
        let shared = Arc::new_cyclic(|shared| {
            let blocking = home::blocking_pool(&settings, monitor.clone(), shared.clone());
            let clock = if settings.virtual_time { Clock::new_virtual() } else { Clock::new_real() };
            let mut seats = Vec::with_capacity(total);
            let mut loops = Vec::with_capacity(total);
            for index in 0..total {
                let deque = DefaultDeque::<Runnable>::new();
                let stealer = deque.stealer();
                loops.push(Arc::new(LoopShared::new(index, shared.clone(), sleep.clone(), clock.clone(), stealer)));
                seats.push(seat::Seat::new(index, deque));
            }
            Shared {
                loops: loops.into(),
                in_use: AtomicUsize::new(settings.workers),
                sleep,
                blocking,
                executor: Mutex::new(None),
                monitor,
                seats: Seats::new(seats),
                settings,
                process: std::process::id(),
                owner: OnceLock::new(),
                is_closing: AtomicBool::new(false),
                next_loop: CachePadded::new(AtomicUsize::new(0)),
                running_threads: Mutex::new(0),
                exited: Condvar::new(),
                threads: Mutex::new(Vec::new()),
            }
        });
        shared.monitor.watch(Arc::downgrade(&shared));
        shared
    }

    /// Whether this process is a forked child of the one that made the runtime: the threads are not here.
    pub(crate) fn is_of_parent(&self) -> bool {
        self.process != std::process::id()
    }

    /// The loop with this index.
    pub(crate) fn at(&self, index: usize) -> &Arc<LoopShared> {
        &self.loops[index]
    }

    /// The loops of the workers: those that sockets, timers and tasks belong to.
    pub(crate) fn workers(&self) -> &[Arc<LoopShared>] {
        &self.loops[..self.settings.workers]
    }

    /// The loops of the spare workers.
    pub(crate) fn spares(&self) -> &[Arc<LoopShared>] {
        &self.loops[self.settings.workers..]
    }

    /// All loops that a thread has ever sat in, and the workers'.
    pub(crate) fn in_use(&self) -> &[Arc<LoopShared>] {
        // Ordering: Acquire pairs with the Release in `put_to_use`. A thread that sees less looks at less: the spare worker whose loop it
        // misses publishes what it has when it comes and when it goes.
        &self.loops[..self.in_use.load(Acquire)]
    }

    /// Loop `index` gets a thread for the first time.
    pub(crate) fn put_to_use(&self, index: usize) {
        // Ordering: Release pairs with the Acquire in `in_use`.
        self.in_use.fetch_max(index + 1, Release);
    }

    /// Work that any loop may take was made visible: wakes a sleeper if nobody searches. Any thread that keeps the runtime alive.
    ///
    /// A loop that has no peers is told of what comes from outside by a claim of its own (`push_from_outside`), and nobody else could be told. Whether somebody
    /// was woken.
    #[inline]
    pub(crate) fn publish(&self) -> bool {
        if !self.has_peers() {
            return false;
        }
        let sleeper = self.sleep.publish();
        if let Some(index) = sleeper {
            self.loops[index].notify(Notice::Search);
        }
        sleeper.is_some()
    }

    /// A task was put into some `yielded` queue: wakes a worker that sleeps, and says which. Spare workers leave that queue alone, so the search token, which one
    /// may hold, says nothing here (S-d). Any thread that keeps the runtime alive.
    pub(crate) fn publish_yielded(&self) -> Option<usize> {
        let index = self.sleep.publish_before(self.settings.workers)?;
        self.loops[index].notify(Notice::Work);
        Some(index)
    }

    /// A Runnable comes from outside the workers. The caller's reference to the runtime keeps H2.
    pub(crate) fn push_from_outside(&self, index: usize, runnable: Runnable) {
        let home = &self.loops[index];
        if self.settings.is_fifo {
            if home.pinned_inbox.push(runnable) {
                home.nudge();
            }
            return;
        }
        if home.inbox.push(runnable) {
            // Ordering: SeqCst fence W2, pairs with S3: either the owner's last look sees the inbox, or the claim sees its bit.
            fence(SeqCst);
            if self.sleep.claim(index) {
                home.notify(Notice::Work);
            } else if self.has_peers() && !self.publish() && !self.sleep.has_idle() {
                self.monitor.call();
            }
        }
    }

    /// The loop that the next thing from outside is given to: the loops take turns. One nobody sits in is passed over if there are others.
    pub(crate) fn pick_loop(&self) -> &Arc<LoopShared> {
        let mut workers = self.workers_in_turn();
        let occupied = workers.clone().find(|each| each.is_occupied());
        occupied.or_else(|| workers.next()).expect("a runtime has a worker")
    }

    /// Whose `yielded` queue a task goes to that yielded on a spare worker: the loops take turns. `None`: all are away.
    pub(crate) fn pick_present_loop(&self) -> Option<&Arc<LoopShared>> {
        self.workers_in_turn().find(|each| !each.is_away())
    }

    /// The loops of the workers, each time beginning with another.
    fn workers_in_turn(&self) -> impl Iterator<Item = &Arc<LoopShared>> + Clone {
        // Ordering: Relaxed: a counter; it publishes nothing.
        let start = self.next_loop.fetch_add(1, Relaxed);
        let workers = self.workers();
        let count = workers.len();
        (0..count).map(move |i| &workers[start.wrapping_add(i) % count])
    }

    /// Asks one sleeping loop to help `stalled`: which. `None`: none sleeps.
    pub(crate) fn send_rescuer(&self, stalled: usize) -> Option<usize> {
        for helper in self.in_use() {
            if helper.index != stalled && self.sleep.is_idle(helper.index) && self.sleep.claim(helper.index) {
                helper.rescue.ask(stalled);
                helper.notify(Notice::Work);
                return Some(helper.index);
            }
        }
        None
    }

    /// Whether a loop that sleeps waits for the sockets of `stalled` too. A hint.
    pub(crate) fn is_attended(&self, stalled: &LoopShared) -> bool {
        stalled.attendance.by().is_some_and(|helper| self.sleep.is_idle(helper))
    }

    /// Asks loop `helper`, which runs and is not stalled, to help `stalled` between two of its polls: none sleeps that could.
    pub(crate) fn ask_for_help(&self, helper: usize, stalled: usize) {
        let helper = self.at(helper);
        helper.rescue.ask(stalled);
        helper.signal(signal::HELP);
    }

    pub(crate) fn is_closing(&self) -> bool {
        // Ordering: Acquire pairs with the Release in `begin_shutdown`: who sees it sees closed registries.
        self.is_closing.load(Acquire)
    }

    /// Whether some other thread can take over a loop's work.
    pub(crate) fn has_peers(&self) -> bool {
        self.loops.len() > 1
    }

    /// Whether no loop is there to take over work: each one with a thread is lent. What is stalled in a poll the monitor knows.
    pub(crate) fn all_stalled(&self) -> bool {
        self.in_use().iter().filter(|each| each.is_occupied()).all(|each| each.is_lent())
    }

    /// How many tasks live.
    pub(crate) fn live_tasks(&self) -> usize {
        self.loops.iter().map(|l| l.registry.len() + l.local_registry.len()).sum()
    }

    /// Whether anything lives that the shutdown has to end: tasks, and callbacks that have not had their turn.
    pub(crate) fn is_populated(&self) -> bool {
        self.loops.iter().flat_map(|each| each.registries()).any(|registry| registry.len() > 0)
    }

    /// Refuses new tasks, cancels those that live, and tells every worker to leave when none is left. Any thread; idempotent.
    pub(crate) fn begin_shutdown(&self) {
        for registry in self.loops.iter().flat_map(|each| each.registries()) {
            registry.close();
        }
        // Ordering: Release pairs with the Acquire in `is_closing`.
        self.is_closing.store(true, Release);
        self.blocking.begin_shutdown();
        for each in &self.loops {
            each.registry.cancel_all(SHUTDOWN);
            each.local_registry.cancel_all(SHUTDOWN);
            each.callbacks.abort_all();
            each.local_callbacks.abort_all();
        }
        self.signal_all(signal::CLOSE);
        self.seats.wake_all();
    }

    /// Drops the tasks that have been asked to end and have not.
    pub(crate) fn abort_tasks(&self) {
        for each in &self.loops {
            each.registry.abort_all();
            each.local_registry.abort_all();
        }
    }

    /// The tasks that live, loop by loop.
    pub(crate) fn tasks(&self) -> Vec<TaskHandle> {
        let of_loop = |each: &Arc<LoopShared>| {
            let mut tasks = each.registry.handles();
            tasks.extend(each.local_registry.handles());
            tasks.reverse();
            tasks
        };
        self.loops.iter().flat_map(of_loop).collect()
    }

    /// The last task of a closed registry has gone: tells everybody who waits for the last task of all. Any thread.
    pub(crate) fn tasks_ended(&self) {
        self.signal_all(signal::CLOSE);
        self.seats.wake_all();
        // Locked, so that a shutdown which has just seen the task is in its wait by now.
        drop(self.running_threads.lock());
        self.exited.notify_all();
    }

    fn signal_all(&self, bits: u32) {
        for each in &self.loops {
            each.signal(bits);
        }
    }

    pub(crate) fn thread_enters(&self) {
        *self.running_threads.lock() += 1;
    }

    pub(crate) fn thread_leaves(&self) {
        *self.running_threads.lock() -= 1;
        self.exited.notify_all();
    }

    pub(crate) fn keep_thread(&self, thread: JoinHandle<()>) {
        self.threads.lock().push(thread);
    }

    /// Joins the threads, which [`await_threads`](Shared::await_threads) has seen leave.
    pub(crate) fn join_threads(&self) {
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            // Everything that can panic in a thread's body is caught; if it panicked all the same, the panic hook has told so.
            let _ = thread.join();
        }
    }

    /// Waits until none of the runtime's threads runs a loop any more and no task lives: the last of them may be ended by a thread that
    /// blocks on the runtime. `false`: the deadline passed first.
    pub(crate) fn await_threads(&self, deadline: Option<Instant>) -> bool {
        let mut running = self.running_threads.lock();
        while *running > 0 || self.is_populated() {
            let Some(deadline) = deadline else {
                running = self.exited.wait(running);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            running = self.exited.wait_timeout(running, left).0;
        }
        true
    }

    /// Whether the monitor looks at the loops. In a runtime of one without spares there is no peer to send; only slow polls are of interest.
    pub(crate) fn is_watched(&self) -> bool {
        self.loops.len() > 1 || self.settings.slow_poll.is_some()
    }

    /// Name and spawn location of a live task, if it was not spawned too long ago.
    pub(crate) fn find_task(&self, address: usize) -> Option<(Option<String>, &'static Location<'static>)> {
        const SEARCHED: usize = 1 << 16;
        let found = |each: &Arc<LoopShared>| {
            each.registry.find(address, SEARCHED).or_else(|| each.local_registry.find(address, SEARCHED))
        };
        self.loops.iter().find_map(found)
    }

    /// What still lives, for a person to read.
    pub(crate) fn describe_tasks(&self) -> Vec<String> {
        const SHOWN: usize = 16;
        let mut lines = Vec::new();
        for each in &self.loops {
            lines.extend(each.registry.describe(SHOWN));
            lines.extend(each.local_registry.describe(SHOWN));
        }
        lines
    }

    /// Tells the runtime's exception handler of an error of the loop itself.
    pub(crate) fn report_loop_error(&self, what: &str, error: &io::Error) {
        report::report(&Exception::new(ExceptionKind::Loop, format!("{what}: {error}")));
    }
}

impl Drop for Shared {
    /// A loop whose tasks could not be ended stays in memory, for they point to it (H1). It takes a failure to start a thread to come here
    /// with any.
    fn drop(&mut self) {
        for each in &self.loops {
            if each.registries().iter().any(|registry| registry.len() > 0) {
                std::mem::forget(each.clone());
            }
        }
    }
}

impl LoopShared {
    fn new(index: usize, shared: Weak<Shared>, sleep: Arc<Sleep>, clock: Clock, stealer: TaskStealer) -> Self {
        LoopShared {
            index,
            shared,
            sleep,
            reactor: Arc::new(Reactor::new(worker::EVENTS)),
            timers: Arc::new(clock.new_timers()),
            clock,
            standstill: Standstill::new(),
            inbox: CachePadded::new(Inbox::new()),
            yielded: CachePadded::new(LockedQueue::new()),
            pinned_inbox: CachePadded::new(Inbox::new()),
            stealer,
            next: CachePadded::new(RunNext::new()),
            registry: CachePadded::new(Registry::new()),
            local_registry: Registry::new(),
            callbacks: Registry::new(),
            local_callbacks: Registry::new(),
            parker: CachePadded::new(Parker::new()),
            signals: CachePadded::new(Signals::new()),
            progress: CachePadded::new(worker::Progress::new()),
            cpu: ThreadCpu::new(),
            rescue: Rescue::new(),
            attendance: Attendance::new(),
            is_occupied: AtomicBool::new(false),
            is_lent: AtomicBool::new(false),
            is_stuck: AtomicBool::new(false),
            main_location: Mutex::new(None),
        }
    }

    pub(crate) fn set_main_location(&self, location: &'static Location<'static>) {
        *self.main_location.lock() = Some(location);
    }

    pub(crate) fn main_location(&self) -> Option<&'static Location<'static>> {
        *self.main_location.lock()
    }
}
