//! What the public interface cannot choose: that the end is noticed by SIGCHLD, and a process that somebody else reaped.

use std::io::Write;
use std::process::Stdio;

use super::*;
use crate::loom::Arc;

fn started(command: &mut std::process::Command) -> (std::process::Child, Offspring) {
    let child = command.stdin(Stdio::piped()).spawn().expect("there is a shell");
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    (child, Offspring::new(pid, false))
}

#[test]
fn without_a_pidfd_the_signal_tells() {
    crate::run(async {
        let (mut child, mut offspring) = started(std::process::Command::new("sh").args(["-c", "read line; exit 7"]));
        offspring.end = End::Sigchld;
        let offspring = Arc::new(offspring);
        let waits = [(); 2].map(|()| {
            let offspring = offspring.clone();
            crate::spawn(async move { offspring.wait().await })
        });
        crate::yield_now().await;
        assert!(offspring.try_wait().unwrap().is_none(), "it reads");
        child.stdin.take().unwrap().write_all(b"\n").unwrap();
        for wait in waits {
            assert_eq!(wait.await.unwrap().unwrap().code(), Some(7));
        }
    });
}

#[test]
fn without_a_pidfd_a_signal_reaches_the_living_only() {
    crate::run(async {
        let (_child, mut offspring) = started(std::process::Command::new("sh").args(["-c", "read line"]));
        offspring.end = End::Sigchld;
        offspring.send_signal(SignalKind::terminate()).unwrap();
        assert_eq!(offspring.wait().await.unwrap().signal(), Some(libc::SIGTERM));
        let late = offspring.send_signal(SignalKind::terminate()).unwrap_err();
        assert!(late.get_ref().unwrap().is::<ProcessEnded>(), "{late}");
    });
}

#[test]
fn what_somebody_else_reaped_is_lost_and_takes_no_signal() {
    crate::run(async {
        let (mut child, offspring) = started(std::process::Command::new("sh").args(["-c", "read line"]));
        // The standard library's child reaps it.
        child.wait().unwrap();
        assert_eq!(offspring.wait().await.unwrap_err().raw_os_error(), Some(libc::ECHILD));
        let late = offspring.send_signal(SignalKind::terminate()).unwrap_err();
        assert!(late.get_ref().unwrap().is::<ProcessEnded>(), "{late}");
        offspring.kill().expect("there is nobody to kill");
    });
}
