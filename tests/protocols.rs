//! Transports and protocols through the public interface, on sockets of this machine. Nothing here waits by the clock.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use eddies::net::{TcpListener, UnixStream};
use eddies::protocols::{
    BufferedProtocol, DatagramOptions, DatagramProtocol, DatagramTransport, Protocol, StreamProtocol, Transport,
    WriteBufferLimits, WriteError, connect_accepted_socket, connect_read_pipe, connect_write_pipe, create_connection,
    create_datagram_endpoint, create_server, create_unix_connection, create_unix_server, sendfile,
};
use eddies::sync::{Receiver, UnboundedSender, oneshot, unbounded_channel};
use futures_util::io::{AsyncReadExt, AsyncWriteExt};

#[path = "shared/probe.rs"]
mod probe;
use probe::Event::{self, Data, Eof, Lost, Made, Paused, Resumed};
use probe::{BIG, Probe, data, next, pattern, quiet, run, settle};

const ANY_PORT: &str = "127.0.0.1:0";

/// A transport with a probe on one end of a pair of sockets, and the other end.
async fn probed(
    hook: impl FnMut(&Transport, &Event) -> bool + Send + 'static,
) -> io::Result<(Transport, Receiver<Event>, UnixStream)> {
    let (here, there) = UnixStream::pair()?;
    let (probe, heard) = Probe::new(hook);
    let transport = connect_accepted_socket(|| probe, here).await?;
    Ok((transport, heard, there))
}

async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

fn limits(high: usize) -> WriteBufferLimits {
    WriteBufferLimits { high: Some(high), low: None }
}

#[test]
fn trap_111_connection_made_comes_before_any_read_and_may_pause_reading() {
    run(async |_| {
        let (here, there) = UnixStream::pair()?;
        there.try_write(b"early")?;
        let (probe, mut heard) = Probe::new(|transport, event| {
            if *event == Made {
                transport.pause_reading();
                transport.pause_reading();
                assert!(!transport.is_reading());
            }
            false
        });
        let transport = connect_accepted_socket(|| probe, here).await?;
        settle().await;
        assert_eq!(heard.try_recv(), Ok(Made));
        assert!(heard.is_empty(), "paused, though bytes were there from the start");
        transport.resume_reading();
        transport.resume_reading();
        assert!(transport.is_reading());
        assert_eq!(heard.recv().await, Some(data(b"early")));
        Ok(())
    });
}

#[test]
fn a_pause_in_data_received_holds_for_the_next_piece() {
    run(async |_| {
        let (transport, mut heard, there) = probed(|transport, event| {
            if matches!(event, Data(_)) {
                transport.pause_reading();
            }
            false
        })
        .await?;
        there.try_write(b"one")?;
        assert_eq!((heard.recv().await, heard.recv().await), (Some(Made), Some(data(b"one"))));
        there.try_write(b"two")?;
        settle().await;
        assert!(heard.is_empty());
        transport.resume_reading();
        assert_eq!(heard.recv().await, Some(data(b"two")));
        Ok(())
    });
}

#[test]
fn trap_112_writing_pauses_strictly_above_high_and_at_once_when_high_is_lowered() {
    run(async |_| {
        let (transport, mut heard, mut there) = probed(quiet).await?;
        assert_eq!(transport.write_buffer_limits(), WriteBufferLimits { high: Some(65536), low: Some(16384) });
        let error = transport.set_write_buffer_limits(WriteBufferLimits { high: Some(1), low: Some(2) });
        assert_eq!(
            error.unwrap_err().to_string(),
            "the low mark of a write buffer, 2 bytes, is above the high mark, 1 bytes"
        );
        assert_eq!(transport.write_buffer_limits().high, Some(65536), "a refusal changes nothing");
        transport.set_write_buffer_limits(WriteBufferLimits { high: None, low: Some(1 << 20) }).unwrap();
        assert_eq!(transport.write_buffer_limits(), WriteBufferLimits { high: Some(4 << 20), low: Some(1 << 20) });

        assert_eq!(heard.recv().await, Some(Made));
        transport.write(&pattern(BIG))?;
        let buffered = transport.write_buffer_size();
        assert!(0 < buffered && buffered < BIG, "some went out at once, not all: {buffered}");
        transport.set_write_buffer_limits(limits(buffered)).unwrap();
        settle().await;
        assert!(heard.is_empty(), "at the high mark, and not above it");
        transport.set_write_buffer_limits(limits(buffered - 1)).unwrap();
        assert_eq!(heard.recv().await, Some(Paused));
        transport.write(b"more")?;
        settle().await;
        assert!(heard.is_empty(), "paused once, not with each write");

        // Resumed at the low mark, with bytes left.
        let low = buffered / 2;
        transport.set_write_buffer_limits(WriteBufferLimits { high: Some(buffered), low: Some(low) }).unwrap();
        let mut all = Vec::new();
        while heard.is_empty() {
            assert!(transport.write_buffer_size() > low, "there was room for a while");
            let mut some = [0; 4096];
            there.read_exact(&mut some).await?;
            all.extend(some);
            settle().await;
        }
        assert_eq!(heard.recv().await, Some(Resumed));
        assert!((1..=low).contains(&transport.write_buffer_size()), "at the low mark, not when nothing is left");

        // And a write that reaches the high mark does not pause, the next one does.
        let buffered = transport.write_buffer_size();
        transport.set_write_buffer_limits(limits(buffered + 4)).unwrap();
        transport.write(b"even")?;
        settle().await;
        assert!(heard.is_empty(), "at the high mark, and not above it");
        transport.write(b"!")?;
        assert_eq!(heard.recv().await, Some(Paused));
        let reader = eddies::spawn(async move {
            let mut rest = vec![0; BIG + 9 - all.len()];
            there.read_exact(&mut rest).await.map(|()| [all, rest].concat())
        });
        assert_eq!(heard.recv().await, Some(Resumed));
        let all = reader.await.unwrap()?;
        assert!(all[..BIG] == pattern(BIG) && all[BIG..] == *b"moreeven!", "in order, and nothing is lost");
        Ok(())
    });
}

