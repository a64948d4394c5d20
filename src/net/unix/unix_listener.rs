//! [`UnixListener`]: from a bound path to accepted streams.
//!
//! Any thread; any number of tasks may wait in `accept` at once. mio's socket, for the reason told in `net/tcp/tcp_listener.rs`.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::{SocketAddr, UnixStream, bound};
use crate::net::methods::{accept_next, standard_conversions};
use crate::net::source::{Direction, IoSource};

/// How many connections may wait to be accepted; the kernel caps it (`net.core.somaxconn`).
const BACKLOG: i32 = 1024;

/// A Unix socket that accepts connections.
///
/// Closed when it is dropped; the file stays.
///
/// ```
/// use eddies::net::{UnixListener, UnixStream};
///
/// # fn main() -> std::io::Result<()> {
/// eddies::run(async {
///     let path = std::env::temp_dir().join(format!("eddies-listener-{}", std::process::id()));
///     let listener = UnixListener::bind(&path)?;
///     let client = UnixStream::connect(&path).await?;
///     let (server, _) = listener.accept().await?;
///     std::fs::remove_file(&path)?;
///     assert_eq!(server.local_addr()?.as_pathname(), client.peer_addr()?.as_pathname());
///     Ok(())
/// })
/// # }
/// ```
pub struct UnixListener {
    /// The listening socket.
    source: IoSource<mio::net::UnixListener>,
}

impl UnixListener {
    /// Listens at `path`, where no file may be yet.
    ///
    /// # Errors
    ///
    /// `AddrInUse` when the file exists; `InvalidInput` when the path is too long for an address; else the system's.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        let socket = bound(socket2::Type::STREAM, path.as_ref())?;
        socket.listen(BACKLOG)?;
        let listener = std::os::unix::net::UnixListener::from(socket);
        Ok(UnixListener { source: IoSource::new(mio::net::UnixListener::from_std(listener)) })
    }

    /// The next connection, and the address it comes from (mostly unnamed). The stream is non-blocking and closed on exec.
    ///
    /// A connection that its client gave up while it waited is passed over. An error says something about this process or system, and the
    /// listener works on.
    ///
    /// # Errors
    ///
    /// `EMFILE` or `ENFILE` when the process or the system has no descriptor left: the connection stays in the backlog, and an immediate
    /// retry meets the same error. Else the system's; [`NoRuntime`](crate::NoRuntime) inside the error when it has to wait outside a
    /// runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no connection: it was returned, or it waits for the next caller.
    pub async fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        self.source.io(Direction::Read, accept_stream).await
    }

    /// [`accept`](UnixListener::accept) for hand-written futures. The last task that polled, and it alone, is woken.
    ///
    /// # Errors
    ///
    /// As [`accept`](UnixListener::accept).
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(UnixStream, SocketAddr)>> {
        self.source.poll_io(cx, Direction::Read, accept_stream)
    }

    /// The connections as a stream that never ends. Errors are items of it, and do not end it either. One task at a time may poll it.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// The address it listens on.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().local_addr()
    }

    /// The socket's pending error, which this takes away (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// The system's, when it cannot say.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.source.get_ref().take_error()
    }
}

fn accept_stream(listener: &mio::net::UnixListener) -> io::Result<(UnixStream, SocketAddr)> {
    let (stream, peer) = accept_next(|| listener.accept())?;
    Ok((UnixStream::from_nonblocking(stream.into()), peer))
}

standard_conversions!(UnixListener, std::os::unix::net::UnixListener, from mio::net::UnixListener::from_std);

/// The stream of [`UnixListener::incoming`].
#[must_use = "streams do nothing unless polled"]
#[derive(Debug)]
pub struct Incoming<'a> {
    /// Where the connections come from.
    listener: &'a UnixListener,
}

impl Stream for Incoming<'_> {
    type Item = io::Result<UnixStream>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<UnixStream>>> {
        self.listener.poll_accept(cx).map(|answer| Some(answer.map(|(stream, _peer)| stream)))
    }
}
