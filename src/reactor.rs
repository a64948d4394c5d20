//! What the operating system knows about sockets, and who waits for it.
//!
//! Every event loop has one [`Reactor`]. The worker that owns the loop *turns* it: it waits in the kernel until a socket is ready, a
//! timeout passes, or another thread calls [`Reactor::wake`]; then it collects the wakers of everybody who waited for what happened.
//! While the owner is busy with a long poll, any other worker may turn the reactor in its place, without waiting
//! ([`Reactor::try_turn`]), and run what became ready: readiness is stolen just as tasks are. One that has nothing else to do can wait for that
//! ([`Vigil`]).
//!
//! Three parts, each below the other:
//!
//! - `turn`: [`Reactor`], the kernel side: mio's poll behind the *turn lock*, its waker, registering a descriptor;
//! - `table`: which registration a kernel event belongs to. Tokens are an index and a generation, never pointers;
//! - `readiness`: one registered descriptor: the readiness word, the tick that guards it, and the waiters. It knows nothing of mio.
//!
//! Beside them `registration`: the owning end of one registered descriptor; `vigil`: a wait for several reactors at once, for who helps a
//! stalled loop; and `tripwire`: the monitor's wait for the first event that comes while a loop runs.
//!
//! # Invariants
//!
//! - **R1** No edge is lost: who finds a direction not ready, registers its waker, and checks the word again under the lock of the
//!   waiters; who delivers an event changes the word first and takes that lock after.
//! - **R2** Readiness is cleared only against the tick of the event that the failed operation started from: what arrives between the
//!   kernel's "would block" and the clearing survives it.
//! - **R3** An event reaches only the registration that it was produced for. The kernel may hand out an event for a descriptor that is
//!   being deregistered; its generation no longer matches and it is dropped.
//! - **R4** A descriptor is taken out of the kernel's set before its slot of the table is free again, and before it is closed.
//! - **R5** A wake-up sent with [`Reactor::wake`] ends the turn of the owner that is in, or the next one, even if a thief was the one
//!   to whom the kernel reported it.
//! - **R6** No waker is woken, cloned or dropped under one of the locks. Order of the locks: turn, table, waiters of one source.
//! - **R7** After [`Reactor::shutdown`] every waiter, present or future, gets an error; nobody waits for ever.
//!
//! # What it deliberately does not do
//!
//! It does not re-arm. A descriptor is registered once, edge-triggered, for both directions, and never modified: a read that succeeds
//! costs no call into the epoll instance. It does not decide where a socket lives (`net::source` does), does not know tasks or workers
//! (it stores [`std::task::Waker`]s and returns them), and does not run timers: their deadline comes in as the timeout of a turn.
//!
//! # Rejected
//!
//! - *A pointer as token*, as in tokio: it saves the table's lock and look-up in a turn, and in exchange memory of a dead registration
//!   may only be freed by whoever turns the reactor. With thieves that would need an epoch; an index with a generation needs nothing.
//! - *Thieves that call `epoll_wait` on the same descriptor beside the owner*: legal for the kernel, but a thief is of use only while the
//!   owner is not in there, and then the turn lock is free.
//! - *Sticky "closed" bits.* tokio never clears them. But what would block is not closed: a FIFO gets a new writer after the last one
//!   hung up, and a UDP socket that was shut down for reading answers "would block" for ever. Sticky bits turn both into a busy loop.

pub(crate) mod readiness;
pub(crate) mod registration;
mod table;
pub(crate) mod timer;
#[cfg(not(eddies_loom))]
pub(crate) mod tripwire;
mod turn;
#[cfg(not(eddies_loom))]
mod vigil;

pub(crate) use registration::Registration;
pub(crate) use turn::Reactor;
#[cfg(not(eddies_loom))]
pub(crate) use vigil::Vigil;

#[cfg(all(test, eddies_loom))]
#[path = "../loom-tests/models/readiness.rs"]
mod models;

#[cfg(all(test, not(eddies_loom)))]
mod tests;
