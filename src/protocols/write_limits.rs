//! How much a transport buffers before it asks its protocol to stop, and why it may refuse a write. Plain values, no threads.

use std::error::Error;
use std::fmt;
use std::io;

/// The marks between which a transport asks its protocol to pause and to resume, in bytes; what is left out follows from what is given.
///
/// A transport that buffers *more* than `high` asks for a pause; when no more than `low` are left it asks to resume. Given only one,
/// `low` is a quarter of `high`. Given none, `high` is 64 KiB, or 512 KiB under TLS. Both zero: as little as possible is buffered.
///
/// ```
/// use eddies::protocols::WriteBufferLimits;
///
/// let small = WriteBufferLimits { high: Some(4096), ..WriteBufferLimits::default() };
/// assert_eq!(small.low, None, "that is 1024 then");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteBufferLimits {
    /// Above this the protocol is asked to pause.
    pub high: Option<usize>,
    /// At or below this it is asked to resume.
    pub low: Option<usize>,
}

/// The marks of one transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) low: usize,
    pub(super) high: usize,
}

impl Marks {
    /// Those of a transport that nobody set any for: `high`, and a quarter of it.
    pub(super) const fn below(high: usize) -> Marks {
        Marks { low: high / 4, high }
    }

    /// Those that `limits` ask for; `high` where they ask for none.
    pub(super) fn new(limits: WriteBufferLimits, default_high: usize) -> Result<Marks, InvalidLimits> {
        let high = match limits {
            WriteBufferLimits { high: Some(high), .. } => high,
            WriteBufferLimits { low: Some(low), .. } => low.saturating_mul(4),
            _ => default_high,
        };
        let low = limits.low.unwrap_or(high / 4);
        if low <= high { Ok(Marks { low, high }) } else { Err(InvalidLimits { low, high }) }
    }
}

/// The low mark of a write buffer would lie above the high one.
///
/// ```
/// use eddies::protocols::WriteBufferLimits;
/// # use eddies::protocols::{Protocol, connect_accepted_socket};
/// # struct Quiet;
/// # impl Protocol for Quiet {}
/// # fn main() -> std::io::Result<()> { eddies::run(async {
/// # let (stream, _peer) = eddies::net::UnixStream::pair()?;
/// # let transport = connect_accepted_socket(|| Quiet, stream).await?;
/// let error = transport.set_write_buffer_limits(WriteBufferLimits { low: Some(2), high: Some(1) }).unwrap_err();
/// assert_eq!(error.to_string(), "the low mark of a write buffer, 2 bytes, is above the high mark, 1 bytes");
/// # Ok(()) }) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidLimits {
    low: usize,
    high: usize,
}

impl fmt::Display for InvalidLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the low mark of a write buffer, {} bytes, is above the high mark, {} bytes", self.low, self.high)
    }
}

impl Error for InvalidLimits {}

/// Why a transport takes no bytes from this caller, now or ever. (A transport that is closing or closed takes them and drops them.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteError {
    /// `write_eof` was called before.
    AfterEof,
    /// A `sendfile` is under way, and what is written now would land in the midst of it.
    SendfileInProgress,
    /// The transport is the reading end of a pipe.
    NotWritable,
    /// `write_eof` on a transport that cannot end one direction alone.
    NoHalfClose,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WriteError::AfterEof => "write() after write_eof(): the peer was told that nothing more comes",
            WriteError::SendfileInProgress => "write() while a sendfile is in progress: wait for it first",
            WriteError::NotWritable => "the transport is the reading end of a pipe, which cannot be written to",
            WriteError::NoHalfClose => {
                "the transport cannot end its write direction alone (can_write_eof() is false): close() it"
            }
        })
    }
}

impl Error for WriteError {}

impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidInput, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_follows_from_what_is_given() {
        let marks = |high, low| Marks::new(WriteBufferLimits { high, low }, 65536).map(|marks| (marks.low, marks.high));
        assert_eq!(marks(None, None), Ok((16384, 65536)));
        assert_eq!(marks(Some(1024), None), Ok((256, 1024)));
        assert_eq!(marks(None, Some(128)), Ok((128, 512)));
        assert_eq!(marks(Some(0), None), Ok((0, 0)));
        assert_eq!(marks(None, Some(usize::MAX)), Ok((usize::MAX, usize::MAX)));
        assert_eq!(marks(Some(1), Some(2)), Err(InvalidLimits { low: 2, high: 1 }));
    }
}
