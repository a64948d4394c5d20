//! TLS for transports and streams, by [rustls].
//!
//! A [`TlsConfig`] says which side this is, what rustls is to check and to show, and how long the handshake and the farewell may take. With it:
//!
//! - [`create_tls_connection`], [`create_tls_server`], [`connect_accepted_tls_socket`]: protocols over TLS from the start;
//! - [`Transport::start_tls`]: TLS on a connection that runs, as `STARTTLS` of mail and others has it;
//! - [`TlsStream`]: TLS over any stream, to read and to write with the I/O traits.
//!
//! What a transport does over TLS: `connection_made` comes after the handshake. [`Transport::close`] sends what is buffered, then the farewell
//! (`close_notify`), and waits for the peer's, for as long as the shutdown timeout. A connection that ends without a farewell is told as
//! an error, `UnexpectedEof`: what came may have been cut short by somebody in between. The marks of the write buffer are 512 KiB and a
//! quarter of it. Reading needs no mark of its own: while it is paused nothing is taken from the socket, and what is decrypted already is at
//! most one read's worth.
//!
//! ```
//! use eddies::protocols::tls::{TlsConfig, create_tls_connection, create_tls_server, rustls};
//! use eddies::protocols::{Protocol, Transport};
//!
//! struct Greet;
//! impl Protocol for Greet {
//!     fn connection_made(&mut self, transport: &Transport) {
//!         transport.write(b"hello").unwrap();
//!         transport.close();
//!     }
//! }
//!
//! struct Hear(Option<eddies::sync::OneshotSender<Vec<u8>>>);
//! impl Protocol for Hear {
//!     fn data_received(&mut self, data: &[u8]) {
//!         if let Some(sender) = self.0.take() {
//!             let _ = sender.send(data.to_vec());
//!         }
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A certificate that signed itself: for tests.
//! let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
//! let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
//! let mut roots = rustls::RootCertStore::empty();
//! roots.add(made.cert.der().clone())?;
//! let server = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![made.cert.into()], key)?;
//! let client = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
//!
//! eddies::run(async {
//!     let server = create_tls_server(|| Greet, "127.0.0.1:0", TlsConfig::server(server)).await?;
//!     let (sender, heard) = eddies::sync::oneshot();
//!     let tls = TlsConfig::client(client, "localhost")?;
//!     let transport = create_tls_connection(|| Hear(Some(sender)), server.local_addrs()[0], &tls).await?;
//!     assert!(transport.tls_info().is_some());
//!     assert_eq!(heard.await?, b"hello");
//!     Ok(())
//! })
//! # }
//! ```
//!
//! What rustls calls of the user's, as a verifier of certificates, runs in the task of the connection, under no lock.

mod tls_session;
mod tls_stream;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

pub use futures_rustls::rustls;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

use super::Transport;
use super::connect::{ConnectedSocket, into_wire, start};
use super::link::Upgrade;
use super::protocol::StreamProtocol;
use super::transport_server::{Server, serve_addresses};
use super::wire::Wire;
use crate::net::{TcpStream, ToSocketAddrs};
use crate::sync::{OneshotReceiver, oneshot};
pub use tls_session::TlsInfo;
use tls_session::TlsSession;
pub use tls_stream::TlsStream;

/// How long a handshake may take, if nothing else is said.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the peer's farewell is waited for, if nothing else is said.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// How to do TLS: the side, its certificates and checks, and the timeouts.
///
/// ```
/// use std::time::Duration;
/// use eddies::protocols::tls::{TlsConfig, rustls};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let roots = rustls::RootCertStore::empty();
/// let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
/// let tls = TlsConfig::client(config, "example.org")?.handshake_timeout(Duration::from_secs(10))?;
/// assert!(tls.handshake_timeout(Duration::ZERO).is_err());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct TlsConfig {
    side: Side,
    handshake_timeout: Duration,
    shutdown_timeout: Duration,
}

