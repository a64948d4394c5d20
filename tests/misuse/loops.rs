//! The life of an event loop: closed, running, gone; another one's.

use std::cell::RefCell;
use std::future::pending;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use eddies::signal::unix::SignalKind;
use eddies::{EventLoop, Executor, LoopFuture, RunError, Runner, Runtime, TaskState};

use super::{ends, listening, panic_of, runtime, says};

fn closed() -> EventLoop {
    let event_loop = EventLoop::new().unwrap();
    event_loop.close().unwrap();
    event_loop
}

/// Takes no job.
struct NoExecutor;

impl Executor for NoExecutor {
    fn execute(&self, _: Box<dyn FnOnce() + Send>) {
        unreachable!("a closed loop has no jobs")
    }
}

#[test]
fn called_every_method_of_a_closed_loop_that_needs_an_open_one() {
    ends(|| {
        let event_loop = closed();
        let (now, handle) = (event_loop.time(), event_loop.handle());
        let (pair, _other) = UnixStream::pair().unwrap();
        let refused: [(&str, String); 18] = [
            ("run_until_complete", event_loop.run_until_complete(async {}).unwrap_err().to_string()),
            ("run_forever", event_loop.run_forever().unwrap_err().to_string()),
            ("run_once", event_loop.run_once().unwrap_err().to_string()),
            ("drain", event_loop.drain(Duration::ZERO).unwrap_err().to_string()),
            ("call_soon", event_loop.call_soon(|| ()).unwrap_err().to_string()),
            ("call_later", event_loop.call_later(Duration::ZERO, || ()).unwrap_err().to_string()),
            ("call_at", event_loop.call_at(now, || ()).unwrap_err().to_string()),
            ("create_task", event_loop.create_task(async {}).unwrap_err().to_string()),
            ("create_local_task", event_loop.create_local_task(async {}).unwrap_err().to_string()),
            ("run_in_executor", event_loop.run_in_executor(|| ()).unwrap_err().to_string()),
            ("run_in_executor_on", event_loop.run_in_executor_on(&NoExecutor, || ()).unwrap_err().to_string()),
            ("set_default_executor", event_loop.set_default_executor(None).unwrap_err().to_string()),
            ("catch_interrupts", event_loop.catch_interrupts().unwrap_err().to_string()),
            ("add_reader", event_loop.add_reader(&pair, || ()).unwrap_err().to_string()),
            ("add_writer", event_loop.add_writer(&pair, || ()).unwrap_err().to_string()),
            ("add_signal_handler", event_loop.add_signal_handler(SignalKind::hangup(), || ()).unwrap_err().to_string()),
            ("call_soon_threadsafe", handle.call_soon_threadsafe(|| ()).unwrap_err().to_string()),
            ("run_coroutine_threadsafe", handle.run_coroutine_threadsafe(async {}).unwrap_err().to_string()),
        ];
        for (method, error) in refused {
            says(error, &["Event loop is closed", &format!("`{method}` was called after `close`")]);
        }
        let runner = Runner::with_loop(event_loop);
        assert!(matches!(runner.run(async {}), Err(RunError::Closed(_))));
        runner.close().unwrap();
    });
}

#[test]
fn called_every_method_of_a_closed_loop_that_is_harmless() {
    ends(|| {
        let event_loop = closed();
        let (pair, _other) = UnixStream::pair().unwrap();
        event_loop.close().unwrap();
        event_loop.stop();
        event_loop.interrupt();
        event_loop.set_debug(true);
        event_loop.set_slow_callback_duration(Duration::from_millis(1));
        assert!(event_loop.is_closed() && !event_loop.is_running() && !event_loop.get_debug());
        assert!(event_loop.all_tasks().is_empty());
        assert!(event_loop.time() <= event_loop.time());
        assert!(!event_loop.remove_reader(&pair) && !event_loop.remove_writer(&pair));
        assert!(!event_loop.remove_signal_handler(SignalKind::hangup()));
        event_loop.shutdown_default_executor(Duration::ZERO).unwrap();
        assert!(event_loop.set_exception_handler(None).is_none() && event_loop.get_exception_handler().is_none());
        says(format!("{event_loop:?}"), &["closed: true"]);
        // asyncio's futures of a closed loop work, but for their callbacks.
        let future = event_loop.create_future();
        future.add_done_callback(|_| unreachable!("the loop is closed"));
        future.set_result(7).unwrap();
        assert_eq!(future.result().unwrap(), 7);
    });
}

