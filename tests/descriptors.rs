//! Readiness of bare descriptors: `AsyncFd`, and the readers and writers of a loop. Nothing here waits by the clock.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::future::{Future, pending};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use eddies::io::{AsyncFd, DescriptorError, Interest, add_reader, add_writer, remove_reader, remove_writer};
use eddies::{EventLoop, ExceptionKind, Runtime};
use futures_util::io::{AsyncReadExt, AsyncWriteExt};

/// Runs a test's body. The limit is for a test that fails by waiting for ever.
fn run<T>(body: impl Future<Output = io::Result<T>>) -> T {
    let bounded = eddies::timeout(Duration::from_secs(30), body);
    eddies::run(bounded).expect("it does not hang").expect("no I/O error")
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Counts the calls of a callback, and says when there are enough.
#[derive(Clone, Default)]
struct Calls(Rc<Cell<usize>>);

impl Calls {
    fn callback(&self) -> impl FnMut() + 'static {
        let calls = self.clone();
        move || calls.0.set(calls.0.get() + 1)
    }

    fn count(&self) -> usize {
        self.0.get()
    }

    async fn reach(&self, count: usize) {
        while self.count() < count {
            eddies::yield_now().await;
        }
    }
}

/// The loop looks at the kernel, and calls who is to be called.
async fn a_full_turn() -> io::Result<()> {
    let (ours, mut theirs) = UnixStream::pair()?;
    let calls = Calls::default();
    add_reader(&ours, calls.callback())?;
    eddies::yield_now().await;
    theirs.write_all(b"!")?;
    calls.reach(2).await;
    assert!(remove_reader(&ours));
    Ok(())
}

/// How many descriptors of this process are of the same open file.
#[cfg(target_os = "linux")]
fn descriptors_of(fd: RawFd) -> io::Result<usize> {
    let target = std::fs::read_link(format!("/proc/self/fd/{fd}"))?;
    let all = std::fs::read_dir("/proc/self/fd")?;
    Ok(all.flatten().filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|each| each == target)).count())
}

// ---- AsyncFd ---------------------------------------------------------------------------------------------------------------------

#[test]
fn bytes_pass_through_a_pipe_of_the_system() {
    run(async {
        let (reader, writer) = io::pipe()?;
        let (reader, writer) = (File::from(OwnedFd::from(reader)), File::from(OwnedFd::from(writer)));
        let (mut reader, mut writer) = (AsyncFd::new(reader)?, AsyncFd::new(writer)?);
        let sent = vec![7; 1 << 20];
        let expected = sent.clone();
        let writing = eddies::spawn(async move {
            writer.write_all(&sent).await?;
            writer.close().await
        });
        let mut received = Vec::new();
        reader.read_to_end(&mut received).await?;
        writing.await??;
        assert_eq!(received, expected);
        Ok(())
    });
}