#[test]
fn trap_113_close_flushes_and_abort_drops_and_connection_lost_comes_once() {
    run(async |_| {
        let (transport, mut heard, mut there) = probed(quiet).await?;
        transport.write(&pattern(BIG))?;
        transport.set_write_buffer_limits(limits(usize::MAX)).unwrap();
        transport.close();
        transport.close();
        assert!(transport.is_closing() && !transport.is_reading());
        let mut all = Vec::new();
        there.read_to_end(&mut all).await?;
        assert!(all == pattern(BIG), "flushed: {} bytes", all.len());
        transport.abort();
        let mut lost = Vec::new();
        while let Some(event) = heard.recv().await {
            lost.extend(matches!(event, Lost(_)).then_some(event));
        }
        assert_eq!(lost, [Lost(None)]);

        let (transport, mut heard, mut there) = probed(quiet).await?;
        transport.write(&pattern(BIG))?;
        assert!(transport.write_buffer_size() > 0);
        transport.abort();
        assert_eq!(transport.write_buffer_size(), 0);
        transport.close();
        let mut all = Vec::new();
        there.read_to_end(&mut all).await?;
        assert!(all.len() < BIG, "what was buffered is dropped");
        assert_eq!((heard.recv().await, heard.recv().await, heard.recv().await), (Some(Made), Some(Lost(None)), None));
        Ok(())
    });
}

#[test]
fn trap_113_connection_lost_comes_as_a_later_event_not_from_within_close() {
    run(async |_| {
        let is_inside = Arc::new(Mutex::new(false));
        let seen = is_inside.clone();
        let (_transport, mut heard, there) = probed(move |transport, event| {
            match event {
                Data(_) => {
                    *seen.lock().unwrap() = true;
                    transport.close();
                    transport.abort();
                    *seen.lock().unwrap() = false;
                }
                Lost(_) => assert!(!*seen.lock().unwrap(), "called from within close"),
                _ => {}
            }
            false
        })
        .await?;
        there.try_write(b"x")?;
        let mut bytes = Vec::new();
        assert_eq!(next(&mut heard, &mut bytes).await, Some(Made));
        assert_eq!(next(&mut heard, &mut bytes).await, Some(Lost(None)));
        assert_eq!(next(&mut heard, &mut bytes).await, None);
        Ok(())
    });
}

/// Gives no memory to read to.
struct NoMemory(Option<eddies::sync::OneshotSender<Option<ErrorKind>>>);

impl BufferedProtocol for NoMemory {
    fn get_buffer(&mut self, _size_hint: usize) -> &mut [u8] {
        &mut []
    }

    fn buffer_updated(&mut self, _bytes: usize) {
        unreachable!("there is no buffer");
    }

    fn connection_lost(&mut self, error: Option<&io::Error>) {
        let _ = self.0.take().unwrap().send(error.map(io::Error::kind));
    }
}

