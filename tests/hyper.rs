//! `eddies::hyper`: `serve` and its end, its limits, and hyper's traits on our sockets.
//!
//! The clients are blocking ones on threads of their own, so that they share nothing with what they test.

#![cfg(feature = "hyper")]

use std::convert::Infallible;
use std::future::{Future, IntoFuture, pending};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use eddies::hyper::{Executor, Listener, Served, Timer, TowerService, serve};
use eddies::net::{TcpListener, UnixListener, UnixStream};
use futures_util::future::{Either, select};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Executor as _, Timer as _};
use hyper::service::service_fn;
use hyper::{Request, Response};

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

type Answer = Result<Response<String>, Infallible>;

/// A flag that a test's thread raises and an async function waits for.
#[derive(Clone)]
struct Flag(Arc<std::sync::OnceLock<()>>);

impl Flag {
    fn new() -> Flag {
        Flag(Arc::new(std::sync::OnceLock::new()))
    }

    fn raise(&self) {
        let _ = self.0.set(());
    }

    async fn raised(self) {
        while self.0.get().is_none() {
            eddies::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Serves on a thread of its own until the flag is raised.
fn serve_on_a_thread<F, R>(handler: F, deadline: Duration) -> (SocketAddr, Flag, thread::JoinHandle<Served>)
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Answer> + Send + 'static,
{
    let (tell, hear) = mpsc::channel();
    let stop = Flag::new();
    let stopped = stop.clone().raised();
    let server = thread::spawn(move || {
        let runtime = eddies::Runtime::builder().workers(2).build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            serve(listener, service_fn(handler)).with_graceful_shutdown(stopped, deadline).await.unwrap()
        })
    });
    (hear.recv().unwrap(), stop, server)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

fn ask(stream: &mut TcpStream, path: &str) {
    write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
}

/// One response with a `content-length`: head and body. `None` when the connection ends before its first byte.
fn answer(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ if head.is_empty() => return None,
            end => panic!("the response ends in its head: {end:?}"),
        }
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    Some((head, String::from_utf8(body).unwrap()))
}

async fn echo_path(request: Request<Incoming>) -> Answer {
    Ok(Response::new(request.uri().path().to_owned()))
}

#[test]
fn a_connection_is_kept_alive_and_may_pipeline() {
    let (address, stop, server) = serve_on_a_thread(echo_path, LONG);
    let mut client = connect(address);
    for path in ["/one", "/two"] {
        ask(&mut client, path);
        let (head, body) = answer(&mut client).unwrap();
        assert_eq!(body, path);
        assert!(!head.contains("connection: close"), "{head}");
    }
    for n in 0..10 {
        ask(&mut client, &format!("/{n}"));
    }
    for n in 0..10 {
        assert_eq!(answer(&mut client).unwrap().1, format!("/{n}"));
    }
    drop(client);
    stop.raise();
    let served = server.join().unwrap();
    assert_eq!((served.connections, served.aborted), (1, 0));
}

#[test]
fn a_request_in_flight_is_answered_after_the_signal_and_is_the_last() {
    let (entered, hear_entered) = mpsc::channel();
    let release = Flag::new();
    let released = release.clone();
    let handler = move |request: Request<Incoming>| {
        let (entered, released) = (entered.clone(), released.clone());
        async move {
            entered.send(()).unwrap();
            released.raised().await;
            echo_path(request).await
        }
    };
    let (address, stop, server) = serve_on_a_thread(handler, LONG);
    let mut client = connect(address);
    ask(&mut client, "/slow");
    hear_entered.recv().unwrap();

    stop.raise();
    // The listener is closed as the first thing.
    while TcpStream::connect(address).is_ok() {
        thread::yield_now();
    }
    assert!(!server.is_finished(), "it waits for the request");
    release.raise();

    let (head, body) = answer(&mut client).unwrap();
    assert_eq!(body, "/slow");
    assert!(head.contains("connection: close"), "{head}");
    assert!(answer(&mut client).is_none(), "the connection is closed");
    assert_eq!(server.join().unwrap().aborted, 0);
}

/// A listener that keeps its server in `close` until somebody lets it go.
struct SlowToClose {
    listener: TcpListener,
    closed: mpsc::Sender<()>,
    go_on: mpsc::Receiver<()>,
}

impl Listener for SlowToClose {
    type Stream = eddies::net::TcpStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Stream>> {
        Listener::poll_accept(&mut self.listener, cx)
    }

