//! Transports and protocols: callbacks in place of reads and writes, as asyncio has them.
//!
//! A *protocol* is user code that is told what happens on a connection; a *transport* is the handle through which it writes. The one is
//! called, the other is called upon, and neither ever waits:
//!
//! | asyncio | here |
//! |---|---|
//! | `Protocol`, `BufferedProtocol`, `DatagramProtocol` | [`Protocol`], [`BufferedProtocol`], [`DatagramProtocol`] |
//! | `create_connection`, `create_unix_connection`, `connect_accepted_socket` | [`create_connection`], [`create_unix_connection`], [`connect_accepted_socket`] |
//! | `create_server`, `create_unix_server` | [`create_server`], [`create_unix_server`] |
//! | `create_datagram_endpoint` | [`create_datagram_endpoint`] |
//! | `connect_read_pipe`, `connect_write_pipe` | [`connect_read_pipe`], [`connect_write_pipe`] |
//! | `sendfile` | [`sendfile`](fn@sendfile) |
//! | `ssl=`, `start_tls` | the module `tls`, with the feature of that name |
//!
//! Each connection is one task: it owns the socket's waiting and the protocol, and makes every call to it, in order, never two at a time.
//! So a protocol needs no locks, though connections run on all loops. See [`Protocol`] for an example.
//!
//! # What differs from asyncio
//!
//! - `pause_writing` and `resume_writing` come as the next call after the one that wrote returns, not from inside `write`: the protocol is
//!   borrowed while it is called. They come in turns, and before anything else is sent or read.
//! - A protocol lives in its connection's task, so `create_connection` gives the transport alone, and there is no `get_protocol`. What
//!   others are to know of a protocol, it sends through a channel, or shares.
//! - The transport may be used from every thread.
//! - A panic in `connection_made`, too, ends the connection; asyncio goes on.
//! - A connection is a task and is listed among the tasks, under the name `transport`.
//! - When the task of a connection is cancelled, or the runtime shuts down, `connection_lost` comes still, with an error.
//! - Under TLS, `eof_received` may keep the connection open for writing, as it may without. An end without TLS's farewell is an error.
//! - What asyncio's connecting and listening functions take as options (a local address, a backlog), is set on a
//!   [`TcpSocket`](crate::net::TcpSocket), whose stream goes to [`connect_accepted_socket`].
//! - Addresses and the like are typed methods, not `get_extra_info`.

mod connect;
mod connection;
mod datagram_endpoint;
mod link;
mod pipe;
mod protocol;
mod sendfile;
#[cfg(feature = "tls")]
pub mod tls;
mod transport;
mod transport_server;
mod wire;
mod write_limits;

pub use connect::{ConnectedSocket, connect_accepted_socket, create_connection, create_unix_connection};
pub use datagram_endpoint::{DatagramOptions, DatagramTransport, create_datagram_endpoint};
pub use pipe::{connect_read_pipe, connect_write_pipe};
pub use protocol::{BufferedProtocol, DatagramProtocol, Protocol, StreamProtocol};
pub use sendfile::sendfile;
pub use transport::Transport;
pub use transport_server::{Server, create_server, create_unix_server};
pub use write_limits::{InvalidLimits, WriteBufferLimits, WriteError};
