//! Who is told of work that changes its place. One thread plays all parts: loop 0 is run by hand, loop 1 "sleeps" by its idle bit alone.

use std::panic::Location;
use std::task::Poll;

use super::*;
use crate::loom::Mutex;
use crate::reactor::Reactor;
use crate::reactor::readiness::Direction;
use crate::scheduler::Settings;
use crate::scheduler::monitor::Watch;
#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::scheduler::pace::Next;
#[cfg(all(target_os = "linux", not(miri)))]
use crate::scheduler::thread_cpu::LONG;
use crate::task::Spawn;

/// Nothing but loops.
pub(super) fn settings(workers: usize, spare_workers: usize) -> Settings {
    Settings {
        workers,
        spare_workers,
        thread_name: "ring".to_owned(),
        thread_stack_size: None,
        on_thread_start: None,
        on_thread_stop: None,
        exception_handler: None,
        hooks: Default::default(),
        shutdown_timeout: Duration::ZERO,
        slow_poll: None,
        on_slow_poll: None,
        is_fifo: false,
        blocking_threads: 1,
        blocking_queue: None,
        blocking_keep_alive: Duration::ZERO,
        virtual_time: false,
    }
}

/// Two loops, no threads, a worker in loop 0.
fn ring() -> (Arc<Shared>, Worker) {
    let shared = Shared::new(settings(2, 0));
    let seat = shared.seats.take(0).unwrap();
    let worker = Worker::new(shared.clone(), seat);
    (shared, worker)
}

/// Puts a task into the inbox of loop 0, the only one that is occupied.
fn spawn_from_outside(shared: &Shared) {
    drop(shared.spawn_from_outside(async {}, Spawn::at(Location::caller())));
}

/// Loop 1 was claimed and handed the search token.
fn is_woken(shared: &Shared) -> bool {
    !shared.sleep.is_idle(1) && shared.at(1).parker.end() == Some(Notice::Search) && !shared.sleep.begin_search()
}

fn end(shared: &Shared, worker: Option<Worker>) {
    shared.begin_shutdown();
    let worker =
        worker.unwrap_or_else(|| Worker::new(shared.at(0).shared.upgrade().unwrap(), shared.seats.take(0).unwrap()));
    worker.run_until_closed(false);
    drop(worker);
    shared.monitor.stop();
}

#[test]
fn what_comes_out_of_an_inbox_is_offered_to_a_sleeper() {
    let (shared, worker) = ring();
    // The first push finds nobody asleep, the second tells nobody (I3).
    spawn_from_outside(&shared);
    spawn_from_outside(&shared);
    shared.sleep.announce(1);
    worker.search_or_sleep();
    assert_eq!(worker.deque().len(), 2);
    assert!(is_woken(&shared));
    end(&shared, Some(worker));
}

#[test]
fn one_task_alone_wakes_nobody() {
    let (shared, worker) = ring();
    spawn_from_outside(&shared);
    shared.sleep.announce(1);
    worker.search_or_sleep();
    assert_eq!(worker.deque().len(), 1);
    assert!(shared.sleep.is_idle(1));
    assert!(shared.sleep.retract(1));
    end(&shared, Some(worker));
}

#[test]
fn a_search_that_ends_looks_at_its_own_inbox_too() {
    let (shared, worker) = ring();
    assert!(shared.sleep.begin_search());
    shared.sleep.announce(1);
    // The pusher sees the token, and stops.
    spawn_from_outside(&shared);
    assert!(shared.sleep.is_idle(1));
    worker.end_search(true);
    assert!(is_woken(&shared));
    end(&shared, Some(worker));
}

#[test]
fn a_worker_that_leaves_offers_what_is_in_its_inbox() {
    let (shared, worker) = ring();
    spawn_from_outside(&shared);
    shared.sleep.announce(1);
    drop(worker);
    assert!(is_woken(&shared));
    end(&shared, None);
}

#[test]
fn a_task_displaced_from_the_slot_is_offered_to_a_sleeper() {
    let (shared, worker) = ring();
    for _ in 0..2 {
        spawn_from_outside(&shared);
    }
    worker.search_or_sleep();
    let displaced = worker.deque().pop().unwrap();
    assert!(shared.at(0).next.fill(displaced).is_ok());
    shared.sleep.announce(1);
    worker.slot_run.set(SLOT_RUN_MAX);
    let (taken, _) = worker.next_shared().unwrap();
    assert!(is_woken(&shared));
    drop(taken);
    end(&shared, Some(worker));
}

#[test]
fn a_batch_from_the_reactor_is_offered_only_if_this_loop_needs_long_for_it() {
    for (poll_time, wakes) in [(Duration::from_micros(1), false), (Duration::from_micros(60), true)] {
        let (shared, worker) = ring();
        spawn_from_outside(&shared);
        spawn_from_outside(&shared);
        worker.search_or_sleep();
        worker.poll_time.set(poll_time.as_nanos() as u64);
        shared.sleep.announce(1);
        worker.dispatch(vec![Waker::noop().clone()]);
        if wakes {
            assert!(is_woken(&shared));
        } else {
            assert!(shared.sleep.retract(1), "two microseconds are not worth a wake-up");
        }
        end(&shared, Some(worker));
    }
}

