//! The client with a fixed rate: the benchmark's own executable, started again with [`ARGUMENT`].
//!
//! An open loop: the messages are sent at the times of a schedule, one connection after the other, whether or not there are answers yet. A
//! server that stalls for 100 ms so finds 100 ms of requests, each with its own wait; a client that waits for an answer before it asks
//! again would count that stall once per connection (coordinated omission).
//!
//! One thread sends, another receives and checks every byte. A latency runs from the moment before the message is written to that at which
//! its answer has been read. When the system runs the sender late, it sends at once what it missed and reports how late it was: that is the
//! machine's doing, never the server's, for the sender waits for nobody, and so no part of the latency. The receiver's own wait for a
//! CPU is in it, for all servers alike.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::peers::echo_client::MESSAGE;

/// The first argument of a process that is to be this client. After it: the address, and [`Plan::arguments`].
pub(crate) const ARGUMENT: &str = "--paced-echo-client";

/// How much longer than planned the client goes on waiting for replies.
const GRACE: Duration = Duration::from_secs(10);

/// What the client is to do.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) connections: usize,
    /// Messages per second, over all connections.
    pub(crate) rate: u64,
    /// What comes before the window and is not measured.
    pub(crate) warm_up_ms: u64,
    pub(crate) window_ms: u64,
    /// The messages are requests of HTTP/1.1 with the text in the path, and the answers have it for their body.
    pub(crate) is_http: bool,
}

impl Plan {
    pub(crate) fn arguments(&self) -> [String; 5] {
        [self.connections as u64, self.rate, self.warm_up_ms, self.window_ms, u64::from(self.is_http)]
            .map(|number| number.to_string())
    }

    fn parse(arguments: &[String]) -> Option<Plan> {
        let numbers: Vec<u64> = arguments.iter().map(|text| text.parse()).collect::<Result<_, _>>().ok()?;
        let [connections, rate, warm_up_ms, window_ms, is_http] = numbers[..] else { return None };
        Some(Plan { connections: connections as usize, rate, warm_up_ms, window_ms, is_http: is_http == 1 })
    }

    /// Messages in all.
    pub(crate) fn requests(&self) -> u64 {
        self.rate * (self.warm_up_ms + self.window_ms) / 1000
    }

    fn unmeasured(&self) -> u64 {
        self.rate * self.warm_up_ms / 1000
    }

    /// When a message is to be sent, counted from the start.
    fn due(&self, sequence: u64) -> Duration {
        Duration::from_nanos(sequence * 1_000_000_000 / self.rate)
    }
}

/// What the client found about the messages of the window, all of which were answered.
pub(crate) struct Report {
    /// Answers that came before the window's end.
    pub(crate) in_time: u64,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p999_ns: u64,
    pub(crate) max_ns: u64,
    /// How much later than planned the messages were sent.
    pub(crate) late_p99_ns: u64,
}

impl Report {
    pub(crate) fn parse(line: &str) -> Option<Report> {
        let numbers: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let [in_time, p50_ns, p99_ns, p999_ns, max_ns, late_p99_ns] = numbers[..] else { return None };
        Some(Report { in_time, p50_ns, p99_ns, p999_ns, max_ns, late_p99_ns })
    }
}

/// The client's `main`; `arguments` are those after [`ARGUMENT`].
pub(crate) fn main(arguments: &[String]) -> io::Result<()> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "expected: ADDRESS and five numbers");
    let (address, plan) = arguments.split_first().ok_or_else(invalid)?;
    let address = address.parse().map_err(|_| invalid())?;
    let plan = Plan::parse(plan).ok_or_else(invalid)?;
    let Report { in_time, p50_ns, p99_ns, p999_ns, max_ns, late_p99_ns } = run(address, plan)?;
    println!("{in_time} {p50_ns} {p99_ns} {p999_ns} {max_ns} {late_p99_ns}");
    Ok(())
}

/// The message with this number. Each differs from those before it in every run of eight bytes.
fn message(sequence: u64) -> [u8; MESSAGE] {
    let number = sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    std::array::from_fn(|index| number[index % 8].wrapping_add((index / 8) as u8))
}

/// The same as a request of HTTP, whose path is the message in letters.
fn request(sequence: u64) -> Vec<u8> {
    [b"GET /".as_slice(), &letters(sequence), b" HTTP/1.1\r\nhost: bench\r\n\r\n"].concat()
}

fn letters(sequence: u64) -> [u8; MESSAGE] {
    message(sequence).map(|byte| b'a' + byte % 26)
}

/// The length of the answer at the beginning of `bytes`, if it is all there.
fn answer_length(bytes: &[u8], sequence: u64) -> io::Result<Option<usize>> {
    let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let body = head + 4;
    if bytes.len() < body + MESSAGE {
        return Ok(None);
    }
    let is_right = bytes.starts_with(b"HTTP/1.1 200") && bytes[body..body + MESSAGE] == letters(sequence);
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "an answer differs from its request");
    is_right.then_some(Some(body + MESSAGE)).ok_or_else(wrong)
}

