//! The monitor: one thread for each runtime that sees to it that no loop's long poll holds up another loop's work.
//!
//! It sleeps while every loop does. While any runs it looks at all of them, once a millisecond where it found a long poll lately, and else at times that
//! its [`Pace`] chooses:
//!
//! - a loop that made no poll and no turn since the last look is *stalled*: a sleeping peer is sent to take over its ready I/O, its due timers
//!   and its queued tasks (`Worker::rescue`), again at each tick with new ones of these. It then sleeps over the loop's reactor
//!   (`Worker::attend`), and nobody is sent for sockets while it does. Where none sleeps, one that runs and is not
//!   stalled is asked to do that between two of its polls (the signal HELP): it may never run out of tasks of its own, and so never look for
//!   others. Where none is left either, the monitor itself asks the stalled loop's reactor and timers. It begins each look with another loop, so that
//!   the same few do not get every helper;
//! - a loop that polls but did not turn its reactor is told to (the signal TURN), which bounds the delay of I/O behind tasks that suddenly
//!   became long without a clock on the poll path;
//! - a poll that lasts longer than the threshold is *slow*: it is reported once, with the task's name and the place of its spawn. The worker
//!   publishes the address of what it polls with one plain store; the monitor looks it up in the registries, and never follows it;
//! - the blocking pool, when jobs are queued and no thread takes them, is let grow.
//!
//! - when every loop that runs is stalled and none sleeps, it asks the workers' reactors and timers itself who is to be woken, and if work
//!   waits then it starts a *spare worker*: one more loop, which takes over what it finds and is sent home after [`SPARE_IDLE_TICKS`] without a
//!   poll, or at which nobody was in a long one: under load it would never be without. Sockets, timers and tasks that are made on a spare worker belong to the loop of a worker, for a spare is not there to stay. It does
//!   neither while all those loops merely wait for a CPU (`thread_cpu`): a spare worker would be one more that waits.
//!
//! Where looks find nobody running it *listens*: loops that wake arm a [`Tripwire`], and what becomes ready on one of them before it sleeps again ends the
//! monitor's pause; so does a loop that wakes for more than it can run at once, and a task from outside that nobody is free for ([`Monitor::call`]). When two looks in a row found all quiet, and 20 ms have passed, it sleeps for good, and the first worker to wake rouses it ([`Monitor::stir`]): the
//! few extra looks keep a lightly loaded server from paying for that with each request. Its thread starts when it is first needed. Go's sysmon is the model; it
//! may sleep up to 10 ms between two looks, and finds stalls by the same kind of counter.
//!
//! Withdrawing and stirring are a store-then-check race, which [`Drowse`] decides: either the monitor sees the loop that runs, or the loop,
//! after it gave up its idle bit, sees that the monitor is away.

use std::io;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::drowse::{ASLEEP, Drowse, LISTENING, RESTING, Stirred};
use super::pace::{Look, Next, Pace, REST, TICK, UNSURE_TICKS};
use super::thread_cpu::{LONG, SURELY_LONG};
use super::worker::MAIN_FUTURE;
use super::{LoopShared, Shared, signal};
use crate::loom::thread::{self, JoinHandle};
use crate::loom::{Arc, Mutex, OnceLock, Weak};
use crate::reactor::Reactor;
use crate::reactor::tripwire::Tripwire;
use crate::report::{self, Exception, ExceptionKind, Polled, SlowPoll};

/// Loops with more sockets than that, taken together, are not put into the tripwire in one look, which would take half a millisecond: the monitor rests.
const AUDIBLE_SOCKETS_MAX: usize = 4096;

/// One runtime's monitor.
pub(crate) struct Monitor {
    drowse: Drowse,
    /// What it watches; set once, when the runtime has been made.
    shared: OnceLock<Weak<Shared>>,
    /// Started by the first that rouses it, under the lock; taken by who stops it.
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Set when the thread could not be started for the first time.
    has_failed: OnceLock<()>,
    /// What it listens at. Set by its thread, before it does so for the first time; read by the loops.
    tripwire: OnceLock<Tripwire>,
}

impl Monitor {
    pub(crate) fn new() -> Self {
        Monitor {
            drowse: Drowse::new(),
            shared: OnceLock::new(),
            thread: Mutex::new(None),
            has_failed: OnceLock::new(),
            tripwire: OnceLock::new(),
        }
    }

