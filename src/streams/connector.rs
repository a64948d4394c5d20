//! [`Connector`]: a connection to the first of several addresses that answers, by RFC 8305 (Happy Eyeballs).
//!
//! One task, the caller's, polls all attempts; an attempt is a future that owns its socket. So whatever ends the wait, a winner, an error, a
//! `timeout`, a drop, closes the sockets of all others in the same step, and nothing runs on.
//!
//! - C1: an address is tried when the one before has failed, or has not answered for the delay; never two at once in one step.
//! - C2: families take turns, beginning with that of the first address, so that one broken family costs one delay.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::stream_errors::ConnectErrors;
use super::{DEFAULT_LIMIT, StreamReader, StreamWriter, of_socket};
use crate::net::{TcpSocket, TcpStream, ToSocketAddrs, lookup_host, unix};
use crate::time::{Sleep, sleep};

/// RFC 8305, section 8: the recommended delay between two attempts.
const DELAY: Duration = Duration::from_millis(250);

/// How to connect: what [`open_connection`](super::open_connection) leaves at its defaults.
///
/// ```
/// use std::time::Duration;
/// use eddies::streams::{Connector, start_server};
///
/// # fn main() -> std::io::Result<()> {
/// eddies::run(async {
///     let server = start_server("127.0.0.1:0", async |_, writer| { let _ = writer.write(b"welcome\n"); }).await?;
///     let connector = Connector::new().limit(1024).happy_eyeballs_delay(Some(Duration::from_millis(100)));
///     let (mut reader, _writer) = connector.open(server.local_addrs()[0]).await?;
///     assert_eq!(reader.readline().await?, b"welcome\n");
///     Ok(())
/// })
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a connector does nothing until `open`"]
pub struct Connector {
    limit: usize,
    local_addr: Option<SocketAddr>,
    delay: Option<Duration>,
    all_errors: bool,
}

impl Default for Connector {
    fn default() -> Self {
        Connector::new()
    }
}

impl Connector {
    /// The defaults.
    pub fn new() -> Self {
        Connector { limit: DEFAULT_LIMIT, local_addr: None, delay: Some(DELAY), all_errors: false }
    }

    /// The reader's limit, in bytes. Default: 64 KiB.
    ///
    /// # Panics
    ///
    /// When it is 0.
    #[track_caller]
    pub fn limit(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "the limit of a reader must not be 0");
        self.limit = bytes;
        self
    }

    /// The address to connect from. Addresses of the other family are not tried.
    pub fn local_addr(mut self, address: SocketAddr) -> Self {
        self.local_addr = Some(address);
        self
    }

    /// How long an attempt has before the next address is tried beside it. `None`: each address is tried when the one before has failed, in the
    /// order of the lookup, which is asyncio's default. Ours is 250 ms.
    pub fn happy_eyeballs_delay(mut self, delay: Option<Duration>) -> Self {
        self.delay = delay;
        self
    }

    /// Whether a failure carries the list of all errors ([`ConnectErrors`]) even where they are all the same. Default: no.
    pub fn all_errors(mut self, all: bool) -> Self {
        self.all_errors = all;
        self
    }

    /// Connects, with Nagle's algorithm off.
    ///
    /// # Errors
    ///
    /// When each address failed, and all in the same way: that error. When in different ways: one with a [`ConnectErrors`] inside, and the kind
    /// of the first. `InvalidInput` when there is no address to try; else that of the lookup.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the sockets of all attempts.
    pub async fn open(&self, address: impl ToSocketAddrs) -> io::Result<(StreamReader, StreamWriter)> {
        let stream = self.connect(lookup_host(address).await?.collect()).await?;
        stream.set_nodelay(true)?;
        Ok(of_socket(stream.into_split(), self.limit, None))
    }

    /// Connects to the Unix socket at `path`. Only the limit is of use here.
    ///
    /// # Errors
    ///
    /// As [`UnixStream::connect`](crate::net::UnixStream::connect).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the socket.
    pub async fn open_unix(
        &self,
        path: impl AsRef<std::path::Path>,
    ) -> io::Result<(StreamReader<unix::OwnedReadHalf>, StreamWriter<unix::OwnedWriteHalf>)> {
        let stream = unix::UnixStream::connect(path).await?;
        Ok(of_socket(stream.into_split(), self.limit, None))
    }

    async fn connect(&self, addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
        let is_usable = |address: &SocketAddr| self.local_addr.is_none_or(|own| own.is_ipv4() == address.is_ipv4());
        let mut addresses: Vec<SocketAddr> = addresses.into_iter().filter(is_usable).collect();
        if self.delay.is_some() {
            addresses = interleaved(addresses);
        }
        let local = self.local_addr;
        let mut race = Race {
            attempts: Vec::new(),
            next: addresses.into_iter(),
            begin: move |address| -> Attempt<TcpStream> { Box::pin(attempt(address, local)) },
            delay: self.delay,
            timer: None,
            errors: Vec::new(),
        };
        poll_fn(|cx| race.poll(cx)).await.map_err(|attempts| self.failure(attempts))
    }

    fn failure(&self, mut attempts: Vec<(SocketAddr, io::Error)>) -> io::Error {
        let Some((_, first)) = attempts.first() else {
            return io::Error::new(io::ErrorKind::InvalidInput, "there is no address to connect to");
        };
        let text = first.to_string();
        if !self.all_errors && attempts.iter().all(|(_, error)| error.to_string() == text) {
            return attempts.swap_remove(0).1;
        }
        io::Error::new(first.kind(), ConnectErrors { attempts })
    }
}

