//! Context variables.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use eddies::{Context, ContextVar, EventLoop, TaskBuilder, spawn};

use super::{ends, panic_of, says};

static USER: ContextVar<String> = ContextVar::new("user");
static OTHER: ContextVar<String> = ContextVar::new("user");

#[test]
fn read_a_variable_that_was_never_set() {
    ends(|| {
        assert_eq!(USER.get(), None);
        assert_eq!(Context::new().get(&USER), None);
        assert_eq!(eddies::run(async { spawn(async { USER.get() }).await }).unwrap(), None);
    });
}

#[test]
fn gave_two_variables_one_name() {
    ends(|| {
        drop(USER.set("ada".to_owned()));
        assert_eq!((USER.get().as_deref(), OTHER.get()), (Some("ada"), None));
    });
}

#[test]
fn reset_with_a_token_of_another_context_or_variable() {
    ends(|| {
        let of_thread = USER.set("thread".to_owned());
        let of_thread = Context::new().run(|| USER.reset(of_thread)).unwrap_err();
        says(&of_thread, &["was made in another context", "`user`"]);
        let of_other = OTHER.set("other".to_owned());
        says(USER.reset(of_other).unwrap_err(), &["another variable"]);
        USER.reset(of_thread.into_token()).unwrap();
        assert_eq!(USER.get(), None);
        // A token that travels into a task is of another context there, and comes back.
        let token = USER.set("thread".to_owned());
        let token = eddies::run(async { spawn(async { USER.reset(token).unwrap_err() }).await }).unwrap();
        USER.reset(token.into_token()).unwrap();
    });
}

#[test]
fn expected_a_childs_value_in_the_parent() {
    ends(|| {
        eddies::run(async {
            drop(USER.set("parent".to_owned()));
            spawn(async { drop(USER.set("child".to_owned())) }).await.unwrap();
            assert_eq!(USER.get().as_deref(), Some("parent"));
        });
    });
}

#[test]
fn entered_one_context_twice_and_from_many_tasks() {
    ends(|| {
        // asyncio refuses to enter a context twice. Here a context is a map behind a lock, and may be.
        let context = Context::new();
        context.run(|| context.run(|| drop(USER.set("twice".to_owned()))));
        let count = Arc::new(AtomicUsize::new(0));
        eddies::run(async {
            let tasks = (0..100).map(|n| {
                let count = count.clone();
                TaskBuilder::new().context(context.clone()).spawn(async move {
                    assert!(USER.get().is_some());
                    drop(USER.set(n.to_string()));
                    count.fetch_add(1, SeqCst);
                })
            });
            eddies::gather(tasks).await.into_iter().for_each(Result::unwrap);
        });
        assert_eq!(count.load(SeqCst), 100);
    });
}

#[test]
fn set_a_variable_while_it_is_read_and_panicked_in_a_context() {
    ends(|| {
        drop(USER.set("one".to_owned()));
        let length = USER.with(|user| {
            drop(USER.set("other".to_owned()));
            user.len()
        });
        assert_eq!((length, USER.get().as_deref()), (Some(3), Some("other")));
        let context = Context::new();
        panic_of(|| {
            context.run(|| {
                if USER.get().is_none() {
                    panic!("inside")
                }
            })
        });
        assert_eq!(USER.get().as_deref(), Some("other"), "the context was left");
    });
}

#[test]
fn kept_a_context_beyond_its_task_and_loop() {
    ends(|| {
        let event_loop = EventLoop::new().unwrap();
        let context = event_loop.run_until_complete(async {
            drop(USER.set("main".to_owned()));
            spawn(async { Context::current() }).await.unwrap()
        });
        drop(event_loop);
        assert_eq!(context.unwrap().get(&USER).as_deref(), Some("main"));
    });
}
