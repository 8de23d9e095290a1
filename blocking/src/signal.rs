//! Wakes a thread that waits, from other threads: [`Signal`].

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Wake;
use std::thread::Thread;
use std::time::Duration;

/// Nothing has woken the thread since it was last cleared.
const CLEAR: u8 = 0;
/// The thread is to go on.
const WOKEN: u8 = 1;
/// The thread is parked, without sockets.
const PARKED: u8 = 2;
/// The thread polls its sockets, and the receiver of its bell.
const POLLING: u8 = 3;

/// The waker of a thread. A wake-up of one that runs, or is woken already, costs no system call.
pub(crate) struct Signal {
    state: AtomicU8,
    thread: Thread,
    /// Created when the thread first waits for sockets.
    bell: OnceLock<Bell>,
}

impl Signal {
    pub(crate) fn new() -> Self {
        let thread = std::thread::current();
        Self { state: AtomicU8::new(CLEAR), thread, bell: OnceLock::new() }
    }

    /// Forgets earlier wake-ups. The thread looks at everything after this.
    pub(crate) fn clear(&self) {
        self.state.swap(CLEAR, Ordering::AcqRel);
    }

    /// Waits for a wake-up, for `timeout` at most. It may return early.
    pub(crate) fn park(&self, timeout: Duration) {
        if self.begin(PARKED) {
            std::thread::park_timeout(timeout);
        }
    }

    /// Returns the bell; `None` if the system has no descriptors for it.
    pub(crate) fn bell(&self) -> Option<&Bell> {
        if self.bell.get().is_none() {
            match Bell::new() {
                Ok(bell) => drop(self.bell.set(bell)),
                Err(error) => tracing::debug!(%error, "a thread waits without a bell"),
            }
        }
        self.bell.get()
    }

    /// From now on a wake-up rings the bell. Returns false if the thread has been woken already.
    pub(crate) fn begin_polling(&self) -> bool {
        self.begin(POLLING)
    }

    /// From now on no wake-up rings the bell.
    pub(crate) fn end_polling(&self) {
        self.state.store(WOKEN, Ordering::Release);
    }

    fn begin(&self, waiting: u8) -> bool {
        self.state.compare_exchange(CLEAR, waiting, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        match self.state.swap(WOKEN, Ordering::AcqRel) {
            PARKED => self.thread.unpark(),
            POLLING => {
                if let Some(bell) = self.bell.get() {
                    bell.ring();
                }
            }
            _ => {}
        }
    }
}

/// A pair of sockets: what one thread sends, another one polls for.
pub(crate) struct Bell {
    sender: Half,
    receiver: Half,
}

#[cfg(unix)]
type Half = std::os::unix::net::UnixStream;
#[cfg(not(unix))]
type Half = std::net::UdpSocket;

impl Bell {
    fn new() -> io::Result<Self> {
        let (sender, receiver) = pair()?;
        sender.set_nonblocking(true)?;
        receiver.set_nonblocking(true)?;
        Ok(Self { sender, receiver })
    }

    pub(crate) fn receiver(&self) -> &Half {
        &self.receiver
    }

    fn ring(&self) {
        // If there is no room, it has been rung before.
        let _ = send(&self.sender);
    }

    /// Receives all that was sent. What is sent after this wakes the thread once without need.
    pub(crate) fn silence(&self) {
        while matches!(receive(&self.receiver), Ok(1..)) {}
    }
}

#[cfg(unix)]
fn pair() -> io::Result<(Half, Half)> {
    Half::pair()
}

#[cfg(unix)]
fn send(mut half: &Half) -> io::Result<usize> {
    io::Write::write(&mut half, &[1])
}

#[cfg(unix)]
fn receive(mut half: &Half) -> io::Result<usize> {
    io::Read::read(&mut half, &mut [0; 16])
}

#[cfg(not(unix))]
fn pair() -> io::Result<(Half, Half)> {
    let (sender, receiver) = (Half::bind("127.0.0.1:0")?, Half::bind("127.0.0.1:0")?);
    sender.connect(receiver.local_addr()?)?;
    receiver.connect(sender.local_addr()?)?;
    Ok((sender, receiver))
}

#[cfg(not(unix))]
fn send(half: &Half) -> io::Result<usize> {
    half.send(&[1])
}

#[cfg(not(unix))]
fn receive(half: &Half) -> io::Result<usize> {
    half.recv(&mut [0; 16])
}
