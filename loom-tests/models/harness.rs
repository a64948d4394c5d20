//! Models of nothing but the harness: it must notice a model that checks nothing, and find a planted bug.

use crate::loom::atomic::{AtomicBool, Ordering, fence};
use crate::loom::{Arc, StartLine, check, thread};

/// 1 thread; a model without interleavings is refused.
#[test]
#[should_panic(expected = "ran 1 executions, fewer than the 2")]
fn a_model_with_one_execution_is_refused() {
    check("harness_vacuous", 2, 0, || {
        // Ordering: one thread, publishes nothing.
        AtomicBool::new(false).store(true, Ordering::Relaxed);
    });
}

/// 2 threads; a model that explores less than it promises is refused.
#[test]
#[should_panic(expected = "fewer than the 1000000")]
fn a_model_that_shrank_is_refused() {
    check("harness_shrunk", 2, 1_000_000, || store_buffering(true));
}

/// 2 threads; store-then-check without fences: some execution has both threads miss each other's store. Bound 2.
#[test]
#[should_panic(expected = "both threads missed")]
fn a_planted_store_buffering_bug_is_found() {
    check("harness_store_buffering", 2, 2, || store_buffering(false));
}

/// 2 threads; the same with fences on both sides never misses. Bound 3.
#[test]
fn fences_mend_the_planted_bug() {
    check("harness_store_buffering_fenced", 3, 5, || store_buffering(true));
}

fn store_buffering(fenced: bool) {
    let mine = Arc::new(AtomicBool::new(false));
    let theirs = Arc::new(AtomicBool::new(false));
    let (m, t) = (mine.clone(), theirs.clone());
    let other = thread::spawn(move || store_then_check(&t, &m, fenced));
    let here = store_then_check(&mine, &theirs, fenced);
    let there = other.join().unwrap();
    assert!(here || there, "both threads missed the other's store");
}

fn store_then_check(store: &AtomicBool, check: &AtomicBool, fenced: bool) -> bool {
    // Ordering: Relaxed, what orders it is the fence below, where there is one.
    store.store(true, Ordering::Relaxed);
    if fenced {
        // Ordering: SeqCst, pairs with the same fence in the other thread; whichever is second sees the other's store.
        fence(Ordering::SeqCst);
    }
    // Ordering: Relaxed, see above.
    check.load(Ordering::Relaxed)
}

/// 2 threads: one loads a flag, the other loads it and then sets it. Whether the first saw it set.
fn load_against_load_and_store(
    spawn: impl FnOnce(Box<dyn FnOnce()>) -> thread::JoinHandle<()>,
    pass: impl FnOnce(),
) -> bool {
    let flag = Arc::new(AtomicBool::new(false));
    let f = flag.clone();
    let setter = spawn(Box::new(move || {
        // Ordering: Relaxed, three times: one atomic, whose order is all that matters.
        if !f.load(Ordering::Relaxed) {
            // Ordering: Relaxed, see above.
            f.store(true, Ordering::Relaxed);
        }
    }));
    pass();
    // Ordering: Relaxed, see above.
    let seen = flag.load(Ordering::Relaxed);
    setter.join().unwrap();
    seen
}

/// 2 threads; loom alone never tries the order in which the store comes before the other thread's load. When this test fails, loom has
/// learnt it, and `StartLine` can go.
#[test]
#[should_panic(expected = "ran 1 executions")]
fn loom_alone_overlooks_a_store_behind_a_load() {
    check("harness_overlooked", 2, 2, || assert!(!load_against_load_and_store(thread::spawn, || ())));
}

/// 2 threads; with a start line that order is tried.
#[test]
#[should_panic(expected = "the store came first")]
fn a_start_line_brings_back_the_overlooked_order() {
    check("harness_start_line", 2, 2, || {
        let line = StartLine::new();
        let seen = load_against_load_and_store(|f| line.spawn(f), || line.pass());
        assert!(!seen, "the store came first");
    });
}
