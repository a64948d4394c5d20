//! [`UnixDatagram`]: datagrams between processes of one machine.
//!
//! Any thread, any number of tasks at once: every method takes `&self`.

use std::io;
use std::net::Shutdown;
use std::path::Path;
use std::task::{Context, Poll};

use super::{SocketAddr, bound};
use crate::net::datagram_methods::datagram_methods;
use crate::net::methods::standard_conversions;
use crate::net::source::{Direction, IoSource};

/// A Unix datagram socket: messages that keep their bounds, arrive in order, and wait for room instead of getting lost.
///
/// ```
/// use eddies::net::UnixDatagram;
///
/// # fn main() -> std::io::Result<()> {
/// eddies::run(async {
///     let (a, b) = UnixDatagram::pair()?;
///     a.send(b"one").await?;
///     a.send(b"two").await?;
///     let mut buffer = [0; 64];
///     assert_eq!(b.recv(&mut buffer).await?, 3);
///     assert_eq!(&buffer[..3], b"one");
///     Ok(())
/// })
/// # }
/// ```
pub struct UnixDatagram {
    /// The socket.
    source: IoSource<std::os::unix::net::UnixDatagram>,
}

datagram_methods!(UnixDatagram, SocketAddr, "# let (a, b) = eddies::net::UnixDatagram::pair()?;");
standard_conversions!(UnixDatagram, std::os::unix::net::UnixDatagram, from std::convert::identity);

impl UnixDatagram {
    /// A socket at `path`, where no file may be yet. Needs no runtime.
    ///
    /// # Errors
    ///
    /// `AddrInUse` when the file exists; `InvalidInput` when the path is too long for an address; else the system's.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        let socket = bound(socket2::Type::DGRAM, path.as_ref())?;
        Ok(UnixDatagram { source: IoSource::new(socket.into()) })
    }

    /// A socket without an address, which can send but not be answered unless it is connected. Needs no runtime.
    ///
    /// # Errors
    ///
    /// The system's, for example when the process has no descriptor left.
    pub fn unbound() -> io::Result<UnixDatagram> {
        UnixDatagram::from_std(std::os::unix::net::UnixDatagram::unbound()?)
    }

    /// Two sockets that are connected with each other and have no address. Needs no runtime.
    ///
    /// # Errors
    ///
    /// The system's, for example when the process has no descriptor left.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (a, b) = std::os::unix::net::UnixDatagram::pair()?;
        Ok((UnixDatagram::from_std(a)?, UnixDatagram::from_std(b)?))
    }

    /// Connects to the socket at `path`: [`send`](UnixDatagram::send) goes there, and datagrams from elsewhere are refused. Never waits.
    ///
    /// # Errors
    ///
    /// `NotFound` when nothing is there, `ConnectionRefused` when the socket of that file is gone; else the system's.
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.source.get_ref().connect(path)
    }

    /// Sends `buf` as one datagram to the socket at `path`, waiting for room if need be.
    ///
    /// Linux tells a sender of new room in a full queue only if it is [connected](UnixDatagram::connect) to it, or has a datagram of its own
    /// in it. So where many senders fill one receiver, connect, or this may wait longer than it must.
    ///
    /// # Errors
    ///
    /// `NotFound` when nothing is there, `ConnectionRefused` when the socket of that file is gone, an error when the datagram is too big;
    /// [`NoRuntime`](crate::NoRuntime) inside the error when it has to wait outside a runtime.
    ///
    /// # Cancel safety
    ///
    /// A dropped future that was not ready has sent nothing.
    pub async fn send_to(&self, buf: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        self.source.io(Direction::Write, |io| io.send_to(buf, path.as_ref())).await
    }

    /// [`send_to`](UnixDatagram::send_to) for hand-written futures. The last task that polled for sending, and it alone, is woken.
    ///
    /// # Errors
    ///
    /// As [`send_to`](UnixDatagram::send_to).
    pub fn poll_send_to(&self, cx: &mut Context<'_>, buf: &[u8], path: impl AsRef<Path>) -> Poll<io::Result<usize>> {
        self.source.poll_io(cx, Direction::Write, |io| io.send_to(buf, path.as_ref()))
    }

    /// [`send_to`](UnixDatagram::send_to) without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the receiver has no room; else as [`send_to`](UnixDatagram::send_to).
    pub fn try_send_to(&self, buf: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        self.source.try_io(Direction::Write, |io| io.send_to(buf, path))
    }

    /// Ends a direction, or both.
    ///
    /// # Errors
    ///
    /// `NotConnected`; else the system's.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.source.get_ref().shutdown(how)
    }
}