    /// Says what is to be watched.
    pub(crate) fn watch(&self, shared: Weak<Shared>) {
        // A second call would be a mistake of this crate; the first stands.
        let _ = self.shared.set(shared);
    }

    /// A loop runs: the monitor must not sleep. Its owner. Whether the monitor listens: what becomes ready on the loop's `reactor` is told to it then, until
    /// the owner disarms.
    #[inline]
    #[must_use]
    pub(crate) fn stir(&self, reactor: &Reactor) -> bool {
        match self.drowse.stir(|| self.interrupt()) {
            Stirred::Soon => false,
            Stirred::Roused => {
                self.start_if_new();
                false
            }
            Stirred::Listens => {
                // A loop without sockets cannot be armed, nor one that has them for a short time only: it is looked at when the pause is over.
                let _ = self.tripwire().is_some_and(|tripwire| tripwire.arm(reactor));
                true
            }
        }
    }

    /// The loop is about to sleep, and does not leave events waiting any more. Its owner, after [`stir`](Monitor::stir) armed.
    #[cold]
    pub(crate) fn disarm(&self, reactor: &Reactor) {
        if let Some(tripwire) = self.tripwire() {
            tripwire.disarm(reactor);
        }
    }

    /// A blocking job waits, a loop is lent, or a task waits on a loop that has just woken: the monitor must not even rest. Any thread.
    pub(crate) fn hurry(&self) {
        if self.drowse.hurry(|| self.interrupt()) {
            self.start_if_new();
        }
    }

    /// A task from outside waits for a loop that runs, and nobody sleeps who could take it: if the monitor listens, it looks now. Any thread.
    #[cold]
    pub(crate) fn call(&self) {
        if self.drowse.is_listening() {
            self.hurry();
        }
    }

    /// Ends its wait at the tripwire.
    fn interrupt(&self) {
        if let Some(tripwire) = self.tripwire() {
            tripwire.trip();
        }
    }

    /// What it listens at, if it ever did.
    pub(super) fn tripwire(&self) -> Option<&Tripwire> {
        self.tripwire.get()
    }

    /// Starts the thread, unless it is there, or was stopped: `stop` says so first and takes the thread after.
    #[cold]
    fn start_if_new(&self) {
        let mut thread = self.thread.lock();
        if thread.is_some() || self.drowse.is_stopped() {
            return;
        }
        match self.start() {
            Ok(started) => *thread = started,
            Err(error) => {
                drop(thread);
                self.drowse.remain_asleep();
                // Each `stir` tries again; one report says what is the matter.
                if self.has_failed.set(()).is_ok()
                    && let Some(shared) = self.shared.get().and_then(Weak::upgrade)
                {
                    shared.report_loop_error("starting the monitor", &error);
                }
            }
        }
    }

    fn start(&self) -> io::Result<Option<JoinHandle<()>>> {
        let Some(watched) = self.shared.get().cloned() else { return Ok(None) };
        let Some(shared) = watched.upgrade() else { return Ok(None) };
        let name = format!("{}-monitor", shared.settings.thread_name);
        let handler = shared.settings.exception_handler.clone();
        let monitor = shared.monitor.clone();
        let body = move || {
            crate::report::set_thread_handler(handler);
            monitor.run(&watched);
        };
        thread::Builder::new().name(name).spawn(body).map(Some)
    }

    /// Ends the monitor's thread and waits for it. Called once no worker runs any more.
    pub(crate) fn stop(&self) {
        self.drowse.stop(|| self.interrupt());
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
        {
            // The body catches what can panic; if it panicked all the same, the panic hook has told so.
            let _ = thread.join();
        }
    }

    fn run(&self, watched: &Weak<Shared>) {
        let mut watch = Watch::new();
        let mut pace = Pace::default();
        let mut audible = Vec::new();
        // Who had this thread started left word before. It would end the first pause.
        if !self.drowse.pause(None) {
            return;
        }
        while let Some(shared) = watched.upgrade() {
            pace.slow_poll = shared.settings.slow_poll;
            let look = watch.look(&shared);
            if look.wants_spare {
                shared.start_spare();
            }
            if pace.has_not_listened_for_long(Instant::now()) {
                self.forget(&mut audible, &shared);
            }
            let mut next = pace.next(&look, Instant::now());
            if matches!(next, Next::Listen(_)) && !self.can_listen(&shared, &mut audible, AUDIBLE_SOCKETS_MAX) {
                next = pace.cannot_listen(Instant::now());
            }
            let next = self.withdraw(next, &shared);
            drop(shared);
            let goes_on = match next {
                Next::Tick => self.drowse.pause(Some(TICK)),
                Next::Rest => self.rest(),
                Next::Listen(at_most) => self.listen(at_most, &mut pace),
                Next::Sleep => self.drowse.pause(None),
            };
            if !goes_on {
                return;
            }
            if next == Next::Sleep {
                pace.begin_anew(Instant::now());
                watch.seen.clear();
            }
        }
    }

