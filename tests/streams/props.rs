//! Streams that do as they are told, and what several tests need.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};

use eddies::Exception;
use eddies::io::{AsyncRead, AsyncWrite};

/// Gives these pieces, one with each read, then the end. An empty piece is a wait: Pending once.
pub(crate) struct Pieces(VecDeque<Vec<u8>>);

impl Pieces {
    pub(crate) fn of(pieces: &[&str]) -> Pieces {
        Pieces(pieces.iter().map(|piece| piece.as_bytes().to_vec()).collect())
    }

    pub(crate) fn cut(bytes: &[u8], lens: impl IntoIterator<Item = usize>) -> Pieces {
        let (mut pieces, mut rest) = (VecDeque::new(), bytes);
        for len in lens {
            let piece = rest.split_off(..len.min(rest.len())).unwrap();
            pieces.push_back(piece.to_vec());
        }
        pieces.push_back(rest.to_vec());
        Pieces(pieces)
    }
}

impl AsyncRead for Pieces {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let Some(mut piece) = self.0.pop_front() else { return Poll::Ready(Ok(0)) };
        if piece.is_empty() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let len = piece.len().min(buf.len());
        buf[..len].copy_from_slice(&piece[..len]);
        piece.drain(..len);
        if !piece.is_empty() {
            self.0.push_front(piece);
        }
        Poll::Ready(Ok(len))
    }
}

/// A sink that takes as many bytes as it was opened for.
#[derive(Clone, Default)]
pub(crate) struct Valve(Arc<Mutex<ValveState>>);

#[derive(Default)]
struct ValveState {
    open: usize,
    taken: Vec<u8>,
    is_ended: bool,
    is_broken: bool,
    waker: Option<Waker>,
}

impl Valve {
    fn change(&self, change: impl FnOnce(&mut ValveState)) {
        let mut state = self.0.lock().unwrap();
        change(&mut state);
        let waker = state.waker.take();
        drop(state);
        waker.inspect(Waker::wake_by_ref);
    }

    pub(crate) fn open(&self, bytes: usize) {
        self.change(|state| state.open = state.open.saturating_add(bytes));
    }

    pub(crate) fn break_down(&self) {
        self.change(|state| state.is_broken = true);
    }

    pub(crate) fn taken(&self) -> Vec<u8> {
        self.0.lock().unwrap().taken.clone()
    }

    /// How many hold it.
    pub(crate) fn users(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.0.lock().unwrap().is_ended
    }
}

impl AsyncWrite for Valve {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock().unwrap();
        if state.is_broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if state.open == 0 {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let len = buf.len().min(state.open);
        state.open -= len;
        state.taken.extend_from_slice(&buf[..len]);
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().unwrap().is_ended = true;
        Poll::Ready(Ok(()))
    }
}

/// Runs `future` on a runtime of two workers; the answer is its output, and every exception that was reported by the end of the runtime.
pub(crate) fn run_heard<T>(future: impl Future<Output = T>) -> (T, Vec<Exception>) {
    let (tell, hear) = mpsc::channel();
    let runtime = eddies::Runtime::builder()
        .workers(2)
        .exception_handler(move |exception| drop(tell.send(exception.clone())))
        .build()
        .unwrap();
    let output = runtime.block_on(future);
    drop(runtime);
    (output, hear.try_iter().collect())
}

/// Polls once; the future must not be ready.
#[track_caller]
pub(crate) fn assert_waits(future: Pin<&mut impl Future>) {
    assert!(future.poll(&mut Context::from_waker(Waker::noop())).is_pending(), "nothing is there to be ready for");
}

/// Yields until it is so.
pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        eddies::yield_now().await;
    }
}

/// Bytes that tell their place, so that a lost, doubled or misplaced piece shows.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
}