async fn attempt(address: SocketAddr, local: Option<SocketAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(local) = local {
        socket.bind(local)?;
    }
    socket.connect(address).await
}

/// The families in turns, beginning with that of the first; each in its order (C2).
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let is_first_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for address in addresses {
        if address.is_ipv4() == is_first_v4 { first.push(address) } else { second.push(address) }
    }
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = Vec::new();
    loop {
        let before = mixed.len();
        mixed.extend(first.next());
        mixed.extend(second.next());
        if mixed.len() == before {
            return mixed;
        }
    }
}

type Attempt<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// Attempts that run beside each other.
struct Race<T, B> {
    attempts: Vec<(SocketAddr, Attempt<T>)>,
    next: std::vec::IntoIter<SocketAddr>,
    begin: B,
    delay: Option<Duration>,
    /// When the next begins beside those that run. Unpinned by its box.
    timer: Option<Pin<Box<Sleep>>>,
    errors: Vec<(SocketAddr, io::Error)>,
}

impl<T, B: FnMut(SocketAddr) -> Attempt<T>> Race<T, B> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, Vec<(SocketAddr, io::Error)>>> {
        loop {
            let mut has_failed = false;
            let mut at = 0;
            while at < self.attempts.len() {
                match self.attempts[at].1.as_mut().poll(cx) {
                    Poll::Ready(Ok(winner)) => return Poll::Ready(Ok(winner)),
                    Poll::Ready(Err(error)) => {
                        let (address, attempt) = self.attempts.remove(at);
                        drop(attempt);
                        self.errors.push((address, error));
                        has_failed = true;
                    }
                    Poll::Pending => at += 1,
                }
            }
            let is_due = self.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready());
            if !(has_failed || is_due || self.attempts.is_empty()) {
                return Poll::Pending;
            }
            self.timer = None;
            match self.next.next() {
                Some(address) => self.attempts.push((address, (self.begin)(address))),
                None if self.attempts.is_empty() => return Poll::Ready(Err(std::mem::take(&mut self.errors))),
                None => return Poll::Pending,
            }
            if let (Some(delay), 1..) = (self.delay, self.next.len()) {
                self.timer = Some(Box::pin(sleep(delay)));
            }
        }
    }
}