fn run(address: SocketAddr, plan: Plan) -> io::Result<Report> {
    let mut senders = Vec::with_capacity(plan.connections);
    for _ in 0..plan.connections {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        senders.push(stream);
    }
    let receivers = senders.iter().map(std::net::TcpStream::try_clone).collect::<io::Result<Vec<_>>>()?;
    let sent_at: Vec<AtomicU64> = (0..plan.requests()).map(|_| AtomicU64::new(0)).collect();
    let start = Instant::now();
    let latencies_ns = thread::scope(|scope| {
        let sender = scope.spawn(|| send_all(&senders, plan, start, &sent_at));
        let received = receive_all(receivers, plan, start, &sent_at);
        sender.join().expect("the sender does not panic")?;
        received
    })?;
    let window_end = (plan.due(plan.requests())).as_nanos() as u64;
    let measured = plan.unmeasured() as usize..;
    let mut in_time = 0;
    let mut late_ns = Vec::with_capacity(latencies_ns.len());
    for (sequence, (sent, latency)) in sent_at.into_iter().zip(&latencies_ns).enumerate().skip(measured.start) {
        let sent = sent.into_inner();
        late_ns.push(sent.saturating_sub(plan.due(sequence as u64).as_nanos() as u64));
        in_time += u64::from(sent + latency <= window_end);
    }
    let mut latencies_ns = latencies_ns[measured].to_vec();
    latencies_ns.sort_unstable();
    late_ns.sort_unstable();
    let at = |sorted: &[u64], per_mille: usize| sorted[(sorted.len() * per_mille / 1000).min(sorted.len() - 1)];
    Ok(Report {
        in_time,
        p50_ns: at(&latencies_ns, 500),
        p99_ns: at(&latencies_ns, 990),
        p999_ns: at(&latencies_ns, 999),
        max_ns: at(&latencies_ns, 1000),
        late_p99_ns: at(&late_ns, 990),
    })
}

/// Sends every message when it is due. What is under way is far less than the send buffers hold, so a write never has to wait.
fn send_all(streams: &[std::net::TcpStream], plan: Plan, start: Instant, sent_at: &[AtomicU64]) -> io::Result<()> {
    for (sequence, sent) in sent_at.iter().enumerate() {
        let wait = plan.due(sequence as u64).saturating_sub(start.elapsed());
        if !wait.is_zero() {
            thread::sleep(wait);
        }
        // Ordering: Relaxed: the receiver reads it once the answer is there, and the sockets order that after this.
        sent.store(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        let mut stream = &streams[sequence % streams.len()];
        if plan.is_http {
            stream.write_all(&request(sequence as u64))?;
        } else {
            stream.write_all(&message(sequence as u64))?;
        }
    }
    Ok(())
}

/// A connection's receiving side.
struct Receiver {
    stream: TcpStream,
    /// The number of the message whose answer comes next.
    sequence: u64,
    reply: [u8; MESSAGE],
    /// How much of `reply` has arrived.
    filled: usize,
    /// For HTTP: what has arrived and was not looked at.
    answers: Vec<u8>,
    is_http: bool,
}

impl Receiver {
    /// Takes in what is there; true when the next reply is complete, and is what was sent.
    fn receive(&mut self) -> io::Result<bool> {
        if self.is_http {
            return self.receive_answer();
        }
        while self.filled < MESSAGE {
            match self.stream.read(&mut self.reply[self.filled..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.reply != message(self.sequence) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a reply differs from its message"));
        }
        self.filled = 0;
        Ok(true)
    }

    fn receive_answer(&mut self) -> io::Result<bool> {
        loop {
            if let Some(length) = answer_length(&self.answers, self.sequence)? {
                self.answers.drain(..length);
                return Ok(true);
            }
            let mut buffer = [0; 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.answers.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The latency of each message in nanoseconds.
fn receive_all(
    streams: Vec<std::net::TcpStream>,
    plan: Plan,
    start: Instant,
    sent_at: &[AtomicU64],
) -> io::Result<Vec<u64>> {
    let mut poll = Poll::new()?;
    let mut receivers = Vec::with_capacity(streams.len());
    for (index, stream) in streams.into_iter().enumerate() {
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(index), Interest::READABLE)?;
        receivers.push(Receiver {
            stream,
            sequence: index as u64,
            reply: [0; MESSAGE],
            filled: 0,
            answers: Vec::new(),
            is_http: plan.is_http,
        });
    }
    let give_up = plan.due(plan.requests()) + GRACE;
    let mut latencies_ns = vec![0; sent_at.len()];
    let mut left = sent_at.len();
    let mut events = Events::with_capacity(1024);
    while left > 0 {
        match poll.poll(&mut events, Some(Duration::from_millis(100))) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        if start.elapsed() > give_up {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{left} replies did not come")));
        }
        for event in &events {
            let receiver = &mut receivers[event.token().0];
            while receiver.receive()? {
                let sequence = receiver.sequence as usize;
                // Ordering: as in `send_all`.
                let sent = sent_at[sequence].load(Ordering::Relaxed);
                latencies_ns[sequence] = start.elapsed().as_nanos() as u64 - sent;
                receiver.sequence += plan.connections as u64;
                left -= 1;
            }
        }
    }
    Ok(latencies_ns)
}
