//! Rooms over a Redis server that misbehaves. The oracle `redis` has a real one.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use common::{Lines, expect_message, router, welcome, words};
use sockless::rooms::{
    BusError, History, Namespace, PublishError, RedisBus, RedisUrlError, RoomConfig, Rooms,
};
use sockless::sim::{Sim, SimIo};

/// Long enough for the bus to connect again.
const A_WHILE: Duration = Duration::from_secs(3);

const GARBAGE: &[&[u8]] = &[
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"\0\0\0\0",
    b"$9999999999\r\n",
    b"*131073\r\n",
    b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
    b"%-1\r\n",
    b">0\r\n",
    b">1\r\n:1\r\n",
    b"-ERR unknown command 'HELLO'\r\n",
    b"-NOAUTH HELLO must be called with the client already authenticated\r\n",
    b"%1\r\n$5\r\nproto\r\n:2\r\n+OK\r\n-LOADING Redis is loading the dataset in memory\r\n",
    b"=3\r\nabc\r\n",
    b"#x\r\n",
    b",\r\n",
    b":x\r\n",
];

#[test]
fn garbage_is_an_event_and_the_rooms_go_on() {
    for garbage in GARBAGE {
        Sim::check(0..2, |sim| async move {
            let broker = FakeBroker::start(&sim, garbage);
            let (rooms, chat) = chat(&sim);
            let app = sim.app(router(&chat));
            let mut ada = app.open("/room").await;
            assert_eq!(welcome(&mut ada).await.1, "new");
            // Until its request has timed out where it waits for more.
            sim.sleep(2 * A_WHILE).await;
            assert!(rooms.is_bus_down(), "{:?}", garbage.escape_ascii());
            // However often it has tried.
            assert_eq!(rooms.stats().bus_outages, 1, "{:?}", garbage.escape_ascii());
            let error = chat.publish("room", "lost").await.unwrap_err();
            assert!(matches!(error, PublishError::Bus(BusError::Unavailable(_))), "{error}");

            broker.is_good.store(true, Relaxed);
            sim.sleep(A_WHILE).await;
            assert_eq!(words(&mut ada).await, ["restored"]);
            // It does not know what was published before it was connected.
            assert_eq!(words(&mut ada).await[0], "gap");
            chat.publish("room", "hello").await.unwrap();
            expect_message(&mut ada, "hello").await;
        });
    }
}

/// The same instead of an answer, or ahead of one, once it was connected.
#[test]
fn garbage_behind_the_handshake_loses_nothing() {
    for garbage in GARBAGE {
        Sim::check(0..2, |sim| async move {
            let (broker, rooms, chat) = connected(&sim).await;
            let mut ada = sim.app(router(&chat)).open("/room").await;
            welcome(&mut ada).await;
            for round in 0..3 {
                *broker.pushes.lock().unwrap() = garbage.to_vec();
                // Until a ping has found out, and the next connection is there.
                sim.sleep(5 * A_WHILE).await;
                assert!(!rooms.is_bus_down(), "{:?}", garbage.escape_ascii());
                chat.publish("room", format!("{round}")).await.unwrap();
                loop {
                    let words = words(&mut ada).await;
                    match words[0].as_str() {
                        "interrupted" | "restored" => {}
                        "message" => break assert_eq!(words[2], format!("{round}")),
                        _ => panic!("{words:?} after {:?}", garbage.escape_ascii()),
                    }
                }
            }
        });
    }
}

#[test]
fn messages_of_no_known_form_are_ignored() {
    Sim::check(0..5, |sim| async move {
        let (broker, rooms, chat) = connected(&sim).await;
        let mut ada = sim.app(router(&chat)).open("/room").await;
        welcome(&mut ada).await;
        let invalid = rooms.stats().bus_invalid;
        let long = format!("i{} \x01\x01x", "9".repeat(100));
        let odd = [
            ("sockless/0:chat:room", ""),
            ("sockless/0:chat:room", "x"),
            ("sockless/0:chat:room", "i"),
            ("sockless/0:chat:room", "ia.1"),
            ("sockless/0:chat:room", "ia.1 "),
            ("sockless/0:chat:room", "ia.1 \x01"),
            ("sockless/0:chat:room", "ia.1 \x02\x01x"),
            ("sockless/0:chat:room", "i1 \x01\x01x"),
            ("sockless/0:chat:room", &long),
            ("sockless/0:chat:room", "s\x01"),
            ("sockless/0:chat:", "ia.1 \x01\x01x"),
            ("sockless/1:chat:room", "ia.1 \x01\x01x"),
            ("other", "ia.1 \x01\x01x"),
        ];
        for (channel, payload) in odd {
            broker.push(channel, payload.as_bytes());
        }
        sim.sleep(A_WHILE).await;
        assert_eq!(rooms.stats().bus_invalid, invalid + odd.len() as u64);
        assert!(!rooms.is_bus_down());
        chat.publish("room", "hello").await.unwrap();
        expect_message(&mut ada, "hello").await;
    });
}