#[test]
fn used_a_loop_handle_after_the_loop_was_gone() {
    ends(|| {
        let event_loop = EventLoop::new().unwrap();
        let handle = event_loop.handle();
        drop(event_loop);
        assert!(handle.is_closed());
        handle.stop();
        handle.interrupt();
        assert_eq!(handle.live_tasks(), 0);
        handle.call_soon_threadsafe(|| unreachable!()).unwrap_err();
        says(handle.try_spawn_blocking(|| ()).unwrap_err(), &["takes no more jobs", "shut down"]);
        let here = EventLoop::new().unwrap();
        let of_the_dead = (handle.spawn(async { 1 }), handle.spawn_blocking(|| 2));
        let both = here.run_until_complete(async { (of_the_dead.0.await, of_the_dead.1.await) }).unwrap();
        assert!(both.0.unwrap_err().is_cancelled() && both.1.unwrap_err().is_cancelled());
    });
}

#[test]
fn entered_a_loop_that_was_gone_and_waited_there() {
    ends(|| {
        let handle = closed().handle();
        let _inside = handle.enter();
        let message = EventLoop::new().unwrap().run_until_complete(async { panic_of(|| handle.block_on(async {})) });
        says(message.unwrap(), &["`.await`"]);
        let message = panic_of(|| handle.block_on(eddies::sleep(Duration::from_secs(3600))));
        says(message, &["has shut down", "would never fire"]);
        let socket = handle.block_on(eddies::net::UdpSocket::bind("127.0.0.1:0")).unwrap();
        says(handle.block_on(socket.recv(&mut [0])).unwrap_err(), &["shut down"]);
        assert!(handle.block_on(eddies::spawn(async {})).unwrap_err().is_cancelled());
    });
}

#[test]
fn made_a_second_loop_on_the_thread_and_ran_them_in_turns() {
    ends(|| {
        let (one, two) = (EventLoop::new().unwrap(), EventLoop::new().unwrap());
        assert_ne!(one, two);
        for n in 0..3 {
            assert_eq!(one.run_until_complete(async move { n }), Ok(n));
            assert_eq!(two.run_until_complete(eddies::sleep(Duration::from_millis(1))), Ok(()));
        }
    });
}

#[test]
fn ran_a_loop_inside_of_a_coroutine() {
    ends(|| {
        let (event_loop, other) = (EventLoop::new().unwrap(), EventLoop::new().unwrap());
        let inner = event_loop.clone();
        event_loop
            .run_until_complete(async move {
                says(inner.run_until_complete(async {}).unwrap_err(), &["already running", "`.await` the future"]);
                says(inner.run_forever().unwrap_err(), &["already running"]);
                says(inner.run_once().unwrap_err(), &["already running"]);
                says(inner.drain(Duration::ZERO).unwrap_err(), &["already running"]);
                says(other.run_until_complete(async {}).unwrap_err(), &["another loop is running", "`.await` there"]);
                says(inner.close().unwrap_err(), &["Cannot close a running event loop", "`stop`"]);
                let runner = Runner::new().unwrap();
                says(runner.run(async {}).unwrap_err(), &["another loop is running"]);
                runner.close().unwrap();
            })
            .unwrap();
    });
}

#[test]
fn ran_a_loop_inside_of_a_callback_and_closed_it_there() {
    ends(|| {
        let (event_loop, heard) = listening();
        let (inner, seen) = (event_loop.clone(), Rc::new(RefCell::new(Vec::new())));
        let sees = seen.clone();
        let call = event_loop.call_soon(move || {
            sees.borrow_mut().push(inner.run_forever().unwrap_err().to_string());
            sees.borrow_mut().push(inner.close().unwrap_err().to_string());
        });
        call.unwrap();
        event_loop.run_once().unwrap();
        assert_eq!(seen.borrow().len(), 2);
        assert!(heard.lock().unwrap().is_empty());
    });
}

#[test]
fn called_run_inside_of_a_coroutine() {
    ends(|| {
        let message = panic_of(|| eddies::run(async { panic_of(|| eddies::run(async {})) }));
        // Where there are peers a nested run is allowed, and blocks one worker.
        says(message, &["it did not panic"]);
        let event_loop = EventLoop::new().unwrap();
        let message = event_loop.run_until_complete(async { panic_of(|| eddies::run(async {})) }).unwrap();
        says(message, &["inside of async code", "`.await` the future instead", "spawn_blocking"]);
    });
}

#[test]
fn called_block_on_inside_of_a_coroutine() {
    ends(|| {
        let (single, _) = runtime(1);
        let handle = single.handle();
        let message = single.block_on(async { panic_of(|| handle.block_on(async {})) });
        says(
            message,
            &["`block_on` was called inside of async code on thread `novice`", "`.await` the future instead"],
        );
        let (several, _) = runtime(2);
        let handle = several.handle();
        assert_eq!(several.block_on(async { handle.block_on(async { eddies::spawn(async { 7 }).await }) }).unwrap(), 7);
    });
}

