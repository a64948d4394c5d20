//! The blocking pool: threads that may wait, for jobs that must not hold up a loop.
//!
//! Any thread submits. The pool owns its threads; a job is whatever implements [`Job`] (a task's runnable in the runtime, a number in a
//! model). The runtime's monitor calls [`Pool::grow_if_stalled`] about every millisecond while [`Pool::needs_attention`] says so.
//!
//! ```text
//! submit ── a thread is idle ───────────────► its bunk, directly (`blocking/bunk.rs`); the one that became idle last
//!        ── fewer than `eager_threads` ─────► a new thread
//!        ── else ───────────────────────────► the queue; every thread looks there before it becomes idle
//! ```
//!
//! Beyond the eager threads the pool grows on evidence only: a queued job has waited longer than [`STALL_AFTER`] and since the last look
//! no thread came back from a job. Then 1, 2, 4, .. [`STEP_MAX`] threads are started per look, so that a hundred jobs which wait for one
//! another all run after about eight looks, while a thousand short jobs, from which threads come back all the time, start none. A pool
//! that makes progress but too little of it (the oldest job waited [`BEHIND_AFTER`]) gets one thread per look. Threads that were
//! started and have not begun to run yet are evidence that CPUs are short, not threads: then nothing is started.
//!
//! At the cap (`threads_max`, 512) a job stays queued until a thread comes back. N jobs that wait for job N + 1 at the cap are a deadlock
//! of the program's own making; it shows as [`Counters`] with `threads` at the cap, `idle` 0 and an `oldest_queued` that grows old.
//!
//! # Invariants
//!
//! - **B1** While a job is queued, no thread is idle, and at least one thread lives that will look at the queue before it becomes idle or
//!   leaves. All of this is decided under the one lock of [`State`], thread creation included.
//! - **B2** Whoever takes a bunk off the idle stack, and nobody else, owes its thread exactly one order. A thread whose keep-alive ended
//!   leaves only if it took its own bunk off the stack; if somebody was faster it waits for that order, without a limit.
//! - **B3** An accepted job is run or cancelled, exactly once: cancelled if it was still queued when the shutdown began.
//! - **B4** When no thread can be started and none lives, the job goes back to the caller. It is queued only behind living threads.
//! - **B5** The idle count is the length of the idle stack: there is no second number that could differ.
//!
//! Jobs, hooks and `cancel` run outside all locks, inside `catch_unwind`: a panic that escapes is reported to `on_panic` and the thread
//! goes on.
//!
//! # What it deliberately does not do
//!
//! No fairness between submitters beyond FIFO, no priorities, no work stealing, no hill climbing (these threads wait, they do not compute).
//!
//! # Rejected
//!
//! - *Starting threads outside the lock.* A third state "starting" appears, and each failed start has to find the jobs that were queued
//!   on the strength of it: the orphaned job of tokio #8406. A start costs 20 to 50 us and happens while the pool grows only.
//! - *A sharded queue.* The hand-off leaves the queue empty in the common case; the sharded pool of tokio 1.52 lost wake-ups (#8056).
//! - *One condition variable for all.* It wakes the thread that slept longest, whose caches are coldest, and each job makes a wake-up.
//! - *A thread per job up to the cap, as tokio does.* A burst of short jobs leaves hundreds of stacks behind.

mod bunk;

#[cfg(all(test, eddies_loom))]
#[path = "../loom-tests/models/blocking.rs"]
mod models;
#[cfg(all(test, not(eddies_loom)))]
mod tests;

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::loom::{Arc, Condvar, Mutex, MutexGuard, thread};
use bunk::{Bunk, Doing, Order, Patience, Waited};

/// A queued job that waited this long, with no thread coming back meanwhile, makes the pool grow.
const STALL_AFTER: Duration = Duration::from_micros(200);
/// A queued job that waited this long makes the pool grow by one thread per look although threads do come back.
const BEHIND_AFTER: Duration = Duration::from_millis(5);
/// The most threads that one look starts: the monitor has other duties, and a start costs it 20 to 50 us.
const STEP_MAX: usize = 64;
/// How long a thread that just became idle looks for its next order before it sleeps, where there is more than one CPU.
const SPIN_LIMIT: Duration = Duration::from_micros(15);
/// What one spin that paid off adds to the score; one that did not takes 1. So one in three has to pay.
const SPIN_GAIN: u32 = 2;
/// The best score: how many spins in a row may fail before the pool stops spinning.
const SPIN_SCORE_MAX: u32 = 8;
/// With the score at zero, one of so many idle periods still begins with a spin, to notice that times have changed.
const SPIN_PROBE: u32 = 8;

