//! One process of `sockless serve` after the other, on one listener as systemd keeps it, or on one port: no client fails to connect.

#![cfg(unix)]
#![expect(clippy::disallowed_methods, reason = "the servers are other processes, in real time")]

mod common;

use std::fmt::Display;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::PROGRAM;
use sockless::{AttemptError, CloseReason, Reconnect};
use tokio::net::TcpSocket;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A process that serves, ended with this value.
struct Process(Child);

impl Process {
    /// Passes the listener as systemd does, as descriptor 3, and waits until it is served.
    fn start(listener: &TcpListener) -> Self {
        let socket = OwnedFd::from(listener.try_clone().unwrap());
        let script = r#"exec 3<&0 0</dev/null
            LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" serve --activated --max-connections 5000 echo"#;
        let mut command = Command::new("sh");
        command.args(["-c", script, PROGRAM]).stdin(Stdio::from(socket));
        Self::listening(command).0
    }

    /// Listens on an address that others listen on too. Returns it with the port that it has got.
    fn sharing(addr: &str) -> (Self, String) {
        let mut command = Command::new(PROGRAM);
        command.args(["serve", "--listen", addr, "--reuse-port", "echo"]);
        Self::listening(command)
    }

    fn listening(mut command: Command) -> (Self, String) {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.trim_end().strip_prefix("listening on http://");
        (Self(child), addr.expect("the address").to_owned())
    }

    /// Has it stop, and waits until it has.
    async fn stop(mut self) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let ended = tokio::task::spawn_blocking(move || self.0.wait()).await.unwrap();
        assert_eq!(ended.unwrap().code(), Some(0));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Listens as the unit of the guide has systemd listen. With the queue of 128 that std has, the kernel
/// drops some of 1000 attempts while the processor is busy, and repeats each after a second.
fn listen() -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket.listen(4096).unwrap().into_std().unwrap()
}

/// What a client reports.
enum News {
    /// A session is open, so long after the one before has ended.
    Open(Option<Duration>),
    /// A session has ended, with this code of the server.
    Closed(Option<u16>),
    /// It failed to connect.
    Failed(String),
}

/// Stays connected to `url`.
async fn client(url: String, news: UnboundedSender<News>) {
    let failed = news.clone();
    let mut feed = Reconnect::new(move || sockless::connect(&url))
        .initial_delay(Duration::from_millis(200))
        .stable_after(Duration::ZERO)
        .retry_if(move |error, _| {
            if !matches!(error, AttemptError::Closed(_)) {
                let _ = failed.send(News::Failed(error.to_string()));
            }
            true
        });
    let mut ended: Option<Instant> = None;
    loop {
        let mut session = feed.next().await.expect("it tries without end");
        let _ = news.send(News::Open(ended.map(|ended| ended.elapsed())));
        let closed = loop {
            if let Err(closed) = session.recv().await {
                break closed;
            }
        };
        ended = Some(Instant::now());
        let code = closed.received().and_then(CloseReason::code).map(|code| code.get());
        let _ = news.send(News::Closed(code));
    }
}

/// The clients, and what they have reported.
struct Clients {
    count: usize,
    open: usize,
    closed: usize,
    /// How long they were away.
    away: Vec<Duration>,
    news: UnboundedReceiver<News>,
}

impl Clients {
    fn start(count: usize, addr: impl Display) -> Self {
        let url = format!("ws://{addr}/");
        let (sender, news) = unbounded_channel();
        for _ in 0..count {
            tokio::spawn(client(url.clone(), sender.clone()));
        }
        Self { count, open: 0, closed: 0, away: Vec::new(), news }
    }

    /// Waits until all are connected, and at least `closed` sessions have ended.
    async fn settle(&mut self, closed: usize) {
        while self.open < self.count || self.closed < closed {
            match self.news.recv().await.expect("they run") {
                News::Open(away) => {
                    self.open += 1;
                    self.away.extend(away);
                }
                News::Closed(code) => {
                    assert_eq!(code, Some(1001));
                    (self.open, self.closed) = (self.open - 1, self.closed + 1);
                }
                News::Failed(error) => panic!("a client failed to connect: {error}"),
            }
        }
    }
}

#[tokio::test]
async fn a_listener_that_is_passed_on_loses_no_connection() {
    let listener = listen();
    let mut process = Process::start(&listener);
    let mut clients = Clients::start(20, listener.local_addr().unwrap());
    clients.settle(0).await;
    for round in 1..=4 {
        // As for a deployment, and as systemd restarts a service.
        if round % 2 == 0 {
            let next = Process::start(&listener);
            std::mem::replace(&mut process, next).stop().await;
        } else {
            process.stop().await;
            process = Process::start(&listener);
        }
        clients.settle(20 * round).await;
    }
}

/// Not on other systems: there, the port belongs to one of the processes.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_port_that_two_processes_share_loses_no_connection_when_one_leaves() {
    let (mut process, addr) = Process::sharing("127.0.0.1:0");
    let mut clients = Clients::start(20, &addr);
    clients.settle(0).await;
    for round in 1..=4 {
        let (next, same) = Process::sharing(&addr);
        assert_eq!(same, addr);
        std::mem::replace(&mut process, next).stop().await;
        clients.settle(20 * round).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes half a minute of real time"]
async fn a_new_process_every_second_for_half_a_minute_loses_none_of_1000_clients() {
    let listener = listen();
    let mut process = Process::start(&listener);
    let mut clients = Clients::start(1000, listener.local_addr().unwrap());
    clients.settle(0).await;
    let mut second = tokio::time::interval(Duration::from_secs(1));
    for round in 1..=30 {
        second.tick().await;
        let next = Process::start(&listener);
        std::mem::replace(&mut process, next).stop().await;
        clients.settle(1000 * round).await;
    }
    clients.away.sort();
    let at = |share: usize| clients.away[(clients.away.len() - 1) * share / 100];
    println!(
        "30 processes, {} sessions ended with 1001, no failed connect; away: median {:?}, 99 % {:?}, longest {:?}",
        clients.closed,
        at(50),
        at(99),
        at(100)
    );
    assert!(at(100) <= Duration::from_secs(1), "away for {:?}", at(100));
}