    /// Says that the monitor withdraws, as far as it can. What is left to be done.
    pub(super) fn withdraw(&self, next: Next, shared: &Shared) -> Next {
        let is_away = match next {
            Next::Tick => false,
            Next::Rest => self.drowse.withdraw(RESTING, || cannot_wait(shared)),
            Next::Listen(_) => self.drowse.withdraw(LISTENING, || is_active(shared)),
            Next::Sleep => self.drowse.withdraw(ASLEEP, || is_active(shared)),
        };
        if is_away { next } else { Next::Tick }
    }

    /// Sees to it that there is a tripwire, with the reactors of all loops that have sockets, if `most` is enough for what is to be added. Whether there is;
    /// else nothing is in it. `audible` says of each loop whether it can arm.
    pub(super) fn can_listen(&self, shared: &Shared, audible: &mut Vec<bool>, most: usize) -> bool {
        if !shared.is_watched() {
            return false;
        }
        if self.tripwire().is_none()
            && let Ok(tripwire) = Tripwire::new()
        {
            // Nobody else sets it.
            let _ = self.tripwire.set(tripwire);
        }
        let Some(tripwire) = self.tripwire() else { return false };
        audible.resize(shared.workers().len() + shared.spares().len(), false);
        let new = shared.in_use().iter().filter(|each| each.reactor.sources() > 0 && !audible[each.index]);
        let new: Vec<&Arc<LoopShared>> = new.collect();
        let are_few = new.iter().map(|each| each.reactor.sources()).sum::<usize>() <= most;
        let are_added = are_few
            && new.iter().all(|each| {
                audible[each.index] = tripwire.add(&each.reactor);
                audible[each.index]
            });
        if !are_added {
            self.forget(audible, shared);
        }
        are_added
    }

    /// No loop can arm any more, until the monitor listens again.
    pub(super) fn forget(&self, audible: &mut Vec<bool>, shared: &Shared) {
        let Some(tripwire) = self.tripwire() else { return };
        for (index, _) in audible.drain(..).enumerate().filter(|&(_, is_audible)| is_audible) {
            tripwire.remove(&shared.at(index).reactor);
        }
    }

    /// The pause of a monitor that rests. `false`: it is to end.
    fn rest(&self) -> bool {
        let begin = Instant::now();
        // Between two looks is a tick at least: a poll that is shorter is no stall.
        self.drowse.pause(Some(REST)) && (begin.elapsed() >= REST || self.drowse.pause(Some(TICK)))
    }

    /// The pause of a monitor that listens. `false`: it is to end.
    fn listen(&self, at_most: Duration, pace: &mut Pace) -> bool {
        let Some(tripwire) = self.tripwire() else { return true };
        let mut waited = None;
        let goes_on = self.drowse.pause_in(|| waited = Some(tripwire.wait(at_most)));
        // Who left word before it waited has tripped the wire as well, or will.
        let waited = waited.unwrap_or_else(|| tripwire.wait(Duration::ZERO).map(|_| true));
        let is_tripped = waited.unwrap_or_else(|error| {
            report::report(&Exception::new(ExceptionKind::Loop, format!("the monitor's wait: {error}")));
            true
        });
        pace.has_listened(is_tripped, Instant::now());
        goes_on
    }
}

fn is_running(each: &LoopShared, shared: &Shared) -> bool {
    each.is_occupied() && !shared.sleep.is_idle(each.index)
}

/// Whether something waits for the monitor's next look that [`Monitor::hurry`] is called for.
fn cannot_wait(shared: &Shared) -> bool {
    shared.blocking.needs_attention() || shared.in_use().iter().any(|each| each.is_lent())
}

