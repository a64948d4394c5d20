//! From an address or a socket to a connection with a protocol: [`create_connection`] and its like.
//!
//! The futures here run in the caller's task; the connection gets a task of its own, on the runtime of the caller.

use std::io;
use std::path::Path;

use super::Transport;
use super::connection::Connection;
use super::link::Upgrade;
use super::protocol::StreamProtocol;
use super::wire::Wire;
use crate::net::{TcpStream, ToSocketAddrs, UnixStream};
use crate::sync::oneshot;

/// A connected stream socket that a transport can take over: a [`TcpStream`] or a [`UnixStream`].
pub trait ConnectedSocket: sealed::IntoWire {}

impl ConnectedSocket for TcpStream {}
impl ConnectedSocket for UnixStream {}

mod sealed {
    use super::{TcpStream, UnixStream, Wire};

    pub trait IntoWire: Send {
        #[expect(private_interfaces, reason = "the trait is not reachable from outside")]
        fn into_wire(self) -> Wire;
    }

    impl IntoWire for TcpStream {
        #[expect(private_interfaces, reason = "the trait is not reachable from outside")]
        fn into_wire(self) -> Wire {
            Wire::Tcp(self)
        }
    }

    impl IntoWire for UnixStream {
        #[expect(private_interfaces, reason = "the trait is not reachable from outside")]
        fn into_wire(self) -> Wire {
            Wire::Unix(self)
        }
    }
}

/// Connects to `address`, and hands the connection to the protocol that `factory` makes. Ready when `connection_made` has returned.
///
/// The addresses of a name are tried one after the other. Delays for the sake of larger packets are off (`TCP_NODELAY`). The protocol lives
/// in the task of the connection: what the caller wants to hear from it, it sends through a channel.
///
/// # Errors
///
/// The system's for the last address tried; the protocol's panic in `connection_made`.
///
/// # Cancel safety
///
/// Dropping the future closes the connection.
///
/// ```
/// use eddies::net::TcpListener;
/// use eddies::protocols::{Protocol, Transport, create_connection};
///
/// struct Greet;
/// impl Protocol for Greet {
///     fn connection_made(&mut self, transport: &Transport) {
///         transport.write(b"hello").unwrap();
///         transport.close();
///     }
/// }
///
/// # fn main() -> std::io::Result<()> { eddies::run(async {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let transport = create_connection(|| Greet, listener.local_addr()?).await?;
/// let (stream, peer) = listener.accept().await?;
/// assert_eq!(transport.local_addr(), Some(peer));
/// stream.readable().await?;
/// assert_eq!(stream.try_read(&mut [0; 8])?, 5);
/// # Ok(()) }) }
/// ```
pub async fn create_connection<P>(factory: impl FnOnce() -> P, address: impl ToSocketAddrs) -> io::Result<Transport>
where
    P: Into<StreamProtocol>,
{
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    start(factory().into(), Wire::Tcp(stream), None).await
}

/// As [`create_connection`], to the Unix socket at `path`.
///
/// # Errors
///
/// The system's; the protocol's panic in `connection_made`.
///
/// # Cancel safety
///
/// Dropping the future closes the connection.
pub async fn create_unix_connection<P>(factory: impl FnOnce() -> P, path: impl AsRef<Path>) -> io::Result<Transport>
where
    P: Into<StreamProtocol>,
{
    let stream = UnixStream::connect(path).await?;
    start(factory().into(), Wire::Unix(stream), None).await
}

/// Hands a socket that is connected already to the protocol that `factory` makes: one that was accepted, or connected by other means.
/// Ready when `connection_made` has returned.
///
/// # Errors
///
/// The protocol's panic in `connection_made`.
///
/// # Cancel safety
///
/// Dropping the future closes the connection.
///
/// ```
/// use eddies::protocols::{Protocol, connect_accepted_socket};
///
/// struct Quiet;
/// impl Protocol for Quiet {}
///
/// # fn main() -> std::io::Result<()> { eddies::run(async {
/// let (here, there) = eddies::net::UnixStream::pair()?;
/// let transport = connect_accepted_socket(|| Quiet, here).await?;
/// transport.write(b"hello")?;
/// there.readable().await?;
/// # Ok(()) }) }
/// ```
pub async fn connect_accepted_socket<P>(
    factory: impl FnOnce() -> P,
    socket: impl ConnectedSocket,
) -> io::Result<Transport>
where
    P: Into<StreamProtocol>,
{
    start(factory().into(), sealed::IntoWire::into_wire(socket), None).await
}

/// What a transport runs over.
#[cfg(feature = "tls")]
pub(super) fn into_wire(socket: impl ConnectedSocket) -> Wire {
    sealed::IntoWire::into_wire(socket)
}

/// Ends the connection if the future that waits for it is dropped.
struct Unclaimed(Option<Transport>);

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(transport) = &self.0 {
            transport.abort();
        }
    }
}

/// Starts the task of a connection, and waits until it stands.
pub(super) async fn start(protocol: StreamProtocol, wire: Wire, upgrade: Option<Upgrade>) -> io::Result<Transport> {
    let (sender, made) = oneshot();
    let connection = Connection::new(protocol, wire, upgrade, Some(sender), None);
    let mut unclaimed = Unclaimed(Some(connection.transport().clone()));
    connection.spawn();
    let answer = made.await;
    let transport = unclaimed.0.take();
    // The task answers also when it is dropped, unless it never was a connection's.
    answer.unwrap_or_else(|_| Err(io::ErrorKind::ConnectionAborted.into()))?;
    Ok(transport.expect("put there above"))
}