#[test]
fn trap_114_a_panic_in_a_callback_is_fatal() {
    run(async |exceptions| {
        for wrong in [data(b"x"), Eof] {
            let name = if wrong == Eof { "eof_received" } else { "data_received" };
            let (transport, mut heard, mut there) = probed(move |_, event| {
                assert!(*event != wrong, "on purpose");
                false
            })
            .await?;
            assert_eq!(heard.recv().await, Some(Made));
            there.try_write(b"x")?;
            there.shutdown(Shutdown::Write)?;
            let mut bytes = Vec::new();
            while let Some(event) = next(&mut heard, &mut bytes).await {
                assert!(matches!(event, Eof | Lost(Some(ErrorKind::Other))), "{event:?}");
            }
            assert!(transport.is_closing());
            assert_eq!(there.read_to_end(&mut Vec::new()).await?, 0, "the peer sees the end");
            let told = std::mem::take(&mut *exceptions.lock().unwrap());
            assert_eq!(told, [format!("protocol: {name} panicked: on purpose")]);
        }

        let (here, there) = UnixStream::pair()?;
        let (sender, lost) = oneshot();
        connect_accepted_socket(|| StreamProtocol::buffered(NoMemory(Some(sender))), here).await?;
        there.try_write(b"x")?;
        assert_eq!(lost.await.unwrap(), Some(ErrorKind::InvalidInput), "an empty buffer");
        Ok(())
    });
}

#[test]
fn trap_114_a_panic_in_connection_made_or_connection_lost_is_told() {
    run(async |exceptions| {
        let (here, _there) = UnixStream::pair()?;
        let (probe, mut heard) = Probe::new(|_, event| panic!("at {event:?}"));
        let error = connect_accepted_socket(|| probe, here).await.expect_err("it panicked");
        assert_eq!(error.to_string(), "connection_made panicked: at Made");
        assert_eq!(heard.recv().await, Some(Made));
        assert_eq!(heard.recv().await, Some(Lost(Some(ErrorKind::Other))));
        assert_eq!(heard.recv().await, None);
        let told = exceptions.lock().unwrap().clone();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[1].contains("connection_lost panicked"), "{told:?}");
        Ok(())
    });
}

#[test]
fn trap_115_eof_received_true_keeps_the_half_open_connection() {
    run(async |_| {
        let (transport, mut heard, mut there) = probed(|_, event| *event == Eof).await?;
        there.try_write(b"question")?;
        there.shutdown(Shutdown::Write)?;
        assert_eq!(heard.recv().await, Some(Made));
        assert_eq!(heard.recv().await, Some(data(b"question")));
        assert_eq!(heard.recv().await, Some(Eof));
        settle().await;
        assert!(heard.is_empty() && !transport.is_closing());
        transport.write(b"answer")?;
        let mut answer = [0; 6];
        there.read_exact(&mut answer).await?;
        assert_eq!(&answer, b"answer");
        transport.close();
        assert_eq!((heard.recv().await, heard.recv().await), (Some(Lost(None)), None));

        let (_transport, mut heard, mut there) = probed(quiet).await?;
        there.shutdown(Shutdown::Write)?;
        assert_eq!(heard.recv().await, Some(Made));
        assert_eq!((heard.recv().await, heard.recv().await), (Some(Eof), Some(Lost(None))), "false closes");
        assert_eq!(there.read_to_end(&mut Vec::new()).await?, 0);
        Ok(())
    });
}

/// Counts what it reads, into its own memory, two bytes at a time.
struct Pairs {
    buffer: [u8; 2],
    events: UnboundedSender<Event>,
}

impl BufferedProtocol for Pairs {
    fn get_buffer(&mut self, _size_hint: usize) -> &mut [u8] {
        &mut self.buffer
    }

    fn buffer_updated(&mut self, bytes: usize) {
        let _ = self.events.send(data(&self.buffer[..bytes]));
    }

    fn eof_received(&mut self) -> bool {
        let _ = self.events.send(Eof);
        false
    }

    fn connection_lost(&mut self, error: Option<&io::Error>) {
        let _ = self.events.send(Lost(error.map(io::Error::kind)));
    }
}

#[test]
fn trap_115_the_protocol_may_change_its_kind_while_the_connection_runs() {
    run(async |_| {
        let (events, mut second) = unbounded_channel();
        let mut pairs = Some(Pairs { buffer: [0; 2], events });
        let (transport, mut heard, there) = probed(move |transport, event| {
            if matches!(event, Data(_)) {
                transport.set_protocol(StreamProtocol::buffered(pairs.take().expect("it hears one piece")));
            }
            false
        })
        .await?;
        there.try_write(b"first")?;
        assert_eq!((heard.recv().await, heard.recv().await), (Some(Made), Some(data(b"first"))));
        assert_eq!(heard.recv().await, None, "dropped, and not told of an end");
        there.try_write(b"abc")?;
        assert_eq!((second.recv().await, second.recv().await), (Some(data(b"ab")), Some(data(b"c"))));

        let (probe, mut third) = Probe::new(quiet);
        transport.set_protocol(Probe { transport: Some(transport.clone()), ..probe });
        assert_eq!(second.recv().await, None);
        there.try_write(b"plain again")?;
        assert_eq!(third.recv().await, Some(data(b"plain again")));
        drop(there);
        assert_eq!((third.recv().await, third.recv().await, third.recv().await), (Some(Eof), Some(Lost(None)), None));
        Ok(())
    });
}