#[test]
fn awaited_a_future_of_another_loop() {
    ends(|| {
        // The other loop runs on a thread of its own: awaiting its futures works from everywhere.
        let (tell, hear) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let other = EventLoop::new().unwrap();
            let task = other.create_task(eddies::sleep(Duration::from_millis(2))).unwrap();
            tell.send((task, other.handle())).unwrap();
            other.run_forever().unwrap();
        });
        let (task, handle) = hear.recv().unwrap();
        let event_loop = EventLoop::new().unwrap();
        let here = event_loop.create_task(async {}).unwrap();
        assert!(event_loop.run_until_complete(&task).unwrap().is_ok());
        let both = event_loop.run_until_complete(eddies::gather([task.clone(), here])).unwrap();
        assert!(both.iter().all(Result::is_ok));
        handle.stop();
        thread.join().unwrap();
    });
}

#[test]
fn ran_a_loop_for_a_future_of_another_loop_that_does_not_run() {
    ends(|| {
        let (event_loop, other) = (EventLoop::new().unwrap(), EventLoop::new().unwrap());
        let words = ["belongs to an event loop of this thread", "does not run", "run that loop"];
        let task = other.create_task(async { 7 }).unwrap();
        says(event_loop.run_until_complete(&task).unwrap().unwrap_err(), &words);
        let gathered = event_loop.run_until_complete(eddies::gather([&task])).unwrap();
        says(gathered[0].as_ref().unwrap_err(), &words);
        let awaiting = task.clone();
        let by_task = event_loop.create_task(async move { awaiting.await }).unwrap();
        says(event_loop.run_until_complete(by_task).unwrap().unwrap().unwrap_err(), &words);
        // Nothing is lost: it is still there for its own loop.
        assert_eq!(task.state(), TaskState::Pending);
        assert_eq!(other.run_until_complete(&task).unwrap().unwrap(), 7);
        assert_eq!(event_loop.run_until_complete(&task).unwrap().unwrap(), 7, "what is done can be read by everybody");
    });
}

#[test]
fn blocked_on_the_handle_of_ones_own_loop() {
    ends(|| {
        let event_loop = EventLoop::new().unwrap();
        let message = panic_of(|| event_loop.handle().block_on(eddies::sleep(Duration::from_millis(1))));
        says(message, &["this thread's event loop", "does not run", "`EventLoop::run_until_complete` instead"]);
        assert_eq!(event_loop.run_until_complete(eddies::sleep(Duration::from_millis(1))), Ok(()));
    });
}

#[test]
fn dropped_a_loop_while_futures_of_it_were_awaited_elsewhere() {
    ends(|| {
        let (event_loop, heard) = listening();
        let (task, future) = (event_loop.create_task(pending::<()>()).unwrap(), event_loop.create_future::<u32>());
        let (theirs, answer) = (task.clone(), future.clone());
        let (tell, hear) = std::sync::mpsc::channel();
        let elsewhere = std::thread::spawn(move || {
            eddies::run(async {
                let waiter = eddies::spawn(async move { theirs.await });
                while task.state() == TaskState::Pending && !format!("{task:?}").contains("waiters=1") {
                    eddies::yield_now().await;
                }
                tell.send(()).unwrap();
                // The task ended with its loop; the future without one can still be answered.
                let error = waiter.await.unwrap().unwrap_err();
                answer.set_result(1).unwrap();
                (error.is_cancelled(), answer.await.unwrap())
            })
        });
        hear.recv().unwrap();
        drop(event_loop);
        assert_eq!(elsewhere.join().unwrap(), (true, 1));
        assert!(future.get_loop().is_none_or(|handle| handle.is_closed()));
        says(&heard.lock().unwrap()[0], &["Task was destroyed but it is pending!", "loops.rs"]);
    });
}

#[test]
fn kept_a_future_whose_loop_was_closed_and_awaited_it() {
    ends(|| {
        let event_loop = EventLoop::new().unwrap();
        let task = event_loop.create_task(async { 1 }).unwrap();
        event_loop.set_exception_handler(Some(Arc::new(|_| ())));
        event_loop.close().unwrap();
        let other = EventLoop::new().unwrap();
        assert!(other.run_until_complete(&task).unwrap().unwrap_err().is_cancelled());
        let later = eddies::shield(task.clone());
        assert!(later.ptr_eq(&task));
    });
}

