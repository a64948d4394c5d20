//! The event loop: runs and their ends, the order of what it calls, timers, what goes wrong. Traps 5 to 27 of asyncio's semantics, by number.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use eddies::sync::oneshot;
use eddies::{ContextVar, EventLoop, Exception, ExceptionKind, FutureError, LoopRunning, RunError, Runtime, TaskError};

type Log = Rc<RefCell<Vec<&'static str>>>;

fn new() -> EventLoop {
    EventLoop::new().unwrap()
}

/// A callback that writes into the log.
fn note(log: &Log, entry: &'static str) -> impl FnOnce() + 'static {
    let log = log.clone();
    move || log.borrow_mut().push(entry)
}

/// One iteration, with whatever is ready.
fn run_once(event_loop: &EventLoop) {
    event_loop.run_once().unwrap();
}

/// Has the loop's exceptions written down instead of printed.
fn listen(event_loop: &EventLoop) -> Arc<Mutex<Vec<Exception>>> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ears = heard.clone();
    event_loop.set_exception_handler(Some(Arc::new(move |exception| ears.lock().unwrap().push(exception.clone()))));
    heard
}

#[test]
fn trap_005_what_callbacks_queue_waits_for_the_next_iteration() {
    let (event_loop, log) = (new(), Log::default());
    let (inner, again) = (event_loop.clone(), log.clone());
    event_loop
        .call_soon(move || {
            again.borrow_mut().push("first");
            inner.call_soon(note(&again, "queued by first")).unwrap();
        })
        .unwrap();
    event_loop.call_soon(note(&log, "second")).unwrap();
    run_once(&event_loop);
    assert_eq!(*log.borrow(), ["first", "second"]);
    run_once(&event_loop);
    assert_eq!(*log.borrow(), ["first", "second", "queued by first"]);
}

#[test]
fn trap_005_callbacks_that_queue_callbacks_keep_nobody_from_io() {
    use futures_util::io::AsyncReadExt;
    use std::io::Write;

    /// Queues itself for ever.
    fn forever(event_loop: &EventLoop, count: &Rc<Cell<u32>>) {
        count.set(count.get() + 1);
        let (again, count) = (event_loop.clone(), count.clone());
        event_loop.call_soon(move || forever(&again, &count)).unwrap();
    }

    let (event_loop, count) = (new(), Rc::new(Cell::new(0)));
    forever(&event_loop, &count);
    let byte = event_loop.run_until_complete(async {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut ours = eddies::net::UnixStream::from_std(ours).unwrap();
        let writer = thread::spawn(move || theirs.write_all(b"x").unwrap());
        let mut byte = [0];
        ours.read_exact(&mut byte).await.unwrap();
        writer.join().unwrap();
        byte[0]
    });
    assert_eq!(byte, Ok(b'x'));
    assert!(count.get() > 1);
    event_loop.close().unwrap();
}

#[test]
fn trap_006_a_stop_lets_run_what_is_ready_and_no_more() {
    let (event_loop, log) = (new(), Log::default());
    let (inner, again) = (event_loop.clone(), log.clone());
    event_loop
        .call_soon(move || {
            again.borrow_mut().push("s");
            inner.stop();
            inner.call_soon(note(&again, "new")).unwrap();
        })
        .unwrap();
    event_loop.call_soon(note(&log, "after")).unwrap();
    event_loop.run_forever().unwrap();
    assert_eq!(*log.borrow(), ["s", "after"]);
    run_once(&event_loop);
    assert_eq!(*log.borrow(), ["s", "after", "new"]);
}

#[test]
fn trap_007_a_stop_before_the_run_means_one_iteration_without_waiting() {
    let (event_loop, log) = (new(), Log::default());
    event_loop.call_later(Duration::from_secs(3600), note(&log, "timer")).unwrap();
    event_loop.call_soon(note(&log, "ready")).unwrap();
    event_loop.stop();
    event_loop.stop();
    event_loop.run_forever().unwrap();
    assert_eq!(*log.borrow(), ["ready"]);
    // The stop was used up.
    event_loop
        .call_later(Duration::from_millis(1), {
            let inner = event_loop.handle();
            move || inner.stop()
        })
        .unwrap();
    event_loop.run_forever().unwrap();
}

#[test]
fn trap_008_a_run_that_is_stopped_leaves_its_future_pending() {
    let event_loop = new();
    let (tell, hear) = oneshot::<u32>();
    let task = event_loop.create_task(hear).unwrap();
    let handle = event_loop.handle();
    event_loop.call_soon(move || handle.stop()).unwrap();
    let error = event_loop.run_until_complete(&task).unwrap_err();
    assert_eq!(error, RunError::Stopped);
    assert_eq!(error.to_string(), "Event loop stopped before Future completed.");
    assert!(!task.is_finished());
    tell.send(7).unwrap();
    assert_eq!(event_loop.run_until_complete(&task).unwrap().unwrap(), Ok(7));
}

