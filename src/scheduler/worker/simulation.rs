//! The hand-over, simulated: real workers and the real monitor, step by step on one thread, in an order drawn from a seed.
//!
//! A step of a loop is what its thread does between two points at which others may come in between: it takes its signals and its next task (and
//! is in a poll from then on), ends the poll, searches, announces its sleep, looks once more and parks, ends the park, takes its bit back. Other
//! steps: a look of the monitor, a spare worker's arrival, a thread that leaves its seat or comes back to it, and what happens outside: wakes,
//! bytes on sockets, spawns, in the end the shutdown. Tasks yield, wait for due timers, for sockets, for wakes from outside and from one another,
//! and spawn. Nothing blocks: a parked loop goes on when its park word, its reactor, its timers or its vigil over stalled loops would have ended the
//! park, and only then.
//!
//! What holds for every seed:
//!
//! - whatever loops are *held* in a poll, or lent, if one other loop runs or one more spare worker may come, then every task that has a reason to be
//!   polled is polled within [`PATIENCE`] rounds, in each of which the other loops make a step; the monitor looks in every eighth. Excepted are the tasks that are
//!   being polled, and the local ones of held loops. In particular no task is runnable while every loop sleeps;
//! - without the monitor, what lies in the deques, inboxes and `yielded` queues of held loops, and of one whose thread has left, is stolen, if anybody is
//!   free to search;
//! - no task is polled more often than it has had reasons, or after its end, and a local task only on its own loop;
//! - spare workers go home when nothing is left for them; after a shutdown every loop's thread leaves, and nothing lives.
//!
//! `EDDIES_SIMULATION_SEED=n` replays one seed and tells each step; `EDDIES_SIMULATION_SEEDS=n` plays so many, in place of [`SEEDS`]. What the
//! steps leave out, what two threads do inside of one at the same time, is the models' (`loom-tests/models/sleep.rs`).

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Wake};

use super::tests::settings;
use super::*;
use crate::loom::{Mutex, MutexGuard};
use crate::reactor::readiness::Direction;
use crate::reactor::{Reactor, Registration};
use crate::scheduler::monitor::Watch;
use crate::task::Spawn;

/// Seeds of a normal run.
const SEEDS: u64 = 10_000;

/// Rounds until which everything with a reason has been polled.
const PATIENCE: usize = 2_000;

/// A helper that was sent has so many steps before the monitor looks again, and may take it for one more loop that is stalled.
const ROUNDS_PER_LOOK: usize = 8;

/// Random steps between two trials of patience, and how many such pairs a seed has.
const STEPS: usize = 40;
const TRIALS: usize = 2;

/// Tasks of one seed, at most.
const TASKS_MAX: usize = 24;

/// splitmix64: every seed is as good as any other.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) % bound as u64) as usize
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

// ---- tasks -----------------------------------------------------------------------------------------------------------------------

/// What a task does at its polls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Something else at each.
    Mixed,
    /// It yields until the end of the seed: its loop never runs out of tasks.
    Yields,
    /// It reads the bytes of the socket with this number.
    Reads(usize),
}

/// A task, as the simulation sees it.
struct Note {
    manner: Manner,
    /// The loop of a local one.
    pinned_to: Option<usize>,
    /// It has a reason to be polled that came after its last poll began.
    is_due: bool,
    is_done: bool,
    reasons: usize,
    polls: usize,
    polls_left: usize,
    /// It waits for a wake from outside or from another task.
    waker: Option<Waker>,
}

/// A socket with one reader, registered with one loop.
struct Socket {
    /// Goes first: the number of a closed descriptor may be somebody else's.
    registration: Registration,
    ours: UnixStream,
    theirs: UnixStream,
    home: usize,
    unread: usize,
    /// The reader waits, and was not told of the unread bytes.
    is_awaited: bool,
}

/// All that tasks and the simulation share. Behind one lock, in which nothing is woken, spawned or dropped.
struct Ground {
    draw: Draw,
    notes: Vec<Note>,
    sockets: Vec<Socket>,
    /// The loop whose thread makes this step.
    here: usize,
    /// Tasks that yield for ever end now.
    is_over: bool,
    /// What went wrong inside of a poll, where a panic would be caught.
    violation: Option<String>,
}

type World = std::sync::Arc<Mutex<Ground>>;

