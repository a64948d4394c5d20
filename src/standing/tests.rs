//! What nobody outside can see: that nothing of the task stays.

use std::time::Duration;

use super::*;

#[test]
fn a_dropped_callback_leaves_no_task_behind() {
    let body = async {
        let of_task = Rc::new(());
        let held = Rc::clone(&of_task);
        // Nothing but the drop would ever end this wait.
        let wait = move |_: &mut Context<'_>| {
            let _ = &held;
            Poll::Pending
        };
        let callback = Box::new(|| panic!("nothing has happened"));
        let Ok(standing) = Standing::start(callback, Location::caller(), wait, |_| ()) else { panic!("closed") };
        for _ in 0..10 {
            yield_now().await;
        }
        drop(standing);
        while Rc::strong_count(&of_task) > 1 {
            yield_now().await;
        }
    };
    crate::run(crate::timeout(Duration::from_secs(30), body)).expect("its task ends");
}

#[test]
fn the_end_of_the_task_is_told_with_the_callback_it_served() {
    let told = Rc::new(RefCell::new(None));
    let event_loop = crate::EventLoop::new().unwrap();
    let at_end = {
        let told = Rc::clone(&told);
        move |ended: &Weak<Standing>| *told.borrow_mut() = ended.upgrade()
    };
    let standing = event_loop
        .inside("a test", || Standing::start(Box::new(|| ()), Location::caller(), |_| Poll::Ready(false), at_end));
    let Ok(Ok(standing)) = standing else { panic!("closed") };
    event_loop.run_until_complete(yield_now()).unwrap();
    assert!(Rc::ptr_eq(&told.borrow_mut().take().expect("it has ended"), &standing));

    event_loop.close().unwrap();
    assert!(event_loop.inside("a test", || ()).is_err());
}
