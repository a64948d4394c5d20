//! TCP through the public interface alone. Nothing here waits by the clock.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use eddies::NoRuntime;
use eddies::io::{AsyncRead, AsyncWrite, Interest};
use eddies::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use futures_util::io::{AsyncReadExt, AsyncWriteExt};
use futures_util::{FutureExt, StreamExt};

const ANY_PORT: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

fn run<T>(future: impl Future<Output = io::Result<T>>) -> T {
    eddies::run(future).expect("no I/O error")
}

async fn connected() -> io::Result<(TcpStream, TcpStream)> {
    let listener = assert_send(TcpListener::bind(ANY_PORT)).await?;
    let client = assert_send(TcpStream::connect(listener.local_addr()?)).await?;
    let (server, peer) = assert_send(listener.accept()).await?;
    assert_eq!(peer, client.local_addr()?);
    Ok((client, server))
}

/// An address where nobody listens, and nobody else can while the socket is there, which has it.
fn dead_address() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a descriptor is left");
    socket.bind(ANY_PORT.into()).expect("a free port");
    let address = socket.local_addr().expect("it is bound");
    (socket, address)
}

/// Polls once; the future must not be ready.
fn assert_waits(future: Pin<&mut impl Future>) {
    assert!(future.poll(&mut Context::from_waker(Waker::noop())).is_pending(), "nothing is there to be ready for");
}

#[track_caller]
fn assert_no_runtime<T: std::fmt::Debug>(answer: Option<io::Result<T>>) {
    let error = answer.expect("it does not hang").expect_err("it cannot wait");
    assert!(error.get_ref().is_some_and(|inner| inner.is::<NoRuntime>()), "{error:?}");
}

fn assert_send<T: Send>(value: T) -> T {
    value
}

/// Bytes that tell their place, so that a lost, doubled or misplaced piece shows.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
}

#[test]
fn a_hundred_connections_are_echoed() {
    run(async {
        let listener = TcpListener::bind(ANY_PORT).await?;
        let address = listener.local_addr()?;
        let server = eddies::spawn(async move {
            for _ in 0..100 {
                let (stream, _) = listener.accept().await?;
                eddies::spawn(async move { futures_util::io::copy(&stream, &mut &stream).await });
            }
            io::Result::Ok(())
        });
        let clients: Vec<_> = (0..100_u32)
            .map(|number| {
                eddies::spawn(async move {
                    let mut stream = TcpStream::connect(address).await?;
                    for round in 0..20_u32 {
                        let sent = [number.to_be_bytes(), round.to_be_bytes()].concat();
                        stream.write_all(&sent).await?;
                        let mut echo = [0; 8];
                        stream.read_exact(&mut echo).await?;
                        assert_eq!(sent, echo);
                    }
                    io::Result::Ok(())
                })
            })
            .collect();
        for client in clients {
            client.await??;
        }
        server.await?
    });
}

#[test]
fn either_side_may_close_its_half_and_still_listen() {
    run(async {
        for swap in [false, true] {
            let (a, b) = connected().await?;
            let (mut first, mut second) = if swap { (b, a) } else { (a, b) };
            first.write_all(b"question").await?;
            first.close().await?;
            let mut heard = Vec::new();
            second.read_to_end(&mut heard).await?;
            assert_eq!(heard, b"question");
            second.write_all(b"answer").await?;
            second.shutdown(Shutdown::Write)?;
            heard.clear();
            first.read_to_end(&mut heard).await?;
            assert_eq!(heard, b"answer");
            let error = first.write_all(b"more").await.expect_err("its write direction is closed");
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        }
        Ok(())
    });
}

#[test]
fn closing_a_broken_connection_is_no_error() {
    run(async {
        let (mut a, b) = connected().await?;
        b.set_linger(Some(Duration::ZERO))?;
        drop(b);
        let error = a.read(&mut [0]).await.expect_err("the peer crashed");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(a.shutdown(Shutdown::Write).expect_err("it says so").kind(), ErrorKind::NotConnected);
        a.close().await
    });
}

