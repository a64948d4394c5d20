//! When the monitor looks again.
//!
//! A look takes a CPU from somebody, and a stall is found by looks alone. So they are frequent where polls are long, and seldom where they are not; what tells the
//! one from the other are the looks before. All of this is the monitor's own, and pure: it is told what a look found, and the time.

use std::time::{Duration, Instant};

/// The time between two looks where polls are long.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// The time between two looks where they are not. Each look takes a CPU from somebody: 20 to 50 us of it where a timer's interrupt goes through a
/// hypervisor.
pub(super) const REST: Duration = Duration::from_millis(10);

/// The longest time between two looks where events that have to wait are heard of: what else waits behind a long poll that nobody expected waits for so
/// long.
const LISTEN_MAX: Duration = Duration::from_millis(200);

/// If it has to look again sooner, it rests and can do without the tripwire.
const LISTEN_MIN: Duration = Duration::from_millis(50);

/// The monitor listens after so many looks in a row that found nobody in the midst of work, and after a sleep. What interrupts it costs two looks: a fifth more, at
/// most, where it did not sleep.
const CALM_LOOKS: u32 = 10;

/// When the monitor has not listened for so long, no reactor is left in the tripwire.
const FORGET: Duration = Duration::from_secs(1);

/// A poll that is to be reported lasts as long as so many looks, or they have to be more frequent.
const LOOKS_A_REPORT: u32 = 5;

/// Where two long polls began within such a time, the next is expected for as long.
const ALERT: Duration = Duration::from_secs(1);

/// How long nobody runs before the monitor sleeps, and in how many looks in a row.
const QUIET: Duration = Duration::from_millis(20);
const QUIET_LOOKS: u32 = 2;

/// Ticks without a poll in which the monitor does not rest, whatever the kernel says of the loop's thread.
pub(super) const UNSURE_TICKS: u32 = 4;

/// What came of one look.
pub(super) struct Look {
    /// Anything runs, or needs eyes for another reason.
    pub(super) is_active: bool,
    /// Anything ran since the last look.
    pub(super) has_progressed: bool,
    /// A poll is long, or there are spare workers for one that was.
    pub(super) has_long: bool,
    /// Of a poll that is long it was not known yet, and its task did not say so.
    pub(super) began_long: bool,
    /// A loop has been stalled for less than [`UNSURE_TICKS`]: the kernel may not be able to say yet whether for want of a CPU.
    pub(super) may_be_long: bool,
    /// When the first timer of any loop that somebody sits in is due, from now: at the earliest.
    pub(super) timer_in: Option<Duration>,
    /// Every loop that runs is stalled, and work waits.
    pub(super) wants_spare: bool,
}

/// What the monitor does after a look.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It looks again after [`TICK`].
    Tick,
    /// It looks again after [`REST`], or when what cannot wait so long comes.
    Rest,
    /// It looks again after so long, or when an event has to wait for a loop that runs.
    Listen(Duration),
    /// It looks again when somebody runs.
    Sleep,
}

/// When the monitor looks again. Its thread's own.
///
/// Two looks find a stall: the first sees where the loop is, the second that it is there still. So whoever runs in one look gets another one a tick
/// later, and nobody is looked at more often than that unless a poll is long, or may be, or is expected to be, or something else waits for the monitor. A long poll that
/// nobody expected is found after 6 ms in the mean and 11 at worst; where they are frequent, each after 1 to 2.
///
/// Where [`CALM_LOOKS`] found nobody running, or it slept, the monitor listens: a long poll is found 1 to 2 ms after the first event that becomes ready on its loop meanwhile, and else
/// a fifth of a second after it began at worst, or when the first timer is due that could be seen before. Where events come while loops run, though their
/// polls are short, it rests instead: each would cost a look. Where long polls are expected it listens as well; but if it cannot, it looks on.
#[derive(Default)]
pub(super) struct Pace {
    /// When a long poll last began, as far as the looks can tell.
    long_since: Option<Instant>,
    /// Until then long polls are expected.
    alert_until: Option<Instant>,
    /// Since when nothing has run, as far as the looks can tell, and how many they were.
    quiet_since: Option<Instant>,
    quiet_looks: u32,
    /// The last look was the first of two.
    has_looked_once: bool,
    /// So many looks in a row, since the last rest, saw a poll that may be long.
    unsure_looks: u32,
    /// When the last look was.
    looked_at: Option<Instant>,
    /// So many looks found nobody running since two in a row did, or since something interrupted it while it listened; after a sleep as many as are enough.
    calm_looks: u32,
    /// When it last listened, or was to; put off by sleeps.
    listened_at: Option<Instant>,
    /// What lasts longer is to be reported.
    pub(super) slow_poll: Option<Duration>,
}

