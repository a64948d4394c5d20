//! [`StreamWriter`] over a valve.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use eddies::ExceptionKind;
use eddies::streams::{NotWritten, StreamWriter};
use futures_util::FutureExt;
use futures_util::future::join_all;
use futures_util::io::AsyncWriteExt;

use super::props::{Valve, assert_waits, pattern, run_heard, until};

fn valve_and_writer() -> (Valve, StreamWriter<Valve>) {
    let valve = Valve::default();
    (valve.clone(), StreamWriter::new(valve))
}

#[test]
fn trap_116_a_write_after_close_or_after_the_end_is_refused() {
    let ((), heard) = run_heard(async {
        let (valve, writer) = valve_and_writer();
        valve.open(4);
        writer.write(b"sent").unwrap();
        writer.write_eof().unwrap();
        assert!(matches!(writer.write(b"late"), Err(NotWritten::AfterEof)));
        writer.write_eof().unwrap();
        writer.close();
        for _ in 0..6 {
            assert!(matches!(writer.write(b"late"), Err(NotWritten::Closed)));
        }
        assert!(matches!(writer.write_eof(), Err(NotWritten::Closed)));
        writer.wait_closed().await.unwrap();
        let error = io::Error::from(writer.drain().await.unwrap_err());
        assert_eq!(error.kind(), io::ErrorKind::NotConnected);
        assert!(valve.is_ended() && valve.taken() == b"sent");

        let (valve, writer) = valve_and_writer();
        valve.break_down();
        for _ in 0..2 {
            let error = io::Error::from(writer.write(b"lost").unwrap_err());
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        }
        assert_eq!(writer.wait_closed().await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    });
    assert_eq!(heard, [], "each was told to the caller");
}

#[test]
fn trap_119_all_drain_waiters_wake() {
    run_heard(async {
        let (valve, writer) = valve_and_writer();
        let writer = Arc::new(writer);
        writer.set_write_buffer_limits(Some(100), None).unwrap();
        assert_eq!(writer.write_buffer_limits(), (100, 25));
        writer.write(&[0; 100]).unwrap();
        writer.drain().now_or_never().expect("no more than the high mark is kept").unwrap();
        writer.write(&[0; 1]).unwrap();
        let waiters: Vec<_> = (0..10)
            .map(|_| {
                let writer = writer.clone();
                eddies::spawn(async move { writer.drain().await })
            })
            .collect();
        {
            // One that is dropped takes nobody's wake-up with it.
            let mut dropped = pin!(writer.drain());
            assert_waits(dropped.as_mut());
        }
        let mut late = pin!(writer.drain());
        assert_waits(late.as_mut());
        valve.open(75);
        until(|| writer.write_buffer_size() == 26).await;
        assert_waits(late.as_mut());
        valve.open(1);
        for waiter in join_all(waiters).await {
            waiter.unwrap().unwrap();
        }
        late.await.unwrap();

        // A failure and an abort wake them too.
        for is_broken in [true, false] {
            let (valve, writer) = valve_and_writer();
            let writer = Arc::new(writer);
            writer.write(&[0; 65_537]).unwrap();
            let waiters: Vec<_> = (0..10)
                .map(|_| {
                    let writer = writer.clone();
                    eddies::spawn(async move { writer.drain().await })
                })
                .collect();
            if is_broken {
                valve.break_down()
            } else {
                writer.abort()
            }
            for waiter in join_all(waiters).await {
                assert!(waiter.unwrap().is_err());
            }
        }
    });
}

#[test]
fn the_marks_are_checked_and_bind_at_once() {
    eddies::run(async {
        let (_valve, writer) = valve_and_writer();
        assert_eq!(writer.write_buffer_limits(), (64 * 1024, 16 * 1024));
        writer.set_write_buffer_limits(None, Some(10)).unwrap();
        assert_eq!(writer.write_buffer_limits(), (40, 10));
        assert!(writer.set_write_buffer_limits(Some(1), Some(2)).is_err());
        writer.write(&[0; 30]).unwrap();
        writer.drain().await.unwrap();
        writer.set_write_buffer_limits(Some(29), Some(0)).unwrap();
        assert_waits(pin!(writer.drain()));
        writer.set_write_buffer_limits(Some(50), Some(30)).unwrap();
        writer.drain().await.unwrap();
        writer.abort();
    });
}

#[test]
fn bytes_arrive_in_order_whoever_sends_them() {
    let bytes = pattern(100_000);
    let sent = bytes.clone();
    let ((), heard) = run_heard(async move {
        let (valve, mut writer) = valve_and_writer();
        let tap = valve.clone();
        let opener = eddies::spawn(async move {
            for _ in 0..1_000 {
                tap.open(101);
                eddies::yield_now().await;
            }
        });
        let (first, rest) = sent.split_at(7);
        writer.write(first).unwrap();
        for (at, piece) in rest.chunks(997).enumerate() {
            match at % 3 {
                0 => writer.write(piece).unwrap(),
                1 => writer.write_all(piece).await.unwrap(),
                _ => AsyncWriteExt::write_all(&mut writer, piece).await.unwrap(),
            }
        }
        AsyncWriteExt::flush(&mut writer).await.unwrap();
        assert_eq!(writer.write_buffer_size(), 0);
        AsyncWriteExt::close(&mut writer).await.unwrap();
        assert!(valve.is_ended() && !writer.is_closing(), "the write direction ended, the connection did not");
        assert!(valve.taken() == bytes);
        opener.await.unwrap();
    });
    assert_eq!(heard, []);
}

#[test]
fn a_dropped_write_all_has_written_nothing_or_all() {
    run_heard(async {
        let (valve, mut writer) = valve_and_writer();
        writer.set_write_buffer_limits(Some(10), Some(5)).unwrap();
        drop(writer.write_all(b"never polled"));
        writer.write(b"eleven.....").unwrap();
        assert_waits(pin!(writer.write_all(b"nothing of it begun")));
        assert_eq!(writer.write_buffer_size(), 11);
        valve.open(11);
        writer.drain().await.unwrap();
        valve.open(3);
        // The first piece of ten is taken in part, so all of it goes.
        assert_waits(pin!(writer.write_all(b"[all or nothing, however long it is]")));
        assert_eq!(writer.write_buffer_size(), 33);
        valve.open(1_000);
        assert!(writer.into_inner().await.unwrap().taken() == b"eleven.....[all or nothing, however long it is]");
    });
}

#[test]
fn write_all_keeps_no_more_than_the_high_mark() {
    run_heard(async {
        let (valve, mut writer) = valve_and_writer();
        let bytes = pattern(1_000_000);
        let mut most = 0;
        // Its own look at what is kept would borrow the writer, so the valve tells: what was taken and what was given away by then.
        let opener = eddies::spawn({
            let valve = valve.clone();
            async move {
                for _ in 0..1_000 {
                    valve.open(1_000);
                    eddies::yield_now().await;
                }
            }
        });
        for piece in bytes.chunks(200_000) {
            let mut writing = pin!(AsyncWriteExt::write(&mut writer, piece));
            let len = std::future::poll_fn(|cx| writing.as_mut().poll(cx)).await.unwrap();
            assert!(len <= 64 * 1024);
            most = most.max(writer.write_buffer_size());
            writer.write_all(&piece[len..]).await.unwrap();
            assert_eq!(writer.write_buffer_size(), 0, "it is ready when the connection has all");
        }
        assert!(most <= 2 * 64 * 1024, "{most}");
        assert!(valve.taken() == bytes);
        opener.await.unwrap();
    });
}

#[test]
fn a_dropped_writer_sends_what_it_has_and_says_nothing() {
    let (valve, heard) = run_heard(async {
        let (valve, writer) = valve_and_writer();
        writer.write(b"to be sent").unwrap();
        drop(writer);
        assert!(!valve.is_ended());
        valve.open(100);
        until(|| valve.is_ended()).await;
        valve
    });
    assert_eq!(valve.taken(), b"to be sent");
    assert_eq!(heard, []);
}

#[test]
fn trap_120_a_dropped_writer_warns_when_bytes_were_lost() {
    let ((), heard) = run_heard(async {
        let (valve, writer) = valve_and_writer();
        writer.write(b"lost").unwrap();
        drop(writer);
        valve.break_down();
    });
    let told: Vec<_> = heard.iter().map(|exception| (exception.kind(), exception.message().to_owned())).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, ExceptionKind::Connection);
    assert!(told[0].1.starts_with("4 bytes that were written were not sent"), "{told:?}");

    // Broken first and dropped then, by somebody who never looked.
    let ((), heard) = run_heard(async {
        let (valve, writer) = valve_and_writer();
        writer.write(b"lost").unwrap();
        valve.break_down();
        until(|| writer.is_closing()).await;
    });
    assert_eq!(heard.len(), 1, "{heard:?}");

    // The runtime ends before anybody reads.
    let ((), heard) = run_heard(async {
        let (_valve, writer) = valve_and_writer();
        writer.write(b"lost").unwrap();
    });
    assert_eq!(heard.len(), 1, "{heard:?}");

    // Thrown away on purpose.
    let ((), heard) = run_heard(async {
        let (_valve, writer) = valve_and_writer();
        writer.write(b"dropped").unwrap();
        writer.abort();
        assert_eq!(writer.write_buffer_size(), 0);
        writer.wait_closed().await.unwrap();
    });
    assert_eq!(heard, []);
}