#[test]
fn trap_009_a_run_that_was_left_early_does_not_stop_a_later_one() {
    let (event_loop, log) = (new(), Log::default());
    let (tell, hear) = oneshot::<u32>();
    let mut orphan = pin!(hear);
    let handle = event_loop.handle();
    event_loop.call_soon(move || handle.stop()).unwrap();
    assert_eq!(event_loop.run_until_complete(orphan.as_mut()).unwrap_err(), RunError::Stopped);
    // The wake-up of the future that is run no more comes in the middle of the next run.
    event_loop.call_soon(move || drop(tell)).unwrap();
    let (inner, again) = (event_loop.clone(), log.clone());
    event_loop
        .call_later(Duration::from_millis(2), move || {
            again.borrow_mut().push("still running");
            inner.stop();
        })
        .unwrap();
    event_loop.run_forever().unwrap();
    assert_eq!(*log.borrow(), ["still running"]);
}

#[test]
fn trap_010_an_interrupt_leaves_no_stop_behind() {
    let (event_loop, log) = (new(), Log::default());
    let inner = event_loop.clone();
    let interrupted = event_loop.run_until_complete(async move {
        inner.stop();
        inner.interrupt();
        pending::<()>().await;
    });
    assert_eq!(interrupted, Err(RunError::Interrupted));
    let (inner, again) = (event_loop.clone(), log.clone());
    event_loop
        .call_later(Duration::from_millis(1), move || {
            again.borrow_mut().push("timer");
            inner.stop();
        })
        .unwrap();
    event_loop.run_forever().unwrap();
    assert_eq!(*log.borrow(), ["timer"]);
}

#[test]
fn trap_011_a_nested_run_is_refused_before_anything_runs() {
    let (event_loop, other) = (new(), new());
    let inner = event_loop.clone();
    let polled = Rc::new(Cell::new(false));
    let by_future = polled.clone();
    event_loop
        .run_until_complete(async move {
            let future = async move { by_future.set(true) };
            assert_eq!(inner.run_until_complete(future), Err(RunError::AlreadyRunning));
            assert_eq!(inner.run_forever(), Err(RunError::AlreadyRunning));
            assert_eq!(other.run_until_complete(async {}), Err(RunError::OtherLoopRunning));
            assert_eq!(other.run_forever(), Err(RunError::OtherLoopRunning));
            assert!(inner.is_running() && !other.is_running());
        })
        .unwrap();
    assert!(!polled.get());
    Runtime::builder().workers(1).build().unwrap().block_on(async {
        assert_eq!(event_loop.run_until_complete(async {}), Err(RunError::OtherLoopRunning));
    });
    assert_eq!(event_loop.run_until_complete(async { 1 }), Ok(1), "no refusal leaves a mark");
}

#[test]
fn trap_013_close_is_final_and_can_be_repeated() {
    let event_loop = new();
    let (inner, error) = (event_loop.clone(), closing_error());
    event_loop.run_until_complete(async move { assert_eq!(inner.close(), Err(error)) }).unwrap();
    for _ in 0..3 {
        event_loop.close().unwrap();
        assert!(event_loop.is_closed() && !event_loop.is_running());
    }
    let handle = event_loop.handle();
    let now = event_loop.time();
    let errors = [
        event_loop.call_soon(|| ()).unwrap_err(),
        event_loop.call_later(Duration::ZERO, || ()).unwrap_err(),
        event_loop.call_at(now, || ()).unwrap_err(),
        event_loop.create_task(async {}).unwrap_err(),
        event_loop.create_local_task(async {}).unwrap_err(),
        event_loop.run_in_executor(|| ()).unwrap_err(),
        handle.call_soon_threadsafe(|| ()).unwrap_err(),
        handle.run_coroutine_threadsafe(async {}).unwrap_err(),
    ];
    for (error, name) in errors.iter().zip([
        "call_soon",
        "call_later",
        "call_at",
        "create_task",
        "create_local_task",
        "run_in_executor",
        "call_soon_threadsafe",
        "run_coroutine_threadsafe",
    ]) {
        assert_eq!(error.operation(), name);
        assert!(error.to_string().starts_with("Event loop is closed"), "{error}");
    }
    assert!(matches!(event_loop.run_forever(), Err(RunError::Closed(_))));
    assert!(matches!(event_loop.run_until_complete(async {}), Err(RunError::Closed(_))));
    event_loop.stop();
    assert!(handle.is_closed());
}

fn closing_error() -> LoopRunning {
    let event_loop = new();
    let inner = event_loop.clone();
    event_loop.run_until_complete(async move { inner.close().unwrap_err() }).unwrap()
}

#[test]
fn trap_013_the_wording_of_a_close_while_running() {
    assert!(closing_error().to_string().starts_with("Cannot close a running event loop"));
}

#[test]
fn trap_014_a_closed_loop_drops_the_coroutine_it_refuses() {
    let event_loop = new();
    event_loop.close().unwrap();
    let (local, shared) = (Rc::new(()), Arc::new(()));
    let (of_local, of_shared) = (local.clone(), shared.clone());
    event_loop.create_local_task(async move { drop(of_local) }).unwrap_err();
    event_loop.create_task(async move { drop(of_shared) }).unwrap_err();
    assert_eq!((Rc::strong_count(&local), Arc::strong_count(&shared)), (1, 1));
}

