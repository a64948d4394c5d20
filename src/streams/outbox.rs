//! [`Outbox`]: the bytes that a writer has taken and the connection has not, and the task that moves them.
//!
//! The writer calls it from any thread, several at once; so does the server that ends its connections. `write` never waits: while nothing is
//! in its way it tries the connection at once, with a waker that wakes nobody; what the connection does not take is kept, and a task is
//! spawned, the *pump*, which polls the connection until nothing is left to do and then ends. So a connection that takes everything has no
//! task here, and a write costs one system call as in asyncio.
//!
//! ```text
//!   write ──► connection takes it all                      close ──► flush, end, sever ──► over
//!        └──► kept: front ─ back ──► pump ──► connection   abort ────────────── sever ──► over
//!                                                          an error ─────────── sever ──► over, lost
//! ```
//!
//! - O1: whoever polls the connection has taken it out of the mutex, with the front of what is kept, and puts both back: no code of the user
//!   runs under the lock, and one polls at a time. It is out for one poll only, and who has put it back looks for work, so who finds it
//!   out may go.
//! - O2: what was written first is sent first: front before back, and nothing is tried past what is kept.
//! - O3: while there is a pump, it alone polls: a poll of another would take its waker's place in the connection, and the pump never finds the
//!   connection out. A poll without a pump that is Pending starts one, when the connection is back (outside a runtime, where none can be, the next call tries again).
//! - O4: once over, the connection is gone (or goes when it is put back), nobody waits, and nothing is kept.
//! - O5: bytes are lost in silence only by `abort`. Any other loss is told by the next call of the writer, or, when there is no writer any more,
//!   to the exception handler.
//!
//! Rejected: a task for each writer for as long as it lives, which every write has to wake. A waker of our own that polls the connection where it
//! is woken: that may be in the midst of anything, under the lock of a TLS stream for example.

mod pump;
mod until;

use std::any::Any;
use std::io;
use std::marker::PhantomData;
use std::task::{Context, Poll, Waker, ready};

use self::pump::{PumpFuture, Taken, Work};
use self::until::{UntilDrained, UntilOver};
use super::clients::{Client, Entry};
use super::stream_errors::{LimitsReversed, NotWritten, SharedError};
use crate::error::NoRuntime;
use crate::io::AsyncWrite;
use crate::loom::{Arc, Mutex, Weak};
use crate::net::StreamSocket;
use crate::report::{self, Exception, ExceptionKind};
use crate::sync::wait_list::{Wait, WaitList, Wakes};

/// High and low mark of a new writer.
const MARKS: Marks = Marks { high: 64 * 1024, low: 16 * 1024 };

/// A buffer with nothing in it gives its memory back when it is larger.
const KEPT_MAX: usize = 64 * 1024;

/// The socket under a connection, which outlives what is wrapped around it.
#[derive(Clone)]
pub(super) struct Wire {
    /// Weak, so that the two halves hold the only shares (N3 in `net/halves.rs`).
    socket: Weak<dyn Any + Send + Sync>,
    /// Ends both directions of it.
    sever: fn(&(dyn Any + Send + Sync)),
}

impl Wire {
    pub(super) fn of<S: StreamSocket>(socket: &Arc<S>) -> Wire {
        let socket: Arc<dyn Any + Send + Sync> = socket.clone();
        let sever = |socket: &(dyn Any + Send + Sync)| {
            if let Some(socket) = socket.downcast_ref::<S>() {
                // A connection that is gone already cannot be ended, and need not be.
                let _ = socket.shutdown(std::net::Shutdown::Both);
            }
        };
        Wire { socket: Arc::downgrade(&socket), sever }
    }

    pub(super) fn with<S: StreamSocket, T>(&self, f: impl FnOnce(&S) -> T) -> Option<T> {
        let socket = self.socket.upgrade()?.downcast::<S>().ok()?;
        Some(f(&socket))
    }