impl Pace {
    pub(super) fn next(&mut self, look: &Look, now: Instant) -> Next {
        if look.began_long && self.long_since.replace(now).is_some_and(|last| now < last + ALERT) {
            self.alert_until = Some(now + ALERT);
        }
        if look.is_active || look.has_progressed {
            self.quiet_since = None;
            self.quiet_looks = 0;
        } else {
            let quiet_since = *self.quiet_since.get_or_insert(self.looked_at.unwrap_or(now));
            self.quiet_looks += 1;
            if self.quiet_looks >= QUIET_LOOKS && now.saturating_duration_since(quiet_since) >= QUIET {
                return Next::Sleep;
            }
        }
        self.looked_at = Some(now);
        self.calm_looks = match (look.is_active, self.has_looked_once) {
            (false, _) => self.calm_looks.saturating_add(1),
            (true, false) => self.calm_looks,
            (true, true) => 0,
        };
        self.has_looked_once = look.is_active && !self.has_looked_once;
        self.unsure_looks = if look.may_be_long { self.unsure_looks.saturating_add(1) } else { 0 };
        // Where CPUs are short, each slice of the kernel's scheduler begins another one.
        let is_unsure = (1..UNSURE_TICKS).contains(&self.unsure_looks);
        if look.has_long || is_unsure || self.has_looked_once || !self.is_often_enough(REST) {
            return Next::Tick;
        }
        let is_calm = !look.is_active && self.calm_looks >= CALM_LOOKS;
        let most = self.listen_at_most(look.timer_in);
        if !is_calm || most < LISTEN_MIN {
            return self.tick_or_rest(now);
        }
        self.listened_at = Some(now);
        Next::Listen(most)
    }

    /// How long the next look can wait if nothing trips the wire. A tick after a timer was due one sees whether it is late.
    fn listen_at_most(&self, timer_in: Option<Duration>) -> Duration {
        let late_in = timer_in.map(|due_in| due_in.saturating_add(TICK));
        let report_in = self.slow_poll.map(|threshold| threshold / LOOKS_A_REPORT);
        [late_in, report_in].into_iter().flatten().fold(LISTEN_MAX, Duration::min)
    }

    /// What a monitor does that neither looks again because of what it saw, nor listens.
    fn tick_or_rest(&mut self, now: Instant) -> Next {
        if self.alert_until.is_some_and(|until| now < until) {
            return Next::Tick;
        }
        self.unsure_looks = 0;
        Next::Rest
    }

    /// Whether looks so far apart find each poll that is to be reported.
    fn is_often_enough(&self, between: Duration) -> bool {
        self.slow_poll.is_none_or(|threshold| threshold >= between * LOOKS_A_REPORT)
    }

    /// The monitor is to listen, and cannot. What it does.
    pub(super) fn cannot_listen(&mut self, now: Instant) -> Next {
        // The next attempt comes after as many looks again.
        self.calm_looks = 0;
        self.tick_or_rest(now)
    }

