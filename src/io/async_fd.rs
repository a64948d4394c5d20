//! [`AsyncFd`]: readiness of any descriptor that the kernel can poll.
//!
//! The door for what this crate has no type for. It is the sockets' [`IoSource`] with one difference: it registers at once, not at the first
//! operation that would block, so that a descriptor which cannot be waited for is refused when it is made, and twice the same one is too.
//! Any thread; any number of tasks wait at a time.
//!
//! The registration belongs to the `AsyncFd`, a place among the waiters to the future: a cancelled operation gives its place back when it is
//! dropped, an `AsyncFd` leaves the kernel's set when it is dropped, both at once and without the loop's help.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::{AsyncRead, AsyncWrite, DescriptorError, Interest, Ready};
use crate::net::source::{Direction, IoSource};

/// A descriptor of any kind, watched by the loop on which it was made.
///
/// It owns the value (`AsyncFd<&T>` and `AsyncFd<BorrowedFd>` work as well), which must keep the same descriptor open for as long as it is
/// in here. Reading and writing is done by the caller, with [`async_io`](AsyncFd::async_io), or through [`AsyncRead`] and [`AsyncWrite`]
/// where `&T` has the standard library's traits.
///
/// ```
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
///
/// use eddies::io::{AsyncFd, Interest};
///
/// # fn main() -> std::io::Result<()> {
/// eddies::run(async {
///     let (ours, mut theirs) = UnixStream::pair()?;
///     let ours = AsyncFd::new(ours)?;
///     let reading = async {
///         let mut bytes = [0; 5];
///         ours.async_io(Interest::READABLE, |mut io| io.read(&mut bytes)).await?;
///         std::io::Result::Ok(bytes)
///     };
///     theirs.write_all(b"hello")?;
///     assert_eq!(&reading.await?, b"hello");
///     Ok(())
/// })
/// # }
/// ```
pub struct AsyncFd<T: AsFd> {
    /// The object, registered.
    source: IoSource<Numbered<T>>,
}

/// What has a descriptor, for an [`IoSource`], which asks for its number.
struct Numbered<T>(T);

impl<T: AsFd> AsRawFd for Numbered<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl<T: AsFd> AsyncFd<T> {
    /// Puts the open file of `io` into non-blocking mode and registers it with the loop of this thread.
    ///
    /// The mode belongs to the open file, not to the number: a duplicate, also one in another process (a terminal that a shell passed on), is
    /// in it too. [`keeping_mode`](AsyncFd::keeping_mode) leaves it as it is.
    ///
    /// # Errors
    ///
    /// [`NotPollable`](DescriptorError::NotPollable) for a regular file (on Linux; kqueue systems take them),
    /// [`AlreadyRegistered`](DescriptorError::AlreadyRegistered) when this loop watches the descriptor already,
    /// [`NoRuntime`](DescriptorError::NoRuntime) outside a runtime; else the system's. The value is dropped then; pass a reference to keep it.
    ///
    /// ```
    /// use eddies::io::{AsyncFd, DescriptorError};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// eddies::run(async {
    ///     let file = std::fs::File::open("Cargo.toml")?;
    /// # #[cfg(target_os = "linux")]
    ///     assert!(matches!(AsyncFd::new(file), Err(DescriptorError::NotPollable { .. })));
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn new(io: T) -> Result<AsyncFd<T>, DescriptorError> {
        let watched = AsyncFd::keeping_mode(io)?;
        let fd = watched.as_fd();
        let mode = fcntl_getfl(fd).map_err(|error| DescriptorError::System(error.into()))?;
        if !mode.contains(OFlags::NONBLOCK) {
            fcntl_setfl(fd, mode | OFlags::NONBLOCK).map_err(|error| DescriptorError::System(error.into()))?;
        }
        Ok(watched)
    }

