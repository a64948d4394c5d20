//! Models of a parent and its children: F1 and F4 of `future/children.rs`. A lost wake shows as a deadlock: the parent blocks for ever.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Wake, Waker};

use loom::future::block_on;

use super::{as_completed, gather};
use crate::loom::{Arc, Mutex, StartLine, check};

/// Something that children wait for.
struct Gate(Mutex<Passage>);

struct Passage {
    /// How often it was opened.
    opened: usize,
    waiter: Option<Waker>,
}

impl Gate {
    fn new() -> Arc<Gate> {
        Arc::new(Gate(Mutex::new(Passage { opened: 0, waiter: None })))
    }

    /// Opens it, and wakes who waits.
    fn open(&self) {
        let waiter = {
            let mut passage = self.0.lock();
            passage.opened += 1;
            passage.waiter.clone()
        };
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }
}

/// Ready when its gate was opened so many times.
struct Passing(Arc<Gate>, usize);

impl Future for Passing {
    type Output = usize;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
        let mut passage = self.0.0.lock();
        if passage.opened >= self.1 {
            return Poll::Ready(passage.opened);
        }
        let old = passage.waiter.replace(cx.waker().clone());
        drop(passage);
        drop(old);
        Poll::Pending
    }
}

/// F1. 2 threads that wake a child each × 1 parent: whatever the parent does at the time, it sees both. Preemptions 3.
#[test]
fn two_children_woken_from_two_threads_are_both_polled() {
    check("gather::two_wakers", 3, 1_000, || {
        let gates = [Gate::new(), Gate::new()];
        let line = StartLine::new();
        let threads = gates.each_ref().map(|gate| {
            let gate = gate.clone();
            line.spawn(move || gate.open())
        });
        line.pass();
        assert_eq!(block_on(gather(gates.map(|gate| Passing(gate, 1)))), [1, 1]);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// F1. 1 thread that wakes a child twice × 1 parent: the second wake counts also when the first has not led to a poll yet, or
/// is leading to one now. Preemptions 4.
#[test]
fn a_child_woken_twice_is_polled_after_the_second() {
    check("gather::two_wakes", 4, 50, || {
        let gate = Gate::new();
        let line = StartLine::new();
        let thread = {
            let gate = gate.clone();
            line.spawn(move || {
                gate.open();
                gate.open();
            })
        };
        line.pass();
        assert_eq!(block_on(gather([Passing(gate, 2)])), [2]);
        thread.join().unwrap();
    });
}

/// F1. 2 threads that wake a child each × 1 parent that takes one output at a time: what was woken while the other's output was on its way
/// is not forgotten. Preemptions 3.
#[test]
fn the_second_of_two_outputs_comes_too() {
    check("gather::as_completed", 3, 1_000, || {
        let gates = [Gate::new(), Gate::new()];
        let line = StartLine::new();
        let threads = gates.each_ref().map(|gate| {
            let gate = gate.clone();
            line.spawn(move || gate.open())
        });
        line.pass();
        block_on(async {
            let mut outputs = as_completed(gates.map(|gate| Passing(gate, 1)));
            assert_eq!(outputs.next().await, Some(1));
            assert_eq!(outputs.next().await, Some(1));
            assert_eq!(outputs.next().await, None);
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// F4. 1 thread that wakes a child × 1 parent that polls twice and gives up: the parent's waker is gone, though both children's wakers
/// live on. Preemptions 4.
#[test]
fn a_parent_that_gives_up_leaves_no_waker_behind() {
    check("gather::give_up", 4, 50, || {
        let gates = [Gate::new(), Gate::new()];
        let line = StartLine::new();
        let thread = {
            let gate = gates[0].clone();
            line.spawn(move || gate.open())
        };
        line.pass();
        let parent = Arc::new(Parent);
        let waker = Waker::from(std::sync::Arc::new(Alive(parent.clone())));
        {
            let mut cx = Context::from_waker(&waker);
            let mut both = pin!(gather(gates.each_ref().map(|gate| Passing(gate.clone(), 2))));
            assert!(both.as_mut().poll(&mut cx).is_pending());
            assert!(both.as_mut().poll(&mut cx).is_pending());
        }
        thread.join().unwrap();
        drop(waker);
        assert_eq!(Arc::strong_count(&parent), 1, "the parent's waker was left behind");
        drop(gates);
    });
}

/// What a waker of the parent keeps alive.
struct Parent;

struct Alive(#[allow(dead_code, reason = "held for its count")] Arc<Parent>);

impl Wake for Alive {
    fn wake(self: std::sync::Arc<Self>) {}
}
