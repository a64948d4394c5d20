//! Sockets: TCP, UDP and Unix.
//!
//! | | listen | connect | datagrams |
//! |---|---|---|---|
//! | internet | [`TcpListener`] | [`TcpStream`] | [`UdpSocket`] |
//! | Unix | [`UnixListener`] | [`UnixStream`] | [`UnixDatagram`] |
//!
//! [`TcpSocket`] sets options before it connects or listens; [`lookup_host`] asks for the addresses of a name. The names and meanings are
//! tokio's; reading and writing is through [`AsyncRead`](crate::io::AsyncRead) and [`AsyncWrite`](crate::io::AsyncWrite), which are the
//! futures project's, so its extension traits (`futures::io::AsyncReadExt` and others) work on every stream here.
//!
//! ```
//! use eddies::net::{TcpListener, TcpStream};
//! use futures_util::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # fn main() -> std::io::Result<()> {
//! eddies::run(async {
//!     let listener = TcpListener::bind("127.0.0.1:0").await?;
//!     let mut client = TcpStream::connect(listener.local_addr()?).await?;
//!     let (mut server, _peer) = listener.accept().await?;
//!
//!     client.write_all(b"hello").await?;
//!     let mut buffer = [0; 5];
//!     server.read_exact(&mut buffer).await?;
//!     assert_eq!(&buffer, b"hello");
//!     Ok(())
//! })
//! # }
//! ```
//!
//! # Which loop serves a socket
//!
//! None, until an operation on it would block for the first time: then it is registered with the loop on which that happened. So a socket
//! can be made anywhere, also outside a runtime; only an operation that has to *wait* needs one, and answers with
//! [`NoRuntime`](crate::NoRuntime) inside its [`io::Error`](std::io::Error) where there is none. A socket stays with the loop it was
//! registered with, and can be used from every thread. When the runtime of that loop shuts down, operations that wait for the socket
//! answer with an error.
//!
//! # Who may wait at the same time
//!
//! - `async` methods (`accept`, `recv`, `readable`, ...) keep a place each: any number of tasks may wait on one socket.
//! - `poll_*` methods, and the traits built on them, keep one waker per direction: that of the last task that polled. A stream can be read
//!   by one task and written by another, which is what the [halves](TcpStream::into_split) are for.
//!
//! # Rules for all sockets
//!
//! - They are non-blocking and closed on exec.
//! - Every operation that completes takes a unit of the task's [budget](crate::coop), so a socket that is always ready does not keep its task
//!   from yielding.
//! - Dropping a future of this module loses no bytes: either the operation has happened and the future is ready, or nothing has.
//! - A call that a signal interrupts is tried again.
//! - `from_std` makes the socket non-blocking; `into_std` leaves it so.
//!
//! # What is not here
//!
//! Windows; the credentials of a Unix peer and the passing of descriptors, for which neither the standard library nor socket2 has a safe
//! call yet (the descriptor is there: [`AsFd`](std::os::fd::AsFd)); Happy Eyeballs, which [`streams::Connector`](crate::streams::Connector)
//! has; and TLS, which is in `protocols::tls`, with the feature `tls`.

mod addr;
mod datagram_methods;
mod halves;
mod methods;
mod pieces;
pub(crate) mod source;
mod stream_methods;
pub mod tcp;
mod udp;
pub mod unix;

#[cfg(fuzzing)]
pub(crate) use addr::fuzz::check as check_addresses;
pub use addr::{SocketAddrs, ToSocketAddrs, lookup_host};
pub use halves::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, StreamSocket, WriteHalf};
#[doc(no_inline)]
pub use source::{Interest, Ready};
pub use tcp::{TcpListener, TcpSocket, TcpStream};
pub use udp::UdpSocket;
pub use unix::{UnixDatagram, UnixListener, UnixStream};
