//! [`StreamReader`]: asyncio's reader over anything that is `AsyncRead`.
//!
//! One task at a time, through `&mut`. It reads from the stream when somebody asks and what is buffered does not suffice, never ahead by
//! itself: that is the back-pressure. What came stays in the buffer until an answer is complete.
//!
//! - E1: bytes leave the buffer in the same step in which they are answered with, so a dropped future loses none.
//! - E2: after each read at most twice the limit lies in the buffer (or the limit and a separator, where that is more), but for what
//!   `readexactly` and `read_all` were asked for.
//! - E3: `bytes` is initialised over its whole length; what is buffered is `bytes[start..end]`.
//!
//! Rejected: `BufReader` of futures-util underneath: its buffer has a fixed size, and a line that does not fit leaves it before it is complete,
//! so that a `read_line` that is dropped loses the piece.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::DEFAULT_LIMIT;
use super::search::{Found, Search};
use super::stream_errors::{IncompleteRead, LimitOverrun, ReadError, SharedError};
use crate::error::NoRuntime;
use crate::io::{AsyncBufRead, AsyncRead};
use crate::net::tcp;

/// Bytes asked for with the first read, and the most that one read is given room for.
const ROOM: (usize, usize) = (8 * 1024, 64 * 1024);

/// Reads lines, records and exact numbers of bytes: asyncio's `StreamReader`, over any [`AsyncRead`].
///
/// The *limit* (64 KiB by default) is the longest line that is taken. At most twice as much is read ahead, so a peer that sends faster than
/// it is read from is held up by the connection's own flow control.
///
/// Every method takes the reader by `&mut`: what asyncio finds when it runs, "another coroutine is already waiting", does not compile.
///
/// ```compile_fail,E0499
/// # async fn two(mut reader: eddies::streams::StreamReader) {
/// let (a, b) = (reader.readline(), reader.readline());
/// eddies::future::gather([a, b]).await;
/// # }
/// ```
///
/// It is an [`AsyncRead`] and [`AsyncBufRead`] itself, so all of `futures_util::io` works on it (`copy`, `AsyncReadExt::read_exact`, ...). Its own
/// [`read`](StreamReader::read) hides that of `AsyncReadExt`; write `AsyncReadExt::read(&mut reader, buffer)` for the other.
///
/// # Errors
///
/// An error of the stream is kept: what was buffered before can still be read, then every read answers with the error.
///
/// # Cancel safety
///
/// All methods: a future that is dropped has taken nothing, and what had come is there for the next call.
///
/// ```
/// use eddies::streams::StreamReader;
///
/// # fn main() -> Result<(), eddies::streams::ReadError> {
/// eddies::run(async {
///     let mut reader = StreamReader::new(&b"GET / HTTP/1.0\r\n\r\nbody"[..]);
///     assert_eq!(reader.readline().await?, b"GET / HTTP/1.0\r\n");
///     assert_eq!(reader.readuntil(&["\r\n", "\n"]).await?, b"\r\n");
///     assert_eq!(reader.readexactly(2).await?, b"bo");
///     assert_eq!(reader.read(100).await?, b"dy");
///     assert!(reader.read(100).await?.is_empty() && reader.at_eof());
///     Ok(())
/// })
/// # }
/// ```
#[derive(Debug)]
pub struct StreamReader<R = tcp::OwnedReadHalf> {
    io: R,
    /// See E3. Its length is the room there is.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Room to offer to the next read. Grows while reads fill it.
    room: usize,
    limit: usize,
    /// Whether the stream has answered with its end.
    is_ended: bool,
    /// What the stream failed with.
    lost: Option<SharedError>,
}

impl<R> StreamReader<R> {
    /// A reader with a limit of 64 KiB.
    pub fn new(io: R) -> Self {
        StreamReader::with_limit(io, DEFAULT_LIMIT)
    }