#[test]
fn waits_are_cancel_safe() {
    run_heard(async {
        let (valve, mut writer) = valve_and_writer();
        writer.write(&[1; 65_537]).unwrap();
        assert_waits(pin!(writer.drain()));
        assert_waits(pin!(AsyncWriteExt::flush(&mut writer)));
        writer.close();
        assert_waits(pin!(writer.wait_closed()));
        assert_waits(pin!(writer.wait_closed()));
        valve.open(usize::MAX);
        writer.wait_closed().await.unwrap();
        writer.wait_closed().await.unwrap();
        assert_eq!(valve.taken().len(), 65_537);
    });
}

/// Writes numbered records of one task, with and without a wait.
async fn write_records(writer: Arc<StreamWriter<Valve>>, task: u8, rounds: u16) {
    for round in 0..rounds {
        let [high, low] = round.to_be_bytes();
        writer.write(&[task, high, low, task]).unwrap();
        match round % 4 {
            0 => writer.drain().await.unwrap(),
            _ => eddies::yield_now().await,
        }
    }
}

/// Writes until it is refused.
async fn write_on(writer: Arc<StreamWriter<Valve>>) {
    while writer.write(b"12345678").is_ok() && writer.drain().await.is_ok() {}
}

/// Many tasks on four workers write through one writer, while the sink takes a little at a time: each call's bytes stay together and in
/// the order of its task, whoever sends them.
#[test]
fn writes_of_many_tasks_stay_whole_and_in_order() {
    const TASKS: u8 = 8;
    const ROUNDS: u16 = 400;
    let runtime = eddies::Runtime::builder().workers(4).build().unwrap();
    let taken = runtime.block_on(async {
        let (valve, writer) = valve_and_writer();
        writer.set_write_buffer_limits(Some(200), Some(50)).unwrap();
        let writer = Arc::new(writer);
        let tap = valve.clone();
        let opener = eddies::spawn(async move {
            for bytes in (1..23).cycle() {
                tap.open(bytes);
                eddies::yield_now().await;
            }
        });
        let tasks: Vec<_> = (0..TASKS).map(|task| eddies::spawn(write_records(writer.clone(), task, ROUNDS))).collect();
        for task in tasks {
            task.await.unwrap();
        }
        writer.close();
        writer.wait_closed().await.unwrap();
        opener.abort();
        valve.taken()
    });
    let mut next = [0; TASKS as usize];
    assert_eq!(taken.len(), 4 * usize::from(TASKS) * usize::from(ROUNDS));
    for record in taken.chunks(4) {
        let [task, high, low, again] = record else { panic!("a torn record: {record:?}") };
        assert_eq!((task, u16::from_be_bytes([*high, *low])), (again, next[usize::from(*task)]));
        next[usize::from(*task)] += 1;
    }
}

