//! [`Listener`]: where [`serve`](super::serve) gets its connections from.

use std::io;
use std::task::{Context, Poll, ready};

use crate::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// Most connections that are taken out of the backlog of a listener that closes. Without a bound, clients that connect fast enough could keep it
/// open for ever.
const BACKLOG_MAX: usize = 4096;

/// What [`serve`](super::serve) accepts connections from. Implement it to put something between the socket and HTTP: TLS, a limit per address, a
/// connection in memory.
///
/// Handshakes do not belong into `poll_accept`, where they hold up the next client, but into the first read of the stream.
pub trait Listener: Send + 'static {
    /// A connection.
    type Stream: ::hyper::rt::Read + ::hyper::rt::Write + Unpin + Send + 'static;

    /// The next connection.
    ///
    /// # Errors
    ///
    /// What keeps it from accepting now. It is polled again after a pause, unless the error's kind is `InvalidInput` or it holds a
    /// [`NoRuntime`](crate::NoRuntime): those end the server.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Stream>>;

    /// Stops listening. The answer is the connections that were complete in the backlog and would be reset otherwise.
    fn close(self) -> Vec<Self::Stream>;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    /// Also switches Nagle's algorithm off: hyper writes whole messages, and a streamed chunk shall not wait for an acknowledgement.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        let (stream, _peer) = ready!(TcpListener::poll_accept(self, cx))?;
        without_delay(&stream);
        Poll::Ready(Ok(stream))
    }

    /// A client that connects between the last accept and the close, some microseconds, is reset all the same: the kernel offers no way to
    /// refuse new connections before the queue of the old ones is gone.
    fn close(self) -> Vec<TcpStream> {
        // The kernel is asked itself: the reactor may not have heard of the latest ones, and the task's budget may be used up.
        let Ok(listener) = self.into_std() else { return Vec::new() };
        let waiting = backlog(|| listener.accept()).into_iter();
        waiting.filter_map(|stream| TcpStream::from_std(stream).ok()).inspect(without_delay).collect()
    }
}

/// What `accept`, which does not block, has to give.
fn backlog<S, A>(mut accept: impl FnMut() -> io::Result<(S, A)>) -> Vec<S> {
    let mut waiting = Vec::new();
    while waiting.len() < BACKLOG_MAX {
        match accept() {
            Ok((stream, _peer)) => waiting.push(stream),
            Err(error) if [io::ErrorKind::ConnectionAborted, io::ErrorKind::Interrupted].contains(&error.kind()) => {}
            // Mostly "would block": none is left. Out of descriptors: none can be had.
            Err(_) => break,
        }
    }
    waiting
}

fn without_delay(stream: &TcpStream) {
    // It fails on a connection that is gone already, of which the first read will tell.
    let _ = stream.set_nodelay(true);
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<UnixStream>> {
        UnixListener::poll_accept(self, cx).map_ok(|(stream, _peer)| stream)
    }

    fn close(self) -> Vec<UnixStream> {
        let Ok(listener) = self.into_std() else { return Vec::new() };
        backlog(|| listener.accept()).into_iter().filter_map(|stream| UnixStream::from_std(stream).ok()).collect()
    }
}
