//! Both deques on real threads, with a history of what was called and answered when, and the question whether one deque that does one thing
//! after the other could have answered so: linearizability, after Wing and Gong.
//!
//! Each operation takes the time before it and after it from one counter. The counter orders more than the deque does: it makes "empty"
//! after a push that had ended a wrong answer, which without it would only be late.
//!
//! A deque's state is two numbers (how many were pushed, how many taken), and the operations of one thread follow one another, so a state of
//! the search is how far each thread has got; none is looked at twice. In a good history the search hardly ever turns back.

use std::collections::HashSet;

use super::chase_lev::ChaseLev;
use super::crossbeam::CrossbeamDeque;
use super::word::Token;
use super::{Deque, DequeStealer, Stolen};
use crate::loom::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::loom::thread;

/// Miri interprets a thousand times slower.
const PUSHES: usize = if cfg!(miri) { 60 } else { 3_000 };
const RUNS: usize = if cfg!(miri) { 1 } else { 10 };
const THIEVES: usize = 2;

/// What was called, and how it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Operation {
    /// The next number was added at the back.
    Push,
    /// These were taken, in this order.
    Take(Vec<usize>),
    /// There was nothing.
    Empty,
}

/// An operation of one thread: the times before and after it.
#[derive(Debug, Clone)]
struct Event {
    called: usize,
    answered: usize,
    operation: Operation,
}

/// How far a search has got: how many operations of each thread have happened, and what they left in the queue.
#[derive(Clone)]
struct Reached {
    done: Vec<usize>,
    pushed: usize,
    taken: usize,
}

impl Reached {
    /// One operation of `thread` more, if a queue in this state could have answered so.
    fn after(&self, thread: usize, operation: &Operation) -> Option<Reached> {
        let mut next = self.clone();
        next.done[thread] += 1;
        match operation {
            Operation::Push => next.pushed += 1,
            Operation::Take(items) => {
                next.taken += items.len();
                let is_front = items.iter().copied().eq(self.taken..next.taken);
                return (is_front && next.taken <= self.pushed).then_some(next);
            }
            Operation::Empty => return (self.taken == self.pushed).then_some(next),
        }
        Some(next)
    }
}

/// Whether what the threads did could have been done one after the other, by a queue that is empty at first.
fn is_linearizable(threads: &[Vec<Event>]) -> bool {
    let mut seen = HashSet::new();
    let mut open = vec![Reached { done: vec![0; threads.len()], pushed: 0, taken: 0 }];
    while let Some(reached) = open.pop() {
        let next = |thread: usize| threads[thread].get(reached.done[thread]);
        // What was answered before something else was called came before it.
        let Some(first_answer) = (0..threads.len()).filter_map(|thread| Some(next(thread)?.answered)).min() else {
            return true;
        };
        if !seen.insert(reached.done.clone()) {
            continue;
        }
        for thread in 0..threads.len() {
            let event = next(thread).filter(|event| event.called <= first_answer);
            open.extend(event.and_then(|event| reached.after(thread, &event.operation)));
        }
    }
    false
}

/// Writes down what one thread does.
struct Scribe<'a> {
    clock: &'a AtomicUsize,
    events: Vec<Event>,
}

impl Scribe<'_> {
    fn now(&self) -> usize {
        // Ordering: AcqRel, pairs with itself on other threads: what was answered earlier happened before.
        self.clock.fetch_add(1, Ordering::AcqRel)
    }

    /// Does `call`, and writes it down unless it was nothing; gives what was taken.
    fn write(&mut self, call: impl FnOnce() -> Option<Operation>) {
        let called = self.now();
        let operation = call();
        let answered = self.now();
        self.events.extend(operation.map(|operation| Event { called, answered, operation }));
    }
}

