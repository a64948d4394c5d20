//! [`UnixStream`]: one connection.
//!
//! Any thread. Nearly all of it is shared with TCP streams (`net/stream_methods.rs`, `net/halves.rs`); a short *read* says nothing here, see
//! there.

use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::{Domain, SockAddr, Type};

use super::SocketAddr;
use crate::io::{AsyncRead, AsyncWrite, Interest, Ready};
use crate::net::halves::{self, StreamSocket};
use crate::net::methods::{self, connected_source, nonblocking_socket, standard_conversions};
use crate::net::source::IoSource;
use crate::net::stream_methods::{self, stream_methods, stream_traits};

/// A connection between two processes of this machine, or two parts of one.
///
/// Read and write it through [`AsyncRead`] and [`AsyncWrite`] with the extension traits of `futures-util`, or in terms of readiness.
///
/// ```
/// use eddies::net::UnixStream;
/// use futures_util::io::{AsyncReadExt, AsyncWriteExt};
///
/// # fn main() -> std::io::Result<()> {
/// eddies::run(async {
///     let (mut a, mut b) = UnixStream::pair()?;
///     a.write_all(b"hello").await?;
///     drop(a);
///     let mut all = String::new();
///     b.read_to_string(&mut all).await?;
///     assert_eq!(all, "hello");
///     Ok(())
/// })
/// # }
/// ```
pub struct UnixStream {
    /// The connected socket.
    source: IoSource<std::os::unix::net::UnixStream>,
}

stream_methods!(
    UnixStream,
    SocketAddr,
    "# let (a, b) = eddies::net::UnixStream::pair()?;",
    short_read_is_last: false
);
stream_traits!(UnixStream, SocketAddr, short_read_is_last: false);
standard_conversions!(UnixStream, std::os::unix::net::UnixStream, from std::convert::identity);

impl UnixStream {
    /// Connects to the listener at `path`.
    ///
    /// # Errors
    ///
    /// `NotFound` when nothing is there, `ConnectionRefused` when nobody listens, `InvalidInput` when the path is too long for an address;
    /// `WouldBlock` when the listener's backlog is full: Linux does not report when there is room again, so there is nothing to wait for,
    /// and the caller decides when to try again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the socket and gives up the attempt.
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        let address = SockAddr::unix(path)?;
        let socket = nonblocking_socket(Domain::UNIX, Type::STREAM)?;
        Ok(UnixStream { source: connected_source(socket, &address).await? })
    }

    /// Two streams that are connected with each other and have no address. Needs no runtime.
    ///
    /// # Errors
    ///
    /// The system's, for example when the process has no descriptor left.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (a, b) = std::os::unix::net::UnixStream::pair()?;
        Ok((UnixStream::from_std(a)?, UnixStream::from_std(b)?))
    }

    /// Of a socket that is in non-blocking mode already.
    pub(super) fn from_nonblocking(stream: std::os::unix::net::UnixStream) -> UnixStream {
        UnixStream { source: IoSource::new(stream) }
    }
}