fn is_active(shared: &Shared) -> bool {
    let needs_eyes =
        |each: &LoopShared| is_running(each, shared) || each.index >= shared.settings.workers && each.is_occupied();
    (shared.is_watched() && shared.in_use().iter().any(|each| needs_eyes(each))) || shared.blocking.needs_attention()
}

/// Ticks without a poll after which a spare worker is sent home; and ticks without a long poll of anybody's, after which all are.
const SPARE_IDLE_TICKS: u32 = 50;

/// Ticks in one poll after which others may take what lies in the loop's `yielded` queue.
const STUCK_TICKS: u32 = 20;

/// Of so many stalled loops, at most, the kernel is asked in a look whether they wait for a CPU, and again before a spare worker is started: it takes up
/// to 10 us for each.
const THREADS_ASKED_MAX: usize = 16;

/// Most slow polls reported in one second.
const REPORTS_MAX: u32 = 8;

/// What the monitor remembers from one look to the next. Its thread's own.
pub(super) struct Watch {
    /// One for each loop; empty before the first look.
    seen: Vec<Seen>,
    /// The second in which reports were last made, how many, and how many were held back since the last.
    reports: (Instant, u32),
    suppressed: u64,
    /// The place in the list of loops at which the last look began.
    first: usize,
    /// Ticks in a row at which there was a spare worker, and no poll was long.
    short_ticks: u32,
    /// In this look: the loops that slept and were sent to help, those that are stalled and got no sleeper's help, and those that run and are not
    /// stalled. Kept to reuse their memory.
    sent: Vec<usize>,
    helpless: Vec<usize>,
    busy: Vec<usize>,
    /// Collected from stalled loops; kept to reuse its memory.
    wakers: Vec<Waker>,
}

/// One loop, as it was seen.
#[derive(Clone, Copy)]
struct Seen {
    /// Polls begun and turns made.
    progress: (usize, usize),
    /// When it was first seen at this point, and what its thread had had of a CPU then, if that is known.
    since: Instant,
    cpu: Option<Duration>,
    is_reported: bool,
    /// The poll is a long one, and no thread that waits for a CPU.
    is_long: bool,
    /// Ticks in a row without a new poll.
    idle_ticks: u32,
    /// Ticks in a row at which it was stalled.
    stalled_ticks: u32,
}

impl Watch {
    pub(super) fn new() -> Self {
        Watch {
            seen: Vec::new(),
            reports: (Instant::now(), 0),
            suppressed: 0,
            first: 0,
            short_ticks: 0,
            sent: Vec::new(),
            helpless: Vec::new(),
            busy: Vec::new(),
            wakers: Vec::new(),
        }
    }

    /// One look at everything.
    pub(super) fn look(&mut self, shared: &Arc<Shared>) -> Look {
        let (mut wants_spare, mut has_progressed, mut timer_in) = (false, false, None);
        let (mut has_long, mut began_long, mut may_be_long) = (false, false, false);
        if shared.is_watched() {
            let now = Instant::now();
            let is_first = self.seen.is_empty();
            let unseen = Seen {
                progress: (0, 0),
                since: now,
                cpu: None,
                is_reported: false,
                is_long: false,
                idle_ticks: 0,
                stalled_ticks: 0,
            };
            self.seen.resize(shared.workers().len() + shared.spares().len(), unseen);
            let (mut running, mut stalled, mut asked) = (0, 0, 0);
            let in_use = shared.in_use();
            self.first = (self.first + 1) % in_use.len().max(1);
            for each in in_use[self.first..].iter().chain(&in_use[..self.first]) {
                let (is_running, is_stalled) = self.look_at(shared, each, now, is_first);
                has_progressed |= is_first || self.seen[each.index].since == now;
                if is_stalled && !self.seen[each.index].is_long && asked < THREADS_ASKED_MAX {
                    asked += 1;
                    self.seen[each.index].is_long = !self.waits_for_cpu(each, SURELY_LONG);
                    began_long |= self.seen[each.index].is_long && !each.is_lent();
                }
                has_long |= is_stalled && self.seen[each.index].is_long;
                may_be_long |= is_stalled && self.seen[each.index].stalled_ticks < UNSURE_TICKS;
                let first = each.timers.next_deadline().filter(|_| each.is_occupied());
                let due_in = first.map(|at| at.saturating_duration_since(each.clock.now_given(now)));
                timer_in = due_in.into_iter().chain(timer_in).min();
                running += u32::from(is_running);
                stalled += u32::from(is_stalled);
                if is_running && !is_stalled {
                    self.busy.push(each.index);
                }
            }
            // A sleeper that was just sent is on its way: if it does not get a CPU it counts as stalled at the next look.
            let has_helper = !self.sent.is_empty() || shared.sleep.has_idle();
            self.sent.clear();
            let are_all_stalled = stalled > 0 && stalled == running && !has_helper;
            if are_all_stalled && self.wait_for_cpus(shared) {
                // Whoever were to help would take one of the CPUs that they wait for.
                self.helpless.clear();
            } else {
                self.find_help(shared, now);
                wants_spare = are_all_stalled && self.take_over(shared, now);
            }
            has_long |= self.retire_spares(shared);
        }
        if shared.blocking.needs_attention() {
            shared.blocking.grow_if_stalled(Instant::now());
        }
        Look { is_active: is_active(shared), has_progressed, has_long, began_long, may_be_long, timer_in, wants_spare }
    }

