//! Both deques on real threads: the same program, generic over the deque.

use std::collections::HashSet;

use super::chase_lev::ChaseLev;
use super::crossbeam::CrossbeamDeque;
use super::word::Token;
use super::{Deque, DequeStealer, Stolen};
use crate::loom::atomic::{AtomicBool, Ordering};
use crate::loom::thread;

/// Miri interprets a thousand times slower.
const ITEMS: usize = if cfg!(miri) { 300 } else { 100_000 };
const THIEVES: usize = 3;
/// More than a ring that is kept has room for.
const BURST: usize = if cfg!(miri) { 80 } else { 5000 };
const BURSTS: usize = if cfg!(miri) { 3 } else { 200 };

/// Steals batches of at most eight until the owner is done and nothing is left; what it got, in the order it got it.
fn thief<D: Deque<Token>>(victim: &D::Stealer, done: &AtomicBool) -> Vec<Token> {
    let own = D::new();
    let mut got = Vec::new();
    loop {
        // Ordering: Acquire, pairs with the Release in `every_item_once`: when the owner is done, an empty deque stays empty.
        let was_done = done.load(Ordering::Acquire);
        match victim.steal_into(&own, 8) {
            Stolen::Taken(first) => {
                got.push(first);
                assert!(own.len() < 8, "the batch is within its limit");
                got.extend(std::iter::from_fn(|| own.pop()));
            }
            Stolen::Empty if was_done => return got,
            Stolen::Empty | Stolen::Retry => thread::yield_now(),
        }
    }
}

/// 1 owner, 3 thieves: every item is taken once, and nobody gets a younger one before an older one.
fn every_item_once<D: Deque<Token>>() {
    let deque = D::new();
    let done = AtomicBool::new(false);
    let stealers: Vec<_> = (0..THIEVES).map(|_| deque.stealer()).collect();
    let mut shares: Vec<Vec<Token>> = thread::scope(|scope| {
        let thieves: Vec<_> = stealers.iter().map(|victim| scope.spawn(|| thief::<D>(victim, &done))).collect();
        let mut own = Vec::new();
        for number in 0..ITEMS {
            deque.push(Token(number));
            // Bursts of pushes, so that the deque fills up and outgrows its ring, and lulls, so that it runs empty.
            if number % 200 > 140 {
                own.extend(deque.pop());
            }
        }
        // Ordering: Release, pairs with the Acquire in `thief`.
        done.store(true, Ordering::Release);
        own.extend(std::iter::from_fn(|| deque.pop()));
        let mut shares: Vec<_> = thieves.into_iter().map(|thief| thief.join().unwrap()).collect();
        shares.push(own);
        shares
    });
    for share in &shares {
        assert!(share.is_sorted_by(|one, next| one < next), "taken in the order of the pushes");
    }
    assert_eq!(shares.iter().map(Vec::len).sum::<usize>(), ITEMS);
    let different: HashSet<usize> = shares.drain(..).flatten().map(|token| token.0).collect();
    assert_eq!(different.len(), ITEMS);
}

/// 1 owner that trims after each burst, 3 thieves: every item is taken once.
#[test]
fn rings_are_given_back_under_thieves() {
    let deque: ChaseLev<Token> = ChaseLev::new();
    let done = AtomicBool::new(false);
    let stealers: Vec<_> = (0..THIEVES).map(|_| deque.stealer()).collect();
    let mut taken: Vec<usize> = thread::scope(|scope| {
        let thieves: Vec<_> =
            stealers.iter().map(|victim| scope.spawn(|| thief::<ChaseLev<Token>>(victim, &done))).collect();
        let mut own = Vec::new();
        for burst in 0..BURSTS {
            (burst * BURST..(burst + 1) * BURST).for_each(|number| deque.push(Token(number)));
            own.extend(std::iter::from_fn(|| deque.pop()));
            deque.trim();
        }
        // Ordering: Release, pairs with the Acquire in `thief`.
        done.store(true, Ordering::Release);
        let shares = thieves.into_iter().flat_map(|thief| thief.join().unwrap());
        shares.chain(own).map(|token| token.0).collect()
    });
    taken.sort_unstable();
    assert!(taken.into_iter().eq(0..BURSTS * BURST));
    // The last trim may have met a thief.
    (0..BURST).for_each(|number| deque.push(Token(number)));
    assert_eq!(std::iter::from_fn(|| deque.pop()).count(), BURST);
    assert!(deque.rings()[0] >= BURST);
    deque.trim();
    assert_eq!(deque.rings(), [64]);
}

/// What the traits promise to a single thread.
fn batches_and_order<D: Deque<Token>>() {
    let victim = D::new();
    let thief = D::new();
    let stealer = victim.stealer();
    assert_eq!(stealer.steal_into(&thief, 4), Stolen::Empty);
    for number in 0..200 {
        victim.push(Token(number));
    }
    assert_eq!((victim.len(), stealer.is_empty()), (200, false));
    assert_eq!(stealer.steal(), Stolen::Taken(Token(0)));
    assert_eq!(stealer.steal_into(&thief, 4), Stolen::Taken(Token(1)));
    assert_eq!(thief.len(), 3, "the limit counts the item that is returned");
    assert_eq!(victim.pop(), Some(Token(5)));
    assert_eq!(stealer.steal_into(&thief, usize::MAX), Stolen::Taken(Token(6)));
    assert_eq!((thief.len(), victim.len()), (3 + 96, 97), "half of what the victim had");
    let got: Vec<usize> = std::iter::from_fn(|| thief.pop()).map(|token| token.0).collect();
    assert_eq!(got, [2, 3, 4].into_iter().chain(7..103).collect::<Vec<_>>());
    assert_eq!(stealer.steal_into(&victim, 8), Stolen::Taken(Token(103)), "from oneself it is a pop");
    assert_eq!(victim.len(), 96);
}

/// The owner's end moves to the thread of its loop; a thief's end may be anywhere.
const _: () = {
    const fn is_send<T: Send>() {}
    const fn is_sync<T: Sync>() {}
    is_send::<ChaseLev<Token>>();
    is_send::<CrossbeamDeque<Token>>();
    is_sync::<<ChaseLev<Token> as Deque<Token>>::Stealer>();
    is_sync::<<CrossbeamDeque<Token> as Deque<Token>>::Stealer>();
};

#[test]
fn crossbeam_yields_every_item_once() {
    every_item_once::<CrossbeamDeque<Token>>();
}

#[test]
fn chase_lev_yields_every_item_once() {
    every_item_once::<ChaseLev<Token>>();
}

#[test]
fn crossbeam_keeps_batches_and_order() {
    batches_and_order::<CrossbeamDeque<Token>>();
}

#[test]
fn chase_lev_keeps_batches_and_order() {
    batches_and_order::<ChaseLev<Token>>();
}
