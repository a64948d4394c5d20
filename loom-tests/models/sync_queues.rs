//! Models of the shelf under queues and channels, beside that of `sync.rs`: ends, shutdowns, and work that is waited for.
//!
//! LifoQueue and PriorityQueue are the same shelf with another store, which is reached under its lock alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::future::block_on;

use super::models::{Probe, poll_and_give_up};
use super::{Queue, channel, unbounded_channel};
use crate::loom::{StartLine, check};

/// Three threads and a channel with room for one: two senders send one item each and go, the receiver receives until the end. Both items come, and
/// then the end. Bound 3.
#[test]
fn a_channel_ends_after_the_last_item_of_the_last_sender() {
    check("sync_channel_ends", 3, 32_000, || {
        let line = StartLine::new();
        let (sender, mut receiver) = channel(1);
        let other = sender.clone();
        let senders =
            [(sender, 1), (other, 2)].map(|(sender, item)| line.spawn(move || block_on(sender.send(item)).unwrap()));
        line.pass();
        let mut sum = 0;
        while let Some(item) = block_on(receiver.recv()) {
            sum += item;
        }
        assert_eq!(sum, 3);
        for sender in senders {
            sender.join().unwrap();
        }
    });
}

/// Two threads and a channel with room for one: two sends, and a receiver that takes one item and goes, with a second wait that it gives up. What
/// was not received is dropped, once, or comes back to the sender. Bound 4.
#[test]
fn a_receiver_that_goes_leaves_no_item_and_no_sender() {
    check("sync_channel_receiver_goes", 4, 1_300, || {
        let line = StartLine::new();
        let drops = Arc::new(AtomicUsize::new(0));
        let (sender, mut receiver) = channel(1);
        let probes = [(); 2].map(|()| Probe(drops.clone()));
        let sends = line.spawn(move || probes.map(|probe| block_on(sender.send(probe)).is_ok()));
        line.pass();
        assert!(block_on(receiver.recv()).is_some());
        let has_second = poll_and_give_up(receiver.recv()).is_some();
        drop(receiver);
        let sent = sends.join().unwrap();
        assert!(sent[0] && (sent[1] || !has_second), "{sent:?}");
        assert_eq!(drops.load(Ordering::Relaxed), 2);
    });
}

/// Two threads and a channel with room for one: two sends, and a receiver that goes and takes nothing. The sender that waits for room hears of it, and
/// each item is dropped once. Bound 4.
#[test]
fn a_sender_that_waits_hears_that_the_receiver_goes() {
    check("sync_channel_sender_waits", 4, 45, || {
        let line = StartLine::new();
        let drops = Arc::new(AtomicUsize::new(0));
        let (sender, receiver) = channel(1);
        let probes = [(); 2].map(|()| Probe(drops.clone()));
        let sends = line.spawn(move || probes.map(|probe| block_on(sender.send(probe)).is_ok()));
        line.pass();
        drop(receiver);
        assert!(!sends.join().unwrap()[1], "there was no room for a second");
        assert_eq!(drops.load(Ordering::Relaxed), 2);
    });
}

/// Three threads and a channel with room for one: two send, the receiver closes and takes what is there. What was sent with success is received,
/// and nothing else. Bound 3.
#[test]
fn what_was_sent_before_a_close_is_received() {
    check("sync_channel_close", 3, 650, || {
        let line = StartLine::new();
        let (sender, mut receiver) = channel(1);
        let other = sender.clone();
        let senders = [sender, other].map(|sender| line.spawn(move || block_on(sender.send(())).is_ok()));
        line.pass();
        receiver.close();
        let mut received = 0;
        while block_on(receiver.recv()).is_some() {
            received += 1;
        }
        let sent = senders.map(|sender| usize::from(sender.join().unwrap()));
        assert_eq!(sent[0] + sent[1], received);
    });
}

