//! Who is told of work that changes its place. One thread plays all parts: loop 0 is run by hand, loop 1 "sleeps" by its idle bit alone.

use std::panic::Location;

use super::*;
use crate::loom::Mutex;
use crate::scheduler::Settings;
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
