//! A protocol that tells the test of each call, and what tests of transports share.

use std::io::{self, ErrorKind};
use std::sync::{Arc, LazyLock, Mutex};

use eddies::protocols::{Protocol, Transport};
use eddies::sync::{Receiver, UnboundedSender, unbounded_channel};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    Made,
    Data(Vec<u8>),
    Eof,
    Paused,
    Resumed,
    Lost(Option<ErrorKind>),
}
use Event::{Data, Eof, Lost, Made, Paused, Resumed};

pub(crate) fn data(bytes: &[u8]) -> Event {
    Data(bytes.to_vec())
}

/// What the protocol does at an event; at the end of the stream the answer says whether to stay open.
pub(crate) type Hook = Box<dyn FnMut(&Transport, &Event) -> bool + Send>;

/// Tells the test of each call, and then does what the test asks for.
pub(crate) struct Probe {
    pub(crate) events: UnboundedSender<Event>,
    pub(crate) transport: Option<Transport>,
    pub(crate) hook: Hook,
}

impl Probe {
    pub(crate) fn new(hook: impl FnMut(&Transport, &Event) -> bool + Send + 'static) -> (Probe, Receiver<Event>) {
        let (events, heard) = unbounded_channel();
        (Probe { events, transport: None, hook: Box::new(hook) }, heard)
    }

    fn tell(&mut self, event: Event) -> bool {
        // The test may have heard enough.
        let _ = self.events.send(event.clone());
        (self.hook)(self.transport.as_ref().expect("connection_made came first"), &event)
    }
}

impl Protocol for Probe {
    fn connection_made(&mut self, transport: &Transport) {
        self.transport = Some(transport.clone());
        self.tell(Made);
    }

    fn data_received(&mut self, data: &[u8]) {
        self.tell(Data(data.to_vec()));
    }

    fn eof_received(&mut self) -> bool {
        self.tell(Eof)
    }

    fn connection_lost(&mut self, error: Option<&io::Error>) {
        self.tell(Lost(error.map(io::Error::kind)));
    }

    fn pause_writing(&mut self) {
        self.tell(Paused);
    }

    fn resume_writing(&mut self) {
        self.tell(Resumed);
    }
}

pub(crate) fn quiet(_: &Transport, _: &Event) -> bool {
    false
}

/// The next event that is no `Data`, and the bytes of those before it.
pub(crate) async fn next(heard: &mut Receiver<Event>, bytes: &mut Vec<u8>) -> Option<Event> {
    loop {
        match heard.recv().await {
            Some(Data(data)) => bytes.extend(data),
            event => return event,
        }
    }
}

/// Lets every task of a runtime with one worker do what it can.
pub(crate) async fn settle() {
    for _ in 0..64 {
        eddies::yield_now().await;
    }
}

pub(crate) type Exceptions = Arc<Mutex<Vec<String>>>;

/// Runs `test` on one worker; what the exception handler heard is in the argument.
pub(crate) fn run<T>(test: impl AsyncFnOnce(Exceptions) -> io::Result<T>) -> T {
    let exceptions = Exceptions::default();
    let ears = exceptions.clone();
    let runtime = eddies::Runtime::builder()
        .workers(1)
        .exception_handler(move |exception| ears.lock().unwrap().push(exception.to_string()))
        .build()
        .expect("a runtime");
    runtime.block_on(test(exceptions)).expect("no I/O error")
}

/// More than the buffers of a pair of Unix sockets hold.
pub(crate) const BIG: usize = 1 << 20;

/// Bytes that tell their place.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    static ALL: LazyLock<Vec<u8>> = LazyLock::new(|| (0..BIG).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect());
    ALL[..len].to_vec()
}