#[test]
fn readiness_comes_and_goes_with_the_operations() {
    run(async {
        let (ours, mut theirs) = UnixStream::pair()?;
        let ours = AsyncFd::new(ours)?;
        ours.writable().await?;
        assert!(poll_once(pin!(ours.readable())).is_pending());
        let empty = ours.try_io(Interest::READABLE, |_| -> io::Result<()> { panic!("nothing is there to read") });
        assert_eq!(empty.unwrap_err().kind(), ErrorKind::WouldBlock);

        theirs.write_all(b"hello")?;
        ours.readable().await?;
        let mut bytes = [0; 8];
        assert_eq!(ours.try_io(Interest::READABLE, |mut io| io.read(&mut bytes))?, 5);
        let empty = ours.try_io(Interest::READABLE, |mut io| io.read(&mut bytes));
        assert_eq!(empty.unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(poll_once(pin!(ours.readable())).is_pending(), "the operation cleared it");

        drop(theirs);
        let ready = ours.ready(Interest::READABLE).await?;
        assert!(ready.is_read_closed());
        assert_eq!(ours.async_io(Interest::READABLE, |mut io| io.read(&mut bytes)).await?, 0);
        Ok(())
    });
}

#[test]
fn new_makes_it_non_blocking_and_keeping_mode_does_not() {
    run(async {
        let is_nonblocking =
            |io: &UnixStream| rustix::fs::fcntl_getfl(io).map(|flags| flags.contains(rustix::fs::OFlags::NONBLOCK));
        let (a, b) = UnixStream::pair()?;
        assert!(is_nonblocking(AsyncFd::new(&a)?.get_ref())?);
        assert!(!is_nonblocking(AsyncFd::keeping_mode(b)?.get_ref())?);
        Ok(())
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_regular_file_is_refused_by_name() {
    run(async {
        let file = File::open("Cargo.toml")?;
        let number = file.as_raw_fd();
        let error = AsyncFd::new(file).expect_err("it is always ready");
        assert!(matches!(error, DescriptorError::NotPollable { fd } if fd == number), "{error:?}");
        let error = io::Error::from(error);
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("regular file"), "{error}");

        let file = File::open("Cargo.toml")?;
        let error = add_reader(&file, || ()).expect_err("it is always ready");
        assert!(matches!(error, DescriptorError::NotPollable { .. }), "{error:?}");
        assert!(!remove_reader(&file));
        Ok(())
    });
}

#[test]
fn the_same_descriptor_twice_is_refused_by_name() {
    run(async {
        let (ours, _theirs) = UnixStream::pair()?;
        let first = AsyncFd::new(&ours)?;
        let error = AsyncFd::new(&ours).expect_err("it is watched already");
        assert!(matches!(error, DescriptorError::AlreadyRegistered { fd } if fd == ours.as_raw_fd()), "{error:?}");
        assert_eq!(io::Error::from(error).kind(), ErrorKind::AlreadyExists);
        drop(first);
        AsyncFd::new(&ours)?;
        Ok(())
    });
}

#[test]
fn outside_a_runtime_it_says_so() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let error = AsyncFd::new(ours).expect_err("no loop watches it");
    assert!(matches!(error, DescriptorError::NoRuntime(_)), "{error:?}");
}

#[test]
fn trap_125_a_cancelled_operation_deregisters_at_once() {
    run(async {
        let (ours, _theirs) = UnixStream::pair()?;
        let ours = Arc::new(ours);
        // A task that owns the registration and waits, cancelled from outside.
        let watched = AsyncFd::new(Arc::clone(&ours))?;
        let task = eddies::spawn(async move { watched.readable().await });
        eddies::yield_now().await;
        task.abort();
        assert!(task.await.expect_err("nothing was written").is_cancelled());
        let watched = AsyncFd::new(Arc::clone(&ours))?;

        // A future dropped by hand: the place among the waiters is free, and the number, before the loop turns again.
        {
            let read_a_byte = |io: &Arc<UnixStream>| (&**io).read(&mut [0]);
            let mut waiting = pin!(watched.async_io(Interest::READABLE, read_a_byte));
            assert!(poll_once(waiting.as_mut()).is_pending());
        }
        let same = watched.into_inner();
        let watched = AsyncFd::new(same)?;
        drop(watched);
        assert_eq!(Arc::strong_count(&ours), 1, "nothing holds it any more");
        Ok(())
    });
}

// ---- readers and writers -----------------------------------------------------------------------------------------------------------

#[test]
fn a_reader_is_called_in_each_turn_while_bytes_are_left() {
    run(async {
        let (ours, mut theirs) = UnixStream::pair()?;
        let read = Rc::new(RefCell::new(Vec::new()));
        let (collected, mut io) = (Rc::clone(&read), ours.try_clone()?);
        add_reader(&ours, move || {
            let mut byte = [0];
            if io.read(&mut byte).unwrap() == 1 {
                collected.borrow_mut().push(byte[0]);
            }
        })?;
        for text in [&b"abc"[..], b"d", b"efgh"] {
            let expected = read.borrow().len() + text.len();
            theirs.write_all(text)?;
            while read.borrow().len() < expected {
                eddies::yield_now().await;
            }
        }
        assert_eq!(*read.borrow(), b"abcdefgh");
        assert!(remove_reader(&ours));
        Ok(())
    });
}

#[test]
fn the_end_of_the_stream_calls_the_reader_and_the_writer() {
    run(async {
        let (ours, theirs) = io::pipe()?;
        let (at_end, at_loss) = (Calls::default(), Calls::default());
        add_reader(&ours, at_end.callback())?;
        a_full_turn().await?;
        assert_eq!(at_end.count(), 0);
        drop(theirs);
        at_end.reach(3).await;
        assert!(remove_reader(&ours));

        let (ours, theirs) = io::pipe()?;
        let filling = AsyncFd::new(File::from(OwnedFd::from(theirs.try_clone()?)))?;
        while filling.get_ref().write(&[0; 4096]).is_ok() {}
        add_writer(&theirs, at_loss.callback())?;
        a_full_turn().await?;
        assert_eq!(at_loss.count(), 0, "the pipe is full");
        drop(ours);
        at_loss.reach(3).await;
        assert!(remove_writer(&theirs));
        Ok(())
    });
}

#[test]
fn a_panic_is_told_and_the_reader_stays() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let runtime = Runtime::builder()
        .workers(1)
        .exception_handler(move |exception| heard.lock().unwrap().push(exception.kind()))
        .build()
        .unwrap();
    runtime.block_on(async {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let calls = Calls::default();
        let mut count = calls.callback();
        theirs.write_all(b"!").unwrap();
        add_reader(&ours, move || {
            count();
            panic!("of the callback");
        })
        .unwrap();
        eddies::timeout(Duration::from_secs(30), calls.reach(2)).await.expect("it stays");
        assert!(remove_reader(&ours));
    });
    assert_eq!(told.lock().unwrap()[..2], [ExceptionKind::Callback; 2]);
}

#[test]
fn a_number_that_was_given_to_another_file_is_another_descriptor() {
    run(async {
        let (first, mut to_first) = UnixStream::pair()?;
        let number = first.as_raw_fd();
        let (of_first, of_second) = (Calls::default(), Calls::default());
        add_reader(&first, of_first.callback())?;
        // Closed without being removed, and the number taken: the same effect as `close` and `open`, but safe beside other tests.
        let (second, mut to_second) = UnixStream::pair()?;
        let mut number_of_first = OwnedFd::from(first);
        rustix::io::dup2(&second, &mut number_of_first)?;
        assert_eq!(number_of_first.as_raw_fd(), number);
        add_reader(&number_of_first, of_second.callback())?;
        let error = to_first.write_all(b"!").expect_err("nothing holds the closed one any more");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        to_second.write_all(b"!")?;
        of_second.reach(2).await;
        assert_eq!(of_first.count(), 0);
        assert!(remove_reader(&number));
        assert!(!remove_reader(&number));
        Ok(())
    });
}

#[test]
fn trap_015_without_a_loop_adding_is_an_error_and_removing_false() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let error = add_reader(&ours, || ()).expect_err("nobody would call it");
    assert!(matches!(error, DescriptorError::NoLoop { operation: "add_reader" }), "{error:?}");
    assert!(error.to_string().contains("event loop"), "{error}");
    let error = add_writer(&ours, || ()).expect_err("nobody would call it");
    assert!(matches!(error, DescriptorError::NoLoop { operation: "add_writer" }), "{error:?}");
    assert!(!remove_reader(&ours) && !remove_writer(&ours));
    run(async {
        let refused = eddies::spawn_blocking(move || add_reader(&ours, || ())).await?;
        assert!(matches!(refused, Err(DescriptorError::NoLoop { .. })), "a thread of the pool runs no loop");
        Ok(())
    });
}

