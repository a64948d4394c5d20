//! What several kinds of socket have in common, written once: macros that give a type with a field `source: IoSource<..>` its shared methods.
//!
//! Expanded in the files of the sockets; nothing here runs by itself. Macros, and not a generic `Socket<S>`, because each socket is to have
//! plain methods of its own in the documentation, with an example that names its type, and no type parameter. What has no documentation of
//! its own is shared by ordinary generic code instead ([`connected_source`], [`halves`](super::halves)).
//!
//! `$setup` is the head of the examples: hidden lines that make `a` and `b`, two sockets connected with each other.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::source::{Direction, IoSource};
use crate::io::Interest;

/// The direction in which `try_io` of `interest` waits: reading, unless only writing is asked for.
pub(super) fn direction_of(interest: Interest) -> Direction {
    if interest.is_readable() { Direction::Read } else { Direction::Write }
}

/// A new non-blocking socket that is closed on exec.
pub(super) fn nonblocking_socket(domain: Domain, kind: Type) -> io::Result<Socket> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return Socket::new(domain, kind.nonblocking(), None);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let socket = Socket::new(domain, kind, None)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }
}

/// Connects `socket` to `address`, and waits until that succeeded or failed.
///
/// The kernel reports the end of the attempt as writability, but a spurious event must not pass for a connection: a socket that has no error
/// and no peer is still on its way. The error is asked for first, since a connection that was refused has no peer either.
pub(super) async fn connected_source<S>(socket: Socket, address: &SockAddr) -> io::Result<IoSource<S>>
where
    S: From<Socket> + AsRawFd + AsFd,
{
    let begun = socket.connect(address);
    let source = IoSource::new(S::from(socket));
    match begun {
        Ok(()) => return Ok(source),
        // An interrupted attempt goes on in the background, as one in progress does.
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) || error.kind() == io::ErrorKind::Interrupted => {
        }
        Err(error) => return Err(error),
    }
    source.io(Direction::Write, |io: &S| arrived(&SockRef::from(io))).await?;
    Ok(source)
}

/// `Ok` when the connection stands, `WouldBlock` when it is still being made.
fn arrived(socket: &Socket) -> io::Result<()> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Err(io::ErrorKind::WouldBlock.into()),
        Err(error) => Err(error),
    }
}

/// `accept` repeated over connections that their clients gave up while they waited in the backlog. (Over signals that interrupt it,
/// `IoSource` repeats it.)
pub(super) fn accept_next<T>(mut accept: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match accept() {
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            answer => return answer,
        }
    }
}

/// `shutdown(Write)` for `poll_close`: a connection that is gone already is closed, which is what was asked for.
pub(super) fn closed(answer: io::Result<()>) -> io::Result<()> {
    match answer {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        answer => answer,
    }
}