#[test]
fn trap_116_a_write_after_close_is_swallowed_with_a_warning_and_after_write_eof_an_error() {
    run(async |exceptions| {
        let (transport, mut heard, _there) = probed(quiet).await?;
        transport.close();
        for _ in 0..4 {
            transport.write(b"lost")?;
        }
        assert!(exceptions.lock().unwrap().is_empty());
        for _ in 0..4 {
            transport.write(b"lost")?;
        }
        assert_eq!((transport.swallowed_writes(), transport.write_buffer_size()), (8, 0));
        let told = exceptions.lock().unwrap().clone();
        assert_eq!(told, ["protocol: 5 writes to a transport that is closing or closed were dropped"]);
        assert_eq!((heard.recv().await, heard.recv().await), (Some(Made), Some(Lost(None))));
        transport.write(b"after the end too")?;
        transport.write_eof().expect("nothing to do after the end");

        let (transport, mut heard, mut there) = probed(quiet).await?;
        assert!(transport.can_write_eof());
        transport.write(&pattern(BIG))?;
        transport.write_eof()?;
        transport.write_eof()?;
        assert_eq!(transport.write(b"x"), Err(WriteError::AfterEof));
        let mut all = Vec::new();
        there.read_to_end(&mut all).await?;
        assert!(all == pattern(BIG), "all of it came before the end");
        there.try_write(b"and still")?;
        let mut bytes = Vec::new();
        drop(there);
        while let Some(event) = next(&mut heard, &mut bytes).await {
            assert!(matches!(event, Made | Paused | Resumed | Eof | Lost(None)), "{event:?}");
        }
        assert_eq!(bytes, b"and still");
        Ok(())
    });
}

#[test]
fn a_broken_connection_is_told_with_its_error() {
    run(async |_| {
        let (transport, mut heard, there) = probed(quiet).await?;
        transport.write(&pattern(BIG))?;
        drop(there);
        let mut last = None;
        while let Some(event) = heard.recv().await {
            last = Some(event);
        }
        assert!(matches!(last, Some(Lost(Some(ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)))), "{last:?}");
        assert_eq!(transport.write_buffer_size(), 0);
        Ok(())
    });
}

#[test]
fn a_connection_of_a_runtime_that_ends_is_lost_with_an_error() {
    let runtime = eddies::Runtime::builder().workers(1).build().unwrap();
    let (transport, mut heard, _there) = runtime.block_on(probed(quiet)).unwrap();
    drop(runtime);
    let heard = eddies::run(async { (heard.recv().await, heard.recv().await, heard.recv().await) });
    assert_eq!(heard, (Some(Made), Some(Lost(Some(ErrorKind::ConnectionAborted))), None));
    transport.write(b"swallowed").unwrap();
}

#[test]
fn writes_from_many_threads_keep_their_order_and_their_borders() {
    const THREADS: usize = 4;
    const LINES: usize = 2000;
    eddies::run(async {
        let (transport, _heard, mut there) = probed(quiet).await?;
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let transport = transport.clone();
                std::thread::spawn(move || {
                    for line in 0..LINES {
                        transport.write(format!("{thread} {line:08}\n").as_bytes()).unwrap();
                    }
                })
            })
            .collect();
        let mut all = vec![0; THREADS * LINES * 11];
        there.read_exact(&mut all).await?;
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        let mut next = [0; THREADS];
        for line in all.chunks(11) {
            let line = std::str::from_utf8(line).unwrap();
            let (thread, number) = line.trim().split_once(' ').unwrap();
            let thread: usize = thread.parse().unwrap();
            assert_eq!(number.parse(), Ok(next[thread]), "{line}");
            next[thread] += 1;
        }
        assert_eq!(next, [LINES; THREADS]);
        io::Result::Ok(())
    })
    .unwrap();
}

