//! A broker that is killed while members check every message.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sockless::rooms::{History, Namespace, Publication, RoomConfig, Rooms};
use sockless::tokio::TokioRuntime;
use tokio::time::sleep;

use crate::broker::{Broker, Data};
use crate::common::{Lines, router};
use crate::hosts::{LIMIT, Scale, connected};
use crate::member::{self, Seen};

/// 50 publications a second.
const INTERVAL: Duration = Duration::from_millis(20);

type Log = Arc<Mutex<Seen>>;

/// Kills the broker so many times, and returns a summary. Panics at the first message that is lost
/// without a gap, comes twice or out of order.
pub(crate) async fn run(mut broker: Broker, scale: Scale) -> io::Result<String> {
    let Scale { kills, members } = scale;
    broker.start()?;
    let servers: Vec<_> = (0..2).map(|_| server(&broker)).collect::<io::Result<_>>()?;
    let (rooms, chats): (Vec<_>, Vec<_>) = servers.into_iter().unzip();
    connected(&rooms, || sleep(Duration::from_millis(10))).await;
    let mut addrs = Vec::new();
    for chat in &chats {
        let server = sockless::bind("127.0.0.1:0").await?;
        addrs.extend(server.local_addr());
        tokio::spawn(server.serve(router(chat)));
    }
    let last = u64::from(kills + 1) * 60;
    let logs: Vec<Log> = (0..members).map(|_| Log::default()).collect();
    let joined = logs.iter().enumerate().map(|(number, log)| {
        let (addr, log) = (addrs[number % 2], log.clone());
        let lives = if stays(number) { u64::MAX } else { 40 + number as u64 };
        tokio::spawn(async move { member::run(addr, lives, last, &log).await })
    });
    let joined: Vec<_> = joined.collect();
    let publishing = tokio::spawn(publish(chats, last));
    let mut times = Vec::new();
    for kill in 1..=kills {
        let before = u64::from(kill) * 60 - 20;
        wait(&logs, before).await;
        broker.kill();
        sleep(Duration::from_millis(150 * u64::from(kill % 3))).await;
        broker.start()?;
        let begun = Instant::now();
        // Two that have not been published before.
        wait(&logs, logs.iter().map(number).max().unwrap_or(0) + 2).await;
        times.push(begun.elapsed());
    }
    publishing.await?;
    for member in joined {
        member.await?;
    }
    times.sort();
    summary(&broker, &logs, &times)
}

fn server(broker: &Broker) -> io::Result<(Rooms, Namespace)> {
    let rooms = Rooms::with_bus(broker.bus()?, TokioRuntime);
    let config = RoomConfig::default().envelope(Lines).history(History::last(1000));
    let chat = rooms.namespace("chat", config);
    Ok((rooms, chat))
}

/// Publishes the numbers up to `last`, by one server after the other, each until it is confirmed.
async fn publish(chats: Vec<Namespace>, last: u64) {
    for number in 1..=last {
        let chat = &chats[number as usize % chats.len()];
        let publication = Publication::new(number.to_string()).idempotency_key(number.to_string());
        while chat.publish("room", publication.clone()).await.is_err() {
            sleep(INTERVAL).await;
        }
        sleep(INTERVAL).await;
    }
}

/// A third of the members come back often, the others stay.
fn stays(member: usize) -> bool {
    !member.is_multiple_of(3)
}

fn number(log: &Log) -> u64 {
    log.lock().unwrap().number()
}

/// Waits until all members have received `wanted`, for as long as they receive something.
async fn wait(logs: &[Log], wanted: u64) {
    let (mut progress, mut before) = (Instant::now(), 0);
    while let Some(last) = logs.iter().map(number).min()
        && last < wanted
    {
        if last > before {
            (progress, before) = (Instant::now(), last);
        }
        assert!(progress.elapsed() < LIMIT, "a member waits for {wanted}, and has {last}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// `times` are those from when the broker listened until all members had received something new, in order.
fn summary(broker: &Broker, logs: &[Log], times: &[Duration]) -> io::Result<String> {
    let sum =
        |count: fn(&Seen) -> u64| logs.iter().map(|log| count(&log.lock().unwrap())).sum::<u64>();
    let (gaps, resumes) = (sum(|seen| seen.gaps), sum(|seen| seen.resumes));
    for (member, log) in logs.iter().enumerate().filter(|(member, _)| stays(*member)) {
        let gaps = log.lock().unwrap().gaps;
        match broker.data() {
            // Those who come back while the broker is down have one: joining does not wait.
            Data::Kept => assert_eq!(gaps, 0, "member {member}: nothing was lost"),
            Data::Lost => assert!(gaps > 0, "member {member}: a loss is reported"),
        }
    }
    assert!(resumes > 0);
    let within = times.iter().filter(|time| time.as_secs() < 1).count();
    let at = |index: usize| times.get(index).map_or(0, Duration::as_millis);
    Ok(format!(
        "{} members, {} messages each, {gaps} gaps, {resumes} times resumed; all members after {} ms (median), at most {} ms, \
         {within} of {} times within a second",
        logs.len(),
        logs.iter().map(number).min().unwrap_or(0),
        at(times.len() / 2),
        at(times.len().saturating_sub(1)),
        times.len()
    ))
}