    /// A reader that takes lines of up to `limit` bytes.
    ///
    /// # Panics
    ///
    /// When `limit` is 0.
    #[track_caller]
    pub fn with_limit(io: R, limit: usize) -> Self {
        assert!(limit > 0, "the limit of a reader must not be 0");
        StreamReader { io, bytes: Vec::new(), start: 0, end: 0, room: ROOM.0, limit, is_ended: false, lost: None }
    }

    /// A reader in which `buffered` comes before what `io` has: the opposite of [`into_parts`](StreamReader::into_parts).
    ///
    /// # Panics
    ///
    /// When `limit` is 0.
    #[track_caller]
    pub fn from_parts(io: R, buffered: Vec<u8>, limit: usize) -> Self {
        let mut reader = StreamReader::with_limit(io, limit);
        (reader.end, reader.bytes) = (buffered.len(), buffered);
        reader
    }

    /// The stream, and what was read from it and not from here: to go on in another way, for example with TLS.
    pub fn into_parts(mut self) -> (R, Vec<u8>) {
        let buffered = self.take(self.buffered());
        (self.io, buffered)
    }

    /// The stream. What is buffered here has been read from it.
    pub fn get_ref(&self) -> &R {
        &self.io
    }

    /// The stream. Reading from it passes by what is buffered here.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.io
    }

    /// The longest line that is taken, in bytes, without its end.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes that were read from the stream and not from here.
    pub fn buffered(&self) -> usize {
        self.end - self.start
    }

    /// Whether everything was read: the buffer is empty, and the stream has ended. That it has is known once a read met the end, not before.
    pub fn at_eof(&self) -> bool {
        self.is_ended && self.buffered() == 0
    }

    fn buffer(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Forgets `len` bytes at the front.
    fn skip(&mut self, len: usize) {
        self.start += len;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.bytes.len() > ROOM.1.max(self.most()) {
                self.bytes = Vec::new();
            }
        }
    }

    /// Takes `len` bytes from the front (E1).
    fn take(&mut self, len: usize) -> Vec<u8> {
        if len > ROOM.0 && self.start == 0 && len == self.end {
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.truncate(len);
            self.end = 0;
            return bytes;
        }
        let taken = self.buffer()[..len].to_vec();
        self.skip(len);
        taken
    }

    /// Most bytes in the buffer (E2).
    fn most(&self) -> usize {
        self.limit.saturating_mul(2)
    }
}