#[test]
fn a_change_from_another_thread_is_never_slept_over() {
    const ROUNDS: usize = 3000;
    let (sender, transports) = std::sync::mpsc::channel::<Transport>();
    // Meets the task in all places of its poll, by and by.
    let other = std::thread::spawn(move || {
        for (round, transport) in transports.into_iter().enumerate() {
            for _ in 0..round % 300 {
                std::hint::spin_loop();
            }
            transport.close();
        }
    });
    eddies::run(async {
        for round in 0..ROUNDS {
            let sender = sender.clone();
            let (_transport, mut heard, _there) = probed(move |transport, event| {
                if *event == Made {
                    sender.send(transport.clone()).unwrap();
                }
                false
            })
            .await?;
            assert_eq!(heard.recv().await, Some(Made));
            let lost = eddies::timeout(Duration::from_secs(10), heard.recv()).await;
            assert_eq!(lost, Ok(Some(Lost(None))), "round {round}");
        }
        io::Result::Ok(())
    })
    .unwrap();
    drop(sender);
    other.join().unwrap();
}

/// Sends back what comes, and reads no more while it may not write.
#[derive(Default)]
struct Echo(Option<Transport>);

impl Protocol for Echo {
    fn connection_made(&mut self, transport: &Transport) {
        self.0 = Some(transport.clone());
    }

    fn data_received(&mut self, data: &[u8]) {
        let transport = self.0.as_ref().unwrap();
        transport.write(data).unwrap();
        assert!(transport.write_buffer_size() <= 65536 + data.len(), "asked to pause before the next piece");
    }

    fn pause_writing(&mut self) {
        self.0.as_ref().unwrap().pause_reading();
    }

    fn resume_writing(&mut self) {
        self.0.as_ref().unwrap().resume_reading();
    }
}

