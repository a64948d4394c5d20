//! The client of the streams: the benchmark's own executable, started again with [`ARGUMENT`].
//!
//! One thread, one `mio::Poll`. On each connection it sends blocks of [`BLOCK`] bytes, takes each back while it is still sending it, and begins the next
//! when all of it has come back as it was sent. Ends by itself, and prints its report as one line; before it, when its window begins
//! and ends (see `echo_client.rs`).

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::peers::echo_client::{BEGIN, END};

/// The first argument of a process that is to be this client. After it: the address, the number of connections, the milliseconds to measure.
pub(crate) const ARGUMENT: &str = "--stream-client";

/// Bytes per block: 1 MiB.
pub(crate) const BLOCK: usize = 1 << 20;

/// Blocks begin at this many places of the pattern, so that each differs from the one before it.
const PLACES: usize = 251;

/// How much longer than planned the client goes on waiting.
const GRACE: Duration = Duration::from_secs(5);

/// What the client found.
pub(crate) struct Report {
    /// Blocks in all.
    pub(crate) blocks: u64,
    /// Bytes that came back in the window, and its length.
    pub(crate) measured: u64,
    pub(crate) window_ns: u64,
}

impl Report {
    pub(crate) fn parse(line: &str) -> Option<Report> {
        let numbers: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let [blocks, measured, window_ns] = numbers[..] else { return None };
        (measured > 0).then_some(Report { blocks, measured, window_ns })
    }
}

/// The client's `main`; `arguments` are those after [`ARGUMENT`].
pub(crate) fn main(arguments: &[String]) -> io::Result<()> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "expected: ADDRESS CONNECTIONS MILLISECONDS");
    let [address, connections, window_ms] = arguments else { return Err(invalid()) };
    let address = address.parse().map_err(|_| invalid())?;
    let connections = connections.parse().map_err(|_| invalid())?;
    let window = Duration::from_millis(window_ms.parse().map_err(|_| invalid())?);
    let Report { blocks, measured, window_ns } = run(address, connections, window)?;
    println!("{blocks} {measured} {window_ns}");
    Ok(())
}

/// One connection and the block that is under way on it.
struct Connection {
    stream: TcpStream,
    /// Where the block begins in the pattern.
    place: usize,
    sent: usize,
    received: usize,
    /// No further block is begun.
    is_last: bool,
}

impl Connection {
    fn open(address: SocketAddr, token: usize, poll: &Poll) -> io::Result<Connection> {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(token), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Connection { stream, place: token % PLACES, sent: 0, received: 0, is_last: false })
    }

    /// Sends what the socket takes.
    fn send(&mut self, pattern: &[u8]) -> io::Result<()> {
        while self.sent < BLOCK {
            let block = &pattern[self.place..self.place + BLOCK];
            match self.stream.write(&block[self.sent..]) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes one piece of what is there and compares it; `None` when nothing is there.
    fn receive(&mut self, pattern: &[u8], buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let left = (BLOCK - self.received).min(buffer.len());
        let read = match self.stream.read(&mut buffer[..left]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        let from = self.place + self.received;
        if buffer[..read] != pattern[from..from + read] {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a piece differs from what was sent"));
        }
        self.received += read;
        Ok(Some(read))
    }
}

/// The length of the window, and what happened in it.
struct Window {
    from: Instant,
    until: Instant,
    measured: u64,
    blocks: u64,
    has_begun: bool,
    has_ended: bool,
}

impl Window {
    fn announce(&mut self, now: Instant) {
        if !self.has_begun && now >= self.from {
            self.has_begun = true;
            println!("{BEGIN}");
        }
        if !self.has_ended && now >= self.until {
            self.has_ended = true;
            println!("{END}");
        }
    }

    /// Sends and receives on one connection until the socket has no more of either; true when its last block is back.
    fn advance(&mut self, client: &mut Connection, pattern: &[u8], buffer: &mut [u8]) -> io::Result<bool> {
        if client.is_last {
            return Ok(false);
        }
        client.send(pattern)?;
        while let Some(read) = client.receive(pattern, buffer)? {
            let now = Instant::now();
            if (self.from..self.until).contains(&now) {
                self.measured += read as u64;
            }
            self.announce(now);
            if client.received < BLOCK {
                continue;
            }
            self.blocks += 1;
            if now >= self.until {
                client.is_last = true;
                return Ok(true);
            }
            (client.sent, client.received, client.place) = (0, 0, (client.place + 1) % PLACES);
            client.send(pattern)?;
        }
        client.send(pattern)?;
        Ok(false)
    }
}

fn run(address: SocketAddr, connections: usize, length: Duration) -> io::Result<Report> {
    let pattern: Vec<u8> = (0..BLOCK + PLACES).map(|index| (index % PLACES) as u8 ^ (index >> 12) as u8).collect();
    let mut poll = Poll::new()?;
    let mut clients =
        (0..connections).map(|token| Connection::open(address, token, &poll)).collect::<io::Result<Vec<_>>>()?;
    let mut buffer = vec![0; 256 << 10];
    let from = Instant::now() + length / 4;
    let until = from + length;
    let mut window = Window { from, until, measured: 0, blocks: 0, has_begun: false, has_ended: false };
    let mut under_way = connections;
    let mut events = Events::with_capacity(1024);
    while under_way > 0 {
        match poll.poll(&mut events, Some(Duration::from_millis(100))) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        let now = Instant::now();
        window.announce(now);
        if now > until + GRACE {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{under_way} blocks did not come back")));
        }
        for event in &events {
            under_way -= usize::from(window.advance(&mut clients[event.token().0], &pattern, &mut buffer)?);
        }
    }
    Ok(Report { blocks: window.blocks, measured: window.measured, window_ns: length.as_nanos() as u64 })
}
