//! [`TcpListener`]: from bound addresses to accepted streams.
//!
//! Any thread; any number of tasks may wait in `accept` at once, and each connection goes to one of them.
//!
//! The socket is mio's and not the standard library's for one reason: mio accepts with `accept4(SOCK_NONBLOCK | SOCK_CLOEXEC)`, where the
//! standard library would take a second call per connection to make it non-blocking. mio's registry never sees it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::{TcpSocket, TcpStream};
use crate::net::addr::{ToSocketAddrs, first_usable};
use crate::net::methods::{accept_next, standard_conversions};
use crate::net::source::{Direction, IoSource};

/// How many connections may wait to be accepted; the kernel caps it (`net.core.somaxconn`).
const BACKLOG: u32 = 1024;

/// A TCP socket that accepts connections.
///
/// Closed when it is dropped. Connections that wait in its backlog are reset then.
///
/// ```
/// use eddies::net::{TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// eddies::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let (server, peer) = listener.accept().await?;
///     assert_eq!(peer, client.local_addr()?);
///     assert_eq!(server.local_addr()?, client.peer_addr()?);
///     Ok(())
/// })
/// # }
/// ```
pub struct TcpListener {
    /// The listening socket.
    source: IoSource<mio::net::TcpListener>,
}

impl TcpListener {
    /// Listens on the first of `address`'s candidates that can be had, with `SO_REUSEADDR` set, so that a server that is started anew gets
    /// its port back at once. Port 0 lets the system choose one: see [`local_addr`](TcpListener::local_addr). For other options see
    /// [`TcpSocket`].
    ///
    /// # Errors
    ///
    /// Those of [`lookup_host`](crate::net::lookup_host); the error of the last candidate when none can be had, for example `AddrInUse`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future binds nothing.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
        first_usable(address, async |candidate| {
            let socket = TcpSocket::new_for(candidate)?;
            socket.set_reuseaddr(true)?;
            socket.bind(candidate)?;
            socket.listen(BACKLOG)
        })
        .await
    }

    /// Of a socket that listens and is in non-blocking mode already.
    pub(super) fn from_source(source: IoSource<mio::net::TcpListener>) -> TcpListener {
        TcpListener { source }
    }

    /// The next connection, and the address it comes from. The stream is non-blocking and closed on exec.
    ///
    /// A connection that its client gave up while it waited (`ECONNABORTED`) is passed over. An error therefore says something about this
    /// process or system, and the listener works on: a server had better log it and go on, after a pause when it is out of descriptors.
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
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.source.io(Direction::Read, accept_stream).await
    }

    /// [`accept`](TcpListener::accept) for hand-written futures. The last task that polled, and it alone, is woken.
    ///
    /// # Errors
    ///
    /// As [`accept`](TcpListener::accept).
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        self.source.poll_io(cx, Direction::Read, accept_stream)
    }

    /// The connections as a stream that never ends. Errors are items of it, and do not end it either. One task at a time may poll it.
    ///
    /// ```
    /// use eddies::net::{TcpListener, TcpStream};
    /// use futures_util::StreamExt;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// eddies::run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").await?;
    ///     let client = TcpStream::connect(listener.local_addr()?).await?;
    ///     let server = listener.incoming().next().await.expect("it never ends")?;
    ///     assert_eq!(server.peer_addr()?, client.local_addr()?);
    ///     Ok(())
    /// })
    /// # }
    /// ```
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

    /// The time to live of the packets it sends, and of those of accepted streams (IPv4, in hops).
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn ttl(&self) -> io::Result<u32> {
        self.source.get_ref().ttl()
    }

    /// Sets what [`ttl`](TcpListener::ttl) tells.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn set_ttl(&self, hops: u32) -> io::Result<()> {
        self.source.get_ref().set_ttl(hops)
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

fn accept_stream(listener: &mio::net::TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = accept_next(|| listener.accept())?;
    Ok((TcpStream::from_nonblocking(stream.into()), peer))
}

standard_conversions!(TcpListener, std::net::TcpListener, from mio::net::TcpListener::from_std);

/// The stream of [`TcpListener::incoming`].
#[must_use = "streams do nothing unless polled"]
#[derive(Debug)]
pub struct Incoming<'a> {
    /// Where the connections come from.
    listener: &'a TcpListener,
}

impl Stream for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<TcpStream>>> {
        self.listener.poll_accept(cx).map(|answer| Some(answer.map(|(stream, _peer)| stream)))
    }
}