    /// As [`new`](AsyncFd::new), for a descriptor whose operations must not block already, or are not made through this at all. An operation
    /// that blocks holds up the loop.
    ///
    /// ```
    /// use eddies::io::AsyncFd;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// eddies::run(async {
    ///     let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ///     let watched = AsyncFd::keeping_mode(&ours)?;
    ///     drop(theirs);
    ///     watched.readable().await?; // the end of the stream
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`new`](AsyncFd::new).
    pub fn keeping_mode(io: T) -> Result<AsyncFd<T>, DescriptorError> {
        let source = IoSource::new(Numbered(io));
        let fd = source.get_ref().as_raw_fd();
        match source.register() {
            Ok(()) => Ok(AsyncFd { source }),
            Err(error) => Err(DescriptorError::of_registering(error, fd)),
        }
    }

    /// The value.
    pub fn get_ref(&self) -> &T {
        &self.source.get_ref().0
    }

    /// Deregisters the descriptor and gives the value back, in non-blocking mode still.
    ///
    /// ```
    /// use eddies::io::AsyncFd;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// eddies::run(async {
    ///     let (ours, _theirs) = std::os::unix::net::UnixStream::pair()?;
    ///     let ours = AsyncFd::new(ours)?.into_inner();
    ///     AsyncFd::new(ours)?; // it was free again
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn into_inner(self) -> T {
        self.source.into_inner().0
    }

    /// Waits until the descriptor is ready for any direction of `interest`, and says which.
    ///
    /// Readiness is a hint. Only an operation that answers "would block" through [`try_io`](AsyncFd::try_io) or
    /// [`async_io`](AsyncFd::async_io) makes the descriptor count as not ready again; one made behind its back does not.
    ///
    /// # Errors
    ///
    /// The runtime it was registered with has shut down.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        self.source.ready(interest).await
    }

    /// Waits until there is something to read. See [`ready`](AsyncFd::ready).
    ///
    /// # Errors
    ///
    /// As [`ready`](AsyncFd::ready).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    ///
    /// ```
    /// use std::io::{ErrorKind, Read, Write};
    /// use eddies::io::{AsyncFd, Interest};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// eddies::run(async {
    ///     let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
    ///     let ours = AsyncFd::new(ours)?;
    ///     theirs.write_all(b"!")?;
    ///     let mut byte = [0];
    ///     let count = loop {
    ///         ours.readable().await?;
    ///         match ours.try_io(Interest::READABLE, |mut io| io.read(&mut byte)) {
    ///             Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
    ///             answer => break answer?,
    ///         }
    ///     };
    ///     assert_eq!((count, &byte), (1, b"!"));
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub async fn readable(&self) -> io::Result<()> {
        self.ready(Interest::READABLE).await.map(drop)
    }

    /// Waits until there is room to write. See [`ready`](AsyncFd::ready).
    ///
    /// # Errors
    ///
    /// As [`ready`](AsyncFd::ready).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn writable(&self) -> io::Result<()> {
        self.ready(Interest::WRITABLE).await.map(drop)
    }

    /// Runs `op` once, unless it is known that it would block. `WouldBlock` as its answer makes the descriptor count as not ready.
    ///
    /// With both directions in `interest` the reading one counts.
    ///
    /// # Errors
    ///
    /// What `op` answers; `WouldBlock` also without a call.
    pub fn try_io<R>(&self, interest: Interest, op: impl FnOnce(&T) -> io::Result<R>) -> io::Result<R> {
        self.source.try_io(direction_of(interest), |io| op(&io.0))
    }

    /// Runs `op` as soon as it does not answer `WouldBlock`, as often as that takes.
    ///
    /// With both directions in `interest` the reading one counts. `op` must answer `WouldBlock` only if the descriptor did.
    ///
    /// # Errors
    ///
    /// What `op` answers; or the runtime has shut down.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has done nothing, if `op` has not.
    pub async fn async_io<R>(&self, interest: Interest, mut op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.source.io(direction_of(interest), |io| op(&io.0)).await
    }

    /// [`async_io`](AsyncFd::async_io) for hand-written futures: one task per direction waits, the last that polled.
    ///
    /// # Errors
    ///
    /// As [`async_io`](AsyncFd::async_io).
    pub fn poll_io<R>(
        &self,
        cx: &mut Context<'_>,
        interest: Interest,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.source.poll_io(cx, direction_of(interest), |io| op(&io.0))
    }
}

fn direction_of(interest: Interest) -> Direction {
    if interest.is_readable() { Direction::Read } else { Direction::Write }
}

impl<T: AsFd> AsFd for AsyncFd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}

impl<T: AsFd> AsRawFd for AsyncFd<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for AsyncFd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncFd").field(self.get_ref()).finish()
    }
}

/// One task at a time may wait to read: the last that polled is woken.
impl<T: AsFd + Unpin> AsyncRead for AsyncFd<T>
where
    for<'a> &'a T: Read,
{
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.poll_io(cx, Interest::READABLE, |mut io| io.read(buf))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        self.poll_io(cx, Interest::READABLE, |mut io| io.read_vectored(bufs))
    }
}

/// One task at a time may wait to write: the last that polled is woken. `close` flushes and leaves the descriptor open.
impl<T: AsFd + Unpin> AsyncWrite for AsyncFd<T>
where
    for<'a> &'a T: Write,
{
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_io(cx, Interest::WRITABLE, |mut io| io.write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_io(cx, Interest::WRITABLE, |mut io| io.write_vectored(bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_io(cx, Interest::WRITABLE, |mut io| io.flush())
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
