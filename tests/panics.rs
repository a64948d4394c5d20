//! A panic in user code is reported once, with the task's name and the place of its spawn, and everything else runs on.

use std::future::{Future, pending};
use std::panic::{Location, UnwindSafe};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use eddies::{ExceptionKind, Runtime, TaskBuilder, spawn, spawn_blocking, spawn_local, yield_now};

type Heard = Arc<Mutex<Vec<(ExceptionKind, Option<String>, String)>>>;

fn listening(workers: usize) -> (Runtime, Heard) {
    let heard = Heard::default();
    let ears = heard.clone();
    let runtime = Runtime::builder()
        .workers(workers)
        .exception_handler(move |exception| {
            assert!(exception.spawned_at().is_none_or(|place: &Location<'_>| place.file().ends_with("panics.rs")));
            let name = exception.task_name().map(str::to_owned);
            ears.lock().unwrap().push((exception.kind(), name, exception.message().to_owned()));
        })
        .build()
        .unwrap();
    (runtime, heard)
}

/// Still in working order: tasks, local tasks, blocking jobs, timers.
async fn works() {
    for _ in 0..100 {
        assert_eq!(spawn(async { 1 }).await.unwrap(), 1);
    }
    assert_eq!(spawn_local(async { 2 }).await.unwrap(), 2);
    assert_eq!(spawn_blocking(|| 3).await.unwrap(), 3);
    eddies::sleep(Duration::from_millis(1)).await;
}

fn on_each(test: impl Fn(Runtime, Heard)) {
    for workers in [1, 3] {
        let (runtime, heard) = listening(workers);
        test(runtime, heard);
    }
}

struct PanicOnDrop(&'static str);

impl Drop for PanicOnDrop {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

#[test]
fn of_a_detached_task() {
    on_each(|runtime, heard| {
        runtime.block_on(async {
            drop(TaskBuilder::new().name("lonely").spawn(async { panic!("nobody asked") }));
            works().await;
        });
        drop(runtime);
        let expected = (ExceptionKind::Task, Some("lonely".to_owned()), "nobody asked".to_owned());
        assert_eq!(*heard.lock().unwrap(), [expected]);
    });
}

#[test]
fn of_an_awaited_task_goes_to_the_handle_alone() {
    on_each(|runtime, heard| {
        let error = runtime.block_on(async {
            let error = spawn(async { panic!("mine") }).await.unwrap_err();
            works().await;
            error
        });
        assert!(error.is_panic() && error.to_string().contains("mine"));
        drop(runtime);
        assert!(heard.lock().unwrap().is_empty());
    });
}

#[test]
fn of_a_finished_task_whose_handle_is_dropped_later() {
    on_each(|runtime, heard| {
        runtime.block_on(async {
            let task = TaskBuilder::new().name("late").spawn(async { panic!("unread") });
            while !task.is_finished() {
                yield_now().await;
            }
            drop(task);
            works().await;
        });
        drop(runtime);
        assert_eq!(heard.lock().unwrap().len(), 1);
        assert_eq!(heard.lock().unwrap()[0].1.as_deref(), Some("late"));
    });
}

#[test]
fn of_a_local_task_and_of_a_blocking_job() {
    on_each(|runtime, heard| {
        runtime.block_on(async {
            drop(TaskBuilder::new().name("local").spawn_local(async { panic!("a") }));
            let job = TaskBuilder::new().name("job").spawn_blocking(|| panic!("b"));
            assert!(job.await.unwrap_err().is_panic());
            drop(TaskBuilder::new().name("detached job").spawn_blocking(|| panic!("c")));
            works().await;
        });
        drop(runtime);
        let mut messages: Vec<_> = heard.lock().unwrap().iter().map(|(_, _, message)| message.clone()).collect();
        messages.sort();
        assert_eq!(messages, ["a", "c"]);
    });
}

#[test]
fn of_a_destructor_in_a_future_or_an_output() {
    on_each(|runtime, heard| {
        runtime.block_on(async {
            // Dropped at an abort: the handle hears.
            let aborted = spawn(async {
                let _bomb = PanicOnDrop("future");
                pending::<()>().await;
            });
            yield_now().await;
            aborted.abort();
            let error = aborted.await.unwrap_err();
            assert!(error.is_panic() || error.is_cancelled());
            // An output nobody takes: the handler hears.
            drop(spawn(async { PanicOnDrop("output") }));
            works().await;
        });
        drop(runtime);
        let heard = heard.lock().unwrap();
        assert!(heard.iter().any(|(kind, _, message)| (*kind, message.as_str()) == (ExceptionKind::Drop, "output")));
    });
}

#[test]
fn of_destructors_while_the_runtime_shuts_down() {
    on_each(|runtime, heard| {
        runtime.block_on(async {
            for _ in 0..10 {
                drop(spawn(async {
                    let _bomb = PanicOnDrop("at the end");
                    pending::<()>().await;
                }));
            }
            for _ in 0..20 {
                yield_now().await;
            }
        });
        runtime.shutdown(Duration::from_secs(20)).unwrap();
        assert!(heard.lock().unwrap().len() <= 10);
    });
}

/// Panics whatever is done with it.
struct PanicOnWake;

impl Wake for PanicOnWake {
    fn wake(self: Arc<Self>) {
        panic!("woken");
    }
}

#[test]
fn of_a_waker_in_a_timer_and_in_a_join() {
    on_each(|runtime, heard| {
        runtime.block_on(async {
            let waker = Waker::from(Arc::new(PanicOnWake));
            let mut sleep = eddies::sleep(Duration::from_millis(1));
            assert!(Pin::new(&mut sleep).poll(&mut Context::from_waker(&waker)).is_pending());
            let mut task = spawn(async { yield_now().await });
            assert!(Pin::new(&mut task).poll(&mut Context::from_waker(&waker)).is_pending());
            eddies::sleep(Duration::from_millis(5)).await;
            while !task.is_finished() {
                yield_now().await;
            }
            works().await;
            drop(sleep);
        });
        drop(runtime);
        let heard = heard.lock().unwrap();
        assert_eq!(heard.iter().filter(|(kind, ..)| *kind == ExceptionKind::Waker).count(), 2, "{heard:?}");
    });
}

#[test]
fn of_the_main_future_passes_through_and_leaves_the_runtime_usable() {
    fn panics_in(runtime: &Runtime) -> impl FnOnce() + UnwindSafe + '_ {
        let runtime = std::panic::AssertUnwindSafe(runtime);
        move || {
            runtime.block_on(async {
                drop(spawn_local(pending::<()>()));
                yield_now().await;
                panic!("main")
            })
        }
    }
    on_each(|runtime, _| {
        let payload = std::panic::catch_unwind(panics_in(&runtime)).unwrap_err();
        assert_eq!(*payload.downcast::<&str>().unwrap(), "main");
        runtime.block_on(works());
    });
}

#[test]
fn of_the_handler_itself_and_of_a_payload_that_panics_when_dropped() {
    let runtime = Runtime::builder().workers(2).exception_handler(|_| panic!("handler")).build().unwrap();
    runtime.block_on(async {
        drop(spawn(async { panic!("task") }));
        drop(spawn(async { std::panic::panic_any(PanicOnDrop("payload")) }));
        works().await;
    });
}

#[test]
fn of_thread_hooks() {
    let (told, heard) = std::sync::mpsc::channel();
    let runtime = Runtime::builder()
        .workers(2)
        .on_thread_start(|| panic!("start"))
        .on_thread_stop(|| panic!("stop"))
        .exception_handler(move |exception| told.send(exception.message().to_owned()).unwrap())
        .build()
        .unwrap();
    runtime.block_on(works());
    drop(runtime);
    let messages: Vec<_> = heard.iter().collect();
    assert!(messages.iter().any(|m| m == "start") && messages.iter().any(|m| m == "stop"), "{messages:?}");
}

/// A future that panics in its second poll, after others have been woken by it.
#[test]
fn ten_thousand_panicking_tasks_lose_no_worker() {
    struct Second(bool);
    impl Future for Second {
        type Output = ();
        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            if std::mem::replace(&mut self.0, true) {
                std::panic::resume_unwind(Box::new("second poll"));
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }
    on_each(|runtime, heard| {
        runtime.block_on(async {
            let tasks: Vec<_> = (0..10_000).map(|_| spawn(Second(false))).collect();
            for task in tasks {
                assert!(task.await.unwrap_err().is_panic());
            }
            works().await;
        });
        assert!(heard.lock().unwrap().is_empty());
    });
}

/// An error with a panic in it goes wherever an error goes: into a `LoopFuture`, an `Arc`, an `anyhow`-like box, to several who ask.
#[test]
fn as_an_error_goes_anywhere_and_is_shared() {
    fn goes_anywhere<T: std::error::Error + Clone + Send + Sync + 'static>(
        error: T,
    ) -> Box<dyn std::error::Error + Send + Sync> {
        Box::new(error)
    }
    let error = eddies::run(async { eddies::spawn(async { panic!("twice told") }).await.unwrap_err() });
    let second = error.clone();
    assert_eq!(goes_anywhere(error.clone()).to_string(), "the task panicked: twice told");
    assert!(error.try_into_panic().unwrap().is::<&str>(), "the first who asks gets the payload");
    let second = second.try_into_panic().unwrap_err();
    assert_eq!(second.to_string(), "the task panicked: twice told");
}