#[test]
fn trap_016_past_deadlines_are_called_in_their_order_in_the_next_iteration() {
    let (event_loop, log) = (new(), Log::default());
    let now = event_loop.time();
    event_loop.call_at(now - Duration::from_secs(1), note(&log, "-1")).unwrap();
    event_loop.call_at(now - Duration::from_secs(2), note(&log, "-2")).unwrap();
    event_loop.call_at(now, note(&log, "0")).unwrap();
    assert!(log.borrow().is_empty());
    run_once(&event_loop);
    assert_eq!(*log.borrow(), ["-2", "-1", "0"]);
}

#[test]
fn trap_017_short_sleeps_do_not_spin() {
    let event_loop = new();
    let iterations = Rc::new(Cell::new(0));
    for exponent in 2..10 {
        let nanos = 10_u64.pow(9 - exponent);
        let (inner, count) = (event_loop.clone(), iterations.clone());
        // A task that is woken by every iteration would keep the loop awake, so iterations are counted from a poll of the main future.
        event_loop
            .call_later(Duration::from_nanos(nanos), move || {
                count.set(count.get() + 1);
                inner.stop();
            })
            .unwrap();
        let polls = Cell::new(0);
        let main = poll_fn(|_| {
            polls.set(polls.get() + 1);
            Poll::<()>::Pending
        });
        assert_eq!(event_loop.run_until_complete(main), Err(RunError::Stopped));
        assert_eq!(polls.get(), 1);
    }
    assert_eq!(iterations.get(), 8);
}

#[test]
fn trap_018_a_cancelled_timer_leaves_nothing_behind() {
    let event_loop = new();
    let weight = Rc::new(());
    let timers: Vec<_> = (0..1000)
        .map(|n| {
            let weight = weight.clone();
            event_loop.call_later(Duration::from_secs(60 + n), move || drop(weight)).unwrap()
        })
        .collect();
    assert_eq!(Rc::strong_count(&weight), 1001);
    timers.iter().for_each(|timer| timer.cancel());
    assert_eq!(Rc::strong_count(&weight), 1);
    assert!(timers.iter().all(|timer| timer.cancelled()));
    assert_eq!(event_loop.handle().live_tasks(), 0);
}

#[test]
fn trap_019_a_cancelled_first_timer_does_not_wake_the_loop() {
    let (event_loop, log) = (new(), Log::default());
    let first = event_loop.call_later(Duration::from_millis(1), note(&log, "first")).unwrap();
    let inner = event_loop.clone();
    event_loop.call_later(Duration::from_millis(6), move || inner.stop()).unwrap();
    first.cancel();
    let (began, polls) = (Instant::now(), Cell::new(0));
    let main = poll_fn(|_| {
        polls.set(polls.get() + 1);
        Poll::<()>::Pending
    });
    assert_eq!(event_loop.run_until_complete(main), Err(RunError::Stopped));
    assert!(began.elapsed() >= Duration::from_millis(6) && log.borrow().is_empty());
}

#[test]
fn trap_020_equal_deadlines_keep_the_order_of_their_registration() {
    let (event_loop, log) = (new(), Log::default());
    let when = event_loop.time() + Duration::from_millis(1);
    for entry in ["a", "b", "c", "d"] {
        event_loop.call_at(when, note(&log, entry)).unwrap();
    }
    event_loop.run_until_complete(eddies::time::sleep_until(when + Duration::from_millis(1))).unwrap();
    assert_eq!(*log.borrow(), ["a", "b", "c", "d"]);
}

#[test]
fn trap_021_a_cancel_drops_the_closure_at_once_and_the_queue_skips_it() {
    let event_loop = new();
    let weight = Rc::new(());
    let (of_soon, of_later, of_remote) = (weight.clone(), weight.clone(), Arc::new(()));
    let soon = event_loop.call_soon(move || panic!("{of_soon:?}")).unwrap();
    let later = event_loop.call_later(Duration::ZERO, move || panic!("{of_later:?}")).unwrap();
    let shared = of_remote.clone();
    let remote = event_loop.handle().call_soon_threadsafe(move || panic!("{shared:?}")).unwrap();
    let when = later.when();
    for _ in 0..2 {
        soon.cancel();
        later.cancel();
        remote.clone().cancel();
    }
    assert_eq!((Rc::strong_count(&weight), Arc::strong_count(&of_remote)), (1, 1));
    assert!(soon.cancelled() && later.cancelled() && remote.cancelled());
    assert_eq!(later.when(), when);
    let heard = listen(&event_loop);
    run_once(&event_loop);
    assert!(heard.lock().unwrap().is_empty());
    let fired = event_loop.call_soon(|| ()).unwrap();
    run_once(&event_loop);
    fired.cancel();
    assert!(!fired.cancelled(), "what was called is not cancelled");
}

