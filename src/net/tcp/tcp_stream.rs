//! [`TcpStream`]: one connection.
//!
//! Any thread. Most of it is shared with Unix streams (`net/stream_methods.rs`, `net/halves.rs`); here is what only TCP has.

use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;

use super::{OwnedReadHalf, ReadHalf, TcpSocket};
use crate::io::{AsyncRead, AsyncWrite, Interest, Ready};
use crate::net::addr::{ToSocketAddrs, first_usable};
use crate::net::halves::{self, StreamSocket};
use crate::net::methods::{self, standard_conversions};
use crate::net::source::{Direction, IoSource};
use crate::net::stream_methods::{self, stream_methods, stream_traits};

/// A TCP connection.
///
/// Read and write it through [`AsyncRead`] and [`AsyncWrite`] with the extension traits of `futures-util`, or in terms of readiness: wait with
/// [`readable`](TcpStream::readable), then [`try_read`](TcpStream::try_read). Closed when it is dropped; bytes that are not sent yet go out
/// in the background.
///
/// ```
/// use eddies::net::{TcpListener, TcpStream};
/// use futures_util::io::{AsyncReadExt, AsyncWriteExt};
///
/// # fn main() -> std::io::Result<()> {
/// eddies::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let address = listener.local_addr()?;
///     let client = eddies::spawn(async move {
///         let mut stream = TcpStream::connect(address).await?;
///         stream.write_all(b"to be echoed").await?;
///         stream.close().await?;
///         let mut echo = String::new();
///         stream.read_to_string(&mut echo).await?;
///         std::io::Result::Ok(echo)
///     });
///     let (server, _) = listener.accept().await?;
///     futures_util::io::copy(&server, &mut &server).await?;
///     drop(server);
///     assert_eq!(client.await??, "to be echoed");
///     Ok(())
/// })
/// # }
/// ```
pub struct TcpStream {
    /// The connected socket.
    source: IoSource<std::net::TcpStream>,
}

stream_methods!(
    TcpStream,
    SocketAddr,
    "# let listener = eddies::net::TcpListener::bind(\"127.0.0.1:0\").await?;
# let a = eddies::net::TcpStream::connect(listener.local_addr()?).await?;
# let (b, _) = listener.accept().await?;",
    short_read_is_last: true
);
stream_traits!(TcpStream, SocketAddr, short_read_is_last: true);
standard_conversions!(TcpStream, std::net::TcpStream, from std::convert::identity);

impl TcpStream {
    /// Connects to the first of `address`'s candidates that answers; they are tried one after the other.
    ///
    /// # Errors
    ///
    /// Those of [`lookup_host`](crate::net::lookup_host); the error of the last candidate when none answers, for example
    /// `ConnectionRefused`; [`NoRuntime`](crate::NoRuntime) inside the error when it has to wait outside a runtime. How long the system
    /// tries an address that does not answer is its own affair (minutes, often): put a timeout around it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the socket and gives up the attempt.
    pub async fn connect(address: impl ToSocketAddrs) -> io::Result<TcpStream> {
        first_usable(address, async |candidate| TcpSocket::new_for(candidate)?.connect(candidate).await).await
    }

    /// Of a socket that is in non-blocking mode already.
    pub(super) fn from_nonblocking(stream: std::net::TcpStream) -> TcpStream {
        TcpStream::from_source(IoSource::new(stream))
    }

    pub(super) fn from_source(source: IoSource<std::net::TcpStream>) -> TcpStream {
        TcpStream { source }
    }

    /// Waits until there is something to read, and copies it without taking it away; 0 is the end of the stream (or an empty buffer).
    ///
    /// # Errors
    ///
    /// The system's; [`NoRuntime`](crate::NoRuntime) inside the error when it has to wait outside a runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    ///
    /// ```
    /// use eddies::net::{TcpListener, TcpStream};
    /// use futures_util::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// eddies::run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").await?;
    ///     let mut client = TcpStream::connect(listener.local_addr()?).await?;
    ///     let (mut server, _) = listener.accept().await?;
    ///     client.write_all(b"x").await?;
    ///     let mut byte = [0];
    ///     assert_eq!(server.peek(&mut byte).await?, 1);
    ///     assert_eq!(server.read(&mut byte).await?, 1);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        self.source.io(Direction::Read, |io| io.peek(buf)).await
    }

    /// [`peek`](TcpStream::peek) for hand-written futures. The last task that polled for reading, and it alone, is woken.
    ///
    /// # Errors
    ///
    /// As [`peek`](TcpStream::peek).
    pub fn poll_peek(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.source.poll_io(cx, Direction::Read, |io| io.peek(buf))
    }

    /// Whether small segments are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.source.get_ref().nodelay()
    }

    /// Sends small segments at once instead of gathering them (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.source.get_ref().set_nodelay(nodelay)
    }

    /// What closing does with bytes that are not sent yet (`SO_LINGER`); see [`TcpSocket::set_linger`].
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        SockRef::from(self.source.get_ref()).linger()
    }

    /// Sets what closing does with bytes that are not sent yet: `None` sends them in the background; `Some(0 s)` throws them away and
    /// resets the connection; other times make the *close block* the thread, so avoid them (`SO_LINGER`).
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn set_linger(&self, time: Option<Duration>) -> io::Result<()> {
        SockRef::from(self.source.get_ref()).set_linger(time)
    }

    /// The time to live of the packets it sends (IPv4, in hops).
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn ttl(&self) -> io::Result<u32> {
        self.source.get_ref().ttl()
    }

    /// Sets what [`ttl`](TcpStream::ttl) tells.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn set_ttl(&self, hops: u32) -> io::Result<()> {
        self.source.get_ref().set_ttl(hops)
    }
}

macro_rules! peeking_half {
    ($Half:ty) => {
        impl $Half {
            /// As [`TcpStream::peek`].
            ///
            /// # Errors
            ///
            /// As [`TcpStream::peek`].
            ///
            /// # Cancel safety
            ///
            /// Dropping the future loses nothing.
            pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
                self.as_ref().peek(buf).await
            }

            /// As [`TcpStream::poll_peek`].
            ///
            /// # Errors
            ///
            /// As [`TcpStream::peek`].
            pub fn poll_peek(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
                self.as_ref().poll_peek(cx, buf)
            }
        }
    };
}

peeking_half!(ReadHalf<'_>);
peeking_half!(OwnedReadHalf);
