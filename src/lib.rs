//! `eddies`: an async runtime whose every worker thread is an event loop, and whose loops share their work.

#![cfg_attr(eddies_loom, allow(dead_code, reason = "a model build leaves out the layers that use these"))]

#[cfg(not(unix))]
compile_error!(
    "eddies registers plain file descriptors with mio (`mio::unix::SourceFd`) and so needs a unix system; mio's Windows sources must be \
     registered through their own wrapper types, which is not written yet"
);

pub mod coop;
mod error;
mod loom;
mod queue;

pub use error::{Elapsed, NoRuntime, Overloaded, StillRunning, TaskError};
