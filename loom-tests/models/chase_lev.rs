//! Models of the Chase-Lev deque. The first ring has two slots here, so that it wraps and grows early.
//!
//! Most use numbers as items: one that is taken twice is a failed assertion. Where what is behind the pointer matters, items are boxes.

use super::{CAPACITY_FIRST, ChaseLev, ChaseLevStealer};
use crate::loom::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use crate::loom::{Arc, StartLine, check};
use crate::queue::word::{Token, Word};
use crate::queue::{Deque, DequeStealer, Stolen};

fn deque_with(items: std::ops::Range<usize>) -> ChaseLev<Token> {
    let deque = ChaseLev::new();
    items.for_each(|number| deque.push(Token(number)));
    deque
}

/// What one attempt brings: nothing when it lost a race.
fn taken<W: Word>(stolen: Stolen<W>) -> Option<W> {
    match stolen {
        Stolen::Taken(item) => Some(item),
        Stolen::Empty | Stolen::Retry => None,
    }
}

fn steal_times(stealer: &ChaseLevStealer<Token>, times: usize) -> Vec<Token> {
    (0..times).filter_map(|_| taken(stealer.steal())).collect()
}

fn drain<W: Word>(deque: &ChaseLev<W>) -> Vec<W> {
    std::iter::from_fn(|| deque.pop()).collect()
}

/// Every number below `items` is in exactly one of `shares`, and each share is in order.
#[track_caller]
fn assert_shared_out(shares: &[Vec<Token>], items: usize) {
    for share in shares {
        assert!(share.is_sorted_by(|one, next| one < next), "out of order: {shares:?}");
    }
    let mut all: Vec<usize> = shares.iter().flatten().map(|token| token.0).collect();
    all.sort_unstable();
    assert_eq!(all, (0..items).collect::<Vec<_>>(), "lost or doubled: {shares:?}");
}

/// D1. Owner and 1 thief, 3 items, the ring grows: each item once, in order, on each side. Bound 3.
#[test]
fn push_and_steal_yield_each_item_once() {
    check("chase_lev_d1_push_steal_once", 3, 830, || {
        let line = StartLine::new();
        let deque = ChaseLev::new();
        let stealer = deque.stealer();
        let thief = line.spawn(move || steal_times(&stealer, 2));
        line.pass();
        deque.push(Token(0));
        deque.push(Token(1));
        let mut own: Vec<Token> = deque.pop().into_iter().collect();
        deque.push(Token(2));
        let stolen = thief.join().unwrap();
        own.extend(drain(&deque));
        assert_shared_out(&[own, stolen], 3);
    });
}

/// D1. Owner and 1 thief: what the owner wrote into an item before the push is what the thief reads. Bound 5.
#[test]
fn a_stolen_item_is_complete() {
    check("chase_lev_d1_content", 5, 13, || {
        let line = StartLine::new();
        let deque: ChaseLev<Box<AtomicUsize>> = ChaseLev::new();
        let stealer = deque.stealer();
        let thief = line.spawn(move || {
            if let Some(item) = taken(stealer.steal()) {
                // Ordering: Relaxed, the deque is what has to make the value visible.
                assert_eq!(item.load(Ordering::Relaxed), 7, "the item was stolen before it was written");
            }
        });
        line.pass();
        let item = Box::new(AtomicUsize::new(0));
        // Ordering: Relaxed, see above.
        item.store(7, Ordering::Relaxed);
        deque.push(item);
        thief.join().unwrap();
    });
}

/// D2. Owner and 2 thieves, 3 items: each item once. Bound 3.
#[test]
fn two_thieves_and_the_owner_yield_each_item_once() {
    check("chase_lev_d2_two_thieves", 3, 21_000, || {
        let line = StartLine::new();
        let deque = deque_with(0..2);
        let thieves: Vec<_> = (0..2)
            .map(|_| {
                let stealer = deque.stealer();
                line.spawn(move || steal_times(&stealer, 1))
            })
            .collect();
        line.pass();
        deque.push(Token(2));
        let mut own: Vec<Token> = deque.pop().into_iter().collect();
        let mut shares: Vec<_> = thieves.into_iter().map(|thief| thief.join().unwrap()).collect();
        own.extend(drain(&deque));
        shares.push(own);
        assert_shared_out(&shares, 3);
    });
}