    /// One look at one loop: what it needs, given what it had done at the last look. Whether it runs, and whether it is stalled.
    fn look_at(&mut self, shared: &Arc<Shared>, each: &LoopShared, now: Instant, is_first: bool) -> (bool, bool) {
        let progress = each.progress.read();
        let before = self.seen[each.index];
        let has_polled = progress.0 != before.progress.0;
        if progress != before.progress || is_first {
            let cpu = each.cpu.used();
            self.seen[each.index] = Seen { progress, since: now, cpu, is_reported: false, is_long: false, ..before };
        }
        self.seen[each.index].idle_ticks = if has_polled { 0 } else { before.idle_ticks.saturating_add(1) };
        if !is_running(each, shared) || self.sent.contains(&each.index) {
            let is_spare = each.index >= shared.settings.workers;
            if is_spare && each.is_occupied() && self.seen[each.index].idle_ticks >= SPARE_IDLE_TICKS {
                self.seen[each.index].idle_ticks = 0;
                each.signal(signal::LEAVE);
            }
            self.count_stall(each, false);
            return (false, false);
        }
        let is_stalled = each.is_lent() || !is_first && progress == before.progress;
        self.count_stall(each, is_stalled);
        if is_first || progress.1 != before.progress.1 {
            return (true, is_stalled);
        }
        let (has_sources, has_due) = (each.reactor.sources() > 0, each.timers.is_due(each.clock.now_given(now)));
        if has_sources || has_due || !each.inbox.is_empty() {
            each.signal(signal::TURN);
        }
        let has_unattended = has_sources && !shared.is_attended(each);
        let has_yielded = !each.yielded.is_empty();
        if is_stalled && has_yielded {
            // A single one, which the owner was to run next, nobody has been told of.
            self.sent.extend(shared.publish_yielded());
        }
        let has_queued = !each.next.is_empty() || each.has_stealable() || has_yielded && each.is_away();
        if is_stalled && (has_unattended || has_due || has_queued) {
            match shared.send_rescuer(each.index) {
                Some(helper) => self.sent.push(helper),
                None => self.helpless.push(each.index),
            }
        }
        if let Some(threshold) = shared.settings.slow_poll
            && is_stalled
            && !before.is_reported
            && now.saturating_duration_since(before.since) >= threshold
        {
            self.seen[each.index].is_reported = true;
            self.report(shared, each, now.saturating_duration_since(before.since));
        }
        (true, is_stalled)
    }

    fn count_stall(&mut self, each: &LoopShared, is_stalled: bool) {
        let ticks = &mut self.seen[each.index].stalled_ticks;
        *ticks = if is_stalled { ticks.saturating_add(1) } else { 0 };
        each.set_stuck(*ticks >= STUCK_TICKS);
    }

    /// Every loop that runs is stalled: whether that is for want of CPUs alone, and no poll is long.
    fn wait_for_cpus(&self, shared: &Shared) -> bool {
        let in_use = shared.in_use();
        let running = in_use[self.first..].iter().chain(&in_use[..self.first]).filter(|each| is_running(each, shared));
        let mut asked = running.take(THREADS_ASKED_MAX);
        asked.all(|each| self.waits_for_cpu(each, LONG))
    }

