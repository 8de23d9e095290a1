//! The work of one turn of a driver is bounded, however much a peer causes with few bytes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use sockless_core::{Closed, Config, Deflate, Role};
use sockless_driver::{Sender, Session};
use sockless_routing::{Router, websocket};
use sockless_sim::Sim;
use sockless_tests::counted::Counted;
use sockless_tests::end::End;
use sockless_tests::served::{BROWSER_REQUEST, Served, host};
use sockless_tests::wire::Writer;

/// The number of small messages that one turn takes.
const TURN: u64 = 4096;

const PEER: Writer = Writer { masks: true };

type Count = Arc<AtomicU64>;

/// Polls until nothing is left to do, and says how much was counted in each turn.
fn turns(served: &mut Served, count: &Count) -> Vec<u64> {
    turns_of(served, |_| count.load(Ordering::Relaxed))
}

/// The same, of what `count` returns.
fn turns_of(served: &mut Served, count: impl Fn(&mut Served) -> u64) -> Vec<u64> {
    let mut turns = Vec::new();
    loop {
        let before = count(served);
        let again = served.poll();
        turns.push(count(served) - before);
        if !again {
            return turns;
        }
    }
}

#[test]
fn small_chunks_make_no_turn_longer() {
    let count = Count::default();
    let counted = Arc::clone(&count);
    let mut served =
        Served::new(Config::default().recv_chunk_len(4), move |mut session: Session| {
            let count = Arc::clone(&counted);
            async move {
                loop {
                    let mut reader = session.reader().await?;
                    while reader.chunk().await?.is_some() {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
                #[allow(unreachable_code, reason = "it says what the block returns")]
                Ok::<_, Closed>(())
            }
        });
    served.peer().say(&PEER.binary(vec![7; 40_000]), 1);
    let turns = turns(&mut served, &count);
    assert_eq!(turns.iter().sum::<u64>(), 10_000);
    assert!(turns.iter().all(|chunks| *chunks <= TURN), "{turns:?}");
}

#[test]
fn small_chunks_that_are_joined_make_no_turn_longer() {
    let count = Count::default();
    let counted = Arc::clone(&count);
    let mut served =
        Served::new(Config::default().recv_chunk_len(4), move |mut session: Session| {
            let count = Arc::clone(&counted);
            async move {
                while session.recv().await.is_ok() {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    // 10 000 chunks take three turns of 4 096.
    served.peer().say(&PEER.binary(vec![7; 40_000]), 1);
    let turns = turns(&mut served, &count);
    assert_eq!(turns, [0, 0, 1]);
}

#[test]
fn pings_make_no_turn_longer() {
    let count = Count::default();
    let mut served = Served::new(Config::default(), async |session: Session| {
        session.closed().await;
    });
    served.peer().say(&PEER.ping(""), 10_000);
    let mut before = served.peer().written;
    let (mut turns, mut pongs) = (0, 0);
    loop {
        let again = served.poll();
        let written = served.peer().written;
        assert!((written - before) / 2 <= TURN, "{} pongs in one turn", (written - before) / 2);
        (turns, pongs, before) = (turns + 1, pongs + (written - before) / 2, written);
        if !again {
            break;
        }
    }
    assert!(turns >= 3 && pongs == 10_000, "{turns} turns, {pongs} pongs");
    assert_eq!(count.load(Ordering::Relaxed), 0);
}

#[test]
fn long_messages_make_no_turn_longer() {
    const MESSAGES: usize = 64;
    let mut served = Served::new(Config::default(), async |mut session: Session| {
        while let Ok(message) = session.recv().await {
            session.send(message).await?;
        }
        Ok::<_, Closed>(())
    });
    served.peer().say(&PEER.binary(vec![7; 64 << 10]), MESSAGES);
    let turns = turns_of(&mut served, |served| served.peer().written);
    assert!(turns.iter().sum::<u64>() > (MESSAGES << 16) as u64, "{turns:?}");
    // Half of what moves is read. The last round of a turn may exceed its share.
    assert!(turns.iter().all(|written| *written <= (192 << 10) + (65 << 10)), "{turns:?}");
}

#[test]
fn a_stream_makes_no_turn_longer() {
    let mut served = Served::new(Config::default(), async |session: Session| {
        for _ in 0..4096 {
            session.send(vec![7; 1024]).await?;
        }
        Ok::<_, Closed>(())
    });
    let turns = turns_of(&mut served, |served| served.peer().written);
    // The first turn was that of the opening.
    assert!(turns.iter().sum::<u64>() > 3 << 20, "{turns:?}");
    assert!(turns.iter().all(|written| *written <= (384 << 10) + (130 << 10)), "{turns:?}");
}

#[test]
fn sends_to_other_sessions_make_no_turn_longer() {
    const SENDS: u64 = 12_000;
    let count = Count::default();
    let counted = Arc::clone(&count);
    let room: Arc<Mutex<Vec<Sender>>> = Arc::default();
    let host = host(Config::default().high_water(16 << 20), move |mut session: Session| {
        let (count, room) = (Arc::clone(&counted), Arc::clone(&room));
        async move {
            room.lock().unwrap().push(session.sender());
            while let Ok(message) = session.recv().await {
                let member = room.lock().unwrap()[0].clone();
                for _ in 0..SENDS {
                    member.try_send(message.clone()).unwrap();
                }
                count.fetch_add(SENDS, Ordering::Relaxed);
            }
        }
    });
    let mut member = Served::opened_by(BROWSER_REQUEST, &host);
    let mut sender = Served::opened_by(BROWSER_REQUEST, &host);
    sender.peer().say(&PEER.text("x"), 10);
    let before = member.peer().written;
    // A turn ends with the message that makes them more than 32,768.
    assert_eq!(turns(&mut sender, &count), [3, 3, 3, 1].map(|messages| messages * SENDS));
    while member.poll() {}
    assert_eq!((member.peer().written - before) as u64, 10 * SENDS * 3);
}

/// 15 MiB of zeros in 16 KB.
fn bomb(config: &Config) -> Vec<u8> {
    let mut from = End::new(Role::Client, config.clone());
    from.connection.send(vec![0; 15 << 20], from.now).unwrap();
    let wire = from.drain();
    assert!(wire.len() < 17_000, "{}", wire.len());
    wire
}

/// The most that is inflated in one turn: what ends it, and a message with its last step.
const MOST_INFLATED: u64 = (128 << 10) + (64 << 10) + (16 << 10);

/// The most that is compressed in one turn: what ends it, and a message.
const MOST_COMPRESSED: u64 = (128 << 10) + (64 << 10);

#[test]
fn bombers_leave_a_neighbour_its_turn_within_each_bomb() {
    const BOMBS: usize = 4;
    let config = Config::default().max_message_len(16 << 20);
    let deflate = Deflate::default().level(6);
    let wire = bomb(&config.clone().extension(deflate.clone()));
    let open = |deflate: Counted<Deflate>, count: Count| {
        Served::opened_by(
            BROWSER_REQUEST,
            &host(config.clone().extension(deflate), move |mut session: Session| {
                let count = Arc::clone(&count);
                async move {
                    while let Ok(message) = session.recv().await {
                        count.fetch_add(message.len() as u64, Ordering::Relaxed);
                    }
                }
            }),
        )
    };
    let received: [Count; 2] = std::array::from_fn(|_| Count::default());
    let inflated: [_; 2] = std::array::from_fn(|_| Counted::new(deflate.clone()));
    let mut bombers = [0, 1].map(|i| open(inflated[i].clone(), received[i].clone()));
    let neighbours = Count::default();
    let mut neighbour = open(Counted::new(deflate), Arc::clone(&neighbours));
    for bomber in &bombers {
        bomber.peer().say(&wire, BOMBS);
    }
    let mut turns = 0;
    loop {
        // One of each, as an executor does.
        let before = inflated.each_ref().map(Counted::decoded);
        let again = bombers.each_mut().map(Served::poll);
        for (now, before) in inflated.each_ref().map(Counted::decoded).iter().zip(before) {
            let inflated = now - before;
            assert!(
                inflated <= MOST_INFLATED,
                "{inflated} bytes between two turns of the neighbour"
            );
        }
        turns += 1;
        neighbour.peer().say(&PEER.text("x"), 1);
        neighbour.poll();
        assert_eq!(neighbours.load(Ordering::Relaxed), turns);
        if again == [false; 2] {
            break;
        }
    }
    let all = (BOMBS as u64) * (15 << 20);
    assert_eq!(received.map(|count| count.load(Ordering::Relaxed)), [all; 2]);
    assert_eq!(inflated.map(|counted| counted.decoded()), [all; 2]);
    assert!(turns >= all / MOST_INFLATED, "{turns}");
}

#[test]
fn bombs_that_no_task_receives_make_no_turn_longer_either() {
    const BOMBS: usize = 4;
    let config = Config::default().max_message_len(16 << 20);
    let deflate = Counted::new(Deflate::default().level(6));
    let wire = bomb(&config.clone().extension(deflate.clone()));
    let host = host(config.extension(deflate.clone()), async |session: Session| {
        let (sender, receiver) = session.split();
        drop(receiver);
        sender.closed().await;
    });
    let mut served = Served::opened_by(BROWSER_REQUEST, &host);
    served.peer().say(&wire, BOMBS);
    let turns = turns_of(&mut served, |_| deflate.decoded());
    assert_eq!(turns.iter().sum::<u64>(), (BOMBS as u64) * (15 << 20));
    assert!(turns.iter().all(|inflated| *inflated <= MOST_INFLATED), "{turns:?}");
}

#[test]
fn short_messages_that_are_inflated_make_no_turn_longer() {
    const MESSAGES: usize = 2000;
    let config = Config::default().extension(Deflate::default().min_len(0));
    let mut from = End::new(Role::Client, config.clone());
    from.connection.send("aaaaaaaaaaaaaaaa", from.now).unwrap();
    let wire = from.drain();
    let count = Count::default();
    let counted = Arc::clone(&count);
    let host = host(config, move |mut session: Session| {
        let count = Arc::clone(&counted);
        async move {
            while session.recv().await.is_ok() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let mut served = Served::opened_by(BROWSER_REQUEST, &host);
    served.peer().say(&wire, MESSAGES);
    let turns = turns(&mut served, &count);
    assert_eq!(turns.iter().sum::<u64>(), MESSAGES as u64);
    // Each is a kilobyte to inflate, besides its length.
    assert!(turns.iter().all(|messages| *messages <= 128), "{turns:?}");
}

#[test]
fn answers_that_are_compressed_make_no_turn_longer() {
    const MESSAGES: usize = 64;
    let config = Config::default();
    let mut from = End::new(Role::Client, config.clone().extension(Deflate::default()));
    from.connection.send(vec![7; 64 << 10], from.now).unwrap();
    let wire = from.drain();
    let deflate = Counted::new(Deflate::default());
    let host = host(config.extension(deflate.clone()), async |mut session: Session| {
        while let Ok(message) = session.recv().await {
            session.send(message).await?;
        }
        Ok::<_, Closed>(())
    });
    let mut served = Served::opened_by(BROWSER_REQUEST, &host);
    served.peer().say(&wire, MESSAGES);
    let turns = turns_of(&mut served, |_| deflate.encoded());
    assert_eq!(turns.iter().sum::<u64>(), (MESSAGES as u64) << 16);
    assert!(turns.iter().all(|compressed| *compressed <= MOST_COMPRESSED), "{turns:?}");
}

#[test]
fn a_stream_that_is_compressed_makes_no_turn_longer() {
    let deflate = Counted::new(Deflate::default());
    let config = Config::default().extension(deflate.clone());
    let host = host(config, async |session: Session| {
        for _ in 0..256 {
            session.send(vec![7; 16 << 10]).await?;
        }
        let mut writer = session.writer().await?;
        for _ in 0..256 {
            writer.write(vec![7; 16 << 10]).await?;
        }
        writer.finish("").await?;
        Ok::<_, sockless_driver::Error>(())
    });
    let mut served = Served::opened_by(BROWSER_REQUEST, &host);
    let turns = turns_of(&mut served, |_| deflate.encoded());
    let first = deflate.encoded() - turns.iter().sum::<u64>();
    assert_eq!(deflate.encoded(), 8 << 20);
    assert!(first <= MOST_COMPRESSED, "{first} in the turn of the opening");
    assert!(turns.iter().all(|compressed| *compressed <= MOST_COMPRESSED), "{turns:?}");
}

/// The number of messages that each of several tasks sends.
const EACH: u8 = 40;

/// Sends long messages that say whose they are, and their number.
async fn stream(sender: Sender, by: u8) {
    for number in 0..EACH {
        sender.send(message(by, number)).await.expect("the session is open");
    }
}

/// The same, each dropped as often as it is not sent at once.
async fn stream_dropped(sender: Sender, by: u8) {
    for number in 0..EACH {
        while sender.send(message(by, number)).now_or_never().is_none() {
            sender.sleep(Duration::from_millis(1)).await;
        }
    }
}

fn message(by: u8, number: u8) -> Vec<u8> {
    let mut message = vec![0; 16 << 10];
    message[..2].copy_from_slice(&[by, number]);
    message
}

#[test]
fn all_that_send_compressed_messages_have_their_turn() {
    for high_water in [1, 1024, 64 << 10] {
        Sim::check(0..20, |sim| async move {
            let config = Config::default().extension(Deflate::default()).high_water(high_water);
            let handler = async |session: Session| {
                let task = session.spawn(stream(session.sender(), 0));
                let (one, other) = (session.sender(), session.sender());
                // Each is polled again only when it is woken.
                let here = [stream(one, 1).boxed(), stream_dropped(other, 2).boxed()];
                here.into_iter().collect::<FuturesUnordered<_>>().collect::<()>().await;
                task.await;
            };
            let router = Router::new().websockets(config.clone()).route("/", websocket(handler));
            let app = sim.app(router);
            let mut peer = app.open("/").config(config).await;
            let mut received = [0; 3];
            while let Ok(message) = peer.next().await {
                let &[by, number, ..] = message.as_bytes() else { panic!("{message:?}") };
                assert_eq!(number, received[usize::from(by)], "of {by}");
                received[usize::from(by)] += 1;
            }
            assert_eq!(received, [EACH; 3]);
        });
    }
}