impl<T, B> fmt::Debug for Race<T, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Race").field("running", &self.attempts.len()).field("failed", &self.errors.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use std::task::Waker;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn connector() -> Connector {
        Connector::new()
    }

    #[test]
    fn families_take_turns() {
        let [a, b, c, x] = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"].map(address);
        assert_eq!(interleaved(vec![a, b, c, x]), [a, x, b, c]);
        assert_eq!(interleaved(vec![x, a, b]), [x, a, b]);
        assert_eq!(interleaved(Vec::new()), []);
    }

    #[test]
    fn trap_126_identical_errors_collapse() {
        let attempts = |kinds: &[io::ErrorKind]| -> Vec<_> {
            kinds.iter().map(|&kind| (address("1.1.1.1:1"), io::Error::from(kind))).collect()
        };
        use io::ErrorKind::{ConnectionRefused, TimedOut};
        let same = connector().failure(attempts(&[ConnectionRefused, ConnectionRefused]));
        assert!(same.kind() == ConnectionRefused && ConnectErrors::of(&same).is_none());
        let all = connector().all_errors(true).failure(attempts(&[ConnectionRefused, ConnectionRefused]));
        assert_eq!(ConnectErrors::of(&all).unwrap().attempts().len(), 2);
        let different = connector().failure(attempts(&[ConnectionRefused, TimedOut]));
        assert_eq!(different.kind(), ConnectionRefused);
        let text = different.to_string();
        assert!(text.contains("connection refused") && text.contains("timed out"), "{text}");
        assert_eq!(connector().failure(Vec::new()).kind(), io::ErrorKind::InvalidInput);
    }

    /// Attempts that end as they are told; the names of those that were begun and dropped.
    #[derive(Default)]
    struct Script {
        begun: Vec<u16>,
        dropped: Vec<u16>,
        answers: Vec<(u16, io::Result<u16>)>,
    }

    struct Scripted(u16, Arc<Mutex<Script>>);

    impl Future for Scripted {
        type Output = io::Result<u16>;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u16>> {
            let mut script = self.1.lock().unwrap();
            let at = script.answers.iter().position(|(port, _)| *port == self.0);
            at.map_or(Poll::Pending, |at| Poll::Ready(script.answers.swap_remove(at).1))
        }
    }

    impl Drop for Scripted {
        fn drop(&mut self) {
            self.1.lock().unwrap().dropped.push(self.0);
        }
    }

    type Begin = Box<dyn FnMut(SocketAddr) -> Attempt<u16>>;

    fn race(ports: std::ops::Range<u16>, delay: Option<Duration>, script: &Arc<Mutex<Script>>) -> Race<u16, Begin> {
        let script = script.clone();
        let next: Vec<_> = ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
        let begin: Begin = Box::new(move |address| {
            script.lock().unwrap().begun.push(address.port());
            Box::pin(Scripted(address.port(), script.clone()))
        });
        Race { attempts: Vec::new(), next: next.into_iter(), begin, delay, timer: None, errors: Vec::new() }
    }

    #[test]
    fn an_attempt_begins_when_the_one_before_fails_and_the_losers_are_dropped() {
        let script = Arc::new(Mutex::new(Script::default()));
        let cx = &mut Context::from_waker(Waker::noop());
        let mut race = race(1..4, None, &script);
        assert!(race.poll(cx).is_pending());
        assert!(race.poll(cx).is_pending());
        assert_eq!(script.lock().unwrap().begun, [1], "without a delay one runs at a time");
        script.lock().unwrap().answers.push((1, Err(io::ErrorKind::TimedOut.into())));
        assert!(race.poll(cx).is_pending());
        assert_eq!(script.lock().unwrap().begun, [1, 2]);
        script.lock().unwrap().answers.push((2, Ok(22)));
        assert!(matches!(race.poll(cx), Poll::Ready(Ok(22))));
    }

    #[test]
    fn an_attempt_begins_when_the_delay_is_over_and_a_drop_ends_all() {
        let script = Arc::new(Mutex::new(Script::default()));
        let watched = script.clone();
        crate::run(async move {
            let mut race = race(1..4, Some(Duration::from_millis(1)), &script);
            let all_begun = poll_fn(|cx| {
                assert!(race.poll(cx).is_pending());
                if script.lock().unwrap().begun.len() == 3 { Poll::Ready(()) } else { Poll::Pending }
            });
            all_begun.await;
            assert!(script.lock().unwrap().dropped.is_empty());
            drop(race);
        });
        assert_eq!(watched.lock().unwrap().dropped, [1, 2, 3]);
    }
}