#[test]
fn an_echo_server_bounds_its_memory_and_ends_with_its_last_connection() {
    eddies::run(async {
        let server = create_server(Echo::default, ANY_PORT).await?;
        let address = server.local_addrs()[0];
        let clients: Vec<_> = (0..8)
            .map(|_| {
                eddies::spawn(async move {
                    let stream = eddies::net::TcpStream::connect(address).await?;
                    let (mut reader, mut writer) = stream.into_split();
                    let writer = eddies::spawn(async move { writer.write_all(&pattern(BIG)).await });
                    let mut all = vec![0; BIG];
                    reader.read_exact(&mut all).await?;
                    writer.await.unwrap()?;
                    assert!(all == pattern(BIG));
                    io::Result::Ok(())
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap()?;
        }
        let (probe, mut heard) = Probe::new(quiet);
        let transport = create_connection(|| probe, address).await?;
        assert_eq!(transport.peer_addr(), Some(address));
        transport.writelines([&b"one "[..], b"two"])?;
        assert_eq!((heard.recv().await, heard.recv().await), (Some(Made), Some(data(b"one two"))));
        assert!(server.is_serving());
        server.close();
        assert!(!server.is_serving());
        let mut closed = Box::pin(server.wait_closed());
        assert!(poll_once(&mut closed).await.is_pending(), "a connection is open still");
        let refused = create_connection(Echo::default, address).await.expect_err("it listens no more");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        transport.close();
        closed.await;
        server.wait_closed().await;
        io::Result::Ok(())
    })
    .unwrap();
}

#[test]
fn a_factory_that_panics_costs_one_connection() {
    run(async |exceptions| {
        let mut panics = vec!["the first"];
        let panics = Mutex::new(std::mem::take(&mut panics));
        let factory = move || {
            let panic = panics.lock().unwrap().pop();
            panic.map_or_else(Echo::default, |text| panic!("{text}"))
        };
        let server = create_server(factory, ANY_PORT).await?;
        let mut first = eddies::net::TcpStream::connect(server.local_addrs()[0]).await?;
        assert_eq!(first.read_to_end(&mut Vec::new()).await?, 0);
        let mut second = eddies::net::TcpStream::connect(server.local_addrs()[0]).await?;
        second.write_all(b"x").await?;
        second.read_exact(&mut [0]).await?;
        let told = exceptions.lock().unwrap().clone();
        assert_eq!(told, ["protocol: the factory of a server panicked: the first"]);
        Ok(())
    });
}

#[test]
fn unix_sockets_serve_protocols_too() {
    run(async |_| {
        let path = std::env::temp_dir().join(format!("eddies-protocols-{}", std::process::id()));
        let server = create_unix_server(Echo::default, &path).await?;
        let (probe, mut heard) = Probe::new(quiet);
        let transport = create_unix_connection(|| probe, &path).await?;
        std::fs::remove_file(&path)?;
        assert_eq!(transport.peer_unix_addr().and_then(|address| address.as_pathname()), Some(&*path));
        transport.write(b"hello")?;
        assert_eq!((heard.recv().await, heard.recv().await), (Some(Made), Some(data(b"hello"))));
        server.close();
        transport.abort();
        server.wait_closed().await;
        Ok(())
    });
}

#[test]
fn a_dropped_create_connection_closes_what_it_opened() {
    run(async |_| {
        let listener = TcpListener::bind(ANY_PORT).await?;
        let (probe, mut heard) = Probe::new(quiet);
        let mut connecting = Box::pin(create_connection(|| probe, listener.local_addr()?));
        let mut accepting = Box::pin(listener.accept());
        // On loopback the connection stands after its first or second poll, and the task was not run yet.
        let mut accepted = loop {
            assert!(poll_once(&mut connecting).await.is_pending(), "its task was not run");
            if let Poll::Ready(accepted) = poll_once(&mut accepting).await {
                break accepted?.0;
            }
            std::thread::yield_now();
        };
        let _ = poll_once(&mut connecting).await;
        drop(connecting);
        assert_eq!(accepted.read_to_end(&mut Vec::new()).await?, 0, "closed");
        while let Some(event) = heard.recv().await {
            assert!(matches!(event, Made | Lost(_)), "{event:?}");
        }
        Ok(())
    });
}

#[derive(Debug)]
enum Heard {
    Datagram(Vec<u8>, SocketAddr),
    Failed(ErrorKind),
    Lost,
}

struct Ear(UnboundedSender<Heard>);

impl DatagramProtocol for Ear {
    fn connection_made(&mut self, transport: &DatagramTransport) {
        assert!(!transport.is_closing());
    }

    fn datagram_received(&mut self, data: &[u8], from: SocketAddr) {
        let _ = self.0.send(Heard::Datagram(data.to_vec(), from));
    }

    fn error_received(&mut self, error: &io::Error) {
        let _ = self.0.send(Heard::Failed(error.kind()));
    }

    fn connection_lost(&mut self, error: Option<&io::Error>) {
        assert!(error.is_none());
        let _ = self.0.send(Heard::Lost);
    }
}

async fn ear(options: DatagramOptions) -> io::Result<(DatagramTransport, Receiver<Heard>)> {
    let (events, heard) = unbounded_channel();
    Ok((create_datagram_endpoint(|| Ear(events), options).await?, heard))
}

fn loopback() -> DatagramOptions {
    DatagramOptions::new().local_addr(([127, 0, 0, 1], 0))
}

#[test]
fn trap_122_an_error_of_udp_is_told_and_not_fatal() {
    run(async |_| {
        let dead = std::net::UdpSocket::bind(ANY_PORT)?;
        let address = dead.local_addr()?;
        drop(dead);
        let (transport, mut heard) = ear(DatagramOptions::new().remote_addr(address)).await?;
        transport.send(b"is anybody there?")?;
        let Some(Heard::Failed(kind)) = heard.recv().await else { panic!("no error was told") };
        assert_eq!(kind, ErrorKind::ConnectionRefused);
        assert!(!transport.is_closing());

        // Now there is somebody, and the same socket reaches it.
        let (other, mut other_heard) = ear(DatagramOptions::new().local_addr(address)).await?;
        transport.send(b"and now?")?;
        let Some(Heard::Datagram(data, from)) = other_heard.recv().await else { panic!("the socket was lost") };
        assert_eq!((&*data, from), (&b"and now?"[..], transport.local_addr()));
        let refused = transport.send_to(b"x", transport.local_addr()).expect_err("not its peer");
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        assert_eq!(other.send(b"x").expect_err("to nobody").kind(), ErrorKind::NotConnected);

        // Too large for a datagram: an error of the send itself.
        other.send_to(&vec![0; 100_000], from)?;
        assert!(matches!(other_heard.recv().await, Some(Heard::Failed(_))));
        other.send_to(b"small", from)?;
        assert!(matches!(heard.recv().await, Some(Heard::Datagram(data, _)) if data == b"small"));
        transport.close();
        assert!(matches!(heard.recv().await, Some(Heard::Lost)));
        assert!(heard.recv().await.is_none());
        Ok(())
    });
}

#[test]
fn trap_122_empty_datagrams_are_sent() {
    run(async |_| {
        let (here, _) = ear(loopback()).await?;
        let (there, mut heard) = ear(loopback()).await?;
        here.send_to(b"", there.local_addr())?;
        here.send_to(b"after it", there.local_addr())?;
        for expected in [&b""[..], b"after it"] {
            let Some(Heard::Datagram(data, from)) = heard.recv().await else { panic!("no datagram") };
            assert_eq!((&*data, from), (expected, here.local_addr()));
        }
        there.abort();
        assert!(matches!(heard.recv().await, Some(Heard::Lost)));
        there.send_to(b"swallowed", here.local_addr())?;
        Ok(())
    });
}

#[test]
fn two_datagram_sockets_may_share_a_port_if_both_ask_for_it() {
    run(async |_| {
        let (first, _) = ear(loopback().reuse_port(true)).await?;
        let same = DatagramOptions::new().local_addr(first.local_addr());
        ear(same.clone().reuse_port(true).allow_broadcast(true)).await?;
        let refused = ear(same).await.expect_err("it did not ask");
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
        Ok(())
    });
}

#[test]
fn a_pipe_is_read_to_its_end() {
    run(async |_| {
        let (reader, mut writer) = io::pipe()?;
        let (probe, mut heard) = Probe::new(|_, _| true);
        let transport = connect_read_pipe(|| probe, reader).await?;
        assert_eq!(transport.write(b"x"), Err(WriteError::NotWritable));
        assert!(!transport.can_write_eof());
        writer.write_all(b"hello")?;
        assert_eq!((heard.recv().await, heard.recv().await), (Some(Made), Some(data(b"hello"))));
        drop(writer);
        assert_eq!((heard.recv().await, heard.recv().await, heard.recv().await), (Some(Eof), Some(Lost(None)), None));
        Ok(())
    });
}

#[test]
fn a_pipe_is_written_until_it_is_closed_or_its_reader_goes() {
    run(async |_| {
        let (mut reader, writer) = io::pipe()?;
        let (probe, mut heard) = Probe::new(quiet);
        let transport = connect_write_pipe(|| probe, writer).await?;
        transport.write(&pattern(BIG))?;
        assert!(transport.write_buffer_size() > 0);
        transport.write_eof()?;
        assert_eq!(transport.write(b"x"), Err(WriteError::AfterEof));
        let all = eddies::spawn_blocking(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all)
        });
        assert!(all.await.unwrap()? == pattern(BIG));
        let mut bytes = Vec::new();
        while let Some(event) = next(&mut heard, &mut bytes).await {
            assert!(matches!(event, Made | Paused | Resumed | Lost(None)), "{event:?}");
        }

        for (is_buffered, expected) in [(false, None), (true, Some(ErrorKind::BrokenPipe))] {
            let (reader, writer) = io::pipe()?;
            let (probe, mut heard) = Probe::new(quiet);
            let transport = connect_write_pipe(|| probe, writer).await?;
            if is_buffered {
                transport.write(&pattern(BIG))?;
            }
            drop(reader);
            let mut last = None;
            while let Some(event) = heard.recv().await {
                last = Some(event);
            }
            assert_eq!(last, Some(Lost(expected)), "without a write");
        }
        Ok(())
    });
}

#[test]
fn a_regular_file_is_no_pipe() {
    run(async |_| {
        let file = std::fs::File::open("Cargo.toml")?;
        let error = connect_read_pipe(Echo::default, file).await.expect_err("a file");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("a regular file"), "{error}");
        // Always at its end, and nothing to wait for.
        let (probe, mut heard) = Probe::new(quiet);
        connect_read_pipe(|| probe, std::fs::File::open("/dev/null")?).await?;
        assert_eq!((heard.recv().await, heard.recv().await), (Some(Made), Some(Eof)));
        Ok(())
    });
}

