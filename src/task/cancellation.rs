//! Cancellations that were asked for, and who takes them: the book of one task, kept under the lock of its extension.
//!
//! Every request has a number, and is for the whole task (`Task::cancel`) or for one *scope* in it (a task group cancels its body, a deadline its own).
//! A scope that waits is in the book, within the scope around it. It is *concerned* by what is asked of the task, of itself, and of every scope
//! around it, and remembers the newest request that it has nothing to do with any more. There are two kinds. A scope that *catches* (`catch_cancel`,
//! a group) is *due* when it is concerned by a newer request, whomever that is for, and no other one that catches waits within it. A *limit* (a
//! deadline) is due only for what was asked of itself, when none that catches waits within it; to everything else it is transparent. A due scope
//! drops its future and *takes* the request, which settles it for all scopes around it, and for the task. Two scopes beside each other, as under
//! `gather`, both take it. Whoever took a request that was for somebody further out can *put it back*, to be taken there.
//!
//! - **N1** A request to the task is unsettled from `ask` until somebody takes it or it is withdrawn. A task with an unsettled request is not polled again
//!   unless a scope that catches waits in it, and does not finish with a value.
//! - **N2** A scope that catches stores its waker in the critical section in which it sees that it is not due. So whoever asks finds the waker, or the
//!   scope finds the request.
//! - **N3** A request to the task is *announced* once the wakers of the scopes that were due have been woken. A poll that begins after that and leaves
//!   the request unsettled, with nobody going to poll the task again, proves that no scope will take it: a scope was left behind unpolled, and the
//!   request is the whole task's.
//! - **N4** What is asked of a scope, and what is put back, comes from a poll of the task that has that scope, and all around it, on the stack: each of
//!   them looks into the book before its poll ends.
//! - **N5** A scope that has taken what was for somebody further out, and still waits, holds it: a group whose children have not ended. Until it has left,
//!   nobody further out takes what another one has put back.
//! - **N6** What was asked of a scope, and is left by those within it through several polls though their wakers were woken, the scope takes itself: they
//!   were left behind unpolled.

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Instant;

use super::scope::SharedLimit;
use crate::error::Cancelled;

/// The book. Read and written under the extension's lock.
#[derive(Default)]
pub(super) struct Cancellation {
    /// Requests to the task that were not taken back: asyncio's `cancelling()`.
    requests: usize,
    /// The number of the newest request, whomever it is for; 0 before the first.
    last: u64,
    /// The newest request that is for the task, 0 if none.
    asked: u64,
    /// The newest request that was taken or withdrawn.
    settled: u64,
    /// The newest request to the task whose wakers have been woken.
    announced: u64,
    /// Why the task was asked.
    reason: Cancelled,
    scopes: BTreeMap<u64, Entry>,
    /// How many of them catch.
    catching: usize,
    /// The last number given to a scope.
    last_scope: u64,
}

/// A scope that waits.
struct Entry {
    /// The scope around it, 0 if none.
    parent: u64,
    /// How many scopes have it as their parent.
    children: usize,
    /// How many that catch wait within it, at whatever depth.
    within: usize,
    /// The newest request that is for it, 0 if none.
    asked: u64,
    /// Why it was asked.
    reason: Cancelled,
    /// Requests up to this one do not concern it.
    seen: u64,
    /// To be woken when the scope becomes due.
    waker: Option<Waker>,
    /// Whether it has taken what was for somebody further out (N5).
    holds: bool,
    /// In how many polls nobody took what was asked of it (N6).
    unheard: u32,
    /// The deadline that it stands for. `None`: it catches.
    limit: Option<SharedLimit>,
}

/// For so many polls a scope waits for those within it to take what was asked of it (N6). One is enough where whoever was woken is polled next;
/// combinators that put that off do so for a poll or two.
const PATIENCE: u32 = 16;

impl Entry {
    fn catches(&self) -> bool {
        self.limit.is_none()
    }
}

/// What a scope has taken.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) reason: Cancelled,
    /// What it had seen before: where to put the request back.
    pub(super) from: u64,
    /// Whether somebody further out was asked.
    pub(super) beyond: bool,
}

/// Whether those within a scope have left what was asked of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unheard {
    No,
    SoFar,
    ForTooLong,
}

/// What the runner of a task does about a cancellation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is unsettled.
    Poll,
    /// A scope may take it in this poll, or a later one; the number is that of the newest request that was announced.
    PollForScopes(u64),
    /// Nobody can take it: the task ends.
    End,
}

impl Cancellation {
    /// One request to the task more. Returns its number, and the wakers of the scopes that are due now; whoever calls wakes them, without the lock, and
    /// then calls [`announce`](Cancellation::announce).
    pub(super) fn ask(&mut self, reason: Cancelled) -> (u64, Vec<Waker>) {
        self.requests += 1;
        self.last += 1;
        self.asked = self.last;
        self.reason = reason;
        (self.asked, self.due_wakers())
    }

