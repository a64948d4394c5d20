//! Models of a context that several threads use: a map behind one lock, shared with its copies until somebody writes.
//!
//! A value looks into the current context when it is dropped, so that a drop under the lock would be a deadlock.

use std::sync::atomic::{AtomicUsize as Count, Ordering as Order};

use super::{Context, ContextVar};
use crate::loom::{StartLine, check};

/// A value that counts its drops.
#[derive(Clone)]
struct Looks(std::sync::Arc<(u32, std::sync::Arc<Count>)>);

impl Looks {
    fn new(number: u32, drops: &std::sync::Arc<Count>) -> Looks {
        Looks(std::sync::Arc::new((number, drops.clone())))
    }
}

impl Drop for Looks {
    fn drop(&mut self) {
        if std::sync::Arc::strong_count(&self.0) == 1 {
            let _ = Context::current().len();
            self.0.1.fetch_add(1, Order::Relaxed);
        }
    }
}

static FIRST: ContextVar<Looks> = ContextVar::new("first");
static SECOND: ContextVar<Looks> = ContextVar::new("second");

fn number_in(context: &Context, variable: &'static ContextVar<Looks>) -> Option<u32> {
    context.get(variable).map(|value| value.0.0)
}

/// Two threads: one writes to a context that the other copies, and the other writes to its copy. The copy is of before the write or of after it,
/// neither sees the other's later write, and what was overwritten is dropped once, outside of the lock. Bound 4.
#[test]
fn a_copy_and_its_original_are_apart() {
    check("context_copy", 4, 90, || {
        let line = StartLine::new();
        let drops = std::sync::Arc::new(Count::new(0));
        let context = Context::new();
        context.run(|| drop(FIRST.set(Looks::new(1, &drops))));
        let (copied, theirs) = (context.clone(), drops.clone());
        let copier = line.spawn(move || {
            let copy = copied.copy();
            let before = number_in(&copy, &FIRST);
            copy.run(|| drop(FIRST.set(Looks::new(3, &theirs))));
            (before, number_in(&copy, &FIRST))
        });
        line.pass();
        context.run(|| drop(FIRST.set(Looks::new(2, &drops))));
        let (before, after) = copier.join().unwrap();
        assert!(before == Some(1) || before == Some(2), "{before:?}");
        assert_eq!((after, number_in(&context, &FIRST)), (Some(3), Some(2)));
        context.run(|| assert_eq!(drops.load(Order::Relaxed), 2, "the first, and the copy with its own"));
        drop(context);
        assert_eq!(drops.load(Order::Relaxed), 3);
    });
}

/// Three threads: two write different variables of one context, one of which takes its write back, the third copies it. No write is lost, and the
/// copy is of some moment. Bound 3.
#[test]
fn two_writers_of_one_context_lose_nothing() {
    check("context_two_writers", 3, 900, || {
        let line = StartLine::new();
        let drops = std::sync::Arc::new(Count::new(0));
        let context = Context::new();
        let writers = [(&FIRST, 1, false), (&SECOND, 2, true)].map(|(variable, number, is_reset)| {
            let (context, drops) = (context.clone(), drops.clone());
            line.spawn(move || {
                context.run(|| {
                    let token = variable.set(Looks::new(number, &drops));
                    assert!(!is_reset || variable.reset(token).is_ok());
                });
            })
        });
        line.pass();
        let copy = context.copy();
        let seen = (number_in(&copy, &FIRST), number_in(&copy, &SECOND));
        for writer in writers {
            writer.join().unwrap();
        }
        assert!(matches!(seen, (None | Some(1), None | Some(2))), "{seen:?}");
        assert_eq!((number_in(&context, &FIRST), number_in(&context, &SECOND)), (Some(1), None));
        assert_eq!(seen, (number_in(&copy, &FIRST), number_in(&copy, &SECOND)), "a copy stays as it was");
        drop((context, copy));
        assert_eq!(drops.load(Order::Relaxed), 2);
    });
}