/// A file with `copies` of the pattern in it, and no name.
fn file_of(copies: usize) -> io::Result<std::fs::File> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("eddies-sendfile-{}-{number}", std::process::id()));
    let mut file = std::fs::File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    for _ in 0..copies {
        file.write_all(&pattern(BIG))?;
    }
    file.rewind()?;
    Ok(file)
}

#[test]
fn sendfile_sends_a_range_after_what_was_written_and_refuses_writes_meanwhile() {
    run(async |_| {
        let mut file = file_of(2)?;
        let (transport, _heard, mut there) = probed(quiet).await?;
        transport.write(&pattern(BIG))?;
        {
            let mut sending = Box::pin(sendfile(&transport, &file, 7, Some(BIG as u64)));
            assert!(poll_once(&mut sending).await.is_pending());
            assert_eq!(transport.write(b"x"), Err(WriteError::SendfileInProgress));
            assert_eq!(transport.write_eof(), Err(WriteError::SendfileInProgress));
            let second = sendfile(&transport, &file, 0, None).await.expect_err("one at a time");
            assert_eq!(second.kind(), ErrorKind::InvalidInput);
            let mut all = vec![0; 2 * BIG];
            let reader = eddies::spawn(async move { there.read_exact(&mut all).await.map(|()| (all, there)) });
            assert_eq!(sending.await?, BIG as u64);
            let answer = reader.await.unwrap()?;
            there = answer.1;
            assert!(answer.0[..BIG] == pattern(BIG), "first what was written first");
            assert!(answer.0[BIG..2 * BIG - 7] == pattern(BIG)[7..] && answer.0[2 * BIG - 7..] == pattern(7));
        }
        assert_eq!(file.stream_position()?, BIG as u64 + 7);
        transport.write(b"after")?;
        assert_eq!(sendfile(&transport, &file, 2 * BIG as u64 - 3, None).await?, 3, "to the end of the file");
        assert_eq!(sendfile(&transport, &file, 2 * BIG as u64, Some(5)).await?, 0, "there is nothing");
        assert_eq!(sendfile(&transport, &file, 0, Some(0)).await?, 0);
        assert_eq!(file.stream_position()?, 2 * BIG as u64);
        let mut rest = [0; 8];
        there.read_exact(&mut rest).await?;
        assert!(rest[..5] == *b"after" && rest[5..] == pattern(BIG)[BIG - 3..]);
        transport.close();
        let error = sendfile(&transport, &file, 0, None).await.expect_err("closed");
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        Ok(())
    });
}