#[test]
fn trap_022_call_soon_threadsafe_wakes_a_waiting_loop() {
    let event_loop = new();
    let handle = event_loop.handle();
    let (tell, hear) = mpsc::channel();
    let thread = thread::spawn(move || {
        hear.recv().unwrap();
        let stopper = handle.clone();
        handle.call_soon_threadsafe(move || stopper.stop()).unwrap();
    });
    event_loop.call_soon(move || tell.send(()).unwrap()).unwrap();
    event_loop.run_forever().unwrap();
    thread.join().unwrap();
}

#[test]
fn trap_022_call_soon_threadsafe_keeps_the_order_on_one_thread() {
    let (event_loop, log) = (new(), Arc::new(Mutex::new(Vec::new())));
    let note = |n: u32| {
        let log = log.clone();
        move || log.lock().unwrap().push(n)
    };
    let handle = event_loop.handle();
    event_loop.call_soon(note(1)).unwrap();
    handle.call_soon_threadsafe(note(2)).unwrap();
    event_loop.call_soon(note(3)).unwrap();
    let (inner, inside) = (event_loop.clone(), [note(4), note(5), note(6)]);
    event_loop
        .call_soon(move || {
            let [four, five, six] = inside;
            inner.call_soon(four).unwrap();
            inner.handle().call_soon_threadsafe(five).unwrap();
            inner.call_soon(six).unwrap();
        })
        .unwrap();
    run_once(&event_loop);
    run_once(&event_loop);
    assert_eq!(*log.lock().unwrap(), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn trap_024_a_callback_that_panics_is_reported_and_the_loop_goes_on() {
    let (event_loop, log) = (new(), Log::default());
    let heard = listen(&event_loop);
    event_loop.call_soon(|| panic!("out of luck")).unwrap();
    let line = line!() - 1;
    event_loop.call_soon(note(&log, "later")).unwrap();
    event_loop.call_later(Duration::ZERO, || panic!("late, too")).unwrap();
    run_once(&event_loop);
    run_once(&event_loop);
    assert_eq!(*log.borrow(), ["later"]);
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 2);
    assert_eq!((heard[0].kind(), heard[0].message()), (ExceptionKind::Callback, "out of luck"));
    assert_eq!(heard[0].spawned_at().map(|at| (at.file(), at.line())), Some((file!(), line)));
    assert_eq!(heard[1].message(), "late, too");
}

#[test]
fn trap_025_a_handler_that_panics_is_told_to_the_default_one() {
    let (tell, hear) = mpsc::channel();
    let event_loop = Runtime::builder()
        .workers(1)
        .exception_handler(move |exception| {
            tell.send(exception.to_string()).unwrap();
            assert!(exception.message() != "break the default one", "broken, too");
        })
        .build_event_loop()
        .unwrap();
    event_loop.set_exception_handler(Some(Arc::new(|_| panic!("broken handler"))));
    event_loop.call_soon(|| panic!("original")).unwrap();
    run_once(&event_loop);
    let told = hear.try_recv().unwrap();
    assert!(told.starts_with("Unhandled error in exception handler: broken handler; it had been told of:"), "{told}");
    assert!(told.ends_with("panicked: original"), "{told}");
    assert!(event_loop.set_exception_handler(None).is_some());
    event_loop.call_exception_handler(&Exception::custom("break the default one"));
    assert_eq!(hear.try_recv().unwrap(), "break the default one");
    assert_eq!(event_loop.run_until_complete(async { 3 }), Ok(3), "a line on stderr is all");
}

#[test]
fn trap_026_an_interrupt_in_a_callback_leaves_the_rest_for_the_next_run() {
    let (event_loop, log) = (new(), Log::default());
    event_loop.call_soon(note(&log, "before")).unwrap();
    let inner = event_loop.clone();
    event_loop.call_soon(move || inner.interrupt()).unwrap();
    event_loop.call_soon(note(&log, "after")).unwrap();
    assert_eq!(event_loop.run_forever(), Err(RunError::Interrupted));
    assert_eq!(*log.borrow(), ["before"]);
    assert!(!event_loop.is_closed());
    run_once(&event_loop);
    assert_eq!(*log.borrow(), ["before", "after"]);
}

#[test]
fn trap_027_debug_mode_names_the_task_that_was_slow() {
    let (tell, hear) = mpsc::channel();
    let event_loop = Runtime::builder()
        .workers(1)
        .on_slow_poll(move |slow| tell.send(slow.clone()).unwrap())
        .build_event_loop()
        .unwrap();
    event_loop.set_slow_callback_duration(Duration::from_micros(500));
    event_loop.set_debug(true);
    assert!(event_loop.get_debug());
    let busy = || {
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(1) {
            std::hint::spin_loop();
        }
    };
    event_loop
        .run_until_complete(async move {
            let hog = eddies::TaskBuilder::new().name("hog").spawn(async move {
                // The slow poll is one that follows a wake-up.
                eddies::yield_now().await;
                busy();
            });
            hog.await.unwrap();
        })
        .unwrap();
    let slow = hear.try_recv().unwrap();
    assert_eq!(slow.task_name(), Some("hog"));
    assert!(slow.elapsed() >= Duration::from_millis(1));
    assert!(slow.to_string().starts_with("task `hog` spawned at tests/event_loop.rs:"), "{slow}");
    event_loop.set_debug(false);
    event_loop.call_soon(busy).unwrap();
    run_once(&event_loop);
    assert!(hear.try_recv().is_err());
}

#[test]
fn trap_040_a_job_that_ends_after_the_close_is_dropped_silently() {
    let event_loop = new();
    let heard = listen(&event_loop);
    let (begin, begun) = mpsc::channel();
    let (go_on, gone_on) = mpsc::channel::<()>();
    let (ended, end) = mpsc::channel::<()>();
    let job = event_loop
        .run_in_executor(move || {
            begin.send(()).unwrap();
            gone_on.recv().unwrap();
            ended
        })
        .unwrap();
    begun.recv().unwrap();
    // Does not wait for the job.
    event_loop.close().unwrap();
    drop(job);
    go_on.send(()).unwrap();
    assert_eq!(end.recv(), Err(mpsc::RecvError), "its output is dropped");
    assert!(heard.lock().unwrap().is_empty());
}

#[test]
fn trap_046_yielding_lets_an_earlier_callback_run_first() {
    let (event_loop, log) = (new(), Log::default());
    let (inner, again) = (event_loop.clone(), log.clone());
    event_loop
        .run_until_complete(async move {
            inner.call_soon(note(&again, "callback")).unwrap();
            eddies::yield_now().await;
            again.borrow_mut().push("resumed");
        })
        .unwrap();
    assert_eq!(*log.borrow(), ["callback", "resumed"]);
}

#[test]
fn trap_050_a_pending_task_that_the_close_drops_is_reported() {
    let event_loop = new();
    let heard = listen(&event_loop);
    let dropped = Rc::new(Cell::new(0));
    struct Count(Rc<Cell<u32>>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let (started, unstarted) = (Count(dropped.clone()), Count(dropped.clone()));
    let task = event_loop
        .create_local_task(async move {
            let _started = started;
            pending::<()>().await;
        })
        .unwrap();
    run_once(&event_loop);
    drop(event_loop.create_local_task(async move { drop(unstarted) }).unwrap());
    event_loop.close().unwrap();
    assert_eq!(dropped.get(), 2);
    assert!(task.result().unwrap_err().is_cancelled());
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 2);
    for exception in heard.iter() {
        assert_eq!(exception.kind(), ExceptionKind::Destroyed);
        assert!(exception.to_string().starts_with("Task was destroyed but it is pending! spawned at"), "{exception}");
    }
}

#[test]
fn everything_is_called_in_one_order() {
    let (event_loop, log) = (new(), Log::default());
    let (a, b, c) = (log.clone(), log.clone(), log.clone());
    event_loop.call_soon(note(&log, "callback 1")).unwrap();
    drop(event_loop.create_local_task(async move { a.borrow_mut().push("local task") }).unwrap());
    let (tell, hear) = mpsc::channel();
    let handle = event_loop.handle();
    let told = event_loop.create_task(async move {
        handle.call_soon_threadsafe(move || tell.send(()).unwrap()).unwrap();
    });
    drop(told.unwrap());
    event_loop.call_soon(note(&log, "callback 2")).unwrap();
    event_loop
        .run_until_complete(async move {
            b.borrow_mut().push("main");
            eddies::spawn_local(async move { c.borrow_mut().push("child") }).await.unwrap();
        })
        .unwrap();
    assert_eq!(*log.borrow(), ["callback 1", "local task", "callback 2", "main", "child"]);
    hear.try_recv().unwrap();
}

#[test]
fn what_the_main_future_queued_last_runs_before_the_run_ends() {
    let (event_loop, log) = (new(), Log::default());
    let (inner, again) = (event_loop.clone(), log.clone());
    event_loop
        .run_until_complete(async move {
            let (deeper, once_more) = (inner.clone(), again.clone());
            inner
                .call_soon(move || {
                    once_more.borrow_mut().push("last");
                    deeper.call_soon(note(&once_more, "too late")).unwrap();
                })
                .unwrap();
        })
        .unwrap();
    assert_eq!(*log.borrow(), ["last"]);
}

#[test]
fn a_panic_of_the_main_future_passes_and_the_loop_can_be_used() {
    let (event_loop, log) = (new(), Log::default());
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        event_loop.run_until_complete(async { panic!("main") })
    }));
    assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"main"));
    assert!(!event_loop.is_running());
    event_loop.call_soon(note(&log, "fine")).unwrap();
    assert_eq!(event_loop.run_until_complete(async { 1 }), Ok(1));
    assert_eq!(*log.borrow(), ["fine"]);
}