#[test]
fn closed_a_runner_while_a_job_waited_for_its_loop() {
    ends(|| {
        let runner = Runner::new().unwrap();
        let handle = runner.get_loop().handle();
        let (begins, has_begun) = std::sync::mpsc::channel();
        let job = runner.get_loop().run_in_executor(move || {
            begins.send(()).unwrap();
            // The close waits for this job by the time the pool takes no other.
            while handle.try_spawn_blocking(|| ()).is_ok() {
                std::thread::yield_now();
            }
            handle.run_coroutine_threadsafe(async { 7 }).unwrap().wait().unwrap()
        });
        has_begun.recv().unwrap();
        runner.close().unwrap();
        assert_eq!(job.unwrap().result().unwrap(), 7);
    });
}

#[test]
fn shut_the_runtime_down_from_inside_of_a_task() {
    ends(|| {
        for workers in [1, 3] {
            let (runtime, heard) = runtime(workers);
            let handle = runtime.handle();
            let (tell, hear) = eddies::sync::oneshot();
            let task = handle.spawn(async move {
                // It cannot wait for itself.
                tell.send(runtime.shutdown(Duration::from_secs(10)).is_ok()).unwrap();
                pending::<()>().await;
            });
            let outcome = if workers == 1 {
                handle.block_on(task)
            } else {
                EventLoop::new().unwrap().run_until_complete(task).unwrap()
            };
            assert!(outcome.unwrap_err().is_cancelled());
            assert_eq!(EventLoop::new().unwrap().run_until_complete(hear).unwrap(), Ok(true));
            assert!(handle.is_closed() && heard.lock().unwrap().is_empty());
        }
    });
}

#[test]
fn dropped_a_runtime_inside_of_a_task_of_its_own() {
    ends(|| {
        let (runtime, heard) = runtime(2);
        let handle = runtime.handle();
        let task = handle.spawn(async move {
            drop(runtime);
            eddies::sleep(Duration::from_secs(3600)).await;
        });
        assert!(EventLoop::new().unwrap().run_until_complete(task).unwrap().unwrap_err().is_cancelled());
        assert!(heard.lock().unwrap().is_empty());
    });
}

#[test]
fn dropped_another_runtime_inside_of_a_coroutine() {
    ends(|| {
        let event_loop = EventLoop::new().unwrap();
        let task = event_loop.run_until_complete(async {
            let runtime = Runtime::builder().workers(2).build().unwrap();
            runtime.spawn(pending::<()>()).share()
        });
        assert!(event_loop.run_until_complete(task.unwrap()).unwrap().unwrap_err().is_cancelled());
    });
}

#[test]
fn added_100_000_callbacks_that_each_add_one_more() {
    ends(|| {
        let event_loop = EventLoop::new().unwrap();
        let count = Rc::new(std::cell::Cell::new(0_u32));
        for _ in 0..100_000 {
            let (inner, count) = (event_loop.clone(), count.clone());
            event_loop
                .call_soon(move || {
                    count.set(count.get() + 1);
                    let again = count.clone();
                    inner.call_soon(move || again.set(again.get() + 1)).unwrap();
                })
                .unwrap();
        }
        event_loop.run_once().unwrap();
        assert_eq!(count.get(), 100_000);
        event_loop.run_once().unwrap();
        assert_eq!(count.get(), 200_000);
    });
}

#[test]
fn added_a_callback_that_adds_itself_for_ever() {
    ends(|| {
        fn again(event_loop: EventLoop) {
            let inner = event_loop.clone();
            event_loop.call_soon(move || again(inner)).unwrap();
        }
        // Timers and tasks have their turns all the same.
        let event_loop = EventLoop::new().unwrap();
        again(event_loop.clone());
        let nap = eddies::timeout(Duration::from_secs(10), eddies::sleep(Duration::from_millis(2)));
        assert_eq!(event_loop.run_until_complete(nap), Ok(Ok(())));
        event_loop.close().unwrap();
    });
}

#[test]
fn forgot_to_run_the_loop() {
    ends(|| {
        let (event_loop, heard) = listening();
        let task = event_loop.create_task(async { 7 }).unwrap();
        let future: LoopFuture<u32> = event_loop.create_future();
        says(task.result().unwrap_err(), &["no result yet", "await it"]);
        says(future.result().unwrap_err(), &["no result yet"]);
        drop(event_loop);
        assert!(task.cancelled());
        says(&heard.lock().unwrap()[0], &["Task was destroyed but it is pending!"]);
    });
}

#[test]
fn asked_for_the_running_loop_where_none_runs() {
    ends(|| {
        says(eddies::get_running_loop().unwrap_err(), &["no running event loop in thread `novice`", "`eddies::run`"]);
        says(eddies::get_event_loop().unwrap_err(), &["no current event loop in thread `novice`", "`new_event_loop`"]);
        let message = panic_of(|| drop(eddies::ensure_future(async {})));
        says(message, &["no loop to run it", "`new_event_loop`"]);
    });
}