#[test]
fn a_reset_reaches_a_reader_that_waits() {
    run(async {
        let (mut a, b) = connected().await?;
        let mut buffer = [0];
        let mut read = pin!(a.read(&mut buffer));
        assert_waits(read.as_mut());
        b.set_linger(Some(Duration::ZERO))?;
        drop(b);
        assert_eq!(read.await.expect_err("the peer crashed").kind(), ErrorKind::ConnectionReset);
        Ok(())
    });
}

#[test]
fn vectored_io_keeps_the_order_of_the_buffers() {
    run(async {
        let (mut a, mut b) = connected().await?;
        let sent = a.write_vectored(&[IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two")]).await?;
        assert_eq!(sent, 7);
        b.readable().await?;
        let (mut head, mut tail) = ([0; 2], [0; 16]);
        let read = b.read_vectored(&mut [IoSliceMut::new(&mut head), IoSliceMut::new(&mut tail)]).await?;
        assert_eq!((read, &head, &tail[..5]), (7, b"on", &b"e two"[..]));

        assert_eq!(a.try_write_vectored(&[IoSlice::new(b"thr"), IoSlice::new(b"ee")])?, 5);
        b.readable().await?;
        let read = b.try_read_vectored(&mut [IoSliceMut::new(&mut head), IoSliceMut::new(&mut tail)])?;
        assert_eq!((read, &head, &tail[..3]), (5, b"th", &b"ree"[..]));
        Ok(())
    });
}

/// The system takes a limited number of buffers per call. A write that is short because of that has not filled the socket, and must not
/// wait for room that is there already.
/// The kernel counts what goes through `write` and `writev`, and not what goes through `send`.
#[cfg(target_os = "linux")]
#[test]
fn few_bytes_in_several_pieces_are_sent_as_one() {
    fn written() -> Option<u64> {
        let counts = std::fs::read_to_string("/proc/thread-self/io").ok()?;
        counts.lines().find_map(|line| line.strip_prefix("syscw: "))?.parse().ok()
    }
    run(async {
        let (mut a, mut b) = connected().await?;
        // A kernel that does not count cannot be asked.
        let Some(before) = written() else { return Ok(()) };
        let pieces = [IoSlice::new(b"head "), IoSlice::new(b"body")];
        assert_eq!(a.write_vectored(&pieces).await?, 9);
        assert_eq!(a.try_write_vectored(&pieces)?, 9);
        assert_eq!(written(), Some(before));
        let long = pattern(4096);
        assert_eq!(a.try_write_vectored(&[IoSlice::new(&long), IoSlice::new(b"!")])?, 4097);
        assert_eq!(written(), Some(before + 1));
        let mut read = vec![0; 18 + 4097];
        b.read_exact(&mut read).await?;
        assert!(read == [b"head bodyhead body".as_slice(), &long, b"!"].concat());
        Ok(())
    });
}

#[test]
fn more_buffers_than_one_call_takes_do_not_hang() {
    run(async {
        let (mut a, mut b) = connected().await?;
        let sent = pattern(3_000 * 7);
        let expected = sent.clone();
        // The far end has been read from before, so that both ends are registered and readiness is known.
        a.write_all(b"!").await?;
        b.read_exact(&mut [0]).await?;
        a.writable().await?;
        let writer = eddies::spawn(async move {
            let mut done = 0;
            while done < sent.len() {
                let slices: Vec<_> = sent[done..].chunks(7).map(IoSlice::new).collect();
                done += a.write_vectored(&slices).await?;
            }
            io::Result::Ok(a)
        });
        let mut read = vec![0; expected.len()];
        b.read_exact(&mut read).await?;
        assert_eq!(read, expected);
        writer.await?.map(drop)
    });
}

#[test]
fn peeking_takes_nothing_away() {
    run(async {
        let (mut a, mut b) = connected().await?;
        a.write_all(b"peek").await?;
        let mut buffer = [0; 8];
        assert_eq!(b.peek(&mut buffer).await?, 4);
        assert_eq!(poll_fn(|cx| b.poll_peek(cx, &mut buffer)).await?, 4);
        assert_eq!(b.read(&mut buffer).await?, 4);
        assert_eq!(&buffer[..4], b"peek");
        a.close().await?;
        assert_eq!(b.peek(&mut buffer).await?, 0, "the end of the stream");
        Ok(())
    });
}

#[test]
fn borrowed_halves_read_and_write_at_once() {
    run(async {
        let (mut a, b) = connected().await?;
        let echo = eddies::spawn(async move { futures_util::io::copy(&b, &mut &b).await });
        let sent = pattern(1 << 20);
        let mut read = vec![0; sent.len()];
        let (mut reader, mut writer) = TcpStream::split(&mut a);
        let write = async {
            writer.write_all(&sent).await?;
            writer.close().await
        };
        let (read_answer, write_answer) = futures_util::future::join(reader.read_exact(&mut read), write).await;
        read_answer?;
        write_answer?;
        assert!(read == sent);
        assert_eq!(echo.await??, sent.len() as u64);
        Ok(())
    });
}

#[test]
fn owned_halves_move_apart_and_reunite() {
    run(async {
        let (a, mut b) = connected().await?;
        let (mut reader, mut writer) = a.into_split();
        let writing = eddies::spawn(async move {
            writer.write_all(b"ping").await?;
            io::Result::Ok(writer)
        });
        let mut buffer = [0; 4];
        b.read_exact(&mut buffer).await?;
        b.write_all(b"pong").await?;
        assert_eq!(reader.peek(&mut buffer).await?, 4);
        reader.read_exact(&mut buffer).await?;
        assert_eq!(&buffer, b"pong");
        let mut whole = reader.reunite(writing.await??).expect("halves of one stream");
        whole.write_all(b"both").await?;
        b.read_exact(&mut buffer).await?;
        assert_eq!(&buffer, b"both", "reuniting has not ended the stream");
        Ok(())
    });
}

#[test]
fn halves_of_two_streams_do_not_reunite() {
    run(async {
        let ((a, _keep_a), (b, _keep_b)) = (connected().await?, connected().await?);
        let ((read_a, write_a), (read_b, write_b)) = (a.into_split(), b.into_split());
        let error = read_a.reunite(write_b).expect_err("of two streams");
        assert_eq!(error.to_string(), "the two halves are not of the same stream");
        let (read_a, write_b) = (error.0, error.1);
        write_a.reunite(read_a).expect("of one stream");
        write_b.reunite(read_b).expect("of one stream");
        Ok(())
    });
}

#[test]
fn dropping_the_owned_write_half_ends_the_stream_and_forgetting_it_does_not() {
    run(async {
        let (a, mut b) = connected().await?;
        let (mut reader, writer) = a.into_split();
        drop(writer);
        assert_eq!(b.read(&mut [0]).await?, 0, "the end of the stream");
        b.write_all(b"x").await?;
        assert_eq!(reader.read(&mut [0]).await?, 1, "the other direction lives");

        let (a, mut b) = connected().await?;
        let (reader, writer) = a.into_split();
        writer.forget();
        let mut buffer = [0];
        let mut read = pin!(b.read(&mut buffer));
        assert_waits(read.as_mut());
        drop(reader);
        assert_eq!(read.await?, 0, "the last half closes the stream");
        Ok(())
    });
}

#[test]
fn connecting_where_nobody_listens_is_refused() {
    run(async {
        let (_socket, dead) = dead_address();
        let error = TcpStream::connect(dead).await.expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let error = TcpSocket::new_v4()?.connect(dead).await.expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        Ok(())
    });
}

/// A listener whose backlog is full lets further connections wait, and a connection that waits must not pass for one that stands.
#[test]
fn a_connection_on_its_way_is_not_reported() {
    run(async {
        let socket = TcpSocket::new_v4()?;
        socket.bind(ANY_PORT.into())?;
        let listener = socket.listen(0)?;
        let address = listener.local_addr()?;
        let mut made = Vec::new();
        loop {
            assert!(made.len() < 100, "the backlog is never full");
            match TcpStream::connect(address).now_or_never() {
                Some(stream) => made.push(stream?),
                None => break,
            }
        }
        for stream in &made {
            assert_eq!(stream.peer_addr()?, address);
        }
        Ok(())
    });
}

#[test]
fn the_candidates_are_tried_in_turn() {
    run(async {
        let listener = TcpListener::bind(ANY_PORT).await?;
        let (_socket, dead) = dead_address();
        let candidates = [dead, listener.local_addr()?];
        let stream = TcpStream::connect(&candidates[..]).await?;
        assert_eq!(stream.peer_addr()?, candidates[1]);
        let error = TcpStream::connect(&candidates[..0]).await.expect_err("there is none");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        Ok(())
    });
}

#[test]
fn many_tasks_accept_from_one_listener() {
    run(async {
        let listener = Arc::new(TcpListener::bind(ANY_PORT).await?);
        let address = listener.local_addr()?;
        let acceptors: Vec<_> = (0..8)
            .map(|_| {
                let listener = Arc::clone(&listener);
                eddies::spawn(async move {
                    for _ in 0..8 {
                        listener.accept().await?.0.write_all(b"!").await?;
                    }
                    io::Result::Ok(())
                })
            })
            .collect();
        for _ in 0..64 {
            let mut all = Vec::new();
            TcpStream::connect(address).await?.read_to_end(&mut all).await?;
            assert_eq!(all, b"!");
        }
        for acceptor in acceptors {
            acceptor.await??;
        }
        Ok(())
    });
}

#[test]
fn listeners_share_a_port() {
    run(async {
        let listen = |address: SocketAddr| {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseport(true)?;
            socket.bind(address)?;
            socket.listen(64)
        };
        let first = listen(ANY_PORT.into())?;
        let address = first.local_addr()?;
        let acceptors = [first, listen(address)?].map(|listener| {
            eddies::spawn(async move {
                let mut incoming = listener.incoming();
                while let Some(stream) = incoming.next().await {
                    stream?.write_all(b"!").await?;
                }
                io::Result::Ok(())
            })
        });
        for _ in 0..32 {
            let mut all = Vec::new();
            TcpStream::connect(address).await?.read_to_end(&mut all).await?;
            assert_eq!(all, b"!");
        }
        assert_eq!(TcpListener::bind(address).await.expect_err("without the option").kind(), ErrorKind::AddrInUse);
        acceptors.iter().for_each(|task| task.abort());
        Ok(())
    });
}

#[test]
fn empty_buffers_wait_for_nothing() {
    run(async {
        let (mut a, _b) = connected().await?;
        assert_eq!(a.read(&mut []).await?, 0);
        assert_eq!(a.read_vectored(&mut [IoSliceMut::new(&mut [])]).await?, 0);
        assert_eq!(a.peek(&mut []).await?, 0);
        assert_eq!(a.write(&[]).await?, 0);
        assert_eq!(a.write_vectored(&[]).await?, 0);
        a.flush().await
    });
}

#[test]
fn sockets_come_from_the_standard_library_and_go_back() {
    run(async {
        let listener = TcpListener::from_std(std::net::TcpListener::bind(ANY_PORT)?)?;
        let address = listener.local_addr()?;
        let mut client = TcpStream::try_from(std::net::TcpStream::connect(address)?)?;
        let (server, _) = listener.accept().await?;
        // It was registered once; the standard library's socket works on without the loop.
        let mut waiting = server.into_split().0;
        let mut buffer = [0; 4];
        assert_waits(pin!(waiting.read(&mut buffer)));
        client.write_all(b"back").await?;
        let std_client: std::net::TcpStream = client.into_std()?;
        waiting.read_exact(&mut buffer).await?;
        assert_eq!(&buffer, b"back");

        let error = io::Read::read(&mut &std_client, &mut buffer).map(|len| assert_eq!(len, 0));
        assert!(error.is_ok() || error.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "still non-blocking");
        let again = TcpStream::from_std(std_client)?;
        assert_eq!(again.peer_addr()?, address);

        let std_listener: std::net::TcpListener = listener.into_std()?;
        assert_eq!(std_listener.accept().expect_err("still non-blocking").kind(), ErrorKind::WouldBlock);
        Ok(())
    });
}

#[test]
fn accepted_and_connected_streams_are_non_blocking() {
    run(async {
        let (a, b) = connected().await?;
        let streams = [a.into_std()?, b.into_std()?];
        for stream in &streams {
            assert_eq!(stream.peek(&mut [0]).expect_err("nothing is there").kind(), ErrorKind::WouldBlock);
        }
        Ok(())
    });
}

#[test]
fn a_cancelled_operation_loses_nothing() {
    run(async {
        let listener = TcpListener::bind(ANY_PORT).await?;
        for _ in 0..3 {
            assert_waits(pin!(listener.accept()));
        }
        let mut client = TcpStream::connect(listener.local_addr()?).await?;
        let (mut server, _) = listener.accept().await?;

        for round in 0..3_u8 {
            let mut buffer = [0; 16];
            assert_waits(pin!(server.read(&mut buffer)));
            assert_waits(pin!(server.readable()));
            assert_waits(pin!(server.peek(&mut buffer)));
            client.write_all(&[round; 5]).await?;
            server.read_exact(&mut buffer[..5]).await?;
            assert_eq!(buffer[..5], [round; 5]);
        }
        Ok(())
    });
}

#[test]
fn eight_mebibytes_pass_small_buffers_both_ways() {
    run(async {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(16 * 1024)?;
        socket.bind(ANY_PORT.into())?;
        let listener = socket.listen(1)?;
        let socket = TcpSocket::new_v4()?;
        socket.set_send_buffer_size(16 * 1024)?;
        assert!(socket.send_buffer_size()? >= 16 * 1024);
        let client = socket.connect(listener.local_addr()?).await?;
        let (server, _) = listener.accept().await?;

        let expected = Arc::new(pattern(8 << 20));
        let transfers = [client, server].map(|stream| {
            let expected = Arc::clone(&expected);
            let (mut reader, mut writer) = stream.into_split();
            let sent = Arc::clone(&expected);
            let write = eddies::spawn(async move {
                writer.write_all(&sent).await?;
                writer.close().await
            });
            eddies::spawn(async move {
                let mut all = vec![0; expected.len()];
                reader.read_exact(&mut all).await?;
                assert!(all == *expected, "they are not as they were sent");
                assert_eq!(reader.read(&mut [0]).await?, 0, "the end of the stream");
                write.await?
            })
        });
        for transfer in transfers {
            transfer.await??;
        }
        Ok(())
    });
}

#[test]
fn a_full_socket_waits_for_its_reader() {
    run(async {
        let (a, mut b) = connected().await?;
        let chunk = [7; 64 * 1024];
        let mut sent = 0;
        let error = loop {
            match a.try_write(&chunk) {
                Ok(len) => sent += len,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        // Loopback may still move bytes from one buffer to the other: then there is room, and no wait to see. Both ways must end well.
        let writing = eddies::spawn(async move {
            a.writable().await?;
            (&a).write_all(b"end").await
        });
        let mut all = Vec::new();
        b.read_to_end(&mut all).await?;
        writing.await??;
        assert_eq!(all.len(), sent + 3);
        Ok(())
    });
}

#[test]
fn readiness_is_seen_by_all_who_wait() {
    run(async {
        let (a, b) = connected().await?;
        assert_eq!(a.try_read(&mut [0]).expect_err("nothing is there").kind(), ErrorKind::WouldBlock);
        let ready = a.ready(Interest::READABLE | Interest::WRITABLE).await?;
        assert!(ready.is_writable() && !ready.is_readable());
        let a = Arc::new(a);
        let waiters: Vec<_> = (0..10)
            .map(|_| {
                let a = Arc::clone(&a);
                eddies::spawn(async move { a.readable().await })
            })
            .collect();
        eddies::yield_now().await;
        drop(b);
        for waiter in waiters {
            waiter.await??;
        }
        assert_eq!(a.try_read(&mut [0])?, 0, "the end of the stream");
        Ok(())
    });
}

#[test]
fn foreign_operations_run_under_our_readiness() {
    run(async {
        let (mut a, b) = connected().await?;
        let receive = || socket2::SockRef::from(&b).recv(&mut [MaybeUninit::uninit(); 8]);
        assert_eq!(b.try_io(Interest::READABLE, receive).expect_err("nothing").kind(), ErrorKind::WouldBlock);
        a.write_all(b"abc").await?;
        assert_eq!(b.async_io(Interest::READABLE, receive).await?, 3);
        a.write_all(b"defg").await?;
        poll_fn(|cx| b.poll_read_ready(cx)).await?;
        poll_fn(|cx| b.poll_write_ready(cx)).await?;
        let mut buffer = [MaybeUninit::uninit(); 8];
        assert_eq!(poll_fn(|cx| b.poll_read_uninit(cx, &mut buffer)).await?, 4);
        Ok(())
    });
}

#[test]
fn a_reader_and_a_writer_share_a_stream_by_reference() {
    run(async {
        let (a, b) = connected().await?;
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut &a).poll_read(&mut cx, &mut [0]).is_pending());
        assert!(matches!(Pin::new(&mut &a).poll_write(&mut cx, b"x"), Poll::Ready(Ok(1))));
        assert_eq!((&b).read(&mut [0; 2]).await?, 1);
        Ok(())
    });
}

#[test]
fn options_are_the_system_s() {
    run(async {
        let (a, _b) = connected().await?;
        a.set_nodelay(true)?;
        a.set_ttl(42)?;
        a.set_linger(Some(Duration::from_secs(3)))?;
        assert!(a.nodelay()?);
        assert_eq!((a.ttl()?, a.linger()?), (42, Some(Duration::from_secs(3))));
        a.set_linger(None)?;
        assert!(a.linger()?.is_none() && a.take_error()?.is_none());

        let socket = TcpSocket::new_v4()?;
        socket.set_keepalive(true)?;
        socket.set_reuseaddr(true)?;
        socket.set_nodelay(true)?;
        assert!(socket.keepalive()? && socket.reuseaddr()? && socket.nodelay()? && !socket.reuseport()?);
        socket.bind(ANY_PORT.into())?;
        let address = socket.local_addr()?;
        assert_eq!(socket.listen(1)?.local_addr()?, address);
        Ok(())
    });
}

#[test]
fn names_are_looked_up() {
    run(async {
        let addresses: Vec<_> = lookup_host("localhost:81").await?.collect();
        assert!(!addresses.is_empty());
        assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 81));
        let listener = TcpListener::bind(("localhost", 0)).await?;
        assert!(listener.local_addr()?.ip().is_loopback());
        let error = lookup_host("localhost").await.expect_err("no port");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        Ok(())
    });
}

