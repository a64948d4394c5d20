//! What reading, writing and connecting may end with, each with what the caller needs to go on.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// The stream ended before what was asked for was complete: asyncio's `IncompleteReadError`.
///
/// ```
/// use eddies::streams::{ReadError, StreamReader};
///
/// eddies::run(async {
///     let mut reader = StreamReader::new(&b"abc"[..]);
///     let Err(ReadError::Incomplete(error)) = reader.readexactly(5).await else { panic!("there are only three") };
///     assert_eq!((error.partial(), error.expected()), (&b"abc"[..], Some(5)));
///     assert_eq!(error.to_string(), "the stream ended after 3 bytes, where 5 were expected");
/// });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncompleteRead {
    pub(super) partial: Vec<u8>,
    pub(super) expected: Option<usize>,
}

impl IncompleteRead {
    /// What came before the end. It has left the reader's buffer.
    pub fn partial(&self) -> &[u8] {
        &self.partial
    }

    /// What came before the end.
    pub fn into_partial(self) -> Vec<u8> {
        self.partial
    }

    /// How many bytes were asked for; `None` where it was a separator.
    pub fn expected(&self) -> Option<usize> {
        self.expected
    }
}

impl fmt::Display for IncompleteRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let came = self.partial.len();
        match self.expected {
            Some(expected) => write!(f, "the stream ended after {came} bytes, where {expected} were expected"),
            None => write!(f, "the stream ended after {came} bytes, without a separator"),
        }
    }
}

impl Error for IncompleteRead {}

/// What stands before the separator is longer than the reader's limit: asyncio's `LimitOverrunError`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitOverrun {
    pub(super) consumed: usize,
    pub(super) limit: usize,
    pub(super) is_found: bool,
}

impl LimitOverrun {
    /// Bytes at the front of the buffer that belong to no separator. After `readuntil`, which leaves the buffer as it is,
    /// [`readexactly`](crate::streams::StreamReader::readexactly) of so many takes them away at once.
    pub fn consumed(&self) -> usize {
        self.consumed
    }

    /// Whether the separator has come, after `consumed` bytes; else it is still to come.
    pub fn is_found(&self) -> bool {
        self.is_found
    }
}

impl fmt::Display for LimitOverrun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LimitOverrun { consumed, limit, is_found } = self;
        if *is_found {
            write!(f, "the separator comes after {consumed} bytes, and the reader's limit is {limit}")
        } else {
            write!(f, "no separator in {consumed} bytes, and the reader's limit is {limit}")
        }
    }
}

impl Error for LimitOverrun {}

/// Why a read gave nothing.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The stream ended too early.
    Incomplete(IncompleteRead),
    /// The line, or the piece before the separator, is longer than the limit.
    Overrun(LimitOverrun),
    /// `readuntil` was given no separator, or one without a byte in it.
    NoSeparator,
    /// The stream failed.
    Io(io::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Incomplete(error) => error.fmt(f),
            ReadError::Overrun(error) => error.fmt(f),
            ReadError::NoSeparator => {
                f.write_str("`readuntil` needs at least one separator, and each needs at least one byte")
            }
            ReadError::Io(error) => error.fmt(f),
        }
    }
}

impl Error for ReadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ReadError::Io(error) => error.source(),
            _ => None,
        }
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        ReadError::Io(error)
    }
}

impl From<ReadError> for io::Error {
    /// `UnexpectedEof`, `InvalidData` or `InvalidInput`, with the [`ReadError`] inside.
    fn from(error: ReadError) -> Self {
        let kind = match error {
            ReadError::Io(error) => return error,
            ReadError::Incomplete(_) => io::ErrorKind::UnexpectedEof,
            ReadError::Overrun(_) => io::ErrorKind::InvalidData,
            ReadError::NoSeparator => io::ErrorKind::InvalidInput,
        };
        io::Error::new(kind, error)
    }
}