#[test]
fn trap_015_a_closed_loop_takes_no_reader_and_has_dropped_its_own() {
    struct AtEnd<F: FnMut()>(F);
    impl<F: FnMut()> Drop for AtEnd<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let ours = Rc::new(ours);
    let captured = Rc::new(());
    let while_closing = Rc::new(RefCell::new(None));
    let runtime = Runtime::builder().workers(1).build().unwrap();
    runtime.block_on(async {
        let (io, answer) = (Rc::clone(&ours), Rc::clone(&while_closing));
        let at_end = AtEnd(move || *answer.borrow_mut() = Some(add_writer(&*io, || ())));
        eddies::spawn_local(async move {
            let _at_end = at_end;
            pending::<()>().await;
        });
        let in_callback = Rc::clone(&captured);
        add_reader(&*ours, move || drop(Rc::clone(&in_callback))).unwrap();
        eddies::yield_now().await;
    });
    let answer = while_closing.borrow_mut().take().expect("the task was dropped");
    assert!(
        matches!(answer, Err(DescriptorError::LoopClosed(ref closed)) if closed.operation() == "add_writer"),
        "{answer:?}"
    );
    assert_eq!(Rc::strong_count(&captured), 1, "the reader is gone with its loop");
    runtime.block_on(async {
        assert!(!remove_reader(&*ours));
        assert!(!remove_writer(&*ours));
        add_reader(&*ours, || ()).unwrap();
        assert!(remove_reader(&*ours));
    });
}