#[derive(Clone)]
enum Side {
    Client(Arc<ClientConfig>, ServerName<'static>),
    Server(Arc<ServerConfig>),
}

impl TlsConfig {
    /// The client's side. `server_name`, a name or an address, is what the server's certificate must be for.
    ///
    /// # Errors
    ///
    /// When `server_name` is neither.
    pub fn client(config: impl Into<Arc<ClientConfig>>, server_name: &str) -> Result<TlsConfig, TlsConfigError> {
        let name = ServerName::try_from(server_name.to_owned())
            .map_err(|_| TlsConfigError::ServerName { name: server_name.to_owned() })?;
        Ok(TlsConfig::new(Side::Client(config.into(), name)))
    }

    /// The server's side: the one that shows a certificate, whoever connected.
    pub fn server(config: impl Into<Arc<ServerConfig>>) -> TlsConfig {
        TlsConfig::new(Side::Server(config.into()))
    }

    fn new(side: Side) -> TlsConfig {
        TlsConfig { side, handshake_timeout: HANDSHAKE_TIMEOUT, shutdown_timeout: SHUTDOWN_TIMEOUT }
    }

    /// How long a handshake may take. Default: 60 s.
    ///
    /// # Errors
    ///
    /// When it is zero.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Result<TlsConfig, TlsConfigError> {
        self.handshake_timeout = not_zero(timeout, "handshake")?;
        Ok(self)
    }

    /// How long a transport that closes waits for the peer's farewell. Default: 30 s.
    ///
    /// # Errors
    ///
    /// When it is zero.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Result<TlsConfig, TlsConfigError> {
        self.shutdown_timeout = not_zero(timeout, "shutdown")?;
        Ok(self)
    }

    /// A session of its own for one connection.
    fn session(&self) -> io::Result<rustls::Connection> {
        let session = match &self.side {
            Side::Client(config, name) => ClientConnection::new(config.clone(), name.clone()).map(Into::into),
            Side::Server(config) => ServerConnection::new(config.clone()).map(Into::into),
        };
        session.map_err(io::Error::other)
    }

    fn upgrade(&self) -> io::Result<Upgrade> {
        Ok(Upgrade {
            session: Box::new(TlsSession::new(self.session()?)),
            handshake_timeout: self.handshake_timeout,
            shutdown_timeout: self.shutdown_timeout,
        })
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TlsConfig");
        match &self.side {
            Side::Client(_, name) => debug.field("server_name", &name.to_str()),
            Side::Server(_) => debug.field("server_side", &true),
        };
        debug
            .field("handshake_timeout", &self.handshake_timeout)
            .field("shutdown_timeout", &self.shutdown_timeout)
            .finish_non_exhaustive()
    }
}

fn not_zero(timeout: Duration, what: &'static str) -> Result<Duration, TlsConfigError> {
    if timeout.is_zero() { Err(TlsConfigError::ZeroTimeout { what }) } else { Ok(timeout) }
}

/// What cannot be configured.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// The server's name is neither a host name nor an address.
    #[non_exhaustive]
    ServerName {
        /// What was given.
        name: String,
    },
    /// A timeout is zero, in which nothing can succeed.
    #[non_exhaustive]
    ZeroTimeout {
        /// Which of them.
        what: &'static str,
    },
}

impl fmt::Display for TlsConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsConfigError::ServerName { name } => {
                write!(f, "`{name}` is neither a host name nor an address, as the name of a TLS server has to be")
            }
            TlsConfigError::ZeroTimeout { what } => write!(f, "the TLS {what} timeout must be more than zero"),
        }
    }
}

impl Error for TlsConfigError {}

impl From<TlsConfigError> for io::Error {
    fn from(error: TlsConfigError) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidInput, error)
    }
}

