//! Models of the readiness word, its waiters, and the table of sources: R1 to R4 and R7 of `reactor.rs`.
//!
//! The kernel is a counter behind a lock ([`Pipe`]); the thread that "turns the reactor" puts bytes in and delivers the event. A lost edge
//! shows as a deadlock: the waiter blocks for ever.
//!
//! Not seen here: the processor (not loom) may let the load of the tick pass the operation that follows it, which is what the Acquire in
//! `ready_now` forbids; loom runs loads in program order.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use loom::future::block_on;

use super::readiness::{Direction, Readiness, ReadyEvent, Source};
use super::table::{NoSlot, Table};
use crate::loom::{Arc, Mutex, check, thread};

/// The kernel's side of one direction of a socket: so many bytes can be moved.
struct Pipe(Mutex<usize>);

impl Pipe {
    fn new() -> Pipe {
        Pipe(Mutex::new(0))
    }

    fn put(&self) {
        *self.0.lock() += 1;
    }

    /// Takes at most `wanted`; 0 stands for "would block".
    fn take(&self, wanted: usize) -> usize {
        let mut left = self.0.lock();
        let taken = wanted.min(*left);
        *left -= taken;
        taken
    }
}

fn deliver(source: &Source, readiness: Readiness) {
    let mut wakers = Vec::new();
    source.deliver(readiness, &mut wakers);
    wakers.into_iter().for_each(Waker::wake);
}

/// The pattern of `net::source`: wait for readiness, try, clear on "would block". One operation.
async fn moved(source: &Source, pipe: &Pipe, direction: Direction, wanted: usize) -> usize {
    loop {
        let event = poll_fn(|cx| source.poll_ready(cx, direction)).await;
        let taken = pipe.take(wanted);
        if taken == 0 {
            source.clear_blocked(event, direction);
            continue;
        }
        if taken < wanted {
            source.clear_drained(event, direction);
        }
        return taken;
    }
}

/// A keyed wait, as `ReadinessFuture` makes it.
async fn readiness(source: &Source, interest: Readiness) -> ReadyEvent {
    let mut key = None;
    let event = poll_fn(|cx| source.poll_keyed(cx, interest, &mut key)).await;
    if let Some(key) = key {
        source.forget(key);
    }
    event
}

/// R1. 1 waiter × 1 turn: an event that comes while the waiter registers its waker is not lost. Preemptions 4.
#[test]
fn an_edge_that_comes_during_registration_wakes_the_waiter() {
    check("readiness::poll_edge", 4, 53, || {
        let source = Arc::new(Source::new());
        let turn = {
            let source = source.clone();
            thread::spawn(move || deliver(&source, Readiness::READABLE))
        };
        let event = block_on(poll_fn(|cx| source.poll_ready(cx, Direction::Read)));
        assert!(event.readiness().intersects(Readiness::READABLE));
        turn.join().unwrap();
    });
}

/// R1. 2 keyed waiters (2 threads) × 1 turn: one event wakes both, wherever they are. Preemptions 3.
#[test]
fn one_edge_wakes_every_keyed_waiter() {
    check("readiness::keyed_edge", 3, 8_300, || {
        let source = Arc::new(Source::new());
        let turn = {
            let source = source.clone();
            thread::spawn(move || deliver(&source, Readiness::READABLE))
        };
        let other = {
            let source = source.clone();
            thread::spawn(move || {
                block_on(readiness(&source, Direction::Read.readiness()));
            })
        };
        block_on(readiness(&source, Direction::Read.readiness()));
        other.join().unwrap();
        turn.join().unwrap();
    });
}