impl Ground {
    fn add(&mut self, manner: Manner, pinned_to: Option<usize>) -> usize {
        let polls_left = 1 + self.draw.below(6);
        self.notes.push(Note {
            manner,
            pinned_to,
            is_due: true,
            is_done: false,
            reasons: 1,
            polls: 0,
            polls_left,
            waker: None,
        });
        self.notes.len() - 1
    }

    fn give_reason(&mut self, id: usize) {
        let note = &mut self.notes[id];
        note.is_due = !note.is_done;
        note.reasons += 1;
    }

    /// The waker of some task that waits for one, whose reason is counted.
    fn take_waker(&mut self) -> Option<Waker> {
        let waiting: Vec<usize> = (0..self.notes.len()).filter(|&id| self.notes[id].waker.is_some()).collect();
        if waiting.is_empty() {
            return None;
        }
        let id = waiting[self.draw.below(waiting.len())];
        self.give_reason(id);
        self.notes[id].waker.take()
    }

    fn begin_poll(&mut self, id: usize) {
        let here = self.here;
        let note = &mut self.notes[id];
        note.polls += 1;
        note.is_due = false;
        let wrong = if note.is_done {
            "was polled after its end"
        } else if note.polls > note.reasons {
            "was polled without a reason"
        } else if note.pinned_to.is_some_and(|home| home != here) {
            "is local and was polled elsewhere"
        } else {
            return;
        };
        self.violation = Some(format!("task {id} {wrong}"));
    }
}

/// The task is known by its number.
fn called(id: usize) -> Spawn {
    Spawn { name: Some(id.to_string()), ..Spawn::at(Location::caller()) }
}

fn id_of(runnable: &Runnable) -> usize {
    let task = runnable.reference();
    task.name().and_then(|name| name.parse().ok()).expect("every task is called by its number")
}

/// The future of a task.
struct Play {
    world: World,
    id: usize,
}

impl Play {
    fn lock(&self) -> MutexGuard<'_, Ground> {
        self.world.lock()
    }

    /// Tells the waiting reader's task, after it has noted that it was told.
    fn poll_socket(&self, number: usize, cx: &mut Context<'_>) -> Poll<()> {
        let told = std::sync::Arc::new(Told { world: self.world.clone(), number, waker: cx.waker().clone() });
        let waker = Waker::from(told);
        let mut ground = self.lock();
        loop {
            let socket = &mut ground.sockets[number];
            socket.is_awaited = true;
            let Poll::Ready(event) = socket.registration.poll_ready(&mut Context::from_waker(&waker), Direction::Read)
            else {
                return Poll::Pending;
            };
            socket.is_awaited = false;
            match socket.ours.read(&mut [0]) {
                Ok(1) => {
                    socket.unread -= 1;
                    return Poll::Ready(());
                }
                Ok(_) => unreachable!("the other end is open"),
                Err(_) => socket.registration.clear_ready(event, Direction::Read).unwrap(),
            }
        }
    }

    fn spawn_another(&self) {
        let id = {
            let mut ground = self.lock();
            if ground.notes.len() >= TASKS_MAX {
                return;
            }
            ground.add(Manner::Mixed, None)
        };
        let play = Play { world: self.world.clone(), id };
        current::with_worker(|worker| drop(worker.unwrap().spawn(play, called(id))));
    }

    /// A timer of this loop, due from the beginning.
    fn wait_for_timer(&self, cx: &mut Context<'_>) {
        let home = current::home("simulation").unwrap();
        let now = Instant::now();
        let past = now.checked_sub(Duration::from_secs(10)).unwrap_or(now);
        self.lock().give_reason(self.id);
        if home.timers.insert(now, past, cx.waker().clone()).unwrap().1 {
            home.nudge();
        }
    }
}

/// The waker of a reader.
struct Told {
    world: World,
    number: usize,
    waker: Waker,
}

impl Wake for Told {
    fn wake(self: std::sync::Arc<Self>) {
        if let Some(socket) = self.world.lock().sockets.get_mut(self.number) {
            socket.is_awaited = false;
        }
        self.waker.wake_by_ref();
    }
}