/// D3. Owner and 1 thief, one item: exactly one gets it, and a thief is told to retry only when it lost. Bound 5.
#[test]
fn the_last_item_goes_to_one_of_two() {
    check("chase_lev_d3_last_item", 5, 18, || {
        let line = StartLine::new();
        let deque = deque_with(0..1);
        let stealer = deque.stealer();
        let thief = line.spawn(move || stealer.steal());
        line.pass();
        let own = deque.pop();
        let stolen = thief.join().unwrap();
        match own {
            Some(item) => assert!(item == Token(0) && matches!(stolen, Stolen::Empty | Stolen::Retry)),
            None => assert_eq!(stolen, Stolen::Taken(Token(0))),
        }
        assert!(deque.pop().is_none());
    });
}

/// D4. Owner and 1 thief; the owner wraps and then outgrows the ring while the thief steals: each item once, in order. Bound 3.
#[test]
fn a_ring_that_grows_during_a_steal_loses_nothing() {
    check("chase_lev_d4_grow", 3, 1_900, || {
        let line = StartLine::new();
        let deque = deque_with(0..CAPACITY_FIRST);
        let stealer = deque.stealer();
        let thief = line.spawn(move || steal_times(&stealer, 2));
        line.pass();
        let mut own: Vec<Token> = deque.pop().into_iter().collect();
        for number in CAPACITY_FIRST..CAPACITY_FIRST + 3 {
            deque.push(Token(number));
        }
        let stolen = thief.join().unwrap();
        own.extend(drain(&deque));
        assert_shared_out(&[own, stolen], CAPACITY_FIRST + 3);
    });
}

/// D11. Owner and 1 thief; the owner empties the deque, trims it and goes on while the thief steals: each item once, in order, and no ring is
/// freed under the thief's eyes. Bound 3.
#[test]
fn a_ring_that_is_trimmed_during_a_steal_is_not_read() {
    check("chase_lev_d11_trim", 3, 1_100, || {
        let line = StartLine::new();
        let deque = deque_with(0..3);
        let stealer = deque.stealer();
        let thief = line.spawn(move || steal_times(&stealer, 2));
        line.pass();
        // With items in it, it stays as it is.
        deque.trim();
        let mut own = drain(&deque);
        deque.trim();
        deque.push(Token(3));
        let stolen = thief.join().unwrap();
        own.extend(drain(&deque));
        assert_shared_out(&[own, stolen], 4);
    });
}

/// D11. Owner that trims and 2 thieves, one of which takes a batch: the count of one goes on where the other's ends. Bound 2.
#[test]
fn two_thieves_keep_the_rings_they_look_at() {
    check("chase_lev_d11_two_thieves", 2, 4_000, || {
        let line = StartLine::new();
        let deque = deque_with(0..3);
        let (one, other) = (deque.stealer(), deque.stealer());
        let first = line.spawn(move || {
            let own = deque_with(0..0);
            let mut got: Vec<Token> = taken(one.steal_into(&own, 2)).into_iter().collect();
            got.extend(drain(&own));
            got
        });
        let second = line.spawn(move || steal_times(&other, 1));
        line.pass();
        let own = drain(&deque);
        deque.trim();
        assert_shared_out(&[own, first.join().unwrap(), second.join().unwrap()], 3);
    });
}

