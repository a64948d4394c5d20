//! Many connections: the server under measurement is in the process that measures, and the client is the benchmark's own executable, started again with
//! [`ARGUMENT`].
//!
//! The client connects, sends a message on each connection and takes the echo; then says so, and the server's CPU time and memory are taken. Then it sends
//! on all connections in turn, says so again, and ends.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;

use super::cost::Cost;
use crate::peers::echo;
use crate::peers::echo_client::MESSAGE;
use crate::peers::peer::Peer;
use crate::peers::workload::footprint::Footprint;

/// The first argument of a process that is to be the client. After it: the address, the number of connections, the number of messages in all but the
/// first of each connection.
pub(crate) const ARGUMENT: &str = "--crowd";

/// Messages that are under way together.
const TOGETHER: usize = 64;

/// Fewer than this are not counted.
const FEWEST: usize = 20_000;

/// How many ports a client may have, with some left for others.
pub(crate) fn ports() -> usize {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let bounds: Vec<usize> = text.split_whitespace().filter_map(|bound| bound.parse().ok()).collect();
    match bounds[..] {
        [first, last] => (last - first).saturating_sub(1_000),
        _ => 10_000,
    }
}

/// What this process had when the client spoke.
struct Moment {
    cpu_us: i64,
    footprint: Footprint,
}

impl Moment {
    fn now() -> io::Result<Moment> {
        Ok(Moment { cpu_us: echo::cpu_us(&echo::usage()?), footprint: Footprint::now()? })
    }
}

pub(crate) fn serve<P: Peer>(peer: P, count: usize) -> io::Result<Cost> {
    let messages = FEWEST.max(count);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let client = Command::new(std::env::current_exe()?)
        .arg(ARGUMENT)
        .arg(listener.local_addr()?.to_string())
        .args([count.to_string(), messages.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let start = Moment::now()?;
    // A client that fails leaves the server waiting for it, so that the whole process ends there.
    let listen = move || {
        listen(client).unwrap_or_else(|error| {
            eprintln!("the client failed: {error}");
            std::process::exit(1);
        })
    };
    let listener_thread = thread::spawn(listen);
    let echoed = peer.run(peer.serve_echo(listener, count))?;
    let [connected, end] = listener_thread.join().expect("the listening thread does not panic");
    let expected = ((count + messages) * MESSAGE) as u64;
    if echoed != expected {
        return Err(io::Error::other(format!("{echoed} of {expected} bytes were echoed")));
    }
    let each = |amount: i64| amount as f64 / count as f64;
    Ok(Cost {
        begin_ns: each(connected.cpu_us - start.cpu_us) * 1e3,
        use_ns: (end.cpu_us - connected.cpu_us) as f64 * 1e3 / messages as f64,
        heap_bytes: each(connected.footprint.heap - start.footprint.heap),
        rss_bytes: each(connected.footprint.rss - start.footprint.rss),
    })
}

/// The moments at which the client spoke: all are connected; all messages are back.
fn listen(mut client: Child) -> io::Result<[Moment; 2]> {
    let mut lines = BufReader::new(client.stdout.take().expect("it is piped")).lines();
    let mut next = || {
        lines.next().ok_or(io::ErrorKind::UnexpectedEof)??;
        Moment::now()
    };
    let moments = [next()?, next()?];
    match client.wait()? {
        status if status.success() => Ok(moments),
        status => Err(io::Error::other(status.to_string())),
    }
}

/// The client's `main`; `arguments` are those after [`ARGUMENT`].
pub(crate) fn main(arguments: &[String]) -> io::Result<()> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "expected: ADDRESS CONNECTIONS MESSAGES");
    let [address, connections, messages] = arguments else { return Err(invalid()) };
    let address: std::net::SocketAddr = address.parse().map_err(|_| invalid())?;
    let connections: usize = connections.parse().map_err(|_| invalid())?;
    let messages: usize = messages.parse().map_err(|_| invalid())?;
    let mut streams = Vec::with_capacity(connections);
    for first in (0..connections).step_by(TOGETHER) {
        for _ in first..connections.min(first + TOGETHER) {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
        exchange(&streams[first..], first as u64)?;
    }
    println!("connected");
    let mut sent = 0;
    while sent < messages {
        let first = sent % connections;
        let together = TOGETHER.min(connections - first).min(messages - sent);
        exchange(&streams[first..first + together], sent as u64)?;
        sent += together;
    }
    println!("echoed");
    Ok(())
}

/// Sends a message on each and takes the echoes.
fn exchange(streams: &[TcpStream], seed: u64) -> io::Result<()> {
    let message = |index: usize| -> [u8; MESSAGE] {
        let word = (seed + index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
        std::array::from_fn(|byte| word[byte % 8].wrapping_add(byte as u8))
    };
    for (index, mut stream) in streams.iter().enumerate() {
        stream.write_all(&message(index))?;
    }
    for (index, mut stream) in streams.iter().enumerate() {
        let mut reply = [0; MESSAGE];
        stream.read_exact(&mut reply)?;
        if reply != message(index) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a reply differs from its message"));
        }
    }
    Ok(())
}
