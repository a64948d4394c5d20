//! TCP: listening, connecting, and the halves of a stream.
//!
//! The main types are re-exported from [`net`](crate::net).

mod tcp_listener;
mod tcp_socket;
mod tcp_stream;

pub use tcp_listener::{Incoming, TcpListener};
pub use tcp_socket::TcpSocket;
pub use tcp_stream::TcpStream;

/// The borrowed reading half of a [`TcpStream`].
pub type ReadHalf<'a> = super::halves::ReadHalf<'a, TcpStream>;

/// The borrowed writing half of a [`TcpStream`].
pub type WriteHalf<'a> = super::halves::WriteHalf<'a, TcpStream>;

/// The reading half of a [`TcpStream`] that may move to another task.
pub type OwnedReadHalf = super::halves::OwnedReadHalf<TcpStream>;

/// The writing half of a [`TcpStream`] that may move to another task.
pub type OwnedWriteHalf = super::halves::OwnedWriteHalf<TcpStream>;

/// Two halves that are not of one [`TcpStream`].
pub type ReuniteError = super::halves::ReuniteError<TcpStream>;