impl<R: AsyncRead + Unpin> StreamReader<R> {
    /// Reads once from the stream into the buffer, which then holds at most `most`; it holds less now. 0: the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        if self.is_ended {
            return Poll::Ready(Ok(0));
        }
        if let Some(error) = &self.lost {
            return Poll::Ready(Err(error.again()));
        }
        let wanted = self.room.min(most - self.buffered());
        if self.bytes.len() - self.end < wanted {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            let len = self.bytes.len().max(self.end + wanted);
            self.bytes.resize(len, 0);
        }
        let room = &mut self.bytes[self.end..self.end + wanted];
        let answer = ready!(Pin::new(&mut self.io).poll_read(cx, room));
        let read = self.note(answer)?;
        self.end += read;
        if read == self.room {
            self.room = (read * 2).min(ROOM.1);
        }
        Poll::Ready(Ok(read))
    }

    /// Remembers the end, and an error.
    fn note(&mut self, answer: io::Result<usize>) -> io::Result<usize> {
        match answer {
            Ok(read) => self.is_ended = read == 0,
            // It says something about the caller, not about the stream.
            Err(ref error) if error.get_ref().is_some_and(|inner| inner.is::<NoRuntime>()) => {}
            Err(error) => {
                let error = SharedError::new(error);
                let answer = error.again();
                self.lost = Some(error);
                return Err(answer);
            }
        }
        answer
    }

    /// Reads what is there, at most `n` bytes; waits until something is. Empty at the end of the stream, and when `n` is 0.
    ///
    /// # Errors
    ///
    /// The stream's.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn read(&mut self, n: usize) -> io::Result<Vec<u8>> {
        if n > 0 && self.buffered() == 0 {
            poll_fn(|cx| self.poll_fill(cx, self.most())).await?;
        }
        Ok(self.take(n.min(self.buffered())))
    }

    /// Reads to the end of the stream: asyncio's `read(-1)`. Whatever the peer sends is kept in memory: not for peers that are not trusted.
    ///
    /// # Errors
    ///
    /// The stream's. What had come is left in the buffer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: what had come is in the buffer.
    pub async fn read_all(&mut self) -> io::Result<Vec<u8>> {
        while poll_fn(|cx| self.poll_fill(cx, usize::MAX)).await? > 0 {}
        Ok(self.take(self.buffered()))
    }

    /// Reads exactly `n` bytes, also more than the limit. Memory is used for what has come, not for what is to come, but a peer that chooses `n`
    /// chooses how much that may be.
    ///
    /// # Errors
    ///
    /// [`ReadError::Incomplete`] with the bytes that came, when the stream ends before; else the stream's.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn readexactly(&mut self, n: usize) -> Result<Vec<u8>, ReadError> {
        while self.buffered() < n {
            if poll_fn(|cx| self.poll_fill(cx, n.max(self.most()))).await? == 0 {
                let partial = self.take(self.buffered());
                return Err(ReadError::Incomplete(IncompleteRead { partial, expected: Some(n) }));
            }
        }
        Ok(self.take(n))
    }

    /// Reads a line, with the `\n` at its end. The last line of a stream may be without; an empty answer is the end of the stream.
    ///
    /// # Errors
    ///
    /// [`ReadError::Overrun`] when the line is longer than the limit. Then, so that the next call finds what follows, the line is dropped
    /// from the buffer if all of it is there, and else everything is. [`readuntil`](StreamReader::readuntil) drops nothing.
    /// Else the stream's error.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn readline(&mut self) -> Result<Vec<u8>, ReadError> {
        let mut search = Search::default();
        poll_fn(|cx| self.poll_line(cx, &mut search)).await
    }

    fn poll_line(&mut self, cx: &mut Context<'_>, search: &mut Search) -> Poll<Result<Vec<u8>, ReadError>> {
        let answer = match ready!(self.poll_until(cx, search, &[b"\n"])) {
            Err(ReadError::Incomplete(last)) => Ok(last.partial),
            Err(ReadError::Overrun(overrun)) => {
                let LimitOverrun { consumed, is_found, .. } = overrun;
                self.skip(if is_found { consumed + 1 } else { self.buffered() });
                Err(ReadError::Overrun(overrun))
            }
            other => other,
        };
        Poll::Ready(answer)
    }

    /// Reads up to a separator, and with it. Of several separators the one that ends first in the stream counts, and of two that end at the
    /// same byte the shorter; so `["\n", "\r\n"]` finds each end of a line.
    ///
    /// # Errors
    ///
    /// - [`ReadError::Overrun`] when more than the limit stands before the separator. The buffer is left as it is:
    ///   [`consumed`](LimitOverrun::consumed) tells how much of it is no separator, and can be taken with `readexactly`.
    /// - [`ReadError::Incomplete`] with what came, when the stream ends before a separator.
    /// - [`ReadError::NoSeparator`] when there is none to look for.
    /// - Else the stream's.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn readuntil<S: AsRef<[u8]>>(&mut self, separators: &[S]) -> Result<Vec<u8>, ReadError> {
        if separators.is_empty() || separators.iter().any(|separator| separator.as_ref().is_empty()) {
            return Err(ReadError::NoSeparator);
        }
        let mut search = Search::default();
        poll_fn(|cx| self.poll_until(cx, &mut search, separators)).await
    }

    fn poll_until<S: AsRef<[u8]>>(
        &mut self,
        cx: &mut Context<'_>,
        search: &mut Search,
        separators: &[S],
    ) -> Poll<Result<Vec<u8>, ReadError>> {
        let longest = separators.iter().map(|separator| separator.as_ref().len()).max().unwrap_or(1);
        loop {
            let found = search.advance(self.buffer(), separators, self.limit).map_err(ReadError::Overrun)?;
            if let Some(Found { end, .. }) = found {
                return Poll::Ready(Ok(self.take(end)));
            }
            // Less than `limit + longest` lies in the buffer, or it would be an overrun; so there is room to read into.
            let most = self.most().max(self.limit.saturating_add(longest));
            if ready!(self.poll_fill(cx, most))? == 0 {
                let partial = self.take(self.buffered());
                return Poll::Ready(Err(ReadError::Incomplete(IncompleteRead { partial, expected: None })));
            }
        }
    }

    /// The lines as a stream, each as [`readline`](StreamReader::readline) gives it: asyncio's `async for line in reader`. It ends with the
    /// connection, or after an error of it; a line that is too long is an item of it, and does not end it. (The `lines` of `AsyncBufReadExt` knows no limit.)
    ///
    /// ```
    /// use eddies::streams::StreamReader;
    /// use futures_util::StreamExt;
    ///
    /// eddies::run(async {
    ///     let mut reader = StreamReader::new(&b"one\ntwo\nthree"[..]);
    ///     let lines: Vec<_> = reader.line_stream().map(|line| line.unwrap().len()).collect().await;
    ///     assert_eq!(lines, [4, 4, 5]);
    /// });
    /// ```
    pub fn line_stream(&mut self) -> Lines<'_, R> {
        Lines { reader: self, search: Search::default(), is_over: false }
    }
}