/// Whatever is under way on other threads when it is aborted: everybody wakes, and the sink goes.
#[test]
fn an_abort_at_any_moment_wakes_everybody() {
    let runtime = eddies::Runtime::builder().workers(4).build().unwrap();
    runtime.block_on(async {
        for round in 0..300_usize {
            let (valve, writer) = valve_and_writer();
            writer.set_write_buffer_limits(Some(20), Some(0)).unwrap();
            let writer = Arc::new(writer);
            let tasks: Vec<_> = (0..3).map(|_| eddies::spawn(write_on(writer.clone()))).collect();
            let waits = writer.clone();
            let closed = eddies::spawn(async move { waits.wait_closed().await });
            for _ in 0..round % 17 {
                valve.open(7);
                eddies::yield_now().await;
            }
            match round % 3 {
                0 => writer.abort(),
                1 => valve.break_down(),
                _ => {
                    valve.open(usize::MAX);
                    writer.close();
                }
            }
            for task in tasks {
                task.await.unwrap();
            }
            let answer = closed.await.unwrap();
            assert_eq!(answer.is_err(), round % 3 == 1, "{answer:?}");
            drop(writer);
            until(|| valve.users() == 1).await;
        }
    });
}

/// A sink whose flush, too, has to wait.
struct Slow {
    valve: Valve,
    flushes: usize,
}

