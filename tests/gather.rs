//! `gather`, `try_gather` and `as_completed`: what they give, in which order, whom they poll, and what becomes of the rest.

use std::collections::BTreeSet;
use std::future::{Future, pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use eddies::{as_completed, gather, sleep, spawn, timeout, try_gather};
use futures_core::{FusedStream, Stream};

/// A waker that counts.
#[derive(Default)]
struct Count(AtomicUsize);

impl Count {
    fn new() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (count.clone(), count.into())
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Something to wait for, by any number of futures.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<(bool, Vec<Waker>)>>);

impl Gate {
    fn open(&self) {
        let waiters = {
            let mut gate = self.0.lock().unwrap();
            gate.0 = true;
            std::mem::take(&mut gate.1)
        };
        waiters.into_iter().for_each(Waker::wake);
    }

    /// Wakes who waits, for nothing.
    fn shake(&self) {
        let waiters = self.0.lock().unwrap().1.clone();
        waiters.into_iter().for_each(Waker::wake);
    }

    /// Ready when it is open.
    fn passed(&self) -> Passed {
        Passed { gate: self.clone(), polls: Arc::default() }
    }
}

struct Passed {
    gate: Gate,
    polls: Arc<AtomicUsize>,
}

impl Future for Passed {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.polls.fetch_add(1, Ordering::SeqCst);
        let mut gate = self.gate.0.lock().unwrap();
        if gate.0 {
            return Poll::Ready(());
        }
        gate.1.push(cx.waker().clone());
        Poll::Pending
    }
}

/// Counts itself when it is dropped.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll_with<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

#[test]
fn outputs_come_in_the_order_of_the_arguments() {
    let gates: Vec<Gate> = (0..3).map(|_| Gate::default()).collect();
    let children = gates.iter().enumerate().map(|(n, gate)| {
        let passed = gate.passed();
        async move {
            passed.await;
            n
        }
    });
    let mut all = pin!(gather(children));
    for gate in gates.iter().rev() {
        assert!(poll_with(all.as_mut(), Waker::noop()).is_pending());
        gate.open();
    }
    assert_eq!(poll_with(all.as_mut(), Waker::noop()), Poll::Ready(vec![0, 1, 2]));
}

#[test]
fn nothing_to_gather_is_gathered_at_once() {
    let nothing: [std::future::Ready<u8>; 0] = [];
    assert_eq!(poll_with(pin!(gather(nothing)), Waker::noop()), Poll::Ready(vec![]));
    let nothing: [std::future::Ready<Result<u8, ()>>; 0] = [];
    assert_eq!(poll_with(pin!(try_gather(nothing)), Waker::noop()), Poll::Ready(Ok(vec![])));
}

#[test]
fn only_children_that_were_woken_are_polled() {
    let gates: Vec<Gate> = (0..10_000).map(|_| Gate::default()).collect();
    let polls: Arc<AtomicUsize> = Arc::default();
    let mut all = pin!(gather(gates.iter().map(|gate| Passed { polls: polls.clone(), gate: gate.clone() })));
    let (wakes, waker) = Count::new();
    assert!(poll_with(all.as_mut(), &waker).is_pending());
    assert_eq!((polls.load(Ordering::SeqCst), wakes.get()), (10_000, 0));

    gates[5_000].shake();
    gates[5_000].shake();
    gates[7].open();
    assert_eq!(wakes.get(), 1, "one poll of the parent is enough for all");
    assert!(poll_with(all.as_mut(), &waker).is_pending());
    assert_eq!(polls.load(Ordering::SeqCst), 10_002, "a child that was woken twice is polled once");

    assert!(poll_with(all.as_mut(), &waker).is_pending());
    assert_eq!(polls.load(Ordering::SeqCst), 10_002, "nobody was woken");
}

#[test]
fn a_child_that_always_wakes_itself_does_not_keep_its_parent() {
    let polls = Arc::new(AtomicUsize::new(0));
    let mut all = {
        let polls = polls.clone();
        pin!(gather([std::future::poll_fn(move |cx| {
            polls.fetch_add(1, Ordering::SeqCst);
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        })]))
    };
    let (wakes, waker) = Count::new();
    for n in 1..4 {
        assert!(poll_with(all.as_mut(), &waker).is_pending());
        assert_eq!((polls.load(Ordering::SeqCst), wakes.get()), (n, n));
    }
}

#[test]
fn plain_futures_run_concurrently() {
    eddies::run(async {
        let (a, b) = (Gate::default(), Gate::default());
        // Each needs that the other has begun.
        let children = [(a.clone(), b.clone()), (b, a)].map(|(mine, theirs)| async move {
            mine.open();
            theirs.passed().await;
        });
        gather(children).await;
    });
}