    fn close(self) -> Vec<Self::Stream> {
        let waiting = Listener::close(self.listener);
        self.closed.send(()).unwrap();
        self.go_on.recv_timeout(LONG).unwrap();
        waiting
    }
}

#[test]
fn who_sees_the_listener_closed_is_told_with_the_answer_that_it_is_the_last() {
    let (closed, hear_closed) = mpsc::channel();
    let (tell_go_on, go_on) = mpsc::channel();
    let (tell_address, address) = mpsc::channel();
    let stop = Flag::new();
    let stopped = stop.clone().raised();
    let server = thread::spawn(move || {
        let runtime = eddies::Runtime::builder().workers(2).build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell_address.send(listener.local_addr().unwrap()).unwrap();
            let listener = SlowToClose { listener, closed, go_on };
            serve(listener, service_fn(echo_path)).with_graceful_shutdown(stopped, LONG).await.unwrap()
        })
    });
    let mut client = connect(address.recv().unwrap());
    ask(&mut client, "/first");
    assert!(!answer(&mut client).unwrap().0.contains("connection: close"));
    stop.raise();
    hear_closed.recv().unwrap();
    ask(&mut client, "/last");
    let (head, body) = answer(&mut client).unwrap();
    assert_eq!(body, "/last");
    assert!(head.contains("connection: close"), "{head}");
    tell_go_on.send(()).unwrap();
    assert_eq!(server.join().unwrap().aborted, 0);
}

#[test]
fn an_idle_connection_is_closed_long_before_the_deadline() {
    let (address, stop, server) = serve_on_a_thread(echo_path, LONG);
    let (mut used, mut fresh) = (connect(address), connect(address));
    ask(&mut used, "/");
    answer(&mut used).unwrap();
    let begin = Instant::now();
    stop.raise();
    assert!(answer(&mut used).is_none());
    assert!(answer(&mut fresh).is_none());
    let served = server.join().unwrap();
    assert_eq!((served.connections, served.aborted), (2, 0));
    assert!(begin.elapsed() < LONG / 2, "{:?}", begin.elapsed());
}

#[test]
fn what_is_left_at_the_deadline_is_dropped_and_counted() {
    struct Dropped(Arc<AtomicUsize>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let counter = dropped.clone();
    let (entered, hear_entered) = mpsc::channel();
    let handler = move |request: Request<Incoming>| {
        let (guard, entered) = (Dropped(counter.clone()), entered.clone());
        async move {
            if request.uri().path() == "/never" {
                entered.send(()).unwrap();
                pending::<()>().await;
            }
            drop(guard);
            echo_path(request).await
        }
    };
    let (address, stop, server) = serve_on_a_thread(handler, Duration::from_millis(50));
    let mut stuck = [connect(address), connect(address), connect(address)];
    for client in &mut stuck {
        ask(client, "/never");
    }
    for _ in &stuck {
        hear_entered.recv().unwrap();
    }
    stop.raise();
    let served = server.join().unwrap();
    assert_eq!((served.connections, served.aborted), (3, 3));
    for client in &mut stuck {
        assert!(answer(client).is_none());
    }
    assert_eq!(dropped.load(Ordering::SeqCst), 3, "the handlers were dropped");
}

#[test]
fn connections_that_wait_in_the_backlog_are_served_at_the_end() {
    let runtime = eddies::Runtime::builder().workers(2).build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    // Complete in the kernel, accepted by nobody: the signal is raised before the server first runs.
    let mut waiting: Vec<TcpStream> = (0..5).map(|_| connect(address)).collect();
    for (n, client) in waiting.iter_mut().enumerate() {
        ask(client, &format!("/{n}"));
    }
    let server = serve(listener, service_fn(echo_path)).with_graceful_shutdown(async {}, LONG);
    let served = runtime.block_on(server.into_future()).unwrap();
    assert_eq!((served.connections, served.aborted), (5, 0));
    for (n, client) in waiting.iter_mut().enumerate() {
        assert_eq!(answer(client).unwrap().1, format!("/{n}"));
        assert!(answer(client).is_none());
    }
}

#[test]
fn a_slow_head_ends_its_connection_and_no_other() {
    let runtime = eddies::Runtime::builder().workers(1).build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let client = thread::spawn(move || {
        let mut slow = connect(address);
        slow.write_all(b"GET / HTTP/1.1\r\nhost: ").unwrap();
        let mut rest = Vec::new();
        slow.read_to_end(&mut rest).unwrap();
        let mut other = connect(address);
        ask(&mut other, "/other");
        answer(&mut other).unwrap().1
    });
    let server = serve(listener, service_fn(echo_path)).header_read_timeout(Duration::from_millis(20));
    runtime.block_on(async {
        let waits = async {
            while !client.is_finished() {
                eddies::sleep(Duration::from_millis(1)).await;
            }
        };
        match select(pin!(waits), server.into_future()).await {
            Either::Left(_) => {}
            Either::Right((ended, _)) => panic!("the server ended: {ended:?}"),
        }
    });
    assert_eq!(client.join().unwrap(), "/other");
}

#[test]
fn no_more_connections_than_allowed_are_served_at_a_time() {
    let runtime = eddies::Runtime::builder().workers(2).build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counting, peak) = (now.clone(), most.clone());
    let handler = move |request: Request<Incoming>| {
        let (now, most) = (counting.clone(), peak.clone());
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            for _ in 0..50 {
                eddies::yield_now().await;
            }
            now.fetch_sub(1, Ordering::SeqCst);
            echo_path(request).await
        }
    };
    let clients: Vec<_> = (0..8)
        .map(|_| {
            thread::spawn(move || {
                for _ in 0..20 {
                    let mut client = connect(address);
                    ask(&mut client, "/");
                    assert_eq!(answer(&mut client).unwrap().1, "/");
                }
            })
        })
        .collect();
    let stop = async move {
        while !clients.iter().all(thread::JoinHandle::is_finished) {
            eddies::sleep(Duration::from_millis(1)).await;
        }
        for client in clients {
            client.join().unwrap();
        }
    };
    let server = serve(listener, service_fn(handler)).max_connections(2).with_graceful_shutdown(stop, LONG);
    let served = runtime.block_on(server.into_future()).unwrap();
    assert_eq!((served.connections, served.aborted), (160, 0));
    assert!((1..=2).contains(&most.load(Ordering::SeqCst)), "{most:?}");
}