/// What the pool runs.
pub(crate) trait Job: Send + 'static {
    /// What names the job after it has begun. Made once per job, on its thread, so it should be cheap (a `&'static Location`, an `Arc`);
    /// its text is wanted only when something went wrong, and then under a lock of the pool: no user code in `Display`.
    type Description: fmt::Display + Send + 'static;

    /// Does the work. May block.
    fn run(self);

    /// Called instead of [`run`](Job::run) when the pool shuts down first.
    fn cancel(self);

    /// The description.
    fn describe(&self) -> Self::Description;
}

/// A job that was not accepted, back in the caller's hands.
pub(crate) enum Rejected<J> {
    /// The pool is shutting down.
    Closed(J),
    /// The bounded queue is full.
    Full(J),
    /// The pool has no thread and the system gave it none. A later submit tries again.
    NoThread(io::Error, J),
}

impl<J> fmt::Debug for Rejected<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejected::Closed(_) => f.write_str("Closed"),
            Rejected::Full(_) => f.write_str("Full"),
            Rejected::NoThread(error, _) => f.debug_tuple("NoThread").field(error).finish(),
        }
    }
}

/// Name and stack of a thread to be started.
pub(crate) struct ThreadPlan {
    /// `{prefix}-blocking-{n}`.
    pub(crate) name: String,
    /// Bytes; `None` for the platform's default.
    pub(crate) stack_size: Option<usize>,
}

/// Called on each thread of the pool.
pub(crate) type ThreadHook = Arc<dyn Fn() + Send + Sync>;

/// Gets the name of the culprit and the payload.
pub(crate) type PanicHook = Box<dyn Fn(&str, Box<dyn Any + Send>) + Send + Sync>;

/// Starts a thread, or fails without having run anything: the place where tests make the system refuse.
pub(crate) type Spawner =
    Box<dyn Fn(ThreadPlan, Box<dyn FnOnce() + Send>) -> io::Result<thread::JoinHandle<()>> + Send + Sync>;

/// The knobs. Never written after the pool was made.
pub(crate) struct Config {
    /// The first part of the threads' names.
    pub(crate) name_prefix: String,
    /// Stack of each thread in bytes; `None` for the platform's default.
    pub(crate) stack_size: Option<usize>,
    /// The cap, at least 1. Default 512, as tokio's.
    pub(crate) threads_max: usize,
    /// Up to so many threads (at least 1) are started at once when a job finds none idle. Default: the number of CPUs.
    pub(crate) eager_threads: usize,
    /// How many jobs may be queued; `None`, the default, for any number. At least 1: the pool grows on the evidence of queued jobs.
    pub(crate) queue_max: Option<usize>,
    /// How long a thread stays idle before it leaves. Default 10 s.
    pub(crate) keep_alive: Duration,
    /// How long the thread that became idle last spins before it sleeps, at most 20 us; zero, the default on one CPU, for not at all.
    pub(crate) spin_limit: Duration,
    /// Called on each thread before its first job.
    pub(crate) on_thread_start: Option<ThreadHook>,
    /// Called on each thread after its last job.
    pub(crate) on_thread_stop: Option<ThreadHook>,
    /// Called when the queue stops being empty: from now on [`Pool::grow_if_stalled`] wants to be called.
    pub(crate) on_queue: Box<dyn Fn() + Send + Sync>,
    /// Called when a thread came back from a job and found no other: for whoever waits until [`Pool::is_at_work`] says no.
    pub(crate) on_idle: Option<Box<dyn Fn() + Send + Sync>>,
    /// Gets each panic that escaped from a job or a hook, and the name of the culprit.
    pub(crate) on_panic: PanicHook,
    /// Starts the threads.
    pub(crate) spawner: Spawner,
}