    /// The monitor has listened. Whether that was ended by what had to wait.
    pub(super) fn has_listened(&mut self, is_tripped: bool, now: Instant) {
        self.listened_at = Some(now);
        if is_tripped {
            self.calm_looks = 0;
        }
    }

    pub(super) fn has_not_listened_for_long(&self, now: Instant) -> bool {
        self.listened_at.is_some_and(|last| now >= last + FORGET)
    }

    /// The monitor slept, and has been roused. While it slept nobody ran, so it may listen soon.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        self.listened_at = self.listened_at.map(|_| now);
        self.calm_looks = CALM_LOOKS;
        self.quiet_since = None;
        self.quiet_looks = 0;
        self.looked_at = None;
        self.has_looked_once = false;
        self.unsure_looks = 0;
    }
}

#[cfg(all(test, not(eddies_loom)))]
mod tests {
    use super::*;

    const IDLE: Look = Look {
        is_active: false,
        has_progressed: false,
        has_long: false,
        began_long: false,
        may_be_long: false,
        timer_in: Some(Duration::ZERO),
        wants_spare: false,
    };
    /// Nobody runs at the moment.
    const SPARSE: Look = Look { has_progressed: true, ..IDLE };
    const CALM: Look = Look { timer_in: None, ..SPARSE };
    const QUIET_AND_CALM: Look = Look { has_progressed: false, ..CALM };
    const LISTENS: Next = Next::Listen(LISTEN_MAX);
    const BUSY: Look = Look { is_active: true, ..SPARSE };
    const STALLED: Look = Look { has_long: true, ..BUSY };
    const NEWLY_STALLED: Look = Look { began_long: true, ..STALLED };

    /// A pace, and the time at which its next look is.
    struct Looks(Pace, Instant);

    impl Looks {
        fn next(&mut self, look: &Look) -> Next {
            let next = self.0.next(look, self.1);
            self.1 += match next {
                Next::Tick => TICK,
                Next::Rest | Next::Sleep => REST,
                Next::Listen(at_most) => at_most,
            };
            next
        }
    }

    fn looks() -> Looks {
        Looks(Pace::default(), Instant::now())
    }

    #[test]
    fn who_runs_is_looked_at_twice_and_then_left_alone() {
        let mut looks = looks();
        for _ in 0..10 {
            assert_eq!(looks.next(&BUSY), Next::Tick);
            assert_eq!(looks.next(&BUSY), Next::Rest);
        }
    }

    #[test]
    fn a_stall_that_may_be_a_long_poll_is_looked_at_again() {
        let mut looks = looks();
        for _ in 0..10 {
            for _ in 1..UNSURE_TICKS {
                assert_eq!(looks.next(&Look { may_be_long: true, ..BUSY }), Next::Tick);
            }
            let mut more = std::iter::repeat_with(|| looks.next(&Look { may_be_long: true, ..BUSY }));
            assert!(more.by_ref().take(2).any(|next| next == Next::Rest), "but not for ever");
        }
    }

    #[test]
    fn short_polls_that_are_to_be_reported_leave_it_no_rest() {
        let mut looks = looks();
        looks.0.slow_poll = Some(REST);
        for _ in 0..10 {
            assert_eq!(looks.next(&BUSY), Next::Tick);
            assert_eq!(looks.next(&SPARSE), Next::Tick);
        }
        let quiet_from = looks.1;
        while looks.next(&IDLE) != Next::Sleep {}
        assert!(looks.1 >= quiet_from + QUIET, "a pause of some ticks is no reason to sleep");
    }

    #[test]
    fn a_runtime_that_mostly_rests_is_looked_at_seldom() {
        let mut looks = looks();
        for _ in 0..100 {
            assert_eq!(looks.next(&SPARSE), Next::Rest);
        }
    }