/// A listener that is out of descriptors for a while.
struct Exhausted {
    listener: TcpListener,
    failures: usize,
}

impl Listener for Exhausted {
    type Stream = eddies::net::TcpStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Stream>> {
        const EMFILE: i32 = 24;
        if self.failures > 0 {
            self.failures -= 1;
            return Poll::Ready(Err(io::Error::from_raw_os_error(EMFILE)));
        }
        Listener::poll_accept(&mut self.listener, cx)
    }

    fn close(self) -> Vec<Self::Stream> {
        Listener::close(self.listener)
    }
}

#[test]
fn a_failing_accept_is_told_once_and_tried_again_after_pauses() {
    let (tell, hear) = mpsc::channel();
    let runtime = eddies::Runtime::builder()
        .workers(1)
        .exception_handler(move |exception| tell.send(exception.to_string()).unwrap())
        .build()
        .unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let stop = Flag::new();
    let done = stop.clone();
    let client = thread::spawn(move || {
        let mut client = connect(address);
        ask(&mut client, "/");
        let answer = answer(&mut client).unwrap().1;
        done.raise();
        answer
    });
    let begin = Instant::now();
    let server = serve(Exhausted { listener, failures: 4 }, service_fn(echo_path));
    runtime.block_on(server.with_graceful_shutdown(stop.raised(), LONG).into_future()).unwrap();
    assert_eq!(client.join().unwrap(), "/");
    assert!(begin.elapsed() >= Duration::from_millis(5 + 10 + 20 + 40), "{:?}", begin.elapsed());
    let heard: Vec<String> = hear.try_iter().collect();
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(heard[0].contains("accepting a connection") && heard[0].contains("os error 24"), "{heard:?}");
}

#[test]
fn outside_a_runtime_the_server_says_so() {
    let listener = TcpListener::from_std(std::net::TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    let mut server = serve(listener, service_fn(echo_path)).into_future();
    match server.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())) {
        Poll::Ready(Err(error)) => assert!(error.to_string().contains("needs an eddies runtime"), "{error}"),
        other => panic!("{other:?}"),
    }
}

/// A tower service that is ready only at the second time of asking.
#[derive(Clone)]
struct Reluctant {
    asked: usize,
}

impl tower_service::Service<Request<Incoming>> for Reluctant {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = std::future::Ready<Answer>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.asked += 1;
        cx.waker().wake_by_ref();
        if self.asked < 2 { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn call(&mut self, _: Request<Incoming>) -> Self::Future {
        std::future::ready(Ok(Response::new(format!("asked {} times", self.asked))))
    }
}

/// hyper's client, with no wrapper around the stream, over a Unix socket.
async fn get_over_unix(stream: UnixStream) -> (u16, Bytes) {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    Executor.execute(async move { connection.await.unwrap() });
    let request = Request::get("/").header("host", "test").body(Empty::<Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    (status, response.into_body().collect().await.unwrap().to_bytes())
}

#[test]
fn tower_services_and_unix_sockets_work_too() {
    let path = std::env::temp_dir().join(format!("eddies-hyper-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    eddies::run(async {
        let listener = UnixListener::bind(&path).unwrap();
        let stop = Flag::new();
        let server = serve(listener, TowerService::new(Reluctant { asked: 0 }))
            .with_graceful_shutdown(stop.clone().raised(), LONG)
            .into_future();
        let server = eddies::spawn(server);
        let stream = UnixStream::connect(&path).await.unwrap();
        std::fs::remove_file(&path).unwrap();
        let (status, body) = get_over_unix(stream).await;
        assert_eq!((status, &body[..]), (200, &b"asked 2 times"[..]));
        stop.raise();
        assert_eq!(server.await.unwrap().unwrap().aborted, 0);
    });
}

#[test]
fn the_timer_resets_a_sleep_in_its_box() {
    eddies::run(async {
        let begin = Timer.now();
        let mut sleep = Timer.sleep(Duration::from_secs(3600));
        let address = address_of(&sleep);
        Timer.reset(&mut sleep, begin + Duration::from_millis(3));
        assert_eq!(address_of(&sleep), address, "no new box");
        sleep.await;
        assert!(begin.elapsed() >= Duration::from_millis(3));
        Timer.sleep_until(begin).await;
    });
}

fn address_of(sleep: &Pin<Box<dyn hyper::rt::Sleep>>) -> usize {
    (&raw const **sleep).cast::<()>() as usize
}
