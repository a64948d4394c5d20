//! [`IoSource`] over socket pairs and a reactor that is turned by hand.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::task::Waker;
use std::time::Duration;

use super::*;
use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::loom::thread;

const LONG: Duration = Duration::from_secs(20);

fn reactor() -> Arc<Reactor> {
    Arc::new(Reactor::new(256))
}

/// One end as a source, registered as by a read that blocked; the other end plain.
fn registered(reactor: &Arc<Reactor>, blocked: Option<Direction>) -> (IoSource<UnixStream>, UnixStream) {
    let (a, b) = UnixStream::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    let source = IoSource::new(a);
    source.register_on(reactor, blocked).unwrap();
    (source, b)
}

fn turn(reactor: &Reactor) {
    let mut wakers = Vec::new();
    assert!(reactor.turn(Some(LONG), &mut wakers).unwrap() > 0, "an event never came");
    wakers.into_iter().for_each(Waker::wake);
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn read(mut io: &UnixStream, buffer: &mut [u8]) -> io::Result<usize> {
    io.read(buffer)
}

#[test]
fn an_operation_that_does_not_block_needs_no_runtime() {
    let (a, mut b) = UnixStream::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    let source = IoSource::new(a);
    b.write_all(b"abc").unwrap();
    let mut buffer = [0; 8];
    let answer = source.poll_io(&mut cx(), Direction::Read, |io| read(io, &mut buffer));
    assert!(matches!(answer, Poll::Ready(Ok(3))));
    assert!(source.registration.get().is_none());
    let answer = source.poll_io(&mut cx(), Direction::Read, |io| read(io, &mut buffer));
    let Poll::Ready(Err(error)) = answer else { panic!("it would block, and nobody could wake it: {answer:?}") };
    assert!(error.to_string().contains("needs an eddies runtime"), "{error}");
}

#[test]
fn an_interrupted_operation_is_tried_again() {
    let (a, _b) = UnixStream::pair().unwrap();
    let source = IoSource::new(a);
    let mut calls = 0;
    let answer = source.poll_io(&mut cx(), Direction::Read, |_| {
        calls += 1;
        if calls < 3 { Err(io::ErrorKind::Interrupted.into()) } else { Ok(calls) }
    });
    assert!(matches!(answer, Poll::Ready(Ok(3))));
}

#[test]
fn the_direction_that_did_not_block_is_tried_before_the_first_turn() {
    let reactor = reactor();
    let (source, _b) = registered(&reactor, Some(Direction::Read));
    let mut tries = 0;
    let answer = source.poll_io(&mut cx(), Direction::Read, |_| -> io::Result<()> {
        tries += 1;
        Err(io::ErrorKind::WouldBlock.into())
    });
    assert!(answer.is_pending());
    assert_eq!(tries, 0, "reading is known to block");
    assert!(matches!(source.poll_io(&mut cx(), Direction::Write, |mut io| io.write(b"x")), Poll::Ready(Ok(1))));
}

#[test]
fn would_block_clears_and_the_next_edge_brings_it_back() {
    let reactor = reactor();
    let (source, mut b) = registered(&reactor, None);
    let mut buffer = [0; 2];
    b.write_all(b"ab").unwrap();
    turn(&reactor);
    assert!(matches!(source.poll_io(&mut cx(), Direction::Read, |io| read(io, &mut buffer)), Poll::Ready(Ok(2))));
    assert!(source.poll_io(&mut cx(), Direction::Read, |io| read(io, &mut buffer)).is_pending());
    assert_eq!(
        source.try_io(Direction::Read, |_| -> io::Result<()> { panic!("known to block") }).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
    b.write_all(b"c").unwrap();
    turn(&reactor);
    assert!(matches!(source.poll_io(&mut cx(), Direction::Read, |io| read(io, &mut buffer)), Poll::Ready(Ok(1))));
}

#[test]
fn a_poll_that_moves_many_bytes_ends_sooner() {
    let reactor = reactor();
    let (source, _b) = registered(&reactor, None);
    turn(&reactor);
    let transfers = |bytes: usize| {
        crate::coop::with_budget(|| {
            let transfer = || source.poll_transfer(&mut cx(), Direction::Write, bytes, |_| Ok(bytes));
            std::iter::repeat_with(transfer).take_while(Poll::is_ready).count()
        })
    };
    assert_eq!(transfers(64), 128);
    assert!(transfers(64 << 10) < 128 / 8);
}

#[test]
fn a_short_transfer_saves_the_call_that_would_block() {
    let reactor = reactor();
    let (source, mut b) = registered(&reactor, None);
    b.write_all(b"abc").unwrap();
    turn(&reactor);
    let mut calls = 0;
    let mut buffer = [0; 8];
    let mut transfer = || {
        source.poll_transfer(&mut cx(), Direction::Read, 8, |io| {
            calls += 1;
            read(io, &mut buffer)
        })
    };
    assert!(matches!(transfer(), Poll::Ready(Ok(3))));
    assert!(transfer().is_pending());
    assert_eq!(calls, 1);
    b.write_all(b"d").unwrap();
    drop(b);
    turn(&reactor);
    let mut total = 0;
    let mut read_all = |io: &UnixStream| read(io, &mut [0; 8]);
    // A short read before the end of the stream must not hide that end.
    loop {
        match source.poll_transfer(&mut cx(), Direction::Read, 8, &mut read_all) {
            Poll::Ready(Ok(0)) => break,
            Poll::Ready(Ok(n)) => total += n,
            Poll::Ready(Err(error)) => panic!("{error}"),
            Poll::Pending => turn(&reactor),
        }
    }
    assert_eq!(total, 1);
}

#[test]
fn a_closed_socket_that_would_block_does_not_spin() {
    let reactor = reactor();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.connect(udp.local_addr().unwrap()).unwrap();
    udp.set_nonblocking(true).unwrap();
    socket2::SockRef::from(&udp).shutdown(std::net::Shutdown::Read).unwrap();
    let source = IoSource::new(udp);
    source.register_on(&reactor, None).unwrap();
    turn(&reactor);
    let mut tries = 0;
    let answer = source.poll_io(&mut cx(), Direction::Read, |udp| {
        tries += 1;
        udp.recv(&mut [0; 8])
    });
    assert!(answer.is_pending());
    assert_eq!(tries, 1, "the kernel says closed, and says would block");
}

#[test]
fn ready_names_what_is_ready_and_try_io_clears_it() {
    let reactor = reactor();
    let (source, mut b) = registered(&reactor, None);
    turn(&reactor);
    {
        let mut readable = pin!(source.ready(Interest::READABLE));
        assert!(readable.as_mut().poll(&mut cx()).is_pending());
        b.write_all(b"x").unwrap();
        turn(&reactor);
        let Poll::Ready(Ok(ready)) = readable.as_mut().poll(&mut cx()) else { panic!("a byte is there") };
        assert!(ready.is_readable() && !ready.is_writable() && !ready.is_read_closed() && !ready.is_error());
    }
    assert_eq!(source.try_io(Direction::Read, |io| read(io, &mut [0; 8])).unwrap(), 1);
    let error = source.try_io(Direction::Read, |io| read(io, &mut [0; 8])).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert!(pin!(source.ready(Interest::READABLE)).poll(&mut cx()).is_pending());
    let both = pin!(source.ready(Interest::READABLE | Interest::WRITABLE)).poll(&mut cx());
    assert!(matches!(both, Poll::Ready(Ok(ready)) if ready.is_writable() && !ready.is_readable()));
    assert!(matches!(source.poll_ready(&mut cx(), Direction::Write), Poll::Ready(Ok(()))));
    assert!(source.poll_ready(&mut cx(), Direction::Read).is_pending());
}

#[test]
fn many_tasks_read_one_socket_and_every_byte_goes_to_one_of_them() {
    let reactor = reactor();
    let (source, mut b) = registered(&reactor, Some(Direction::Read));
    let mut reads: Vec<_> = (0..5)
        .map(|_| {
            Box::pin(source.io(Direction::Read, |io| {
                let mut byte = [0];
                read(io, &mut byte).map(|_| byte[0])
            }))
        })
        .collect();
    for read in &mut reads {
        assert!(read.as_mut().poll(&mut cx()).is_pending());
    }
    drop(reads.pop());
    b.write_all(b"abcd").unwrap();
    let mut got = Vec::new();
    while !reads.is_empty() {
        turn(&reactor);
        reads.retain_mut(|read| match read.as_mut().poll(&mut cx()) {
            Poll::Ready(byte) => {
                got.push(byte.unwrap());
                false
            }
            Poll::Pending => true,
        });
    }
    assert_eq!(got, b"abcd");
}

#[test]
fn a_race_to_register_makes_one_registration() {
    let reactors: Vec<_> = (0..2).map(|_| reactor()).collect();
    for _ in 0..500 {
        let (a, _b) = UnixStream::pair().unwrap();
        a.set_nonblocking(true).unwrap();
        let source = Arc::new(IoSource::new(a));
        let threads: Vec<_> = reactors
            .iter()
            .map(|reactor| {
                let (source, reactor) = (source.clone(), reactor.clone());
                thread::spawn(move || std::ptr::from_ref(source.register_on(&reactor, None).unwrap()).addr())
            })
            .collect();
        let addresses: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_eq!(addresses[0], addresses[1]);
        assert_eq!(reactors.iter().map(|reactor| reactor.sources()).sum::<usize>(), 1);
    }
}

#[test]
fn into_inner_deregisters_and_gives_the_descriptor_back_open() {
    let reactor = reactor();
    let (source, mut b) = registered(&reactor, None);
    assert_eq!(reactor.sources(), 1);
    let mut io = source.into_inner();
    assert_eq!(reactor.sources(), 0);
    b.write_all(b"x").unwrap();
    assert_eq!(io.read(&mut [0; 2]).unwrap(), 1);
    // A descriptor that is still in the kernel's set could not be added again.
    Reactor::register(&reactor, io.as_raw_fd()).unwrap();
}

#[test]
fn after_shutdown_what_is_there_can_be_read_and_waiting_is_an_error() {
    let reactor = reactor();
    let (source, mut b) = registered(&reactor, None);
    b.write_all(b"x").unwrap();
    let mut wakers = Vec::new();
    reactor.shutdown(&mut wakers);
    let mut op = |io: &UnixStream| read(io, &mut [0; 8]);
    assert!(matches!(source.poll_io(&mut cx(), Direction::Read, &mut op), Poll::Ready(Ok(1))));
    for _ in 0..2 {
        let Poll::Ready(Err(error)) = source.poll_io(&mut cx(), Direction::Read, &mut op) else { panic!("a wait") };
        assert_eq!(error.to_string(), "the runtime of this socket has shut down");
    }
    assert!(matches!(source.poll_ready(&mut cx(), Direction::Read), Poll::Ready(Err(_))));
    assert!(matches!(pin!(source.ready(Interest::WRITABLE)).poll(&mut cx()), Poll::Ready(Err(_))));
    assert!(matches!(pin!(source.io(Direction::Read, &mut op)).poll(&mut cx()), Poll::Ready(Err(_))));
}

#[test]
fn a_socket_that_is_always_ready_yields_when_the_budget_is_used_up() {
    let (a, _b) = UnixStream::pair().unwrap();
    let source = IoSource::new(a);
    let count = AtomicUsize::new(0);
    let poll = crate::coop::with_budget(|| {
        let forever = async {
            loop {
                source.io(Direction::Read, |_| Ok(())).await.unwrap();
                // Ordering: Relaxed, one thread.
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        let mut forever = pin!(forever);
        let poll: Poll<()> = forever.as_mut().poll(&mut cx());
        poll
    });
    assert!(poll.is_pending());
    assert_eq!(count.into_inner(), 128);
}

#[test]
fn the_futures_can_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    fn is_sync<T: Sync>(_: &T) {}
    let (a, _b) = UnixStream::pair().unwrap();
    let source = IoSource::new(a);
    is_sync(&source);
    is_send(&source.io(Direction::Read, |_| Ok(())));
    is_send(&source.ready(Interest::READABLE));
}
