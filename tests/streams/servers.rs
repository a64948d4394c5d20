//! Servers and connections over loopback.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use eddies::net::{TcpSocket, TcpStream, UnixStream};
use eddies::streams::{
    ConnectErrors, Connector, HandlerOutcome, NotServing, ServerBuilder, StreamReader, StreamWriter, open_connection,
    open_unix_connection, start_server, start_unix_server, upgrade,
};
use eddies::sync::{Event, unbounded_channel};
use eddies::{ExceptionKind, TaskError};
use futures_util::io::{AsyncReadExt, AsyncWriteExt, copy};

use super::folder::Folder;
use super::props::{assert_waits, pattern, run_heard, until};

const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

async fn echo(mut reader: StreamReader, mut writer: StreamWriter) -> io::Result<()> {
    loop {
        let line = reader.readline().await?;
        if line.is_empty() {
            return Ok(());
        }
        writer.write_all(&line).await?;
    }
}

#[test]
fn a_hundred_clients_are_echoed() {
    let ((), heard) = run_heard(async {
        let server = start_server(ANY, echo).await.unwrap();
        let address = server.local_addrs()[0];
        let clients: Vec<_> = (0..100)
            .map(|number| {
                eddies::spawn(async move {
                    let (mut reader, writer) = open_connection(address).await?;
                    for round in 0..20 {
                        let line = format!("{number} says {round}\n");
                        writer.writelines([line.as_bytes(), b"and more\n"])?;
                        writer.drain().await?;
                        assert_eq!(reader.readline().await?, line.as_bytes());
                        assert_eq!(reader.readline().await?, b"and more\n");
                    }
                    writer.close();
                    writer.wait_closed().await
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap().unwrap();
        }
        server.close();
        server.wait_closed().await;
        assert_eq!(server.connections(), 0);
    });
    assert_eq!(heard, []);
}

#[test]
fn the_end_of_one_direction_leaves_the_other() {
    run_heard(async {
        let server = start_server(ANY, async |mut reader: StreamReader, mut writer: StreamWriter| {
            let all = reader.read_all().await?;
            writer.write_all(format!("{} bytes", all.len()).as_bytes()).await?;
            io::Result::Ok(())
        })
        .await
        .unwrap();
        let (mut reader, writer) = open_connection(server.local_addrs()[0]).await.unwrap();
        assert!(writer.can_write_eof());
        writer.write(&pattern(300_000)).unwrap();
        writer.write_eof().unwrap();
        assert_eq!(reader.read_all().await.unwrap(), b"300000 bytes");
        assert!(!writer.is_closing());
    });
}

/// Answers with how many bytes came, and their sum; `most`: the bytes that the reader had at once.
async fn count(mut reader: StreamReader, writer: StreamWriter, most: &AtomicUsize) -> io::Result<()> {
    let (mut sum, mut len) = (0_u64, 0);
    loop {
        let piece = reader.read(1000).await?;
        most.fetch_max(reader.buffered() + piece.len(), Ordering::Relaxed);
        len += piece.len();
        sum += piece.iter().map(|&byte| u64::from(byte)).sum::<u64>();
        if piece.is_empty() {
            return Ok(writer.write(format!("{len} {sum}").as_bytes())?);
        }
    }
}

#[test]
fn a_big_transfer_is_held_up_by_its_reader_and_keeps_little() {
    const LEN: usize = 16 * 1024 * 1024;
    let ((), heard) = run_heard(async {
        let go = Arc::new(Event::new());
        let gone = go.clone();
        let most = Arc::new(AtomicUsize::new(0));
        let seen = most.clone();
        let server = ServerBuilder::new()
            .limit(4096)
            .serve(ANY, move |reader: StreamReader, writer: StreamWriter| {
                let (go, most) = (gone.clone(), seen.clone());
                async move {
                    go.wait().await;
                    count(reader, writer, &most).await
                }
            })
            .await
            .unwrap();
        let (mut reader, writer) = open_connection(server.local_addrs()[0]).await.unwrap();
        let bytes = pattern(64 * 1024);
        let mut kept = 0;
        for at in 0..LEN / bytes.len() {
            writer.write(&bytes).unwrap();
            kept = kept.max(writer.write_buffer_size());
            if !go.is_set() && writer.write_buffer_size() > 64 * 1024 {
                // The peer does not read, and so `drain` waits.
                assert_waits(pin!(writer.drain()));
                assert!(at < LEN / bytes.len() - 1);
                go.set();
            }
            writer.drain().await.unwrap();
        }
        assert!(go.is_set(), "the kernel cannot take it all");
        writer.write_eof().unwrap();
        let sum: u64 = bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>() * (LEN / bytes.len()) as u64;
        assert_eq!(reader.read_all().await.unwrap(), format!("{LEN} {sum}").as_bytes());
        assert!(kept <= 2 * 64 * 1024, "the high mark and one write: {kept}");
        let most = most.load(Ordering::Relaxed);
        assert!(most <= 2 * 4096, "twice the limit: {most}");
    });
    assert_eq!(heard, []);
}

#[test]
fn trap_120_the_error_of_a_handler_is_told_and_closes_its_connection() {
    let (peers, heard) = run_heard(async {
        let server = start_server(ANY, async |mut reader: StreamReader, _writer| match reader.read(1).await?[0] {
            b'e' => Err(io::Error::other("no such luck")),
            b'p' => panic!("out of luck"),
            _ => Ok(()),
        })
        .await
        .unwrap();
        let mut peers = Vec::new();
        for message in ["e", "p", "o"] {
            let (mut reader, writer) = open_connection(server.local_addrs()[0]).await.unwrap();
            peers.push(writer.local_addr().unwrap());
            writer.write(message.as_bytes()).unwrap();
            assert_eq!(reader.read_all().await.unwrap(), b"", "the connection was closed");
        }
        server.close();
        server.wait_closed().await;
        peers
    });
    let told: Vec<_> = heard.iter().map(|exception| (exception.kind(), exception.message())).collect();
    let first = format!("the handler of the connection of {} failed: no such luck", peers[0]);
    assert_eq!(told, [(ExceptionKind::Connection, first.as_str()), (ExceptionKind::Task, "out of luck")]);
    assert_eq!(heard[1].task_name(), Some(format!("connection of {}", peers[1]).as_str()));
}

#[test]
fn trap_120_the_cancel_of_a_handler_is_silent() {
    let ((), heard) = run_heard(async {
        let server = start_server(ANY, async |_, writer: StreamWriter| -> Result<(), TaskError> {
            let aborted = eddies::spawn(std::future::pending::<()>());
            aborted.abort();
            let answer = aborted.await;
            assert!(!writer.is_closing());
            answer
        })
        .await
        .unwrap();
        let (mut reader, _writer) = open_connection(server.local_addrs()[0]).await.unwrap();
        assert_eq!(reader.read_all().await.unwrap(), b"", "the connection was closed");

        // One that the end of the runtime cancels.
        let begun = Arc::new(Event::new());
        let tell = begun.clone();
        let server = start_server(ANY, move |reader: StreamReader, writer: StreamWriter| {
            tell.set();
            async move {
                let _both = (reader, writer);
                std::future::pending::<()>().await
            }
        })
        .await
        .unwrap();
        let _client = open_connection(server.local_addrs()[0]).await.unwrap();
        begun.wait().await;
    });
    assert_eq!(heard, []);
    assert!(Err::<(), _>("x").failure().is_some() && ().failure().is_none());
}

#[test]
fn trap_121_wait_closed_needs_closed_and_no_connection() {
    run_heard(async {
        let server = Arc::new(start_server(ANY, echo).await.unwrap());
        let address = server.local_addrs()[0];
        // No connection, but open: it waits.
        assert_waits(pin!(server.wait_closed()));
        let early = eddies::spawn({
            let server = server.clone();
            async move { server.wait_closed().await }
        });
        let (mut reader, writer) = open_connection(address).await.unwrap();
        writer.write(b"x\n").unwrap();
        reader.readline().await.unwrap();
        assert_eq!(server.connections(), 1);
        server.close();
        // Closed, but a connection: it waits, and the connection goes on.
        assert_waits(pin!(server.wait_closed()));
        assert!(!early.is_finished());
        writer.write(b"y\n").unwrap();
        assert_eq!(reader.readline().await.unwrap(), b"y\n");
        drop(writer);
        server.wait_closed().await;
        early.await.unwrap();
        server.close();
        server.wait_closed().await;
    });
}

#[test]
fn trap_121_who_waits_before_the_close_of_an_idle_server_wakes() {
    run_heard(async {
        let server = Arc::new(start_server(ANY, echo).await.unwrap());
        let waits = server.clone();
        let early = eddies::spawn(async move { waits.wait_closed().await });
        let begun = server.clone();
        let forever = eddies::spawn(async move { begun.serve_forever().await });
        eddies::yield_now().await;
        server.close();
        early.await.unwrap();

        // One where nothing else happens at the close.
        let bound = Arc::new(ServerBuilder::new().start_serving(false).serve(ANY, echo).await.unwrap());
        let waits = bound.clone();
        let early = eddies::spawn(async move { waits.wait_closed().await });
        let mut own = pin!(bound.wait_closed());
        assert_waits(own.as_mut());
        bound.close();
        own.await;
        early.await.unwrap();
        let answer = forever.await.unwrap();
        assert!(matches!(answer, Ok(()) | Err(NotServing::Closed)), "{answer:?}");
    });
}

#[test]
fn trap_121_serve_forever_after_close_is_an_error() {
    run_heard(async {
        let server = ServerBuilder::new().start_serving(false).serve(ANY, echo).await.unwrap();
        let address = server.local_addrs()[0];
        assert!(!server.is_serving());
        let refused = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused, "it does not listen yet");
        {
            let mut forever = pin!(server.serve_forever());
            assert_waits(forever.as_mut());
            assert!(server.is_serving());
            assert_eq!(server.serve_forever().await, Err(NotServing::AlreadyServing));
            TcpStream::connect(address).await.unwrap();
        }
        assert!(!server.is_serving(), "dropping `serve_forever` closes");
        assert_eq!(server.serve_forever().await, Err(NotServing::Closed));
        assert_eq!(server.start_serving(), Err(NotServing::Closed));
    });
}

#[test]
fn trap_121_a_closed_port_refuses_at_once() {
    run_heard(async {
        for _ in 0..20 {
            let server = start_server(ANY, echo).await.unwrap();
            let address = server.local_addrs()[0];
            open_connection(address).await.unwrap();
            server.close();
            // A blocking connect, so that nothing else of this thread runs in between.
            let refused = std::net::TcpStream::connect(address).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            assert!(!server.is_serving());
        }
    });
}

#[test]
fn close_clients_sends_what_is_written_and_abort_clients_does_not() {
    let ((), heard) = run_heard(async {
        let (tell, mut hear) = unbounded_channel();
        let server = start_server(ANY, move |mut reader: StreamReader, mut writer: StreamWriter| {
            let tell = tell.clone();
            async move {
                writer.write(b"hello\n").unwrap();
                let read = reader.read_all().await;
                let written = writer.write_all(b"too late").await;
                let _ = tell.send((read.is_ok_and(|all| all.is_empty()), written.is_err()));
            }
        })
        .await
        .unwrap();
        let address = server.local_addrs()[0];
        for is_abort in [false, true] {
            let (mut reader, _writer) = open_connection(address).await.unwrap();
            assert_eq!(reader.readline().await.unwrap(), b"hello\n");
            if is_abort {
                server.abort_clients()
            } else {
                server.close_clients()
            }
            assert_eq!(hear.recv().await, Some((true, true)), "the handler reads the end and cannot write");
            assert_eq!(reader.read_all().await.unwrap(), b"");
        }
        server.close();
        server.wait_closed().await;
    });
    assert_eq!(heard, []);
}

#[test]
fn abort_clients_ends_a_connection_whose_peer_does_not_read() {
    let ((), heard) = run_heard(async {
        let (tell, mut hear) = unbounded_channel();
        let server = start_server(ANY, move |_reader: StreamReader, mut writer: StreamWriter| {
            let tell = tell.clone();
            async move {
                // One piece, so that it waits for the connection to take it and not for room.
                writer.set_write_buffer_limits(Some(usize::MAX), None).unwrap();
                let piece = vec![0; 64 * 1024 * 1024];
                let mut write = pin!(writer.write_all(&piece));
                assert!(poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx).is_pending())).await, "nobody reads");
                let _ = tell.send(None);
                let written = write.await;
                let _ = tell.send(Some(written.is_err()));
            }
        })
        .await
        .unwrap();
        let _silent = open_connection(server.local_addrs()[0]).await.unwrap();
        assert_eq!(hear.recv().await, Some(None));
        server.close();
        // What was written cannot be sent, so the close alone does not end it.
        server.close_clients();
        let mut closed = pin!(server.wait_closed());
        assert_waits(closed.as_mut());
        server.abort_clients();
        closed.await;
        assert_eq!(hear.recv().await, Some(Some(true)));
    });
    assert_eq!(heard, []);
}