#[test]
fn trap_127_a_peer_that_goes_in_the_midst_of_a_sendfile_leaves_the_progress_in_the_file() {
    run(async |_| {
        let mut file = file_of(8)?;
        let (transport, mut heard, mut there) = probed(quiet).await?;
        let reader = eddies::spawn(async move {
            let mut some = vec![0; BIG];
            there.read_exact(&mut some).await.map(|()| drop(there))
        });
        let error = sendfile(&transport, &file, 0, None).await.expect_err("the peer has gone");
        reader.await.unwrap()?;
        assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error:?}");
        let position = file.stream_position()? as usize;
        assert!((BIG..8 * BIG).contains(&position), "{position}");
        // The protocol is told, now that reading goes on.
        let mut bytes = Vec::new();
        assert_eq!(next(&mut heard, &mut bytes).await, Some(Made));
        assert!(next(&mut heard, &mut bytes).await.is_some());
        Ok(())
    });
}

#[test]
fn a_sendfile_ends_with_its_transport_and_leaves_it_usable_when_dropped() {
    run(async |_| {
        let file = file_of(4)?;
        let (transport, mut heard, mut there) = probed(quiet).await?;
        let sending = {
            let (transport, file) = (transport.clone(), file.try_clone()?);
            eddies::spawn(async move { sendfile(&transport, &file, 0, None).await })
        };
        let mut some = [0; 4096];
        there.read_exact(&mut some).await?;
        transport.close();
        assert_eq!(sending.await.unwrap().expect_err("closed").kind(), ErrorKind::ConnectionAborted);
        assert_eq!((heard.recv().await, heard.recv().await), (Some(Made), Some(Lost(None))));

        let (transport, _heard, mut there) = probed(quiet).await?;
        let mut sending = Box::pin(sendfile(&transport, &file, 0, None));
        while futures_util::FutureExt::now_or_never(there.read_exact(&mut some)).is_none_or(|read| read.is_err()) {
            assert!(poll_once(&mut sending).await.is_pending(), "more than the socket holds");
            eddies::yield_now().await;
        }
        drop(sending);
        // The last piece may be under way still.
        while let Err(error) = transport.write(b"the end") {
            assert_eq!(error, WriteError::SendfileInProgress);
            eddies::yield_now().await;
        }
        transport.close();
        let mut all = some.to_vec();
        there.read_to_end(&mut all).await?;
        assert!(all.ends_with(b"the end") && all.len() < 4 * BIG);
        assert!(all[..all.len() - 7].chunks(BIG).all(|piece| *piece == pattern(piece.len())), "no piece is torn");
        Ok(())
    });
}

#[test]
fn sendfile_reads_and_writes_where_the_kernel_cannot() {
    run(async |_| {
        let mut file = file_of(2)?;
        let (mut reader, writer) = io::pipe()?;
        let (probe, _heard) = Probe::new(quiet);
        let transport = connect_write_pipe(|| probe, writer).await?;
        let all = eddies::spawn_blocking(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all)
        });
        assert_eq!(sendfile(&transport, &file, 1, Some(2 * BIG as u64 - 2)).await?, 2 * BIG as u64 - 2);
        transport.close();
        let all = all.await.unwrap()?;
        assert!(all[..BIG - 1] == pattern(BIG)[1..] && all[BIG - 1..] == pattern(BIG - 1));
        assert_eq!(file.stream_position()?, 2 * BIG as u64 - 1);
        Ok(())
    });
}