/// Three threads and a channel without a limit: two senders send two items each and go; the receiver gives up one wait and then receives until the
/// end. All items come, those of one sender in their order, and then the end, and it counts right what it has at hand. Bound 2.
#[test]
fn what_is_taken_along_is_received_first() {
    check("sync_unbounded_order", 2, 3_200, || {
        let line = StartLine::new();
        let (sender, mut receiver) = unbounded_channel();
        let other = sender.clone();
        let senders = [(sender, 0), (other, 2)].map(|(sender, first)| {
            line.spawn(move || {
                sender.send(first).unwrap();
                sender.send(first + 1).unwrap();
            })
        });
        line.pass();
        let mut received = Vec::new();
        received.extend(poll_and_give_up(receiver.recv()).flatten());
        let waiting = receiver.len();
        while let Some(item) = block_on(receiver.recv()) {
            received.push(item);
        }
        assert!(received.len() >= waiting, "what was counted comes");
        for first in [0, 2] {
            let theirs: Vec<usize> = received.iter().copied().filter(|item| item / 2 == first / 2).collect();
            assert_eq!(theirs, [first, first + 1]);
        }
        for sender in senders {
            sender.join().unwrap();
        }
    });
}

/// Two threads and a channel without a limit: two items lie there, a third is sent, and a receiver takes one and goes. Each item is dropped once, on
/// whichever side it was. Bound 4.
#[test]
fn a_receiver_that_goes_drops_what_it_has_at_hand() {
    check("sync_unbounded_receiver_goes", 4, 35, || {
        let line = StartLine::new();
        let drops = Arc::new(AtomicUsize::new(0));
        let (sender, mut receiver) = unbounded_channel();
        sender.send(Probe(drops.clone())).unwrap_or_else(|_| panic!("the receiver is there"));
        sender.send(Probe(drops.clone())).unwrap_or_else(|_| panic!("the receiver is there"));
        let probe = Probe(drops.clone());
        let sends = line.spawn(move || drop(sender.send(probe)));
        line.pass();
        assert!(block_on(receiver.recv()).is_some());
        drop(receiver);
        sends.join().unwrap();
        assert_eq!(drops.load(Ordering::Relaxed), 3);
    });
}

/// Three threads and two items: two workers take one each and say when they are through, the third waits for that. It waits until both are. Bound 3.
#[test]
fn a_join_ends_when_all_items_are_done() {
    check("sync_queue_join", 3, 2_500, || {
        let line = StartLine::new();
        let queue = Arc::new(Queue::new(0));
        let done = Arc::new(AtomicUsize::new(0));
        queue.put_nowait(()).unwrap();
        queue.put_nowait(()).unwrap();
        let workers = [(); 2].map(|()| {
            let (queue, done) = (queue.clone(), done.clone());
            line.spawn(move || {
                block_on(queue.get()).unwrap();
                done.fetch_add(1, Ordering::Relaxed);
                queue.task_done().unwrap();
            })
        });
        line.pass();
        block_on(queue.join());
        assert_eq!(done.load(Ordering::Relaxed), 2);
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

/// Three threads and a full queue: one waits for room, one shuts the queue, the third gets until the end. What was put with success is got, and
/// nothing else. Bound 3.
#[test]
fn a_queue_that_is_shut_down_gives_out_what_is_in_it() {
    check("sync_queue_shutdown", 3, 6_600, || {
        let line = StartLine::new();
        let queue = Arc::new(Queue::new(1));
        queue.put_nowait(1).unwrap();
        let (puts, shuts) = (queue.clone(), queue.clone());
        let putter = line.spawn(move || block_on(puts.put(2)).is_ok());
        let shutter = line.spawn(move || shuts.shutdown(false));
        line.pass();
        let mut sum = 0;
        while let Ok(item) = block_on(queue.get()) {
            sum += item;
        }
        shutter.join().unwrap();
        assert_eq!(sum, if putter.join().unwrap() { 3 } else { 1 });
    });
}

/// Three threads and two items: one takes an item and finishes it, one shuts the queue at once, the third waits for the end of the work. It comes,
/// whichever of them took the items away, and each is dropped once. Bound 3.
#[test]
fn an_immediate_shutdown_ends_the_work() {
    check("sync_queue_shutdown_at_once", 3, 2_000, || {
        let line = StartLine::new();
        let queue = Arc::new(Queue::new(0));
        let drops = Arc::new(AtomicUsize::new(0));
        queue.put_nowait(Probe(drops.clone())).unwrap();
        queue.put_nowait(Probe(drops.clone())).unwrap();
        let (gets, shuts) = (queue.clone(), queue.clone());
        let worker = line.spawn(move || {
            if let Ok(item) = gets.get_nowait() {
                drop(item);
                gets.task_done().unwrap();
            }
        });
        let shutter = line.spawn(move || shuts.shutdown(true));
        line.pass();
        block_on(queue.join());
        worker.join().unwrap();
        shutter.join().unwrap();
        assert_eq!(drops.load(Ordering::Relaxed), 2);
    });
}