    #[test]
    fn a_long_poll_is_looked_after_while_it_lasts() {
        let mut looks = looks();
        looks.next(&NEWLY_STALLED);
        for _ in 0..2_000 {
            assert_eq!(looks.next(&STALLED), Next::Tick);
        }
        assert!([looks.next(&BUSY), looks.next(&BUSY)].contains(&Next::Rest), "it was the only one");
    }

    #[test]
    fn of_two_long_polls_within_a_second_the_next_second_is_watched() {
        let mut looks = looks();
        looks.next(&NEWLY_STALLED);
        let next = looks.1 + ALERT / 2;
        while looks.1 < next {
            looks.next(&SPARSE);
        }
        looks.next(&NEWLY_STALLED);
        let until = looks.1 - TICK + ALERT;
        while looks.1 < until {
            assert_eq!(looks.next(&BUSY), Next::Tick);
        }
        assert!([looks.next(&BUSY), looks.next(&BUSY)].contains(&Next::Rest), "no poll was long for a second");
    }

    #[test]
    fn it_sleeps_when_all_was_quiet_for_a_while_whether_or_not_it_was_alert() {
        for first in [SPARSE, NEWLY_STALLED] {
            let mut looks = looks();
            looks.next(&first);
            let quiet_from = looks.1;
            while looks.next(&IDLE) != Next::Sleep {
                assert!(looks.1 <= quiet_from + QUIET + REST);
            }
        }
    }

    /// Looks until it listens, for the first time or again; how many looks that took.
    fn looks_until_it_listens(looks: &mut Looks, look: &Look) -> u32 {
        (1..=100).find(|_| looks.next(look) == LISTENS).expect("it never listens")
    }

    #[test]
    fn it_listens_where_nobody_runs_and_no_timer_is_near() {
        let mut looks = looks();
        assert_eq!(looks_until_it_listens(&mut looks, &CALM), CALM_LOOKS);
        for _ in 0..10 {
            assert_eq!(looks.next(&CALM), LISTENS);
            assert_eq!(looks.next(&SPARSE), Next::Rest, "a timer is near");
            assert_eq!(looks.next(&Look { is_active: true, ..CALM }), Next::Tick, "somebody happens to run");
        }
    }

    #[test]
    fn it_listens_no_longer_than_a_timer_or_a_report_can_wait() {
        let mut looks = looks();
        looks_until_it_listens(&mut looks, &CALM);
        for (timer_in, slow_poll, next) in [
            (None, None, LISTENS),
            (Some(LISTEN_MAX - TICK), None, LISTENS),
            (Some(LISTEN_MAX - 2 * TICK), None, Next::Listen(LISTEN_MAX - TICK)),
            (Some(LISTEN_MIN - TICK), None, Next::Listen(LISTEN_MIN)),
            (Some(LISTEN_MIN - 2 * TICK), None, Next::Rest),
            (None, Some(LISTEN_MAX * LOOKS_A_REPORT), LISTENS),
            (Some(LISTEN_MAX), Some(LISTEN_MIN * LOOKS_A_REPORT), Next::Listen(LISTEN_MIN)),
            (None, Some(LISTEN_MIN * LOOKS_A_REPORT - TICK), Next::Rest),
        ] {
            looks.0.slow_poll = slow_poll;
            assert_eq!(looks.next(&Look { timer_in, ..CALM }), next);
        }
    }

    #[test]
    fn long_polls_that_are_expected_are_listened_for_where_nobody_runs() {
        let mut looks = looks();
        for _ in 0..2 {
            looks.next(&NEWLY_STALLED);
        }
        for _ in 1..CALM_LOOKS {
            assert_eq!(looks.next(&CALM), Next::Tick);
        }
        assert_eq!(looks.next(&CALM), LISTENS);
        assert_eq!(looks.0.cannot_listen(looks.1), Next::Tick, "nothing would be heard");
        assert_eq!(looks.next(&SPARSE), Next::Tick, "a timer would not be heard");
    }