#[test]
fn ten_thousand_tasks_are_gathered_in_order() {
    eddies::run(async {
        let tasks: Vec<_> = (0..10_000).map(|n| spawn(async move { n })).collect();
        let outputs = gather(tasks).await;
        assert!(outputs.into_iter().map(Result::unwrap).eq(0..10_000));
    });
}

#[test]
fn children_that_use_up_the_budget_are_each_polled_once() {
    eddies::run(async {
        let polls = Arc::new(AtomicUsize::new(0));
        let child = |polls: Arc<AtomicUsize>| {
            std::future::poll_fn(move |cx| {
                polls.fetch_add(1, Ordering::SeqCst);
                ready!(eddies::coop::poll_proceed(cx)).made_progress();
                Poll::Ready(())
            })
        };
        let mut all = gather((0..1_000).map(|_| child(polls.clone())));
        let mut rounds = 0;
        let rounds_of_all = spawn(async move {
            std::future::poll_fn(|cx| {
                rounds += 1;
                Pin::new(&mut all).poll(cx)
            })
            .await;
            rounds
        });
        assert!(rounds_of_all.await.unwrap() > 1, "a thousand operations are more than one poll's budget");
        assert_eq!(polls.load(Ordering::SeqCst), 1_000);
    });
}

#[test]
fn the_panic_of_a_plain_future_goes_through_and_drops_the_others() {
    let drops = Arc::new(AtomicUsize::new(0));
    let other = Dropped(drops.clone());
    let children: Vec<Pin<Box<dyn Future<Output = ()> + Send>>> = vec![
        Box::pin(async move {
            let _other = other;
            pending().await
        }),
        Box::pin(async { panic!("of a child") }),
    ];
    eddies::run(async {
        let error = spawn(async { gather(children).await }).await.unwrap_err();
        assert_eq!(error.to_string(), "the task panicked: of a child");
    });
    assert_eq!(drops.load(Ordering::SeqCst), 1);
}

#[test]
fn the_error_of_a_task_is_one_output_among_others() {
    eddies::run(async {
        let aborted = spawn(pending::<u8>());
        aborted.abort();
        let outputs =
            gather([spawn(async { 1 }), spawn(async { panic!("of a task") }), aborted, spawn(async { 4 })]).await;
        assert_eq!(*outputs[0].as_ref().unwrap(), 1);
        assert!(outputs[1].as_ref().unwrap_err().is_panic());
        assert!(outputs[2].as_ref().unwrap_err().is_cancelled());
        assert_eq!(*outputs[3].as_ref().unwrap(), 4);
    });
}

#[test]
fn a_gathering_of_gatherings_works() {
    eddies::run(async {
        let square = gather((0..10).map(|row| gather((0..10).map(move |column| spawn(async move { row * column })))));
        let sum: i32 = square.await.into_iter().flatten().map(Result::unwrap).sum();
        assert_eq!(sum, 45 * 45);
    });
}

#[test]
fn a_dropped_gathering_drops_futures_and_lets_tasks_run() {
    eddies::run(async {
        let drops = Arc::new(AtomicUsize::new(0));
        let held = Dropped(drops.clone());
        let future = async move {
            let _held = held;
            pending::<()>().await
        };
        assert!(timeout(Duration::from_millis(1), gather([future])).await.is_err());
        assert_eq!(drops.load(Ordering::SeqCst), 1);

        let (begin, end) = (Gate::default(), Gate::default());
        let task = {
            let (begin, end) = (begin.passed(), end.clone());
            spawn(async move {
                begin.await;
                end.open();
            })
        };
        drop(gather([task]));
        begin.open();
        end.passed().await;
    });
}

#[test]
fn tasks_gathered_by_reference_outlive_the_gathering() {
    eddies::run(async {
        let gate = Gate::default();
        let mut tasks = [0, 1].map(|n| {
            let passed = gate.passed();
            spawn(async move {
                passed.await;
                n
            })
        });
        assert!(timeout(Duration::from_millis(1), gather(&mut tasks)).await.is_err());
        gate.open();
        let outputs = gather(&mut tasks).await;
        assert!(outputs.into_iter().map(Result::unwrap).eq([0, 1]));
    });
}

#[test]
fn wakers_may_outlive_the_gathering() {
    let gate = Gate::default();
    let (wakes, waker) = Count::new();
    let mut all = Box::pin(gather([gate.passed(), gate.passed()]));
    assert!(poll_with(all.as_mut(), &waker).is_pending());
    drop(all);
    gate.open();
    assert_eq!(wakes.get(), 0);
    drop(waker);
    assert_eq!(Arc::strong_count(&wakes), 1, "nothing keeps the parent's waker");
}