/// As [`create_connection`](super::create_connection), over TLS. Ready when `connection_made`, which comes after the handshake, has returned.
///
/// # Errors
///
/// The system's; rustls's, inside an error of the kind `InvalidData`, when the sides cannot agree or a certificate is not accepted;
/// `TimedOut`; the peer's end of the connection. The protocol then was never called.
///
/// # Cancel safety
///
/// Dropping the future closes the connection.
pub async fn create_tls_connection<P>(
    factory: impl FnOnce() -> P,
    address: impl ToSocketAddrs,
    tls: &TlsConfig,
) -> io::Result<Transport>
where
    P: Into<StreamProtocol>,
{
    let upgrade = tls.upgrade()?;
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    start(factory().into(), Wire::Tcp(stream), Some(upgrade)).await
}

/// As [`connect_accepted_socket`](super::connect_accepted_socket), over TLS.
///
/// # Errors
///
/// As [`create_tls_connection`].
///
/// # Cancel safety
///
/// Dropping the future closes the connection.
pub async fn connect_accepted_tls_socket<P>(
    factory: impl FnOnce() -> P,
    socket: impl ConnectedSocket,
    tls: &TlsConfig,
) -> io::Result<Transport>
where
    P: Into<StreamProtocol>,
{
    start(factory().into(), into_wire(socket), Some(tls.upgrade()?)).await
}

/// As [`create_server`](super::create_server), over TLS. A client with which the handshake fails is dropped; its protocol is made, and never
/// called.
///
/// # Errors
///
/// The system's when one of the addresses cannot be listened on.
///
/// # Cancel safety
///
/// Dropping the future closes what was opened.
pub async fn create_tls_server<P>(
    factory: impl Fn() -> P + Send + Sync + 'static,
    address: impl ToSocketAddrs,
    tls: TlsConfig,
) -> io::Result<Server>
where
    P: Into<StreamProtocol>,
{
    serve_addresses(Arc::new(move || Ok((factory().into(), Some(tls.upgrade()?)))), address).await
}

impl Transport {
    /// Does TLS from here on, on the same connection, with the same protocol. Ready when the handshake is done.
    ///
    /// It begins with this call, not with the first poll: nothing more is read as plain text, what was written goes out plain, and what is
    /// written from now on goes out encrypted, after the handshake. A protocol that is told "go on with TLS" calls this before it returns,
    /// and hands the future to a task of its own. The marks of the write buffer become TLS's.
    ///
    /// # Errors
    ///
    /// Without a change, when the transport is closing, is no socket, or does TLS already. Those of
    /// [`create_tls_connection`], with which the connection is lost.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready ends the connection, which is neither plain nor encrypted then.
    pub fn start_tls(&self, tls: &TlsConfig) -> StartTls {
        let (sender, receiver) = oneshot();
        let begun = tls.upgrade().and_then(|upgrade| self.link().upgrade(upgrade, sender));
        StartTls { transport: self.clone(), answer: Some(begun.map(|()| receiver)) }
    }

    /// What TLS has agreed on; `None` without TLS, or before the handshake is done.
    pub fn tls_info(&self) -> Option<TlsInfo> {
        self.link().lock().tls.clone()
    }
}

/// The future of [`Transport::start_tls`].
#[derive(Debug)]
#[must_use = "dropped, it ends the connection"]
pub struct StartTls {
    transport: Transport,
    /// Where the answer comes from, or why there will be none; `None` when it was given.
    answer: Option<io::Result<OneshotReceiver<io::Result<()>>>>,
}

impl Future for StartTls {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let answer = match self.answer.as_mut().expect("polled after it was ready") {
            // The task answers also when it ends.
            Ok(receiver) => {
                ready!(Pin::new(receiver).poll(cx)).unwrap_or_else(|_| Err(io::ErrorKind::ConnectionAborted.into()))
            }
            Err(error) => Err(std::mem::replace(error, io::ErrorKind::Other.into())),
        };
        self.answer = None;
        Poll::Ready(answer)
    }
}

impl Drop for StartTls {
    fn drop(&mut self) {
        if let Some(Ok(_)) = self.answer {
            self.transport.abort();
        }
    }
}
