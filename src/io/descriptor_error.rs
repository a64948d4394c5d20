//! [`DescriptorError`].

use std::error::Error;
use std::fmt;
use std::io;
use std::os::fd::RawFd;

use crate::error::{LoopClosed, NoRuntime};

/// Why a descriptor cannot be waited for. The answer of [`AsyncFd::new`](super::AsyncFd::new) and of [`add_reader`](super::add_reader); as an
/// [`io::Error`], which `?` makes of it, it is found again with `get_ref` and `downcast_ref`.
///
/// ```
/// use eddies::io::{AsyncFd, DescriptorError};
///
/// let (ours, _theirs) = std::os::unix::net::UnixStream::pair()?;
/// let error = AsyncFd::new(ours).unwrap_err();
/// assert!(matches!(error, DescriptorError::NoRuntime(_)));
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum DescriptorError {
    /// The kernel cannot wait for this kind of file: regular files and directories are always ready, and read through `spawn_blocking`.
    NotPollable {
        /// The descriptor.
        fd: RawFd,
    },
    /// Something waits for this descriptor already on the same loop: a socket of this crate, or another [`AsyncFd`](super::AsyncFd).
    AlreadyRegistered {
        /// The descriptor.
        fd: RawFd,
    },
    /// No open file has this number.
    NotOpen {
        /// The descriptor.
        fd: RawFd,
    },
    /// The calling thread is inside no runtime.
    NoRuntime(NoRuntime),
    /// The calling thread does not run an event loop, so it has none that could call back: it is inside no runtime, or one of the blocking pool.
    NoLoop {
        /// What was called.
        operation: &'static str,
    },
    /// The loop is closed.
    LoopClosed(LoopClosed),
    /// Another error of the system, or the runtime has shut down.
    System(io::Error),
}

impl DescriptorError {
    /// Of what the reactor answered when `fd` was to be registered.
    pub(super) fn of_registering(error: io::Error, fd: RawFd) -> DescriptorError {
        match error.raw_os_error() {
            Some(libc::EPERM) => DescriptorError::NotPollable { fd },
            Some(libc::EEXIST) => DescriptorError::AlreadyRegistered { fd },
            Some(libc::EBADF) => DescriptorError::NotOpen { fd },
            _ => match error.downcast::<NoRuntime>() {
                Ok(no_runtime) => DescriptorError::NoRuntime(no_runtime),
                Err(error) => DescriptorError::System(error),
            },
        }
    }

    fn kind(&self) -> io::ErrorKind {
        match self {
            DescriptorError::NotPollable { .. } => io::ErrorKind::Unsupported,
            DescriptorError::AlreadyRegistered { .. } => io::ErrorKind::AlreadyExists,
            DescriptorError::NotOpen { .. } => io::ErrorKind::InvalidInput,
            DescriptorError::System(error) => error.kind(),
            _ => io::ErrorKind::Other,
        }
    }
}

impl fmt::Display for DescriptorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DescriptorError::NotPollable { fd } => write!(
                f,
                "descriptor {fd} cannot be waited for: it is a regular file or a directory, which is always ready; read it through \
                 `spawn_blocking`"
            ),
            DescriptorError::AlreadyRegistered { fd } => write!(
                f,
                "descriptor {fd} is waited for already, by a socket of this runtime or another `AsyncFd`: wait through that one, or duplicate \
                 the descriptor"
            ),
            DescriptorError::NotOpen { fd } => write!(f, "descriptor {fd} is not open"),
            DescriptorError::NoRuntime(error) => error.fmt(f),
            DescriptorError::NoLoop { operation } => write!(
                f,
                "{operation} needs the thread of a running event loop, which is to call back: call it from a task, a callback or the main future"
            ),
            DescriptorError::LoopClosed(error) => error.fmt(f),
            DescriptorError::System(error) => error.fmt(f),
        }
    }
}

impl Error for DescriptorError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            DescriptorError::System(error) => Some(error),
            _ => None,
        }
    }
}

impl From<LoopClosed> for DescriptorError {
    fn from(error: LoopClosed) -> DescriptorError {
        DescriptorError::LoopClosed(error)
    }
}

impl From<DescriptorError> for io::Error {
    fn from(error: DescriptorError) -> io::Error {
        match error {
            DescriptorError::System(error) => error,
            error => io::Error::new(error.kind(), error),
        }
    }
}