#[test]
fn a_late_wake_of_a_finished_child_polls_nothing() {
    let (first, second) = (Gate::default(), Gate::default());
    let mut all = pin!(gather([first.passed(), second.passed()]));
    assert!(poll_with(all.as_mut(), Waker::noop()).is_pending());
    let late = first.0.lock().unwrap().1.clone();
    first.open();
    assert!(poll_with(all.as_mut(), Waker::noop()).is_pending());
    late.into_iter().for_each(Waker::wake);
    assert!(poll_with(all.as_mut(), Waker::noop()).is_pending());
    second.open();
    assert!(poll_with(all.as_mut(), Waker::noop()).is_ready());
}

#[test]
fn a_gathering_polled_too_often_says_so() {
    let mut all = pin!(gather([ready(1)]));
    assert!(poll_with(all.as_mut(), Waker::noop()).is_ready());
    assert!(catch_unwind(AssertUnwindSafe(|| poll_with(all.as_mut(), Waker::noop()))).is_err());
}

#[test]
fn values_come_in_the_order_of_the_arguments() {
    eddies::run(async {
        let tasks = (0..100).map(|n| spawn(async move { n }));
        assert!(try_gather(tasks).await.unwrap().into_iter().eq(0..100));
    });
}

#[test]
fn the_first_error_wins_and_the_other_futures_are_dropped() {
    let drops = Arc::new(AtomicUsize::new(0));
    let gates = [Gate::default(), Gate::default(), Gate::default()];
    let children = gates.each_ref().map(|gate| {
        let (passed, dropped) = (gate.passed(), Dropped(drops.clone()));
        async move {
            passed.await;
            drop(dropped);
            Err::<(), _>("closed")
        }
    });
    let numbered = children.into_iter().enumerate().map(|(n, child)| async move { child.await.map_err(|_| n) });
    let mut all = pin!(try_gather(numbered));
    assert!(poll_with(all.as_mut(), Waker::noop()).is_pending());
    gates[2].open();
    gates[0].open();
    assert_eq!(poll_with(all.as_mut(), Waker::noop()), Poll::Ready(Err(2)));
    assert_eq!(drops.load(Ordering::SeqCst), 3, "the others were dropped before the error was given");
}

#[test]
fn the_first_error_leaves_the_other_tasks_running() {
    eddies::run(async {
        let (begin, end) = (Gate::default(), Gate::default());
        let sibling = {
            let (begin, end) = (begin.passed(), end.clone());
            spawn(async move {
                begin.await;
                end.open();
            })
        };
        let error = try_gather([sibling, spawn(async { panic!("first") })]).await.unwrap_err();
        assert!(error.is_panic());
        begin.open();
        end.passed().await;
    });
}

#[test]
fn outputs_come_in_the_order_of_completion() {
    eddies::run(async {
        let gates: Vec<Gate> = (0..4).map(|_| Gate::default()).collect();
        let mut outputs = as_completed(gates.iter().enumerate().map(|(n, gate)| {
            let passed = gate.passed();
            async move {
                passed.await;
                n
            }
        }));
        for n in [2, 0, 3, 1] {
            assert!(timeout(Duration::ZERO, outputs.next()).await.is_err(), "nothing is complete yet");
            gates[n].open();
            assert_eq!(outputs.next().await, Some(n));
        }
        assert_eq!(outputs.next().await, None);
        assert_eq!(outputs.next().await, None);
    });
}

#[test]
fn a_stream_of_outputs_can_be_left_and_resumed() {
    eddies::run(async {
        let slow = [30, 1].map(|n| async move {
            sleep(Duration::from_millis(n)).await;
            n
        });
        let mut outputs = as_completed(slow);
        assert_eq!((outputs.size_hint(), outputs.is_terminated()), ((2, Some(2)), false));
        assert_eq!(outputs.next().await, Some(1));
        while timeout(Duration::from_millis(1), outputs.next()).await != Ok(Some(30)) {}
        assert_eq!((outputs.size_hint(), outputs.is_terminated()), ((0, Some(0)), true));
    });
}

#[test]
fn ten_thousand_tasks_are_given_one_by_one() {
    eddies::run(async {
        let mut outputs = as_completed((0..10_000).map(|n| spawn(async move { n })));
        let mut seen = BTreeSet::new();
        while let Some(output) = outputs.next().await {
            assert!(seen.insert(output.unwrap()), "given twice");
        }
        assert_eq!(seen.len(), 10_000);
    });
}