#[test]
fn a_loop_that_is_dropped_drops_what_it_holds_on_this_thread() {
    struct OnThread(thread::ThreadId, Rc<Cell<u32>>);
    impl Drop for OnThread {
        fn drop(&mut self) {
            assert_eq!(thread::current().id(), self.0);
            self.1.set(self.1.get() + 1);
        }
    }
    let (event_loop, dropped) = (new(), Rc::new(Cell::new(0)));
    let weight = || OnThread(thread::current().id(), dropped.clone());
    let (a, b, c) = (weight(), weight(), weight());
    let soon = event_loop.call_soon(move || drop(a)).unwrap();
    let later = event_loop.call_later(Duration::from_secs(60), move || drop(b)).unwrap();
    drop(event_loop.create_local_task(async move { drop(c) }).unwrap());
    listen(&event_loop);
    drop(event_loop);
    assert_eq!(dropped.get(), 3);
    later.cancel();
    soon.cancel();
}

#[test]
fn a_loop_in_a_thread_local_closes_when_the_thread_ends() {
    thread_local!(static KEPT: RefCell<Option<EventLoop>> = const { RefCell::new(None) });
    let weight = Arc::new(());
    let of_thread = weight.clone();
    thread::spawn(move || {
        let event_loop = new();
        event_loop.call_soon(move || drop(of_thread)).unwrap();
        event_loop.call_later(Duration::from_secs(60), || ()).unwrap();
        KEPT.with(|kept| *kept.borrow_mut() = Some(event_loop));
    })
    .join()
    .unwrap();
    assert_eq!(Arc::strong_count(&weight), 1);
}