impl Future for Play {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut ground = self.lock();
        ground.begin_poll(self.id);
        let is_over = ground.is_over;
        let note = &mut ground.notes[self.id];
        if let Manner::Reads(number) = note.manner {
            drop(ground);
            while self.poll_socket(number, cx).is_ready() {}
            return Poll::Pending;
        }
        if note.manner == Manner::Yields {
            if is_over {
                return Poll::Ready(());
            }
        } else {
            note.polls_left -= 1;
            if note.polls_left == 0 {
                return Poll::Ready(());
            }
        }
        let action = if note.manner == Manner::Yields { 0 } else { ground.draw.below(6) };
        drop(ground);
        match action {
            0 => {
                self.lock().give_reason(self.id);
                cx.waker().wake_by_ref();
            }
            1 | 2 => self.wait_for_timer(cx),
            3 => self.lock().notes[self.id].waker = Some(cx.waker().clone()),
            4 => {
                let other = self.lock().take_waker();
                other.into_iter().for_each(Waker::wake);
                self.lock().notes[self.id].waker = Some(cx.waker().clone());
            }
            _ => {
                self.spawn_another();
                self.wait_for_timer(cx);
            }
        }
        Poll::Pending
    }
}

impl Drop for Play {
    fn drop(&mut self) {
        let waker = {
            let mut ground = self.lock();
            let note = &mut ground.notes[self.id];
            note.is_done = true;
            note.is_due = false;
            note.waker.take()
        };
        drop(waker);
    }
}

// ---- loops -----------------------------------------------------------------------------------------------------------------------

/// Where a loop's thread is.
enum Whereabouts {
    /// Nobody sits in the seat.
    Absent,
    /// A spare worker's thread is on its way.
    Arriving,
    /// Between two polls.
    Awake(Box<Worker>),
    /// In a poll, whose future is run when the hold is over. `lent`: in `block_in_place`.
    Polling {
        worker: Box<Worker>,
        task: (Runnable, Origin),
        hold: usize,
        lent: Option<Option<usize>>,
    },
    /// A search has found nothing.
    Idle(Box<Worker>),
    /// Between S2 and S4.
    Announced(Box<Worker>),
    Parked(Box<Worker>, Bed),
    /// Between the end of the park and S5.
    Waking(Box<Worker>, Option<Notice>),
}

/// Where it sleeps.
#[derive(Debug, Clone, Copy)]
struct Bed {
    place: Place,
    /// Over the reactors of loops that it attends, too.
    in_vigil: bool,
}

struct Simulation {
    shared: Arc<Shared>,
    world: World,
    watch: Watch,
    loops: Vec<Whereabouts>,
    /// Which loops are kept from making steps: they are in polls that last.
    is_held: Vec<bool>,
    spawned_outside: usize,
    /// Tells each step.
    is_loud: bool,
}

impl Simulation {
    fn new(seed: u64, is_loud: bool) -> Simulation {
        let mut draw = Draw(seed);
        let (workers, spares) = (1 + draw.below(3), draw.below(3));
        let shared = Shared::new(settings(workers, spares));
        // No thread but this one: the monitor's is never started.
        shared.monitor.stop();
        let ground =
            Ground { draw, notes: Vec::new(), sockets: Vec::new(), here: usize::MAX, is_over: false, violation: None };
        let mut simulation = Simulation {
            world: std::sync::Arc::new(Mutex::new(ground)),
            watch: Watch::new(),
            loops: (0..workers + spares).map(|_| Whereabouts::Absent).collect(),
            is_held: vec![false; workers + spares],
            spawned_outside: 0,
            is_loud,
            shared,
        };
        simulation.tell(|| format!("{workers} workers, {spares} spare ones"));
        for index in 0..workers {
            simulation.sit_down(index);
        }
        for _ in 0..simulation.below(3) {
            simulation.open_socket();
        }
        for _ in 0..simulation.below(3) {
            simulation.spawn_from_outside(Manner::Yields);
        }
        simulation
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.is_loud {
            println!("{}", what());
        }
    }

    fn below(&self, bound: usize) -> usize {
        self.world.lock().draw.below(bound)
    }

    fn one_in(&self, bound: usize) -> bool {
        self.world.lock().draw.one_in(bound)
    }

    // ---- what happens outside ------------------------------------------------------------------------------------------------

    fn spawn_from_outside(&mut self, manner: Manner) {
        let id = self.world.lock().add(manner, None);
        let play = Play { world: self.world.clone(), id };
        drop(self.shared.spawn_from_outside(play, called(id)));
        self.spawned_outside += 1;
    }