/// R1. 1 keyed waiter that gives up × 1 that stays × 1 turn: who leaves takes no one else's place or wake-up along. Preemptions 3.
#[test]
fn a_cancelled_wait_takes_no_other_wake_along() {
    check("readiness::keyed_cancel", 3, 2_500, || {
        let source = Arc::new(Source::new());
        let turn = {
            let source = source.clone();
            thread::spawn(move || deliver(&source, Readiness::READABLE))
        };
        let leaver = {
            let source = source.clone();
            thread::spawn(move || {
                let mut key = None;
                let mut cx = Context::from_waker(Waker::noop());
                let _ = source.poll_keyed(&mut cx, Direction::Read.readiness(), &mut key);
                if let Some(key) = key {
                    source.forget(key);
                }
            })
        };
        block_on(readiness(&source, Direction::Read.readiness()));
        leaver.join().unwrap();
        turn.join().unwrap();
    });
}

/// R2. 1 reader × 1 turn that puts two bytes, an event each: an event between "would block" and the clearing survives it, so both bytes
/// are read. Preemptions 4.
#[test]
fn an_event_between_would_block_and_clear_survives() {
    check("readiness::clear_vs_event", 4, 2_000, || {
        let shared = Arc::new((Source::new(), Pipe::new()));
        let turn = {
            let shared = shared.clone();
            thread::spawn(move || {
                for _ in 0..2 {
                    shared.1.put();
                    deliver(&shared.0, Readiness::READABLE);
                }
            })
        };
        let (source, pipe) = &*shared;
        block_on(async {
            assert_eq!(moved(source, pipe, Direction::Read, 1).await, 1);
            assert_eq!(moved(source, pipe, Direction::Read, 1).await, 1);
        });
        turn.join().unwrap();
    });
}

/// R2. The same with reads of two bytes, so that a short one clears the readiness without a "would block". Preemptions 4.
#[test]
fn an_event_between_a_short_read_and_clear_survives() {
    check("readiness::drained_vs_event", 4, 1_700, || {
        let shared = Arc::new((Source::new(), Pipe::new()));
        let turn = {
            let shared = shared.clone();
            thread::spawn(move || {
                for _ in 0..2 {
                    shared.1.put();
                    deliver(&shared.0, Readiness::READABLE);
                }
            })
        };
        let (source, pipe) = &*shared;
        block_on(async {
            let mut total = 0;
            while total < 2 {
                total += moved(source, pipe, Direction::Read, 2).await;
            }
            assert_eq!(total, 2);
        });
        turn.join().unwrap();
    });
}

/// R1, R2. 1 reader × 1 writer × 1 turn that makes both directions ready, one after the other: neither's clearing takes the other's
/// readiness. Preemptions 2.
#[test]
fn the_two_directions_do_not_disturb_each_other() {
    check("readiness::two_directions", 2, 42_000, || {
        let shared = Arc::new((Source::new(), Pipe::new(), Pipe::new()));
        // Something of both kinds is believed ready and is not, so that both sides clear.
        shared.0.assume(Readiness::READABLE | Readiness::WRITABLE);
        let turn = {
            let shared = shared.clone();
            thread::spawn(move || {
                let (source, input, room) = &*shared;
                input.put();
                deliver(source, Readiness::READABLE);
                room.put();
                deliver(source, Readiness::WRITABLE);
            })
        };
        let writer = {
            let shared = shared.clone();
            thread::spawn(move || {
                let (source, _, room) = &*shared;
                assert_eq!(block_on(moved(source, room, Direction::Write, 1)), 1);
            })
        };
        let (source, input, _) = &*shared;
        assert_eq!(block_on(moved(source, input, Direction::Read, 1)), 1);
        writer.join().unwrap();
        turn.join().unwrap();
    });
}

/// R7. 1 reader that clears and waits × 1 shutdown: the wait ends with the news, and the news stays. Preemptions 4.
#[test]
fn shutdown_ends_a_wait_and_is_never_cleared() {
    check("readiness::shutdown_vs_wait", 4, 240, || {
        let source = Arc::new(Source::new());
        source.assume(Readiness::READABLE);
        let shutdown = {
            let source = source.clone();
            thread::spawn(move || deliver(&source, Readiness::SHUTDOWN))
        };
        block_on(async {
            loop {
                let event = poll_fn(|cx| source.poll_ready(cx, Direction::Read)).await;
                source.clear_blocked(event, Direction::Read);
                if event.is_shutdown() {
                    break;
                }
            }
        });
        assert!(source.ready_now(Direction::Read.readiness()).is_some_and(|event| event.is_shutdown()));
        shutdown.join().unwrap();
    });
}

