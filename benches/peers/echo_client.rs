//! The echo client: the benchmark's own executable, started again with [`ARGUMENT`].
//!
//! One thread, one `mio::Poll`; on each active connection one message is under way at any time, and the others are open and say nothing. It
//! speaks either plain bytes or HTTP/1.1 with keep-alive, checks every byte of every reply (of HTTP the status and the body), ends by itself
//! after a bounded time, and prints its [`Report`] as one line. The lines [`BEGIN`] and [`END`] before it tell when the measured
//! window begins and ends, so that the server's CPU time can be taken over the same window.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// The first argument of a process that is to be the client. After it: the address, and [`Load::arguments`].
pub(crate) const ARGUMENT: &str = "--echo-client";

/// Bytes per message.
pub(crate) const MESSAGE: usize = 64;

/// What a client prints when its window begins, and when it ends.
pub(crate) const BEGIN: &str = "begin";
pub(crate) const END: &str = "end";

/// How much longer than planned the client goes on waiting for replies.
const GRACE: Duration = Duration::from_secs(5);

/// What the client is to do.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    /// How many connections it opens.
    pub(crate) connections: usize,
    /// On how many of them it sends, spread evenly.
    pub(crate) active: usize,
    /// How long it measures, after a warm-up of a quarter of this.
    pub(crate) window_ms: u64,
    /// How long it rests, all connections together, between an answer and the next message; 0: not at all.
    pub(crate) rest_us: u64,
    /// The messages are requests of HTTP/1.1 with a text in the path, and the answers have it for their body.
    pub(crate) is_http: bool,
}

impl Load {
    pub(crate) fn arguments(&self) -> [String; 5] {
        [self.connections as u64, self.active as u64, self.window_ms, self.rest_us, u64::from(self.is_http)]
            .map(|number| number.to_string())
    }

    fn parse(arguments: &[String]) -> Option<Load> {
        let numbers: Vec<u64> = arguments.iter().map(|text| text.parse()).collect::<Result<_, _>>().ok()?;
        let [connections, active, window_ms, rest_us, is_http] = numbers[..] else { return None };
        let (connections, active) = (connections as usize, active as usize);
        let load = Load { connections, active, window_ms, rest_us, is_http: is_http == 1 };
        (0 < load.active && load.active <= load.connections).then_some(load)
    }
}

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
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "expected: ADDRESS and five numbers");
    let (address, load) = arguments.split_first().ok_or_else(invalid)?;
    let address = address.parse().map_err(|_| invalid())?;
    let report = run(address, Load::parse(load).ok_or_else(invalid)?)?;
    let Report { requests, measured, window_ns, p50_ns, p99_ns } = report;
    println!("{requests} {measured} {window_ns} {p50_ns} {p99_ns}");
    Ok(())
}

/// One connection and the message that is under way on it.
struct Connection {
    stream: TcpStream,
    message: [u8; MESSAGE],
    is_http: bool,
    /// What has arrived of the reply.
    reply: Vec<u8>,
    sent_at: Instant,
}

impl Connection {
    fn open(address: SocketAddr, token: usize, is_http: bool, poll: &Poll) -> io::Result<Connection> {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(token), Interest::READABLE)?;
        let message = std::array::from_fn(|index| letter((index + token) as u64));
        Ok(Connection { stream, message, is_http, reply: Vec::new(), sent_at: Instant::now() })
    }

    /// Sends a message that differs from the one before it. It is far smaller than the empty send buffer, so this does not block.
    fn send(&mut self, sequence: u64, now: Instant) -> io::Result<()> {
        for (index, byte) in self.message[..8].iter_mut().enumerate() {
            *byte = letter(sequence >> (4 * index) & 0xf);
        }
        self.reply.clear();
        self.sent_at = now;
        if !self.is_http {
            return self.stream.write_all(&self.message);
        }
        let mut request = Vec::with_capacity(2 * MESSAGE);
        request.extend_from_slice(b"GET /");
        request.extend_from_slice(&self.message);
        request.extend_from_slice(b" HTTP/1.1\r\nhost: bench\r\n\r\n");
        self.stream.write_all(&request)
    }

    /// Takes in what is there; true when the reply is complete.
    fn receive(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.reply.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if self.is_complete()? {
                return Ok(true);
            }
        }
    }

    /// Whether the whole reply is there, and then it is the right one.
    fn is_complete(&self) -> io::Result<bool> {
        let mut body = self.reply.as_slice();
        let mut is_right = true;
        if self.is_http {
            let Some(head) = body.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(false) };
            is_right = body.starts_with(b"HTTP/1.1 200");
            body = &body[head + 4..];
        }
        if body.len() < MESSAGE {
            return Ok(false);
        }
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "a reply differs from its message");
        (is_right && body == self.message).then_some(true).ok_or_else(wrong)
    }
}

