//! Streams: asyncio's way to talk over TCP and Unix sockets.
//!
//! | | asyncio |
//! |---|---|
//! | [`open_connection`], [`open_unix_connection`], [`Connector`] | `open_connection`, `open_unix_connection` |
//! | [`start_server`], [`start_unix_server`], [`ServerBuilder`] | `start_server`, `start_unix_server` |
//! | [`StreamReader`] | the same |
//! | [`StreamWriter`] | the same, and `write_all(..).await`, which cannot forget the `drain` |
//! | [`Server`] | the same |
//! | [`upgrade`] | what `start_tls` does to a pair |
//!
//! ```
//! use eddies::streams::{StreamReader, StreamWriter, open_connection, start_server};
//!
//! async fn shout(mut reader: StreamReader, mut writer: StreamWriter) -> std::io::Result<()> {
//!     loop {
//!         let line = reader.readline().await?;
//!         if line.is_empty() {
//!             return Ok(());
//!         }
//!         writer.write_all(&line.to_ascii_uppercase()).await?;
//!     }
//! }
//!
//! # fn main() -> std::io::Result<()> {
//! eddies::run(async {
//!     let server = start_server("127.0.0.1:0", shout).await?;
//!     let (mut reader, mut writer) = open_connection(server.local_addrs()[0]).await?;
//!     writer.write_all(b"hello\n").await?;
//!     assert_eq!(reader.readline().await?, b"HELLO\n");
//!     writer.close();
//!     server.close();
//!     server.wait_closed().await;
//!     Ok(())
//! })
//! # }
//! ```
//!
//! # Differences from asyncio
//!
//! - Handlers run in parallel, so they are `Send`.
//! - A reader reads when it is asked to, not ahead in the background: `at_eof` knows of the end once a read met it.
//! - Two reads at once, and writing through a closed writer that is swallowed, do not exist: the first does not compile, the second is an error.
//! - `close` ends both directions of the socket; its descriptor is free when the reader is dropped too.
//! - A connection that gives several addresses is raced by RFC 8305 unless that is switched off.
//! - Addresses and options come typed ([`StreamWriter::peer_addr`], [`StreamWriter::with_socket`]), not by name.

mod clients;
mod connector;
mod outbox;
mod search;
mod stream_errors;
mod stream_reader;
mod stream_server;
mod stream_writer;

use std::future::Future;
use std::io;
use std::path::Path;

use crate::io::{AsyncRead, AsyncWrite};
use crate::net::{OwnedReadHalf, OwnedWriteHalf, StreamSocket, ToSocketAddrs, unix};

pub use connector::Connector;
pub use stream_errors::{
    ConnectErrors, IncompleteRead, LimitOverrun, LimitsReversed, NotServing, NotWritten, ReadError, SharedError,
};
#[cfg(fuzzing)]
pub(crate) use stream_reader::fuzz::check as check_reader;
pub use stream_reader::{Lines, StreamReader};
pub use stream_server::{HandlerOutcome, Server, ServerBuilder, start_server, start_unix_server};
pub use stream_writer::StreamWriter;

/// asyncio's limit for readers.
const DEFAULT_LIMIT: usize = 64 * 1024;

/// Connects to `address`: asyncio's `open_connection`. [`Connector`] has the settings.
///
/// # Errors
///
/// As [`Connector::open`].
///
/// # Cancel safety
///
/// Dropping the future closes the sockets of all attempts.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// eddies::run(async {
///     let server = eddies::streams::start_server("127.0.0.1:0", async |_, writer| {
///         let _ = writer.write(b"welcome\n");
///     })
///     .await?;
///     let (mut reader, _writer) = eddies::streams::open_connection(server.local_addrs()[0]).await?;
///     assert_eq!(reader.readline().await?, b"welcome\n");
///     Ok(())
/// })
/// # }
/// ```
pub async fn open_connection(address: impl ToSocketAddrs) -> io::Result<(StreamReader, StreamWriter)> {
    Connector::new().open(address).await
}

