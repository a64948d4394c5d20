//! Processes through the public interface alone. Children are held and let go by their pipes; nothing here waits by the clock.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::os::unix::process::ExitStatusExt;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use eddies::process::{
    Child, Command, ProcessEnded, Stdio, SubprocessProtocol, SubprocessTransport, create_subprocess_exec,
    create_subprocess_shell, returncode, subprocess_exec, subprocess_shell,
};
use eddies::signal::unix::SignalKind;
use eddies::{NoRuntime, Runtime};
use futures_util::io::{AsyncReadExt, AsyncWriteExt};
use rustix::process::{Pid, test_kill_process};

/// Runs a test's body. The limit is for a test that fails by waiting for ever.
fn run<T>(body: impl Future<Output = io::Result<T>>) -> T {
    let bounded = eddies::timeout(Duration::from_secs(30), body);
    eddies::run(bounded).expect("it does not hang").expect("no I/O error")
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// A shell with pipes for all of its streams.
fn shell(script: &str) -> io::Result<Child> {
    create_subprocess_shell(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// Waits until the system knows no process `id` any more, neither alive nor a zombie.
fn until_gone(id: u32) {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw).expect("a process's number");
    let start = Instant::now();
    while test_kill_process(pid).is_ok() {
        assert!(start.elapsed() < Duration::from_secs(20), "process {id} is still there");
        std::thread::yield_now();
    }
}

fn is_ended(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound && error.get_ref().is_some_and(|inner| inner.is::<ProcessEnded>())
}

// ---- starting and waiting --------------------------------------------------------------------------------------------------------

#[test]
fn output_collects_and_status_inherits() {
    run(async {
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; read line || echo 'no input'; exit 3"]);
        for _ in 0..2 {
            let output = command.output().await?;
            assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\nno input\n"[..], &b"err\n"[..]));
            assert_eq!(output.status.code(), Some(3));
        }
        assert!(Command::new("true").status().await?.success());
        assert_eq!(returncode(Command::new("false").status().await?), 1);
        let output = Command::new("sh").args(["-c", "echo unheard"]).stdout(Stdio::null()).output().await?;
        assert!(output.stdout.is_empty(), "what was set stays");
        Ok(())
    });
}

#[test]
fn the_surroundings_of_the_child_are_set() {
    run(async {
        let output = Command::new("sh")
            .args(["-c", "echo $ONE $TWO $THREE; pwd"])
            .env("ONE", "1")
            .envs([("TWO", "2"), ("THREE", "3")])
            .env_remove("THREE")
            .current_dir("/")
            .output()
            .await?;
        assert_eq!(output.stdout, b"1 2\n/\n");
        let output = Command::new("/bin/sh").args(["-c", "echo ${PATH_OF_TEST-unset}"]).env_clear().output().await?;
        assert_eq!(output.stdout, b"unset\n");
        Ok(())
    });
}

#[test]
fn a_program_that_is_not_there_is_an_error() {
    run(async {
        let error = create_subprocess_exec("/no/such/program", ["-x"]).await.expect_err("it cannot start");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let error = Command::new("true").current_dir("/no/such/directory").spawn().expect_err("it cannot start there");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let status = create_subprocess_shell("/no/such/program 2>/dev/null").status().await?;
        assert_eq!(status.code(), Some(127), "the shell starts, and says so");
        Ok(())
    });
}

#[test]
fn pipes_carry_bytes_both_ways_and_a_megabyte() {
    run(async {
        let mut child = create_subprocess_exec("cat", ["-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).await?;
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        stdin.write_all(b"ping").await?;
        let mut bytes = [0; 4];
        stdout.read_exact(&mut bytes).await?;
        assert_eq!(&bytes, b"ping");

        let sent = Arc::new((0..1_u32 << 18).flat_map(u32::to_ne_bytes).collect::<Vec<u8>>());
        let to_send = Arc::clone(&sent);
        let writing = eddies::spawn(async move {
            stdin.write_all(&to_send).await?;
            stdin.close().await?;
            let error = stdin.write(b"more").await.expect_err("it is closed");
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            io::Result::Ok(())
        });
        let mut received = Vec::new();
        stdout.read_to_end(&mut received).await?;
        writing.await??;
        assert!(received == *sent, "in order, and all of it");
        assert!(child.wait().await?.success());
        Ok(())
    });
}

#[test]
fn one_childs_output_is_anothers_input() {
    run(async {
        let mut first = shell("echo one two three")?;
        let from_first = Stdio::try_from(first.stdout.take().unwrap())?;
        let second = Command::new("wc").arg("-w").stdin(from_first).stdout(Stdio::piped()).spawn()?;
        assert_eq!(String::from_utf8_lossy(&second.wait_with_output().await?.stdout).trim(), "3");
        assert!(first.wait().await?.success());
        Ok(())
    });
}

#[test]
fn the_status_is_there_for_all_who_ask_and_stays() {
    run(async {
        let mut child = shell("read line; exit 5")?;
        assert_eq!(child.try_wait()?, None);
        assert_eq!(child.returncode(), None);
        assert!(child.id().is_some());
        for _ in 0..2 {
            assert_eq!(child.wait().await?.code(), Some(5));
        }
        assert_eq!(child.try_wait()?.and_then(|status| status.code()), Some(5));
        assert_eq!(child.returncode(), Some(5));
        assert_eq!(child.id(), None, "it may be another's number");
        Ok(())
    });
}

#[test]
fn many_children_at_once() {
    run(async {
        let children = (0..40).map(|code| {
            eddies::spawn(async move {
                let mut child = shell(&format!("read line; exit {code}"))?;
                let mut stdin = child.stdin.take().unwrap();
                eddies::yield_now().await;
                stdin.write_all(b"\n").await?;
                io::Result::Ok((code, child.wait().await?.code()))
            })
        });
        for child in eddies::gather(children).await {
            let (code, ended_with) = child??;
            assert_eq!(ended_with, Some(code));
        }
        Ok(())
    });
}

#[test]
fn starting_needs_no_runtime_and_waiting_does() {
    let mut child = shell("read line").unwrap();
    let error = match poll_once(pin!(async {
        // The input stays open, or it might have ended.
        let _input = child.stdin.take();
        child.wait().await
    })) {
        Poll::Ready(Err(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(error.get_ref().is_some_and(|inner| inner.is::<NoRuntime>()), "{error:?}");
    // The input was dropped with the future.
    assert!(eddies::run(child.wait()).unwrap().code().is_some());
}

// ---- signals and letting go ------------------------------------------------------------------------------------------------------

#[test]
fn kill_terminate_and_send_signal_show_in_the_return_code() {
    run(async {
        let mut killed = shell("read line")?;
        killed.kill().await?;
        assert_eq!(killed.returncode(), Some(-9));
        killed.start_kill()?;
        killed.kill().await?;

        let mut terminated = shell("read line")?;
        terminated.terminate()?;
        let input = terminated.stdin.take();
        assert_eq!(terminated.wait().await?.signal(), Some(15));
        drop(input);

        let mut trapping = shell("trap 'echo heard; exit 6' USR1; echo ready; read line")?;
        let mut stdout = trapping.stdout.take().unwrap();
        stdout.read_exact(&mut [0; 6]).await?;
        trapping.send_signal(SignalKind::user_defined1())?;
        let input = trapping.stdin.take();
        assert_eq!(trapping.wait().await?.code(), Some(6));
        drop(input);
        let mut heard = String::new();
        stdout.read_to_string(&mut heard).await?;
        assert_eq!(heard, "heard\n");

        let error = shell("read line")?.send_signal(SignalKind::from_raw(4_321)).expect_err("no such signal");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        Ok(())
    });
}

#[test]
fn a_dropped_child_runs_on_and_leaves_no_zombie() {
    let (ids, inputs) = run(async {
        let (mut ids, mut inputs) = (Vec::new(), Vec::new());
        for _ in 0..10 {
            let mut child = shell("read line")?;
            ids.push(child.id().unwrap());
            inputs.push(child.stdin.take().unwrap());
        }
        for id in &ids {
            test_kill_process(Pid::from_raw(i32::try_from(*id).unwrap()).unwrap())?;
        }
        // One that has ended by the time it is dropped is reaped there and then.
        let mut child = shell("exec >&-; exit 0")?;
        child.stdout.as_mut().unwrap().read_to_end(&mut Vec::new()).await?;
        ids.push(child.id().unwrap_or(ids[0]));
        Ok((ids, inputs))
    });
    // The runtime is gone. All but the last still run, for they read; now they end.
    for id in &ids[..10] {
        assert!(test_kill_process(Pid::from_raw(i32::try_from(*id).unwrap()).unwrap()).is_ok(), "it runs on");
    }
    drop(inputs);
    ids.into_iter().for_each(until_gone);
}

#[test]
fn kill_on_drop_kills() {
    run(async {
        let mut command = create_subprocess_shell("read line");
        let mut child = command.stdin(Stdio::piped()).kill_on_drop(true).spawn()?;
        let (id, input) = (child.id().unwrap(), child.stdin.take());
        drop(child);
        until_gone(id);
        drop(input);
        Ok(())
    });
}

#[test]
fn trap_128_a_cancelled_wait_does_not_kill() {
    run(async {
        let mut child = shell("read line; exit 8")?;
        let mut stdin = child.stdin.take().unwrap();
        for _ in 0..3 {
            assert!(poll_once(pin!(child.wait())).is_pending());
        }
        let child = Arc::new(futures_util::lock::Mutex::new(child));
        let waiting = {
            let child = Arc::clone(&child);
            eddies::spawn(async move { child.lock().await.wait().await })
        };
        eddies::yield_now().await;
        waiting.abort();
        assert!(waiting.await.expect_err("it reads").is_cancelled());
        let mut child = child.lock().await;
        assert_eq!(child.returncode(), None, "it runs");
        stdin.write_all(b"\n").await?;
        assert_eq!(child.wait().await?.code(), Some(8));
        Ok(())
    });
}

#[test]
fn trap_128_a_signal_after_the_end_reaches_nobody() {
    run(async {
        let mut child = shell("exit 0")?;
        // From here on it ends at any moment: before the signal, with it, or it was reaped by the attempt itself.
        child.stdout.as_mut().unwrap().read_to_end(&mut Vec::new()).await?;
        match child.terminate() {
            Ok(()) => {}
            Err(error) => assert!(is_ended(&error), "{error:?}"),
        }
        let status = child.wait().await?;
        assert!(matches!(returncode(status), 0 | -15), "{status}");
        for kind in [SignalKind::terminate(), SignalKind::user_defined1()] {
            let error = child.send_signal(kind).expect_err("its number may be another's");
            assert!(is_ended(&error), "{error:?}");
        }
        child.start_kill()?;
        Ok(())
    });
}

/// Whether the first refusal says that the process has ended.
async fn signal_until_ended(child: Arc<Child>) -> bool {
    loop {
        match child.send_signal(SignalKind::terminate()) {
            Ok(()) => eddies::yield_now().await,
            Err(error) => return is_ended(&error),
        }
    }
}

#[test]
fn trap_128_many_signals_race_with_the_end() {
    // Signals sent while other threads notice the end: each is sent before it or refused after it, and `ESRCH` is never the answer.
    run(async {
        for _ in 0..20 {
            let child = Arc::new(shell("read line")?);
            let racers = (0..4).map(|_| {
                let child = Arc::clone(&child);
                eddies::spawn(signal_until_ended(child))
            });
            for racer in racers.collect::<Vec<_>>() {
                assert!(racer.await?);
            }
            assert_eq!(child.returncode(), Some(-15));
        }
        Ok(())
    });
}

#[test]
fn trap_128_communicate_ignores_a_child_that_does_not_read() {
    run(async {
        let mut child = shell("exec <&-; echo done")?;
        let output = child.communicate(vec![b'x'; 1 << 20]).await?;
        assert_eq!(output.stdout, b"done\n");
        assert!(output.status.success());
        // One that reads a little.
        let mut child = shell("read line; echo $line")?;
        let input = [b"first\n".to_vec(), vec![b'x'; 1 << 20]].concat();
        assert_eq!(child.communicate(input).await?.stdout, b"first\n");
        Ok(())
    });
}

#[test]
fn communicate_feeds_and_reads_at_the_same_time() {
    run(async {
        let mut child = shell("tee /dev/stderr")?;
        let input = vec![b'y'; 1 << 20];
        let output = child.communicate(&input).await?;
        assert!(output.stdout == input && output.stderr == input);

        let mut child = Command::new("true").spawn()?;
        let error = child.communicate("input").await.expect_err("there is no pipe");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(child.communicate([]).await?.status.success());
        Ok(())
    });
}

// ---- protocols -------------------------------------------------------------------------------------------------------------------

#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Made(u32),
    Received(i32, Vec<u8>),
    Lost(i32, Option<ErrorKind>),
    Exited,
    Over,
    Pause,
    Resume,
}

/// Writes down what it is told.
#[derive(Default, Clone)]
struct Log(Arc<Mutex<Vec<Told>>>);

impl Log {
    fn add(&self, told: Told) {
        self.0.lock().unwrap().push(told);
    }

    fn take(&self) -> Vec<Told> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    async fn until(&self, wanted: impl Fn(&[Told]) -> bool) {
        while !wanted(&self.0.lock().unwrap()) {
            eddies::yield_now().await;
        }
    }
}

impl SubprocessProtocol for Log {
    fn connection_made(&mut self, transport: &SubprocessTransport) {
        self.add(Told::Made(transport.pid()));
    }

    fn pipe_data_received(&mut self, fd: i32, data: &[u8]) {
        self.add(Told::Received(fd, data.to_vec()));
    }

    fn pipe_connection_lost(&mut self, fd: i32, error: Option<&io::Error>) {
        self.add(Told::Lost(fd, error.map(io::Error::kind)));
    }

    fn process_exited(&mut self) {
        self.add(Told::Exited);
    }

    fn connection_lost(&mut self, error: Option<&io::Error>) {
        assert!(error.is_none(), "{error:?}");
        self.add(Told::Over);
    }

    fn pause_writing(&mut self) {
        self.add(Told::Pause);
    }

    fn resume_writing(&mut self) {
        self.add(Told::Resume);
    }
}

/// What was told of stream `fd`, with the pieces of data put together.
fn of_stream(told: &[Told], wanted: i32) -> (Vec<u8>, Vec<Option<ErrorKind>>) {
    let (mut data, mut lost) = (Vec::new(), Vec::new());
    for each in told {
        match each {
            Told::Received(fd, piece) if *fd == wanted => {
                assert!(lost.is_empty(), "data after the loss");
                data.extend_from_slice(piece);
            }
            Told::Lost(fd, error) if *fd == wanted => lost.push(*error),
            _ => {}
        }
    }
    (data, lost)
}

#[test]
fn trap_128_what_is_told_of_a_stream_is_in_order() {
    run(async {
        let log = Log::default();
        let factory = || log.clone();
        let script = "for i in 1 2 3; do echo out$i; echo err$i >&2; done; read line; echo $line; exit 3";
        let (transport, protocol) = subprocess_shell(factory, script)?;
        log.until(|told| of_stream(told, 1).0.ends_with(b"out3\n")).await;
        transport.write(b"from the parent\n")?;
        protocol.await?;
        let told = log.take();
        assert_eq!(told.first(), Some(&Told::Made(transport.pid())));
        assert_eq!(of_stream(&told, 1), (b"out1\nout2\nout3\nfrom the parent\n".to_vec(), vec![None]));
        assert_eq!(of_stream(&told, 2), (b"err1\nerr2\nerr3\n".to_vec(), vec![None]));
        assert_eq!(of_stream(&told, 0), (Vec::new(), vec![None]));
        assert_eq!(told.iter().filter(|each| **each == Told::Exited).count(), 1);
        assert_eq!(told.iter().position(|each| *each == Told::Over), Some(told.len() - 1), "once, and last");
        assert_eq!(transport.returncode(), Some(3));
        assert!(is_ended(&transport.terminate().expect_err("it has ended")));
        assert_eq!(transport.write(b"late").expect_err("nobody reads").kind(), ErrorKind::BrokenPipe);
        Ok(())
    });
}

#[test]
fn trap_128_closing_the_transport_kills_a_running_child() {
    run(async {
        let log = Log::default();
        let (transport, protocol) = subprocess_shell(|| log.clone(), "echo up; read line")?;
        log.until(|told| !of_stream(told, 1).0.is_empty()).await;
        assert!(!transport.is_closing());
        transport.close();
        assert!(transport.is_closing());
        transport.close();
        protocol.await?;
        assert_eq!(transport.returncode(), Some(-9));
        let told = log.take();
        for fd in 0..3 {
            assert_eq!(of_stream(&told, fd).1, [None]);
        }
        assert_eq!(told.last(), Some(&Told::Over));
        assert!(told.contains(&Told::Exited));
        Ok(())
    });
}

#[test]
fn input_is_buffered_and_the_protocol_paused() {
    run(async {
        let log = Log::default();
        let mut cat = create_subprocess_exec("cat", ["-"]);
        let (transport, protocol) = subprocess_exec(|| log.clone(), &mut cat)?;
        let sent = vec![b'z'; 1 << 20];
        transport.write(&sent)?;
        transport.write_eof();
        assert_eq!(transport.write(b"more").expect_err("that was the end").kind(), ErrorKind::BrokenPipe);
        protocol.await?;
        assert_eq!(transport.write_buffer_size(), 0);
        let told = log.take();
        let (received, lost) = of_stream(&told, 1);
        assert!(received == sent);
        assert_eq!(lost, [None]);
        let of_flow: Vec<_> = told.into_iter().filter(|each| matches!(each, Told::Pause | Told::Resume)).collect();
        assert_eq!(of_flow, [Told::Pause, Told::Resume]);
        Ok(())
    });
}

#[test]
fn a_child_that_stops_reading_loses_the_input_only() {
    run(async {
        let log = Log::default();
        let (transport, protocol) = subprocess_shell(|| log.clone(), "read line; exec <&-; echo deaf; exec sleep 60")?;
        transport.write(b"hello?\n")?;
        log.until(|told| !of_stream(told, 1).0.is_empty()).await;
        // Without another write that would notice.
        log.until(|told| told.contains(&Told::Lost(0, None))).await;
        assert_eq!(transport.write(b"hello?").expect_err("nobody reads").kind(), ErrorKind::BrokenPipe);
        assert_eq!(transport.returncode(), None);

        // With more in the buffer than the pipe takes.
        let (other, protocol_of_other) = subprocess_shell(|| log.clone(), "read line; exec <&-; exec sleep 60")?;
        log.take();
        other.write(&[b"go\n".to_vec(), vec![b'x'; 1 << 20]].concat())?;
        log.until(|told| told.contains(&Told::Lost(0, Some(ErrorKind::BrokenPipe)))).await;
        assert_eq!(other.write_buffer_size(), 0);
        for (transport, protocol) in [(transport, protocol), (other, protocol_of_other)] {
            assert_eq!(transport.returncode(), None);
            transport.close();
            protocol.await?;
        }
        Ok(())
    });
}

#[test]
fn streams_that_were_set_are_no_pipes() {
    run(async {
        let log = Log::default();
        let mut command = create_subprocess_shell("echo unheard");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let (transport, protocol) = subprocess_exec(|| log.clone(), &mut command)?;
        transport.write(b"x").expect_err("no pipe");
        protocol.await?;
        let told = log.take();
        assert_eq!([0, 1, 2].map(|fd| of_stream(&told, fd).1), [vec![], vec![], vec![None]]);
        Ok(())
    });
}

#[test]
fn a_driver_that_goes_kills_the_process() {
    struct Panics;
    impl SubprocessProtocol for Panics {
        fn pipe_data_received(&mut self, _: i32, _: &[u8]) {
            panic!("of the protocol");
        }
    }
    run(async {
        let (transport, protocol) = subprocess_shell(|| Panics, "echo up; read line")?;
        assert!(protocol.await.err().expect("it panicked").is_panic());
        let id = transport.pid();
        drop(transport);
        until_gone(id);

        let (transport, protocol) = subprocess_shell(Log::default, "read line")?;
        protocol.abort();
        assert!(protocol.await.err().expect("it was aborted").is_cancelled());
        while transport.returncode().is_none() {
            eddies::yield_now().await;
        }
        assert_eq!(transport.returncode(), Some(-9));
        Ok(())
    });

    let runtime = Runtime::builder().workers(1).build().unwrap();
    let (transport, _protocol) = runtime.block_on(async { subprocess_shell(Log::default, "read line") }).unwrap();
    runtime.shutdown(Duration::from_secs(20)).unwrap();
    let id = transport.pid();
    drop(transport);
    until_gone(id);
}

#[test]
fn a_protocol_needs_a_runtime_and_a_program() {
    let error = subprocess_shell(Log::default, "exit").expect_err("outside a runtime");
    assert!(error.get_ref().is_some_and(|inner| inner.is::<NoRuntime>()), "{error:?}");
    run(async {
        let mut command = Command::new("/no/such/program");
        let error = subprocess_exec(|| -> Log { panic!("it is not made") }, &mut command).expect_err("no program");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        Ok(())
    });
}