    /// The wakers of request `number` have been woken.
    pub(super) fn announce(&mut self, number: u64) {
        self.announced = self.announced.max(number);
    }

    /// Asks one scope, in a poll of it (N4). Returns the wakers of the scopes that are due now, to be woken without the lock.
    pub(super) fn ask_scope(&mut self, scope: u64, reason: Cancelled) -> Vec<Waker> {
        let Some(entry) = self.scopes.get_mut(&scope) else { return Vec::new() };
        self.last += 1;
        entry.asked = self.last;
        entry.reason = reason;
        self.due_wakers()
    }

    /// Asks the scope, and each around it, whose deadline has passed, in a poll of it (N4). Returns the wakers of the scopes that are due now, to be
    /// woken without the lock.
    pub(super) fn expire(&mut self, scope: u64, now: Instant) -> Vec<Waker> {
        let mut next = scope;
        while let Some(entry) = self.scopes.get_mut(&next) {
            if entry.limit.as_ref().is_some_and(|limit| limit.lock().expire(now)) {
                self.last += 1;
                entry.asked = self.last;
                entry.reason = Cancelled::new(Some("the deadline has passed"));
            }
            next = entry.parent;
        }
        self.due_wakers()
    }

    fn due_wakers(&mut self) -> Vec<Waker> {
        let due: Vec<u64> = self.scopes.keys().copied().filter(|&scope| self.is_due(scope)).collect();
        due.iter().filter_map(|scope| self.scopes.get_mut(scope)?.waker.take()).collect()
    }

    /// One request to the task less. The last one, if it was not taken yet, is withdrawn. Returns how many are left.
    pub(super) fn take_back(&mut self) -> usize {
        self.requests = self.requests.saturating_sub(1);
        if self.requests == 0 {
            self.asked = 0;
            self.settled = self.last;
        }
        self.requests
    }

    pub(super) fn requests(&self) -> usize {
        self.requests
    }

    /// The task ends: whatever was asked for is settled by that.
    pub(super) fn take_for_task(&mut self) -> Cancelled {
        self.settled = self.last;
        self.reason.clone()
    }

    /// Whether somebody took request `number`, or it was withdrawn.
    pub(super) fn is_settled(&self, number: u64) -> bool {
        self.settled >= number
    }

    pub(super) fn is_unsettled(&self) -> bool {
        self.asked > self.settled
    }

    /// Before a poll.
    pub(super) fn verdict(&self) -> Verdict {
        match (self.is_unsettled(), self.catching) {
            (false, _) => Verdict::Poll,
            (true, 0) => Verdict::End,
            (true, _) => Verdict::PollForScopes(self.announced),
        }
    }

    /// After a poll that began with `PollForScopes(announced)` and answered Pending: whether nobody has taken a request that was announced before it.
    pub(super) fn is_forsaken(&self, announced: u64) -> bool {
        self.is_unsettled() && self.settled < announced && !self.is_held()
    }

    /// A scope begins to wait, within `parent` if that is not 0: a limit, or one that catches. It takes the requests that are not settled for the
    /// parent.
    pub(super) fn enter(&mut self, parent: u64, limit: Option<SharedLimit>) -> u64 {
        self.last_scope += 1;
        let seen = self.seen(parent);
        let entry = Entry {
            parent,
            children: 0,
            within: 0,
            asked: 0,
            reason: Cancelled::default(),
            seen,
            waker: None,
            holds: false,
            unheard: 0,
            limit,
        };
        if let Some(parent) = self.scopes.get_mut(&parent) {
            parent.children += 1;
        }
        if entry.catches() {
            self.catching += 1;
            self.each_from(parent, |outer| outer.within += 1);
        }
        self.scopes.insert(self.last_scope, entry);
        self.last_scope
    }

    /// A scope waits no more. Returns its waker, to be dropped without the lock.
    pub(super) fn leave(&mut self, scope: u64) -> Option<Waker> {
        let entry = self.scopes.remove(&scope)?;
        if let Some(parent) = self.scopes.get_mut(&entry.parent) {
            parent.children -= 1;
            parent.children += entry.children;
        }
        if entry.children > 0 {
            // They were moved out of its future, and outlive it.
            let orphans = self.scopes.values_mut().filter(|inner| inner.parent == scope);
            orphans.for_each(|inner| inner.parent = entry.parent);
        }
        if entry.catches() {
            self.catching -= 1;
            self.each_from(entry.parent, |outer| outer.within -= 1);
        }
        entry.waker
    }