#[test]
fn trap_015_after_close_adding_is_an_error_and_removing_false() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let captured = Rc::new(());
    let event_loop = EventLoop::new().unwrap();
    let in_callback = Rc::clone(&captured);
    event_loop.add_reader(&ours, move || drop(Rc::clone(&in_callback))).unwrap();
    event_loop.close().unwrap();
    assert_eq!(Rc::strong_count(&captured), 1, "the reader is gone with its loop");
    for answer in [event_loop.add_reader(&ours, || ()), event_loop.add_writer(&ours, || ())] {
        assert!(matches!(answer, Err(DescriptorError::LoopClosed(_))), "{answer:?}");
    }
    assert!(!event_loop.remove_reader(&ours) && !event_loop.remove_writer(&ours));
}

#[test]
fn the_readers_of_an_event_loop_outlive_a_run() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let event_loop = EventLoop::new().unwrap();
    let calls = Calls::default();
    let (mut count, handle, io) = (calls.callback(), event_loop.handle(), ours.try_clone().unwrap());
    event_loop
        .add_reader(&ours, move || {
            count();
            (&io).read_exact(&mut [0]).unwrap();
            handle.stop();
        })
        .unwrap();
    assert!(event_loop.all_tasks().is_empty(), "a callback is no task");
    for count in 1..=3 {
        theirs.write_all(b"!").unwrap();
        event_loop.run_forever().unwrap();
        assert_eq!(calls.count(), count);
    }
    assert!(event_loop.remove_reader(&ours));
    assert!(!event_loop.remove_reader(&ours));
    event_loop.close().unwrap();
}

#[test]
fn trap_028_a_second_reader_replaces_and_drops_the_first() {
    run(async {
        let (ours, mut theirs) = UnixStream::pair()?;
        let captured = Rc::new(());
        let of_first = Rc::clone(&captured);
        add_reader(&ours, move || panic!("replaced before the turn: {of_first:?}"))?;
        let second = Calls::default();
        add_reader(&ours, second.callback())?;
        assert_eq!(Rc::strong_count(&captured), 1, "what it captured is dropped at once");
        theirs.write_all(b"!")?;
        second.reach(2).await;

        // The same when the first has run.
        let third = Calls::default();
        add_reader(&ours, third.callback())?;
        let so_far = second.count();
        third.reach(2).await;
        assert_eq!(second.count(), so_far);
        assert!(remove_reader(&ours), "there was one");
        assert!(!remove_reader(&ours), "there is none");
        assert!(!remove_writer(&ours), "there never was");
        Ok(())
    });
}

#[test]
#[cfg(target_os = "linux")]
fn trap_028_reader_and_writer_share_one_registration() {
    run(async {
        let (ours, mut theirs) = UnixStream::pair()?;
        let number = ours.as_raw_fd();
        assert_eq!(descriptors_of(number)?, 1);
        let (reader, writer) = (Calls::default(), Calls::default());
        add_reader(&ours, reader.callback())?;
        assert_eq!(descriptors_of(number)?, 2, "the one that is registered");
        add_writer(&ours, writer.callback())?;
        assert_eq!(descriptors_of(number)?, 2, "the same");
        writer.reach(2).await;
        assert_eq!(reader.count(), 0);
        assert!(remove_writer(&number), "by its number");
        theirs.write_all(b"!")?;
        reader.reach(2).await;
        assert!(remove_reader(&ours));
        assert_eq!(descriptors_of(number)?, 1, "deregistered at once");
        Ok(())
    });
}