#[test]
fn the_mean_of_the_poll_times_follows_what_happens() {
    let (shared, worker) = ring();
    for _ in 0..20 {
        worker.learn_poll_time(10, Duration::from_micros(20));
    }
    let short = worker.poll_time.get();
    assert!((1_500..=2_500).contains(&short), "{short}");
    worker.learn_poll_time(1, Duration::from_millis(1));
    assert!(worker.poll_time.get() > 200_000, "one long poll is enough to become generous");
    worker.learn_poll_time(1, Duration::MAX);
    worker.learn_poll_time(1, Duration::MAX);
    end(&shared, Some(worker));
}

#[test]
fn a_search_takes_what_is_ready_on_the_reactor_of_a_peer_that_runs() {
    let (shared, worker) = ring();
    let (here, mut there) = std::os::unix::net::UnixStream::pair().unwrap();
    here.set_nonblocking(true).unwrap();
    let rings = std::sync::Arc::new(Rings::default());
    let registration = Reactor::register(&shared.at(1).reactor, std::os::fd::AsRawFd::as_raw_fd(&here)).unwrap();
    let waker = Waker::from(rings.clone());
    let wait = || registration.poll_ready(&mut std::task::Context::from_waker(&waker), Direction::Read);
    assert!(wait().is_pending());
    std::io::Write::write_all(&mut there, b"x").unwrap();

    shared.sleep.announce(1);
    assert!(!worker.search());
    assert_eq!(rings.count(), 0, "who sleeps has its own eyes on its reactor");
    assert!(shared.sleep.retract(1));
    worker.search();
    assert_eq!(rings.count(), 1);
    drop(registration);
    end(&shared, Some(worker));
}

/// A log that any thread writes.
type Log = std::sync::Arc<Mutex<Vec<u32>>>;

fn callback(log: &Log, entry: u32) -> impl FnOnce() + Send + 'static {
    let log = log.clone();
    move || log.lock().push(entry)
}

#[test]
fn callbacks_run_in_the_order_of_their_registration_and_outlive_a_panic() {
    let heard = Log::default();
    let ears = heard.clone();
    report::set_thread_handler(Some(std::sync::Arc::new(move |exception| {
        assert_eq!(exception.kind(), ExceptionKind::Callback);
        assert_eq!(exception.message(), "third");
        assert!(exception.spawned_at().unwrap().file().ends_with("tests.rs"));
        ears.lock().push(3);
    })));
    let (shared, worker) = ring();
    let log = Log::default();
    let home = shared.at(0).clone();
    assert!(home.call_soon(callback(&log, 1)));
    assert!(worker.call_soon_local(callback(&log, 2), Location::caller()));
    assert!(home.call_soon(|| panic!("third")));
    assert!(std::thread::scope(|scope| scope.spawn(|| home.call_soon(callback(&log, 4))).join().unwrap()));
    let again = (home.clone(), callback(&log, 6));
    assert!(home.call_soon(move || assert!(again.0.call_soon(again.1))));
    assert!(worker.call_soon_local(callback(&log, 5), Location::caller()));
    while let Some(next) = worker.next_pinned() {
        worker.run_task(next);
    }
    assert_eq!((&*log.lock(), &*heard.lock()), (&vec![1, 2, 4, 5, 6], &vec![3]));
    assert!(!shared.is_populated());
    report::set_thread_handler(None);
    end(&shared, Some(worker));
    assert!(!home.call_soon(callback(&log, 7)), "the loop is closed");
    assert_eq!(std::sync::Arc::strong_count(&log), 1, "a refused callback is dropped");
}

#[test]
fn a_thread_that_leaves_drops_its_own_callbacks_and_leaves_the_others() {
    let (shared, worker) = ring();
    let log = Log::default();
    shared.at(0).call_soon(callback(&log, 1));
    worker.call_soon_local(callback(&log, 2), Location::caller());
    shared.at(0).call_soon(callback(&log, 3));
    drop(worker);
    let worker = Worker::new(shared.clone(), shared.seats.take(0).unwrap());
    while let Some(next) = worker.next_pinned() {
        worker.run_task(next);
    }
    // 1 and 3 may have run while 2 was being dropped; 2 must not.
    assert_eq!(*log.lock(), [1, 3]);
    assert_eq!(std::sync::Arc::strong_count(&log), 1);
    end(&shared, Some(worker));
}