impl Config {
    /// The defaults for a machine with `cpus` CPUs; panics are dropped (the panic hook has printed them), growth asks nobody.
    pub(crate) fn new(cpus: usize) -> Self {
        Config {
            name_prefix: "eddies".to_owned(),
            stack_size: None,
            threads_max: 512,
            eager_threads: cpus,
            queue_max: None,
            keep_alive: Duration::from_secs(10),
            spin_limit: if cpus > 1 { SPIN_LIMIT } else { Duration::ZERO },
            on_thread_start: None,
            on_thread_stop: None,
            on_queue: Box::new(|| {}),
            on_idle: None,
            on_panic: Box::new(|_, _| {}),
            spawner: Box::new(|plan, body| {
                let builder = thread::Builder::new().name(plan.name);
                let builder = match plan.stack_size {
                    Some(bytes) => builder.stack_size(bytes),
                    None => builder,
                };
                builder.spawn(body)
            }),
        }
    }
}

/// One consistent look at a runtime's blocking pool; see [`LoopHandle::blocking_counters`](crate::LoopHandle::blocking_counters).
///
/// All threads busy, the most there may be, and a queue that only grows: jobs wait for other jobs, or for something that never comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockingCounters {
    /// Threads that exist, the ones in a start or stop hook included.
    pub threads: usize,
    /// Threads that wait for a job.
    pub idle: usize,
    /// Jobs that wait for a thread.
    pub queued: usize,
    /// Since when the oldest queued job has waited.
    pub oldest_queued: Option<Instant>,
    /// How often the system refused to start a thread.
    pub spawn_failures: u64,
}

/// A job in the queue.
struct Queued<J> {
    job: J,
    since: Instant,
}

/// The pool's record of one thread.
struct Member<J: Job> {
    /// Where its orders and its present activity stand.
    bunk: Arc<Bunk<J>>,
    /// Taken out by the thread itself when it ends.
    thread: thread::JoinHandle<()>,
    /// The thread is inside [`Pool::shutdown`], called from a job: shutdowns called from other jobs do not wait for it.
    is_shutting_down: bool,
}

/// Everything that is decided under the lock. Written and read by any thread that holds it.
struct State<J: Job> {
    /// Bunks of the idle threads; the last became idle last.
    idle: Vec<Arc<Bunk<J>>>,
    /// Jobs that found neither an idle thread nor the right to start one. FIFO.
    queue: VecDeque<Queued<J>>,
    /// Threads that will look at the queue again: all but those on their way out.
    live: usize,
    /// Started threads that have not run yet.
    arriving: usize,
    /// All threads, by the number in their names.
    members: BTreeMap<usize, Member<J>>,
    /// The number of the next thread.
    next_id: usize,
    /// The thread that ended last. Each ending thread joins its predecessor, so joining this one joins all that ended.
    last_ended: Option<thread::JoinHandle<()>>,
    /// Threads that are joining `last_ended` in [`Pool::shutdown`] now.
    joiners: usize,
    /// Nothing is accepted any more. Never reset.
    is_closed: bool,
    /// A thread came back from a job since the last look of the monitor, or since the queue stopped being empty.
    came_back: bool,
    /// How many threads the next look starts if the pool is stalled.
    step: usize,
    /// How well spinning pays, 0 to [`SPIN_SCORE_MAX`].
    spin_score: u32,
    /// Idle periods that began without a spin since the last one that began with one.
    unspun: u32,
    /// See [`Counters`].
    spawn_failures: u64,
}

impl<J: Job> State<J> {
    fn new() -> Self {
        State {
            idle: Vec::new(),
            queue: VecDeque::new(),
            live: 0,
            arriving: 0,
            members: BTreeMap::new(),
            next_id: 0,
            last_ended: None,
            joiners: 0,
            is_closed: false,
            came_back: false,
            step: 1,
            spin_score: SPIN_SCORE_MAX / 2,
            unspun: 0,
            spawn_failures: 0,
        }
    }

    /// Adds `job` to the queue; whether that ended an empty queue.
    fn enqueue(&mut self, job: J) -> bool {
        let was_empty = self.queue.is_empty();
        if was_empty {
            // What happened before is no evidence about this queue.
            self.came_back = false;
            self.step = 1;
        }
        self.queue.push_back(Queued { job, since: Instant::now() });
        was_empty
    }

    /// How many threads the evidence calls for, see the head of this file.
    fn threads_wanted(&mut self, now: Instant) -> usize {
        let Some(oldest) = self.queue.front() else { return 0 };
        let waited = now.saturating_duration_since(oldest.since);
        if std::mem::take(&mut self.came_back) {
            self.step = 1;
            return usize::from(waited > BEHIND_AFTER && self.arriving == 0);
        }
        if waited <= STALL_AFTER || self.arriving > 0 {
            return 0;
        }
        let wanted = self.step;
        self.step = (self.step * 2).min(STEP_MAX);
        wanted.min(self.queue.len())
    }