/// R7. 1 registration × 1 shutdown of the table: the source is told, or it is refused. Every execution.
#[test]
fn a_source_is_told_of_the_shutdown_or_refused() {
    check("table::insert_vs_shutdown", 4, 72, || {
        let table = Arc::new(Table::new());
        let shutdown = {
            let table = table.clone();
            thread::spawn(move || {
                let mut wakers = Vec::new();
                table.shutdown(&mut wakers);
                wakers.into_iter().for_each(Waker::wake);
            })
        };
        let source = Arc::new(Source::new());
        match table.insert(source.clone()) {
            Err(refused) => assert_eq!(refused, NoSlot::ShutDown),
            Ok(_) => assert!(block_on(poll_fn(|cx| source.poll_ready(cx, Direction::Read))).is_shutdown()),
        }
        shutdown.join().unwrap();
    });
}

/// R3, R4. 1 turn with events of the first tenant × 1 thread that lets it go and gives its slot to a second: the second hears of nothing.
/// Every execution.
#[test]
fn an_event_of_the_last_tenant_does_not_reach_the_next() {
    check("table::stale_event", 4, 11, || {
        let table = Arc::new(Table::new());
        let first = Arc::new(Source::new());
        let token = table.insert(first.clone()).unwrap();
        let turn = {
            let table = table.clone();
            thread::spawn(move || {
                let mut wakers = Vec::new();
                for _ in 0..2 {
                    table.deliver([(token, Readiness::READABLE)].into_iter(), &mut wakers);
                }
                wakers.into_iter().for_each(Waker::wake);
            })
        };
        assert!(table.remove(token).is_some());
        let second = Arc::new(Source::new());
        let next = table.insert(second.clone()).unwrap();
        assert_ne!(next, token);
        turn.join().unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(second.poll_ready(&mut cx, Direction::Read), Poll::Pending), "a stale event was delivered");
        assert!(table.remove(token).is_none(), "a stale token freed the slot of another");
        assert_eq!(table.len(), 1);
    });
}

/// R4. 1 turn with an event × 1 deregistration: the waker comes out by the one or by the other, exactly once, and is not left behind.
/// Every execution.
#[test]
fn a_source_that_goes_keeps_no_waker() {
    check("table::deliver_vs_remove", 4, 4, || {
        let table = Arc::new(Table::new());
        let source = Arc::new(Source::new());
        let token = table.insert(source.clone()).unwrap();
        let probe = Arc::new(Probe);
        let waker = Waker::from(std::sync::Arc::new(Alive(probe.clone())));
        assert!(source.poll_ready(&mut Context::from_waker(&waker), Direction::Read).is_pending());
        drop(waker);
        let turn = {
            let table = table.clone();
            thread::spawn(move || {
                let mut wakers = Vec::new();
                table.deliver([(token, Readiness::READABLE)].into_iter(), &mut wakers);
                wakers.len()
            })
        };
        assert!(table.remove(token).is_some());
        let mut left = Vec::new();
        source.take_waiters(&mut left);
        assert_eq!(left.len() + turn.join().unwrap(), 1, "the waker comes out exactly once");
        drop(left);
        assert_eq!(Arc::strong_count(&probe), 1);
    });
}

/// What a waker of the model above keeps alive.
struct Probe;

struct Alive(#[allow(dead_code, reason = "held for its count")] Arc<Probe>);

impl std::task::Wake for Alive {
    fn wake(self: std::sync::Arc<Self>) {}
}
