// What the attributes call, as small as can be: the programs beside this file show that `crate = ".."` is respected, and
// compile without the runtime.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

pub struct Runtime;

impl Runtime {
    pub fn builder() -> Builder {
        Builder { workers: None }
    }

    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return output;
            }
        }
    }
}

pub struct Builder {
    workers: Option<usize>,
}

impl Builder {
    pub fn workers(self, workers: usize) -> Self {
        Builder { workers: Some(workers) }
    }

    pub fn build(self) -> std::io::Result<Runtime> {
        match self.workers {
            Some(13) => Err(std::io::Error::other("thirteen is refused")),
            _ => Ok(Runtime),
        }
    }
}
