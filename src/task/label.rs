//! What a task is called: its spawn location and, when the user gave one, its name, in one word of the header.
//!
//! A label is a pointer with a tag in its lowest bit: clear for a plain `&'static Location`, set for a boxed [`Named`]. Both are aligned to
//! more than one byte, so the bit is free. An enum of the two pointers would be twice the size, in every task.

#![allow(unsafe_code, reason = "one word holds either of two pointers")]

use std::fmt;
use std::panic::Location;
use std::ptr::NonNull;

/// A name together with the place of the spawn.
struct Named {
    name: String,
    location: &'static Location<'static>,
}

const NAMED: usize = 1;

/// The label of one task. Written when the task is made; read by any thread that holds a reference to the task.
pub(crate) struct Label(NonNull<()>);

// SAFETY: a label is a shared reference to immutable data (`Location`, or a `Named` that it alone owns), both Send and Sync.
unsafe impl Send for Label {}
// SAFETY: as above; nothing behind the pointer changes before the label is dropped.
unsafe impl Sync for Label {}

impl Label {
    /// A label for a task spawned at `location`.
    #[inline]
    pub(crate) fn new(location: &'static Location<'static>, name: Option<String>) -> Self {
        match name {
            None => Label(NonNull::from(location).cast()),
            Some(name) => {
                let boxed = NonNull::from(Box::leak(Box::new(Named { name, location })));
                Label(boxed.cast::<()>().map_addr(|address| address | NAMED))
            }
        }
    }

    #[inline]
    fn named(&self) -> Option<NonNull<Named>> {
        if self.0.addr().get() & NAMED == 0 {
            return None;
        }
        let untagged = self.0.as_ptr().map_addr(|address| address & !NAMED);
        NonNull::new(untagged.cast())
    }

    /// The name the user gave, if any.
    pub(crate) fn name(&self) -> Option<&str> {
        // SAFETY: a tagged label owns the box behind it until it is dropped, and nobody has a mutable reference to it.
        self.named().map(|named| unsafe { named.as_ref() }.name.as_str())
    }

    /// Where the task was spawned.
    pub(crate) fn location(&self) -> &'static Location<'static> {
        match self.named() {
            // SAFETY: as in `name`.
            Some(named) => unsafe { named.as_ref() }.location,
            // SAFETY: an untagged label was made from a `&'static Location`.
            None => unsafe { self.0.cast::<Location<'static>>().as_ref() },
        }
    }
}

impl Drop for Label {
    #[inline]
    fn drop(&mut self) {
        if let Some(named) = self.named() {
            // SAFETY: `new` leaked this box for this label, which is dropped once.
            drop(unsafe { Box::from_raw(named.as_ptr()) });
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "`{name}` (spawned at {})", self.location()),
            None => write!(f, "spawned at {}", self.location()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_tells_name_and_place() {
        let here = Location::caller();
        let plain = Label::new(here, None);
        assert_eq!((plain.name(), plain.location()), (None, here));
        let named = Label::new(here, Some("reader".to_owned()));
        assert_eq!((named.name(), named.location()), (Some("reader"), here));
        assert_eq!(named.to_string(), format!("`reader` (spawned at {here})"));
    }
}