/// D11. Owner that trims while 1 thief looks and again after it: what the thief kept alive the first time goes the second time. Bound 3.
#[test]
fn what_a_thief_kept_is_freed_by_the_next_trim() {
    check("chase_lev_d11_again", 3, 280, || {
        let line = StartLine::new();
        let deque = deque_with(0..3);
        let stealer = deque.stealer();
        let thief = line.spawn(move || steal_times(&stealer, 1));
        line.pass();
        let mut own = drain(&deque);
        deque.trim();
        let stolen = thief.join().unwrap();
        (3..6).for_each(|number| deque.push(Token(number)));
        own.extend(drain(&deque));
        deque.trim();
        assert_eq!(deque.rings(), [CAPACITY_FIRST]);
        assert_shared_out(&[own, stolen], 6);
    });
}

/// D5. Owner and 1 thief that takes a batch: at most half and at most the limit, in one piece, in order, nothing twice. Bound 5.
#[test]
fn a_batch_is_one_piece_in_order() {
    check("chase_lev_d5_batch", 5, 400, || {
        let line = StartLine::new();
        let deque = deque_with(0..4);
        let stealer = deque.stealer();
        let thief = line.spawn(move || {
            let own = deque_with(0..0);
            let mut got: Vec<Token> = taken(stealer.steal_into(&own, 2)).into_iter().collect();
            got.extend(drain(&own));
            assert!(got.len() <= 2, "at most the limit, at most half");
            assert!(got.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0), "one piece: {got:?}");
            got
        });
        line.pass();
        let mut own: Vec<Token> = deque.pop().into_iter().collect();
        deque.push(Token(4));
        own.extend(deque.pop());
        let stolen = thief.join().unwrap();
        own.extend(drain(&deque));
        assert_shared_out(&[own, stolen], 5);
    });
}

/// D5. Owner that reuses the slots under the thief's eyes, and 1 thief with a batch of two out of three in a ring of four. Bound 3.
#[test]
fn a_batch_that_was_overwritten_is_not_taken() {
    check("chase_lev_d5_overwrite", 3, 1_000, || {
        let line = StartLine::new();
        let deque = deque_with(0..3);
        let stealer = deque.stealer();
        let thief = line.spawn(move || {
            let own = deque_with(0..0);
            let mut got: Vec<Token> = taken(stealer.steal_into(&own, 8)).into_iter().collect();
            got.extend(drain(&own));
            got
        });
        line.pass();
        let mut own: Vec<Token> = Vec::new();
        for number in 3..6 {
            own.extend(deque.pop());
            deque.push(Token(number));
        }
        let stolen = thief.join().unwrap();
        own.extend(drain(&deque));
        assert_shared_out(&[own, stolen], 6);
    });
}

/// D5. 2 thieves; the second robs the first of its batch: the batch is complete in the first's deque before it shows. Bound 4.
#[test]
fn a_stolen_batch_can_be_stolen_again() {
    check("chase_lev_d5_chained", 4, 160, || {
        let line = StartLine::new();
        let deque = deque_with(0..4);
        let first = deque_with(0..0);
        let (victim, middle) = (deque.stealer(), first.stealer());
        let second = line.spawn(move || steal_times(&middle, 2));
        line.pass();
        let mut got: Vec<Token> = taken(victim.steal_into(&first, 8)).into_iter().collect();
        got.extend(first.pop());
        let again = second.join().unwrap();
        got.extend(drain(&first));
        assert_shared_out(&[got, again, drain(&deque)], 4);
    });
}

/// D8. Owner and 1 thief, items left in both deques: every item is released once, whoever drops the deque last. Bound 5.
#[test]
fn what_is_left_is_dropped_once() {
    check("chase_lev_d8_drop", 5, 120, || {
        let line = StartLine::new();
        let probe = Arc::new(());
        let deque: ChaseLev<Box<Arc<()>>> = ChaseLev::new();
        for _ in 0..3 {
            deque.push(Box::new(probe.clone()));
        }
        let stealer = deque.stealer();
        let thief = line.spawn(move || {
            let own = ChaseLev::new();
            drop(taken(stealer.steal_into(&own, 2)));
        });
        line.pass();
        drop(deque.pop());
        drop(deque);
        thief.join().unwrap();
        assert_eq!(Arc::strong_count(&probe), 1, "an item is still alive");
    });
}