/// The number of polls was one too few then, so the mean of four thousand million polls was learnt at each sleep: none of them took any time.
#[test]
fn a_sleep_right_after_a_check_teaches_nothing_of_polls() {
    let (shared, worker) = ring();
    worker.poll_time.set(1_000_000);
    worker.last_check.set((worker.tick.get(), Instant::now()));
    shared.at(0).signal(signal::MAIN);
    shared.sleep.announce(0);
    assert!(shared.sleep.claim(0) && !shared.at(0).parker.notify(Notice::Work));
    assert_eq!(worker.park(), Some(Notice::Work));
    assert_eq!(worker.poll_time.get(), 1_000_000);
    end(&shared, Some(worker));
}

// ---- tasks that yield after a long poll ------------------------------------------------------------------------------------------------

/// `count` tasks that are in no queue.
fn runnables(worker: &Worker, count: usize) -> Vec<Runnable> {
    (0..count).for_each(|_| spawn_from_outside(worker.shared()));
    worker.shared().workers().iter().for_each(|each| _ = worker.drain_inbox(each));
    (0..count).map(|_| worker.deque().pop().unwrap()).collect()
}

/// The task yields after a poll of a second.
fn yield_late(worker: &Worker, runnable: Runnable) {
    worker.poll_time.set(LONG_POLL.as_nanos() as u64);
    worker.last_check.set((worker.tick.get(), Instant::now().checked_sub(Duration::from_secs(1)).unwrap()));
    worker.reschedule(runnable, Origin::Shared);
}

#[test]
fn who_yields_after_a_long_poll_lets_others_go_first_but_not_for_ever() {
    let (shared, worker) = ring();
    let mut others = runnables(&worker, PASSED_OVER_MAX as usize + 2);
    let late = others.remove(0);
    let address = late.address();
    yield_late(&worker, late);
    for other in others {
        worker.deque().push(other);
    }
    for _ in 0..PASSED_OVER_MAX {
        let (other, _) = worker.next_shared().unwrap();
        assert_ne!(other.address(), address);
        worker.run_task((other, Origin::Shared));
    }
    assert_eq!(worker.deque().len(), 1);
    let (late, _) = worker.next_shared().unwrap();
    assert_eq!(late.address(), address, "it was passed over often enough");
    // Nothing else waits.
    worker.run_task(worker.next_shared().unwrap());
    yield_late(&worker, late);
    assert_eq!(worker.next_shared().unwrap().0.address(), address);
    end(&shared, Some(worker));
}

#[test]
fn who_yields_after_a_short_poll_goes_to_the_back_of_the_deque() {
    let (shared, worker) = ring();
    for (mean, since_check) in [(Duration::ZERO, Duration::from_secs(1)), (LONG_POLL, Duration::ZERO)] {
        let runnable = runnables(&worker, 1).pop().unwrap();
        worker.poll_time.set(mean.as_nanos() as u64);
        let check = Instant::now().checked_sub(since_check).unwrap();
        worker.last_check.set((worker.tick.get(), check + LONG_POLL * 1_000 * u32::from(since_check.is_zero())));
        worker.reschedule(runnable, Origin::Shared);
        assert!(worker.home.yielded.is_empty());
        assert_eq!(worker.deque().len(), 1);
        worker.run_task(worker.next_shared().unwrap());
    }
    end(&shared, Some(worker));
}

#[test]
fn a_second_task_that_yields_after_a_long_poll_is_offered_to_a_sleeper_whoever_searches() {
    let (shared, worker) = ring();
    let (first, second) = {
        let mut two = runnables(&worker, 2).into_iter();
        (two.next().unwrap(), two.next().unwrap())
    };
    shared.sleep.announce(1);
    assert!(shared.sleep.begin_search());
    yield_late(&worker, first);
    assert!(shared.sleep.is_idle(1), "this thread runs it next");
    yield_late(&worker, second);
    assert!(!shared.sleep.is_idle(1));
    assert_eq!(shared.at(1).parker.end(), Some(Notice::Work));
    shared.sleep.end_search();
    // Who was woken finds one of them, and so does who was about to sleep.
    let peer = Worker::new(shared.clone(), shared.seats.take(1).unwrap());
    assert!(peer.sees_work());
    assert!(peer.search());
    peer.run_task(peer.next_shared().unwrap());
    drop(peer);
    end(&shared, Some(worker));
}

#[test]
fn a_worker_that_leaves_lays_open_what_yielded() {
    let (shared, worker) = ring();
    yield_late(&worker, runnables(&worker, 1).pop().unwrap());
    shared.sleep.announce(1);
    drop(worker);
    assert!(shared.at(0).yielded.is_empty() && shared.at(0).has_stealable());
    assert!(is_woken(&shared));
    end(&shared, None);
}

// ---- the monitor, tick by tick ---------------------------------------------------------------------------------------------------

/// Counts its wakes.
#[derive(Default)]
struct Rings(crate::loom::Mutex<usize>);

