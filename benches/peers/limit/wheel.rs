//! A timer that is armed and dropped: a wheel of one level and one thread. A slot for each millisecond is a list, linked both ways, of entries of a
//! vector, so that arming and disarming cost a few writes. The clock is read once for [`TURN`] timers, as by a loop that does so between two polls.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::peers::row::Outcome;
use crate::peers::workload::Scale;

/// A power of two; more milliseconds than any timeout here.
const SLOTS: usize = 2048;

/// How many timers are armed between two looks at the clock.
const TURN: usize = 64;

/// A place in the vector, of an entry or of a slot's head: the first [`SLOTS`] places are the heads, each of which is a ring with its entries.
type Place = u32;

struct Link {
    next: Place,
    previous: Place,
}

struct Wheel {
    start: Instant,
    /// The time of the last look at the clock.
    now: Instant,
    links: Vec<Link>,
    free: Vec<Place>,
    armed: usize,
}

impl Wheel {
    fn new() -> Wheel {
        let links = (0..SLOTS as Place).map(|head| Link { next: head, previous: head }).collect();
        let now = Instant::now();
        Wheel { start: now, now, links, free: Vec::new(), armed: 0 }
    }

    fn arm(&mut self, length: Duration) -> (Place, Instant) {
        let deadline = self.now + length;
        let head = (deadline - self.start).as_millis() as usize % SLOTS;
        let place = self.free.pop().unwrap_or_else(|| {
            self.links.push(Link { next: 0, previous: 0 });
            (self.links.len() - 1) as Place
        });
        let next = self.links[head].next;
        self.links[place as usize] = Link { next, previous: head as Place };
        self.links[next as usize].previous = place;
        self.links[head].next = place;
        self.armed += 1;
        (place, deadline)
    }

    fn disarm(&mut self, place: Place) {
        let Link { next, previous } = self.links[place as usize];
        self.links[next as usize].previous = previous;
        self.links[previous as usize].next = next;
        self.free.push(place);
        self.armed -= 1;
    }

    fn is_empty(&self) -> bool {
        let is_ring_of_itself = |head: usize| self.links[head].next == head as Place;
        self.armed == 0 && (0..SLOTS).all(is_ring_of_itself)
    }
}

pub(crate) fn timeout_dropped(scale: &Scale) -> Outcome {
    let count = scale.timeouts;
    let mut wheel = Wheel::new();
    let start = Instant::now();
    for index in 0..count {
        if index % TURN == 0 {
            wheel.now = Instant::now();
        }
        let (place, deadline) = black_box(wheel.arm(black_box(Duration::from_secs(1))));
        if deadline <= wheel.now {
            return Err("a timeout fired early".to_owned());
        }
        wheel.disarm(place);
    }
    let elapsed = start.elapsed();
    if !wheel.is_empty() {
        return Err(format!("{} timers are still armed", wheel.armed));
    }
    Ok(vec![elapsed.as_nanos() as f64 / count as f64])
}
