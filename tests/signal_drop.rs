//! What a dropped signal listener leaves behind. Alone in its file: it counts the descriptors of the process.

use eddies::signal::unix::{SignalKind, signal};

fn open_descriptors() -> usize {
    std::fs::read_dir("/dev/fd").expect("a unix system").count()
}

#[test]
fn dropped_listeners_leave_no_descriptors() -> std::io::Result<()> {
    // One loop: a second one would open its reactor when a task of this test comes to it.
    let runtime = eddies::Runtime::builder().workers(1).build()?;
    runtime.block_on(async {
        let kind = SignalKind::user_defined1();
        drop(signal(kind)?);
        let before = open_descriptors();
        for _ in 0..100 {
            let mut listener = signal(kind)?;
            signal_hook::low_level::raise(kind.as_raw_value())?;
            assert_eq!(listener.recv().await, Some(()));
        }
        assert_eq!(open_descriptors(), before);
        Ok(())
    })
}
