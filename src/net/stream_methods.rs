//! The methods and traits that TCP and Unix streams have in common; see [`methods`](super::methods) for why it is a macro.
//!
//! Every operation runs through the stream's `IoSource`: it is tried at once, and waits only when it would block. The `poll_*` methods keep
//! one waker per direction, that of the last caller; everything `async` has a place of its own.
//!
//! Short transfers: a write that moved less than it was given has filled the socket's buffer, and a short read has emptied it, so that the
//! next try would block and is saved (`IoSource::poll_transfer`). `$short_read_is_last` says whether the latter holds: not for Unix streams,
//! where a read also ends at a message that carries descriptors. It is not said of a vectored call that the system may cut short itself.

use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::task::{Context, Poll};

use socket2::SockRef;

use super::source::{Direction, IoSource};

/// How much a read of `len` bytes counts as wanting, given whether a short one says that nothing is left.
fn wanted(len: usize, short_read_is_last: bool) -> usize {
    if short_read_is_last { len } else { 0 }
}

/// How many buffers one vectored call takes on every system (`_XOPEN_IOV_MAX`); with more, a short transfer may be the fault of that limit.
const BUFFERS_PER_CALL: usize = 16;

/// How much a vectored call of buffers with these lengths wants; 0, which claims nothing, when one call may not take them all.
pub(super) fn total(lens: impl ExactSizeIterator<Item = usize>) -> usize {
    if lens.len() > BUFFERS_PER_CALL { 0 } else { lens.fold(0, usize::saturating_add) }
}

/// A read by `op` into a buffer of `len` bytes.
pub(super) fn poll_read<S>(
    source: &IoSource<S>,
    cx: &mut Context<'_>,
    len: usize,
    short_read_is_last: bool,
    mut op: impl FnMut(&mut &S) -> io::Result<usize>,
) -> Poll<io::Result<usize>>
where
    S: AsRawFd,
    for<'a> &'a S: Read,
{
    source.poll_transfer(cx, Direction::Read, wanted(len, short_read_is_last), |mut io| op(&mut io))
}

/// A write of `len` bytes by `op`.
pub(super) fn poll_write<S>(
    source: &IoSource<S>,
    cx: &mut Context<'_>,
    len: usize,
    mut op: impl FnMut(&mut &S) -> io::Result<usize>,
) -> Poll<io::Result<usize>>
where
    S: AsRawFd,
    for<'a> &'a S: Write,
{
    source.poll_transfer(cx, Direction::Write, len, |mut io| op(&mut io))
}

/// A read into memory that holds nothing yet.
pub(super) fn poll_read_uninit<S>(
    source: &IoSource<S>,
    cx: &mut Context<'_>,
    buf: &mut [MaybeUninit<u8>],
    short_read_is_last: bool,
) -> Poll<io::Result<usize>>
where
    S: AsRawFd + AsFd,
    for<'a> &'a S: Read,
{
    if buf.is_empty() {
        return Poll::Ready(Ok(0));
    }
    poll_read(source, cx, buf.len(), short_read_is_last, |io| SockRef::from(*io).recv(buf))
}

