//! The reactor against the real kernel, turned by hand.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::readiness::{Direction, Readiness, ReadyEvent, Source};
use super::registration::Registration;
use super::table::Table;
#[cfg(any(target_os = "linux", target_os = "android"))]
use super::tripwire::Tripwire;
use super::{Reactor, Vigil};
use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::loom::{Arc, thread};

/// Longer than any wait here takes: a test that runs into it fails.
const LONG: Duration = Duration::from_secs(20);

/// A waker that counts.
#[derive(Default)]
struct Count(AtomicUsize);

impl std::task::Wake for Count {
    fn wake(self: Arc<Self>) {
        // Ordering: Relaxed, read by the thread that wakes or after joining it.
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Count {
    fn waker() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (count.clone(), Waker::from(count))
    }

    fn get(&self) -> usize {
        // Ordering: Relaxed, see `wake`.
        self.0.load(Ordering::Relaxed)
    }
}

fn reactor() -> Arc<Reactor> {
    let reactor = Arc::new(Reactor::new(256));
    reactor.open().unwrap();
    reactor
}

fn pair() -> (UnixStream, UnixStream) {
    let (a, b) = UnixStream::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    b.set_nonblocking(true).unwrap();
    (a, b)
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    client.set_nonblocking(true).unwrap();
    server.set_nonblocking(true).unwrap();
    (client, server)
}

/// One turn, and the wakes it asks for.
fn turn(reactor: &Reactor, timeout: Duration) -> usize {
    let mut wakers = Vec::new();
    let events = reactor.turn(Some(timeout), &mut wakers).unwrap();
    wakers.into_iter().for_each(Waker::wake);
    events
}

/// What the turn just made delivers now, without waiting.
fn poll(registration: &Registration, waker: &Waker, direction: Direction) -> Poll<ReadyEvent> {
    registration.poll_ready(&mut Context::from_waker(waker), direction)
}

/// Turns until `direction` is ready.
fn ready(reactor: &Reactor, registration: &Registration, direction: Direction) -> ReadyEvent {
    let end = Instant::now() + LONG;
    loop {
        if let Poll::Ready(event) = poll(registration, Waker::noop(), direction) {
            return event;
        }
        assert!(Instant::now() < end, "{direction:?} never became ready");
        turn(reactor, LONG);
    }
}

/// Turns until nothing more is reported.
fn settle(reactor: &Reactor) {
    while turn(reactor, Duration::ZERO) > 0 {}
}

/// Clears `direction` as a failed operation would.
fn clear(registration: &Registration, direction: Direction) {
    if let Poll::Ready(event) = poll(registration, Waker::noop(), direction) {
        registration.clear_ready(event, direction).unwrap();
    }
}

#[test]
fn a_new_source_is_not_ready_until_the_first_turn_reports_it() {
    let reactor = reactor();
    let (a, _b) = pair();
    assert_eq!(reactor.sources(), 0);
    let registration = Reactor::register(&reactor, a.as_raw_fd()).unwrap();
    assert_eq!(reactor.sources(), 1);
    assert!(poll(&registration, Waker::noop(), Direction::Write).is_pending());
    assert!(turn(&reactor, LONG) > 0);
    assert!(poll(&registration, Waker::noop(), Direction::Write).is_ready());
    assert!(poll(&registration, Waker::noop(), Direction::Read).is_pending());
    drop(registration);
    assert_eq!(reactor.sources(), 0);
}

#[test]
fn bytes_that_came_before_the_registration_are_reported() {
    let reactor = reactor();
    let (a, mut b) = pair();
    b.write_all(b"x").unwrap();
    let registration = Reactor::register(&reactor, a.as_raw_fd()).unwrap();
    assert!(ready(&reactor, &registration, Direction::Read).readiness().intersects(Readiness::READABLE));
}

#[test]
fn an_edge_is_delivered_once_and_wakes_only_its_direction() {
    let reactor = reactor();
    let (mut a, mut b) = pair();
    let registration = Reactor::register(&reactor, a.as_raw_fd()).unwrap();
    ready(&reactor, &registration, Direction::Write);
    settle(&reactor);
    let (reads, read_waker) = Count::waker();
    assert!(poll(&registration, &read_waker, Direction::Read).is_pending());

    b.write_all(b"x").unwrap();
    assert_eq!(turn(&reactor, LONG), 1);
    assert_eq!(reads.get(), 1);
    assert_eq!(turn(&reactor, Duration::ZERO), 0, "edge-triggered: unread bytes are not reported again");

    let event = ready(&reactor, &registration, Direction::Read);
    let mut buffer = [0; 8];
    assert_eq!(a.read(&mut buffer).unwrap(), 1);
    assert_eq!(a.read(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    registration.clear_ready(event, Direction::Read).unwrap();
    assert!(poll(&registration, &read_waker, Direction::Read).is_pending());
    assert_eq!(reads.get(), 1, "nobody waited for the second look");
}

#[test]
fn a_full_socket_becomes_writable_when_the_other_side_reads() {
    let reactor = reactor();
    let (mut a, mut b) = pair();
    let registration = Reactor::register(&reactor, a.as_raw_fd()).unwrap();
    let block = [0; 65536];
    let mut written = 0;
    let event = loop {
        let event = ready(&reactor, &registration, Direction::Write);
        match a.write(&block) {
            Ok(n) => written += n,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                break event;
            }
        }
    };
    registration.clear_ready(event, Direction::Write).unwrap();
    let (writes, waker) = Count::waker();
    assert!(poll(&registration, &waker, Direction::Write).is_pending());
    let mut buffer = vec![0; written];
    b.read_exact(&mut buffer).unwrap();
    ready(&reactor, &registration, Direction::Write);
    assert_eq!(writes.get(), 0, "`ready` took the place of the first waker: one per direction");
}

#[test]
fn an_event_that_comes_before_the_clearing_survives_it() {
    let reactor = reactor();
    let (a, mut b) = pair();
    let registration = Reactor::register(&reactor, a.as_raw_fd()).unwrap();
    b.write_all(b"x").unwrap();
    let event = ready(&reactor, &registration, Direction::Read);
    b.write_all(b"y").unwrap();
    assert_eq!(turn(&reactor, LONG), 1);
    registration.clear_ready(event, Direction::Read).unwrap();
    assert!(poll(&registration, Waker::noop(), Direction::Read).is_ready());
}

#[test]
fn half_close_is_readable_and_closed_and_leaves_writing_alone() {
    let reactor = reactor();
    let (client, server) = tcp_pair();
    let registration = Reactor::register(&reactor, client.as_raw_fd()).unwrap();
    ready(&reactor, &registration, Direction::Write);
    settle(&reactor);
    let (reads, read_waker) = Count::waker();
    assert!(poll(&registration, &read_waker, Direction::Read).is_pending());
    server.shutdown(Shutdown::Write).unwrap();
    let event = ready(&reactor, &registration, Direction::Write);
    assert!(!event.readiness().intersects(Readiness::WRITE_CLOSED));
    while reads.get() == 0 {
        assert!(turn(&reactor, LONG) > 0, "the half-close was never reported");
    }
    let event = ready(&reactor, &registration, Direction::Read);
    assert!(event.readiness().intersects(Readiness::READ_CLOSED));
    registration.clear_drained(event, Direction::Read);
    assert!(poll(&registration, Waker::noop(), Direction::Read).is_ready(), "a short read leaves the end to be read");
}

/// Both directions wait; `hang_up` ends the connection; both are woken, with the bits that say so.
fn both_wake_when(hang_up: impl FnOnce(TcpStream)) -> ReadyEvent {
    let reactor = reactor();
    let (client, server) = tcp_pair();
    let registration = Reactor::register(&reactor, client.as_raw_fd()).unwrap();
    ready(&reactor, &registration, Direction::Write);
    settle(&reactor);
    clear(&registration, Direction::Write);
    let (reads, read_waker) = Count::waker();
    let (writes, write_waker) = Count::waker();
    assert!(poll(&registration, &read_waker, Direction::Read).is_pending());
    assert!(poll(&registration, &write_waker, Direction::Write).is_pending());
    hang_up(server);
    while reads.get() == 0 || writes.get() == 0 {
        assert!(turn(&reactor, LONG) > 0, "woken: {} readers, {} writers", reads.get(), writes.get());
    }
    assert!(poll(&registration, Waker::noop(), Direction::Write).is_ready());
    ready(&reactor, &registration, Direction::Read)
}

#[test]
fn a_reset_wakes_both_directions() {
    let event = both_wake_when(|server| {
        socket2::SockRef::from(&server).set_linger(Some(Duration::ZERO)).unwrap();
    });
    assert!(event.readiness().intersects(Readiness::READ_CLOSED));
    assert!(event.readiness().intersects(Readiness::WRITE_CLOSED));
    assert!(event.readiness().intersects(Readiness::ERROR));
}

#[test]
fn a_hang_up_wakes_both_directions() {
    let reactor = reactor();
    let (a, b) = pair();
    let registration = Reactor::register(&reactor, a.as_raw_fd()).unwrap();
    settle(&reactor);
    clear(&registration, Direction::Write);
    let (reads, read_waker) = Count::waker();
    let (writes, write_waker) = Count::waker();
    assert!(poll(&registration, &read_waker, Direction::Read).is_pending());
    assert!(poll(&registration, &write_waker, Direction::Write).is_pending());
    drop(b);
    while reads.get() == 0 || writes.get() == 0 {
        assert!(turn(&reactor, LONG) > 0, "woken: {} readers, {} writers", reads.get(), writes.get());
    }
    let event = ready(&reactor, &registration, Direction::Read);
    assert!(event.readiness().intersects(Readiness::READ_CLOSED));
    assert!(event.readiness().intersects(Readiness::WRITE_CLOSED));
}

#[test]
fn an_error_without_in_or_out_wakes_the_writer_of_a_pipe() {
    let reactor = reactor();
    let (reader, mut writer) = io::pipe().unwrap();
    // With room in the pipe the kernel would report OUT beside the error.
    socket2::SockRef::from(&writer).set_nonblocking(true).unwrap();
    while writer.write(&[0; 4096]).is_ok() {}
    let registration = Reactor::register(&reactor, writer.as_raw_fd()).unwrap();
    settle(&reactor);
    let (writes, waker) = Count::waker();
    assert!(poll(&registration, &waker, Direction::Write).is_pending());
    drop(reader);
    while writes.get() == 0 {
        assert!(turn(&reactor, LONG) > 0, "the error was never reported");
    }
    let event = ready(&reactor, &registration, Direction::Write);
    assert!(event.readiness().intersects(Readiness::ERROR));
    assert_eq!(writer.write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn stale_events_never_reach_the_next_socket_with_the_same_descriptor() {
    let reactor = reactor();
    let mut reused = 0;
    let mut last_fd = -1;
    for round in 0..10_000 {
        let (a, mut b) = pair();
        let fd = a.as_raw_fd();
        reused += usize::from(fd == last_fd);
        last_fd = fd;
        let registration = Reactor::register(&reactor, fd).unwrap();
        b.write_all(b"x").unwrap();
        if round % 2 == 0 {
            assert_eq!(turn(&reactor, LONG), 1);
        }
        drop(registration);
        drop(a);
    }
    assert!(reused > 5_000, "descriptors and slots are reused: {reused}");
    assert_eq!(reactor.sources(), 0);
    assert_eq!(turn(&reactor, Duration::ZERO), 0, "nothing is left in the kernel's set");
}

#[test]
fn a_stale_token_finds_nobody_although_its_slot_is_taken_again() {
    let table = Table::new();
    let first = table.insert(Arc::new(Source::new())).unwrap();
    assert!(table.remove(first).is_some());
    let source = Arc::new(Source::new());
    let second = table.insert(source.clone()).unwrap();
    let mut wakers = Vec::new();
    assert_eq!(table.deliver([(first, Readiness::READABLE)].into_iter(), &mut wakers), 0);
    assert!(source.ready_now(Readiness::READABLE).is_none());
    assert!(table.remove(first).is_none());
    assert_eq!(table.deliver([(second, Readiness::READABLE)].into_iter(), &mut wakers), 1);
    assert!(source.ready_now(Readiness::READABLE).is_some());
    assert_eq!(table.len(), 1);
}

#[test]
fn a_turn_beside_deregistrations_delivers_only_to_the_living() {
    let reactor = reactor();
    let stop = Arc::new(AtomicUsize::new(0));
    let turner = {
        let (reactor, stop) = (reactor.clone(), stop.clone());
        thread::spawn(move || {
            // Ordering: Relaxed, the join below publishes; this is only a request to end.
            while stop.load(Ordering::Relaxed) == 0 {
                turn(&reactor, LONG);
            }
        })
    };
    for _ in 0..10_000 {
        let (a, mut b) = pair();
        let registration = Reactor::register(&reactor, a.as_raw_fd()).unwrap();
        b.write_all(b"x").unwrap();
        drop(registration);
        drop(a);
        // The next tenant of the descriptor and the slot has nothing to read, and must not be told that it has.
        let (c, _d) = pair();
        let next = Reactor::register(&reactor, c.as_raw_fd()).unwrap();
        assert!(poll(&next, Waker::noop(), Direction::Read).is_pending());
        drop(next);
    }
    // Ordering: Relaxed, see above.
    stop.store(1, Ordering::Relaxed);
    reactor.wake();
    turner.join().unwrap();
    assert_eq!(reactor.sources(), 0);
}

#[test]
fn a_regular_file_is_refused_and_leaves_nothing() {
    let reactor = reactor();
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    let error = Reactor::register(&reactor, file.as_raw_fd()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    assert_eq!(reactor.sources(), 0);
    let (a, _b) = pair();
    let _first = Reactor::register(&reactor, a.as_raw_fd()).unwrap();
    assert_eq!(Reactor::register(&reactor, a.as_raw_fd()).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(reactor.sources(), 1);
    assert_eq!(turn(&reactor, LONG), 1, "the first registration still works");
}

#[test]
fn a_thief_takes_the_events_of_an_owner_that_does_not_turn() {
    let reactor = reactor();
    let (a, mut b) = pair();
    let registration = Reactor::register(&reactor, a.as_raw_fd()).unwrap();
    settle(&reactor);
    let (reads, waker) = Count::waker();
    assert!(poll(&registration, &waker, Direction::Read).is_pending());
    b.write_all(b"x").unwrap();
    let thief = {
        let reactor = reactor.clone();
        thread::spawn(move || {
            let mut wakers = Vec::new();
            let events = reactor.try_turn(&mut wakers);
            wakers.into_iter().for_each(Waker::wake);
            events
        })
    };
    assert_eq!(thief.join().unwrap(), Some(1));
    assert_eq!(reads.get(), 1);
    assert_eq!(turn(&reactor, Duration::ZERO), 0, "no event is dispatched twice");
}

#[test]
fn wake_ends_a_turn_and_a_thief_keeps_out_of_it() {
    let reactor = reactor();
    let owner = {
        let reactor = reactor.clone();
        thread::spawn(move || {
            let mut wakers = Vec::new();
            reactor.turn(None, &mut wakers).unwrap()
        })
    };
    // Until the owner is in, a thief gets in.
    while reactor.try_turn(&mut Vec::new()).is_some() {
        thread::yield_now();
    }
    reactor.wake();
    assert_eq!(owner.join().unwrap(), 0);
}

#[test]
fn a_wake_that_a_thief_was_told_of_still_ends_the_owners_turn() {
    let reactor = reactor();
    reactor.wake();
    assert_eq!(reactor.try_turn(&mut Vec::new()), Some(0));
    let begin = Instant::now();
    assert_eq!(turn(&reactor, LONG), 0);
    assert!(begin.elapsed() < LONG, "the owner was not woken");
    let begin = Instant::now();
    turn(&reactor, Duration::from_millis(20));
    assert!(begin.elapsed() >= Duration::from_millis(20), "one wake ends one turn");
}

#[test]
fn every_wake_ends_some_turn_beside_a_thief() {
    let reactor = reactor();
    let rounds = Arc::new(AtomicUsize::new(0));
    let stop = Arc::new(AtomicUsize::new(0));
    let thief = {
        let (reactor, stop) = (reactor.clone(), stop.clone());
        thread::spawn(move || {
            // Ordering: Relaxed, only a request to end.
            while stop.load(Ordering::Relaxed) == 0 {
                reactor.try_turn(&mut Vec::new());
            }
        })
    };
    let owner = {
        let (reactor, rounds) = (reactor.clone(), rounds.clone());
        thread::spawn(move || {
            for _ in 0..2_000 {
                let begin = Instant::now();
                turn(&reactor, LONG);
                assert!(begin.elapsed() < LONG, "the owner was not woken");
                // Ordering: Release, pairs with the load below: the turn ended before the count says so.
                rounds.fetch_add(1, Ordering::Release);
            }
        })
    };
    for round in 0..2_000 {
        reactor.wake();
        // Ordering: Acquire, pairs with the increment above.
        while rounds.load(Ordering::Acquire) <= round && !owner.is_finished() {
            thread::yield_now();
        }
    }
    // Ordering: Relaxed, see above.
    stop.store(1, Ordering::Relaxed);
    thief.join().unwrap();
    owner.join().unwrap();
}

/// A wait of `reactor`'s owner in a vigil: which others it was told of, and whether anything ended it.
fn turn_in(reactor: &Reactor, vigil: &mut Vigil, timeout: Option<Duration>) -> (Vec<usize>, bool) {
    let (mut ready, mut wakers) = (Vec::new(), Vec::new());
    let is_ended = reactor.turn_in(vigil, timeout, &mut wakers, &mut ready).unwrap();
    wakers.into_iter().for_each(Waker::wake);
    (ready, is_ended)
}

#[test]
fn a_vigil_ends_with_an_event_of_its_owner_or_of_another() {
    let (own, other) = (reactor(), reactor());
    let ((a, mut b), (c, mut d)) = (pair(), pair());
    let of_own = Reactor::register(&own, a.as_raw_fd()).unwrap();
    let of_other = Reactor::register(&other, c.as_raw_fd()).unwrap();
    settle(&own);
    settle(&other);
    let mut vigil = Vigil::new(&own).unwrap();
    vigil.add(7, &other).unwrap();
    assert_eq!(turn_in(&own, &mut vigil, Some(Duration::ZERO)), (Vec::new(), false));
    let (reads, waker) = Count::waker();
    assert!(poll(&of_own, &waker, Direction::Read).is_pending());
    b.write_all(b"x").unwrap();
    assert_eq!(turn_in(&own, &mut vigil, None), (Vec::new(), true));
    assert_eq!(reads.get(), 1, "the own events are delivered, and no turn follows");
    let (others, waker) = Count::waker();
    assert!(poll(&of_other, &waker, Direction::Read).is_pending());
    d.write_all(b"x").unwrap();
    assert_eq!(turn_in(&own, &mut vigil, None), (vec![7], true));
    assert_eq!(others.get(), 0, "it is for the caller to turn the other");
    assert_eq!(other.try_turn(&mut Vec::new()), Some(1));
    assert_eq!(turn_in(&own, &mut vigil, Some(Duration::ZERO)), (Vec::new(), false));
    vigil.remove(7);
    d.write_all(b"x").unwrap();
    assert_eq!(turn_in(&own, &mut vigil, Some(Duration::ZERO)), (Vec::new(), false));
}

#[test]
fn what_is_there_already_ends_each_wait_of_a_vigil_anew() {
    let (own, other) = (reactor(), reactor());
    let (a, mut b) = pair();
    let _registration = Reactor::register(&other, a.as_raw_fd()).unwrap();
    settle(&other);
    b.write_all(b"x").unwrap();
    let mut vigil = Vigil::new(&own).unwrap();
    vigil.add(0, &other).unwrap();
    for _ in 0..3 {
        // Nobody turns it: the edge was reported, the event is still there.
        assert_eq!(turn_in(&own, &mut vigil, Some(LONG)), (vec![0], true));
    }
}

#[test]
fn a_wake_ends_a_vigil_also_if_a_thief_was_told_of_it() {
    let (own, other) = (reactor(), reactor());
    // Each over the other: no circle.
    let mut vigil = Vigil::new(&own).unwrap();
    vigil.add(1, &other).unwrap();
    let mut of_other = Vigil::new(&other).unwrap();
    of_other.add(0, &own).unwrap();
    own.wake();
    assert_eq!(turn_in(&own, &mut vigil, None), (Vec::new(), true));
    own.wake();
    assert_eq!(own.try_turn(&mut Vec::new()), Some(0));
    let begin = Instant::now();
    turn_in(&own, &mut vigil, Some(LONG));
    assert!(begin.elapsed() < LONG, "the owner was not woken");
    let owner = {
        let own = own.clone();
        thread::spawn(move || turn_in(&own, &mut vigil, None))
    };
    // Until the owner is in, a thief gets in; after that none can take the wake-up (V-a).
    while own.try_turn(&mut Vec::new()).is_some() {
        thread::yield_now();
    }
    own.wake();
    assert_eq!(owner.join().unwrap(), (Vec::new(), true));
}

#[test]
fn shutdown_ends_every_wait_and_refuses_new_sources() {
    let reactor = reactor();
    let (a, b) = pair();
    let registration = Reactor::register(&reactor, a.as_raw_fd()).unwrap();
    let (reads, waker) = Count::waker();
    assert!(poll(&registration, &waker, Direction::Read).is_pending());
    let mut keyed = Box::pin(registration.readiness(Direction::Read.readiness()));
    assert!(keyed.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let mut wakers = Vec::new();
    reactor.shutdown(&mut wakers);
    wakers.into_iter().for_each(Waker::wake);
    assert_eq!(reads.get(), 2);
    let Poll::Ready(event) = keyed.as_mut().poll(&mut Context::from_waker(&waker)) else {
        panic!("a wait outlived the shutdown");
    };
    assert!(event.is_shutdown());
    assert_eq!(registration.clear_ready(event, Direction::Read).unwrap_err().kind(), io::ErrorKind::Other);
    assert_eq!(
        Reactor::register(&reactor, b.as_raw_fd()).unwrap_err().to_string(),
        "the runtime of this socket has shut down"
    );
}

#[test]
fn many_wait_on_one_socket_and_one_that_leaves_takes_nothing_along() {
    let reactor = reactor();
    let (a, mut b) = pair();
    let registration = Reactor::register(&reactor, a.as_raw_fd()).unwrap();
    settle(&reactor);
    let (count, waker) = Count::waker();
    let mut waits: Vec<_> = (0..10).map(|_| Box::pin(registration.readiness(Direction::Read.readiness()))).collect();
    for wait in &mut waits {
        assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    drop(waits.remove(3));
    b.write_all(b"x").unwrap();
    assert_eq!(turn(&reactor, LONG), 1);
    assert_eq!(count.get(), 9);
    for wait in &mut waits {
        assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    }
}

#[test]
fn dropping_a_registration_wakes_who_is_left() {
    let reactor = reactor();
    let (a, _b) = pair();
    let registration = Reactor::register(&reactor, a.as_raw_fd()).unwrap();
    let (count, waker) = Count::waker();
    assert!(poll(&registration, &waker, Direction::Read).is_pending());
    drop(registration);
    assert_eq!(count.get(), 1);
}

#[test]
fn a_duplicate_that_stays_open_sends_no_event_to_whoever_comes_next() {
    // The kernel counts open files, not descriptors: closing one of two leaves the file in the set of the reactor, and its events keep the
    // old token, unless it was taken out first (R4).
    let reactor = reactor();
    let mut reused = 0;
    for round in 0..500 {
        let (a, mut b) = pair();
        let fd = a.as_raw_fd();
        let duplicate = a.try_clone().unwrap();
        let registration = Reactor::register(&reactor, fd).unwrap();
        ready(&reactor, &registration, Direction::Write);
        if round % 2 == 0 {
            // An event that the kernel has queued when the registration goes.
            b.write_all(b"x").unwrap();
        }
        drop(registration);
        drop(a);
        let (next, _other) = pair();
        reused += usize::from(next.as_raw_fd() == fd);
        let registration = Reactor::register(&reactor, next.as_raw_fd()).unwrap();
        settle(&reactor);
        let (reads, waker) = Count::waker();
        assert!(poll(&registration, &waker, Direction::Read).is_pending());
        b.write_all(b"y").unwrap();
        assert_eq!(turn(&reactor, Duration::ZERO), 0, "the duplicate is in no set any more");
        assert_eq!(reads.get(), 0);
        drop(duplicate);
    }
    // Other tests open descriptors meanwhile.
    assert!(reused > 50, "the number is mostly used again: {reused}");
}

#[test]
fn a_refused_connection_wakes_the_writer_with_its_error() {
    let reactor = reactor();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    let registration = Reactor::register(&reactor, socket.as_raw_fd()).unwrap();
    // A socket that was never connected hangs up at once; that is not what is tested.
    settle(&reactor);
    clear(&registration, Direction::Write);
    let (writes, waker) = Count::waker();
    assert!(poll(&registration, &waker, Direction::Write).is_pending());
    // On loopback the answer may come before the call returns.
    drop(socket.connect(&address.into()));
    while writes.get() == 0 {
        assert!(turn(&reactor, LONG) > 0, "the refusal was never reported");
    }
    let event = ready(&reactor, &registration, Direction::Write);
    assert!(event.readiness().intersects(Readiness::WRITE_CLOSED));
    let error = socket.take_error().unwrap();
    assert!(error.is_none_or(|error| error.kind() == io::ErrorKind::ConnectionRefused));
}

#[test]
fn a_refused_datagram_wakes_the_reader_with_its_error() {
    // The error comes without bytes, and either direction may be the one to report it.
    let reactor = reactor();
    let dead = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.connect(dead).unwrap();
    let registration = Reactor::register(&reactor, socket.as_raw_fd()).unwrap();
    ready(&reactor, &registration, Direction::Write);
    settle(&reactor);
    let (reads, waker) = Count::waker();
    assert!(poll(&registration, &waker, Direction::Read).is_pending());
    socket.send(b"x").unwrap();
    while reads.get() == 0 {
        assert!(turn(&reactor, LONG) > 0, "the error was never reported");
    }
    let event = ready(&reactor, &registration, Direction::Read);
    assert!(event.readiness().intersects(Readiness::ERROR));
    assert_eq!(socket.recv(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(socket.recv(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock, "told once");
}

/// Whether a wait at the tripwire is over before it began.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_tripped(tripwire: &Tripwire) -> bool {
    tripwire.wait(Duration::ZERO).unwrap()
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn a_tripwire_is_tripped_once_by_what_is_ready_while_it_is_armed() {
    let reactor = reactor();
    let (a, mut b) = pair();
    let _registration = Reactor::register(&reactor, a.as_raw_fd()).unwrap();
    settle(&reactor);
    let tripwire = Tripwire::new().unwrap();
    assert!(!tripwire.arm(&reactor), "it was not added");
    assert!(tripwire.add(&reactor));
    b.write_all(b"x").unwrap();
    assert!(!is_tripped(&tripwire), "nobody armed");
    settle(&reactor);
    for _ in 0..3 {
        assert!(tripwire.arm(&reactor));
        assert!(!is_tripped(&tripwire), "nothing is ready");
        b.write_all(b"x").unwrap();
        assert!(tripwire.wait(LONG).unwrap());
        b.write_all(b"x").unwrap();
        assert!(!is_tripped(&tripwire), "it was told of already");
        assert!(tripwire.arm(&reactor));
        assert!(is_tripped(&tripwire), "what was there before counts (W1)");
        settle(&reactor);
    }
    tripwire.remove(&reactor);
    assert!(!tripwire.arm(&reactor));
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn a_tripwire_hears_nothing_of_what_was_disarmed() {
    let reactors = [reactor(), reactor()];
    let pairs = [pair(), pair()];
    let _registrations =
        [0, 1].map(|index: usize| Reactor::register(&reactors[index], pairs[index].0.as_raw_fd()).unwrap());
    let settle_both = || reactors.iter().for_each(|each| settle(each));
    settle_both();
    let tripwire = Tripwire::new().unwrap();
    assert!(reactors.iter().all(|each| tripwire.add(each)));
    for _ in 0..3 {
        assert!(reactors.iter().all(|each| tripwire.arm(each)));
        tripwire.disarm(&reactors[0]);
        (&pairs[0].1).write_all(b"x").unwrap();
        assert!(!is_tripped(&tripwire));
        (&pairs[1].1).write_all(b"x").unwrap();
        assert!(is_tripped(&tripwire), "the other is armed on");
        settle_both();
    }
    let without_sockets = Reactor::new(256);
    assert!(!tripwire.add(&without_sockets) && !tripwire.arm(&without_sockets));
    tripwire.disarm(&without_sockets);
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn a_tripwire_can_be_tripped_by_hand_before_the_wait_or_in_it() {
    let tripwire = Tripwire::new().unwrap();
    for _ in 0..3 {
        tripwire.trip();
        tripwire.trip();
        assert!(tripwire.wait(LONG).unwrap());
        assert!(!is_tripped(&tripwire), "once");
    }
    thread::scope(|scope| {
        let waiter = scope.spawn(|| tripwire.wait(LONG).unwrap());
        tripwire.trip();
        assert!(waiter.join().unwrap());
    });
}