/// Connects to the Unix socket at `path`: asyncio's `open_unix_connection`.
///
/// # Errors
///
/// As [`UnixStream::connect`](crate::net::UnixStream::connect).
///
/// # Cancel safety
///
/// Dropping the future closes the socket.
///
/// ```no_run
/// # async fn example() -> std::io::Result<()> {
/// let (mut reader, mut writer) = eddies::streams::open_unix_connection("/run/app.sock").await?;
/// writer.write_all(b"status\n").await?;
/// let answer = reader.readline().await?;
/// # Ok(())
/// # }
/// ```
pub async fn open_unix_connection(
    path: impl AsRef<Path>,
) -> io::Result<(StreamReader<unix::OwnedReadHalf>, StreamWriter<unix::OwnedWriteHalf>)> {
    Connector::new().open_unix(path).await
}

/// Puts something between a connection and its reader and writer, TLS for example: what asyncio's `start_tls` does to a pair.
///
/// `wrap` gets the two halves, when everything written is with the connection, and the bytes that were read from it and not from the reader. What
/// it answers with is read and written from then on. The connection keeps its socket ([`StreamWriter::with_socket`]), its limit and marks,
/// and its place among the connections of a server, which can close it.
///
/// # Errors
///
/// What the connection has failed with, and those of `wrap`; the connection is closed then.
///
/// # Cancel safety
///
/// Dropping the future closes the connection.
///
/// ```
/// use eddies::streams::{open_connection, start_server, upgrade};
/// use futures_util::io::{AsyncReadExt, BufWriter};
///
/// # fn main() -> std::io::Result<()> {
/// eddies::run(async {
///     let server = start_server("127.0.0.1:0", async |_, writer| { let _ = writer.write(b"plain\nwrapped\n"); }).await?;
///     let (mut reader, writer) = open_connection(server.local_addrs()[0]).await?;
///     assert_eq!(reader.readline().await?, b"plain\n");
///     let (mut reader, _writer) = upgrade(reader, writer, async |read_half, write_half, buffered| {
///         Ok((futures_util::io::Cursor::new(buffered).chain(read_half), BufWriter::new(write_half)))
///     })
///     .await?;
///     assert_eq!(reader.readline().await?, b"wrapped\n");
///     Ok(())
/// })
/// # }
/// ```
pub async fn upgrade<R, W, NewR, NewW, F, Fut>(
    reader: StreamReader<R>,
    writer: StreamWriter<W>,
    wrap: F,
) -> io::Result<(StreamReader<NewR>, StreamWriter<NewW>)>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin + Send + 'static,
    NewR: AsyncRead + Unpin,
    NewW: AsyncWrite + Unpin + Send + 'static,
    F: FnOnce(R, W, Vec<u8>) -> Fut,
    Fut: Future<Output = io::Result<(NewR, NewW)>>,
{
    let (limit, (high, low)) = (reader.limit(), writer.write_buffer_limits());
    let (sink, wire, entry) = writer.leave().await?;
    let (source, buffered) = reader.into_parts();
    let (source, sink) = wrap(source, sink, buffered).await?;
    let writer = StreamWriter::over(sink, wire, entry);
    // They were the right way round before.
    let _ = writer.set_write_buffer_limits(Some(high), Some(low));
    Ok((StreamReader::with_limit(source, limit), writer))
}

/// Reader and writer of a connected socket.
fn of_socket<S>(
    (source, sink): (OwnedReadHalf<S>, OwnedWriteHalf<S>),
    limit: usize,
    entry: Option<clients::Entry>,
) -> (StreamReader<OwnedReadHalf<S>>, StreamWriter<OwnedWriteHalf<S>>)
where
    S: StreamSocket,
    OwnedWriteHalf<S>: AsyncWrite,
{
    let wire = outbox::Wire::of(sink.share());
    (StreamReader::with_limit(source, limit), StreamWriter::over(sink, Some(wire), entry))
}
