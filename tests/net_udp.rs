//! UDP through the public interface alone. Nothing here waits by the clock; datagrams on loopback are not lost as long as they fit the
//! receiver's buffer.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Waker};

use eddies::NoRuntime;
use eddies::io::Interest;
use eddies::net::UdpSocket;
use futures_util::FutureExt;

const ANY_PORT: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

fn run<T>(future: impl Future<Output = io::Result<T>>) -> T {
    eddies::run(future).expect("no I/O error")
}

async fn connected() -> io::Result<(UdpSocket, UdpSocket)> {
    let (a, b) = (UdpSocket::bind(ANY_PORT).await?, UdpSocket::bind(ANY_PORT).await?);
    a.connect(b.local_addr()?).await?;
    b.connect(a.local_addr()?).await?;
    Ok((a, b))
}

fn assert_waits(future: Pin<&mut impl Future>) {
    assert!(future.poll(&mut Context::from_waker(Waker::noop())).is_pending(), "nothing is there to be ready for");
}

#[test]
fn a_server_answers_many_clients() {
    run(async {
        let server = UdpSocket::bind(ANY_PORT).await?;
        let address = server.local_addr()?;
        let serving = eddies::spawn(async move {
            let mut buffer = [0; 64];
            for _ in 0..200 {
                let (len, from) = server.recv_from(&mut buffer).await?;
                server.send_to(&buffer[..len], from).await?;
            }
            io::Result::Ok(())
        });
        let clients: Vec<_> = (0..20_u8)
            .map(|number| {
                eddies::spawn(async move {
                    let socket = UdpSocket::bind(ANY_PORT).await?;
                    let mut buffer = [0; 64];
                    for round in 0..10 {
                        socket.send_to(&[number, round], address).await?;
                        assert_eq!(socket.recv_from(&mut buffer).await?, (2, address));
                        assert_eq!(buffer[..2], [number, round]);
                    }
                    io::Result::Ok(())
                })
            })
            .collect();
        for client in clients {
            client.await??;
        }
        serving.await?
    });
}

#[test]
fn connected_sockets_send_and_receive() {
    run(async {
        let (a, b) = connected().await?;
        assert_eq!(a.peer_addr()?, b.local_addr()?);
        let mut buffer = [0; 64];
        assert_eq!(a.send(b"by future").await?, 9);
        assert_eq!(b.recv(&mut buffer).await?, 9);
        assert_eq!(poll_fn(|cx| b.poll_send(cx, b"by poll")).await?, 7);
        assert_eq!(poll_fn(|cx| a.poll_recv(cx, &mut buffer)).await?, 7);
        assert_eq!(a.try_send(b"by try")?, 6);
        b.readable().await?;
        assert_eq!(b.try_recv(&mut buffer)?, 6);
        assert_eq!(&buffer[..6], b"by try");
        assert_eq!(b.try_recv(&mut buffer).expect_err("nothing left").kind(), ErrorKind::WouldBlock);
        Ok(())
    });
}

#[test]
fn unconnected_sockets_poll_and_try_too() {
    run(async {
        let (a, b) = (UdpSocket::bind(ANY_PORT).await?, UdpSocket::bind(ANY_PORT).await?);
        let (to, from) = (b.local_addr()?, a.local_addr()?);
        let mut buffer = [0; 64];
        poll_fn(|cx| a.poll_send_ready(cx)).await?;
        assert_eq!(poll_fn(|cx| a.poll_send_to(cx, b"poll", to)).await?, 4);
        assert_eq!(poll_fn(|cx| b.poll_recv_from(cx, &mut buffer)).await?, (4, from));
        assert_eq!(a.try_send_to(b"try", to)?, 3);
        poll_fn(|cx| b.poll_recv_ready(cx)).await?;
        assert_eq!(b.try_recv_from(&mut buffer)?, (3, from));
        assert_eq!(a.peer_addr().expect_err("not connected").kind(), ErrorKind::NotConnected);
        Ok(())
    });
}

#[test]
fn peeking_takes_nothing_away() {
    run(async {
        let (a, b) = connected().await?;
        let from = a.local_addr()?;
        a.send(b"peek").await?;
        let mut buffer = [0; 64];
        assert_eq!(b.peek(&mut buffer).await?, 4);
        assert_eq!(b.peek_from(&mut buffer).await?, (4, from));
        assert_eq!(poll_fn(|cx| b.poll_peek_from(cx, &mut buffer)).await?, (4, from));
        assert_eq!(b.try_peek_from(&mut buffer)?, (4, from));
        assert_eq!(b.recv_from(&mut buffer).await?, (4, from));
        Ok(())
    });
}