#[test]
fn trap_130_a_thread_is_told_the_value_the_panic_or_the_cancellation() {
    let event_loop = new();
    let handle = event_loop.handle();
    let thread = thread::spawn(move || {
        let sum = handle.run_coroutine_threadsafe(async { 40 + 2 }).unwrap().wait().unwrap();
        let never = handle.run_coroutine_threadsafe(pending::<()>()).unwrap();
        let never = never.wait_timeout(Duration::from_millis(1)).unwrap_err();
        never.cancel(None);
        assert!(matches!(never.wait(), Err(TaskError::Cancelled(_))));
        let panics = handle.run_coroutine_threadsafe(async { panic!("remote") }).unwrap();
        assert!(matches!(panics.wait(), Err(TaskError::Panicked(_))));
        handle.stop();
        sum
    });
    event_loop.run_forever().unwrap();
    assert_eq!(thread.join().unwrap(), 42);
}

#[test]
fn the_close_of_a_loop_answers_who_waits_for_it() {
    let event_loop = new();
    let heard = listen(&event_loop);
    let remote = event_loop.handle().run_coroutine_threadsafe(pending::<()>()).unwrap();
    let thread = thread::spawn(move || remote.wait());
    event_loop.close().unwrap();
    assert!(matches!(thread.join().unwrap(), Err(TaskError::Cancelled(_))));
    assert_eq!(heard.lock().unwrap().len(), 1);
}

#[test]
fn a_loop_with_peers_runs_send_tasks_there_and_callbacks_here() {
    let event_loop = Runtime::builder().workers(3).build_event_loop().unwrap();
    let (log, here) = (Log::default(), thread::current().id());
    for entry in ["a", "b", "c"] {
        let log = log.clone();
        event_loop
            .call_soon(move || {
                assert_eq!(thread::current().id(), here);
                log.borrow_mut().push(entry);
            })
            .unwrap();
    }
    let sum = event_loop.run_until_complete(async {
        let tasks: Vec<_> = (0..1000_u64).map(|n| eddies::spawn(async move { n })).collect();
        let mut sum = 0;
        for task in tasks {
            sum += task.await.unwrap();
        }
        sum
    });
    assert_eq!(sum, Ok(499_500));
    assert_eq!(*log.borrow(), ["a", "b", "c"]);
    event_loop.close().unwrap();
}

#[test]
fn far_deadlines_are_legal() {
    let event_loop = new();
    let centuries = Duration::from_secs(500 * 365 * 86_400);
    let far = event_loop.call_later(centuries, || unreachable!()).unwrap();
    let farther = event_loop.call_later(Duration::MAX, || unreachable!()).unwrap();
    assert!(farther.when() > far.when());
    run_once(&event_loop);
    event_loop.run_until_complete(eddies::sleep(Duration::from_millis(1))).unwrap();
    assert!(!far.cancelled());
}

