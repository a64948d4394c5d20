//! A race whose runners start one after the other.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use super::as_completed::as_completed;
use crate::sync::Event;
use crate::time::{now, timeout_at};

/// Tries one thing after the other, without waiting for each to fail: the first that succeeds wins. asyncio's `staggered_race`, the heart of "happy
/// eyeballs" (RFC 8305).
///
/// The first of `factories` is called at once. The next is called when `delay` has passed since, or when the one called last has failed; with a delay
/// of `None`, only then. What they make runs concurrently within the calling task. The first that gives `Ok` wins; the others are dropped before this
/// returns, and what was not called yet is never called.
///
/// # Errors
///
/// When all have failed: their errors, in the order of the arguments. Without factories that is an empty list.
///
/// # Panics
///
/// A panic of a future or factory goes through at once, and drops the others. With a delay it panics like [`Sleep`](crate::time::Sleep) when it has to
/// wait outside a runtime.
///
/// # Cancel safety
///
/// Dropping it drops all that runs in it.
///
/// ```
/// use std::time::Duration;
/// use eddies::{sleep, staggered};
///
/// let runtime = eddies::Runtime::builder().virtual_time(true).build()?;
/// runtime.block_on(async {
///     let begin = eddies::now();
///     // The first answers after 10 seconds, the second after 1, but it begins 250 ms later.
///     let addresses = [("2001:db8::1", 10), ("192.0.2.1", 1)].map(|(address, seconds)| {
///         move || async move {
///             sleep(Duration::from_secs(seconds)).await;
///             Ok::<_, std::io::Error>(address)
///         }
///     });
///     assert_eq!(staggered(addresses, Duration::from_millis(250)).await.unwrap(), "192.0.2.1");
///     assert_eq!(eddies::now() - begin, Duration::from_millis(1250));
/// });
/// # std::io::Result::Ok(())
/// ```
#[doc(alias("happy_eyeballs", "staggered_race", "select_ok"))]
pub async fn staggered<I, B, T, E>(factories: I, delay: impl Into<Option<Duration>>) -> Result<T, Vec<E>>
where
    I: IntoIterator,
    I::Item: FnOnce() -> B,
    B: IntoFuture<Output = Result<T, E>>,
{
    let delay = delay.into();
    let mut turns = Vec::new();
    let runners: Vec<_> = factories
        .into_iter()
        .enumerate()
        .map(|(number, factory)| {
            let turn = Arc::new(Event::new());
            turns.push(turn.clone());
            async move {
                turn.wait().await;
                (number, factory().await)
            }
        })
        .collect();
    let mut errors: Vec<Option<E>> = turns.iter().map(|_| None).collect();
    let mut waiting = turns.iter();
    let mut outputs = as_completed(runners);
    let mut called = 0;
    loop {
        let next = waiting.next();
        called += usize::from(next.is_some());
        let since = now();
        if let Some(turn) = next {
            turn.set();
        }
        let deadline = delay.filter(|_| waiting.len() > 0).and_then(|delay| since.checked_add(delay));
        // Until it is the next one's turn.
        loop {
            let output = match deadline {
                Some(deadline) => timeout_at(deadline, outputs.next()).await,
                None => Ok(outputs.next().await),
            };
            match output {
                Ok(Some((_, Ok(value)))) => return Ok(value),
                Ok(Some((number, Err(error)))) => {
                    errors[number] = Some(error);
                    if number + 1 == called && waiting.len() > 0 {
                        break;
                    }
                }
                Ok(None) => return Err(errors.into_iter().flatten().collect()),
                Err(_) => break,
            }
        }
    }
}
