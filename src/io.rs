//! The I/O traits, and readiness.
//!
//! The traits are those of the futures project, under its names: every stream of this crate implements them, and so does much of what others
//! wrote. This crate has no combinators of its own: `read_exact`, `write_all`, `copy`, `lines`, `BufReader` and the like are in the extension
//! traits and types of `futures-util` (`futures_util::io`, feature `io`) and work on anything here.
//!
//! ```
//! use eddies::net::UnixStream;
//! use futures_util::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
//!
//! # fn main() -> std::io::Result<()> {
//! eddies::run(async {
//!     let (mut a, b) = UnixStream::pair()?;
//!     a.write_all(b"one line\n").await?;
//!     let mut line = String::new();
//!     BufReader::new(b).read_line(&mut line).await?;
//!     assert_eq!(line, "one line\n");
//!     Ok(())
//! })
//! # }
//! ```
//!
//! [`Interest`] and [`Ready`] are the question and the answer of the sockets' `ready` methods, and of [`AsyncFd`], which waits for any descriptor
//! that the kernel can poll: pipes, terminals, timers, inotify, sockets of other crates.
//!
//! [`add_reader`] and [`add_writer`] are the same in asyncio's way: a callback that the running loop calls for as long as a descriptor is ready.

mod async_fd;
mod descriptor_error;
mod watch;

pub use async_fd::AsyncFd;
pub use descriptor_error::DescriptorError;
pub use watch::{add_reader, add_writer, remove_reader, remove_writer};

pub use futures_io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite};

pub use crate::net::source::{Interest, Ready};