#[test]
fn empty_and_short_datagrams_end_nothing() {
    run(async {
        let (a, b) = connected().await?;
        for message in [&b"first"[..], b"", b"cut off", b"last"] {
            a.send(message).await?;
        }
        let mut buffer = [0; 5];
        let mut lens = Vec::new();
        for _ in 0..4 {
            lens.push(b.recv(&mut buffer).await?);
        }
        assert_eq!(lens, [5, 0, 5, 4]);
        assert_eq!(&buffer[..4], b"last");
        Ok(())
    });
}

#[test]
fn many_tasks_share_a_socket() {
    run(async {
        let (a, b) = connected().await?;
        let b = Arc::new(b);
        let receivers: Vec<_> = (0..16)
            .map(|_| {
                let b = Arc::clone(&b);
                eddies::spawn(async move {
                    let mut byte = [0];
                    b.recv(&mut byte).await.map(|_| byte[0])
                })
            })
            .collect();
        for number in 0..16 {
            a.send(&[number]).await?;
        }
        let mut received = Vec::new();
        for receiver in receivers {
            received.push(receiver.await??);
        }
        received.sort_unstable();
        assert_eq!(received, (0..16).collect::<Vec<_>>(), "each datagram went to one task");
        Ok(())
    });
}

#[test]
fn a_cancelled_receive_loses_nothing() {
    run(async {
        let (a, b) = connected().await?;
        let mut buffer = [0; 8];
        for round in 0..3 {
            assert_waits(pin!(b.recv(&mut buffer)));
            assert_waits(pin!(b.readable()));
            a.send(&[round]).await?;
            assert_eq!(b.recv(&mut buffer).await?, 1);
            assert_eq!(buffer[0], round);
        }
        Ok(())
    });
}

#[test]
fn a_dead_peer_is_reported_and_the_socket_lives_on() {
    run(async {
        let (a, b) = connected().await?;
        let address = b.local_addr()?;
        drop(b);
        a.send(b"to nobody").await?;
        let error = a.recv(&mut [0]).await.expect_err("nobody is there");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let b = UdpSocket::bind(address).await?;
        a.send(b"again").await?;
        assert_eq!(b.recv(&mut [0; 8]).await?, 5);
        Ok(())
    });
}

#[test]
fn options_and_conversions_are_the_system_s() {
    run(async {
        let socket = UdpSocket::from_std(std::net::UdpSocket::bind(ANY_PORT)?)?;
        socket.set_broadcast(true)?;
        socket.set_ttl(7)?;
        socket.set_multicast_loop_v4(false)?;
        socket.set_multicast_ttl_v4(3)?;
        assert!(socket.broadcast()? && !socket.multicast_loop_v4()?);
        assert_eq!((socket.ttl()?, socket.multicast_ttl_v4()?), (7, 3));
        let group = Ipv4Addr::new(224, 0, 0, 251);
        socket.join_multicast_v4(group, Ipv4Addr::LOCALHOST)?;
        socket.leave_multicast_v4(group, Ipv4Addr::LOCALHOST)?;
        socket.leave_multicast_v4(group, Ipv4Addr::LOCALHOST).expect_err("it has left");
        assert!(socket.take_error()?.is_none());
        assert!(socket.ready(Interest::READABLE | Interest::WRITABLE).await?.is_writable());
        let socket: std::net::UdpSocket = socket.into_std()?;
        assert_eq!(socket.recv(&mut [0]).expect_err("still non-blocking").kind(), ErrorKind::WouldBlock);
        Ok(())
    });
}

#[test]
fn outside_a_runtime_nothing_hangs() -> io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0").now_or_never().expect("a numeric address")?;
    let error = socket.recv(&mut [0]).now_or_never().expect("it does not hang").expect_err("it cannot wait");
    assert!(error.get_ref().is_some_and(|inner| inner.is::<NoRuntime>()), "{error:?}");
    socket.send_to(b"x", socket.local_addr()?).now_or_never().expect("there is room")?;
    assert_eq!(socket.recv(&mut [0; 2]).now_or_never().expect("it is there")?, 1);
    Ok(())
}
