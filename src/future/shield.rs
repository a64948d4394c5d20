//! A future that can be cancelled without what it stands for.

use std::sync::Arc;

use super::ensure::EnsureFuture;
use super::loop_future::LoopFuture;

/// Gives a future that is answered with `future`, and can be cancelled without it: asyncio's `shield`.
///
/// A plain future is spawned, so that it runs on whatever becomes of who asked for it. Cancelling the shield answers the shield and leaves what is behind it
/// alone; dropping it does nothing. What is behind it can be cancelled through handles of its own, and then the shield is cancelled too.
/// When it is finished already, it is given back itself.
///
/// Dropping an await never cancels what was awaited here (it does in asyncio). The shield is for those who call
/// [`cancel`](LoopFuture::cancel).
///
/// An error that comes behind a shield which was cancelled is read by nobody, unless other handles are left to do it: it is reported.
///
/// # Panics
///
/// Like [`ensure_future`](crate::ensure_future).
///
/// ```
/// use eddies::{ensure_future, shield};
///
/// eddies::run(async {
///     let saving = ensure_future(async {
///         eddies::yield_now().await;
///         "saved"
///     });
///     let shielded = shield(saving.clone());
///     assert!(shielded.cancel("the client is gone"));
///     assert!(shielded.cancelled());
///     assert_eq!(saving.await.unwrap(), "saved");
/// });
/// ```
#[track_caller]
pub fn shield<F>(future: F) -> LoopFuture<F::Value>
where
    F: EnsureFuture,
    F::Value: Clone + Send + Sync + 'static,
{
    let inside = future.ensure();
    if inside.is_finished() {
        return inside;
    }
    let outside = inside.sibling();
    let to_answer = outside.clone();
    let hook = inside.add_done_callback(move |inside| {
        // Refused when the shield was cancelled, and then the error behind it stays unread.
        if !to_answer.is_finished() {
            let _ = to_answer.answer(inside.answered());
        }
    });
    // What is behind holds the shield and not the other way round: a pair that nobody else holds is freed.
    let behind = Arc::downgrade(inside.cell());
    outside.add_done_callback(move |_| {
        if let Some(inside) = behind.upgrade().map(LoopFuture::from_cell) {
            inside.remove_done_callback(hook);
        }
    });
    outside
}
