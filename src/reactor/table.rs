//! Which source a kernel event belongs to.
//!
//! The table of one reactor. Any thread inserts (a task registers its socket) and removes (it drops it); whoever turns the reactor looks
//! up. A token names a slot and the generation of its tenant: the kernel may report, after a socket is gone, an event that it queued
//! before, and by then the slot may have a new tenant. Such an event finds another generation and is dropped (R3).
//!
//! Generations count the insertions of the whole table: one slot sees the same one again after 2^32 insertions (2^12 on 32-bit machines),
//! while a stale event lives for the length of one turn.
//!
//! The lock is taken once for all events of a turn. Rejected: a lock-free table. Look-ups are made by one thread at a time anyway, and
//! insertions come once in the life of a socket, next to system calls ten times their price.

use std::task::Waker;

use slab::Slab;

use super::readiness::{Readiness, Source};
use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::loom::{Arc, Mutex};

/// Bits of a token that hold the slot's index; the generation has the others.
const INDEX_BITS: u32 = if usize::BITS == 64 { 32 } else { 20 };

pub(super) const INDEX_MASK: usize = (1 << INDEX_BITS) - 1;

/// A slot and the generation of its tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SourceToken(usize);

impl SourceToken {
    /// The token as the kernel carries it.
    pub(crate) fn to_usize(self) -> usize {
        self.0
    }

    /// The token that the kernel gave back.
    pub(crate) fn from_usize(token: usize) -> SourceToken {
        SourceToken(token)
    }

    fn pack(index: usize, generation: usize) -> SourceToken {
        SourceToken((generation << INDEX_BITS) | index)
    }

    fn index(self) -> usize {
        self.0 & INDEX_MASK
    }
}

/// Why a source got no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoSlot {
    /// The reactor is shut down.
    ShutDown,
    /// All indices are in use.
    Full,
}

/// The sources of one reactor.
pub(crate) struct Table {
    /// The slots. Written by tasks that register and deregister and by `shutdown`, read by the turn.
    slots: Mutex<Slots>,
    /// How many slots are taken. Written under the lock of `slots`, read without it by the decision how to park.
    len: AtomicUsize,
}

struct Slots {
    tenants: Slab<Tenant>,
    /// The generation of the next insertion; only its low bits count.
    next_generation: usize,
    /// After shutdown nothing is inserted.
    is_shut_down: bool,
}

struct Tenant {
    token: SourceToken,
    source: Arc<Source>,
}

impl Slots {
    fn find(&self, token: SourceToken) -> Option<&Arc<Source>> {
        let tenant = self.tenants.get(token.index())?;
        // R3: the slot may have a new tenant.
        (tenant.token == token).then_some(&tenant.source)
    }
}

impl Table {
    /// An empty table.
    pub(crate) fn new() -> Table {
        Table {
            slots: Mutex::new(Slots { tenants: Slab::new(), next_generation: 0, is_shut_down: false }),
            len: AtomicUsize::new(0),
        }
    }

    /// Gives `source` a slot.
    pub(crate) fn insert(&self, source: Arc<Source>) -> Result<SourceToken, NoSlot> {
        let mut slots = self.slots.lock();
        if slots.is_shut_down {
            return Err(NoSlot::ShutDown);
        }
        let generation = slots.next_generation;
        let entry = slots.tenants.vacant_entry();
        // The highest index stays free: with the highest generation it would be the token of the reactor's own waker.
        if entry.key() >= INDEX_MASK {
            return Err(NoSlot::Full);
        }
        let token = SourceToken::pack(entry.key(), generation);
        entry.insert(Tenant { token, source });
        slots.next_generation = generation.wrapping_add(1);
        // Ordering: Release, for an owner that counts the first source in `table.rs::len` and then looks for the kernel's side, which was opened
        // before: the fence of its next `sleep.rs::announce` acquires that. With Relaxed it might go round without sleeping for as long as
        // the nudge that follows is not there. That it counts the source before it sleeps at all is the work of the nudge's fence.
        self.len.fetch_add(1, Ordering::Release);
        Ok(token)
    }

    /// Frees the slot of `token`. The source itself is dropped by its last owner, outside the lock.
    pub(crate) fn remove(&self, token: SourceToken) -> Option<Arc<Source>> {
        let mut slots = self.slots.lock();
        slots.find(token)?;
        let tenant = slots.tenants.remove(token.index());
        // Ordering: Relaxed, publishes nothing: a stale larger value costs the park decision a turn in place of a futex wait.
        self.len.fetch_sub(1, Ordering::Relaxed);
        Some(tenant.source)
    }

    /// Hands each event to its source and collects the wakers of those who waited for it; says how many found their source.
    pub(crate) fn deliver(
        &self,
        events: impl Iterator<Item = (SourceToken, Readiness)>,
        wakers: &mut Vec<Waker>,
    ) -> usize {
        let slots = self.slots.lock();
        let mut delivered = 0;
        for (token, readiness) in events {
            if let Some(source) = slots.find(token) {
                source.deliver(readiness, wakers);
                delivered += 1;
            }
        }
        delivered
    }

    /// Tells every source, and those to come, that nothing will be delivered any more.
    pub(crate) fn shutdown(&self, wakers: &mut Vec<Waker>) {
        let mut slots = self.slots.lock();
        // R7: under the lock of `insert`, so that a source is either told here or refused there.
        slots.is_shut_down = true;
        for (_, tenant) in &slots.tenants {
            tenant.source.deliver(Readiness::SHUTDOWN, wakers);
        }
    }

    /// How many sources there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        // Ordering: Relaxed, paired by a fence; see `table.rs::insert`.
        self.len.load(Ordering::Relaxed)
    }
}