    /// Learns from the last spin, and says whether the next idle period begins with one.
    fn decide_spin(&mut self, last: Option<bool>) -> bool {
        self.spin_score = match last {
            Some(true) => (self.spin_score + SPIN_GAIN).min(SPIN_SCORE_MAX),
            Some(false) => self.spin_score.saturating_sub(1),
            None => self.spin_score,
        };
        let spin = self.spin_score > 0 || self.unspun + 1 >= SPIN_PROBE;
        self.unspun = if spin { 0 } else { self.unspun + 1 };
        spin
    }
}

/// What the pool and its threads share.
struct Shared<J: Job> {
    config: Config,
    state: Mutex<State<J>>,
    /// A thread ended, or a shutdown got further. With the lock of `state`; shutdowns wait.
    progress: Condvar,
    /// The number of the thread that became idle last: it alone spins. Written under the lock of `state`, read by spinning threads.
    spinner: AtomicUsize,
}

/// The pool. Dropping it begins the shutdown and waits for nothing.
pub(crate) struct Pool<J: Job> {
    shared: Arc<Shared<J>>,
}

impl<J: Job> Pool<J> {
    /// A pool without threads: the first job starts the first.
    pub(crate) fn new(mut config: Config) -> Self {
        config.name_prefix.retain(|c| c != '\0');
        config.threads_max = config.threads_max.max(1);
        config.eager_threads = config.eager_threads.clamp(1, config.threads_max);
        config.queue_max = config.queue_max.map(|max| max.max(1));
        config.spin_limit = config.spin_limit.min(Duration::from_micros(20));
        let spinner = AtomicUsize::new(usize::MAX);
        Pool { shared: Arc::new(Shared { config, state: Mutex::new(State::new()), progress: Condvar::new(), spinner }) }
    }

    /// Any thread. Has `job` run on a thread of the pool, soon.
    ///
    /// # Errors
    ///
    /// Gives the job back when the pool is closed, when its bounded queue is full, and when there is no thread to run it.
    pub(crate) fn submit(&self, job: J) -> Result<(), Rejected<J>> {
        let shared = &self.shared;
        let mut state = shared.state.lock();
        if state.is_closed {
            drop(state);
            return Err(Rejected::Closed(job));
        }
        if let Some(bunk) = state.idle.pop() {
            drop(state);
            bunk.give(Order::Run(job));
            return Ok(());
        }
        let mut job = job;
        if state.live < shared.config.eager_threads {
            match self.start(&mut state, Some(job)) {
                Ok(()) => return Ok(()),
                // B4: the living threads will come to it. With none the job must go back.
                Err((_, Some(back))) if state.live > 0 => job = back,
                Err((error, Some(back))) => {
                    drop(state);
                    return Err(Rejected::NoThread(error, back));
                }
                Err((_, None)) => unreachable!("a thread that failed to start has taken its first job"),
            }
        }
        if shared.config.queue_max.is_some_and(|max| state.queue.len() >= max) {
            drop(state);
            return Err(Rejected::Full(job));
        }
        let was_empty = state.enqueue(job);
        drop(state);
        if was_empty {
            shared.call("the blocking pool's queue hook", &*shared.config.on_queue);
        }
        Ok(())
    }

    /// Any thread. Whether [`grow_if_stalled`](Pool::grow_if_stalled) could help: jobs wait, and the cap is not reached.
    ///
    /// False once means false until `on_queue` is called again, or until a job that waits at the cap has left the queue.
    pub(crate) fn needs_attention(&self) -> bool {
        let state = self.shared.state.lock();
        !state.queue.is_empty() && !state.is_closed && state.live < self.shared.config.threads_max
    }

    /// Monitor. Starts threads if the queue has not moved since the last call; whether it started any.
    pub(crate) fn grow_if_stalled(&self, now: Instant) -> bool {
        let wanted = self.shared.state.lock().threads_wanted(now);
        let mut started = 0;
        // The lock is free between two starts, so that submitters wait for one start at most.
        while started < wanted {
            let mut state = self.shared.state.lock();
            let at_cap = state.live >= self.shared.config.threads_max;
            if state.is_closed || at_cap || state.queue.is_empty() {
                break;
            }
            if self.start(&mut state, None).is_err() {
                state.step = 1;
                break;
            }
            started += 1;
        }
        started > 0
    }