/// D9. Owner and 1 thief, indices that wrap round, the ring grows across the wrap: each item once, in order. Bound 3.
#[test]
fn indices_wrap_round() {
    check("chase_lev_d9_wrap", 3, 540, || {
        let line = StartLine::new();
        let deque = ChaseLev::starting_at(usize::MAX);
        deque.push(Token(0));
        deque.push(Token(1));
        assert_eq!(deque.len(), 2);
        let stealer = deque.stealer();
        let thief = line.spawn(move || {
            let own = ChaseLev::starting_at(usize::MAX);
            let mut got: Vec<Token> = taken(stealer.steal_into(&own, 2)).into_iter().collect();
            got.extend(taken(stealer.steal()));
            got.splice(1.min(got.len())..1.min(got.len()), drain(&own));
            got
        });
        line.pass();
        deque.push(Token(2));
        deque.push(Token(3));
        let mut own: Vec<Token> = deque.pop().into_iter().collect();
        let stolen = thief.join().unwrap();
        own.extend(drain(&deque));
        assert_shared_out(&[own, stolen], 4);
    });
}

/// Where an idle handshake has its fences.
#[derive(Clone, Copy)]
struct Fences {
    after_push: bool,
    after_announcement: bool,
}

/// The owner pushes and then looks for a sleeper; a worker announces its sleep and then looks at the deque.
fn idle_handshake(fences: Fences) {
    let line = StartLine::new();
    let deque = ChaseLev::new();
    let stealer = deque.stealer();
    let sleeping = Arc::new(AtomicBool::new(false));
    let announced = sleeping.clone();
    let worker = line.spawn(move || {
        // Ordering: Relaxed, the fence orders it, where there is one.
        announced.store(true, Ordering::Relaxed);
        if fences.after_announcement {
            // Ordering: SeqCst, pairs with the fence after the push: whichever is second sees what came before the other.
            fence(Ordering::SeqCst);
        }
        !stealer.is_empty()
    });
    line.pass();
    deque.push(Token(0));
    if fences.after_push {
        // Ordering: SeqCst, pairs with the fence after the announcement.
        fence(Ordering::SeqCst);
    }
    // Ordering: Relaxed, see above.
    let sleeper_seen = sleeping.load(Ordering::Relaxed);
    let item_seen = worker.join().unwrap();
    drop(deque);
    assert!(sleeper_seen || item_seen, "the item and the sleeper missed each other");
}

/// D10. Owner and 1 worker about to sleep, no fences: some execution loses the wake-up. A deque that orders more than its contract would
/// hide that here, and in the scheduler's models. Bound 2.
#[test]
#[should_panic(expected = "missed each other")]
fn without_fences_the_idle_handshake_loses_a_wake_up() {
    let fences = Fences { after_push: false, after_announcement: false };
    check("chase_lev_d10_no_fences", 2, 2, move || idle_handshake(fences));
}

/// D10. The same with a fence after the push alone: looking brings no fence of its own. Bound 2.
#[test]
#[should_panic(expected = "missed each other")]
fn with_a_fence_after_the_push_alone_it_still_does() {
    let fences = Fences { after_push: true, after_announcement: false };
    check("chase_lev_d10_push_fence", 2, 2, move || idle_handshake(fences));
}

/// D10. The same with a fence after the announcement alone: pushing brings no fence of its own. Bound 2.
#[test]
#[should_panic(expected = "missed each other")]
fn with_a_fence_after_the_announcement_alone_it_still_does() {
    let fences = Fences { after_push: false, after_announcement: true };
    check("chase_lev_d10_sleep_fence", 2, 2, move || idle_handshake(fences));
}

/// D10. The same with `fence(SeqCst)` on both sides: no execution loses it. Bound 5.
#[test]
fn with_fences_the_idle_handshake_loses_nothing() {
    let fences = Fences { after_push: true, after_announcement: true };
    check("chase_lev_d10_fences", 5, 32, move || idle_handshake(fences));
}