/// Each confirmation takes memory of the connection.
#[test]
fn confirmations_that_were_not_asked_for_break_the_connection() {
    Sim::check(0..5, |sim| async move {
        let (broker, _rooms, _chat) = connected(&sim).await;
        assert_eq!(broker.connections.load(Relaxed), 1);
        *broker.pushes.lock().unwrap() = b">3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n".to_vec();
        sim.sleep(A_WHILE).await;
        assert_eq!(broker.connections.load(Relaxed), 2);
    });
}

/// The broker accepts, and never answers.
#[test]
fn a_broker_that_hangs_blocks_no_session() {
    Sim::check(0..5, |sim| async move {
        let (broker, rooms, chat) = connected(&sim).await;
        let app = sim.app(router(&chat));
        let mut ada = app.open("/room").await;
        welcome(&mut ada).await;
        broker.is_silent.store(true, Relaxed);
        let begun = sim.now();
        let error = chat.publish("room", "unknown").await.unwrap_err();
        assert!(matches!(error, PublishError::Bus(BusError::Unavailable(_))), "{error}");
        assert!(sim.now().saturating_since(begun) <= Duration::from_secs(6));
        assert_eq!(rooms.stats().bus_outages, 0, "it was not connected yet when it started");
        // A ping has found out.
        sim.sleep(Duration::from_secs(10)).await;
        assert_eq!(rooms.stats().bus_outages, 1);
        assert!(rooms.is_bus_down());
        assert_eq!(words(&mut ada).await, ["interrupted"]);
        let mut bob = app.open("/room").await;
        welcome(&mut bob).await;
        broker.is_silent.store(false, Relaxed);
        sim.sleep(Duration::from_secs(10)).await;
        assert!(!rooms.is_bus_down());
    });
}

#[test]
fn the_task_ends_with_the_rooms() {
    Sim::check(0..5, |sim| async move {
        let (broker, rooms, chat) = connected(&sim).await;
        drop((rooms, chat));
        sim.sleep(A_WHILE).await;
        assert_eq!((broker.connections.load(Relaxed), broker.ended.load(Relaxed)), (1, 1));
    });
}

#[test]
fn urls_of_other_forms_are_errors() {
    Sim::check(0..1, |sim| async move {
        for url in ["redis://localhost", "redis://u:p@[::1]:7/2", "redis+unix:///run/redis.sock"] {
            let bus = RedisBus::new(url, sim.clone()).unwrap();
            assert!(!format!("{bus:?}").contains("localhost"));
        }
        for url in ["", "localhost:6379", "rediss://localhost", "http://localhost", "redis://x/y"] {
            let error: RedisUrlError = RedisBus::new(url, sim.clone()).unwrap_err();
            assert!(error.to_string().contains("redis://"), "{url}");
        }
    });
}

fn chat(sim: &Sim) -> (Rooms, Namespace) {
    let rooms = Rooms::redis("redis://broker:6379", sim.clone()).unwrap();
    let config = RoomConfig::default().envelope(Lines).history(History::last(5));
    let chat = rooms.namespace("chat", config);
    (rooms, chat)
}

/// As [`chat`], with a broker to which it is connected.
async fn connected(sim: &Sim) -> (Arc<FakeBroker>, Rooms, Namespace) {
    let broker = FakeBroker::start(sim, b"");
    broker.is_good.store(true, Relaxed);
    let (rooms, chat) = chat(sim);
    sim.sleep(A_WHILE).await;
    (broker, rooms, chat)
}

/// A server that knows the commands of the bus, and one room.
struct FakeBroker {
    /// The bytes that are sent to a connection at once, unless the broker is good.
    garbage: &'static [u8],
    is_good: AtomicBool,
    is_silent: AtomicBool,
    connections: AtomicU64,
    ended: AtomicU64,
    top: AtomicU64,
    /// Bytes that are sent with the next answer.
    pushes: std::sync::Mutex<Vec<u8>>,
}