    /// Any thread. Whether a job is queued, or run. What a job did happened before this says no.
    pub(crate) fn is_at_work(&self) -> bool {
        let state = self.shared.state.lock();
        !state.queue.is_empty() || state.live > state.idle.len()
    }

    /// Any thread.
    pub(crate) fn counters(&self) -> BlockingCounters {
        let state = self.shared.state.lock();
        BlockingCounters {
            threads: state.members.len(),
            idle: state.idle.len(),
            queued: state.queue.len(),
            oldest_queued: state.queue.front().map(|queued| queued.since),
            spawn_failures: state.spawn_failures,
        }
    }

    /// Any thread. From now on nothing is accepted; cancels what is queued, sends idle threads away, waits for nothing. Idempotent.
    pub(crate) fn begin_shutdown(&self) {
        let mut state = self.shared.state.lock();
        state.is_closed = true;
        let idle = std::mem::take(&mut state.idle);
        state.live -= idle.len();
        let queue = std::mem::take(&mut state.queue);
        drop(state);
        for bunk in idle {
            bunk.give(Order::Leave);
        }
        for Queued { job, .. } in queue {
            self.shared.cancel(job);
        }
    }

    /// Any thread, also one of the pool's own (which then does not wait for itself). Begins the shutdown, waits until every thread has
    /// ended, and joins them. Idempotent; several threads may call it, and each that gets `Ok` may rely on it.
    ///
    /// Joining includes the destructors of a thread's thread-locals, which no deadline limits.
    ///
    /// # Errors
    ///
    /// When `deadline` passes first: one line for each thread that still runs, with what it runs. Those threads finish on their own; a
    /// later call can still wait for them.
    pub(crate) fn shutdown(&self, deadline: Option<Instant>) -> Result<(), Vec<String>> {
        self.begin_shutdown();
        let shared = &self.shared;
        let here = thread::current().id();
        let mut state = shared.state.lock();
        let myself = state.members.iter().find(|(_, member)| member.thread.thread().id() == here).map(|(id, _)| *id);
        shared.set_shutting_down(&mut state, myself, true);
        let result = loop {
            // A thread of the pool waits for neither itself nor another that waits like it.
            let mut others = state.members.values().filter(|other| myself.is_none() || !other.is_shutting_down);
            if others.next().is_none() && state.joiners == 0 {
                let Some(last) = state.last_ended.take_if(|last| last.thread().id() != here) else { break Ok(()) };
                state.joiners += 1;
                drop(state);
                // The pool's threads end normally: what could panic in them is caught.
                let _ = last.join();
                state = shared.state.lock();
                state.joiners -= 1;
                shared.progress.notify_all();
                continue;
            }
            let Some(deadline) = deadline else {
                state = shared.progress.wait(state);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let others = state.members.iter().filter(|(id, _)| Some(**id) != myself);
                break Err(others.map(|(_, member)| member.bunk.describe()).collect());
            }
            (state, _) = shared.progress.wait_timeout(state, left);
        };
        shared.set_shutting_down(&mut state, myself, false);
        result
    }

    /// Starts a thread, for `first` if there is one. The lock is held throughout: what is decided on the number of threads is true.
    fn start(&self, state: &mut State<J>, first: Option<J>) -> Result<(), (io::Error, Option<J>)> {
        let id = state.next_id;
        let name = format!("{}-blocking-{id}", self.shared.config.name_prefix);
        let bunk = Arc::new(Bunk::new(id, name.clone(), first));
        let (shared, its_bunk) = (self.shared.clone(), bunk.clone());
        let body = Box::new(move || shared.work(&its_bunk));
        match (self.shared.config.spawner)(ThreadPlan { name, stack_size: self.shared.config.stack_size }, body) {
            Ok(thread) => {
                state.next_id += 1;
                state.live += 1;
                state.arriving += 1;
                state.members.insert(id, Member { bunk, thread, is_shutting_down: false });
                Ok(())
            }
            Err(error) => {
                state.spawn_failures += 1;
                Err((error, bunk.take_first()))
            }
        }
    }
}

impl<J: Job> Drop for Pool<J> {
    fn drop(&mut self) {
        self.begin_shutdown();
    }
}

