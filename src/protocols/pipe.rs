//! Pipes: [`connect_read_pipe`] and [`connect_write_pipe`].
//!
//! A pipe is waited for like a socket, once it is in non-blocking mode. That mode belongs to the *open file*, which a descriptor of another
//! process may share (a terminal, an inherited standard stream): they see it too. asyncio has the same effect, for the same reason.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::Transport;
use super::connect::start;
use super::protocol::StreamProtocol;
use super::wire::Wire;
use crate::net::source::IoSource;

/// Reads from `pipe`, the reading end of a pipe, a FIFO, a terminal or a socket, into the protocol that `factory` makes. Ready when
/// `connection_made` has returned. The descriptor is closed with the transport, and is made non-blocking.
///
/// The end of the stream is told as `eof_received`, whose answer does not matter, and ends the connection. [`Transport::write`] is refused.
///
/// # Errors
///
/// `InvalidInput` for a regular file or a directory: those are always ready, and a read of them blocks; read them in
/// [`spawn_blocking`](crate::spawn_blocking). The system's; the protocol's panic in `connection_made`.
///
/// # Cancel safety
///
/// Dropping the future closes the pipe.
///
/// ```
/// use std::io::Write;
/// use eddies::protocols::{Protocol, connect_read_pipe};
///
/// struct Hear(Option<eddies::sync::OneshotSender<Vec<u8>>>);
/// impl Protocol for Hear {
///     fn data_received(&mut self, data: &[u8]) {
///         if let Some(sender) = self.0.take() {
///             let _ = sender.send(data.to_vec());
///         }
///     }
/// }
///
/// # fn main() -> std::io::Result<()> { eddies::run(async {
/// let (reader, mut writer) = std::io::pipe()?;
/// let (sender, heard) = eddies::sync::oneshot();
/// connect_read_pipe(|| Hear(Some(sender)), reader).await?;
/// writer.write_all(b"hello")?;
/// assert_eq!(heard.await.unwrap(), b"hello");
/// # Ok(()) }) }
/// ```
pub async fn connect_read_pipe<P>(factory: impl FnOnce() -> P, pipe: impl Into<OwnedFd>) -> io::Result<Transport>
where
    P: Into<StreamProtocol>,
{
    let (file, _) = nonblocking_pipe(pipe.into())?;
    start(factory().into(), Wire::Reader(IoSource::new(file)), None).await
}

/// Writes to `pipe`, the writing end of a pipe, a FIFO, a terminal or a socket, for the protocol that `factory` makes. Ready when
/// `connection_made` has returned. The descriptor is closed with the transport, and is made non-blocking.
///
/// When the reader of a pipe goes away, the connection is lost: with `BrokenPipe` if bytes were buffered, else without an error.
/// [`Transport::write_eof`] closes.
///
/// # Errors
///
/// As [`connect_read_pipe`].
///
/// # Cancel safety
///
/// Dropping the future closes the pipe.
///
/// ```
/// use std::io::Read;
/// use eddies::protocols::{Protocol, connect_write_pipe};
///
/// struct Quiet;
/// impl Protocol for Quiet {}
///
/// # fn main() -> std::io::Result<()> { eddies::run(async {
/// let (mut reader, writer) = std::io::pipe()?;
/// let transport = connect_write_pipe(|| Quiet, writer).await?;
/// transport.write(b"hello")?;
/// transport.close();
/// let mut all = String::new();
/// eddies::spawn_blocking(move || reader.read_to_string(&mut all).map(|_| assert_eq!(all, "hello"))).await.unwrap()?;
/// # Ok(()) }) }
/// ```
pub async fn connect_write_pipe<P>(factory: impl FnOnce() -> P, pipe: impl Into<OwnedFd>) -> io::Result<Transport>
where
    P: Into<StreamProtocol>,
{
    let (file, is_watchable) = nonblocking_pipe(pipe.into())?;
    start(factory().into(), Wire::Writer(IoSource::new(file), is_watchable), None).await
}

/// The pipe in non-blocking mode, and whether the end of its reader can be watched (not on a terminal, which has none).
fn nonblocking_pipe(pipe: OwnedFd) -> io::Result<(File, bool)> {
    let file = File::from(pipe);
    let kind = file.metadata()?.file_type();
    let is_watchable = kind.is_fifo() || kind.is_socket();
    if !is_watchable && !kind.is_char_device() {
        let what = if kind.is_file() { "a regular file" } else { "neither a pipe, nor a socket, nor a terminal" };
        let text = format!("a transport is for pipes, sockets and terminals, and this is {what}: use spawn_blocking");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let flags = fcntl_getfl(&file)?;
    fcntl_setfl(&file, flags | OFlags::NONBLOCK)?;
    Ok((file, is_watchable))
}
