//! Task groups: the traps of asyncio's own test suite (`test_taskgroups`), and what only ours do.

use std::future::{pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use eddies::future::{ChildError, GroupClosed, Ready, StartError, TaskGroup, TaskGroupError};
use eddies::sync::Event;
use eddies::testing::wait_all_blocked;
use eddies::time::advance;
use eddies::{
    Runtime, TaskState, all_tasks, catch_cancel, current_task, gather, resume_cancel, sleep, spawn, task_group,
    timeout, with_deadline, yield_now,
};

type GroupError = TaskGroupError<&'static str>;

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Counts those that are alive.
#[derive(Clone, Default)]
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn one(&self) -> One {
        self.0.fetch_add(1, Ordering::Relaxed);
        One(self.0.clone())
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

struct One(Arc<AtomicUsize>);

impl Drop for One {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Clone, Default)]
struct Flag(Arc<AtomicBool>);

impl Flag {
    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Waits to be cancelled, and then takes `cleanup` for it.
async fn cleans_up<T>(cleanup: Duration, after: T) -> T {
    let _ = catch_cancel(pending::<()>()).await;
    sleep(cleanup).await;
    after
}

async fn fails_after(wait: Duration, error: &'static str) -> Result<(), &'static str> {
    sleep(wait).await;
    Err(error)
}

#[eddies::test(virtual_time)]
async fn trap_088_a_childs_error_cancels_its_siblings_and_the_body_and_all_errors_are_given() {
    let alive = Alive::default();
    let (of_sibling, of_body) = (alive.one(), alive.one());
    let begin = eddies::now();
    let outcome: Result<(), GroupError> = task_group(|group| async move {
        let _of_body = of_body;
        group.spawn(fails_after(ms(10), "first"));
        group.spawn(async move {
            let _of_sibling = of_sibling;
            pending::<Result<(), _>>().await
        });
        group.spawn(cleans_up(ms(5), Err::<(), _>("second, in its cleanup")));
        group.spawn(cleans_up(ms(1), Ok::<(), _>(())));
        pending().await
    })
    .await;
    let error = outcome.unwrap_err();
    assert!(error.errors().eq(&["first", "second, in its cleanup"]), "{error}");
    assert_eq!(eddies::now() - begin, ms(15), "it waited for the slowest cleanup");
    assert_eq!(alive.count(), 0);
    assert_eq!(error.to_string(), "2 failed in a task group: first; second, in its cleanup");
}

#[eddies::test(virtual_time)]
async fn trap_088_a_panic_is_a_failure_among_others() {
    let outcome = task_group(|group| async move {
        group.spawn(cleans_up(ms(1), Err::<(), _>("an error")));
        yield_now().await;
        group.spawn_ok(async { panic!("of a child") });
        pending::<Result<(), _>>().await
    })
    .await;
    let failures = outcome.unwrap_err().into_failures();
    assert_eq!(format!("{failures:?}"), r#"[Panicked("of a child"), Error("an error")]"#);
}

#[eddies::test(virtual_time)]
async fn trap_089_a_child_that_is_cancelled_by_itself_is_no_error() {
    let begin = eddies::now();
    let outcome: Result<_, GroupError> = task_group(|group| async move {
        let child = group.spawn(pending::<Result<(), _>>());
        let other = group.spawn(async {
            sleep(ms(20)).await;
            Ok("not disturbed")
        });
        sleep(ms(10)).await;
        child.cancel("not needed");
        let error = child.await.unwrap_err();
        assert!(matches!(&error, ChildError::Cancelled(cancelled) if cancelled.reason() == Some("not needed")));
        Ok(other.await.unwrap())
    })
    .await;
    assert_eq!(outcome.unwrap(), "not disturbed");
    assert_eq!(eddies::now() - begin, ms(20));
}

#[eddies::test(virtual_time)]
async fn trap_090_a_cancelled_parent_has_its_children_cancelled_and_then_is_cancelled() {
    let (cleaned, went_on) = (Flag::default(), Flag::default());
    let parent = spawn({
        let (cleaned, went_on) = (cleaned.clone(), went_on.clone());
        async move {
            let outcome: Result<(), GroupError> = task_group(|group| async move {
                group.spawn(async move {
                    cleans_up(ms(7), ()).await;
                    cleaned.set();
                    Ok(())
                });
                pending().await
            })
            .await;
            went_on.set();
            outcome
        }
    });
    wait_all_blocked().await;
    let begin = eddies::now();
    parent.cancel("from outside");
    let handle = parent.handle();
    assert_eq!(parent.await.unwrap_err().to_string(), "the task was cancelled: from outside");
    assert_eq!((eddies::now() - begin, handle.cancelling()), (ms(7), 1));
    assert!(cleaned.is_set() && !went_on.is_set());
    assert!(all_tasks().is_empty());
}

#[eddies::test(virtual_time)]
async fn trap_090_so_it_is_while_the_group_only_waits_for_its_children() {
    let parent = spawn(task_group(|group| async move {
        group.spawn(cleans_up(ms(1), Ok::<(), &str>(())));
        Ok("the body is done")
    }));
    wait_all_blocked().await;
    parent.cancel(None);
    assert!(parent.await.unwrap_err().is_cancelled());
}

#[eddies::test(virtual_time)]
async fn trap_090_what_the_children_fail_with_in_their_cleanup_comes_first() {
    let parent = spawn(async {
        let outcome: Result<(), GroupError> = task_group(|group| async move {
            group.spawn(cleans_up(ms(1), Err::<(), _>("the cleanup failed")));
            pending().await
        })
        .await;
        outcome
    });
    wait_all_blocked().await;
    parent.cancel(None);
    // It did not wait after that: but it was asked to end, and has not.
    let handle = parent.handle();
    assert!(parent.await.unwrap_err().is_cancelled());
    assert_eq!(handle.cancelling(), 1);

    let parent = spawn(async {
        let group = task_group(|group| async move {
            group.spawn(cleans_up(ms(1), Err::<(), _>("the cleanup failed")));
            pending::<Result<(), _>>().await
        });
        let errors = group.await.unwrap_err().to_string();
        let caught = catch_cancel(pending::<()>()).await;
        (errors, caught.is_err())
    });
    wait_all_blocked().await;
    parent.cancel(None);
    let (errors, was_cancelled) = parent.await.unwrap();
    assert_eq!(errors, "1 failed in a task group: the cleanup failed");
    assert!(was_cancelled, "the request took effect at the next wait");
}

#[eddies::test(virtual_time)]
async fn trap_091_the_bodys_error_is_one_among_others_even_if_it_is_alone() {
    let outcome: Result<(), GroupError> = task_group(|_| async { Err("alone") }).await;
    assert!(outcome.unwrap_err().errors().eq(&["alone"]));

    // The error of the body's cleanup, and the child's that led to it.
    let outcome: Result<(), GroupError> = task_group(|group| async move {
        group.spawn(fails_after(ms(1), "child"));
        cleans_up(ms(5), Err("body")).await
    })
    .await;
    assert!(outcome.unwrap_err().errors().eq(&["child", "body"]));

    let outcome: Result<(), GroupError> = task_group(|group| async move {
        group.spawn(cleans_up(ms(5), Err::<(), _>("child")));
        yield_now().await;
        if group.len() == 1 {
            panic!("of the body");
        }
        Ok(())
    })
    .await;
    assert_eq!(format!("{:?}", outcome.unwrap_err()), r#"Failed([Panicked("of the body"), Error("child")])"#);
}

#[eddies::test(virtual_time)]
async fn trap_092_nested_groups_nest_their_errors() {
    let outcome: Result<(), TaskGroupError<Box<dyn std::error::Error + Send + Sync>>> =
        task_group(|outer| async move {
            outer.spawn(async {
                let inner: Result<(), GroupError> = task_group(|group| async move {
                    group.spawn(fails_after(ms(1), "a"));
                    group.spawn(cleans_up(ms(1), Err::<(), _>("b")));
                    Ok(())
                })
                .await;
                Ok(inner?)
            });
            outer.spawn(cleans_up(ms(9), Err::<(), _>("c".into())));
            Ok(())
        })
        .await;
    let failures = outcome.unwrap_err().into_failures();
    assert_eq!(failures.len(), 2);
    let inner: &GroupError = failures[0].error().unwrap().downcast_ref().unwrap();
    assert!(inner.errors().eq(&["a", "b"]));
    assert_eq!(failures[1].to_string(), "c");
}

#[eddies::test(virtual_time)]
async fn trap_092_an_error_in_the_outer_group_crosses_the_inner_one_as_a_cancellation() {
    let went_on = Flag::default();
    let after = went_on.clone();
    let outcome: Result<(), GroupError> = task_group(|outer| async move {
        outer.spawn(fails_after(ms(10), "outer child"));
        let inner: Result<(), GroupError> = task_group(|group| async move {
            group.spawn(cleans_up(ms(5), Ok::<(), _>(())));
            pending().await
        })
        .await;
        after.set();
        inner.map_err(|_| "the inner group failed")
    })
    .await;
    assert!(outcome.unwrap_err().errors().eq(&["outer child"]), "the inner group had nothing to say");
    assert!(!went_on.is_set(), "the cancellation went on through the body of the outer group");

    // The inner group's children fail in their cleanup: both are told.
    let outcome: Result<(), GroupError> = task_group(|outer| async move {
        outer.spawn(fails_after(ms(10), "outer child"));
        let inner: Result<(), GroupError> = task_group(|group| async move {
            group.spawn(cleans_up(ms(5), Err::<(), _>("inner child")));
            pending().await
        })
        .await;
        Err(*inner.unwrap_err().errors().next().unwrap())
    })
    .await;
    assert!(outcome.unwrap_err().errors().eq(&["outer child", "inner child"]));
}

#[eddies::test(virtual_time)]
async fn trap_093_a_child_fails_while_the_cancelled_body_takes_its_time_to_clean_up() {
    for late in [ms(20), ms(40)] {
        let begin = eddies::now();
        let cleaned = Flag::default();
        let body_cleaned = cleaned.clone();
        let outcome: Result<(), GroupError> = task_group(|group| async move {
            group.spawn(fails_after(ms(10), "first"));
            group.spawn(async move {
                let _ = catch_cancel(pending::<()>()).await;
                sleep(late).await;
                Err::<(), _>("second")
            });
            let cancelled = catch_cancel(pending::<()>()).await.unwrap_err();
            assert_eq!(cancelled.reason(), Some("another task of the group failed"));
            sleep(ms(30)).await;
            body_cleaned.set();
            resume_cancel(cancelled).await
        })
        .await;
        assert!(outcome.unwrap_err().errors().eq(&["first", "second"]));
        assert!(cleaned.is_set(), "the second failure did not cut the cleanup short");
        assert_eq!(eddies::now() - begin, ms(10) + late.max(ms(30)));
    }
}

#[eddies::test(virtual_time)]
async fn trap_094_children_may_be_spawned_while_the_group_waits_for_others() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let outcome: Result<(), GroupError> = task_group(|group| async move {
        type Life = Pin<Box<dyn Future<Output = Result<(), &'static str>> + Send>>;
        fn generation(group: TaskGroup<&'static str>, count: Arc<AtomicUsize>, left: usize) -> Life {
            Box::pin(async move {
                sleep(ms(1)).await;
                count.fetch_add(1, Ordering::Relaxed);
                if left > 0 {
                    group.spawn(generation(group.clone(), count, left - 1));
                }
                Ok(())
            })
        }
        group.spawn(generation(group.clone(), counted, 9));
        Ok(())
    })
    .await;
    outcome.unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 10);
}

#[eddies::test(virtual_time)]
async fn trap_094_but_not_once_it_aborts_or_is_over_or_before_it_has_begun() {
    let refused = Arc::new(Mutex::new(None));
    let (in_body, early) = (refused.clone(), Arc::new(Mutex::new(None)));
    let handle = early.clone();
    let group = task_group(|group: TaskGroup<&'static str>| {
        assert_eq!(group.try_spawn(async { Ok(()) }).unwrap_err(), GroupClosed::NotBegun);
        *handle.lock().unwrap() = Some(group.clone());
        async move {
            group.spawn(fails_after(ms(1), "fails"));
            let _ = catch_cancel(pending::<()>()).await;
            *in_body.lock().unwrap() = group.try_spawn(async { Ok(()) }).err();
            Ok(())
        }
    });
    assert!(group.await.unwrap_err().errors().eq(&["fails"]));
    assert_eq!(*refused.lock().unwrap(), Some(GroupClosed::Aborting));
    let group = early.lock().unwrap().take().unwrap();
    assert_eq!(group.try_spawn(async { Ok(()) }).unwrap_err(), GroupClosed::Finished);
    let late = group.spawn::<_, ()>(async { panic!("it ran") });
    assert!(matches!(late.await, Err(ChildError::Cancelled(_))));
}

#[eddies::test(virtual_time)]
async fn trap_095_a_future_that_is_refused_is_dropped() {
    let alive = Alive::default();
    let group = task_group(|group| async { Ok::<_, ()>(group) }).await.unwrap();
    let one = alive.one();
    let refused = group.try_spawn(async move {
        drop(one);
        Ok(())
    });
    assert_eq!(alive.count(), 0);
    assert!(refused.is_err());
    let one = alive.one();
    let refused = group.spawn(async move {
        drop(one);
        Ok(())
    });
    assert_eq!(alive.count(), 0);
    assert!(refused.await.is_err());
    assert!(group.is_empty());
}

#[eddies::test(virtual_time)]
async fn trap_096_children_that_are_done_leave_the_set() {
    let outcome: Result<(), GroupError> = task_group(|group| async move {
        for _ in 0..100 {
            group.spawn(async { Ok(()) });
            group.spawn(pending::<Result<(), _>>()).abort();
            yield_now().await;
            wait_all_blocked().await;
            assert_eq!(group.len(), 0);
        }
        Ok(())
    })
    .await;
    outcome.unwrap();
}

#[eddies::test(virtual_time)]
async fn trap_097_the_count_of_cancellations_is_what_it_was_before() {
    let task = spawn(async {
        let me = current_task().unwrap();
        let levels = [0, 1, 2].map(|_| ());
        for level in 0..levels.len() {
            let outcome: Result<(), GroupError> = task_group(|group| async move {
                group.spawn(fails_after(ms(1), "fails"));
                pending().await
            })
            .await;
            assert!(outcome.is_err());
            assert_eq!(me.cancelling(), level);
            sleep(ms(1)).await; // Nothing is left of it.
            me.cancel("one more level");
            assert!(catch_cancel(pending::<()>()).await.is_err());
            assert_eq!(me.cancelling(), level + 1);
        }
        me.cancelling()
    });
    assert_eq!(task.await.unwrap(), 3);
}

#[eddies::test(virtual_time)]
async fn trap_098_a_cancellation_from_outside_survives_a_child_that_fails_at_the_same_time() {
    // In both orders, and in the same turn of the loop.
    for outside_first in [true, false] {
        let fail = Arc::new(Event::new());
        let failing = fail.clone();
        let parent = spawn(async move {
            let group: Result<(), GroupError> = task_group(|group| async move {
                group.spawn(async move {
                    failing.wait().await;
                    Err::<(), _>("at the same time")
                });
                pending().await
            })
            .await;
            let errors: Vec<_> = group.unwrap_err().errors().copied().collect();
            (errors, catch_cancel(sleep(ms(1))).await.is_err(), current_task().unwrap().cancelling())
        });
        wait_all_blocked().await;
        if outside_first {
            parent.cancel("from outside");
            fail.set();
        } else {
            fail.set();
            parent.cancel("from outside");
        }
        let handle = parent.handle();
        match parent.await {
            Ok((errors, was_cancelled, count)) => {
                assert_eq!((errors, was_cancelled, count), (vec!["at the same time"], true, 1));
            }
            // The child was cancelled before it could fail: then there is nothing to report.
            Err(error) => assert!(outside_first && error.is_cancelled()),
        }
        assert_eq!(handle.cancelling(), 1);
    }
}

#[eddies::test(virtual_time)]
async fn trap_099_nothing_passes_by_the_group_a_panic_of_the_body_waits_for_the_children_too() {
    // asyncio lets a KeyboardInterrupt through bare. Here a signal is an event, nothing is thrown, and a panic is a failure like others.
    let begin = eddies::now();
    let outcome: Result<(), GroupError> = task_group(|group| async move {
        group.spawn(cleans_up(ms(5), Ok::<(), _>(())));
        yield_now().await;
        panic!("of the body")
    })
    .await;
    let mut failures = outcome.unwrap_err().into_failures();
    assert!(failures.len() == 1 && failures[0].is_panic());
    let eddies::future::Failure::Panicked(panic) = failures.remove(0) else { panic!("it is one") };
    assert_eq!(panic.message(), "of the body");
    assert!(panic.take_payload().unwrap().is::<&'static str>());
    assert_eq!(eddies::now() - begin, ms(5));
}

#[eddies::test(virtual_time)]
async fn trap_100_a_child_is_in_the_set_before_its_first_poll_and_may_end_in_it() {
    for _ in 0..10 {
        let outcome: Result<(), GroupError> = task_group(|group| async move {
            let child = group.spawn(async { Err::<(), _>("at once") });
            assert_eq!(group.len(), 1, "it was not polled yet");
            let cancelled = group.spawn(ready(Ok(())));
            cancelled.cancel(None);
            assert_eq!(child.await, Err(ChildError::Failed));
            pending().await
        })
        .await;
        assert!(outcome.unwrap_err().errors().eq(&["at once"]));
    }
}

async fn fails_or_waits(_one: One, fails: bool) -> Result<(), &'static str> {
    if fails { Err("at once") } else { pending().await }
}

#[test]
fn trap_100_so_it_is_on_many_workers() {
    let runtime = Runtime::builder().workers(4).build().unwrap();
    for round in 0..300 {
        let alive = Alive::default();
        let counted = alive.clone();
        let outcome: Result<(), GroupError> = runtime.block_on(task_group(|group| async move {
            for child in 0..8 {
                let one = counted.one();
                group.spawn(fails_or_waits(one, child == round % 8));
            }
            pending().await
        }));
        assert!(outcome.unwrap_err().errors().eq(&["at once"]));
        assert_eq!(alive.count(), 0);
    }
}

#[eddies::test(virtual_time)]
async fn trap_101_a_group_works_in_a_main_future_too_with_all_its_scopes() {
    // asyncio refuses a group without a task. That it is entered twice cannot be written: awaiting it consumes it.
    assert!(current_task().is_none());
    let outcome: Result<(), GroupError> = task_group(|group| async move {
        group.spawn(fails_after(ms(1), "child"));
        let inner: Result<(), GroupError> = task_group(|inner| async move {
            inner.spawn(cleans_up(ms(1), Err::<(), _>("inner child")));
            let caught = catch_cancel(pending::<()>()).await.unwrap_err();
            sleep(ms(5)).await;
            resume_cancel(caught).await
        })
        .await;
        Err(*inner.unwrap_err().errors().next().unwrap())
    })
    .await;
    assert!(outcome.unwrap_err().errors().eq(&["child", "inner child"]));
}

#[eddies::test(virtual_time)]
async fn a_group_that_is_cancelled_by_its_own_ends_without_a_failure() {
    let cleaned = Flag::default();
    let child_cleaned = cleaned.clone();
    let outcome: Result<_, GroupError> = task_group(|group| async move {
        group.spawn(async move {
            cleans_up(ms(5), ()).await;
            child_cleaned.set();
            Ok(())
        });
        wait_all_blocked().await;
        group.cancel();
        group.cancel();
        Ok(group)
    })
    .await;
    let group = outcome.unwrap();
    assert!(cleaned.is_set());
    group.cancel();

    // A child ends it, and the body had no value.
    let outcome: Result<(), GroupError> = task_group(|group| async move {
        let of_child = group.clone();
        group.spawn_ok(async move { of_child.cancel() });
        pending().await
    })
    .await;
    let error = outcome.unwrap_err();
    assert!(error.is_cancelled() && error.failures().is_empty());

    // Before it begins: the body is not even polled.
    let group = task_group(|group: TaskGroup<&str>| {
        group.cancel();
        async { panic!("it ran") }
    });
    assert!(Result::<(), _>::unwrap_err(group.await).is_cancelled());

    // What fails in the cleanup counts.
    let outcome: Result<(), GroupError> = task_group(|group| async move {
        group.spawn(cleans_up(ms(5), Err::<(), _>("in the cleanup")));
        wait_all_blocked().await;
        group.cancel();
        Ok(())
    })
    .await;
    assert!(outcome.unwrap_err().errors().eq(&["in the cleanup"]));
}

#[eddies::test(virtual_time)]
async fn a_supervised_group_leaves_the_others_alone_and_tells_all_that_failed() {
    let begin = eddies::now();
    let done = Arc::new(AtomicUsize::new(0));
    let count = done.clone();
    let group = task_group(|group| async move {
        for number in 0..4 {
            let done = count.clone();
            group.spawn(async move {
                sleep(ms(10 * (4 - number))).await;
                if number % 2 == 0 {
                    return Err(number);
                }
                done.fetch_add(1, Ordering::Relaxed);
                Ok(())
            });
        }
        group.spawn_ok(async { panic!("one panics") });
        sleep(ms(35)).await;
        group.spawn(async { Ok(()) }).await.unwrap();
        Ok("the body has a value")
    });
    let error = group.supervised().await.unwrap_err();
    assert_eq!(format!("{error:?}"), r#"Failed([Panicked("one panics"), Error(2), Error(0)])"#);
    assert_eq!((done.load(Ordering::Relaxed), eddies::now() - begin), (2, ms(40)));

    // The body's own failure does end it.
    let group = task_group(|group| async move {
        group.spawn(pending::<Result<(), _>>());
        Err::<(), _>("the body")
    });
    assert!(group.supervised().await.unwrap_err().errors().eq(&["the body"]));
}

#[eddies::test(virtual_time)]
async fn a_child_that_is_started_is_waited_for_until_it_is_ready() {
    let outcome: Result<_, GroupError> = task_group(|group| async move {
        let begin = eddies::now();
        let port = group
            .start(|ready| async move {
                sleep(ms(3)).await;
                ready.ready(8080);
                sleep(ms(7)).await;
                Ok(())
            })
            .await
            .unwrap();
        assert_eq!((port, eddies::now() - begin, group.len()), (8080, ms(3), 1));

        let failed = group.start(|_: Ready<u32, _>| fails_after(ms(1), "no port")).await;
        assert!(matches!(failed, Err(StartError::Failed("no port"))), "{failed:?}");
        let silent = group.start(|_: Ready<u32, _>| async { Ok(()) }).await;
        assert!(matches!(silent, Err(StartError::Ended)));
        assert_eq!(group.len(), 1, "the group was not touched by those");

        // Nobody waits for it any more.
        let slow = group.start(|ready| async move {
            pending::<()>().await;
            ready.ready(());
            Ok(())
        });
        assert!(timeout(ms(1), slow).await.is_err());
        wait_all_blocked().await;
        assert_eq!(group.len(), 1);

        group.cancel();
        let closed = group.start(|_: Ready<u32, _>| async { Ok(()) }).await;
        assert!(matches!(closed, Err(StartError::Closed(GroupClosed::Aborting))));
        Ok(())
    })
    .await;
    outcome.unwrap();

    // From the moment at which it is ready its error is the group's.
    let outcome: Result<(), GroupError> = task_group(|group| async move {
        let started = group.start(|ready| async move {
            ready.ready(());
            fails_after(ms(1), "later").await
        });
        started.await.unwrap();
        pending().await
    })
    .await;
    assert!(outcome.unwrap_err().errors().eq(&["later"]));
}

#[eddies::test(virtual_time)]
async fn a_group_that_is_dropped_aborts_its_children_and_the_runtime_owns_them_till_they_end() {
    let alive = Alive::default();
    let (one, late) = (alive.one(), Arc::new(Mutex::new(None)));
    let handle = late.clone();
    let group = task_group(|group| async move {
        *handle.lock().unwrap() = Some(group.clone());
        group.spawn::<_, ()>(async move {
            let _one = one;
            loop {
                let _refused = catch_cancel(pending::<()>()).await;
            }
        });
        pending::<Result<(), &str>>().await
    });
    assert!(timeout(ms(1), group).await.is_err());
    assert_eq!(all_tasks().len(), 1, "it is still the runtime's");
    wait_all_blocked().await;
    assert!(all_tasks().is_empty() && alive.count() == 0);
    let group = late.lock().unwrap().take().unwrap();
    assert_eq!(group.try_spawn(async { Ok(()) }).unwrap_err(), GroupClosed::Finished);
}

#[eddies::test(virtual_time)]
async fn what_runs_beside_a_group_in_the_same_task_is_not_cancelled_with_it() {
    let task = spawn(async {
        let beside = async { catch_cancel(sleep(ms(50))).await.is_ok() };
        let group = async {
            let outcome: Result<(), GroupError> = task_group(|group| async move {
                group.spawn(fails_after(ms(10), "fails"));
                pending().await
            })
            .await;
            outcome.is_err()
        };
        let both: [Pin<Box<dyn Future<Output = bool> + Send>>; 2] = [Box::pin(beside), Box::pin(group)];
        (gather(both).await, current_task().unwrap().cancelling())
    });
    assert_eq!(task.await.unwrap(), (vec![true, true], 0));
}

#[eddies::test(virtual_time)]
async fn a_deadline_around_a_group_cancels_it_and_waits() {
    let begin = eddies::now();
    let outcome = with_deadline(begin + ms(10), |_| {
        task_group(|group| async move {
            group.spawn(cleans_up(ms(5), Ok::<(), &str>(())));
            pending::<Result<(), _>>().await
        })
    })
    .await;
    assert!(outcome.is_err());
    assert_eq!(eddies::now() - begin, ms(15));
    assert!(all_tasks().is_empty());
}

#[eddies::test(virtual_time)]
async fn two_groups_in_one_task_both_unwind_before_it_ends() {
    let cleaned = Arc::new(AtomicUsize::new(0));
    let count = cleaned.clone();
    let parent = spawn(async move {
        gather([3, 30].map(|slow| {
            let count = count.clone();
            task_group(move |group| async move {
                group.spawn(async move {
                    cleans_up(ms(slow), ()).await;
                    count.fetch_add(1, Ordering::Relaxed);
                    Ok::<(), u32>(())
                });
                pending::<Result<(), _>>().await
            })
        }))
        .await
    });
    wait_all_blocked().await;
    let begin = eddies::now();
    parent.cancel("both");
    assert_eq!(parent.await.unwrap_err().to_string(), "the task was cancelled: both");
    assert_eq!((cleaned.load(Ordering::Relaxed), eddies::now() - begin), (2, ms(30)));
}

#[eddies::test(virtual_time)]
async fn a_request_that_is_taken_back_while_the_group_unwinds_is_nobodys_any_more() {
    let parent = spawn(async {
        let outcome: Result<(), GroupError> = task_group(|group| async move {
            group.spawn(cleans_up(ms(10), Ok::<(), _>(())));
            pending().await
        })
        .await;
        outcome.is_err_and(|error| error.is_cancelled())
    });
    wait_all_blocked().await;
    parent.cancel(None);
    advance(ms(5)).await;
    assert_eq!(parent.uncancel(), 0);
    assert!(parent.await.unwrap());
}

#[eddies::test(virtual_time)]
async fn so_it_is_if_it_is_taken_back_when_the_group_has_passed_it_on_already() {
    // At how many yields after its children's end the group passes it on is not said: each of them is tried.
    for yields in 0..6 {
        let empty: Arc<Mutex<Option<TaskGroup<&'static str>>>> = Arc::default();
        let handle = empty.clone();
        let parent = spawn(async move {
            let outcome: Result<(), GroupError> = task_group(|group| async move {
                *handle.lock().unwrap() = Some(group.clone());
                group.spawn(cleans_up(ms(10), Ok::<(), _>(())));
                pending().await
            })
            .await;
            outcome.is_err_and(|error| error.is_cancelled())
        });
        wait_all_blocked().await;
        parent.cancel(None);
        let of_parent = parent.handle();
        let canceller = spawn(async move {
            let group = empty.lock().unwrap().take().unwrap();
            advance(ms(9)).await;
            sleep(ms(1)).await;
            while !group.is_empty() {
                yield_now().await;
            }
            for _ in 0..yields {
                yield_now().await;
            }
            of_parent.uncancel();
        });
        // Taken back in time, or too late: but never such that the task hangs.
        let outcome = timeout(ms(1000), parent).await.expect("nobody ends it any more");
        assert!(outcome.is_ok_and(|was_cancelled| was_cancelled) || yields > 0);
        canceller.await.unwrap();
    }
}

#[eddies::test(virtual_time)]
async fn a_request_from_before_the_group_takes_effect_where_the_body_waits() {
    let task = spawn(async {
        current_task().unwrap().cancel("by itself");
        let outcome: Result<_, GroupError> = task_group(|_| async { Ok("it did not wait") }).await;
        let caught = catch_cancel(yield_now()).await;
        (outcome.unwrap(), caught.unwrap_err().reason().map(str::to_owned))
    });
    assert_eq!(task.await.unwrap(), ("it did not wait", Some("by itself".to_owned())));

    let reached = Flag::default();
    let mark = reached.clone();
    let task = spawn(async move {
        current_task().unwrap().cancel("by itself");
        let group = task_group(|_| async move {
            mark.set();
            pending::<Result<(), &str>>().await
        });
        group.await.is_ok()
    });
    assert!(task.await.unwrap_err().is_cancelled());
    assert!(reached.is_set());
}

#[eddies::test(virtual_time)]
async fn a_group_may_move_to_another_task_between_two_polls() {
    let mut group = Box::pin(task_group(|group| async move {
        group.spawn(fails_after(ms(10), "fails"));
        let _ = catch_cancel(pending::<()>()).await;
        Ok::<(), _>(())
    }));
    let first = spawn(async move {
        poll_fn(|cx| {
            assert!(group.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        Some(group)
    });
    let group = first.await.unwrap().unwrap();
    let second = spawn(group);
    assert!(second.await.unwrap().unwrap_err().errors().eq(&["fails"]));
}

#[eddies::test(virtual_time)]
async fn a_body_that_refuses_is_waited_for() {
    let group = task_group(|group| async move {
        let child = group.spawn(fails_after(ms(1), "fails"));
        let _refused = catch_cancel(pending::<()>()).await;
        sleep(ms(100)).await;
        assert_eq!(child.state(), TaskState::Done);
        Ok::<(), _>(())
    });
    let begin = eddies::now();
    assert!(group.await.is_err());
    assert_eq!(eddies::now() - begin, ms(101));
}

#[eddies::test(virtual_time)]
async fn a_scope_in_the_body_that_is_never_polled_again_does_not_keep_the_group() {
    let group = task_group(|group| async move {
        group.spawn(fails_after(ms(10), "fails"));
        let mut left_behind = pin!(catch_cancel(pending::<()>()));
        assert!(timeout(ms(1), left_behind.as_mut()).await.is_err());
        sleep(ms(1000)).await;
        let _ = left_behind.await;
        Ok::<(), _>(())
    });
    let begin = eddies::now();
    assert!(group.await.unwrap_err().errors().eq(&["fails"]));
    assert_eq!(eddies::now() - begin, ms(10));
}

#[test]
#[should_panic(expected = "polled again after it was ready")]
fn a_group_polled_too_often_says_so() {
    eddies::run(async {
        let mut group = pin!(task_group(|_| async { Ok::<_, ()>(()) }));
        group.as_mut().await.unwrap();
        let _ = group.as_mut().await;
    });
}

/// A child that spawns others into the group, and then fails or waits to be cancelled.
async fn grows(group: TaskGroup<u64>, alive: Alive, number: u64, fails: bool) -> Result<(), u64> {
    let _one = alive.one();
    for _ in 0..number % 5 {
        let one = alive.one();
        group.spawn_ok(async move {
            let _one = one;
            pending::<()>().await
        });
        yield_now().await;
    }
    if fails { Err(number) } else { catch_cancel(pending::<()>()).await.map_err(|_| 99) }
}

#[test]
fn failures_spawns_and_cancellations_from_many_threads() {
    let runtime = Runtime::builder().workers(4).build().unwrap();
    for round in 0..100_u64 {
        let alive = Alive::default();
        let counted = alive.clone();
        let parent = runtime.spawn(async move {
            let outcome: Result<(), TaskGroupError<u64>> = task_group(|group| async move {
                for number in 0..20 {
                    let (of_child, alive) = (group.clone(), counted.clone());
                    group.spawn(grows(of_child, alive, number, number == round % 20));
                }
                pending().await
            })
            .await;
            outcome.unwrap_err().failures().len()
        });
        let handle = parent.handle();
        if round % 3 == 0 {
            std::thread::spawn(move || handle.cancel("from a thread"));
        }
        match runtime.block_on(parent) {
            Ok(failures) => assert!((1..=20).contains(&failures)),
            Err(error) => assert!(error.is_cancelled()),
        }
        assert_eq!(alive.count(), 0, "somebody outlived the group");
    }
}
