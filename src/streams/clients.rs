//! The connections of one server: how many live, and how they are reached to be ended.
//!
//! The tasks that accept enter connections, the connections leave, and the server counts, closes and waits. Any thread.
//!
//! - L1: a connection that lives has an entry, from before it is accepted until its writer is over; the entry leaves with it, so memory grows
//!   with the connections that live and with nothing else.
//! - L2: what was asked of all is asked of a connection that is entered meanwhile, or that changes its writer (an upgrade to TLS).
//! - L3: who waits for the end is granted it when the server is closed and no entry is left, whichever comes last.

use std::task::{Context, Poll, Waker};

use slab::Slab;

use super::outbox::Outbox;
use crate::io::AsyncWrite;
use crate::loom::{Arc, Mutex, Weak};
use crate::sync::wait_list::{Wait, WaitList, Waiter, Wakes};

/// A connection, seen from its server.
pub(super) trait Client: Send + Sync {
    fn ask(self: Arc<Self>, ask: Ask);
}

impl<W: AsyncWrite + Unpin + Send + 'static> Client for Outbox<W> {
    fn ask(self: Arc<Self>, ask: Ask) {
        match ask {
            Ask::Close => self.close(),
            Ask::Abort => self.abort(),
        }
    }
}

/// What a server asks of its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ask {
    Close,
    Abort,
}

/// What a server, its accepting tasks and its connections share.
pub(super) struct Clients {
    state: Mutex<ClientsState>,
    /// Most at a time. Never changes.
    most: usize,
}

struct ClientsState {
    /// One for each connection, and for each task that is about to accept one.
    entries: Slab<Option<ClientEntry>>,
    /// Connections that there are: the entries that are filled.
    live: usize,
    is_closed: bool,
    /// Who waits for the end (L3).
    waiting: WaitList<()>,
    /// The accepting tasks that wait until there are fewer.
    room: Vec<Waker>,
}

struct ClientEntry {
    /// The writer's state.
    client: Weak<dyn Client>,
    /// What was asked of this one so far.
    asked: Option<Ask>,
}

impl Clients {
    pub(super) fn new(most: usize) -> Arc<Clients> {
        let (entries, waiting, room) = (Slab::new(), WaitList::new(), Vec::new());
        Arc::new(Clients {
            state: Mutex::new(ClientsState { entries, live: 0, is_closed: false, waiting, room }),
            most,
        })
    }

    /// A place for one more, when there is one.
    pub(super) fn poll_enter(self: &Arc<Self>, cx: &Context<'_>) -> Poll<Entry> {
        let mut state = self.state.lock();
        if state.entries.len() >= self.most {
            if !state.room.iter().any(|waker| waker.will_wake(cx.waker())) {
                state.room.push(cx.waker().clone());
            }
            return Poll::Pending;
        }
        let key = state.entries.insert(None);
        Poll::Ready(Entry { clients: self.clone(), key })
    }

    pub(super) fn live(&self) -> usize {
        self.state.lock().live
    }

    /// No more are accepted.
    pub(super) fn set_closed(&self) {
        let mut wakes = Wakes::new();
        let mut state = self.state.lock();
        state.is_closed = true;
        state.tell_if_over(&mut wakes);
        drop(state);
        wakes.wake();
    }

    pub(super) fn ask(&self, ask: Ask) {
        let mut state = self.state.lock();
        let entries = state.entries.iter_mut().filter_map(|(_, entry)| entry.as_mut());
        let clients: Vec<_> = entries
            .filter_map(|entry| {
                entry.asked = entry.asked.max(Some(ask));
                entry.client.upgrade()
            })
            .collect();
        drop(state);
        clients.into_iter().for_each(|client| client.ask(ask));
    }

    pub(super) async fn wait_gone(&self) {
        Wait::new(&self.state, UntilGone).await;
    }
}

impl ClientsState {
    fn is_over(&self) -> bool {
        self.is_closed && self.live == 0
    }

    fn tell_if_over(&mut self, wakes: &mut Wakes) {
        if self.is_over() {
            self.waiting.grant_all(wakes, || ());
        }
    }
}

struct UntilGone;

impl Waiter for UntilGone {
    type State = ClientsState;
    type Grant = ();
    type Output = ();

    fn list(state: &mut ClientsState) -> &mut WaitList<()> {
        &mut state.waiting
    }

    fn try_now(&mut self, state: &mut ClientsState, _: &mut Wakes) -> Option<()> {
        state.is_over().then_some(())
    }

    fn claim(&mut self, (): (), _: &mut ClientsState, _: &mut Wakes) {}

    fn left(&mut self, _: Option<()>, _: &mut ClientsState, _: &mut Wakes) {
        // All are told, so there is nothing to hand on.
    }
}

/// One connection's place among the others, until it is dropped (L1).
pub(super) struct Entry {
    clients: Arc<Clients>,
    key: usize,
}

impl Entry {
    /// Makes `client`, which is about to hold this entry, the one that is asked. The answer is what it has to be asked at once (L2).
    pub(super) fn attach(&self, client: &Arc<dyn Client>) -> Option<Ask> {
        let mut state = self.clients.state.lock();
        let ClientsState { entries, live, is_closed, .. } = &mut *state;
        let before = &mut entries[self.key];
        if *is_closed && before.is_none() {
            // Accepted in the moment of the close: those who wait for the end may have been told.
            return Some(Ask::Abort);
        }
        let asked = match before {
            Some(before) => before.asked,
            None => {
                *live += 1;
                None
            }
        };
        let before = before.replace(ClientEntry { client: Arc::downgrade(client), asked });
        drop(state);
        drop(before);
        asked
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut wakes = Wakes::new();
        let mut state = self.clients.state.lock();
        if state.entries.remove(self.key).is_some() {
            state.live -= 1;
        }
        state.tell_if_over(&mut wakes);
        for waker in std::mem::take(&mut state.room) {
            wakes.add(waker);
        }
        drop(state);
        wakes.wake();
    }
}