impl std::task::Wake for Rings {
    fn wake(self: std::sync::Arc<Self>) {
        *self.0.lock() += 1;
    }
}

impl Rings {
    fn count(&self) -> usize {
        *self.0.lock()
    }
}

/// Some loops, the first `stalled` of which are in a poll with a due timer waiting; the others may sleep, or have no thread.
struct Stalls {
    shared: Arc<Shared>,
    workers: Vec<Worker>,
    rings: Vec<std::sync::Arc<Rings>>,
    watch: crate::scheduler::monitor::Watch,
}

impl Stalls {
    fn new(workers: usize, spare_workers: usize, stalled: usize) -> Stalls {
        let shared = Shared::new(settings(workers, spare_workers));
        // Only this thread looks.
        shared.monitor.stop();
        let sit = |index| Worker::new(shared.clone(), shared.seats.take(index).unwrap());
        let workers: Vec<Worker> = (0..stalled).map(sit).collect();
        let rings: Vec<std::sync::Arc<Rings>> = (0..stalled).map(|_| Default::default()).collect();
        let mut stalls = Stalls { shared, workers, rings, watch: crate::scheduler::monitor::Watch::new() };
        for index in 0..stalled {
            stalls.workers[index].home.progress.begin_poll(MAIN_FUTURE);
            stalls.arm(index);
        }
        stalls.watch.look(&stalls.shared);
        stalls
    }

    /// A timer of loop `index` that is due.
    fn arm(&self, index: usize) {
        let past = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
        let waker = Waker::from(self.rings[index].clone());
        self.shared.at(index).timers.insert(Instant::now(), past, waker).unwrap();
    }

    fn fall_asleep(&self, index: usize) {
        self.shared.at(index).set_occupied(true);
        self.shared.sleep.announce(index);
    }

    /// One look at all; which loop the one with this index was asked to help.
    fn look(&mut self, helper: usize) -> Option<usize> {
        assert!(!self.watch.look(&self.shared).wants_spare);
        let helper = self.shared.at(helper);
        let asked = helper.rescue.take();
        let notice = helper.parker.end();
        assert!(asked.is_none() || notice == Some(Notice::Work) || helper.signals.has(signal::HELP));
        asked
    }

    fn end(self) {
        for worker in self.workers {
            worker.home.progress.end_poll();
            drop(worker);
        }
        end(&self.shared, None);
    }
}

/// The one helper went to the first stalled loop with work at every tick, and nobody looked at the second (fca57c9).
#[test]
fn of_two_stalled_loops_both_are_served_when_one_helper_sleeps() {
    let mut stalls = Stalls::new(3, 0, 2);
    let mut helped = [0, 0];
    for tick in 1..=6 {
        stalls.fall_asleep(2);
        let asked = stalls.look(2).expect("a sleeper is sent");
        helped[asked] += 1;
        // The monitor serves the other one.
        let other = 1 - asked;
        assert_eq!(stalls.rings[other].count(), tick - helped[other], "tick {tick}");
        stalls.arm(other);
    }
    assert!(helped.iter().all(|&times| times >= 2), "neither gets all the help: {helped:?}");
    stalls.end();
}

#[test]
fn of_two_stalled_loops_one_gets_the_help_of_a_busy_one_and_the_other_the_monitors() {
    let mut stalls = Stalls::new(3, 0, 2);
    stalls.shared.at(2).set_occupied(true);
    for _ in 0..6 {
        stalls.shared.at(2).progress.begin_poll(MAIN_FUTURE);
        stalls.shared.at(2).progress.end_poll();
        let before: Vec<usize> = stalls.rings.iter().map(|rings| rings.count()).collect();
        let other = 1 - stalls.look(2).expect("a busy loop is asked");
        assert_eq!(stalls.rings[other].count(), before[other] + 1);
        assert!(stalls.shared.at(2).signals.take() & signal::HELP != 0);
        stalls.arm(other);
    }
    stalls.end();
}

/// Without the monitor: it rests.
#[test]
fn a_loop_that_runs_takes_over_what_waits_on_a_neighbour_that_stands_still() {
    let stalls = Stalls::new(2, 0, 1);
    let looking = Worker::new(stalls.shared.clone(), stalls.shared.seats.take(1).unwrap());
    let begin = Instant::now();
    let look = |half_ms: u32| {
        looking.look_at_neighbour(begin + Duration::from_micros(500) * half_ms);
        stalls.rings[0].count()
    };
    assert_eq!(look(0), 0, "nothing is known of it yet");
    assert_eq!(look(1), 0, "too soon");
    assert_eq!(look(2), 1, "it stands still, and its timer is due");
    stalls.arm(0);
    assert_eq!(look(4), 2, "still");
    stalls.arm(0);
    stalls.workers[0].home.progress.begin_poll(MAIN_FUTURE);
    assert_eq!(look(6), 2, "it has gone on");
    stalls.fall_asleep(0);
    assert_eq!(look(8), 2, "it sleeps");
    assert!(stalls.shared.sleep.retract(0));
    assert_eq!(look(10), 3);
    drop(looking);
    stalls.end();
}

