// What the attributes call, as small as can be: the programs beside this file show that `crate = ".."` is respected, and
// compile without the runtime.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

pub struct Runtime;

impl Runtime {
    pub fn builder() -> Builder {
        Builder { workers: None, virtual_time: false }
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
    virtual_time: bool,
}

impl Builder {
    pub fn workers(self, workers: usize) -> Self {
        Builder { workers: Some(workers), ..self }
    }

    pub fn virtual_time(self, virtual_time: bool) -> Self {
        Builder { virtual_time, ..self }
    }

    pub fn build(self) -> std::io::Result<Runtime> {
        match self.workers {
            Some(workers) if self.virtual_time => {
                assert_eq!(workers, 1);
                Ok(Runtime)
            }
            Some(13) => Err(std::io::Error::other("thirteen is refused")),
            _ => Ok(Runtime),
        }
    }
}