#[test]
fn trap_029_an_event_for_a_removed_reader_calls_nobody() {
    run(async {
        // Two are ready in the same turn, and each removes the other.
        let (first, second) = (Rc::new(UnixStream::pair()?), Rc::new(UnixStream::pair()?));
        let calls = Calls::default();
        for (mine, other) in [(&first, &second), (&second, &first)] {
            let (mut count, other) = (calls.callback(), Rc::clone(other));
            add_reader(&mine.0, move || {
                count();
                assert!(remove_reader(&other.0), "nobody removed this one, so the other is there");
            })?;
        }
        eddies::yield_now().await;
        (&first.1).write_all(b"!")?;
        (&second.1).write_all(b"!")?;
        calls.reach(1).await;
        assert_eq!(calls.count(), 1);
        let left = [&first, &second].map(|pair| remove_reader(&pair.0));
        assert_eq!(left.iter().filter(|is_left| **is_left).count(), 1, "the one that was called is left");
        a_full_turn().await?;
        assert_eq!(calls.count(), 1);

        // One that is ready and removed before the loop looks.
        let (ours, mut theirs) = UnixStream::pair()?;
        add_reader(&ours, || panic!("it was removed"))?;
        eddies::yield_now().await;
        theirs.write_all(b"!")?;
        assert!(remove_reader(&ours));
        a_full_turn().await?;
        AsyncFd::new(&ours)?;
        Ok(())
    });
}

#[test]
fn trap_029_a_reader_may_remove_or_replace_itself() {
    run(async {
        let (ours, mut theirs) = UnixStream::pair()?;
        let ours = Rc::new(ours);
        theirs.write_all(b"!")?;
        let (once, then) = (Calls::default(), Calls::default());
        let (mut count, next, io) = (once.callback(), then.clone(), Rc::clone(&ours));
        add_reader(&*ours, move || {
            count();
            let (mut count, io_then) = (next.callback(), Rc::clone(&io));
            add_reader(&*io, move || {
                count();
                assert!(remove_reader(&*io_then));
            })
            .unwrap();
        })?;
        then.reach(1).await;
        a_full_turn().await?;
        assert_eq!((once.count(), then.count()), (1, 1));
        assert!(!remove_reader(&*ours));
        assert_eq!(Rc::strong_count(&ours), 1, "both callbacks are dropped");
        Ok(())
    });
}

#[test]
fn trap_030_the_descriptor_of_a_socket_that_waits_is_refused() {
    run(async {
        let (mut ours, mut theirs) = eddies::net::UnixStream::pair()?;
        let mut byte = [0];
        assert!(poll_once(pin!(ours.read(&mut byte))).is_pending(), "so it is registered");
        for answer in [add_reader(&ours, || ()), add_writer(&ours, || ())] {
            let error = answer.expect_err("it is the socket's");
            assert!(matches!(error, DescriptorError::AlreadyRegistered { fd } if fd == ours.as_raw_fd()), "{error:?}");
        }
        assert!(!remove_reader(&ours) && !remove_writer(&ours));
        // The socket has not noticed.
        let reading = eddies::spawn(async move {
            ours.read_exact(&mut byte).await?;
            io::Result::Ok(byte)
        });
        theirs.write_all(b"!").await?;
        assert_eq!(&reading.await??, b"!");
        Ok(())
    });
}

#[test]
fn trap_030_the_socket_may_wait_on_another_loop() {
    let runtime = Runtime::builder().workers(3).build().unwrap();
    runtime.block_on(async {
        let (ours, _theirs) = eddies::net::UnixStream::pair().unwrap();
        let ours = Arc::new(ours);
        // Off the workers the loops take turns, so one of these is registered with each.
        let mut waiting = Vec::new();
        for _ in 0..3 {
            let (io, _other) = eddies::net::UnixStream::pair().unwrap();
            let io = eddies::spawn_blocking(move || {
                assert!(poll_once(pin!(io.readable())).is_pending());
                (io, _other)
            });
            waiting.push(io.await.unwrap());
        }
        for (io, _) in &waiting {
            let refused = add_reader(io, || ());
            assert!(matches!(refused, Err(DescriptorError::AlreadyRegistered { .. })), "{refused:?}");
        }
        add_reader(&*ours, || ()).expect("this one has never waited");
        assert!(remove_reader(&*ours));
    });
}

#[test]
fn a_callback_whose_destructor_panics_leaves_the_table_usable() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("of the destructor");
            }
        }
    }
    run(async {
        let (ours, _theirs) = UnixStream::pair()?;
        let bomb = Bomb;
        add_reader(&ours, move || {
            let _ = &bomb;
        })?;
        catch_unwind(AssertUnwindSafe(|| remove_reader(&ours))).expect_err("it goes off here");
        assert!(!remove_reader(&ours));
        add_reader(&ours, || ())?;
        assert!(remove_reader(&ours));
        Ok(())
    });
}