    fn sever(&self) {
        if let Some(socket) = self.socket.upgrade() {
            (self.sever)(&*socket);
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Marks {
    /// More than so many bytes pause the writer.
    high: usize,
    /// So few resume it.
    low: usize,
}

/// How far the end of the stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    No,
    /// To be sent after what is kept.
    Asked,
    Sent,
}

/// The task that sends, seen from here.
#[derive(Debug, Default)]
struct Pump {
    /// Put in at its polls.
    waker: Option<Waker>,
}

/// See the top of the file. Any thread.
pub(super) struct Outbox<W> {
    state: Mutex<OutboxState<W>>,
    /// The socket, where there is one. Never changes.
    wire: Option<Wire>,
}

struct OutboxState<W> {
    /// The connection: out while somebody polls it, gone when it is over.
    sink: Option<W>,
    /// What is kept, in two pieces (O2): `front[sent..]`, which is out together with the connection, and `back`.
    front: Vec<u8>,
    sent: usize,
    back: Vec<u8>,
    /// The bytes in both, those that are out included.
    buffered: usize,
    /// Whether something was written that the connection may hold in a buffer of its own.
    is_unflushed: bool,
    ending: Ending,
    is_closing: bool,
    is_over: bool,
    /// Whether something was kept when it was over: it will never be sent.
    is_cut: bool,
    /// What it was over with, if that was an error; and how many bytes that cost.
    lost: Option<SharedError>,
    lost_bytes: usize,
    /// Whether a call has answered with the error.
    is_told: bool,
    /// Whether the writer was dropped.
    is_orphan: bool,
    marks: Marks,
    is_paused: bool,
    pump: Option<Pump>,
    /// Who waits in `drain`, and in `wait_closed`.
    drains: WaitList<()>,
    closes: WaitList<()>,
    /// The one task in the `poll_` methods.
    poller: Option<Waker>,
    /// The place among the connections of a server.
    entry: Option<Entry>,
}

/// What is to be done when the lock is free again.
#[must_use]
struct Aftermath<W> {
    is_severed: bool,
    sink: Option<W>,
    entry: Option<Entry>,
    wakes: Wakes,
    report: Option<Exception>,
    starts_pump: bool,
}

impl<W> Aftermath<W> {
    fn new() -> Self {
        let (sink, entry, wakes) = (None, None, Wakes::new());
        Aftermath { is_severed: false, sink, entry, wakes, report: None, starts_pump: false }
    }

    fn wake(&mut self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            self.wakes.add(waker);
        }
    }
}

impl<W> OutboxState<W> {
    /// Why nothing can be written, if so.
    fn refusal(&mut self) -> Option<NotWritten> {
        if let Some(error) = self.told() {
            return Some(NotWritten::Lost(error));
        }
        if self.is_closing || self.is_over {
            return Some(NotWritten::Closed);
        }
        (self.ending != Ending::No).then_some(NotWritten::AfterEof)
    }

    /// The error, for somebody who will hear of it.
    fn told(&mut self) -> Option<io::Error> {
        let error = self.lost.as_ref()?.again();
        self.is_told = true;
        Some(error)
    }

    /// Whether everything that was written is with the connection, and flushed.
    fn is_flushed(&self) -> bool {
        self.buffered == 0 && !self.is_unflushed
    }

    fn has_work(&self) -> bool {
        !self.is_over && (!self.is_flushed() || self.is_closing || self.ending == Ending::Asked)
    }

    /// After any change of what is kept, of the marks or of the phase: pauses or resumes, and tells who waits for it.
    fn settle(&mut self, after: &mut Aftermath<W>) {
        if self.buffered > self.marks.high {
            self.is_paused = true;
        } else if self.buffered <= self.marks.low {
            self.is_paused = false;
        }
        if self.is_over || !self.is_paused {
            self.drains.grant_all(&mut after.wakes, || ());
        }
        if self.is_over {
            self.closes.grant_all(&mut after.wakes, || ());
        }
        if self.is_over || !self.is_paused || self.is_flushed() {
            after.wake(self.poller.take());
        }
    }

