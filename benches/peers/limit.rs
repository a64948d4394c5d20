//! The limit: what hand-written code does here when it gives up everything that makes a runtime one.
//!
//! For the workloads that only move tasks it is an executor on the calling thread: one `VecDeque`, nothing that another thread could
//! steal or wake, no reactor. For TCP echo it is one thread with one `mio::Poll` and a loop over its events, no tasks at all. A ratio
//! to the limit says how much of the way is left, not that all of it can be gone.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, Read, Write};

use async_task::Runnable;
use futures_lite::future;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::peer::{ECHO_BUFFER, Spawn};

std::thread_local! {
    static QUEUE: RefCell<VecDeque<Runnable>> = const { RefCell::new(VecDeque::new()) };
}

/// The executor of the calling thread.
#[derive(Clone, Copy)]
pub(crate) struct Limit;

impl Spawn for Limit {
    const NAME: &'static str = "limit";

    type Task<T: Send + 'static> = async_task::Task<T>;

    fn run<F>(self, future: F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let task = self.spawn(future);
        while !task.is_finished() {
            let next = QUEUE.with_borrow_mut(VecDeque::pop_front);
            next.expect("the queue of the limit ran dry before its main task was done").run();
        }
        future::block_on(task)
    }

    #[inline]
    fn spawn<F>(self, future: F) -> Self::Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (runnable, task) =
            async_task::spawn(future, |runnable| QUEUE.with_borrow_mut(|queue| queue.push_back(runnable)));
        runnable.schedule();
        task
    }

    #[inline]
    fn detach<T: Send + 'static>(task: Self::Task<T>) {
        task.detach();
    }

    #[inline]
    fn yield_now() -> impl Future<Output = ()> + Send {
        future::yield_now()
    }
}

/// Accepts `connections` connections and echoes on all of them on this thread until the client closed each; returns the bytes echoed.
pub(crate) fn serve_echo(listener: &std::net::TcpListener, connections: usize) -> io::Result<u64> {
    let mut poll = Poll::new()?;
    let mut streams = Vec::with_capacity(connections);
    for index in 0..connections {
        let (stream, _) = listener.accept()?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(index), Interest::READABLE)?;
        streams.push(Some(stream));
    }
    let mut events = Events::with_capacity(1024);
    let mut open = connections;
    let mut echoed = 0;
    while open > 0 {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            let slot = &mut streams[event.token().0];
            let Some(stream) = slot else { continue };
            let (bytes, is_closed) = echo_what_is_there(stream, event.is_read_closed())?;
            echoed += bytes;
            if is_closed {
                *slot = None;
                open -= 1;
            }
        }
    }
    Ok(echoed)
}

/// Reads until the socket is drained, which a short read already tells unless the end of the stream came with it. A message is far smaller than the send buffer and the client
/// waits for its answer, so the write does not block; if it did, the error would end the measurement.
fn echo_what_is_there(stream: &mut TcpStream, is_read_closed: bool) -> io::Result<(u64, bool)> {
    let mut buffer = [0; ECHO_BUFFER];
    let mut echoed = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok((echoed, true)),
            Ok(read) => {
                stream.write_all(&buffer[..read])?;
                echoed += read as u64;
                if read < ECHO_BUFFER && !is_read_closed {
                    return Ok((echoed, false));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((echoed, false)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