macro_rules! stream_methods {
    ($Stream:ident, $Address:ty, $setup:literal, short_read_is_last: $short_read_is_last:literal) => {
        impl $Stream {
            $crate::net::methods::readiness_methods!(
                $setup,
                "    match b.try_read(&mut buffer) {",
                "a.try_write(b\"hello\")?;"
            );

            /// Ready when a read is worth a try; else the task of `cx`, and only the last one that polled for reading, is woken then.
            ///
            /// # Errors
            ///
            /// As [`ready`](Self::ready).
            pub fn poll_read_ready(&self, cx: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
                self.source.poll_ready(cx, $crate::net::source::Direction::Read)
            }

            /// Ready when a write is worth a try; else the task of `cx`, and only the last one that polled for writing, is woken then.
            ///
            /// # Errors
            ///
            /// As [`ready`](Self::ready).
            pub fn poll_write_ready(&self, cx: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
                self.source.poll_ready(cx, $crate::net::source::Direction::Write)
            }

            /// Reads into memory that need not be initialised: the first `n` bytes are, when the answer is `Ok(n)`. 0 is the end of the
            /// stream, or an empty buffer. For adapters to other runtimes' traits, which bring such buffers.
            ///
            /// # Errors
            ///
            /// The system's; [`NoRuntime`](crate::NoRuntime) inside the error when it has to wait outside a runtime.
            pub fn poll_read_uninit(
                &self,
                cx: &mut std::task::Context<'_>,
                buf: &mut [std::mem::MaybeUninit<u8>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                $crate::net::stream_methods::poll_read_uninit(&self.source, cx, buf, $short_read_is_last)
            }

            /// Reads what is there, without waiting; 0 is the end of the stream (or an empty buffer).
            ///
            /// # Errors
            ///
            /// [`WouldBlock`](std::io::ErrorKind::WouldBlock) when nothing is there; else the system's.
            pub fn try_read(&self, buf: &mut [u8]) -> std::io::Result<usize> {
                self.source.try_io($crate::net::source::Direction::Read, |mut io| std::io::Read::read(&mut io, buf))
            }

            /// Reads what is there into several buffers, one after the other, without waiting; 0 is the end of the stream.
            ///
            /// # Errors
            ///
            /// As [`try_read`](Self::try_read).
            pub fn try_read_vectored(&self, bufs: &mut [std::io::IoSliceMut<'_>]) -> std::io::Result<usize> {
                self.source
                    .try_io($crate::net::source::Direction::Read, |mut io| std::io::Read::read_vectored(&mut io, bufs))
            }

            /// Writes as much as there is room for, without waiting, and says how much that was.
            ///
            /// # Errors
            ///
            /// [`WouldBlock`](std::io::ErrorKind::WouldBlock) when there is no room; else the system's.
            pub fn try_write(&self, buf: &[u8]) -> std::io::Result<usize> {
                self.source.try_io($crate::net::source::Direction::Write, |mut io| std::io::Write::write(&mut io, buf))
            }

            /// Writes from several buffers, one after the other, as much as there is room for, without waiting.
            ///
            /// # Errors
            ///
            /// As [`try_write`](Self::try_write).
            pub fn try_write_vectored(&self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
                self.source.try_io($crate::net::source::Direction::Write, |mut io| {
                    $crate::net::pieces::write_pieces(&mut io, bufs)
                })
            }

            /// This end's address.
            ///
            /// # Errors
            ///
            /// The system's.
            pub fn local_addr(&self) -> std::io::Result<$Address> {
                self.source.get_ref().local_addr()
            }

            /// The other end's address.
            ///
            /// # Errors
            ///
            /// The system's, for example `NotConnected` after the connection broke.
            pub fn peer_addr(&self) -> std::io::Result<$Address> {
                self.source.get_ref().peer_addr()
            }

            /// Ends a direction, or both, at once. After `Shutdown::Write` the peer reads what was written and then the end of the stream,
            /// and can still answer: a half-close. The same as `close()` of `futures::io::AsyncWriteExt`, which is for the write direction.
            ///
            /// # Errors
            ///
            /// `NotConnected` when the connection is gone already; else the system's.
            ///
            /// ```
            /// # fn main() -> std::io::Result<()> { eddies::run(async {
            /// use std::net::Shutdown;
            #[doc = $setup]
            /// a.shutdown(Shutdown::Write)?;
            /// b.readable().await?;
            /// assert_eq!(b.try_read(&mut [0; 8])?, 0, "the end of the stream");
            /// assert_eq!(b.try_write(b"still heard")?, 11);
            /// # Ok(()) }) }
            /// ```
            pub fn shutdown(&self, how: std::net::Shutdown) -> std::io::Result<()> {
                self.source.get_ref().shutdown(how)
            }

            /// A reading and a writing half that borrow the stream, for two futures in one task. Costs nothing.
            ///
            /// With `futures`' `AsyncReadExt` in scope, `stream.split()` means *its* method of that name, which consumes the stream and
            /// puts a lock around it: write the type in front, as below.
            ///
            /// ```
            /// # fn main() -> std::io::Result<()> { eddies::run(async {
            /// use futures_util::io::{AsyncReadExt, AsyncWriteExt};
            #[doc = $setup]
            #[doc = concat!("let (mut a, mut b): (eddies::net::", stringify!($Stream), ", _) = (a, b);")]
            #[doc = concat!("let (mut reader, mut writer) = eddies::net::", stringify!($Stream), "::split(&mut a);")]
            /// writer.write_all(b"ping").await?;
            /// b.write_all(b"pong").await?;
            /// let mut buffer = [0; 4];
            /// reader.read_exact(&mut buffer).await?;
            /// assert_eq!(&buffer, b"pong");
            /// # Ok(()) }) }
            /// ```
            pub fn split(
                &mut self,
            ) -> ($crate::net::halves::ReadHalf<'_, Self>, $crate::net::halves::WriteHalf<'_, Self>) {
                $crate::net::halves::borrowed(self)
            }

            /// A reading and a writing half that may move to different tasks. Costs one allocation. Dropping the writing half ends the write
            /// direction; `reunite` puts them together again.
            ///
            /// ```
            /// # fn main() -> std::io::Result<()> { eddies::run(async {
            /// use futures_util::io::{AsyncReadExt, AsyncWriteExt};
            #[doc = $setup]
            /// let (_reader, mut writer) = a.into_split();
            /// let sender = eddies::spawn(async move { writer.write_all(b"all of it").await });
            /// let mut all = String::new();
            /// let (mut reader, _writer) = b.into_split();
            /// reader.read_to_string(&mut all).await?;
            /// sender.await??;
            /// assert_eq!(all, "all of it");
            /// # Ok(()) }) }
            /// ```
            pub fn into_split(
                self,
            ) -> ($crate::net::halves::OwnedReadHalf<Self>, $crate::net::halves::OwnedWriteHalf<Self>) {
                $crate::net::halves::owned(self)
            }
        }
    };
}
pub(super) use stream_methods;

/// `AsyncRead` and `AsyncWrite` for a stream and for a reference to it, and what its halves need.
macro_rules! stream_traits {
    ($Stream:ident, $Address:ty, short_read_is_last: $short_read_is_last:literal) => {
        /// Several tasks may share a stream by reference, but only one at a time may wait to read and one to write: the last that polled
        /// is woken.
        impl AsyncRead for &$Stream {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
                // The kernel would make an empty read wait for bytes that it does not want.
                if buf.is_empty() {
                    return Poll::Ready(Ok(0));
                }
                stream_methods::poll_read(&self.source, cx, buf.len(), $short_read_is_last, |io| io.read(buf))
            }

            fn poll_read_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                if bufs.iter().all(|buf| buf.is_empty()) {
                    return Poll::Ready(Ok(0));
                }
                let len = stream_methods::total(bufs.iter().map(|buf| buf.len()));
                stream_methods::poll_read(&self.source, cx, len, $short_read_is_last, |io| io.read_vectored(bufs))
            }
        }

        /// Several tasks may share a stream by reference, but only one at a time may wait to read and one to write: the last that polled
        /// is woken. Nothing is buffered, so there is nothing to flush; `close` ends the write direction.
        impl AsyncWrite for &$Stream {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                stream_methods::poll_write(&self.source, cx, buf.len(), |io| io.write(buf))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                let len = stream_methods::total(bufs.iter().map(|buf| buf.len()));
                stream_methods::poll_write(&self.source, cx, len, |io| $crate::net::pieces::write_pieces(io, bufs))
            }

            fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(methods::closed($Stream::shutdown(&self, Shutdown::Write)))
            }
        }

        impl AsyncRead for $Stream {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
                Pin::new(&mut &*self).poll_read(cx, buf)
            }

            fn poll_read_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut &*self).poll_read_vectored(cx, bufs)
            }
        }

        /// Nothing is buffered, so there is nothing to flush; `close` ends the write direction.
        impl AsyncWrite for $Stream {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                Pin::new(&mut &*self).poll_write(cx, buf)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut &*self).poll_write_vectored(cx, bufs)
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut &*self).poll_flush(cx)
            }

            fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut &*self).poll_close(cx)
            }
        }

        impl halves::sealed::Sealed for $Stream {}

        impl StreamSocket for $Stream {
            type Address = $Address;

            fn ready(&self, interest: Interest) -> impl Future<Output = io::Result<Ready>> + Send {
                self.source.ready(interest)
            }

            fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
                $Stream::try_read(self, buf)
            }

            fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                $Stream::try_read_vectored(self, bufs)
            }

            fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
                $Stream::try_write(self, buf)
            }

            fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                $Stream::try_write_vectored(self, bufs)
            }

            fn shutdown(&self, how: Shutdown) -> io::Result<()> {
                $Stream::shutdown(self, how)
            }

            fn local_addr(&self) -> io::Result<$Address> {
                $Stream::local_addr(self)
            }

            fn peer_addr(&self) -> io::Result<$Address> {
                $Stream::peer_addr(self)
            }
        }
    };
}
pub(super) use stream_traits;
