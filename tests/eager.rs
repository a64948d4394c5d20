//! Eager tasks: the first poll is part of the spawn.

use std::future::pending;

use eddies::{ContextVar, TaskBuilder, all_tasks, current_task, spawn, yield_now};

static PLACE: ContextVar<&str> = ContextVar::new("place");

fn eager() -> TaskBuilder {
    TaskBuilder::new().eager(true)
}

#[eddies::test]
async fn trap_052_an_eager_task_begins_inside_of_its_spawn() {
    let outer = TaskBuilder::new().name("outer").spawn(async {
        PLACE.set("outer");
        let done = eager().name("done").spawn(async {
            assert_eq!(current_task().unwrap().name(), Some("done"));
            let inherited = PLACE.get();
            PLACE.set("inner");
            inherited
        });
        assert!(done.is_finished(), "it ran to its end in the spawn");
        assert_eq!(current_task().unwrap().name(), Some("outer"), "the caller is the current task again");
        assert_eq!(PLACE.get(), Some("outer"), "the context was a copy");
        assert!(!all_tasks().contains(&done.handle()));
        assert!(!done.cancel("too late"));
        done.await.unwrap()
    });
    assert_eq!(outer.await.unwrap(), Some("outer"));
}

#[eddies::test]
async fn an_eager_task_that_waits_goes_on_as_any_other() {
    let task = eager().spawn(async {
        yield_now().await;
        7
    });
    assert!(!task.is_finished());
    assert_eq!(task.await.unwrap(), 7);
    let waiting = eager().spawn(pending::<()>());
    waiting.cancel(None);
    assert!(waiting.await.unwrap_err().is_cancelled());
    let local = eager().spawn_local(async { std::rc::Rc::new(8) });
    assert!(local.is_finished());
    assert_eq!(*local.await.unwrap(), 8);
}

#[eddies::test]
async fn a_panic_stays_in_the_eager_task() {
    let task = eager().spawn(async { panic!("eager") });
    assert!(task.is_finished());
    assert!(task.await.unwrap_err().is_panic());
}

#[eddies::test]
async fn eager_tasks_that_begin_each_other_do_not_use_up_the_stack() {
    fn begin(left: u32) -> eddies::Task<u32> {
        eager().spawn(async move { if left == 0 { 0 } else { begin(left - 1).await.unwrap() + 1 } })
    }
    assert_eq!(begin(10_000).await.unwrap(), 10_000);
}

#[test]
fn off_the_loops_an_eager_task_is_a_task() {
    let runtime = eddies::Runtime::builder().workers(1).build().unwrap();
    let handle = runtime.handle();
    let _inside = handle.enter();
    let task = eager().spawn(async { 9 });
    assert!(!task.is_finished(), "nobody runs the loop");
    assert_eq!(runtime.block_on(task).unwrap(), 9);
    drop(spawn(async {}));
}
