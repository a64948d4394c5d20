//! Polling the connection of an [`Outbox`]: one poll, and the task that repeats it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::{Aftermath, Asker, Ending, Outbox, Pump};
use crate::error::NoRuntime;
use crate::io::AsyncWrite;
use crate::loom::Arc;
use crate::scheduler::current;

/// What the connection is polled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Send,
    Flush,
    End,
}

/// The connection and the front, taken out (O1). Put back when dropped, also when a poll panics.
pub(super) struct Taken<'a, W: AsyncWrite + Unpin + Send + 'static> {
    pub(super) outbox: &'a Arc<Outbox<W>>,
    /// In until the drop.
    pub(super) sink: Option<W>,
    pub(super) front: Vec<u8>,
    pub(super) sent: usize,
    pub(super) work: Work,
    /// What the poll answered; `None` when it did not.
    pub(super) answer: Option<Poll<io::Result<()>>>,
}

impl<W: AsyncWrite + Unpin + Send + 'static> Taken<'_, W> {
    /// Does the work, once; whether that was Pending.
    pub(super) fn poll(mut self, cx: &mut Context<'_>) -> bool {
        let Some(sink) = self.sink.as_mut().map(Pin::new) else { return false };
        let answer = match self.work {
            Work::Send => sink.poll_write(cx, &self.front[self.sent..]).map(|answer| {
                self.sent += written(answer)?;
                Ok(())
            }),
            Work::Flush => sink.poll_flush(cx),
            Work::End => sink.poll_close(cx),
        };
        self.answer(answer)
    }

    /// Sends of `bytes` what the connection takes without waiting; nothing else is kept. The rest is.
    pub(super) fn send(mut self, bytes: &[u8]) {
        let cx = &mut Context::from_waker(Waker::noop());
        let Some(mut sink) = self.sink.as_mut().map(Pin::new) else { return };
        let mut rest = bytes;
        let answer = loop {
            if rest.is_empty() {
                self.work = Work::Flush;
                break sink.as_mut().poll_flush(cx);
            }
            match sink.as_mut().poll_write(cx, rest).map(written) {
                Poll::Ready(Ok(len)) => rest = &rest[len..],
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        (self.front, self.sent) = (rest.to_vec(), 0);
        self.answer(answer);
    }

    fn answer(mut self, answer: Poll<io::Result<()>>) -> bool {
        // To wait, it needs a runtime, and here is none: that says nothing about the connection.
        let needs_runtime = |error: &io::Error| error.get_ref().is_some_and(|inner| inner.is::<NoRuntime>());
        let answer = match answer {
            Poll::Ready(Err(error)) if needs_runtime(&error) => Poll::Pending,
            answer => answer,
        };
        let is_pending = answer.is_pending();
        self.answer = Some(answer);
        is_pending
    }
}

/// An answer of `poll_write`, where 0 bytes are an error.
fn written(answer: io::Result<usize>) -> io::Result<usize> {
    answer.and_then(|len| if len == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(len) })
}

impl<W: AsyncWrite + Unpin + Send + 'static> Drop for Taken<'_, W> {
    fn drop(&mut self) {
        let mut after = Aftermath::new();
        let mut state = self.outbox.state.lock();
        if state.is_over {
            // Ended while it was out.
            after.sink = self.sink.take();
        } else {
            state.sink = self.sink.take();
            if self.sent == self.front.len() {
                self.front.clear();
                self.sent = 0;
            }
            (state.front, state.sent) = (std::mem::take(&mut self.front), self.sent);
            state.buffered = state.front.len() - state.sent + state.back.len();
            state.is_unflushed |= self.work == Work::Send;
            match self.answer.take() {
                None => {
                    state.end(Some(io::Error::other("the code of the connection panicked")), &mut after);
                }
                Some(Poll::Ready(Err(error))) => state.end(Some(error), &mut after),
                Some(Poll::Ready(Ok(()))) if self.work == Work::Flush => state.is_unflushed = false,
                Some(Poll::Ready(Ok(()))) if self.work == Work::End => state.ending = Ending::Sent,
                Some(Poll::Ready(Ok(()))) => {}
                Some(Poll::Pending) if state.pump.is_none() && current::runtime("").is_ok() => {
                    state.pump = Some(Pump::default());
                    after.starts_pump = true;
                }
                Some(Poll::Pending) => {}
            }
            state.settle(&mut after);
        }
        drop(state);
        self.outbox.finish(after);
    }
}

/// The pump's task.
pub(super) struct PumpFuture<W: AsyncWrite + Unpin + Send + 'static> {
    pub(super) outbox: Arc<Outbox<W>>,
    pub(super) is_done: bool,
}

impl<W: AsyncWrite + Unpin + Send + 'static> Future for PumpFuture<W> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            {
                let mut state = self.outbox.state.lock();
                if !state.has_work() {
                    state.pump = None;
                    drop(state);
                    self.is_done = true;
                    return Poll::Ready(());
                }
                state.pump.get_or_insert_default().waker = Some(cx.waker().clone());
            }
            let waits = match self.outbox.take_out(Asker::Pump) {
                Some(taken) => taken.poll(cx),
                // Over by now: the connection is in place for the pump (O3).
                None => false,
            };
            if waits {
                return Poll::Pending;
            }
        }
    }
}

impl<W: AsyncWrite + Unpin + Send + 'static> Drop for PumpFuture<W> {
    /// Aborted, by the end of the runtime for example, or panicked.
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        self.outbox.change(|state, after| {
            state.pump = None;
            let cut = (!state.is_flushed()).then(|| io::Error::other("the task that sends was aborted"));
            state.end(cut, after);
        });
    }
}
