//! What tasks wait for at an [`Outbox`](super::Outbox), in lists.

use std::io;
use std::marker::PhantomData;

use super::OutboxState;
use crate::streams::stream_errors::NotWritten;
use crate::sync::wait_list::{WaitList, Waiter, Wakes};

/// A wait for room.
pub(super) struct UntilDrained<W>(pub(super) PhantomData<fn(W)>);

impl<W> UntilDrained<W> {
    fn answer(state: &mut OutboxState<W>) -> Option<Result<(), NotWritten>> {
        if state.is_over {
            return state.refusal().map(Err);
        }
        (!state.is_paused).then_some(Ok(()))
    }
}

impl<W> Waiter for UntilDrained<W> {
    type State = OutboxState<W>;
    type Grant = ();
    type Output = Result<(), NotWritten>;

    fn list(state: &mut OutboxState<W>) -> &mut WaitList<()> {
        &mut state.drains
    }

    fn try_now(&mut self, state: &mut OutboxState<W>, _: &mut Wakes) -> Option<Self::Output> {
        Self::answer(state)
    }

    /// There was room when it was granted, and so the wait is over, also when others have filled it since.
    fn claim(&mut self, (): (), state: &mut OutboxState<W>, _: &mut Wakes) -> Self::Output {
        Self::answer(state).unwrap_or(Ok(()))
    }

    fn left(&mut self, _: Option<()>, _: &mut OutboxState<W>, _: &mut Wakes) {
        // All are told, so there is nothing to hand on.
    }
}

/// A wait for the end.
pub(super) struct UntilOver<W>(pub(super) PhantomData<fn(W)>);

impl<W> UntilOver<W> {
    fn answer(state: &mut OutboxState<W>) -> io::Result<()> {
        state.told().map_or(Ok(()), Err)
    }
}

impl<W> Waiter for UntilOver<W> {
    type State = OutboxState<W>;
    type Grant = ();
    type Output = io::Result<()>;

    fn list(state: &mut OutboxState<W>) -> &mut WaitList<()> {
        &mut state.closes
    }

    fn try_now(&mut self, state: &mut OutboxState<W>, _: &mut Wakes) -> Option<io::Result<()>> {
        state.is_over.then(|| Self::answer(state))
    }

    fn claim(&mut self, (): (), state: &mut OutboxState<W>, _: &mut Wakes) -> io::Result<()> {
        Self::answer(state)
    }

    fn left(&mut self, _: Option<()>, _: &mut OutboxState<W>, _: &mut Wakes) {
        // All are told, so there is nothing to hand on.
    }
}
