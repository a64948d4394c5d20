//! A model of code that uses eddies, as docs/CORRECTNESS.md tells how to write one. The code is a value that is made by whoever asks first.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

// The code under test says `eddies`, in a model as in the program.
use eddies_loom as eddies;
use loom::future::block_on;
use loom::thread;

use eddies::sync::{Lock, OneshotReceiver, oneshot};

/// The code under test: makes a value once, whoever asks first.
struct MadeOnce {
    value: Lock<Option<u32>>,
}

impl MadeOnce {
    async fn get(&self, make: impl AsyncFnOnce() -> u32) -> u32 {
        let mut value = self.value.lock().await;
        match *value {
            Some(value) => value,
            None => *value.insert(make().await),
        }
    }
}

/// Explores `model` with at most three forced switches, and says how many executions there were.
fn explore(model: impl Fn() + Send + Sync + 'static) -> usize {
    let executions = Arc::new(AtomicUsize::new(0));
    let count = executions.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        count.fetch_add(1, Relaxed);
        model();
    });
    executions.load(Relaxed)
}

/// Three threads: two ask at once, the third answers the one that makes the value. It is made once, and both have it. Bound 3.
#[test]
fn whoever_asks_first_makes_it_and_both_have_it() {
    let executions = explore(|| {
        let made = Arc::new(AtomicUsize::new(0));
        let cell = Arc::new(MadeOnce { value: Lock::new(None) });
        let (sender, receiver) = oneshot();
        let source = Arc::new(Lock::new(Some(receiver)));
        let ask = {
            let (made, cell, source) = (made.clone(), cell.clone(), source.clone());
            move || {
                block_on(cell.get(async || {
                    made.fetch_add(1, Relaxed);
                    let receiver: Option<OneshotReceiver<u32>> = source.lock().await.take();
                    receiver.expect("it is made once").await.expect("the third thread answers")
                }))
            }
        };
        let other = thread::spawn(ask.clone());
        let answers = thread::spawn(move || sender.send(42).unwrap());
        assert_eq!(ask(), 42);
        assert_eq!(other.join().unwrap(), 42);
        answers.join().unwrap();
        assert_eq!(made.load(Relaxed), 1);
    });
    assert!(executions > 500, "{executions} executions");
}

/// The same with the mistake that a model is for: it looks, lets go of the lock to make the value, and puts it in later.
#[test]
#[should_panic(expected = "made twice")]
fn the_mistake_is_found() {
    explore(|| {
        let made = Arc::new(AtomicUsize::new(0));
        let value = Arc::new(Lock::new(None));
        let look_and_make = async |made: &AtomicUsize, value: &Lock<Option<u32>>| {
            if value.lock().await.is_none() {
                made.fetch_add(1, Relaxed);
                *value.lock().await = Some(42);
            }
        };
        let ask = {
            let (made, value) = (made.clone(), value.clone());
            move || block_on(look_and_make(&made, &value))
        };
        let other = thread::spawn(ask.clone());
        ask();
        other.join().unwrap();
        assert_eq!(made.load(Relaxed), 1, "made twice");
    });
}