#[test]
fn no_more_connections_than_allowed_are_served_at_a_time() {
    run_heard(async {
        let (live, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (seen_live, seen_most) = (live.clone(), most.clone());
        let server = ServerBuilder::new()
            .max_connections(3)
            .serve(ANY, move |mut reader: StreamReader, writer: StreamWriter| {
                let (live, most) = (seen_live.clone(), seen_most.clone());
                async move {
                    most.fetch_max(live.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let line = reader.readline().await.unwrap();
                    live.fetch_sub(1, Ordering::SeqCst);
                    writer.write(&line).unwrap();
                }
            })
            .await
            .unwrap();
        let address = server.local_addrs()[0];
        let clients: Vec<_> = (0..30)
            .map(|_| {
                eddies::spawn(async move {
                    let (mut reader, writer) = open_connection(address).await.unwrap();
                    writer.write(b"x\n").unwrap();
                    assert_eq!(reader.read_all().await.unwrap(), b"x\n");
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        assert!((1..=3).contains(&most.load(Ordering::SeqCst)), "{most:?}");
        // Those that are gone leave nothing behind.
        until(|| server.connections() == 0).await;
    });
}

#[test]
fn an_upgraded_connection_keeps_its_place_its_socket_and_what_was_read_ahead() {
    run_heard(async {
        let server = start_server(ANY, async |mut reader: StreamReader, mut writer: StreamWriter| {
            assert_eq!(reader.readline().await?, b"starttls\n");
            writer.write_all(b"go\n").await?;
            let (mut reader, mut writer) = upgrade(reader, writer, async |source, sink, buffered| {
                let source = futures_util::io::Cursor::new(buffered).chain(source);
                Ok((source, futures_util::io::BufWriter::new(sink)))
            })
            .await?;
            assert!(writer.with_socket(|socket: &TcpStream| socket.peer_addr().is_ok()).unwrap());
            let line = reader.readline().await?;
            writer.write_all(&line).await?;
            reader.read_all().await?;
            io::Result::Ok(())
        })
        .await
        .unwrap();
        let (mut reader, writer) = open_connection(server.local_addrs()[0]).await.unwrap();
        writer.write(b"starttls\nhello\n").unwrap();
        assert_eq!(reader.readline().await.unwrap(), b"go\n");
        assert_eq!(reader.readline().await.unwrap(), b"hello\n");
        assert_eq!(server.connections(), 1);
        server.close();
        assert_waits(pin!(server.wait_closed()));
        server.close_clients();
        server.wait_closed().await;
        assert_eq!(reader.read_all().await.unwrap(), b"");
    });
}

#[test]
fn what_a_server_asks_during_an_upgrade_is_asked_of_the_new_writer() {
    let ((), heard) = run_heard(async {
        let (begun, asked) = (Arc::new(Event::new()), Arc::new(Event::new()));
        let (tell, wait) = (begun.clone(), asked.clone());
        let server = start_server(ANY, move |reader: StreamReader, writer: StreamWriter| {
            let (tell, wait) = (tell.clone(), wait.clone());
            async move {
                let (_reader, writer) = upgrade(reader, writer, async |source, sink, _| {
                    tell.set();
                    wait.wait().await;
                    Ok((source, sink))
                })
                .await?;
                assert!(writer.is_closing());
                writer.wait_closed().await
            }
        })
        .await
        .unwrap();
        let (mut reader, _writer) = open_connection(server.local_addrs()[0]).await.unwrap();
        begun.wait().await;
        server.close_clients();
        asked.set();
        assert_eq!(reader.read_all().await.unwrap(), b"");
    });
    assert_eq!(heard, []);
}

#[test]
fn a_closed_writer_ends_its_own_reader_too() {
    run_heard(async {
        let server = start_server(ANY, echo).await.unwrap();
        let (mut reader, writer) = open_connection(server.local_addrs()[0]).await.unwrap();
        let reading = eddies::spawn(async move { reader.readline().await });
        eddies::yield_now().await;
        writer.close();
        assert_eq!(reading.await.unwrap().unwrap(), b"");
        writer.wait_closed().await.unwrap();
        assert!(writer.peer_addr().is_err());
    });
}

#[test]
fn the_halves_compose_with_futures_io() {
    run_heard(async {
        let server = start_server(ANY, async |reader: StreamReader, mut writer: StreamWriter| {
            copy(reader, &mut writer).await?;
            AsyncWriteExt::close(&mut writer).await
        })
        .await
        .unwrap();
        let (reader, mut writer) = open_connection(server.local_addrs()[0]).await.unwrap();
        let bytes = pattern(3_000_000);
        let sent = bytes.clone();
        let sending = eddies::spawn(async move {
            copy(&sent[..], &mut writer).await?;
            AsyncWriteExt::close(&mut writer).await?;
            io::Result::Ok(writer)
        });
        let mut back = Vec::new();
        reader.take(u64::MAX).read_to_end(&mut back).await.unwrap();
        assert!(back == bytes);
        drop(sending.await.unwrap().unwrap());
    });
}

#[test]
fn unix_sockets_are_served_and_their_file_comes_and_goes() {
    // Not below the target: a socket's path is short.
    let folder = Folder::new(std::env::temp_dir());
    let path = folder.0.join("socket");
    // A file that a server before has left.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    run_heard(async {
        let server = start_unix_server(&path, async |mut reader: StreamReader<_>, mut writer: StreamWriter<_>| {
            let line = reader.readline().await?;
            assert!(writer.with_socket(|socket: &UnixStream| socket.peer_addr().is_ok()).unwrap());
            writer.write_all(&line).await?;
            io::Result::Ok(())
        })
        .await
        .unwrap();
        assert_eq!(server.local_addrs()[0].as_pathname(), Some(path.as_path()));
        let (mut reader, writer) = open_unix_connection(&path).await.unwrap();
        writer.write(b"hello\n").unwrap();
        assert_eq!(reader.read_all().await.unwrap(), b"hello\n");
        server.close();
        assert!(!path.exists());
        assert_eq!(open_unix_connection(&path).await.unwrap_err().kind(), io::ErrorKind::NotFound);
        server.wait_closed().await;

        // One that is not this server's own any more is left.
        let server = start_unix_server(&path, async |_, _| {}).await.unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "another's").unwrap();
        drop(server);
        assert!(path.exists());
        let refused = start_unix_server(&path, async |_, _| {}).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    });
}

/// An address where nobody listens, and nobody else can while the socket is there, which has it.
fn dead_address() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a descriptor is left");
    socket.bind(ANY.into()).expect("a free port");
    let address = socket.local_addr().expect("it is bound");
    (socket, address)
}

#[test]
fn trap_126_connect_failures_collapse_or_come_as_a_list() {
    run_heard(async {
        let (sockets, dead): (Vec<_>, Vec<_>) = [dead_address(), dead_address()].into_iter().unzip();
        let same = open_connection(&dead[..]).await.unwrap_err();
        assert_eq!(same.kind(), io::ErrorKind::ConnectionRefused);
        assert!(ConnectErrors::of(&same).is_none(), "{same:?}");

        let all = Connector::new().all_errors(true).open(&dead[..]).await.unwrap_err();
        let tried: Vec<_> = ConnectErrors::of(&all).unwrap().attempts().iter().map(|(address, _)| *address).collect();
        assert_eq!(tried, dead);
        assert_eq!(all.kind(), io::ErrorKind::ConnectionRefused);

        // From an address of the other family nothing can be tried.
        let nowhere = Connector::new().local_addr("[::1]:0".parse().unwrap()).open(&dead[..]).await.unwrap_err();
        assert_eq!(nowhere.kind(), io::ErrorKind::InvalidInput);

        // A dead address before the living one costs nothing.
        let server = start_server(ANY, echo).await.unwrap();
        let addresses = [dead[0], server.local_addrs()[0]];
        for delay in [None, Some(std::time::Duration::from_secs(3600))] {
            let connector = Connector::new().happy_eyeballs_delay(delay);
            let (_reader, writer) = connector.open(&addresses[..]).await.unwrap();
            assert_eq!(writer.peer_addr().unwrap(), addresses[1]);
        }
        let from = Connector::new().local_addr("127.0.0.1:0".parse().unwrap());
        let (_reader, writer) = from.open(&addresses[..]).await.unwrap();
        assert!(writer.local_addr().unwrap().ip().is_loopback());
        drop(sockets);
    });
}

/// How many descriptors this process has. Other tests run beside this one, so it is asked in a process of its own: see the test.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
#[cfg(target_os = "linux")]
fn trap_126_a_connect_that_is_dropped_closes_its_sockets() {
    const ALONE: &str = "EDDIES_STREAMS_ALONE";
    let name = "servers::trap_126_a_connect_that_is_dropped_closes_its_sockets";
    if std::env::var_os(ALONE).is_none() {
        let this = std::env::current_exe().unwrap();
        let run = std::process::Command::new(this).args([name, "--exact"]).env(ALONE, "1").output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
        return;
    }
    eddies::run(async {
        // A full backlog: Linux leaves further attempts without an answer.
        let full = TcpSocket::new_v4().unwrap();
        full.bind(SocketAddr::from((ANY.0, 0))).unwrap();
        let full = full.listen(0).unwrap();
        let address = full.local_addr().unwrap();
        let mut held = Vec::new();
        let connector = Connector::new();
        let during = loop {
            let mut connecting = Box::pin(connector.open(address));
            match eddies::timeout(std::time::Duration::from_millis(5), connecting.as_mut()).await {
                Ok(connected) => held.push(connected.unwrap()),
                Err(_) => break descriptors(),
            }
        };
        assert!(held.len() < 5, "the backlog is full early");
        assert_eq!(descriptors(), during - 1, "the drop closed its socket");
    });
}

#[test]
fn what_a_server_is_given_is_dropped_with_it() {
    let given = Arc::new(Mutex::new(()));
    run_heard(async {
        let held = given.clone();
        let server = start_server(ANY, move |_: StreamReader, _: StreamWriter| {
            let _held = held.clone();
            async {}
        })
        .await
        .unwrap();
        assert_eq!(Arc::strong_count(&given), 2);
        drop(server);
        until(|| Arc::strong_count(&given) == 1).await;
    });
}
