//! [`StreamWriter`]: asyncio's writer over anything that is `AsyncWrite`. What it does with the bytes stands in `streams/outbox.rs`.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::clients::Entry;
use super::outbox::{Outbox, Wire};
use super::stream_errors::{LimitsReversed, NotWritten};
use crate::io::AsyncWrite;
use crate::loom::Arc;
use crate::net::{OwnedWriteHalf, StreamSocket, tcp};
use crate::report::{self, ExceptionKind};

/// Writes without waiting, and waits where it is asked to: asyncio's `StreamWriter`, over any [`AsyncWrite`].
///
/// There are two ways to write.
///
/// - [`write_all`](StreamWriter::write_all)`.await` is ready when the connection has taken the bytes. It cannot be forgotten, needs no buffer when
///   the peer reads, and is the one to prefer.
/// - [`write`](StreamWriter::write) is asyncio's: it never waits. What the connection does not take at once is kept in memory and sent in the
///   background; [`drain`](StreamWriter::drain)`.await` waits while more is kept than the *high mark* (64 KiB), until no more than the *low
///   mark* (16 KiB) is. Writing without `drain` is writing without a bound. It takes `&self`: tasks may share a writer in an
///   [`Arc`](std::sync::Arc), and the bytes of one call stay together.
///
/// It is an [`AsyncWrite`] itself, so all of `futures_util::io` works on it, with the same marks. There, `poll_close` ends the write direction only,
/// as that of every stream in this crate; [`close`](StreamWriter::close) ends the connection.
///
/// # Dropping it
///
/// Closes the connection as [`close`](StreamWriter::close) does, without a warning. If in the end something that was written could not be sent,
/// and no call has answered with that error, the exception handler hears how many bytes it were.
///
/// ```
/// use eddies::streams::{open_connection, start_server};
///
/// # fn main() -> std::io::Result<()> {
/// eddies::run(async {
///     let server = start_server("127.0.0.1:0", async |mut reader, writer| {
///         let line = reader.readline().await?;
///         writer.write(&line)?;
///         writer.drain().await?;
///         std::io::Result::Ok(())
///     })
///     .await?;
///
///     let (mut reader, mut writer) = open_connection(server.local_addrs()[0]).await?;
///     writer.write_all(b"hello\n").await?;
///     assert_eq!(reader.read_all().await?, b"hello\n");
///     writer.close();
///     writer.wait_closed().await
/// })
/// # }
/// ```
pub struct StreamWriter<W: AsyncWrite + Unpin + Send + 'static = tcp::OwnedWriteHalf> {
    outbox: Arc<Outbox<W>>,
}

