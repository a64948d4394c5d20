//! The accepting task over answers that a test chooses.

use super::*;
use std::sync::mpsc;
use std::time::Instant;

fn premises() -> Arc<Premises> {
    let state = PremisesState { gates: Vec::new(), is_serving: true, is_closed: false, is_awaited: false, file: None };
    Arc::new(Premises { state: Mutex::new(state), clients: Clients::new(1), closed: Event::new() })
}

/// Runs the accepting task over these answers of `accept`; the answer is how often it was polled, and what was reported.
fn accept(answers: Vec<io::Result<()>>) -> (usize, Vec<String>) {
    let (tell, hear) = mpsc::channel();
    let runtime = crate::Runtime::builder()
        .workers(1)
        .exception_handler(move |exception| drop(tell.send(exception.to_string())))
        .build()
        .unwrap();
    let (mut answers, mut polls) = (answers.into_iter(), 0);
    let premises = premises();
    runtime.block_on(premises.accept_until_closed(|cx, _| {
        polls += 1;
        match answers.next() {
            Some(answer) => Poll::Ready(answer),
            None => {
                premises.close();
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }));
    (polls, hear.try_iter().collect())
}

#[test]
fn a_failing_accept_is_told_once_and_tried_again_after_pauses() {
    const EMFILE: i32 = 24;
    let failed = || Err(io::Error::from_raw_os_error(EMFILE));
    let begin = Instant::now();
    let (polls, heard) = accept(vec![Ok(()), failed(), failed(), Ok(()), Ok(()), failed()]);
    assert_eq!(polls, 7, "each pause ends in one more try, and in no more");
    assert_eq!(heard.len(), 2, "once, and once more after it had worked: {heard:?}");
    assert!(heard[0].contains("accepting a connection") && heard[0].contains("os error 24"), "{heard:?}");
    assert!(begin.elapsed() >= Duration::from_millis(5 + 10 + 5), "{:?}", begin.elapsed());
}

#[test]
fn a_close_ends_the_pause_after_a_failed_accept() {
    let premises = premises();
    crate::run(async {
        let mut accepting = pin!(premises.accept_until_closed(|_, _| Poll::Ready(Err(io::Error::other("no luck")))));
        let mut poll = || accepting.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop()));
        assert!(poll().is_pending(), "it is in a pause");
        premises.close();
        assert!(poll().is_ready(), "and does not wait for its end");
    });
}
