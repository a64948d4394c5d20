//! The hand-written servers: one thread, one `mio::Poll`, no tasks.
//!
//! Messages and answers are far smaller than the send buffers and the client waits for its answer, so that writing them does not block; if it did,
//! the error would end the measurement. Only the streams write what the socket takes and go on when it takes more.

use std::io::{self, Read, Write};
use std::net::TcpListener;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::peers::peer::{ECHO_BUFFER, STREAM_BUFFER};

/// What was done on one connection: how much, and whether the client has closed it.
type Progress = io::Result<(u64, bool)>;

/// Echoes on `connections` connections until the client has closed each; returns the bytes echoed.
pub(crate) fn serve_echo(listener: &TcpListener, connections: usize) -> io::Result<u64> {
    serve(listener, connections, Interest::READABLE, || echo_what_is_there)
}

/// Answers `GET /text` with `text` on all of them, and returns the number of answers.
pub(crate) fn serve_http(listener: &TcpListener, connections: usize) -> io::Result<u64> {
    serve(listener, connections, Interest::READABLE, || answer_what_is_there)
}

/// Echoes streams, and returns their bytes.
pub(crate) fn serve_streams(listener: &TcpListener, connections: usize) -> io::Result<u64> {
    serve(listener, connections, Interest::READABLE | Interest::WRITABLE, || {
        let mut relay = Relay { buffer: vec![0; STREAM_BUFFER], written: 0, filled: 0, echoed: 0 };
        move |stream: &mut TcpStream, _: bool| relay.advance(stream)
    })
}

/// Accepts `connections` connections and runs on each what `start` gave for it, whenever the kernel reports something, until all are closed.
fn serve<F>(listener: &TcpListener, connections: usize, interest: Interest, start: impl Fn() -> F) -> io::Result<u64>
where
    F: FnMut(&mut TcpStream, bool) -> Progress,
{
    let mut poll = Poll::new()?;
    let mut streams = Vec::with_capacity(connections);
    for index in 0..connections {
        let (stream, _) = listener.accept()?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(index), interest)?;
        streams.push(Some((stream, start())));
    }
    let mut events = Events::with_capacity(1024);
    let mut open = connections;
    let mut served = 0;
    while open > 0 {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            let slot = &mut streams[event.token().0];
            let Some((stream, advance)) = slot else { continue };
            let (amount, is_closed) = advance(stream, event.is_read_closed())?;
            served += amount;
            if is_closed {
                *slot = None;
                open -= 1;
            }
        }
    }
    Ok(served)
}

/// What one call of `read` or `write` came to.
enum Step {
    Moved(usize),
    Blocked,
}

fn step(result: io::Result<usize>) -> io::Result<Step> {
    match result {
        Ok(bytes) => Ok(Step::Moved(bytes)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Step::Blocked),
        Err(error) => Err(error),
    }
}

/// Reads until the socket is drained, which a short read already tells unless the end of the stream came with it, and hands on what was read.
fn drain(
    stream: &mut TcpStream,
    is_read_closed: bool,
    mut take: impl FnMut(&mut TcpStream, &[u8]) -> io::Result<u64>,
) -> Progress {
    let mut buffer = [0; ECHO_BUFFER];
    let mut served = 0;
    loop {
        match step(stream.read(&mut buffer))? {
            Step::Moved(0) => return Ok((served, true)),
            Step::Moved(read) => {
                served += take(stream, &buffer[..read])?;
                if read < ECHO_BUFFER && !is_read_closed {
                    return Ok((served, false));
                }
            }
            Step::Blocked => return Ok((served, false)),
        }
    }
}

fn echo_what_is_there(stream: &mut TcpStream, is_read_closed: bool) -> Progress {
    drain(stream, is_read_closed, |stream, bytes| {
        stream.write_all(bytes)?;
        Ok(bytes.len() as u64)
    })
}

/// A request comes whole: the client writes it in one piece, and the next one after the answer.
fn answer_what_is_there(stream: &mut TcpStream, is_read_closed: bool) -> Progress {
    drain(stream, is_read_closed, |stream, bytes| {
        let path = bytes.strip_prefix(b"GET /").and_then(|rest| rest.split(|&byte| byte == b' ').next());
        let text = path.ok_or(io::ErrorKind::InvalidData)?;
        let mut answer = [0; ECHO_BUFFER];
        let mut rest = answer.as_mut_slice();
        write!(rest, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", text.len())?;
        rest.write_all(text)?;
        let left = rest.len();
        stream.write_all(&answer[..ECHO_BUFFER - left])?;
        Ok(1)
    })
}

/// One stream's bytes on their way back.
struct Relay {
    buffer: Vec<u8>,
    /// The bytes between these two are read and not written.
    written: usize,
    filled: usize,
    /// What was written since `advance` was called.
    echoed: u64,
}

impl Relay {
    fn advance(&mut self, stream: &mut TcpStream) -> Progress {
        self.echoed = 0;
        loop {
            if self.written == self.filled {
                self.written = 0;
                match step(stream.read(&mut self.buffer))? {
                    Step::Moved(0) => return Ok((self.echoed, true)),
                    Step::Moved(read) => self.filled = read,
                    Step::Blocked => {
                        self.filled = 0;
                        return Ok((self.echoed, false));
                    }
                }
            }
            match step(stream.write(&self.buffer[self.written..self.filled]))? {
                Step::Moved(written) => {
                    self.written += written;
                    self.echoed += written as u64;
                }
                Step::Blocked => return Ok((self.echoed, false)),
            }
        }
    }
}