impl<W: AsyncWrite + Unpin + Send + 'static> StreamWriter<W> {
    /// A writer over `sink`.
    ///
    /// ```
    /// use eddies::streams::StreamWriter;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// eddies::run(async {
    ///     let mut writer = StreamWriter::new(futures_util::io::Cursor::new(Vec::new()));
    ///     writer.write(b"one ")?;
    ///     writer.write_all(b"two").await?;
    ///     assert_eq!(writer.into_inner().await?.into_inner(), b"one two");
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn new(sink: W) -> Self {
        StreamWriter::over(sink, None, None)
    }

    /// A writer whose connection is over `wire` and has a place in a server.
    pub(super) fn over(sink: W, wire: Option<Wire>, entry: Option<Entry>) -> Self {
        let outbox = Outbox::new(sink, wire);
        if let Some(entry) = entry {
            outbox.adopt(entry);
        }
        StreamWriter { outbox }
    }

    /// Sends `bytes`, or keeps what the connection does not take now to be sent in the background. Never waits.
    ///
    /// # Errors
    ///
    /// The bytes are refused after [`close`](StreamWriter::close), after [`write_eof`](StreamWriter::write_eof) and once the connection has
    /// failed. asyncio swallows some of those writes; here each is told. A failure that comes later is told by the next call.
    pub fn write(&self, bytes: &[u8]) -> Result<(), NotWritten> {
        self.outbox.write(bytes)
    }

    /// [`write`](StreamWriter::write) of one piece after the other. They stay together only as far as nobody else writes meanwhile.
    ///
    /// # Errors
    ///
    /// As [`write`](StreamWriter::write); the pieces before the one that was refused were written.
    pub fn writelines<I>(&self, lines: I) -> Result<(), NotWritten>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        lines.into_iter().try_for_each(|line| self.write(line.as_ref()))
    }

    /// Waits while more is kept than the high mark, until no more than the low mark is. Any number of tasks may wait at once; all are woken.
    ///
    /// # Errors
    ///
    /// When the connection has failed, or is closed by now.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn drain(&self) -> Result<(), NotWritten> {
        self.outbox.push();
        self.outbox.drain().await
    }

    /// Writes all of `bytes`, and waits until the connection has taken them, and what was kept before. At most the high mark is kept meanwhile.
    ///
    /// # Errors
    ///
    /// As [`write`](StreamWriter::write), and what the connection fails with meanwhile. A part may have been sent.
    ///
    /// # Cancel safety
    ///
    /// A message is never torn: dropped before the first byte is written, the future has written nothing; dropped later, the rest is kept and
    /// sent in the background, as if by `write`.
    pub async fn write_all(&mut self, bytes: &[u8]) -> Result<(), NotWritten> {
        let mut unwritten = Unwritten { outbox: &self.outbox, rest: bytes, has_begun: false };
        while !unwritten.rest.is_empty() {
            unwritten.outbox.push();
            poll_fn(|cx| unwritten.outbox.poll_drained(cx)).await?;
            let (piece, rest) = unwritten.rest.split_at(self.piece(unwritten.rest.len()));
            // What is refused is not to be written when this is dropped.
            (unwritten.has_begun, unwritten.rest) = (false, rest);
            unwritten.outbox.write(piece)?;
            unwritten.has_begun = true;
        }
        drop(unwritten);
        poll_fn(|cx| self.outbox.poll_flushed(cx)).await
    }

    /// How much of `len` bytes to write between two looks at the marks.
    fn piece(&self, len: usize) -> usize {
        len.min(self.outbox.marks().0.max(1))
    }

    /// Ends the stream: the peer reads to its end, and can still answer. What is kept is sent before. Asking twice is no error.
    ///
    /// # Errors
    ///
    /// After [`close`](StreamWriter::close), or when the connection has failed.
    pub fn write_eof(&self) -> Result<(), NotWritten> {
        self.outbox.write_eof()
    }

    /// Whether [`write_eof`](StreamWriter::write_eof) has something to end: true until the connection closes. The end is what `poll_close` of the
    /// stream makes of it: for a socket half the connection, for TLS its closing message.
    pub fn can_write_eof(&self) -> bool {
        self.outbox.can_end()
    }

    /// Closes the connection: what is kept is sent in the background, then both directions end. A reader of the same socket reads what has
    /// arrived, and then the end. Closing twice is no error. The descriptor itself is free when the reader is dropped too.
    ///
    /// A peer that does not read can keep a closed connection waiting for ever: wait with a
    /// [`timeout`](crate::timeout) on [`wait_closed`](StreamWriter::wait_closed), then [`abort`](StreamWriter::abort).
    pub fn close(&self) {
        self.outbox.close();
    }

    /// Waits until the connection is closed, which it is not for having been waited for: [`close`](StreamWriter::close) first.
    ///
    /// # Errors
    ///
    /// What the connection failed with, when that was not all sent. After [`abort`](StreamWriter::abort) there is no error.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn wait_closed(&self) -> io::Result<()> {
        self.outbox.push();
        self.outbox.wait_closed().await
    }

    /// Closes the connection at once. What is kept is dropped.
    pub fn abort(&self) {
        self.outbox.abort();
    }

    /// Whether the connection is closed, being closed, or has failed.
    pub fn is_closing(&self) -> bool {
        self.outbox.is_closing()
    }

    /// Bytes that are kept.
    pub fn write_buffer_size(&self) -> usize {
        self.outbox.buffered()
    }

    /// The high and the low mark.
    pub fn write_buffer_limits(&self) -> (usize, usize) {
        self.outbox.marks()
    }

    /// Sets the marks: above `high` bytes `drain` waits, at `low` and below it goes on. asyncio's defaults for what is `None`: `low` a quarter of
    /// `high`, `high` four times `low`, and 64 KiB when both are.
    ///
    /// # Errors
    ///
    /// When `high` is below `low`.
    pub fn set_write_buffer_limits(&self, high: Option<usize>, low: Option<usize>) -> Result<(), LimitsReversed> {
        let high = high.unwrap_or_else(|| low.map_or(64 * 1024, |low| low.saturating_mul(4)));
        self.outbox.set_marks(high, low.unwrap_or(high / 4))
    }

    /// Calls `f` with the socket under this writer, for its options. `None` when there is none of this type, or it is closed.
    ///
    /// ```
    /// use eddies::net::TcpStream;
    /// use eddies::streams::{open_connection, start_server};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// eddies::run(async {
    ///     let server = start_server("127.0.0.1:0", async |_, _| {}).await?;
    ///     let (_reader, writer) = open_connection(server.local_addrs()[0]).await?;
    ///     assert!(writer.with_socket(|socket: &TcpStream| socket.nodelay()).unwrap()?);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn with_socket<S: StreamSocket, T>(&self, f: impl FnOnce(&S) -> T) -> Option<T> {
        self.outbox.wire()?.with(f)
    }

    /// The stream, once it has taken everything that was written. It is not closed. A server does not count it any more;
    /// [`upgrade`](super::upgrade) keeps its place.
    ///
    /// # Errors
    ///
    /// When the connection was closed or has failed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the writer, which closes the connection.
    pub async fn into_inner(self) -> io::Result<W> {
        Ok(self.leave().await?.0)
    }

    /// The stream, its socket, and its place among the connections of a server.
    pub(super) async fn leave(self) -> io::Result<(W, Option<Wire>, Option<Entry>)> {
        self.outbox.push();
        let (sink, entry) = poll_fn(|cx| self.outbox.poll_leave(cx)).await?;
        Ok((sink, self.outbox.wire().cloned(), entry))
    }
}