/// Readiness, for every connected kind of socket. To be used inside an inherent `impl`.
macro_rules! readiness_methods {
    ($setup:literal, $try_read:literal, $try_write:literal) => {
        /// Waits until the socket is ready for any direction of `interest`, and says which.
        ///
        /// Readiness is a hint: another task may have used it up before an operation is tried, which then answers
        /// [`WouldBlock`](std::io::ErrorKind::WouldBlock). Only such an answer, from a `try_*` method of this type, makes the socket
        /// count as not ready again; an operation made behind its back does not (see [`try_io`](Self::try_io)). Any number of tasks may
        /// wait at the same time.
        ///
        /// # Errors
        ///
        /// [`NoRuntime`](crate::NoRuntime) inside the error outside a runtime; the system's when it refuses to watch the socket.
        ///
        /// # Cancel safety
        ///
        /// Dropping the future loses nothing: the readiness stays until an operation uses it up.
        ///
        /// ```
        /// # fn main() -> std::io::Result<()> { eddies::run(async {
        /// use eddies::io::Interest;
        #[doc = $setup]
        #[doc = $try_write]
        /// let ready = b.ready(Interest::READABLE).await?;
        /// assert!(ready.is_readable());
        /// # Ok(()) }) }
        /// ```
        pub async fn ready(&self, interest: $crate::io::Interest) -> std::io::Result<$crate::io::Ready> {
            self.source.ready(interest).await
        }

        /// Waits until there is something to read, or the peer has ended its side.
        ///
        /// # Errors
        ///
        /// As [`ready`](Self::ready).
        ///
        /// # Cancel safety
        ///
        /// Dropping the future loses nothing.
        ///
        /// ```
        /// # fn main() -> std::io::Result<()> { eddies::run(async {
        #[doc = $setup]
        #[doc = $try_write]
        /// let mut buffer = [0; 8];
        /// let read = loop {
        ///     b.readable().await?;
        #[doc = $try_read]
        ///         Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
        ///         answer => break answer?,
        ///     }
        /// };
        /// assert_eq!(&buffer[..read], b"hello");
        /// # Ok(()) }) }
        /// ```
        pub async fn readable(&self) -> std::io::Result<()> {
            self.source.ready($crate::io::Interest::READABLE).await.map(drop)
        }

        /// Waits until something can be written, or nothing ever can again.
        ///
        /// # Errors
        ///
        /// As [`ready`](Self::ready).
        ///
        /// # Cancel safety
        ///
        /// Dropping the future loses nothing.
        pub async fn writable(&self) -> std::io::Result<()> {
            self.source.ready($crate::io::Interest::WRITABLE).await.map(drop)
        }

        /// One try of `op`, an operation on this socket that is not among its methods (through
        /// [`AsFd`](std::os::fd::AsFd)), without waiting.
        ///
        /// When `op` answers [`WouldBlock`](std::io::ErrorKind::WouldBlock), the socket counts as not ready for `interest` until the
        /// system reports it anew. `op` must therefore answer so only when the socket itself did. An interest in both directions counts
        /// as one in reading.
        ///
        /// # Errors
        ///
        /// What `op` answers; `WouldBlock`, without calling it, when the socket is known not to be ready.
        pub fn try_io<R>(
            &self,
            interest: $crate::io::Interest,
            op: impl FnOnce() -> std::io::Result<R>,
        ) -> std::io::Result<R> {
            self.source.try_io($crate::net::methods::direction_of(interest), |_| op())
        }

        /// Repeats `op`, an operation on this socket that is not among its methods, until it answers something else than
        /// [`WouldBlock`](std::io::ErrorKind::WouldBlock), and waits for readiness between. See [`try_io`](Self::try_io).
        ///
        /// # Errors
        ///
        /// What `op` answers; those of [`ready`](Self::ready).
        ///
        /// # Cancel safety
        ///
        /// The future is dropped before or after a call of `op`, never amidst: an `op` that does all its work in one call loses nothing.
        pub async fn async_io<R>(
            &self,
            interest: $crate::io::Interest,
            mut op: impl FnMut() -> std::io::Result<R>,
        ) -> std::io::Result<R> {
            self.source.io($crate::net::methods::direction_of(interest), |_| op()).await
        }

        /// The socket's pending error, which this takes away (`SO_ERROR`).
        ///
        /// # Errors
        ///
        /// The system's, when it cannot say.
        pub fn take_error(&self) -> std::io::Result<Option<std::io::Error>> {
            socket2::SockRef::from(self.source.get_ref()).take_error()
        }
    };
}
pub(super) use readiness_methods;

/// Conversion from and to the standard library's socket, and its file descriptor. `$held_from_std` makes what the source holds out of a
/// non-blocking socket.
macro_rules! standard_conversions {
    ($Socket:ident, $Std:ty, from $held_from_std:path) => {
        impl $Socket {
            /// Takes over a socket of the standard library, and makes it non-blocking. Needs no runtime.
            ///
            /// # Errors
            ///
            /// The system's, when it cannot make the socket non-blocking.
            pub fn from_std(socket: $Std) -> std::io::Result<Self> {
                socket.set_nonblocking(true)?;
                Ok(Self { source: $crate::net::source::IoSource::new($held_from_std(socket)) })
            }

            /// Gives the socket back as the standard library's. It is non-blocking still: call `set_nonblocking(false)` where blocking is
            /// wanted. No task can wait for it any more, since this takes the only owner.
            ///
            /// # Errors
            ///
            /// None now; the `Result` leaves room for systems that have to be asked.
            pub fn into_std(self) -> std::io::Result<$Std> {
                Ok(self.source.into_inner().into())
            }
        }

        impl TryFrom<$Std> for $Socket {
            type Error = std::io::Error;

            fn try_from(socket: $Std) -> std::io::Result<Self> {
                Self::from_std(socket)
            }
        }

        impl TryFrom<$Socket> for $Std {
            type Error = std::io::Error;

            fn try_from(socket: $Socket) -> std::io::Result<Self> {
                socket.into_std()
            }
        }

        impl std::os::fd::AsFd for $Socket {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.source.get_ref().as_fd()
            }
        }

        impl std::os::fd::AsRawFd for $Socket {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                self.source.get_ref().as_raw_fd()
            }
        }

        impl std::fmt::Debug for $Socket {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($Socket)).field(self.source.get_ref()).finish()
            }
        }
    };
}
pub(super) use standard_conversions;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_passes_over_aborted_connections_and_nothing_else() {
        let mut answers = [Err(libc::ECONNABORTED), Err(libc::ECONNABORTED), Ok(7), Err(libc::EMFILE)].into_iter();
        let mut accept =
            || accept_next(|| answers.next().expect("no call too many").map_err(io::Error::from_raw_os_error));
        assert_eq!(accept().expect("the third answer"), 7);
        assert_eq!(accept().expect_err("the fourth").raw_os_error(), Some(libc::EMFILE));
    }
}