/// The helper that had just been sent counted as one more loop without progress, and a spare worker started beside it.
#[test]
fn a_helper_that_was_just_sent_saves_a_spare_worker() {
    let mut stalls = Stalls::new(2, 1, 1);
    // Work waits in an inbox, as a spare worker would need to be wanted.
    drop(stalls.shared.spawn_from_outside(async {}, Spawn::at(Location::caller())));
    stalls.fall_asleep(1);
    assert_eq!(stalls.look(1), Some(0));
    // Not a sleeper any more, and it makes no progress: now one is wanted.
    assert!(stalls.watch.look(&stalls.shared).wants_spare);
    stalls.end();
}

#[test]
fn a_spare_worker_comes_for_what_yielded_when_every_worker_is_away() {
    let mut stalls = Stalls::new(2, 1, 2);
    let owner = &stalls.workers[0];
    yield_late(owner, runnables(owner, 1).pop().unwrap());
    while !stalls.watch.look(&stalls.shared).wants_spare {
        assert!(!stalls.shared.at(0).is_away(), "none comes");
    }
    assert!(stalls.shared.at(0).is_away(), "it came early");
    stalls.end();
}

/// Nobody was told of it when it yielded, for this thread was to run it next; but a local task came first, and its poll lasts.
#[test]
fn a_single_task_that_yielded_is_offered_when_a_long_poll_follows() {
    let (shared, worker) = ring();
    let mut watch = Watch::new();
    yield_late(&worker, runnables(&worker, 1).pop().unwrap());
    shared.at(1).set_occupied(true);
    shared.sleep.announce(1);
    worker.home.progress.begin_poll(MAIN_FUTURE);
    watch.look(&shared);
    assert!(shared.sleep.is_idle(1), "it is no stall yet");
    watch.look(&shared);
    assert!(!shared.sleep.is_idle(1));
    assert_eq!(shared.at(1).parker.end(), Some(Notice::Work));
    assert_eq!(shared.at(1).rescue.take(), None, "there is nothing to be done but to take it");
    worker.home.progress.end_poll();
    end(&shared, Some(worker));
}

#[test]
fn a_spare_worker_leaves_what_yielded_to_the_workers_until_they_are_away() {
    let mut stalls = Stalls::new(2, 1, 2);
    // Due timers would bring helpers of their own.
    stalls.watch.look(&stalls.shared);
    let shared = stalls.shared.clone();
    let spare_loop = shared.admit_spare().unwrap();
    let spare = Worker::new(shared.clone(), shared.seats.take(spare_loop.index).unwrap());
    yield_late(&spare, runnables(&spare, 1).pop().unwrap());
    assert_eq!(shared.workers().iter().map(|each| each.yielded.len()).sum::<usize>(), 1, "it went to a worker");
    assert!(!spare.sees_work() && !spare.search());
    shared.sleep.announce(spare_loop.index);
    for tick in 0.. {
        stalls.watch.look(&shared);
        if shared.at(0).is_away() {
            assert!(tick > 10, "so short a poll is nothing");
            break;
        }
        assert!(shared.sleep.is_idle(spare_loop.index), "it was sent for nothing");
    }
    // It was sent, for the workers will not come.
    assert!(!shared.sleep.is_idle(spare_loop.index));
    spare.wake_up(spare.home.parker.end());
    assert!(spare.sees_work() && spare.search());
    let stolen = spare.next_shared().unwrap().0;
    yield_late(&spare, stolen);
    assert_eq!(spare.deque().len(), 1, "no worker is there to give it back to");
    spare.run_task(spare.next_shared().unwrap());
    // A poll comes to its end, and so does the exception.
    stalls.workers[0].home.progress.end_poll();
    stalls.workers[0].home.progress.begin_poll(MAIN_FUTURE);
    stalls.watch.look(&shared);
    assert!(!shared.at(0).is_away() && shared.at(1).is_away());
    drop(spare);
    stalls.end();
}

