//! Models of the run-next slot.

use super::RunNext;
use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::loom::{Arc, StartLine, check};
use crate::queue::word::Token;

/// Owner and 1 thief, two fills: each item goes to one of them or, when the slot was full, stays with the filler. Bound 5.
#[test]
fn each_item_goes_to_one_taker() {
    check("run_next_once", 5, 30, || {
        let line = StartLine::new();
        let slot = Arc::new(RunNext::new());
        let robbed = slot.clone();
        let thief = line.spawn(move || robbed.take());
        line.pass();
        let mut all: Vec<Token> = Vec::new();
        slot.fill(Token(0)).expect("a new slot is empty");
        all.extend(slot.fill(Token(1)).err());
        all.extend(slot.take());
        all.extend(thief.join().unwrap());
        all.extend(slot.take());
        all.sort_unstable();
        assert_eq!(all, [Token(0), Token(1)]);
    });
}

/// Owner and 2 thieves after one item that was there before: exactly one of the three has it, and the slot is empty. Bound 3.
#[test]
fn one_of_three_takers_wins() {
    check("run_next_three_takers", 3, 1_000, || {
        let line = StartLine::new();
        let slot = Arc::new(RunNext::new());
        slot.fill(Token(0)).expect("a new slot is empty");
        let thieves: Vec<_> = (0..2)
            .map(|_| {
                let robbed = slot.clone();
                line.spawn(move || robbed.take())
            })
            .collect();
        line.pass();
        let own = slot.take();
        assert!(slot.is_empty(), "after the owner's take nothing is left");
        let stolen = thieves.into_iter().filter_map(|thief| thief.join().unwrap());
        assert_eq!(own.into_iter().chain(stolen).collect::<Vec<_>>(), [Token(0)]);
    });
}

/// Owner and 1 thief: the thief reads what the owner wrote into the item before the fill. Bound 5.
#[test]
fn a_stolen_item_is_complete() {
    check("run_next_content", 5, 10, || {
        let line = StartLine::new();
        let slot: Arc<RunNext<Box<AtomicUsize>>> = Arc::new(RunNext::new());
        let robbed = slot.clone();
        let thief = line.spawn(move || {
            if let Some(item) = robbed.take() {
                // Ordering: Relaxed, the slot is what has to make the value visible.
                assert_eq!(item.load(Ordering::Relaxed), 7, "the item was stolen before it was written");
            }
        });
        line.pass();
        let item = Box::new(AtomicUsize::new(0));
        // Ordering: Relaxed, see above.
        item.store(7, Ordering::Relaxed);
        slot.fill(item).expect("a new slot is empty");
        thief.join().unwrap();
    });
}

/// Owner that drops the slot's last reference or leaves that to the thief: an item in it is released once. Bound 5.
#[test]
fn a_full_slot_drops_its_item() {
    check("run_next_drop", 5, 9, || {
        let line = StartLine::new();
        let probe = Arc::new(());
        let slot = Arc::new(RunNext::new());
        slot.fill(Box::new(probe.clone())).expect("a new slot is empty");
        let other = slot.clone();
        let thread = line.spawn(move || drop(other));
        line.pass();
        drop(slot);
        thread.join().unwrap();
        assert_eq!(Arc::strong_count(&probe), 1, "the item is still alive");
    });
}
