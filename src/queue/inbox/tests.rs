//! An item for the inbox's tests and models, and the tests that need one thread.

use std::ptr::NonNull;

use super::{Link, Node};
use crate::loom::Arc;
use crate::loom::atomic::{AtomicUsize, Ordering};

/// An item: its link comes first, so a pointer to the one is a pointer to the other.
#[repr(C)]
pub(crate) struct Parcel {
    node: Node,
    /// The number plus one, written after construction: whoever opens the parcel must see that write.
    content: AtomicUsize,
    /// Released with the parcel.
    held: Option<Arc<()>>,
}

impl Parcel {
    pub(crate) fn new(number: usize) -> Box<Parcel> {
        Parcel::pack(number, None)
    }

    pub(crate) fn holding(number: usize, held: Arc<()>) -> Box<Parcel> {
        Parcel::pack(number, Some(held))
    }

    fn pack(number: usize, held: Option<Arc<()>>) -> Box<Parcel> {
        let parcel = Box::new(Parcel { node: Node::new(), content: AtomicUsize::new(0), held });
        // Ordering: Relaxed, the inbox is what has to make the value visible.
        parcel.content.store(number + 1, Ordering::Relaxed);
        parcel
    }

    pub(crate) fn open(&self) -> usize {
        // Ordering: Relaxed, see `pack`.
        self.content.load(Ordering::Relaxed).checked_sub(1).expect("the parcel arrived before its content")
    }

    #[cfg(not(eddies_loom))]
    fn holds_something(&self) -> bool {
        self.held.is_some()
    }
}

// SAFETY: the node is the first field of a `repr(C)` struct on the heap, which nobody has a reference to until the box is made again.
unsafe impl Link for Box<Parcel> {
    fn into_raw(self) -> NonNull<Node> {
        NonNull::from(Box::leak(self)).cast()
    }

    unsafe fn from_raw(node: NonNull<Node>) -> Self {
        // SAFETY: the caller promises that this is the first field of a parcel leaked by `into_raw`, claimed by nobody else.
        unsafe { Box::from_raw(node.cast().as_ptr()) }
    }
}

#[cfg(not(eddies_loom))]
mod alone {
    use super::super::Inbox;
    use super::*;

    #[test]
    fn items_come_out_in_the_order_of_the_pushes() {
        let inbox = Inbox::new();
        assert!(inbox.is_empty());
        let notices: Vec<bool> = (0..5).map(|number| inbox.push(Parcel::new(number))).collect();
        assert_eq!(notices, [true, false, false, false, false]);
        let drained = inbox.take_all();
        assert!(inbox.is_empty());
        assert_eq!(drained.len(), 5);
        assert!(inbox.push(Parcel::new(5)), "a drained inbox is empty");
        assert_eq!(drained.map(|parcel| parcel.open()).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(inbox.take_all().map(|parcel| parcel.open()).collect::<Vec<_>>(), [5]);
        assert_eq!(inbox.take_all().len(), 0);
    }

    #[test]
    fn what_is_left_in_an_inbox_or_in_what_was_drained_is_dropped() {
        let probe = Arc::new(());
        let inbox = Inbox::new();
        for number in 0..6 {
            inbox.push(Parcel::holding(number, probe.clone()));
        }
        let mut drained = inbox.take_all();
        let first = drained.next().expect("six were pushed");
        assert!(first.holds_something());
        drop(drained);
        assert_eq!(Arc::strong_count(&probe), 2, "the first is still held");
        inbox.push(first);
        drop(inbox);
        assert_eq!(Arc::strong_count(&probe), 1);
    }
}
