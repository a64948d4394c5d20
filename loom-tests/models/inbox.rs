//! Models of the inbox.

use super::Inbox;
use super::tests::Parcel;
use crate::loom::atomic::{AtomicBool, Ordering, fence};
use crate::loom::{Arc, StartLine, check};

/// What a pusher of `numbers` was told: how often the inbox was empty before.
fn push_all(inbox: &Inbox<Box<Parcel>>, numbers: std::ops::Range<usize>) -> usize {
    numbers.filter(|&number| inbox.push(Parcel::new(number))).count()
}

fn numbers_in(inbox: &Inbox<Box<Parcel>>) -> Vec<usize> {
    inbox.take_all().map(|parcel| parcel.open()).collect()
}

/// 2 pushers with two items and one item, 1 drainer: nothing lost or doubled, each pusher's items in order, complete, and one "was
/// empty" for each filling that was drained. Bound 3.
#[test]
fn pushes_arrive_once_in_order_with_one_notice_a_filling() {
    check("inbox_two_pushers", 3, 980, || {
        let line = StartLine::new();
        let inbox = Arc::new(Inbox::new());
        let (one, two) = (inbox.clone(), inbox.clone());
        let first = line.spawn(move || push_all(&one, 0..2));
        let second = line.spawn(move || push_all(&two, 2..3));
        line.pass();
        let early = numbers_in(&inbox);
        let notices = first.join().unwrap() + second.join().unwrap();
        let late = numbers_in(&inbox);
        let fillings = usize::from(!early.is_empty()) + usize::from(!late.is_empty());
        assert_eq!(notices, fillings, "early {early:?}, late {late:?}");
        let mut all = [early, late].concat();
        let of_first: Vec<usize> = all.iter().copied().filter(|&number| number < 2).collect();
        assert_eq!(of_first, [0, 1], "one pusher's items in order");
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2]);
    });
}

/// 1 pusher, 2 drainers (the owner and a thief): each item comes out once. Bound 3.
#[test]
fn two_drainers_share_out_the_items() {
    check("inbox_two_drainers", 3, 1_700, || {
        let line = StartLine::new();
        let inbox = Arc::new(Inbox::new());
        let (pushed, robbed) = (inbox.clone(), inbox.clone());
        let pusher = line.spawn(move || push_all(&pushed, 0..2));
        let thief = line.spawn(move || numbers_in(&robbed));
        line.pass();
        let mut all = numbers_in(&inbox);
        pusher.join().unwrap();
        all.extend(thief.join().unwrap());
        all.extend(numbers_in(&inbox));
        all.sort_unstable();
        assert_eq!(all, [0, 1]);
    });
}

/// 1 pusher, 1 drainer that pushes a drained item again: the link is used a second time, and nothing is lost. Bound 5.
#[test]
fn an_item_can_be_pushed_again() {
    check("inbox_again", 5, 68, || {
        let line = StartLine::new();
        let inbox = Arc::new(Inbox::new());
        let pushed = inbox.clone();
        let pusher = line.spawn(move || push_all(&pushed, 0..2));
        line.pass();
        for parcel in inbox.take_all() {
            inbox.push(parcel);
        }
        pusher.join().unwrap();
        let mut all = numbers_in(&inbox);
        all.sort_unstable();
        assert_eq!(all, [0, 1]);
    });
}

/// 1 pusher, 1 drainer that uses one item and drops the rest, then the inbox is dropped: each item is released once. Bound 4.
#[test]
fn what_is_left_is_dropped_once() {
    check("inbox_drop", 4, 180, || {
        let line = StartLine::new();
        let probe = Arc::new(());
        let inbox = Arc::new(Inbox::new());
        let (pushed, held) = (inbox.clone(), probe.clone());
        let pusher = line.spawn(move || {
            for number in 0..2 {
                pushed.push(Parcel::holding(number, held.clone()));
            }
        });
        line.pass();
        drop(inbox.take_all().next());
        drop(inbox);
        pusher.join().unwrap();
        assert_eq!(Arc::strong_count(&probe), 1, "an item is still alive");
    });
}

/// Where an idle handshake has its fences.
#[derive(Clone, Copy)]
struct Fences {
    after_push: bool,
    after_announcement: bool,
}

/// A pusher looks for a sleeper after its push; the owner announces its sleep and then looks at the inbox.
fn idle_handshake(fences: Fences) {
    let line = StartLine::new();
    let inbox = Arc::new(Inbox::new());
    let sleeping = Arc::new(AtomicBool::new(false));
    let (looked_at, announced) = (inbox.clone(), sleeping.clone());
    let owner = line.spawn(move || {
        // Ordering: Relaxed, the fence orders it, where there is one.
        announced.store(true, Ordering::Relaxed);
        if fences.after_announcement {
            // Ordering: SeqCst, pairs with the fence after the push: whichever is second sees what came before the other.
            fence(Ordering::SeqCst);
        }
        !looked_at.is_empty()
    });
    line.pass();
    inbox.push(Parcel::new(0));
    if fences.after_push {
        // Ordering: SeqCst, pairs with the fence after the announcement.
        fence(Ordering::SeqCst);
    }
    // Ordering: Relaxed, see above.
    let sleeper_seen = sleeping.load(Ordering::Relaxed);
    let item_seen = owner.join().unwrap();
    drop(inbox);
    assert!(sleeper_seen || item_seen, "the item and the sleeper missed each other");
}

/// 1 pusher and the owner about to sleep, no fences: some execution loses the wake-up. So the inbox orders no more than it says. Bound 2.
#[test]
#[should_panic(expected = "missed each other")]
fn without_fences_the_idle_handshake_loses_a_wake_up() {
    let fences = Fences { after_push: false, after_announcement: false };
    check("inbox_no_fences", 2, 2, move || idle_handshake(fences));
}

/// The same with a fence after the push alone: looking brings no fence of its own. Bound 2.
#[test]
#[should_panic(expected = "missed each other")]
fn with_a_fence_after_the_push_alone_it_still_does() {
    let fences = Fences { after_push: true, after_announcement: false };
    check("inbox_push_fence", 2, 2, move || idle_handshake(fences));
}

/// The same with a fence after the announcement alone: pushing brings no fence of its own. Bound 2.
#[test]
#[should_panic(expected = "missed each other")]
fn with_a_fence_after_the_announcement_alone_it_still_does() {
    let fences = Fences { after_push: false, after_announcement: true };
    check("inbox_sleep_fence", 2, 2, move || idle_handshake(fences));
}

/// The same with `fence(SeqCst)` on both sides: no execution loses it. Bound 5.
#[test]
fn with_fences_the_idle_handshake_loses_nothing() {
    let fences = Fences { after_push: true, after_announcement: true };
    check("inbox_fences", 5, 32, move || idle_handshake(fences));
}
