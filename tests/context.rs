//! Context variables: who sees what.

use eddies::{Context, ContextVar, TaskBuilder, spawn, spawn_blocking, spawn_local, yield_now};

static NAME: ContextVar<&'static str> = ContextVar::new("name");
static DEPTH: ContextVar<u32> = ContextVar::new("depth");

#[test]
fn trap_051_a_task_has_a_copy_of_its_own_and_an_explicit_context_is_shared() {
    eddies::run(async {
        NAME.set("parent");
        let siblings = ["left", "right"].map(|name| {
            spawn(async move {
                assert_eq!(NAME.get(), Some("parent"));
                NAME.set(name);
                for _ in 0..3 {
                    yield_now().await;
                    assert_eq!(NAME.get(), Some(name), "isolated from its sibling");
                }
            })
        });
        for task in siblings {
            task.await.unwrap();
        }
        assert_eq!(NAME.get(), Some("parent"), "what a child sets stays with it");

        let shared = Context::current().copy();
        for depth in 1..=2 {
            let task = TaskBuilder::new().context(shared.clone()).spawn(async move {
                let before = DEPTH.get();
                DEPTH.set(depth);
                (NAME.get(), before)
            });
            assert_eq!(task.await.unwrap(), (Some("parent"), (depth > 1).then_some(depth - 1)));
        }
        assert_eq!((shared.get(&DEPTH), DEPTH.get()), (Some(2), None));
    });
}

#[test]
fn a_copy_is_taken_at_the_spawn_and_not_at_the_first_poll() {
    eddies::Runtime::builder().workers(1).build().unwrap().block_on(async {
        NAME.set("early");
        let task = spawn(async { NAME.get() });
        NAME.set("late");
        assert_eq!(task.await.unwrap(), Some("early"));
    });
}

#[test]
fn trap_129_the_context_follows_a_task_over_threads_and_into_the_pool() {
    let runtime = eddies::Runtime::builder().workers(2).build().unwrap();
    runtime.block_on(async {
        let tasks = (0..50).map(|number| {
            spawn(async move {
                DEPTH.set(number);
                for _ in 0..20 {
                    yield_now().await;
                    assert_eq!(DEPTH.get(), Some(number));
                }
                spawn_blocking(|| DEPTH.get()).await.unwrap()
            })
        });
        for (number, depth) in (0..50).zip(eddies::gather(tasks).await) {
            assert_eq!(depth.unwrap(), Some(number));
        }
        DEPTH.set(99);
        assert_eq!(spawn_local(async { DEPTH.get() }).await.unwrap(), Some(99));
    });
}

#[test]
fn a_context_is_entered_and_left_and_a_token_brings_back_what_was() {
    let outer = Context::new();
    outer.run(|| {
        let token = NAME.set("outer");
        let inner = Context::current().copy();
        inner.run(|| {
            NAME.set("inner");
            assert_eq!(NAME.get(), Some("inner"));
        });
        assert_eq!(NAME.get(), Some("outer"));
        let token = inner.run(|| NAME.reset(token)).unwrap_err().into_token();
        assert_eq!(NAME.get(), Some("outer"), "a token of another context is refused");
        NAME.reset(token).unwrap();
        assert_eq!(NAME.get(), None);
    });
    assert_eq!(outer.len(), 0);
    let panicked = std::panic::catch_unwind(|| outer.run(|| panic!("in the context")));
    assert!(panicked.is_err());
    assert_eq!(NAME.get(), None, "left also by a panic");
}

#[test]
fn a_value_whose_destructor_uses_the_context_finds_it_unlocked() {
    struct Nosy;
    impl Drop for Nosy {
        fn drop(&mut self) {
            let _ = DEPTH.get();
            DEPTH.set(1);
        }
    }
    static NOSY: ContextVar<std::sync::Arc<Nosy>> = ContextVar::new("nosy");
    eddies::run(async {
        NOSY.set(std::sync::Arc::new(Nosy));
        NOSY.set(std::sync::Arc::new(Nosy));
        assert_eq!(DEPTH.get(), Some(1));
    });
}

#[test]
fn the_main_future_uses_the_context_of_its_thread() {
    std::thread::spawn(|| {
        NAME.set("thread");
        eddies::run(async {
            assert_eq!(NAME.get(), Some("thread"));
            assert_eq!(spawn(async { NAME.get() }).await.unwrap(), Some("thread"));
        });
    })
    .join()
    .unwrap();
    assert_eq!(std::thread::spawn(|| NAME.get()).join().unwrap(), None);
}