impl<J: Job> Shared<J> {
    /// The life of a thread.
    fn work(&self, bunk: &Arc<Bunk<J>>) {
        self.state.lock().arriving -= 1;
        if let Some(hook) = &self.config.on_thread_start {
            self.call("the blocking pool's thread start hook", &**hook);
        }
        let mut spun = None;
        let mut job = bunk.take_first();
        loop {
            let has_run = job.is_some();
            if let Some(job) = job {
                self.run(bunk, job);
            }
            job = self.next(bunk, has_run, &mut spun);
            if job.is_none() {
                break;
            }
        }
        if let Some(hook) = &self.config.on_thread_stop {
            bunk.begin(Doing::Hook);
            self.call("the blocking pool's thread stop hook", &**hook);
        }
        self.end(bunk);
    }

    fn run(&self, bunk: &Bunk<J>, job: J) {
        let result = catch_unwind(AssertUnwindSafe(|| {
            bunk.begin(Doing::Job(job.describe()));
            job.run();
        }));
        if let Err(payload) = result {
            self.report(&bunk.describe(), payload);
        }
    }

    /// The next job of the thread on `bunk`; `None` sends it away, and then it no longer counts as live.
    fn next(&self, bunk: &Arc<Bunk<J>>, has_run: bool, spun: &mut Option<bool>) -> Option<J> {
        let mut state = self.state.lock();
        state.came_back |= has_run;
        // B1: the queue is looked at under the lock under which this thread becomes idle or leaves.
        if let Some(Queued { job, .. }) = state.queue.pop_front() {
            return Some(job);
        }
        if state.is_closed {
            state.live -= 1;
            return None;
        }
        let spin = !self.config.spin_limit.is_zero() && state.decide_spin(spun.take());
        state.idle.push(bunk.clone());
        // Ordering: Relaxed, a hint that guards nothing: a thread in `bunk.rs::Bunk::spin` that reads it late spins a little longer.
        self.spinner.store(bunk.id(), Ordering::Relaxed);
        drop(state);
        if let Some(hook) = &self.config.on_idle {
            self.call("the blocking pool's idle hook", &**hook);
        }
        self.wait(bunk, spin, spun)
    }

    /// Waits, with its bunk on the idle stack, for an order or the end of the keep-alive.
    fn wait(&self, bunk: &Arc<Bunk<J>>, spin: bool, spun: &mut Option<bool>) -> Option<J> {
        let mut patience =
            Patience { keep_alive: Some(self.config.keep_alive), spin_limit: spin.then_some(self.config.spin_limit) };
        loop {
            let waited = bunk.wait(patience, &self.spinner, spun);
            let order = match waited {
                Waited::Ordered(order) => order,
                Waited::Expired => {
                    let mut state = self.state.lock();
                    if let Some(place) = state.idle.iter().position(|idle| Arc::ptr_eq(idle, bunk)) {
                        state.idle.remove(place);
                        state.live -= 1;
                        return None;
                    }
                    // B2: somebody took the bunk off the stack first and owes an order.
                    drop(state);
                    patience = Patience { keep_alive: None, spin_limit: None };
                    continue;
                }
            };
            return match order {
                Order::Run(job) => Some(job),
                Order::Leave => None,
            };
        }
    }

    /// The thread's last act: strikes it off, and joins the one that ended before it.
    fn end(&self, bunk: &Bunk<J>) {
        let mut state = self.state.lock();
        let member = state.members.remove(&bunk.id());
        let before = member.and_then(|member| state.last_ended.replace(member.thread));
        self.progress.notify_all();
        drop(state);
        if let Some(before) = before {
            let _ = before.join();
        }
    }

    fn set_shutting_down(&self, state: &mut MutexGuard<'_, State<J>>, id: Option<usize>, value: bool) {
        if let Some(member) = id.and_then(|id| state.members.get_mut(&id)) {
            member.is_shutting_down = value;
            self.progress.notify_all();
        }
    }

    fn cancel(&self, job: J) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| job.cancel())) {
            self.report("the cancellation of a queued blocking job", payload);
        }
    }

    fn call(&self, what: &str, hook: &(dyn Fn() + Send + Sync)) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(hook)) {
            self.report(what, payload);
        }
    }

    fn report(&self, what: &str, payload: Box<dyn Any + Send>) {
        let result = catch_unwind(AssertUnwindSafe(|| (self.config.on_panic)(what, payload)));
        if let Err(second) = result {
            // The reporter itself panics: dropping its payload could panic a third time, and nobody is left to tell.
            std::mem::forget(second);
        }
    }
}