/// The stream of [`StreamReader::line_stream`].
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Lines<'a, R> {
    reader: &'a mut StreamReader<R>,
    /// In the line that is awaited.
    search: Search,
    /// Whether the end or an error of the stream was met.
    is_over: bool,
}

impl<R: AsyncRead + Unpin> Stream for Lines<'_, R> {
    type Item = Result<Vec<u8>, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let me = &mut *self;
        if me.is_over {
            return Poll::Ready(None);
        }
        let line = ready!(me.reader.poll_line(cx, &mut me.search));
        me.search = Search::default();
        me.is_over = match &line {
            Ok(line) => line.is_empty(),
            Err(error) => !matches!(error, ReadError::Overrun(_)),
        };
        let is_end = line.as_ref().is_ok_and(Vec::is_empty);
        Poll::Ready((!is_end).then_some(line))
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for StreamReader<R> {
    /// A read of more than what would be read ahead goes to the stream without a copy.
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let me = &mut *self;
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if me.buffered() == 0 && buf.len() >= me.room && !me.is_ended && me.lost.is_none() {
            let answer = ready!(Pin::new(&mut me.io).poll_read(cx, buf));
            return Poll::Ready(me.note(answer));
        }
        if me.buffered() == 0 {
            ready!(me.poll_fill(cx, me.most()))?;
        }
        let len = buf.len().min(me.buffered());
        buf[..len].copy_from_slice(&me.buffer()[..len]);
        me.skip(len);
        Poll::Ready(Ok(len))
    }
}

impl<R: AsyncRead + Unpin> AsyncBufRead for StreamReader<R> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let me = self.get_mut();
        if me.buffered() == 0 {
            ready!(me.poll_fill(cx, me.most()))?;
        }
        Poll::Ready(Ok(me.buffer()))
    }

    /// # Panics
    ///
    /// When `amount` is more than was given.
    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        assert!(amount <= self.buffered(), "consumed more than `poll_fill_buf` gave");
        self.skip(amount);
    }
}

#[cfg(any(test, fuzzing))]
#[path = "../../fuzz/checks/stream_reader.rs"]
pub(crate) mod fuzz;
