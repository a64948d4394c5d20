//! [`Transport`]: the handle of a connection. Any thread; it locks the link for a moment and never waits.

use std::fmt;
use std::net::SocketAddr;

use super::link::{Closing, Link};
use super::protocol::StreamProtocol;
use super::write_limits::{InvalidLimits, WriteBufferLimits, WriteError};
use crate::loom::Arc;
use crate::net::unix;

/// A connection as its protocol, and everybody whom that gives a clone, sees it: a place to write to that never waits.
///
/// Clones are handles of the same connection. Dropping them changes nothing: the connection lives until it is closed or lost. All methods
/// may be called from any thread, at any time; after the end they do nothing.
///
/// What is written goes to the kernel at once when nothing is buffered; the rest is buffered and sent by the task of the connection. A
/// protocol that is told to [pause](super::Protocol::pause_writing) should write no more until it is told to resume.
///
/// ```
/// use eddies::protocols::{Protocol, connect_accepted_socket};
///
/// struct Quiet;
/// impl Protocol for Quiet {}
///
/// # fn main() -> std::io::Result<()> { eddies::run(async {
/// let (here, there) = eddies::net::UnixStream::pair()?;
/// let transport = connect_accepted_socket(|| Quiet, here).await?;
/// transport.write(b"hello")?;
/// there.readable().await?;
/// let mut buffer = [0; 8];
/// assert_eq!(there.try_read(&mut buffer)?, 5);
/// transport.close();
/// assert!(transport.is_closing());
/// # Ok(()) }) }
/// ```
#[derive(Clone)]
pub struct Transport {
    /// What all handles and the task share.
    link: Arc<Link>,
}

impl Transport {
    pub(super) fn new(link: Link) -> Transport {
        Transport { link: Arc::new(link) }
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Whether the connection ends without sending what it holds.
    pub(super) fn is_fatal(&self) -> bool {
        matches!(self.link.lock().closing, Some(Closing::Now(_)))
    }

    /// Sends all of `data`, now or as soon as there is room; the order of the writes is kept.
    ///
    /// After the end of the connection, or once it is closing, the bytes are dropped, and this is no error, since the protocol may not know yet;
    /// at the fifth such write the runtime's exception handler is told. See [`swallowed_writes`](Transport::swallowed_writes).
    ///
    /// # Errors
    ///
    /// When the caller can know better: after [`write_eof`](Transport::write_eof), during a `sendfile`, on the reading end of a pipe.
    pub fn write(&self, data: &[u8]) -> Result<(), WriteError> {
        self.link.write(&[data])
    }

    /// As one [`write`](Transport::write) of all `pieces`, one after the other.
    ///
    /// # Errors
    ///
    /// As [`write`](Transport::write).
    pub fn writelines<'a>(&self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(), WriteError> {
        let all: Vec<&[u8]> = pieces.into_iter().collect();
        match all.as_slice() {
            [] => Ok(()),
            // One call of the kernel in place of many.
            pieces => self.link.write(&[&pieces.concat()]),
        }
    }

    /// Tells the peer, after all that was written, that nothing more comes; it may still answer. On a pipe this closes.
    ///
    /// Nothing happens when it was called before, or when the transport is closing.
    ///
    /// # Errors
    ///
    /// Under TLS, and on the reading end of a pipe; see [`can_write_eof`](Transport::can_write_eof). During a `sendfile`.
    pub fn write_eof(&self) -> Result<(), WriteError> {
        self.link.write_eof()
    }

    /// Whether one direction can be ended alone: not under TLS, and not after the end.
    pub fn can_write_eof(&self) -> bool {
        self.link.can_write_eof()
    }

    /// Ends the connection once all that was written is sent. Nothing more is read; then comes `connection_lost(None)`.
    pub fn close(&self) {
        self.link.close();
    }

    /// Ends the connection at once: what is buffered is dropped. Then comes `connection_lost(None)`.
    pub fn abort(&self) {
        self.link.abort(None);
    }

    /// Whether the transport is closing or closed.
    pub fn is_closing(&self) -> bool {
        self.link.is_closing()
    }

    /// No more `data_received` until [`resume_reading`](Transport::resume_reading). Called from within a callback, it holds from there on;
    /// called elsewhere, a piece that is being read still comes. Twice is as good as once.
    pub fn pause_reading(&self) {
        self.link.set_reading(false);
    }

    /// Ends a [`pause_reading`](Transport::pause_reading). Twice is as good as once.
    pub fn resume_reading(&self) {
        self.link.set_reading(true);
    }

    /// Whether it is neither paused nor closing.
    pub fn is_reading(&self) -> bool {
        self.link.is_reading()
    }

    /// Puts another protocol, of any kind, in the place of the present one, as soon as that is not being called. The old one is dropped
    /// without a `connection_lost`, the new one gets no `connection_made`.
    ///
    /// ```
    /// use eddies::protocols::{Protocol, connect_accepted_socket};
    ///
    /// struct Quiet;
    /// impl Protocol for Quiet {}
    ///
    /// struct Last(Option<eddies::sync::OneshotSender<&'static str>>);
    /// impl Protocol for Last {
    ///     fn connection_lost(&mut self, _: Option<&std::io::Error>) {
    ///         self.0.take().unwrap().send("the second protocol").unwrap();
    ///     }
    /// }
    ///
    /// # fn main() -> std::io::Result<()> { eddies::run(async {
    /// let (here, _there) = eddies::net::UnixStream::pair()?;
    /// let transport = connect_accepted_socket(|| Quiet, here).await?;
    /// let (sender, who) = eddies::sync::oneshot();
    /// transport.set_protocol(Last(Some(sender)));
    /// transport.close();
    /// assert_eq!(who.await, Ok("the second protocol"));
    /// # Ok(()) }) }
    /// ```
    pub fn set_protocol(&self, protocol: impl Into<StreamProtocol>) {
        self.link.set_protocol(protocol.into());
    }

    /// Sets the marks between which the protocol is asked to pause and to resume. A high mark below what is buffered pauses at once.
    ///
    /// # Errors
    ///
    /// When the low mark would lie above the high one; the marks stay as they are.
    pub fn set_write_buffer_limits(&self, limits: WriteBufferLimits) -> Result<(), InvalidLimits> {
        self.link.set_marks(limits)
    }

    /// The marks, both given.
    pub fn write_buffer_limits(&self) -> WriteBufferLimits {
        let marks = self.link.marks();
        WriteBufferLimits { high: Some(marks.high), low: Some(marks.low) }
    }

    /// How many bytes are written and not sent. Under TLS: as they are sent, encrypted.
    pub fn write_buffer_size(&self) -> usize {
        self.link.buffered()
    }

    /// How many writes were dropped because they came after the end.
    pub fn swallowed_writes(&self) -> u64 {
        self.link.swallowed()
    }

    /// The peer's address, if this is an internet connection. Known also after the end.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.link.ends.peer
    }

    /// This end's address, if this is an internet connection. Known also after the end.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.link.ends.local
    }

    /// The peer's address, if this is a Unix socket.
    pub fn peer_unix_addr(&self) -> Option<&unix::SocketAddr> {
        self.link.ends.peer_unix.as_ref()
    }

    /// This end's address, if this is a Unix socket.
    pub fn local_unix_addr(&self) -> Option<&unix::SocketAddr> {
        self.link.ends.local_unix.as_ref()
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("local_addr", &self.local_addr())
            .field("peer_addr", &self.peer_addr())
            .field("is_closing", &self.is_closing())
            .field("write_buffer_size", &self.write_buffer_size())
            .finish_non_exhaustive()
    }
}