    /// Calls `f` with the scope and all around it, from the inside out.
    fn each_from(&mut self, scope: u64, mut f: impl FnMut(&mut Entry)) {
        let mut next = scope;
        while let Some(entry) = self.scopes.get_mut(&next) {
            f(entry);
            next = entry.parent;
        }
    }

    /// The newest request that concerns the scope, with its reason. 0 is the task.
    fn concern(&self, scope: u64) -> (u64, &Cancelled) {
        let (mut newest, mut next) = ((self.asked, &self.reason), scope);
        while let Some(entry) = self.scopes.get(&next) {
            if entry.asked > newest.0 {
                newest = (entry.asked, &entry.reason);
            }
            next = entry.parent;
        }
        newest
    }

    /// The newest request that is settled for the scope. 0 is the task. A limit does not see what is taken beside it.
    fn seen(&self, scope: u64) -> u64 {
        let (mut seen, mut next) = (0, scope);
        while let Some(entry) = self.scopes.get(&next) {
            seen = seen.max(entry.seen);
            if entry.catches() {
                return seen;
            }
            next = entry.parent;
        }
        seen.max(self.settled)
    }

    /// Whether the scope has a request to take.
    pub(super) fn is_due(&self, scope: u64) -> bool {
        self.scopes.get(&scope).is_some_and(|entry| {
            let newest = if entry.catches() { self.concern(scope).0 } else { entry.asked };
            entry.within == 0 && entry.seen < newest
        })
    }

    /// Whether a scope has yet to put back what it has taken (N5).
    fn is_held(&self) -> bool {
        self.scopes.values().any(|entry| entry.holds)
    }

    /// Whether somebody around the scope was asked, and takes it in this poll of the task or in one of the next.
    pub(super) fn is_outdone(&self, scope: u64) -> bool {
        if self.is_held() {
            return false;
        }
        let parent = self.scopes.get(&scope).map_or(0, |entry| entry.parent);
        self.concern(parent).0 > self.seen(parent)
    }

    /// A due scope takes the request.
    pub(super) fn take(&mut self, scope: u64) -> Taken {
        let Some(entry) = self.scopes.get_mut(&scope) else { unreachable!("a due scope is in the book") };
        let (from, parent) = (entry.seen, entry.parent);
        if !entry.catches() {
            entry.seen = entry.asked;
            return Taken { reason: entry.reason.clone(), from, beyond: false };
        }
        let reason = self.concern(scope).1.clone();
        let beyond = self.concern(parent).0 > from;
        let mut next = scope;
        while self.scopes.contains_key(&next) {
            let newest = self.concern(next).0;
            let Some(entry) = self.scopes.get_mut(&next) else { break };
            entry.seen = entry.seen.max(newest);
            entry.holds |= beyond && next == scope;
            next = entry.parent;
        }
        self.settled = self.settled.max(self.asked);
        Taken { reason, from, beyond }
    }

    /// In a poll of the scope, which is not due: whether what was asked of it has been left for too long by those within it (N6). If it was only left so
    /// far, the scope is to be polled again.
    pub(super) fn is_unheard(&mut self, scope: u64) -> Unheard {
        let Some(entry) = self.scopes.get_mut(&scope).filter(|entry| entry.asked > entry.seen) else {
            return Unheard::No;
        };
        entry.unheard += 1;
        if entry.unheard > PATIENCE { Unheard::ForTooLong } else { Unheard::SoFar }
    }

    /// What was taken within `parent` (0: in the task), beginning with the request after `from`, is unsettled again for all that it concerns there, in a
    /// poll of theirs (N4). Whether there is any.
    pub(super) fn put_back(&mut self, parent: u64, from: u64) -> bool {
        self.each_from(parent, |outer| outer.seen = outer.seen.min(from));
        self.settled = self.settled.min(from);
        self.is_concerned(parent, from)
    }

    /// Whether what was put back within `parent` is still for somebody there: not withdrawn.
    pub(super) fn is_concerned(&self, parent: u64, from: u64) -> bool {
        self.concern(parent).0 > from
    }

    /// What `put_back` does from within the scope, which is about to leave. Returns its parent if that, or somebody around it, is concerned.
    pub(super) fn pass_on(&mut self, scope: u64, from: u64) -> Option<u64> {
        let parent = self.scopes.get(&scope).map_or(0, |entry| entry.parent);
        self.put_back(parent, from).then_some(parent)
    }

    /// The scope is not due, and will be woken when it is (N2). Returns the waker of before, to be dropped without the lock.
    pub(super) fn wait(&mut self, scope: u64, waker: Waker) -> Option<Waker> {
        self.scopes.get_mut(&scope)?.waker.replace(waker)
    }
}

#[cfg(all(test, not(eddies_loom)))]
mod tests {
    use super::*;

    fn ask(book: &mut Cancellation) -> usize {
        let (number, wakers) = book.ask(Cancelled::default());
        book.announce(number);
        wakers.len()
    }