    fn open_socket(&mut self) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let home = self.below(self.shared.settings.workers);
        let registration = Reactor::register(&self.shared.at(home).reactor, ours.as_raw_fd()).unwrap();
        let number = {
            let mut ground = self.world.lock();
            ground.sockets.push(Socket { ours, theirs, registration, home, unread: 0, is_awaited: false });
            ground.sockets.len() - 1
        };
        self.spawn_from_outside(Manner::Reads(number));
    }

    /// A wake from outside, a byte, or a spawn.
    fn disturb(&mut self) {
        match self.below(3) {
            0 => {
                let waker = self.world.lock().take_waker();
                self.tell(|| format!("outside: a wake ({})", waker.is_some()));
                waker.into_iter().for_each(Waker::wake);
            }
            1 => {
                let mut ground = self.world.lock();
                let readers: Vec<(usize, usize)> = (0..ground.notes.len())
                    .filter_map(|id| match ground.notes[id].manner {
                        Manner::Reads(number) if !ground.notes[id].is_done => Some((id, number)),
                        _ => None,
                    })
                    .collect();
                if !readers.is_empty() {
                    let (id, number) = readers[ground.draw.below(readers.len())];
                    ground.sockets[number].theirs.write_all(&[7]).unwrap();
                    ground.sockets[number].unread += 1;
                    ground.give_reason(id);
                }
            }
            _ if self.spawned_outside < TASKS_MAX / 2 => {
                self.tell(|| "outside: a spawn".to_owned());
                self.spawn_from_outside(Manner::Mixed);
            }
            _ => {}
        }
    }

    // ---- the monitor ---------------------------------------------------------------------------------------------------------

    fn look(&mut self) {
        let look = self.watch.look(&self.shared);
        self.tell(|| format!("monitor: a look (spare wanted: {})", look.wants_spare));
        if look.wants_spare {
            self.admit_spare();
        }
    }

    fn admit_spare(&mut self) {
        if let Some(spare) = self.shared.admit_spare() {
            assert!(matches!(self.loops[spare.index], Whereabouts::Absent), "two threads for one seat");
            self.loops[spare.index] = Whereabouts::Arriving;
        }
    }

    // ---- the loops -----------------------------------------------------------------------------------------------------------

    fn is_spare(&self, index: usize) -> bool {
        index >= self.shared.settings.workers
    }

    fn sit_down(&mut self, index: usize) {
        let seat = self.shared.seats.take(index).expect("nobody sits there");
        self.loops[index] = Whereabouts::Awake(Box::new(Worker::new(self.shared.clone(), seat)));
    }

    /// One step of a loop's thread.
    fn step(&mut self, index: usize) {
        self.world.lock().here = index;
        let before = std::mem::replace(&mut self.loops[index], Whereabouts::Absent);
        let after = match before {
            Whereabouts::Absent => {
                let is_closed = self.shared.is_closing() && !self.shared.is_populated();
                if !self.is_spare(index) && !is_closed {
                    self.sit_down(index);
                }
                return;
            }
            Whereabouts::Arriving => return self.sit_down(index),
            Whereabouts::Awake(worker) => self.step_awake(worker),
            Whereabouts::Polling { worker, task, hold, lent } if hold > 0 && !self.is_held[index] => {
                self.step_hold(worker, task, hold, lent)
            }
            Whereabouts::Polling { worker, task, lent, .. } => {
                self.tell(|| format!("loop {index}: polls task {}", id_of(&task.0)));
                if let Some(polled) = lent {
                    worker.end_lending(polled);
                }
                let driven = current::drive(&worker);
                let (runnable, origin) = task;
                let outcome = runnable.run();
                worker.home.progress.end_poll();
                if let Outcome::Reschedule(runnable) = outcome {
                    let mean = if self.one_in(2) { LONG_POLL } else { Duration::ZERO };
                    worker.poll_time.set(mean.as_nanos() as u64);
                    worker.reschedule(runnable, origin);
                }
                drop(driven);
                Whereabouts::Awake(worker)
            }
            Whereabouts::Idle(worker) => {
                self.tell(|| format!("loop {index}: announces its sleep"));
                self.shared.sleep.announce(index);
                Whereabouts::Announced(worker)
            }
            Whereabouts::Announced(worker) => self.step_announced(worker),
            Whereabouts::Parked(worker, bed) => self.step_parked(worker, bed),
            Whereabouts::Waking(worker, notice) => {
                self.tell(|| format!("loop {index}: wakes up, {notice:?}"));
                let driven = current::drive(&worker);
                worker.wake_up(notice);
                drop(driven);
                Whereabouts::Awake(worker)
            }
        };
        self.loops[index] = after;
        if let Some(violation) = self.world.lock().violation.take() {
            panic!("{violation}");
        }
    }

    /// Signals, then the next task, or else a search and the announcement.
    fn step_awake(&mut self, worker: Box<Worker>) -> Whereabouts {
        let index = worker.home.index;
        let driven = current::drive(&worker);
        // No clock decides when the loop looks at its reactor and timers, but a draw, and the monitor.
        let long_ago = Instant::now().checked_sub(Duration::from_secs(1)).unwrap_or_else(Instant::now);
        worker.next_check.set(worker.tick.get());
        worker.last_check.set((worker.tick.get(), long_ago));
        let signals = worker.home.signals.take();
        worker.serve_signals(signals);
        let checks = self.one_in(8);
        worker.next_check.set(worker.tick.get().wrapping_add(u32::from(checks)));
        let is_closed = self.shared.is_closing() && !self.shared.is_populated();
        let leaves = if self.is_spare(index) {
            signals != 0 && is_closed || signals & signal::LEAVE != 0 && !worker.home.has_local()
        } else {
            signals & signal::CLOSE != 0 && is_closed
        };
        let gives_way = index == 0 && !self.is_spare(0) && !worker.home.has_local() && self.one_in(40);
        if leaves || gives_way {
            self.tell(|| format!("loop {index}: leaves its seat"));
            drop(driven);
            drop(worker);
            return Whereabouts::Absent;
        }
        if !self.shared.is_closing() && self.one_in(30) {
            let id = self.world.lock().add(Manner::Mixed, Some(index));
            let play = Play { world: self.world.clone(), id };
            drop(worker.spawn_local(play, called(id)));
        }
        if let Some((runnable, origin)) = worker.next_task() {
            worker.home.progress.begin_poll(runnable.address());
            self.tell(|| format!("loop {index}: begins to poll task {}", id_of(&runnable)));
            // What the poll wakes before it lasts is stuck behind it, in the run-next slot and in the deque.
            for _ in 0..self.below(4) {
                let other = self.world.lock().take_waker();
                other.into_iter().for_each(Waker::wake);
            }
            drop(driven);
            let hold = if self.one_in(3) { self.below(12) } else { 0 };
            return Whereabouts::Polling { worker, task: (runnable, origin), hold, lent: None };
        }
        if worker.search() {
            self.tell(|| format!("loop {index}: has found something"));
            drop(driven);
            return Whereabouts::Awake(worker);
        }
        drop(driven);
        Whereabouts::Idle(worker)
    }

    /// A poll goes on; perhaps it begins to lend its loop.
    fn step_hold(
        &mut self,
        worker: Box<Worker>,
        task: (Runnable, Origin),
        hold: usize,
        mut lent: Option<Option<usize>>,
    ) -> Whereabouts {
        let index = worker.home.index;
        if lent.is_none() && self.shared.has_peers() && self.one_in(8) {
            self.tell(|| format!("loop {index}: lends its loop"));
            lent = Some(worker.begin_lending());
            if self.shared.send_rescuer(index).is_none() && self.shared.all_stalled() {
                self.admit_spare();
            }
        }
        Whereabouts::Polling { worker, task, hold: hold - 1, lent }
    }

    /// S4, and the way into the park.
    fn step_announced(&mut self, worker: Box<Worker>) -> Whereabouts {
        let index = worker.home.index;
        if worker.sees_work() {
            return Whereabouts::Waking(worker, None);
        }
        let in_vigil = worker.enters_vigil();
        let place = if in_vigil || worker.home.reactor.sources() > 0 { Place::Reactor } else { Place::Futex };
        if !worker.home.parker.begin(place) {
            let notice = worker.home.parker.end();
            return Whereabouts::Waking(worker, notice);
        }
        if worker.home.timers.next_tick().is_some() {
            // Every timer here is due: the park ends at once.
            return self.end_park(worker);
        }
        let bed = Bed { place, in_vigil };
        self.tell(|| format!("loop {index}: parks, {bed:?}"));
        Whereabouts::Parked(worker, bed)
    }

    /// Stays where it is unless a real park would end.
    fn step_parked(&mut self, worker: Box<Worker>, bed: Bed) -> Whereabouts {
        let index = worker.home.index;
        let notice = worker.home.parker.end();
        if notice.is_none() {
            assert!(worker.home.parker.begin(bed.place), "there is no notice");
        }
        if bed.in_vigil {
            // The kernel says whether it would end.
            let driven = current::drive(&worker);
            let is_ended = worker.turn_in_vigil(Some(Duration::ZERO));
            drop(driven);
            self.tell(|| format!("loop {index}: sleeps in its vigil, ended: {is_ended}"));
            return match notice.or_else(|| worker.home.parker.end()) {
                None if !is_ended => {
                    assert!(worker.home.parker.begin(bed.place), "there is no notice");
                    Whereabouts::Parked(worker, bed)
                }
                notice => Whereabouts::Waking(worker, notice),
            };
        }
        let is_ready = |socket: &Socket| socket.home == index && socket.is_awaited && socket.unread > 0;
        let has_event = bed.place == Place::Reactor && self.world.lock().sockets.iter().any(is_ready);
        if let Some(notice) = notice {
            let driven = current::drive(&worker);
            worker.turn(Some(Duration::ZERO));
            drop(driven);
            return Whereabouts::Waking(worker, Some(notice));
        }
        if has_event { self.end_park(worker) } else { Whereabouts::Parked(worker, bed) }
    }

    fn end_park(&mut self, worker: Box<Worker>) -> Whereabouts {
        let driven = current::drive(&worker);
        worker.turn(Some(Duration::ZERO));
        drop(driven);
        let notice = worker.home.parker.end();
        Whereabouts::Waking(worker, notice)
    }

    // ---- the play ------------------------------------------------------------------------------------------------------------

    /// Something happens, somewhere.
    fn random_step(&mut self) {
        match self.below(8) {
            0 => self.look(),
            1 => self.disturb(),
            _ => {
                let index = self.below(self.loops.len());
                self.step(index);
            }
        }
    }

    /// A task that has a reason to be polled, and nothing that excuses that it is not.
    fn overdue(&self) -> Option<usize> {
        let polled: Vec<usize> = self
            .loops
            .iter()
            .zip(&self.is_held)
            .filter_map(|(each, is_held)| match each {
                Whereabouts::Polling { task, .. } if *is_held => Some(id_of(&task.0)),
                _ => None,
            })
            .collect();
        let ground = self.world.lock();
        let is_excused = |note: &Note| {
            note.manner == Manner::Yields && !ground.is_over || note.pinned_to.is_some_and(|home| self.is_held[home])
        };
        (0..ground.notes.len())
            .find(|&id| ground.notes[id].is_due && !is_excused(&ground.notes[id]) && !polled.contains(&id))
    }

    /// Holds every loop that is in a poll, or some, and sees the others do all there is to do.
    fn try_patience(&mut self, holds: bool) {
        if holds {
            self.hold_some();
        }
        let mut rounds = 0;
        while let Some(id) = self.overdue() {
            rounds += 1;
            // With every seat taken by a held poll, nothing is promised.
            if self.is_held.iter().all(|&is_held| is_held) {
                break;
            }
            assert!(rounds < PATIENCE, "task {id} has a reason to be polled, and is not");
            self.round();
            if rounds % ROUNDS_PER_LOOK == 0 {
                self.look();
            }
        }
        self.is_held.fill(false);
    }

    /// The same without the monitor: what others can steal (deques and inboxes of held loops) is stolen, if somebody is there who ever searches, and
    /// what a loop that is not held has of its own is run.
    fn try_theft(&mut self) {
        self.hold_some();
        self.vacate();
        let busy = self.world.lock().notes.iter().any(|note| note.manner == Manner::Yields && !note.is_done);
        // A single task behind a local one, which the owner ran first, is the monitor's to find.
        let has_local = self.has_local();
        let has_thief = (0..self.shared.settings.workers).any(|index| !self.is_held[index]);
        let is_promised = has_thief && !busy && !has_local;
        let mut left = None;
        for _ in 0..if is_promised { PATIENCE } else { STEPS } {
            self.round();
            let has_work = |each: &&Arc<LoopShared>| each.has_stealable() || !each.yielded.is_empty();
            left = self.shared.in_use().iter().find(has_work).map(|each| each.index);
            if left.is_none() {
                break;
            }
        }
        assert!(left.is_none() || !is_promised || self.has_local(), "nobody steals from loop {left:?}");
        self.is_held.fill(false);
    }

    /// Perhaps the thread in seat 0 leaves, between two tasks, and no other comes for a while: `block_on` is over, and the stand-in waits for a CPU. What
    /// is queued there is for the peers, who may all sleep.
    fn vacate(&mut self) {
        let has_peers = self.shared.settings.workers > 1;
        if !has_peers || self.one_in(3) {
            return;
        }
        // To the end of the poll that it is in, and of its sleep if it has been woken.
        for _ in 0..3 {
            if !self.is_held[0] && !matches!(&self.loops[0], Whereabouts::Awake(_)) {
                self.step(0);
            }
        }
        let may_leave = matches!(&self.loops[0], Whereabouts::Awake(worker) if !worker.home.has_local());
        if may_leave {
            self.tell(|| "loop 0: leaves its seat, and nobody comes".to_owned());
            self.world.lock().here = 0;
            self.loops[0] = Whereabouts::Absent;
            self.is_held[0] = true;
        }
    }

    fn has_local(&self) -> bool {
        self.shared.workers().iter().chain(self.shared.spares()).any(|each| each.has_local())
    }

    /// Holds the loops that are in a poll, or some of them.
    fn hold_some(&mut self) {
        for index in 0..self.loops.len() {
            let is_polling = matches!(self.loops[index], Whereabouts::Polling { .. });
            self.is_held[index] = is_polling && !self.one_in(4);
        }
        self.tell(|| format!("held: {:?}", self.is_held));
    }

    /// A step of each loop that is not held, in some order.
    fn round(&mut self) {
        let first = self.below(self.loops.len());
        for offset in 0..self.loops.len() {
            let index = (first + offset) % self.loops.len();
            if !self.is_held[index] {
                self.step(index);
            }
        }
    }

    fn play(&mut self) {
        for _ in 0..TRIALS {
            for _ in 0..STEPS {
                self.random_step();
            }
            if self.one_in(3) {
                self.try_theft();
            }
            self.try_patience(true);
        }
        if self.one_in(2) {
            self.world.lock().is_over = true;
            self.try_patience(false);
            self.retire();
        }
        self.shut_down();
    }

    /// Nothing is left to do: the spare workers go home, but for those that local tasks keep.
    fn retire(&mut self) {
        let keeps = |simulation: &Self, index: usize| simulation.shared.at(index).has_local();
        let spares = self.shared.settings.workers..self.loops.len();
        for _ in 0..PATIENCE {
            if spares.clone().all(|index| matches!(self.loops[index], Whereabouts::Absent) || keeps(self, index)) {
                return;
            }
            self.round();
            self.look();
        }
        panic!("a spare worker does not go home");
    }

    /// Every task ends, and every thread leaves.
    fn shut_down(&mut self) {
        self.tell(|| "the shutdown".to_owned());
        self.shared.begin_shutdown();
        for _ in 0..PATIENCE {
            if self.loops.iter().all(|each| matches!(each, Whereabouts::Absent)) && !self.shared.is_populated() {
                let ground = self.world.lock();
                assert!(ground.notes.iter().all(|note| note.is_done), "a future was not dropped");
                drop(ground);
                // A registration keeps the waker of its last reader, and that the world.
                let sockets = std::mem::take(&mut self.world.lock().sockets);
                drop(sockets);
                return;
            }
            self.round();
            self.look();
        }
        panic!("a thread does not leave, or a task lives");
    }
}

fn play(seed: u64, is_loud: bool) {
    let mut simulation = Simulation::new(seed, is_loud);
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| simulation.play())) {
        eprintln!("EDDIES_SIMULATION_SEED={seed} replays this");
        // Its workers would run their loops to an end that may never come.
        std::mem::forget(simulation);
        resume_unwind(payload);
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

#[test]
fn whatever_is_held_the_rest_goes_on() {
    if let Some(seed) = number("EDDIES_SIMULATION_SEED") {
        return play(seed, true);
    }
    for seed in 0..number("EDDIES_SIMULATION_SEEDS").unwrap_or(SEEDS) {
        play(seed, false);
    }
}