    #[test]
    fn it_does_not_listen_where_somebody_often_runs() {
        let mut looks = looks();
        looks_until_it_listens(&mut looks, &CALM);
        for _ in 0..10 {
            assert_eq!(looks.next(&Look { is_active: true, ..CALM }), Next::Tick);
            assert_eq!(looks.next(&Look { is_active: true, ..CALM }), Next::Rest, "a tick later as well");
            for _ in 1..CALM_LOOKS {
                assert_eq!(looks.next(&CALM), Next::Rest);
            }
        }
    }

    #[test]
    fn it_does_not_listen_where_it_is_interrupted() {
        let mut looks = looks();
        looks_until_it_listens(&mut looks, &CALM);
        for _ in 0..10 {
            looks.0.has_listened(true, looks.1);
            assert_eq!(looks_until_it_listens(&mut looks, &CALM), CALM_LOOKS);
        }
        looks.0.has_listened(false, looks.1);
        assert_eq!(looks.next(&CALM), LISTENS);
    }

    #[test]
    fn the_tripwire_is_left_when_nobody_listens_any_more() {
        let mut looks = looks();
        assert!(!looks.0.has_not_listened_for_long(looks.1), "it never did");
        looks_until_it_listens(&mut looks, &CALM);
        assert!(looks.0.has_not_listened_for_long(looks.1 + FORGET), "loops are in the tripwire since");
        looks.0.has_listened(true, looks.1);
        assert!(!looks.0.has_not_listened_for_long(looks.1));
        assert!(looks.0.has_not_listened_for_long(looks.1 + FORGET));
        let slept_until = looks.1 + FORGET * 10;
        looks.0.begin_anew(slept_until);
        assert!(!looks.0.has_not_listened_for_long(slept_until), "while it slept there was nothing to be heard");
    }

    #[test]
    fn a_monitor_that_cannot_listen_rests_and_tries_again_later() {
        let mut looks = looks();
        for _ in 0..3 {
            assert_eq!(looks_until_it_listens(&mut looks, &CALM), CALM_LOOKS);
            assert_eq!(looks.0.cannot_listen(looks.1), Next::Rest);
        }
    }

    #[test]
    fn nothing_heard_and_nothing_seen_is_quiet_enough_to_sleep() {
        let mut looks = looks();
        looks_until_it_listens(&mut looks, &CALM);
        looks.0.has_listened(false, looks.1);
        for _ in 0..3 {
            assert_eq!(looks.next(&QUIET_AND_CALM), LISTENS, "whoever comes now and then need not rouse it");
            looks.0.has_listened(false, looks.1);
            assert_eq!(looks.next(&CALM), LISTENS);
            looks.0.has_listened(false, looks.1);
        }
        assert_eq!(looks.next(&QUIET_AND_CALM), LISTENS);
        looks.0.has_listened(false, looks.1);
        assert_eq!(looks.next(&QUIET_AND_CALM), Next::Sleep);
    }

    #[test]
    fn a_sleep_ends_what_was_known() {
        let mut looks = looks();
        while looks.next(&IDLE) != Next::Sleep {}
        looks.0.begin_anew(looks.1);
        assert_eq!(looks.next(&IDLE), Next::Rest, "quiet from now on");
        assert_eq!(looks.next(&BUSY), Next::Tick);
    }

    #[test]
    fn after_a_sleep_it_listens_at_once_unless_somebody_goes_on_running() {
        let mut looks = looks();
        while looks.next(&IDLE) != Next::Sleep {}
        looks.0.begin_anew(looks.1);
        assert_eq!(looks.next(&CALM), LISTENS);
        while looks.next(&IDLE) != Next::Sleep {}
        looks.0.begin_anew(looks.1);
        assert_eq!(looks.next(&BUSY), Next::Tick);
        assert_eq!(looks.next(&BUSY), Next::Rest);
        assert_eq!(looks_until_it_listens(&mut looks, &CALM), CALM_LOOKS);
    }
}