    /// A loop that is stalled: whether its thread waits for a CPU, and its poll is not long as far as one can see.
    fn waits_for_cpu(&self, each: &LoopShared, long: Duration) -> bool {
        !each.is_lent() && each.cpu.waits_since(self.seen[each.index].cpu, long)
    }

    /// Sends the spare workers home when no poll of anybody's has been long for a while. Whether there are any that were not sent home yet.
    fn retire_spares(&mut self, shared: &Shared) -> bool {
        if !shared.spares().iter().any(|spare| spare.is_occupied()) {
            self.short_ticks = 0;
            return false;
        }
        let is_long = |each: &LoopShared| {
            let seen = &self.seen[each.index];
            seen.stalled_ticks > 0 && (seen.is_long || !self.waits_for_cpu(each, LONG))
        };
        let is_any_long = shared.in_use().iter().any(|each| is_running(each, shared) && is_long(each));
        self.short_ticks = if is_any_long { 0 } else { self.short_ticks + 1 };
        let are_to_leave = self.short_ticks >= SPARE_IDLE_TICKS;
        if are_to_leave && self.short_ticks.is_multiple_of(SPARE_IDLE_TICKS) {
            // One with local tasks stays. It is told again after as many ticks.
            self.short_ticks = SPARE_IDLE_TICKS;
            for spare in shared.spares().iter().filter(|spare| spare.is_occupied()) {
                spare.signal(signal::LEAVE);
            }
        }
        !are_to_leave
    }

    /// Divides the stalled loops that no sleeper could be sent to among those that run, or serves them from here.
    fn find_help(&mut self, shared: &Arc<Shared>, now: Instant) {
        let (mut helpless, mut busy) = (std::mem::take(&mut self.helpless), std::mem::take(&mut self.busy));
        for (turn, &stalled) in helpless.iter().enumerate() {
            // Each helper has one word for this. Of more stalled loops than helpers the others come first at one of the next looks.
            match busy.get(turn) {
                Some(&helper) => shared.ask_for_help(helper, stalled),
                None => self.serve(shared.at(stalled), now),
            }
        }
        helpless.clear();
        busy.clear();
        (self.helpless, self.busy) = (helpless, busy);
    }

    /// Asks a loop's reactor and timers who is to be woken, in place of a peer: there is none that could. The tasks go to inboxes, where whoever
    /// searches, or is asked for help, finds them.
    fn serve(&mut self, each: &LoopShared, now: Instant) {
        if each.clock.is_virtual() {
            // No other loop could run what is woken; and the owner, which looks at its reactor before it lets time pass, must not find
            // somebody else in there.
            return;
        }
        each.reactor.try_turn(&mut self.wakers);
        if each.timers.is_due(now) {
            each.timers.try_fire_due(now, &mut self.wakers);
        }
        for waker in self.wakers.drain(..) {
            report::catch(ExceptionKind::Waker, || waker.wake());
        }
    }

    /// Every loop that runs is stalled, and none sleeps: the monitor itself serves the reactors and timers of all. Whether there is work in any queue
    /// then, which a spare worker is to be started for.
    fn take_over(&mut self, shared: &Shared, now: Instant) -> bool {
        for each in shared.workers() {
            self.serve(each, now);
        }
        let has_work = |each: &LoopShared| {
            each.has_stealable() || !each.next.is_empty() || !each.yielded.is_empty() && each.is_away()
        };
        shared.in_use().iter().any(|each| has_work(each))
    }

    fn report(&mut self, shared: &Arc<Shared>, each: &LoopShared, elapsed: Duration) {
        let Some(address) = each.progress.polled() else { return };
        let now = Instant::now();
        if now.saturating_duration_since(self.reports.0) >= Duration::from_secs(1) {
            self.reports = (now, 0);
        }
        if self.reports.1 >= REPORTS_MAX {
            self.suppressed += 1;
            return;
        }
        self.reports.1 += 1;
        let (what, found) = if address == MAIN_FUTURE {
            (Polled::MainFuture, each.main_location().map(|location| (None, location)))
        } else {
            (Polled::Task, shared.find_task(address))
        };
        let (name, location) = found.map_or((None, None), |(name, location)| (name, Some(location)));
        let suppressed = std::mem::take(&mut self.suppressed);
        let slow = SlowPoll { what, name, location, elapsed, worker: each.index, suppressed, is_over: false };
        report::report_slow_poll(shared.settings.on_slow_poll.as_ref(), &slow);
    }
}