/// Under load a spare worker always finds something, and would be one more thread for the same CPUs for as long as that lasts.
#[test]
fn a_spare_worker_goes_home_when_no_poll_is_long_any_more_and_leaves_its_work_to_the_workers() {
    let mut stalls = Stalls::new(2, 1, 2);
    stalls.watch.look(&stalls.shared);
    let shared = stalls.shared.clone();
    let spare_loop = shared.admit_spare().unwrap();
    let spare = Worker::new(shared.clone(), shared.seats.take(spare_loop.index).unwrap());
    let progress = |worker: &Worker| {
        worker.home.progress.end_poll();
        worker.home.progress.begin_poll(MAIN_FUTURE);
    };
    // It stays for as long as anybody is held.
    for _ in 0..200 {
        progress(&spare);
        progress(&stalls.workers[1]);
        stalls.watch.look(&shared);
    }
    assert!(!spare_loop.signals.has(signal::LEAVE));
    let ticks = (1..1_000).find(|_| {
        progress(&spare);
        stalls.workers.iter().for_each(progress);
        stalls.watch.look(&shared);
        spare_loop.signals.has(signal::LEAVE)
    });
    assert!(
        ticks.is_some_and(|ticks| ticks > 10),
        "not at once, for it may be wanted again soon, but in time: {ticks:?}"
    );
    spare.home.progress.end_poll();
    runnables(&spare, 2).into_iter().for_each(|runnable| spare.deque().push(runnable));
    drop(spare);
    assert!(spare_loop.stealer.is_empty(), "a worker that never runs dry would not look there");
    assert!(shared.workers().iter().all(|each| !each.inbox.is_empty()));
    stalls.end();
}

/// Two workers and a client on two CPUs: now one and now the other waited for a CPU, was taken for stalled, and got a spare worker to wait beside it.
#[cfg(all(target_os = "linux", not(miri)))]
#[test]
fn a_loop_that_waits_for_a_cpu_wants_no_spare_worker_and_a_long_poll_does() {
    // This thread plays the one that got hardly any CPU. If it got more than that in between, it has shown nothing, and tries again.
    let has_shown = (0..1000).any(|_| {
        let mut stalls = Stalls::new(1, 1, 1);
        let shared = stalls.shared.clone();
        drop(shared.spawn_from_outside(async {}, Spawn::at(Location::caller())));
        let LoopShared { cpu, progress, .. } = &**shared.at(0);
        cpu.sit_down();
        progress.begin_poll(MAIN_FUTURE);
        let before = cpu.used();
        stalls.watch.look(&shared);
        let wants_spare = stalls.watch.look(&shared).wants_spare;
        let has_shown = cpu.waits_since(before, LONG);
        assert!(!has_shown || !wants_spare);
        // The look took its reading later than this.
        let later = cpu.used();
        while cpu.waits_since(later, LONG) {}
        assert!(stalls.watch.look(&shared).wants_spare, "a long poll");
        stalls.end();
        has_shown
    });
    assert!(has_shown);
}

/// Counts its wakes.
struct Told(AtomicUsize);

impl std::task::Wake for Told {
    fn wake(self: std::sync::Arc<Self>) {
        // Ordering: Relaxed: there is one thread.
        self.0.fetch_add(1, Relaxed);
    }
}

/// One sleep of `helper`, ended by what happens in it: whether it was in a vigil.
fn sleep_of(helper: &Worker, in_the_sleep: impl FnOnce()) -> bool {
    helper.shared.sleep.announce(helper.home.index);
    let in_vigil = helper.enters_vigil();
    assert!(helper.home.parker.begin(if in_vigil { Place::Reactor } else { Place::Futex }));
    in_the_sleep();
    if in_vigil {
        assert!(helper.turn_in_vigil(Some(Duration::ZERO)), "it sleeps on");
    }
    let notice = helper.home.parker.end();
    let _driven = current::drive(helper);
    helper.wake_up(notice);
    in_vigil
}

#[test]
fn a_helper_attends_a_stalled_loop_until_the_owner_is_back() {
    let shared = Shared::new(settings(2, 0));
    shared.monitor.stop();
    let [owner, helper] = [0, 1].map(|index| Worker::new(shared.clone(), shared.seats.take(index).unwrap()));
    let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let registration = Reactor::register(&owner.home.reactor, std::os::fd::AsRawFd::as_raw_fd(&ours)).unwrap();
    owner.turn(Some(Duration::ZERO));
    let told = std::sync::Arc::new(Told(AtomicUsize::new(0)));
    let waker = Waker::from(told.clone());
    let poll = || registration.poll_ready(&mut std::task::Context::from_waker(&waker), Direction::Read);
    let mut watch = Watch::new();
    owner.home.progress.begin_poll(MAIN_FUTURE);
    watch.look(&shared);
    // The monitor sees the stall, and sends the sleeper.
    let was_in_vigil = sleep_of(&helper, || _ = watch.look(&shared));
    assert!(!was_in_vigil && shared.at(0).attendance.by() == Some(1));
    for times in 1..=3 {
        assert!(poll().is_pending());
        let in_vigil = sleep_of(&helper, || {
            watch.look(&shared);
            assert!(shared.sleep.is_idle(1), "somebody was sent to a loop that is attended");
            std::io::Write::write_all(&mut theirs, &[7]).unwrap();
        });
        // Ordering: Relaxed: there is one thread.
        assert_eq!((in_vigil, told.0.load(Relaxed)), (true, times), "what became ready was not served");
        let Poll::Ready(event) = poll() else { panic!("it is ready") };
        std::io::Read::read_exact(&mut &ours, &mut [0]).unwrap();
        registration.clear_ready(event, Direction::Read).unwrap();
    }
    // The owner is back while the helper sleeps: one event wakes it for nothing, and it attends nobody any more.
    assert!(poll().is_pending());
    let in_vigil = sleep_of(&helper, || {
        owner.home.progress.begin_poll(MAIN_FUTURE);
        std::io::Write::write_all(&mut theirs, &[7]).unwrap();
    });
    // Ordering: Relaxed: there is one thread.
    assert_eq!((in_vigil, told.0.load(Relaxed)), (true, 3), "a healthy loop was turned by another");
    assert_eq!(shared.at(0).attendance.by(), None);
    assert!(!helper.enters_vigil());
    drop(helper);
    drop(registration);
    owner.home.progress.end_poll();
    end(&shared, Some(owner));
}

