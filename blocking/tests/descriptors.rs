//! Sessions without descriptors for the wake-ups of their threads. A process of its own, whose descriptors
//! are limited.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;

use rustix::process::{Resource, getrlimit, setrlimit};
use sockless::blocking::{self, Session};
use sockless::{CloseCode, Closed};

fn echo(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv()?;
        session.send(message)?;
    }
}

#[test]
fn sessions_work_without_descriptors_for_wake_ups() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();

    // The lowest number that is free: no other is left.
    let free = File::open("/dev/null").unwrap().as_raw_fd();
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(u64::try_from(free).unwrap());
    setrlimit(Resource::Nofile, limit).unwrap();
    assert!(File::open("/dev/null").is_err());

    let serving = thread::spawn(|| echo(blocking::accept(server).unwrap()));
    let mut session = blocking::connect_over(client, "ws://localhost/").open().unwrap();
    for number in 0..5 {
        session.send(number.to_string()).unwrap();
        assert_eq!(session.recv().unwrap(), *number.to_string());
    }
    assert!(session.close(CloseCode::NORMAL).is_clean());
    assert!(serving.join().unwrap().unwrap_err().is_clean());
}
