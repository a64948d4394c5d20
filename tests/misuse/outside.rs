//! What needs a runtime, where there is none.

use std::future::Future;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::task::{Context, Waker};
use std::time::Duration;

use eddies::io::AsyncFd;
use eddies::net::{TcpListener, TcpStream, UdpSocket, UnixStream};
use eddies::process::Command;
use eddies::signal::unix::SignalKind;
use eddies::{LoopHandle, Runtime};

use super::{ends, panic_of, says};

/// Polls once, on a thread that runs nothing.
fn poll<F: Future>(future: F) -> std::task::Poll<F::Output> {
    std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn error<T>(result: std::io::Result<T>) -> String {
    result.err().expect("it works outside of a runtime").to_string()
}

const WAY_OUT: &str = "call it from `eddies::run`, from a task, or while the guard of `LoopHandle::enter` lives";

#[test]
fn spawned_with_no_runtime() {
    ends(|| {
        says(panic_of(|| eddies::spawn(async {})), &["spawn needs an eddies runtime", "thread `novice`", WAY_OUT]);
        says(panic_of(|| eddies::spawn_local(async {})), &["spawn_local needs an eddies runtime", WAY_OUT]);
        says(panic_of(|| eddies::spawn_blocking(|| ())), &["spawn_blocking needs an eddies runtime", WAY_OUT]);
        says(panic_of(|| eddies::try_spawn_blocking(|| ())), &["spawn_blocking needs an eddies runtime", WAY_OUT]);
        says(panic_of(eddies::all_tasks), &["all_tasks needs an eddies runtime", WAY_OUT]);
        says(panic_of(LoopHandle::current), &["LoopHandle::current needs an eddies runtime", WAY_OUT]);
        says(LoopHandle::try_current().unwrap_err(), &[WAY_OUT]);
        assert!(eddies::current_task().is_none());
    });
}

#[test]
fn slept_with_no_runtime() {
    ends(|| {
        let hour = Duration::from_secs(3600);
        says(panic_of(|| poll(eddies::sleep(hour))), &["a timer needs an eddies runtime", WAY_OUT, "outside.rs"]);
        let never = std::future::pending::<()>();
        says(panic_of(|| poll(eddies::timeout(hour, never))), &["a timer needs an eddies runtime", "outside.rs"]);
        let mut interval = eddies::interval(hour);
        assert!(poll(interval.tick()).is_ready(), "the first tick is due at once");
        says(panic_of(|| poll(interval.tick())), &["a timer needs an eddies runtime", "outside.rs"]);
        assert!(poll(eddies::sleep(Duration::ZERO)).is_ready(), "what needs no wait needs no runtime");
        says(panic_of(eddies::time::hold_clock), &["hold_clock", WAY_OUT]);
        says(panic_of(|| poll(eddies::testing::wait_all_blocked())), &["on a thread that runs no loop"]);
    });
}

#[test]
fn made_sockets_with_no_runtime() {
    ends(|| {
        let ready = |what: std::task::Poll<String>| match what {
            std::task::Poll::Ready(text) => text,
            std::task::Poll::Pending => panic!("it waits"),
        };
        let here = "127.0.0.1:0";
        let parts = ["needs an eddies runtime", WAY_OUT];
        // What needs no wait works everywhere; the first wait says what is missing.
        says(ready(poll(async { error(TcpListener::bind(here).await.unwrap().accept().await) })), &parts);
        says(ready(poll(async { error(UdpSocket::bind(here).await.unwrap().recv(&mut [0]).await) })), &parts);
        let (pair, _other) = UnixStream::pair().unwrap();
        says(ready(poll(async { error(pair.readable().await) })), &parts);
        says(ready(poll(async { error(TcpStream::connect("localhost:9").await) })), &parts);
        let (one, _two) = StdUnixStream::pair().unwrap();
        one.set_nonblocking(true).unwrap();
        says(AsyncFd::new(one).unwrap_err(), &parts);
        says(error(eddies::signal::unix::signal(SignalKind::hangup())), &parts);
        says(ready(poll(async { error(eddies::signal::ctrl_c().await) })), &parts);
        let status = async { error(Command::new("sleep").arg("60").kill_on_drop(true).status().await) };
        says(ready(poll(status)), &parts);
    });
}

#[test]
fn registered_callbacks_where_no_loop_runs() {
    ends(|| {
        let (one, _two) = StdUnixStream::pair().unwrap();
        let parts = ["the thread of a running event loop", "call it from a task, a callback or the main future"];
        says(eddies::io::add_reader(&one, || ()).unwrap_err(), &parts);
        says(eddies::io::add_writer(&one, || ()).unwrap_err(), &parts);
        says(eddies::signal::add_signal_handler(SignalKind::hangup(), || ()).unwrap_err(), &parts);
        assert!(!eddies::io::remove_reader(&one) && !eddies::signal::remove_signal_handler(SignalKind::hangup()));
    });
}

#[test]
fn used_a_socket_after_its_runtime_was_gone() {
    ends(|| {
        let runtime = Runtime::builder().workers(1).build().unwrap();
        let (one, _two) = runtime.block_on(async {
            let (one, two) = UnixStream::pair().unwrap();
            // The first wait gives a socket its loop.
            one.writable().await.unwrap();
            (one, two)
        });
        drop(runtime);
        let other = Runtime::builder().workers(1).build().unwrap();
        let message = other.block_on(async {
            let wait = eddies::timeout(Duration::from_secs(10), one.readable());
            wait.await.expect("it hangs").unwrap_err().to_string()
        });
        says(message, &["shut down"]);
    });
}

#[test]
fn moved_the_clock_of_a_real_runtime() {
    ends(|| {
        let runtime = Runtime::builder().workers(1).build().unwrap();
        let message = runtime.block_on(async { panic_of(|| poll(eddies::time::advance(Duration::from_secs(1)))) });
        says(message, &["whose clock is real", "#[eddies::test(virtual_time)]", "outside.rs"]);
        let refused = Runtime::builder().workers(4).virtual_time(true).build().unwrap_err();
        says(refused, &["virtual time needs a runtime of one worker", "leave `workers`"]);
    });
}

#[test]
fn built_a_runtime_of_nothing() {
    ends(|| {
        says(Runtime::builder().workers(0).build().unwrap_err(), &["1 to 4096 workers, not 0"]);
        says(Runtime::builder().workers(1_000_000).build().unwrap_err(), &["1 to 4096 workers, not 1000000"]);
        says(Runtime::builder().blocking_threads(0).build().unwrap_err(), &["at least one thread"]);
        says(Runtime::builder().thread_name("a\0b").build().unwrap_err(), &["a thread's name has no NUL", "a\\0b"]);
        says(panic_of(|| eddies::interval(Duration::ZERO)), &["the period of an interval must not be zero"]);
    });
}