/// It took the attendance away each millisecond: the sleeper's vigil was for nothing, and the monitor sent somebody at each tick.
#[test]
fn a_loop_that_runs_leaves_a_stalled_neighbour_to_who_sleeps_over_it() {
    let shared = Shared::new(settings(3, 0));
    shared.monitor.stop();
    let [owner, looking] = [0, 1].map(|index| Worker::new(shared.clone(), shared.seats.take(index).unwrap()));
    let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let registration = Reactor::register(&owner.home.reactor, std::os::fd::AsRawFd::as_raw_fd(&ours)).unwrap();
    owner.home.progress.begin_poll(MAIN_FUTURE);
    shared.at(2).set_occupied(true);
    shared.sleep.announce(2);
    shared.at(0).attendance.begin(2);
    let begin = Instant::now();
    let attended_by_after = |ms: u64| {
        looking.look_at_neighbour(begin + Duration::from_millis(ms));
        shared.at(0).attendance.by()
    };
    assert_eq!(attended_by_after(0), Some(2));
    assert_eq!(attended_by_after(1), Some(2));
    assert!(shared.sleep.retract(2));
    shared.at(2).set_occupied(false);
    assert_eq!(attended_by_after(2), Some(1), "who runs watches nobody's sockets");
    drop(looking);
    drop(registration);
    owner.home.progress.end_poll();
    end(&shared, Some(owner));
}

/// A sleep in which something happens, and which the reactor ends.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn asleep(worker: &Worker, in_the_sleep: impl FnOnce()) {
    worker.announce_sleep();
    in_the_sleep();
    worker.turn(Some(Duration::ZERO));
    worker.wake_up(None);
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn a_monitor_that_listens_hears_of_what_becomes_ready_while_a_loop_runs() {
    let (shared, worker) = ring();
    let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let registration = Reactor::register(&worker.home.reactor, std::os::fd::AsRawFd::as_raw_fd(&ours)).unwrap();
    let mut raise = || std::io::Write::write_all(&mut theirs, &[7]).unwrap();
    let is_tripped = || shared.monitor.tripwire().unwrap().wait(Duration::ZERO).unwrap();
    let mut audible = Vec::new();
    assert!(shared.monitor.can_listen(&shared, &mut audible, 1));
    assert_eq!(shared.monitor.withdraw(LISTENS, &shared), Next::Tick, "a loop runs");
    asleep(&worker, || {
        assert_eq!(shared.monitor.withdraw(LISTENS, &shared), LISTENS);
        raise();
        assert!(!is_tripped(), "the loop hears of it by itself");
    });
    // It is armed now. What becomes ready in the next sleep is its own affair all the same.
    assert!(!is_tripped());
    asleep(&worker, || {
        raise();
        assert!(!is_tripped());
    });
    raise();
    assert!(is_tripped());
    asleep(&worker, || {});
    raise();
    assert!(is_tripped(), "the next time as well");
    // The monitor is called elsewhere; or would be, if it had a thread.
    shared.monitor.stop();
    assert!(is_tripped());
    shared.monitor.hurry();
    assert!(is_tripped());
    asleep(&worker, raise);
    assert!(!is_tripped(), "it does not listen any more");
    drop(registration);
    end(&shared, Some(worker));
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const LISTENS: Next = Next::Listen(Duration::from_millis(50));

/// Of two requests that came together one has a long poll: nothing becomes ready any more that could tell of the other.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn a_monitor_that_listens_is_called_where_a_loop_wakes_for_more_than_it_can_run() {
    let (shared, worker) = ring();
    shared.monitor.stop();
    assert!(shared.monitor.can_listen(&shared, &mut Vec::new(), 0));
    let is_tripped = || shared.monitor.tripwire().unwrap().wait(Duration::ZERO).unwrap();
    let to_deque = |worker: &Worker, tasks| {
        runnables(worker, tasks).into_iter().for_each(|runnable| worker.deque().push(runnable));
    };
    type Wakes = fn(&Shared, &Worker, &dyn Fn(&Worker, usize));
    let cases: [(&str, bool, Wakes); 6] = [
        ("nothing", false, |_, _, _| {}),
        ("a task", false, |_, worker, to_deque| to_deque(worker, 1)),
        ("a task from outside", false, |shared, _, _| spawn_from_outside(shared)),
        ("the main future", false, |_, worker, _| worker.home.signal(signal::MAIN)),
        ("two tasks", true, |_, worker, to_deque| to_deque(worker, 2)),
        ("the main future and a task", true, |_, worker, to_deque| {
            worker.home.signal(signal::MAIN);
            to_deque(worker, 1);
        }),
    ];
    for (what, is_called, wakes) in cases {
        worker.announce_sleep();
        assert_eq!(shared.monitor.withdraw(LISTENS, &shared), LISTENS);
        wakes(&shared, &worker, &to_deque);
        let notice = worker.home.parker.end();
        worker.wake_up(notice);
        assert_eq!(is_tripped(), is_called, "{what}");
        worker.home.signals.take();
        while let Some(next) = worker.next_shared() {
            worker.run_task(next);
        }
    }
    end(&shared, Some(worker));
}

