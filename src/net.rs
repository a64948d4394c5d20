//! Sockets.

pub(crate) mod source;

pub use source::{Interest, Ready};