fn thief<D: Deque<Token>>(victim: &D::Stealer, clock: &AtomicUsize, done: &AtomicBool) -> Vec<Event> {
    let own = D::new();
    let mut scribe = Scribe { clock, events: Vec::new() };
    let mut limit = 0;
    // Ordering: Relaxed, only ends the loop; the join publishes the rest.
    while !done.load(Ordering::Relaxed) {
        limit = limit % 4 + 1;
        scribe.write(|| match victim.steal_into(&own, limit) {
            Stolen::Taken(first) => Some(Operation::Take(
                std::iter::once(first).chain(std::iter::from_fn(|| own.pop())).map(|token| token.0).collect(),
            )),
            Stolen::Empty => Some(Operation::Empty),
            // Another was faster, which is no answer.
            Stolen::Retry => None,
        });
        // One empty answer after the other tells nothing new.
        if let [.., Event { operation: Operation::Empty, .. }, Event { operation: Operation::Empty, .. }] =
            scribe.events[..]
        {
            scribe.events.pop();
            thread::yield_now();
        }
    }
    scribe.events
}

/// 1 owner, 2 thieves, a queue that is mostly almost empty.
fn histories_are_linearizable<D: Deque<Token>>() {
    for run in 0..RUNS {
        let (deque, clock, done) = (D::new(), AtomicUsize::new(0), AtomicBool::new(false));
        let stealers: Vec<_> = (0..THIEVES).map(|_| deque.stealer()).collect();
        let threads = thread::scope(|scope| {
            let thieves: Vec<_> =
                stealers.iter().map(|victim| scope.spawn(|| thief::<D>(victim, &clock, &done))).collect();
            let mut scribe = Scribe { clock: &clock, events: Vec::new() };
            for number in 0..PUSHES {
                scribe.write(|| {
                    deque.push(Token(number));
                    Some(Operation::Push)
                });
                // Bursts of five, so that batches are stolen and rings grow, and pops that meet the thieves at the last item.
                for _ in 0..(number + run) % 5 / 2 {
                    scribe.write(|| Some(deque.pop().map_or(Operation::Empty, |token| Operation::Take(vec![token.0]))));
                }
                if number % 64 == 0 {
                    thread::yield_now();
                }
            }
            // Ordering: Relaxed, see `thief`.
            done.store(true, Ordering::Relaxed);
            let mut threads = vec![scribe.events];
            threads.extend(thieves.into_iter().map(|thief| thief.join().unwrap()));
            threads
        });
        let operations: usize = threads.iter().map(Vec::len).sum();
        assert!(is_linearizable(&threads), "no order of these {operations} operations explains what they answered");
    }
}

#[test]
fn crossbeam_histories_are_linearizable() {
    histories_are_linearizable::<CrossbeamDeque<Token>>();
}

#[test]
fn chase_lev_histories_are_linearizable() {
    histories_are_linearizable::<ChaseLev<Token>>();
}

/// The check itself: what a broken deque would do is refused, and what only looks odd is not.
#[test]
fn impossible_histories_are_refused() {
    use Operation::{Empty, Push, Take};
    let event = |called, answered, operation| Event { called, answered, operation };
    let owner = || vec![event(0, 1, Push), event(2, 3, Push)];
    let with = |thief: Vec<Event>| is_linearizable(&[owner(), thief]);
    assert!(with(vec![event(4, 5, Take(vec![0, 1])), event(6, 7, Empty)]));
    assert!(!with(vec![event(4, 5, Take(vec![1]))]), "not in the order of the pushes");
    assert!(!with(vec![event(4, 5, Take(vec![0])), event(6, 7, Take(vec![0]))]), "taken twice");
    assert!(!is_linearizable(&[owner(), vec![event(4, 6, Take(vec![0]))], vec![event(5, 7, Take(vec![0]))]]), "by two");
    assert!(!with(vec![event(4, 5, Empty)]), "lost");
    assert!(with(vec![event(0, 5, Empty)]), "it may have looked before the first push");
    assert!(!with(vec![event(0, 1, Take(vec![0, 1]))]), "before the second push began");
}