impl FakeBroker {
    fn start(sim: &Sim, garbage: &'static [u8]) -> Arc<Self> {
        let broker = Arc::new(Self {
            garbage,
            is_good: AtomicBool::new(false),
            is_silent: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            top: AtomicU64::new(0),
            pushes: std::sync::Mutex::default(),
        });
        let (serving, spawner) = (broker.clone(), sim.clone());
        let mut listener = sim.listen("broker:6379");
        sim.spawn(async move {
            loop {
                let io = listener.accept().await;
                let broker = serving.clone();
                spawner.spawn(async move {
                    broker.connections.fetch_add(1, Relaxed);
                    broker.serve(io).await;
                    broker.ended.fetch_add(1, Relaxed);
                });
            }
        });
        broker
    }

    fn push(&self, channel: &str, payload: &[u8]) {
        self.pushes.lock().unwrap().extend(message(channel, payload));
    }

    async fn serve(&self, io: SimIo) {
        if !self.is_good.load(Relaxed) && io.write_all(self.garbage).await.is_err() {
            return;
        }
        let mut received = Vec::new();
        while let Ok(bytes) = io.read_some().await {
            if bytes.is_empty() {
                return;
            }
            received.extend_from_slice(&bytes);
            while let Some(command) = take_command(&mut received) {
                let mut answer = std::mem::take(&mut *self.pushes.lock().unwrap());
                answer.extend(self.answer(&command));
                let speaks = self.is_good.load(Relaxed) && !self.is_silent.load(Relaxed);
                if speaks && io.write_all(&answer).await.is_err() {
                    return;
                }
            }
        }
    }

    fn answer(&self, command: &[String]) -> Vec<u8> {
        let words: Vec<_> = command.iter().map(String::as_str).collect();
        match *words {
            ["HELLO", ..] => b"%0\r\n".to_vec(),
            ["PING"] => b"+PONG\r\n".to_vec(),
            ["INFO", ..] => b"$9\r\nrun_id:ab\r\n".to_vec(),
            ["SCRIPT", "LOAD", source] if source.contains("XADD") => bulk(b"append"),
            ["SCRIPT", "LOAD", source] if source.contains("XRANGE") => bulk(b"replay"),
            ["SCRIPT", "LOAD", _] => bulk(b"tops"),
            ["SUBSCRIBE", channel] => {
                [b">3\r\n$9\r\nsubscribe\r\n", &*bulk(channel.as_bytes()), b":1\r\n"].concat()
            }
            ["EVALSHA", "tops", ..] => self.position(),
            ["EVALSHA", "replay", ..] => {
                let top = self.top.load(Relaxed);
                format!("*3\r\n$1\r\na\r\n:{top}\r\n:{top}\r\n").into_bytes()
            }
            // `numkeys`, three keys, and the channel as the fourth argument.
            ["EVALSHA", "append", "3", _, _, _, _, _, _, channel, publication, ..] => {
                let top = self.top.fetch_add(1, Relaxed) + 1;
                let item = format!("ia.{top} {publication}");
                [message(channel, item.as_bytes()), self.position()].concat()
            }
            _ => b"-ERR unknown command\r\n".to_vec(),
        }
    }

    fn position(&self) -> Vec<u8> {
        format!("*2\r\n$1\r\na\r\n:{}\r\n", self.top.load(Relaxed)).into_bytes()
    }
}

fn message(channel: &str, payload: &[u8]) -> Vec<u8> {
    [b">3\r\n", &*bulk(b"message"), &*bulk(channel.as_bytes()), &*bulk(payload)].concat()
}

fn bulk(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// Takes the first command out of `received`, if it is all there. What is not UTF-8 is replaced.
fn take_command(received: &mut Vec<u8>) -> Option<Vec<String>> {
    let (mut rest, count) = number(received, b'*')?;
    let mut command = Vec::new();
    for _ in 0..count {
        let (bytes, len) = number(rest, b'$')?;
        let (word, after) = (bytes.get(..len)?, bytes.get(len + 2..)?);
        command.push(String::from_utf8_lossy(word).into_owned());
        rest = after;
    }
    let taken = received.len() - rest.len();
    received.drain(..taken);
    Some(command)
}

/// Reads a line of a kind and a number. Returns what follows it, and the number.
fn number(bytes: &[u8], kind: u8) -> Option<(&[u8], usize)> {
    let len = bytes.windows(2).position(|bytes| bytes == b"\r\n")?;
    let (line, rest) = (&bytes[..len], &bytes[len + 2..]);
    assert_eq!(line[0], kind, "a command of an unexpected form");
    let number = std::str::from_utf8(&line[1..]).unwrap().parse().unwrap();
    Some((rest, number))
}