#[test]
fn an_executor_of_the_programs_own_takes_the_jobs() {
    struct Named(mpsc::Sender<Box<dyn FnOnce() + Send>>);
    impl eddies::Executor for Named {
        fn execute(&self, job: Box<dyn FnOnce() + Send>) {
            self.0.send(job).unwrap();
        }
    }
    let (send, jobs) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
    let thread = thread::Builder::new().name("mine".to_owned());
    let thread = thread.spawn(move || jobs.into_iter().take(2).for_each(|job| job())).unwrap();
    let event_loop = new();
    event_loop.set_default_executor(Some(Arc::new(Named(send)))).unwrap();
    let name = event_loop.run_in_executor(|| thread::current().name().map(str::to_owned)).unwrap();
    assert_eq!(event_loop.run_until_complete(name).unwrap().unwrap().as_deref(), Some("mine"));
    let panics = event_loop.run_in_executor::<_, ()>(|| panic!("in the job")).unwrap();
    assert!(matches!(event_loop.run_until_complete(panics).unwrap(), Err(FutureError::Panicked(_))));
    thread.join().unwrap();
    event_loop.set_default_executor(None).unwrap();
    let name = event_loop.run_in_executor(|| thread::current().name().map(str::to_owned)).unwrap();
    assert_ne!(event_loop.run_until_complete(name).unwrap().unwrap().as_deref(), Some("mine"));
}

#[test]
fn a_job_that_an_executor_drops_is_cancelled() {
    struct Black;
    impl eddies::Executor for Black {
        fn execute(&self, job: Box<dyn FnOnce() + Send>) {
            drop(job);
        }
    }
    let event_loop = new();
    let job = event_loop.run_in_executor_on::<_, ()>(&Black, || unreachable!()).unwrap();
    assert!(event_loop.run_until_complete(job).unwrap().unwrap_err().is_cancelled());
}

#[test]
fn trap_129_an_executor_that_does_not_end_in_time_is_named_and_left() {
    let event_loop = new();
    let (go_on, gone_on) = mpsc::channel::<()>();
    let (begin, begun) = mpsc::channel();
    let job = event_loop
        .run_in_executor(move || {
            begin.send(()).unwrap();
            gone_on.recv().unwrap();
            5
        })
        .unwrap();
    begun.recv().unwrap();
    let still = event_loop.shutdown_default_executor(Duration::from_millis(1)).unwrap_err();
    assert_eq!(still.what().len(), 1, "{still}");
    go_on.send(()).unwrap();
    assert_eq!(event_loop.run_until_complete(job).unwrap().unwrap(), 5);
    let refused = event_loop.run_in_executor(|| 6).unwrap();
    assert!(event_loop.run_until_complete(refused).unwrap().unwrap_err().is_cancelled());
}

#[test]
fn trap_051_a_callback_sees_the_context_of_its_registration_and_changes_its_own() {
    static REQUEST: ContextVar<u32> = ContextVar::new("request");
    let (event_loop, seen) = (new(), Arc::new(Mutex::new(Vec::new())));
    let look = |name: &'static str| {
        let seen = seen.clone();
        move || {
            seen.lock().unwrap().push((name, REQUEST.get()));
            REQUEST.set(99);
        }
    };
    let (soon, later, remote, shared) = (look("soon"), look("later"), look("remote"), look("shared"));
    let inner = event_loop.clone();
    let after = event_loop
        .create_local_task(async move {
            REQUEST.set(1);
            inner.call_soon(soon).unwrap();
            inner.call_later(Duration::ZERO, later).unwrap();
            inner.handle().call_soon_threadsafe(remote).unwrap();
            REQUEST.set(2);
            let context = eddies::Context::new();
            let other = context.clone();
            inner.call_soon(move || other.run(shared)).unwrap();
            eddies::sleep(Duration::from_millis(2)).await;
            (REQUEST.get(), context.get(&REQUEST))
        })
        .unwrap();
    let after = event_loop.run_until_complete(after).unwrap().unwrap();
    assert_eq!(after, (Some(2), Some(99)), "the task's own context is untouched, the one given is shared");
    let mut seen = seen.lock().unwrap().clone();
    seen.sort();
    assert_eq!(seen, [("later", Some(1)), ("remote", Some(1)), ("shared", None), ("soon", Some(1))]);
}

