//! [`TcpSocket`]: a TCP socket that neither listens nor is connected yet, to set options on.
//!
//! It never waits and is registered nowhere; `connect` and `listen` consume it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::{TcpListener, TcpStream};
use crate::net::methods::{connected_source, nonblocking_socket};
use crate::net::source::IoSource;

/// A TCP socket that neither listens nor is connected yet: for options that must be set before.
///
/// Several listeners share one port with `SO_REUSEPORT`, and the kernel spreads the connections over them:
///
/// ```
/// use eddies::net::TcpSocket;
///
/// # fn main() -> std::io::Result<()> {
/// let listen = |address| {
///     let socket = TcpSocket::new_v4()?;
///     socket.set_reuseport(true)?;
///     socket.bind(address)?;
///     socket.listen(1024)
/// };
/// let first = listen(([127, 0, 0, 1], 0).into())?;
/// let second = listen(first.local_addr()?)?;
/// assert_eq!(first.local_addr()?, second.local_addr()?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TcpSocket {
    /// The socket, non-blocking.
    socket: Socket,
}

/// Options: a getter and a setter each.
macro_rules! options {
    ($($(#[$doc:meta])* $get:ident, $set:ident($value:ty) = $socket_get:ident, $socket_set:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        ///
        /// The system's.
        pub fn $set(&self, value: $value) -> io::Result<()> {
            self.socket.$socket_set(value)
        }

        #[doc = concat!("What [`", stringify!($set), "`](TcpSocket::", stringify!($set), ") sets, as the system has it.")]
        ///
        /// # Errors
        ///
        /// The system's.
        pub fn $get(&self) -> io::Result<$value> {
            self.socket.$socket_get()
        }
    )*};
}

impl TcpSocket {
    /// A socket for IPv4.
    ///
    /// # Errors
    ///
    /// The system's, for example when the process has no descriptor left.
    pub fn new_v4() -> io::Result<TcpSocket> {
        TcpSocket::new(Domain::IPV4)
    }

    /// A socket for IPv6.
    ///
    /// # Errors
    ///
    /// The system's, for example when it has no IPv6.
    pub fn new_v6() -> io::Result<TcpSocket> {
        TcpSocket::new(Domain::IPV6)
    }

    /// A socket for the family of `address`.
    pub(super) fn new_for(address: SocketAddr) -> io::Result<TcpSocket> {
        TcpSocket::new(Domain::for_address(address))
    }

    fn new(domain: Domain) -> io::Result<TcpSocket> {
        Ok(TcpSocket { socket: nonblocking_socket(domain, Type::STREAM)? })
    }

    /// Takes over a socket that something else made, with options that this type does not know, and makes it non-blocking. It must not be
    /// connected, although the standard library has no other type for it than the one of a connection.
    ///
    /// # Errors
    ///
    /// The system's, when it cannot make the socket non-blocking.
    pub fn from_std_stream(stream: std::net::TcpStream) -> io::Result<TcpSocket> {
        stream.set_nonblocking(true)?;
        Ok(TcpSocket { socket: stream.into() })
    }

    options! {
        /// Lets it bind to an address that a closed connection still occupies (`SO_REUSEADDR`).
        reuseaddr, set_reuseaddr(bool) = reuse_address, set_reuse_address;
        /// Lets several sockets bind to the same address (`SO_REUSEPORT`); all of them must ask for it.
        reuseport, set_reuseport(bool) = reuse_port, set_reuse_port;
        /// Sends probes on a connection where nothing moves, so that a peer that vanished is noticed (`SO_KEEPALIVE`).
        keepalive, set_keepalive(bool) = keepalive, set_keepalive;
        /// Sends small segments at once instead of gathering them (`TCP_NODELAY`).
        nodelay, set_nodelay(bool) = tcp_nodelay, set_tcp_nodelay;
        /// What closing does with bytes that are not sent yet: `None` sends them in the background; `Some(0 s)` throws them away and
        /// resets the connection; other times make the *close block* the thread, so avoid them (`SO_LINGER`).
        linger, set_linger(Option<Duration>) = linger, set_linger;
    }

    /// The room for bytes to be sent, in bytes; the system may take another value, and Linux doubles it (`SO_SNDBUF`).
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn set_send_buffer_size(&self, bytes: u32) -> io::Result<()> {
        self.socket.set_send_buffer_size(bytes as usize)
    }

    /// The room for bytes to be sent that the system took, in bytes.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn send_buffer_size(&self) -> io::Result<u32> {
        self.socket.send_buffer_size().map(saturated)
    }

    /// The room for received bytes, in bytes; the system may take another value, and Linux doubles it (`SO_RCVBUF`).
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn set_recv_buffer_size(&self, bytes: u32) -> io::Result<()> {
        self.socket.set_recv_buffer_size(bytes as usize)
    }

    /// The room for received bytes that the system took, in bytes.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn recv_buffer_size(&self) -> io::Result<u32> {
        self.socket.recv_buffer_size().map(saturated)
    }

    /// The address it is bound to.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let address = self.socket.local_addr()?;
        address.as_socket().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not an internet socket"))
    }

    /// The socket's pending error, which this takes away (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// The system's, when it cannot say.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket.take_error()
    }

    /// Gives the socket `address` for its own end.
    ///
    /// # Errors
    ///
    /// The system's, for example `AddrInUse`.
    pub fn bind(&self, address: SocketAddr) -> io::Result<()> {
        self.socket.bind(&address.into())
    }

    /// Connects to `address`.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::connect`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the socket and gives up the attempt.
    ///
    /// ```
    /// use eddies::net::{TcpListener, TcpSocket};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// eddies::run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").await?;
    ///     let socket = TcpSocket::new_v4()?;
    ///     socket.set_nodelay(true)?;
    ///     let stream = socket.connect(listener.local_addr()?).await?;
    ///     assert!(stream.nodelay()?);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub async fn connect(self, address: SocketAddr) -> io::Result<TcpStream> {
        connected_source(self.socket, &address.into()).await.map(TcpStream::from_source)
    }

    /// Listens; `backlog` connections may wait to be accepted, or as many as the system allows if that is less.
    ///
    /// # Errors
    ///
    /// The system's, for example `AddrInUse`.
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        self.socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        let listener = std::net::TcpListener::from(self.socket);
        Ok(TcpListener::from_source(IoSource::new(mio::net::TcpListener::from_std(listener))))
    }
}

/// A size as `u32`, which every size of a socket's buffer fits.
fn saturated(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl AsFd for TcpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for TcpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
