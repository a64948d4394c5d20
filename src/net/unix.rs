//! Unix sockets: streams, listeners and datagrams between processes of one machine.
//!
//! The main types are re-exported from [`net`](crate::net). A path whose first byte is zero names an address in Linux's abstract namespace,
//! for which there is no file. Otherwise binding makes a file, which stays when the socket is gone: remove it before the next bind.
//!
//! There is no `peer_cred` and no passing of descriptors: neither the standard library nor socket2 has a safe call for them yet.

mod unix_datagram;
mod unix_listener;
mod unix_stream;

use std::io;
use std::path::Path;

use socket2::{SockAddr, Socket};

pub use std::os::unix::net::SocketAddr;
pub use unix_datagram::UnixDatagram;
pub use unix_listener::{Incoming, UnixListener};
pub use unix_stream::UnixStream;

/// The borrowed reading half of a [`UnixStream`].
pub type ReadHalf<'a> = super::halves::ReadHalf<'a, UnixStream>;

/// The borrowed writing half of a [`UnixStream`].
pub type WriteHalf<'a> = super::halves::WriteHalf<'a, UnixStream>;

/// The reading half of a [`UnixStream`] that may move to another task.
pub type OwnedReadHalf = super::halves::OwnedReadHalf<UnixStream>;

/// The writing half of a [`UnixStream`] that may move to another task.
pub type OwnedWriteHalf = super::halves::OwnedWriteHalf<UnixStream>;

/// Two halves that are not of one [`UnixStream`].
pub type ReuniteError = super::halves::ReuniteError<UnixStream>;

/// A new socket of `kind` that is bound to `path`.
fn bound(kind: socket2::Type, path: &Path) -> io::Result<Socket> {
    let address = SockAddr::unix(path)?;
    let socket = super::methods::nonblocking_socket(socket2::Domain::UNIX, kind)?;
    socket.bind(&address)?;
    Ok(socket)
}