#[test]
fn under_virtual_time_an_hour_of_timers_takes_none_and_keeps_its_order() {
    let event_loop = Runtime::builder().virtual_time(true).build_event_loop().unwrap();
    let (log, began) = (Log::default(), event_loop.time());
    event_loop.call_later(Duration::from_secs(3600), note(&log, "1 h")).unwrap();
    event_loop.call_later(Duration::from_secs(60), note(&log, "1 min")).unwrap();
    event_loop.call_later(Duration::from_nanos(1), note(&log, "1 ns")).unwrap();
    let again = log.clone();
    drop(event_loop.create_local_task(async move {
        eddies::sleep(Duration::from_secs(61)).await;
        again.borrow_mut().push("61 s");
    }));
    let handle = event_loop.handle();
    event_loop.call_later(Duration::from_secs(3601), move || handle.stop()).unwrap();
    let machine = Instant::now();
    event_loop.run_forever().unwrap();
    assert_eq!(*log.borrow(), ["1 ns", "1 min", "61 s", "1 h"]);
    assert_eq!(event_loop.time() - began, Duration::from_secs(3601));
    assert!(machine.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_virtual_clock_waits_for_jobs_of_other_executors() {
    struct ThreadPerJob;
    impl eddies::Executor for ThreadPerJob {
        fn execute(&self, job: Box<dyn FnOnce() + Send>) {
            thread::spawn(job);
        }
    }
    let event_loop = Runtime::builder().virtual_time(true).build_event_loop().unwrap();
    let (go_on, gone_on) = mpsc::channel::<()>();
    let job = event_loop.run_in_executor_on(&ThreadPerJob, move || gone_on.recv().unwrap()).unwrap();
    event_loop.call_later(Duration::from_secs(60), || panic!("the clock must not jump past the job")).unwrap();
    let began = event_loop.time();
    let releaser = thread::spawn(move || go_on.send(()).unwrap());
    event_loop.run_until_complete(job).unwrap().unwrap();
    releaser.join().unwrap();
    assert_eq!(event_loop.time(), began);
}

#[test]
fn trap_001_the_order_of_callbacks_waiters_and_a_set_result() {
    let (event_loop, log) = (new(), Arc::new(Mutex::new(Vec::new())));
    let note = |entry: &'static str| {
        let log = log.clone();
        move || log.lock().unwrap().push(entry)
    };
    let (inner, waits, sync) = (event_loop.clone(), note("waiter"), note("sync-after-set"));
    let (cb1, cb2, before, after) = (note("cb1"), note("cb2"), note("soon-before"), note("soon-after"));
    event_loop
        .run_until_complete(async move {
            let future = inner.create_future::<u32>();
            future.add_done_callback(move |_| cb1());
            let waiter = future.clone();
            let waiter = inner.create_task(async move {
                waiter.await.unwrap();
                waits();
            });
            eddies::yield_now().await;
            future.add_done_callback(move |_| cb2());
            inner.call_soon(before).unwrap();
            future.set_result(1).unwrap();
            inner.call_soon(after).unwrap();
            sync();
            waiter.unwrap().await.unwrap();
        })
        .unwrap();
    let log = log.lock().unwrap();
    assert_eq!(*log, ["sync-after-set", "soon-before", "cb1", "waiter", "cb2", "soon-after"]);
}

#[test]
fn trap_012_a_future_of_another_loop_can_be_run_and_is_answered_there() {
    let (event_loop, other) = (new(), new());
    let future = other.create_future();
    let (handle, answer) = (other.handle(), future.clone());
    // Not asyncio's error: a future may be awaited anywhere, and its callbacks run on its own loop.
    event_loop.call_soon(move || answer.set_result(handle.live_tasks()).unwrap()).unwrap();
    assert_eq!(event_loop.run_until_complete(&future).unwrap().unwrap(), 0);
    let called = Arc::new(Mutex::new(false));
    let by_callback = called.clone();
    future.add_done_callback(move |_| *by_callback.lock().unwrap() = true);
    run_once(&event_loop);
    assert!(!*called.lock().unwrap());
    run_once(&other);
    assert!(*called.lock().unwrap());
}

#[test]
fn a_done_callback_runs_before_run_until_complete_returns() {
    // X1: the callback is registered on the task that is run.
    let event_loop = Runtime::builder().virtual_time(true).build_event_loop().unwrap();
    let (tell, hear) = mpsc::channel();
    let began = event_loop.time();
    let task = event_loop.create_task(async {
        eddies::sleep(Duration::from_secs(1)).await;
        "Future is done!"
    });
    let task = task.unwrap();
    task.add_done_callback(move |task| tell.send(task.result().unwrap()).unwrap());
    assert_eq!(event_loop.run_until_complete(&task).unwrap().unwrap(), "Future is done!");
    assert_eq!(hear.try_recv(), Ok("Future is done!"));
    assert_eq!(event_loop.time() - began, Duration::from_secs(1));
    assert!(!event_loop.is_running() && !event_loop.is_closed());
}

#[test]
fn a_done_callback_may_stop_the_loop() {
    // X2.
    let event_loop = Runtime::builder().virtual_time(true).build_event_loop().unwrap();
    let task = event_loop.create_task(eddies::sleep(Duration::from_secs(1))).unwrap();
    let handle = event_loop.handle();
    task.add_done_callback(move |_| handle.stop());
    event_loop.run_forever().unwrap();
    assert!(task.is_finished());
    event_loop
        .call_later(Duration::from_secs(1), {
            let handle = event_loop.handle();
            move || handle.stop()
        })
        .unwrap();
    event_loop.run_forever().unwrap();
}

#[test]
fn what_a_run_leaves_to_peers_goes_on_without_it() {
    let event_loop = Runtime::builder().workers(2).build_event_loop().unwrap();
    let (tell, hear) = mpsc::channel();
    let handle = event_loop.handle();
    event_loop
        .call_soon(move || {
            // Nobody is told of a task that its worker is to run next; but the worker leaves.
            drop(eddies::spawn(async move { tell.send(1).unwrap() }));
            handle.interrupt();
        })
        .unwrap();
    assert_eq!(event_loop.run_forever(), Err(RunError::Interrupted));
    assert_eq!(hear.recv_timeout(Duration::from_secs(60)), Ok(1));
}
