//! The echo client: the benchmark's own executable, started again with [`ARGUMENT`].
//!
//! One thread, one `mio::Poll`; on each connection one message is under way at any time. It checks every byte of every reply, ends by
//! itself after a bounded time, and prints its [`Report`] as one line.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// The first argument of a process that is to be the client. After it: address, number of connections, milliseconds to measure.
pub(crate) const ARGUMENT: &str = "--echo-client";

/// Bytes per message.
pub(crate) const MESSAGE: usize = 64;

/// How much longer than planned the client goes on waiting for replies.
const GRACE: Duration = Duration::from_secs(5);

/// What the client found.
pub(crate) struct Report {
    /// Replies in all, those of the warm-up included.
    pub(crate) requests: u64,
    /// Replies that came in the measured window.
    pub(crate) measured: u64,
    /// Length of the window.
    pub(crate) window_ns: u64,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
}

impl Report {
    /// Reads what `main` printed; `None` when the client did not get that far.
    pub(crate) fn parse(line: &str) -> Option<Report> {
        let numbers: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let [requests, measured, window_ns, p50_ns, p99_ns] = numbers[..] else { return None };
        (measured > 0).then_some(Report { requests, measured, window_ns, p50_ns, p99_ns })
    }
}

/// The client's `main`; `arguments` are those after [`ARGUMENT`].
pub(crate) fn main(arguments: &[String]) -> io::Result<()> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "expected: ADDRESS CONNECTIONS MILLISECONDS");
    let [address, connections, window_ms] = arguments else { return Err(invalid()) };
    let address = address.parse().map_err(|_| invalid())?;
    let connections = connections.parse().map_err(|_| invalid())?;
    let window = Duration::from_millis(window_ms.parse().map_err(|_| invalid())?);
    let report = run(address, connections, window)?;
    let Report { requests, measured, window_ns, p50_ns, p99_ns } = report;
    println!("{requests} {measured} {window_ns} {p50_ns} {p99_ns}");
    Ok(())
}

/// One connection and the message that is under way on it.
struct Connection {
    stream: TcpStream,
    message: [u8; MESSAGE],
    reply: [u8; MESSAGE],
    /// How much of `reply` has arrived.
    filled: usize,
    sent_at: Instant,
}

impl Connection {
    fn open(address: std::net::SocketAddr, token: usize, poll: &Poll) -> io::Result<Connection> {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(token), Interest::READABLE)?;
        let message = std::array::from_fn(|index| (index + token) as u8);
        Ok(Connection { stream, message, reply: [0; MESSAGE], filled: 0, sent_at: Instant::now() })
    }

    /// Sends a message that differs from the one before it. It is far smaller than the empty send buffer, so this does not block.
    fn send(&mut self, sequence: u64, now: Instant) -> io::Result<()> {
        self.message[..8].copy_from_slice(&sequence.to_le_bytes());
        self.filled = 0;
        self.sent_at = now;
        self.stream.write_all(&self.message)
    }

    /// Takes in what is there; true when the reply is complete.
    fn receive(&mut self) -> io::Result<bool> {
        while self.filled < MESSAGE {
            match self.stream.read(&mut self.reply[self.filled..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.reply != self.message {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a reply differs from its message"));
        }
        Ok(true)
    }
}

fn run(address: std::net::SocketAddr, connections: usize, window: Duration) -> io::Result<Report> {
    let mut poll = Poll::new()?;
    let mut clients =
        (0..connections).map(|token| Connection::open(address, token, &poll)).collect::<io::Result<Vec<_>>>()?;
    let measure_from = Instant::now() + window / 4;
    let measure_until = measure_from + window;
    let mut requests = 0;
    for client in &mut clients {
        client.send(requests, Instant::now())?;
        requests += 1;
    }
    let mut under_way = connections;
    let mut latencies_ns = Vec::with_capacity(1 << 20);
    let mut events = Events::with_capacity(1024);
    while under_way > 0 {
        match poll.poll(&mut events, Some(Duration::from_millis(100))) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        if Instant::now() > measure_until + GRACE {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{under_way} replies did not come")));
        }
        for event in &events {
            let client = &mut clients[event.token().0];
            if !client.receive()? {
                continue;
            }
            let now = Instant::now();
            if (measure_from..measure_until).contains(&now) {
                latencies_ns.push((now - client.sent_at).as_nanos() as u64);
            }
            if now < measure_until {
                client.send(requests, now)?;
                requests += 1;
            } else {
                under_way -= 1;
            }
        }
    }
    latencies_ns.sort_unstable();
    let at = |per_cent: usize| latencies_ns.get(latencies_ns.len() * per_cent / 100).copied().unwrap_or(0);
    let measured = latencies_ns.len() as u64;
    Ok(Report { requests, measured, window_ns: window.as_nanos() as u64, p50_ns: at(50), p99_ns: at(99) })
}