/// Sockets can be made and used outside a runtime; what has to wait says what is missing.
#[test]
fn outside_a_runtime_nothing_hangs() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").now_or_never().expect("a numeric address")?;
    assert_no_runtime(listener.accept().now_or_never());
    let std_client = std::net::TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept().now_or_never().expect("a connection is there")?;
    assert_no_runtime(server.read(&mut [0]).now_or_never());
    assert_no_runtime(server.readable().now_or_never());
    assert_no_runtime(server.peek(&mut [0]).now_or_never());
    assert_no_runtime(lookup_host("localhost:80").now_or_never());
    assert_eq!(lookup_host("127.0.0.1:80").now_or_never().expect("a numeric address")?.count(), 1);
    server.write(b"x").now_or_never().expect("there is room")?;
    assert_eq!(io::Read::read(&mut &std_client, &mut [0; 2])?, 1);
    Ok(())
}

/// A socket that outside code has tried already is registered by the first task that uses it inside.
#[test]
fn a_socket_made_outside_works_inside() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").now_or_never().expect("a numeric address")?;
    assert_no_runtime(listener.accept().now_or_never());
    eddies::run(async {
        let address = listener.local_addr()?;
        let client = eddies::spawn(TcpStream::connect(address));
        let (_, peer) = listener.accept().await?;
        assert_eq!(client.await??.local_addr()?, peer);
        Ok(())
    })
}