impl<S> StreamWriter<OwnedWriteHalf<S>>
where
    S: StreamSocket,
    OwnedWriteHalf<S>: AsyncWrite,
{
    fn of_socket<T>(&self, f: impl FnOnce(&S) -> io::Result<T>) -> io::Result<T> {
        self.with_socket(f).unwrap_or_else(|| Err(NotWritten::Closed.into()))
    }

    /// The other end's address: asyncio's `get_extra_info('peername')`.
    ///
    /// # Errors
    ///
    /// `NotConnected` once the connection is closed; else the system's.
    pub fn peer_addr(&self) -> io::Result<S::Address> {
        self.of_socket(S::peer_addr)
    }

    /// This end's address: asyncio's `get_extra_info('sockname')`.
    ///
    /// # Errors
    ///
    /// `NotConnected` once the connection is closed; else the system's.
    pub fn local_addr(&self) -> io::Result<S::Address> {
        self.of_socket(S::local_addr)
    }
}

impl<W: AsyncWrite + Unpin + Send + 'static> Drop for StreamWriter<W> {
    fn drop(&mut self) {
        // The stream's own code runs here, maybe in the midst of a panic.
        report::catch(ExceptionKind::Drop, || self.outbox.abandon());
    }
}

impl<W: AsyncWrite + Unpin + Send + 'static> fmt::Debug for StreamWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (high, low) = self.write_buffer_limits();
        f.debug_struct("StreamWriter")
            .field("buffered", &self.write_buffer_size())
            .field("high", &high)
            .field("low", &low)
            .field("is_closing", &self.is_closing())
            .finish()
    }
}

/// What a `write_all` has still to write. Dropped half-way, it leaves that to the outbox.
struct Unwritten<'a, W: AsyncWrite + Unpin + Send + 'static> {
    outbox: &'a Arc<Outbox<W>>,
    rest: &'a [u8],
    has_begun: bool,
}

impl<W: AsyncWrite + Unpin + Send + 'static> Drop for Unwritten<'_, W> {
    fn drop(&mut self) {
        if self.has_begun && !self.rest.is_empty() {
            // Refused, it is not sent, and the writer's owner hears why at the next call.
            let _ = self.outbox.write(self.rest);
        }
    }
}

impl<W: AsyncWrite + Unpin + Send + 'static> AsyncWrite for StreamWriter<W> {
    /// Waits while the writer is paused; then takes as much as the high mark, at most.
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.outbox.push();
        ready!(self.outbox.poll_drained(cx))?;
        let len = self.piece(buf.len());
        self.write(&buf[..len])?;
        Poll::Ready(Ok(len))
    }

    /// Ready when the connection has taken everything.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbox.push();
        self.outbox.poll_flushed(cx).map_err(io::Error::from)
    }

    /// Sends everything, then ends the write direction.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.write_eof() {
            Ok(()) => self.outbox.poll_ended(cx).map_err(io::Error::from),
            // It is closed, or will be, which is what was asked for.
            Err(NotWritten::Closed) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }
}