    /// It is over (O4). `error`: not as it was meant to.
    fn end(&mut self, error: Option<io::Error>, after: &mut Aftermath<W>) {
        if self.is_over {
            return;
        }
        self.is_over = true;
        self.is_cut = !self.is_flushed();
        if let Some(error) = error {
            self.lost_bytes = self.buffered;
            self.lost = Some(SharedError::new(error));
        }
        (self.front, self.sent, self.back) = (Vec::new(), 0, Vec::new());
        (self.buffered, self.is_unflushed) = (0, false);
        after.is_severed = true;
        after.sink = self.sink.take();
        after.entry = self.entry.take();
        after.report = if self.is_orphan { self.loss() } else { None };
        // What the pump waits for may be gone with the connection.
        after.wake(self.pump.as_mut().and_then(|pump| pump.waker.take()));
        self.settle(after);
    }

    /// The warning that nobody else gives (O5).
    fn loss(&mut self) -> Option<Exception> {
        let error = self.lost.as_ref().filter(|_| self.lost_bytes > 0 && !self.is_told)?;
        let text = format!("{} bytes that were written were not sent: {error}", self.lost_bytes);
        self.is_told = true;
        Some(Exception::new(ExceptionKind::Connection, text))
    }
}

/// Who asks for the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    /// A call of the writer: it goes if it cannot have it.
    Passer,
    Pump,
}