fn letter(number: u64) -> u8 {
    b'a' + (number % 26) as u8
}

/// The connections, and what has been seen on them.
struct Session {
    clients: Vec<Connection>,
    requests: u64,
    latencies_ns: Vec<u64>,
    measure_from: Instant,
    measure_until: Instant,
    rest: Duration,
    has_begun: bool,
    has_ended: bool,
}

impl Session {
    /// Says when the window begins and ends. A closed standard output is not the client's business: the report will fail.
    fn announce(&mut self, now: Instant) {
        if !self.has_begun && now >= self.measure_from {
            self.has_begun = true;
            println!("{BEGIN}");
        }
        if !self.has_ended && now >= self.measure_until {
            self.has_ended = true;
            println!("{END}");
        }
    }

    /// Takes in what has come on one connection and sends the next message; true when the last reply of this connection has come.
    fn serve(&mut self, index: usize) -> io::Result<bool> {
        let client = &mut self.clients[index];
        if !client.receive()? {
            return Ok(false);
        }
        let now = Instant::now();
        if (self.measure_from..self.measure_until).contains(&now) {
            self.latencies_ns.push((now - client.sent_at).as_nanos() as u64);
        }
        if now >= self.measure_until {
            return Ok(true);
        }
        if self.rest.is_zero() {
            client.send(self.requests, now)?;
        } else {
            thread::sleep(self.rest);
            client.send(self.requests, Instant::now())?;
        }
        self.requests += 1;
        Ok(false)
    }
}

fn run(address: SocketAddr, load: Load) -> io::Result<Report> {
    let mut poll = Poll::new()?;
    let open = |token| Connection::open(address, token, load.is_http, &poll);
    let mut clients = (0..load.connections).map(open).collect::<io::Result<Vec<_>>>()?;
    let window = Duration::from_millis(load.window_ms);
    let measure_from = Instant::now() + window / 4;
    let mut requests = 0;
    for index in 0..load.active {
        clients[index * load.connections / load.active].send(requests, Instant::now())?;
        requests += 1;
    }
    let mut session = Session {
        clients,
        requests,
        latencies_ns: Vec::with_capacity(1 << 20),
        measure_from,
        measure_until: measure_from + window,
        rest: Duration::from_micros(load.rest_us),
        has_begun: false,
        has_ended: false,
    };
    let mut under_way = load.active;
    let mut events = Events::with_capacity(1024);
    while under_way > 0 {
        match poll.poll(&mut events, Some(Duration::from_millis(100))) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        let now = Instant::now();
        session.announce(now);
        if now > session.measure_until + GRACE {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{under_way} replies did not come")));
        }
        for event in &events {
            under_way -= usize::from(session.serve(event.token().0)?);
        }
    }
    session.announce(Instant::now());
    let Session { requests, mut latencies_ns, .. } = session;
    latencies_ns.sort_unstable();
    let at = |per_cent: usize| latencies_ns.get(latencies_ns.len() * per_cent / 100).copied().unwrap_or(0);
    let measured = latencies_ns.len() as u64;
    Ok(Report { requests, measured, window_ns: window.as_nanos() as u64, p50_ns: at(50), p99_ns: at(99) })
}