    fn waiting(book: &mut Cancellation, parent: u64) -> u64 {
        let scope = book.enter(parent, None);
        assert!(book.wait(scope, Waker::noop().clone()).is_none());
        scope
    }

    #[test]
    fn without_a_scope_the_task_ends() {
        let mut book = Cancellation::default();
        assert_eq!(book.verdict(), Verdict::Poll);
        assert_eq!(ask(&mut book), 0);
        assert_eq!(book.verdict(), Verdict::End);
        assert_eq!(book.take_back(), 0);
        assert_eq!(book.verdict(), Verdict::Poll, "withdrawn before anybody took it");
        assert_eq!(book.take_back(), 0, "never below zero");
    }

    #[test]
    fn the_innermost_scope_takes_it_and_settles_it_for_those_around() {
        let mut book = Cancellation::default();
        let outer = waiting(&mut book, 0);
        let inner = waiting(&mut book, outer);
        assert_eq!(ask(&mut book), 1, "the outer one is not woken");
        assert!(book.is_due(inner) && !book.is_due(outer));
        assert_eq!(book.verdict(), Verdict::PollForScopes(1));
        let _ = book.take(inner);
        book.leave(inner);
        assert!(!book.is_due(outer) && !book.is_unsettled());
        assert_eq!((book.requests(), book.verdict()), (1, Verdict::Poll));
        assert_eq!(ask(&mut book), 1);
        assert!(book.is_due(outer));
    }

    #[test]
    fn scopes_beside_each_other_all_take_it() {
        let mut book = Cancellation::default();
        let (left, right) = (waiting(&mut book, 0), waiting(&mut book, 0));
        assert_eq!(ask(&mut book), 2);
        let _ = book.take(left);
        assert!(book.is_due(right));
        let late = book.enter(0, None);
        assert!(!book.is_due(late), "it came after the request was settled");
    }

    #[test]
    fn a_scope_entered_before_anybody_took_it_takes_it() {
        let mut book = Cancellation::default();
        ask(&mut book);
        let scope = book.enter(0, None);
        assert!(book.is_due(scope));
    }

    #[test]
    fn a_request_that_no_poll_brought_to_a_scope_is_forsaken() {
        let mut book = Cancellation::default();
        let scope = waiting(&mut book, 0);
        let (number, _) = book.ask(Cancelled::default());
        assert_eq!(book.verdict(), Verdict::PollForScopes(0));
        assert!(!book.is_forsaken(0), "its scopes have not been woken yet");
        book.announce(number);
        assert_eq!(book.verdict(), Verdict::PollForScopes(1));
        assert!(book.is_forsaken(1));
        let _ = book.take(scope);
        assert!(!book.is_forsaken(1));
    }

    #[test]
    fn what_is_asked_of_a_scope_concerns_what_is_within_it_and_nobody_else() {
        let mut book = Cancellation::default();
        let (group, beside) = (waiting(&mut book, 0), waiting(&mut book, 0));
        let inner = waiting(&mut book, group);
        assert_eq!(book.ask_scope(group, Cancelled::default()).len(), 1);
        assert!(book.is_due(inner) && !book.is_due(group) && !book.is_due(beside));
        assert_eq!(book.verdict(), Verdict::Poll, "the task was asked nothing");
        let taken = book.take(inner);
        assert!(taken.beyond, "it was for the scope around it");
        book.leave(inner);
        assert!(!book.is_due(group));
        assert!(book.put_back(group, taken.from));
        assert!(book.is_due(group) && !book.take(group).beyond);
    }

    #[test]
    fn what_was_for_the_task_is_put_back_for_the_task() {
        let mut book = Cancellation::default();
        let group = waiting(&mut book, 0);
        book.ask_scope(group, Cancelled::default());
        ask(&mut book);
        let taken = book.take(group);
        assert!(taken.beyond && !book.is_unsettled());
        assert_eq!(book.pass_on(group, taken.from), Some(0));
        book.leave(group);
        assert_eq!((book.verdict(), book.requests()), (Verdict::End, 1));
        assert_eq!((book.take_back(), book.verdict()), (0, Verdict::Poll));
        assert!(!book.put_back(0, taken.from), "withdrawn: nobody is concerned any more");
    }

    #[test]
    fn a_scope_that_outlives_the_one_around_it_belongs_to_the_next() {
        let mut book = Cancellation::default();
        let outer = waiting(&mut book, 0);
        let middle = waiting(&mut book, outer);
        let inner = waiting(&mut book, middle);
        book.leave(middle);
        assert_eq!(book.ask_scope(outer, Cancelled::default()).len(), 1);
        assert!(book.is_due(inner) && !book.is_due(outer));
        book.leave(inner);
        assert!(book.is_due(outer));
    }
}