impl<W: AsyncWrite + Unpin + Send + 'static> Outbox<W> {
    pub(super) fn new(sink: W, wire: Option<Wire>) -> Arc<Outbox<W>> {
        let state = OutboxState {
            sink: Some(sink),
            front: Vec::new(),
            sent: 0,
            back: Vec::new(),
            buffered: 0,
            is_unflushed: false,
            ending: Ending::No,
            is_closing: false,
            is_over: false,
            is_cut: false,
            lost: None,
            lost_bytes: 0,
            is_told: false,
            is_orphan: false,
            marks: MARKS,
            is_paused: false,
            pump: None,
            drains: WaitList::new(),
            closes: WaitList::new(),
            poller: None,
            entry: None,
        };
        Arc::new(Outbox { state: Mutex::new(state), wire })
    }

    /// Makes this the connection of `entry`, until it is over.
    pub(super) fn adopt(self: &Arc<Self>, entry: Entry) {
        let client: Arc<dyn Client> = self.clone();
        let asked = entry.attach(&client);
        self.change(|state, after| {
            let place = if state.is_over { &mut after.entry } else { &mut state.entry };
            *place = Some(entry);
        });
        if let Some(ask) = asked {
            client.ask(ask);
        }
    }

    /// Sends or keeps `bytes`.
    pub(super) fn write(self: &Arc<Self>, bytes: &[u8]) -> Result<(), NotWritten> {
        let mut state = self.state.lock();
        if let Some(refusal) = state.refusal() {
            return Err(refusal);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let is_free = state.pump.is_none() && state.buffered == 0;
        if let Some(sink) = if is_free { state.sink.take() } else { None } {
            drop(state);
            let front = Vec::new();
            Taken { outbox: self, sink: Some(sink), front, sent: 0, work: Work::Send, answer: None }.send(bytes);
        } else {
            state.back.extend_from_slice(bytes);
            state.buffered += bytes.len();
            let mut after = Aftermath::new();
            state.settle(&mut after);
            drop(state);
            self.finish(after);
        }
        self.push();
        let lost = self.state.lock().told();
        lost.map_or(Ok(()), |error| Err(NotWritten::Lost(error)))
    }

    /// Does what can be done without waiting, and leaves the rest to the pump.
    pub(super) fn push(self: &Arc<Self>) {
        let cx = &mut Context::from_waker(Waker::noop());
        while let Some(taken) = self.take_out(Asker::Passer) {
            if taken.poll(cx) {
                return;
            }
        }
    }

    /// The connection, if there is something to poll it for, and `asker` may.
    fn take_out(self: &Arc<Self>, asker: Asker) -> Option<Taken<'_, W>> {
        let mut state = self.state.lock();
        if asker == Asker::Passer && state.pump.is_some() || !state.has_work() {
            return None;
        }
        let work = if state.buffered > 0 {
            Work::Send
        } else if state.is_unflushed {
            Work::Flush
        } else if state.ending != Ending::Sent {
            Work::End
        } else if state.sink.is_some() {
            // Closing, and there is nothing left to do.
            let mut after = Aftermath::new();
            state.end(None, &mut after);
            drop(state);
            self.finish(after);
            return None;
        } else {
            Work::End
        };
        let sink = state.sink.take()?;
        if state.sent == state.front.len() {
            state.front.clear();
            if state.front.capacity() > KEPT_MAX {
                state.front = Vec::new();
            }
            state.sent = 0;
            let OutboxState { front, back, .. } = &mut *state;
            std::mem::swap(front, back);
        }
        let (front, sent) = (std::mem::take(&mut state.front), state.sent);
        Some(Taken { outbox: self, sink: Some(sink), front, sent, work, answer: None })
    }

    /// Not under the lock.
    fn finish(self: &Arc<Self>, after: Aftermath<W>) {
        let Aftermath { is_severed, sink, entry, wakes, report, starts_pump } = after;
        // First, since what follows calls code of the user, which may panic.
        if starts_pump {
            let pump = PumpFuture { outbox: self.clone(), is_done: false };
            drop(crate::TaskBuilder::new().name("stream writer").spawn(pump));
        }
        if let (true, Some(wire)) = (is_severed, &self.wire) {
            wire.sever();
        }
        drop(sink);
        drop(entry);
        wakes.wake();
        if let Some(exception) = report {
            report::report(&exception);
        }
    }

    /// Changes something, and does what follows from it.
    fn change(self: &Arc<Self>, change: impl FnOnce(&mut OutboxState<W>, &mut Aftermath<W>)) {
        let mut after = Aftermath::new();
        let mut state = self.state.lock();
        change(&mut state, &mut after);
        state.settle(&mut after);
        drop(state);
        self.finish(after);
        self.push();
    }

    pub(super) fn write_eof(self: &Arc<Self>) -> Result<(), NotWritten> {
        let mut refusal = None;
        self.change(|state, _| {
            refusal = state.refusal().filter(|refusal| !matches!(refusal, NotWritten::AfterEof));
            if refusal.is_none() && state.ending == Ending::No {
                state.ending = Ending::Asked;
            }
        });
        refusal.map_or(Ok(()), Err)
    }

    pub(super) fn close(self: &Arc<Self>) {
        self.change(|state, _| state.is_closing = true);
    }

    /// What is kept is dropped.
    pub(super) fn abort(self: &Arc<Self>) {
        self.change(|state, after| {
            state.is_closing = true;
            state.end(None, after);
        });
    }

    /// The writer was dropped.
    pub(super) fn abandon(self: &Arc<Self>) {
        self.change(|state, after| {
            state.is_orphan = true;
            state.is_closing = true;
            if state.is_over {
                after.report = state.loss();
            }
        });
    }

    pub(super) fn set_marks(self: &Arc<Self>, high: usize, low: usize) -> Result<(), LimitsReversed> {
        if high < low {
            return Err(LimitsReversed { high, low });
        }
        self.change(|state, _| state.marks = Marks { high, low });
        Ok(())
    }

    pub(super) fn marks(&self) -> (usize, usize) {
        let Marks { high, low } = self.state.lock().marks;
        (high, low)
    }

    pub(super) fn buffered(&self) -> usize {
        self.state.lock().buffered
    }

    pub(super) fn is_closing(&self) -> bool {
        let state = self.state.lock();
        state.is_closing || state.is_over
    }

    pub(super) fn can_end(&self) -> bool {
        let state = self.state.lock();
        !state.is_closing && !state.is_over
    }

    pub(super) fn wire(&self) -> Option<&Wire> {
        self.wire.as_ref()
    }

    pub(super) async fn drain(&self) -> Result<(), NotWritten> {
        Wait::new(&self.state, UntilDrained(PhantomData)).await
    }

    pub(super) async fn wait_closed(&self) -> io::Result<()> {
        Wait::new(&self.state, UntilOver(PhantomData)).await
    }

    /// Ready when `is_ready`, or when the writer refuses to be written to. One task at a time.
    fn poll_until<T>(
        &self,
        cx: &mut Context<'_>,
        mut is_ready: impl FnMut(&mut OutboxState<W>) -> Option<T>,
    ) -> Poll<Result<T, NotWritten>> {
        let unit = ready!(crate::coop::poll_proceed(cx));
        let mut state = self.state.lock();
        let answer = match is_ready(&mut state) {
            Some(value) => Ok(value),
            None => match state.refusal() {
                // What is on its way still arrives.
                Some(refusal) if state.is_over => Err(refusal),
                _ => {
                    let before = state.poller.replace(cx.waker().clone());
                    drop(state);
                    drop(before);
                    return Poll::Pending;
                }
            },
        };
        drop(state);
        unit.made_progress();
        Poll::Ready(answer)
    }

    /// Ready when the writer is not paused.
    pub(super) fn poll_drained(&self, cx: &mut Context<'_>) -> Poll<Result<(), NotWritten>> {
        self.poll_until(cx, |state| (!state.is_paused && !state.is_over).then_some(()))
    }

    /// Ready when everything written is with the connection.
    pub(super) fn poll_flushed(&self, cx: &mut Context<'_>) -> Poll<Result<(), NotWritten>> {
        self.poll_until(cx, |state| (state.is_flushed() && !state.is_cut).then_some(()))
    }

    /// Ready when the end of the stream was sent.
    pub(super) fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<Result<(), NotWritten>> {
        self.poll_until(cx, |state| (state.ending == Ending::Sent && state.lost.is_none()).then_some(()))
    }

    /// The connection, once everything written is with it. It is over with this outbox, but not severed.
    pub(super) fn poll_leave(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<Result<(W, Option<Entry>), NotWritten>> {
        let taken = ready!(self.poll_until(cx, |state| {
            if state.is_closing || !state.is_flushed() {
                return None;
            }
            let sink = state.sink.take()?;
            (state.is_over, state.is_closing) = (true, true);
            Some((sink, state.entry.take()))
        }));
        Poll::Ready(taken)
    }
}

/// A loss that is found when the last reference goes: the data were written outside of every runtime, and nobody flushed them (O5).
impl<W> Drop for Outbox<W> {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        if state.buffered > 0 && !state.is_over {
            let mut after = Aftermath::new();
            state.end(Some(io::Error::other(NoRuntime::new("sending what was written"))), &mut after);
            let report = state.loss();
            drop(state);
            if let Some(exception) = report {
                report::report(&exception);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::FutureExt;
    use std::pin::Pin;

    /// A sink that never takes anything.
    struct Blocked;

    impl AsyncWrite for Blocked {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    /// Nothing in the connection would wake it: the abort does.
    #[test]
    fn the_pump_ends_with_the_connection() {
        crate::run(async {
            let outbox = Outbox::new(Blocked, None);
            outbox.write(b"x").unwrap();
            while outbox.state.lock().pump.as_ref().is_some_and(|pump| pump.waker.is_none()) {
                crate::yield_now().await;
            }
            assert_eq!(Arc::strong_count(&outbox), 2, "ours and the pump's");
            outbox.abort();
            while Arc::strong_count(&outbox) > 1 {
                crate::yield_now().await;
            }
            assert!(outbox.wait_closed().now_or_never().is_some());
        });
    }
}
