//! Unix sockets through the public interface alone. Nothing here waits by the clock.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice};
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Waker};

use eddies::NoRuntime;
use eddies::io::Interest;
use eddies::net::{UnixDatagram, UnixListener, UnixStream};
use futures_util::io::{AsyncReadExt, AsyncWriteExt};
use futures_util::{FutureExt, StreamExt};

/// A path that is this test's alone; the file is removed at the end.
struct SocketPath(PathBuf);

impl SocketPath {
    fn new(name: &str) -> SocketPath {
        SocketPath(std::env::temp_dir().join(format!("eddies-{}-{name}", std::process::id())))
    }
}

impl AsRef<Path> for SocketPath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn run<T>(future: impl Future<Output = io::Result<T>>) -> T {
    eddies::run(future).expect("no I/O error")
}

fn assert_waits(future: Pin<&mut impl Future>) {
    assert!(future.poll(&mut Context::from_waker(Waker::noop())).is_pending(), "nothing is there to be ready for");
}

#[track_caller]
fn assert_no_runtime<T: std::fmt::Debug>(answer: Option<io::Result<T>>) {
    let error = answer.expect("it does not hang").expect_err("it cannot wait");
    assert!(error.get_ref().is_some_and(|inner| inner.is::<NoRuntime>()), "{error:?}");
}

#[test]
fn many_tasks_accept_at_one_path() {
    run(async {
        let path = SocketPath::new("accept");
        let listener = Arc::new(UnixListener::bind(&path)?);
        let acceptors: Vec<_> = (0..4)
            .map(|_| {
                let listener = Arc::clone(&listener);
                eddies::spawn(async move {
                    for _ in 0..8 {
                        let (stream, peer) = listener.accept().await?;
                        assert!(peer.is_unnamed());
                        futures_util::io::copy(&stream, &mut &stream).await?;
                    }
                    io::Result::Ok(())
                })
            })
            .collect();
        for number in 0..32_u8 {
            let mut stream = UnixStream::connect(&path).await?;
            assert_eq!(stream.peer_addr()?.as_pathname(), Some(path.as_ref()));
            stream.write_all(&[number; 3]).await?;
            stream.close().await?;
            let mut echo = Vec::new();
            stream.read_to_end(&mut echo).await?;
            assert_eq!(echo, [number; 3]);
        }
        for acceptor in acceptors {
            acceptor.await??;
        }
        Ok(())
    });
}

#[test]
fn incoming_is_a_stream_of_connections() {
    run(async {
        let path = SocketPath::new("incoming");
        let listener = UnixListener::bind(&path)?;
        let client = eddies::spawn(UnixStream::connect(path.0.clone()));
        let server = listener.incoming().next().await.expect("it never ends")?;
        let mut client = client.await??;
        client.write_all(b"x").await?;
        assert_eq!((&server).read(&mut [0; 2]).await?, 1);
        Ok(())
    });
}

#[test]
fn connecting_to_nobody_fails() {
    run(async {
        let path = SocketPath::new("nobody");
        assert_eq!(UnixStream::connect(&path).await.expect_err("no file").kind(), ErrorKind::NotFound);
        let listener = UnixListener::bind(&path)?;
        assert_eq!(UnixListener::bind(&path).expect_err("the file is there").kind(), ErrorKind::AddrInUse);
        drop(listener);
        assert_eq!(UnixStream::connect(&path).await.expect_err("gone").kind(), ErrorKind::ConnectionRefused);
        let long = "x".repeat(1_000);
        assert_eq!(UnixStream::connect(&long).await.expect_err("too long").kind(), ErrorKind::InvalidInput);
        Ok(())
    });
}

#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn abstract_addresses_need_no_file() {
    run(async {
        let name = format!("\0eddies-{}", std::process::id());
        let listener = UnixListener::bind(&name)?;
        let mut client = UnixStream::connect(&name).await?;
        let (mut server, _) = listener.accept().await?;
        client.write_all(b"x").await?;
        assert_eq!(server.read(&mut [0; 2]).await?, 1);
        Ok(())
    });
}