/// Why a writer took nothing. The bytes were not written, and none of them will be, except as said at [`Lost`](NotWritten::Lost).
#[derive(Debug)]
#[non_exhaustive]
pub enum NotWritten {
    /// The writer was closed or aborted, by its owner or by the server.
    Closed,
    /// `write_eof` has ended the stream.
    AfterEof,
    /// The connection has failed. Of the bytes of this very call some may have been sent.
    Lost(io::Error),
}

impl fmt::Display for NotWritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotWritten::Closed => f.write_str("the writer is closed"),
            NotWritten::AfterEof => f.write_str("`write_eof` has ended the stream: nothing can be written after it"),
            NotWritten::Lost(error) => write!(f, "the connection is lost: {error}"),
        }
    }
}

impl Error for NotWritten {}

impl From<NotWritten> for io::Error {
    /// `NotConnected` with the [`NotWritten`] inside, `InvalidInput` after the end, or the error that lost the connection.
    fn from(error: NotWritten) -> Self {
        match error {
            NotWritten::Lost(error) => error,
            NotWritten::Closed => io::Error::new(io::ErrorKind::NotConnected, error),
            NotWritten::AfterEof => io::Error::new(io::ErrorKind::InvalidInput, error),
        }
    }
}

/// The marks given to [`set_write_buffer_limits`](crate::streams::StreamWriter::set_write_buffer_limits) are the wrong way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitsReversed {
    pub(super) high: usize,
    pub(super) low: usize,
}

impl fmt::Display for LimitsReversed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the high mark ({}) must not be below the low mark ({})", self.high, self.low)
    }
}

impl Error for LimitsReversed {}

/// No address could be connected to, and they failed in different ways (or
/// [`all_errors`](crate::streams::Connector::all_errors) was asked for). It comes inside an [`io::Error`].
#[derive(Debug)]
pub struct ConnectErrors {
    pub(super) attempts: Vec<(SocketAddr, io::Error)>,
}

impl ConnectErrors {
    /// Each address that was tried, in the order in which they failed, and how it failed.
    pub fn attempts(&self) -> &[(SocketAddr, io::Error)] {
        &self.attempts
    }

    /// The list inside `error`, if that has one.
    pub fn of(error: &io::Error) -> Option<&ConnectErrors> {
        error.get_ref()?.downcast_ref()
    }
}

impl fmt::Display for ConnectErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no address could be connected to: ")?;
        for (at, (address, error)) in self.attempts.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{address}: {error}")?;
        }
        Ok(())
    }
}

impl Error for ConnectErrors {}

/// Why a server does not serve.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotServing {
    /// The server was closed, and a closed one does not open again.
    Closed,
    /// `serve_forever` is being awaited elsewhere.
    AlreadyServing,
    /// Listening failed.
    Io(SharedError),
}

impl fmt::Display for NotServing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotServing::Closed => f.write_str("the server is closed"),
            NotServing::AlreadyServing => f.write_str("`serve_forever` of this server is being awaited already"),
            NotServing::Io(error) => write!(f, "the server cannot listen: {error}"),
        }
    }
}

impl Error for NotServing {}

impl From<NotServing> for io::Error {
    fn from(error: NotServing) -> Self {
        match error {
            NotServing::Io(error) => error.again(),
            other => io::Error::other(other),
        }
    }
}

/// An I/O error that several hear of: [`io::Error`] with a `Clone`.
#[derive(Debug, Clone)]
pub struct SharedError(Arc<io::Error>);

impl SharedError {
    pub(super) fn new(error: io::Error) -> Self {
        SharedError(Arc::new(error))
    }

    /// What kind it is.
    pub fn kind(&self) -> io::ErrorKind {
        self.0.kind()
    }

    /// An error of its own for one more reader.
    pub fn again(&self) -> io::Error {
        match self.0.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(self.0.kind(), self.clone()),
        }
    }
}

impl PartialEq for SharedError {
    /// Whether they are the same occurrence.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SharedError {}

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for SharedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.get_ref().map(|inner| inner as &(dyn Error + 'static))
    }
}
