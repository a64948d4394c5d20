//! The connections of one [`serve`](super::serve): how many live, and how all are told to end.
//!
//! The server and each connection are tasks of their own, on any worker. They share one [`Connections`]:
//!
//! ```text
//!   SERVING ──signal──► DRAINING ──idle grace──► CLOSING ──deadline──► ABORTED
//! ```
//!
//! - DRAINING: each response carries `connection: close`. A connection without a request is left open, so that a request that its
//!   client has sent already, and that is still on its way, is answered and not reset.
//! - CLOSING: what is idle is closed; requests in flight go on.
//! - ABORTED: each connection's task drops it.
//!
//! - C1: a connection that lives has an entry, from before its task is spawned until its future is dropped; so `live` is never too small.
//! - C2: a phase is set before the wakers are taken, under the lock under which a waker is put in: a connection sees the new phase, or is
//!   woken.
//!
//! What it deliberately does not do: hold the tasks' handles to abort them. The handles would have to be taken out as connections end, by the
//! server, which would be woken for each.

use std::task::{Context, Poll, Waker};

use slab::Slab;

use crate::loom::atomic::AtomicU8;
use crate::loom::atomic::Ordering::{Acquire, Release};
use crate::loom::{Arc, Mutex};

/// How far the end of a server has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Phase {
    /// Nothing ends.
    Serving,
    /// No new connection; responses say that they are the last of theirs.
    Draining,
    /// Idle connections are closed.
    Closing,
    /// All connections are dropped.
    Aborted,
}

/// What a server and its connections share.
pub(super) struct Connections {
    /// A [`Phase`]. Written by the server, under the lock of `state`; read by the connections.
    phase: AtomicU8,
    /// Who lives and who waits.
    state: Mutex<State>,
}

struct State {
    /// An entry for each connection: the waker of its task, once that was polled. Entries are put in by the server, the rest by the connection.
    wakers: Slab<Option<Waker>>,
    /// Connections that there were. Written by the server.
    accepted: u64,
    /// The server's, while it waits for a connection to end. Put in by the server, taken by the connection.
    server: Option<Waker>,
}

impl Connections {
    pub(super) fn new() -> Arc<Connections> {
        let state = State { wakers: Slab::new(), accepted: 0, server: None };
        Arc::new(Connections { phase: AtomicU8::new(Phase::Serving as u8), state: Mutex::new(state) })
    }

    /// Counts one more. Dropping the answer takes it out again.
    pub(super) fn enter(self: &Arc<Self>) -> Entry {
        let mut state = self.state.lock();
        state.accepted += 1;
        let key = state.wakers.insert(None);
        drop(state);
        Entry { connections: self.clone(), key }
    }

    pub(super) fn phase(&self) -> Phase {
        // Ordering: Acquire pairs with the store in `set_phase`, though nothing but the phase itself is read; the poll that must not miss it is
        // the one after a wake-up or after `Entry::register`, and these order it (C2).
        match self.phase.load(Acquire) {
            0 => Phase::Serving,
            1 => Phase::Draining,
            2 => Phase::Closing,
            _ => Phase::Aborted,
        }
    }

    /// Tells every connection. The answer is how many there are.
    pub(super) fn set_phase(&self, phase: Phase) -> usize {
        let state = self.state.lock();
        // Ordering: Release pairs with the load in `phase`; C2 rests on the lock that is held.
        self.phase.store(phase as u8, Release);
        let live = state.wakers.len();
        let wakers: Vec<Waker> = state.wakers.iter().filter_map(|(_, waker)| waker.clone()).collect();
        drop(state);
        for waker in wakers {
            waker.wake();
        }
        live
    }

    /// Ready when fewer than `limit` live. Only the server polls it.
    pub(super) fn poll_fewer(&self, cx: &Context<'_>, limit: usize) -> Poll<()> {
        let mut state = self.state.lock();
        if state.wakers.len() < limit {
            return Poll::Ready(());
        }
        let before = state.server.replace(cx.waker().clone());
        drop(state);
        drop(before);
        Poll::Pending
    }

    /// Connections that there were.
    pub(super) fn accepted(&self) -> u64 {
        self.state.lock().accepted
    }
}

/// One connection's place among the others, until it is dropped.
pub(super) struct Entry {
    connections: Arc<Connections>,
    key: usize,
}

impl Entry {
    pub(super) fn phase(&self) -> Phase {
        self.connections.phase()
    }

    /// Has the task of `waker` woken when the phase changes. The phase is to be read after, not before (C2).
    pub(super) fn register(&self, waker: &Waker) {
        let before = self.connections.state.lock().wakers[self.key].replace(waker.clone());
        drop(before);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut state = self.connections.state.lock();
        let own = state.wakers.remove(self.key);
        let server = state.server.take();
        drop(state);
        drop(own);
        if let Some(server) = server {
            server.wake();
        }
    }
}