#[test]
fn eight_mebibytes_pass_both_ways() {
    run(async {
        let (a, b) = UnixStream::pair()?;
        let expected: Arc<Vec<u8>> = Arc::new((0..8_usize << 20).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect());
        let transfers = [a, b].map(|stream| {
            let (mut reader, mut writer) = stream.into_split();
            let (sent, expected) = (Arc::clone(&expected), Arc::clone(&expected));
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

/// A read of a Unix stream ends at a message that carries descriptors, however much there is behind it: a short read must not make the
/// reader wait.
#[test]
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn a_read_that_ends_at_a_descriptor_leaves_the_rest_readable() {
    run(async {
        let (a, mut b) = UnixStream::pair()?;
        let mut buffer = [0; 64];
        assert_waits(pin!(b.read(&mut buffer)));
        // A `cmsghdr` of type SCM_RIGHTS with one descriptor, padded.
        let mut rights = 20_usize.to_ne_bytes().to_vec();
        for number in [libc::SOL_SOCKET, libc::SCM_RIGHTS, std::os::fd::AsRawFd::as_raw_fd(&a), 0] {
            rights.extend(number.to_ne_bytes());
        }
        let with_descriptor = [IoSlice::new(b"before")];
        let message = socket2::MsgHdr::new().with_buffers(&with_descriptor).with_control(&rights);
        assert_eq!(socket2::SockRef::from(&a).sendmsg(&message, 0)?, 6);
        assert_eq!(a.try_write(b"behind")?, 6);
        for part in [b"before", b"behind"] {
            assert_eq!(b.read(&mut buffer).await?, 6);
            assert_eq!(&buffer[..6], part);
        }
        Ok(())
    });
}

#[test]
fn halves_close_apart_and_reunite() {
    run(async {
        let (a, mut b) = UnixStream::pair()?;
        let (mut reader, writer) = a.into_split();
        drop(writer);
        assert_eq!(b.read(&mut [0]).await?, 0, "the end of the stream");
        b.write_all(b"x").await?;
        assert_eq!(reader.read(&mut [0; 2]).await?, 1, "the other direction lives");

        let (mut a, mut b) = UnixStream::pair()?;
        let (mut reader, mut writer) = UnixStream::split(&mut a);
        assert_eq!(writer.write_vectored(&[IoSlice::new(b"bor"), IoSlice::new(b"rowed")]).await?, 8);
        b.write_all(b"y").await?;
        assert_eq!(reader.read(&mut [0; 2]).await?, 1);
        assert_eq!(b.read(&mut [0; 16]).await?, 8);
        let (reader, writer) = a.into_split();
        let mut a = writer.reunite(reader).expect("halves of one stream");
        a.write_all(b"whole").await?;
        assert_eq!(b.read(&mut [0; 16]).await?, 5);
        b.shutdown(Shutdown::Read)?;
        assert_eq!(a.write(b"unheard").await.expect_err("nobody reads").kind(), ErrorKind::BrokenPipe);
        Ok(())
    });
}

#[test]
fn a_cancelled_read_loses_nothing() {
    run(async {
        let (mut a, mut b) = UnixStream::pair()?;
        let mut buffer = [0; 8];
        for round in 0..3 {
            assert_waits(pin!(b.read(&mut buffer)));
            a.write_all(&[round; 4]).await?;
            b.read_exact(&mut buffer[..4]).await?;
            assert_eq!(buffer[..4], [round; 4]);
        }
        let mut read = pin!(b.read(&mut buffer));
        assert_waits(read.as_mut());
        drop(a);
        assert_eq!(read.await?, 0, "the peer is gone");
        Ok(())
    });
}

#[test]
fn streams_come_from_the_standard_library_and_go_back() {
    run(async {
        let (a, b) = std::os::unix::net::UnixStream::pair()?;
        let mut a = UnixStream::try_from(a)?;
        a.write_all(b"over").await?;
        let mut buffer = [0; 8];
        assert_eq!(io::Read::read(&mut &b, &mut buffer)?, 4, "the other end is blocking still");
        assert_waits(pin!(a.read(&mut buffer)));
        let a: std::os::unix::net::UnixStream = a.into_std()?;
        assert_eq!(io::Read::read(&mut &a, &mut buffer).expect_err("non-blocking").kind(), ErrorKind::WouldBlock);
        let path = SocketPath::new("std");
        let listener = UnixListener::from_std(std::os::unix::net::UnixListener::bind(&path)?)?;
        assert_waits(pin!(listener.accept()));
        assert_eq!(listener.local_addr()?.as_pathname(), Some(path.as_ref()));
        let listener: std::os::unix::net::UnixListener = listener.try_into()?;
        assert_eq!(listener.accept().expect_err("non-blocking").kind(), ErrorKind::WouldBlock);
        Ok(())
    });
}

#[test]
fn datagrams_keep_their_bounds() {
    run(async {
        let (a, b) = UnixDatagram::pair()?;
        let mut buffer = [0; 16];
        a.send(b"one").await?;
        a.send(b"").await?;
        assert_eq!(poll_fn(|cx| a.poll_send(cx, b"three")).await?, 5);
        assert_eq!(a.try_send(b"four")?, 4);
        assert_eq!(b.recv(&mut buffer).await?, 3);
        assert_eq!(b.recv(&mut buffer).await?, 0, "an empty datagram is a message too");
        assert_eq!(poll_fn(|cx| b.poll_recv(cx, &mut buffer)).await?, 5);
        b.readable().await?;
        assert_eq!(b.try_recv(&mut buffer)?, 4);
        assert_eq!(b.try_recv(&mut buffer).expect_err("nothing left").kind(), ErrorKind::WouldBlock);
        Ok(())
    });
}

#[test]
fn datagrams_go_to_paths() {
    run(async {
        let (path_a, path_b) = (SocketPath::new("dgram-a"), SocketPath::new("dgram-b"));
        let (a, b) = (UnixDatagram::bind(&path_a)?, UnixDatagram::bind(&path_b)?);
        let mut buffer = [0; 16];
        a.send_to(b"named", &path_b).await?;
        let (len, from) = b.recv_from(&mut buffer).await?;
        assert_eq!((len, from.as_pathname()), (5, Some(path_a.as_ref())));
        poll_fn(|cx| b.poll_send_to(cx, b"answer", &path_a)).await?;
        let (len, from) = poll_fn(|cx| a.poll_recv_from(cx, &mut buffer)).await?;
        assert_eq!((len, from.as_pathname()), (6, Some(path_b.as_ref())));

        let anonymous = UnixDatagram::unbound()?;
        assert_eq!(anonymous.try_send_to(b"who?", &path_a)?, 4);
        a.readable().await?;
        let (len, from) = a.try_recv_from(&mut buffer)?;
        assert_eq!((len, from.is_unnamed()), (4, true));
        anonymous.connect(&path_b)?;
        anonymous.send(b"connected").await?;
        assert_eq!(b.recv(&mut buffer).await?, 9);
        let error = a.send_to(b"x", SocketPath::new("dgram-none")).await.expect_err("no such file");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        Ok(())
    });
}

#[test]
fn a_full_datagram_queue_waits_for_its_reader() {
    run(async {
        let (a, b) = UnixDatagram::pair()?;
        let mut sent = 0_u32;
        while a.try_send(&sent.to_ne_bytes()).is_ok() {
            sent += 1;
        }
        let mut send = Box::pin(async move {
            a.send(&sent.to_ne_bytes()).await?;
            io::Result::Ok(a)
        });
        assert_waits(send.as_mut());
        let sending = eddies::spawn(send);
        let mut buffer = [0; 4];
        for number in 0..=sent {
            assert_eq!(b.recv(&mut buffer).await?, 4);
            assert_eq!(u32::from_ne_bytes(buffer), number);
        }
        let a = sending.await??;
        assert!(a.ready(Interest::WRITABLE).await?.is_writable());
        a.shutdown(Shutdown::Both)?;
        assert_eq!(a.send(b"x").await.expect_err("shut down").kind(), ErrorKind::BrokenPipe);
        Ok(())
    });
}

#[test]
fn outside_a_runtime_nothing_hangs() -> io::Result<()> {
    let (mut a, b) = UnixStream::pair()?;
    assert_no_runtime(a.read(&mut [0]).now_or_never());
    assert_eq!(b.try_write(b"x")?, 1);
    assert_eq!(a.read(&mut [0; 2]).now_or_never().expect("it is there")?, 1);
    let (a, _b) = UnixDatagram::pair()?;
    assert_no_runtime(a.recv(&mut [0]).now_or_never());
    let path = SocketPath::new("outside");
    assert_no_runtime(UnixListener::bind(&path)?.accept().now_or_never());
    Ok(())
}