#[test]
fn the_monitor_sees_when_the_first_timer_is_due() {
    let (shared, worker) = ring();
    shared.monitor.stop();
    shared.at(1).set_occupied(true);
    let timer_in = || Watch::new().look(&shared).timer_in;
    assert_eq!(timer_in(), None);
    let mut keys = Vec::new();
    for (index, seconds, first) in [(1, 500, 500), (0, 100, 100), (1, 300, 100), (0, 50, 50)] {
        let now = Instant::now();
        let waker = Waker::from(shared.at(index).clone());
        keys.push(shared.at(index).timers.insert(now, now + Duration::from_secs(seconds), waker));
        let early_by = (Duration::from_secs(first) + Duration::from_millis(2)).checked_sub(timer_in().unwrap());
        assert!(early_by.is_some_and(|early_by| early_by < Duration::from_secs(30)), "{early_by:?}");
    }
    let past = Instant::now() - Duration::from_secs(1);
    keys.push(shared.at(1).timers.insert(past, past + Duration::from_millis(1), Waker::from(shared.at(1).clone())));
    assert_eq!(timer_in(), Some(Duration::ZERO));
    shared.at(1).set_occupied(false);
    assert!(timer_in().unwrap() > Duration::from_secs(20), "nobody fires the timers of a loop that nobody sits in");
    drop(keys);
    end(&shared, Some(worker));
}

/// It is no event of a socket's, and the loop that it was given to may be in a long poll.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn a_monitor_that_listens_is_called_for_a_task_from_outside_that_nobody_is_free_for() {
    let (shared, worker) = ring();
    shared.monitor.stop();
    assert!(shared.monitor.can_listen(&shared, &mut Vec::new(), 0));
    let is_tripped = || shared.monitor.tripwire().unwrap().wait(Duration::ZERO).unwrap();
    for (is_peer_free, is_called) in [(true, false), (false, true)] {
        worker.announce_sleep();
        assert_eq!(shared.monitor.withdraw(LISTENS, &shared), LISTENS);
        worker.wake_up(None);
        if is_peer_free {
            shared.sleep.announce(1);
        }
        spawn_from_outside(&shared);
        assert_eq!(is_woken(&shared), is_peer_free);
        assert_eq!(is_tripped(), is_called);
        shared.sleep.end_search();
        assert!(worker.fetch_inbox());
        while let Some(next) = worker.next_shared() {
            worker.run_task(next);
        }
    }
    end(&shared, Some(worker));
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn a_monitor_that_cannot_hear_all_loops_hears_none() {
    let (shared, worker) = ring();
    let pairs = [(); 3].map(|()| std::os::unix::net::UnixStream::pair().unwrap());
    let register = |index: usize, of: usize| {
        Reactor::register(&shared.at(index).reactor, std::os::fd::AsRawFd::as_raw_fd(&pairs[of].0)).unwrap()
    };
    let is_audible = |index: usize| shared.monitor.tripwire().unwrap().arm(&shared.at(index).reactor);
    let mut audible = Vec::new();
    let first = register(0, 0);
    assert!(shared.monitor.can_listen(&shared, &mut audible, 1));
    assert!(is_audible(0) && !is_audible(1));
    // Only what is new counts.
    let more = [register(1, 1), register(1, 2)];
    assert!(!shared.monitor.can_listen(&shared, &mut audible, 1));
    assert!(!is_audible(0) && !is_audible(1));
    assert!(shared.monitor.can_listen(&shared, &mut audible, 3));
    assert!(shared.monitor.can_listen(&shared, &mut audible, 0));
    assert!(is_audible(0) && is_audible(1));
    shared.monitor.forget(&mut audible, &shared);
    assert!(!is_audible(0) && !is_audible(1));
    drop((first, more));
    end(&shared, Some(worker));
}