impl eddies::io::AsyncWrite for Slow {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        self.flushes = 3;
        std::pin::Pin::new(&mut self.valve).poll_write(cx, buf)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        if self.flushes == 0 {
            return std::task::Poll::Ready(Ok(()));
        }
        self.flushes -= 1;
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    }

    fn poll_close(self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.get_mut().valve).poll_close(cx)
    }
}

#[test]
fn what_the_connection_buffers_itself_is_flushed() {
    run_heard(async {
        let valve = Valve::default();
        valve.open(usize::MAX);
        let mut writer = StreamWriter::new(Slow { valve: valve.clone(), flushes: 0 });
        writer.write(b"one").unwrap();
        writer.write_all(b"two").await.unwrap();
        assert_eq!(writer.into_inner().await.unwrap().flushes, 0);
        assert_eq!(valve.taken(), b"onetwo");
    });
}

/// A sink that panics.
struct Bomb;

impl eddies::io::AsyncWrite for Bomb {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        panic!("boom")
    }

    fn poll_flush(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_close(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}

#[test]
fn a_connection_whose_code_panics_is_lost_and_nobody_waits_for_it() {
    eddies::run(async {
        let writer = StreamWriter::new(Bomb);
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| writer.write(b"x"))).is_err());
        assert!(matches!(writer.write(b"x"), Err(NotWritten::Lost(_))));
        assert!(writer.drain().await.is_err() && writer.wait_closed().await.is_err());
    });
}

#[test]
fn outside_a_runtime_what_waits_is_kept_and_sent_by_the_next_call_inside() {
    let (valve, writer) = valve_and_writer();
    writer.write(b"out").unwrap();
    assert_eq!(writer.write_buffer_size(), 3);
    valve.open(5);
    // The next call sends what it can, and keeps the order.
    writer.write(b"side").unwrap();
    assert_eq!((valve.taken(), writer.write_buffer_size()), (b"outsi".to_vec(), 2));
    eddies::run(async {
        valve.open(100);
        writer.close();
        writer.wait_closed().await.unwrap();
    });
    assert_eq!(valve.taken(), b"outside");
}

/// A sink that writes to its own writer, once.
struct Recursive {
    valve: Valve,
    writer: Arc<std::sync::OnceLock<std::sync::Weak<StreamWriter<Recursive>>>>,
}

impl eddies::io::AsyncWrite for Recursive {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        if buf == b"first" {
            self.writer.get().unwrap().upgrade().unwrap().write(b" second").unwrap();
        }
        std::pin::Pin::new(&mut self.valve).poll_write(cx, buf)
    }

    fn poll_flush(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_close(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}

#[test]
fn a_write_that_comes_while_another_sends_is_sent_after_it() {
    eddies::run(async {
        let (valve, own) = (Valve::default(), Arc::default());
        valve.open(usize::MAX);
        let writer = Arc::new(StreamWriter::new(Recursive { valve: valve.clone(), writer: Arc::clone(&own) }));
        own.set(Arc::downgrade(&writer)).unwrap();
        writer.write(b"first").unwrap();
        assert_eq!(valve.taken(), b"first second");
    });
}
