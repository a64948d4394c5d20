//! Things dropped where nobody expects it.

use std::rc::Rc;
use std::time::Duration;

use eddies::sync::{Lock, Queue, Semaphore};
use eddies::{EventLoop, spawn, timeout};

use super::{ends, listening, says};

#[test]
fn dropped_the_handle_of_a_callback() {
    ends(|| {
        let event_loop = EventLoop::new().unwrap();
        let handle = event_loop.handle();
        drop(event_loop.call_later(Duration::from_millis(1), move || handle.stop()).unwrap());
        event_loop.run_forever().unwrap();
    });
}

#[test]
fn cancelled_a_callback_after_its_loop_was_gone() {
    ends(|| {
        let weight = Rc::new(());
        let event_loop = EventLoop::new().unwrap();
        let (one, two) = (weight.clone(), weight.clone());
        let soon = event_loop.call_soon(move || drop(one)).unwrap();
        let later = event_loop.call_later(Duration::from_secs(1), move || drop(two)).unwrap();
        let remote = event_loop.handle().call_soon_threadsafe(|| ()).unwrap();
        drop(event_loop);
        assert_eq!(Rc::strong_count(&weight), 1, "the loop dropped what it never called");
        soon.cancel();
        later.cancel();
        remote.cancel();
        assert!(!soon.cancelled() && !later.cancelled() && !remote.cancelled());
    });
}

#[test]
fn dropped_waiters_that_had_been_served() {
    ends(|| {
        eddies::run(async {
            let (lock, semaphore, queue) = (Lock::new(0), Semaphore::new(1), Queue::new(1));
            for _ in 0..100 {
                let _ = timeout(Duration::ZERO, lock.lock()).await;
                let _ = timeout(Duration::ZERO, semaphore.acquire()).await;
                let _ = timeout(Duration::ZERO, queue.put(1)).await;
                let _ = timeout(Duration::ZERO, queue.get()).await;
            }
            assert!(!lock.is_locked() && semaphore.available_permits() == 1 && queue.is_empty());
        });
    });
}

#[test]
fn leaked_a_future_that_waits() {
    ends(|| {
        eddies::run(async {
            let lock = std::sync::Arc::new(Lock::new(0));
            let guard = lock.clone().lock_owned().await;
            let (tell, hear) = eddies::sync::oneshot::<()>();
            let second = lock.clone();
            let leaked = spawn(async move {
                let mut waiting = Box::pin(second.lock_owned());
                let first_poll =
                    std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx).is_pending()));
                assert!(first_poll.await);
                std::mem::forget(waiting);
                tell.send(()).unwrap();
            });
            hear.await.unwrap();
            leaked.await.unwrap();
            drop(guard);
            // A leaked waiter is served, and keeps what it got: that is what leaking means. Nobody else hangs without a way out.
            assert!(timeout(Duration::from_millis(2), lock.lock()).await.is_err());
            assert!(lock.try_lock().is_err());
        });
    });
}

#[test]
fn closed_the_loop_in_the_destructor_of_a_callback() {
    ends(|| {
        struct Closes(EventLoop);
        impl Drop for Closes {
            fn drop(&mut self) {
                // Refused while a run is on, and nothing to do in a close.
                let _ = self.0.close();
                let _ = self.0.call_soon(|| unreachable!("the loop is closing"));
            }
        }
        let (event_loop, heard) = listening();
        let closes = Closes(event_loop.clone());
        event_loop.call_later(Duration::from_secs(3600), move || drop(closes)).unwrap();
        event_loop.close().unwrap();
        assert!(event_loop.is_closed());
        assert!(heard.lock().unwrap().is_empty());
    });
}

#[test]
fn kept_the_loop_alive_in_a_callback_that_never_ran() {
    ends(|| {
        let event_loop = EventLoop::new().unwrap();
        let (handle, inner) = (event_loop.handle(), event_loop.clone());
        event_loop.call_later(Duration::from_secs(3600), move || drop(inner)).unwrap();
        drop(event_loop);
        // A knot, as in every counted language: documented, and closed by hand.
        assert!(!handle.is_closed());
        says(handle.call_soon_threadsafe(|| ()).map(|_| "still open").unwrap(), &["still open"]);
    });
}
