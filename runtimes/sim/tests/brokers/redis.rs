//! The client of the crate `redis`.

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncCommands, AsyncConnectionConfig, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo,
    RedisResult, Value,
};
use sockless_sim::{Sim, SimIo, Wire, WireDirection};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, ReadHalf};
use tokio::sync::mpsc;

use super::{Broker, MS, Outbox, link, serve, twice};

/// Reads requests in RESP3, and answers them.
async fn connection(broker: Broker, read: ReadHalf<SimIo>, outbox: Outbox) -> std::io::Result<()> {
    let mut read = BufReader::new(read);
    while let Some(words) = request(&mut read).await? {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let answer = match *words {
            ["HELLO", ..] => "%1\r\n$5\r\nproto\r\n:3\r\n".to_owned(),
            ["PING"] => "+PONG\r\n".to_owned(),
            ["SET", key, value] => {
                let mut state = broker.state.lock().unwrap();
                state.values.insert(key.to_owned(), value.to_owned());
                "+OK\r\n".to_owned()
            }
            ["GET", key] => {
                let state = broker.state.lock().unwrap();
                state.values.get(key).map_or_else(|| "_\r\n".to_owned(), |value| bulk(value))
            }
            ["SUBSCRIBE", channel] => {
                let head = format!(">3\r\n{}{}", bulk("message"), bulk(channel));
                broker.subscribe(channel, &head, &outbox);
                format!(">3\r\n{}{}:1\r\n", bulk("subscribe"), bulk(channel))
            }
            ["PUBLISH", channel, message] => {
                format!(":{}\r\n", broker.publish(channel, &bulk(message)))
            }
            _ => "-ERR unknown command\r\n".to_owned(),
        };
        let _ = outbox.send(answer);
    }
    Ok(())
}

/// Reads an array of strings; `None` at the end.
async fn request(read: &mut BufReader<ReadHalf<SimIo>>) -> std::io::Result<Option<Vec<String>>> {
    let mut line = String::new();
    if read.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let count: usize = line.trim_end().trim_start_matches('*').parse().unwrap();
    let mut words = Vec::new();
    for _ in 0..count {
        line.clear();
        read.read_line(&mut line).await?;
        let len: usize = line.trim_end().trim_start_matches('$').parse().unwrap();
        let mut word = vec![0; len + 2];
        read.read_exact(&mut word).await?;
        word.truncate(len);
        words.push(String::from_utf8(word).unwrap());
    }
    Ok(Some(words))
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// A client, with its pushes and its wire.
struct Client {
    requests: MultiplexedConnection,
    pushes: mpsc::UnboundedReceiver<PushInfo>,
    wire: Wire,
}

impl Client {
    async fn connect(sim: &Sim) -> RedisResult<Self> {
        let io = sim.dial("redis:6379").await?;
        let (wire, (sender, pushes)) = (io.wire(), mpsc::unbounded_channel());
        let info = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
        let config = AsyncConnectionConfig::new().set_push_sender(sender);
        let info = info.set_skip_set_lib_name();
        let (requests, driver) = MultiplexedConnection::new_with_config(&info, io, config).await?;
        sim.spawn(driver);
        Ok(Self { requests, pushes, wire })
    }
}

fn start(sim: &Sim) {
    sim.spawn(serve(sim.clone(), sim.listen_over("redis:6379", &link()), connection));
}

async fn exchange(sim: Sim) {
    start(&sim);
    let Client { requests: mut ada, mut pushes, .. } = Client::connect(&sim).await.unwrap();
    let Client { requests: mut bob, .. } = Client::connect(&sim).await.unwrap();
    assert_eq!(ada.ping::<String>().await, Ok("PONG".to_owned()));
    assert_eq!(ada.get::<_, Option<String>>("word").await, Ok(None));
    assert_eq!(ada.set("word", "hello").await, Ok(()));
    assert_eq!(bob.get::<_, String>("word").await, Ok("hello".to_owned()));

    ada.subscribe("room").await.unwrap();
    assert_eq!(pushes.recv().await.unwrap().kind, PushKind::Subscribe);
    assert_eq!(bob.publish("room", "hello, room").await, Ok(1));
    let PushInfo { kind, data } = pushes.recv().await.unwrap();
    assert_eq!(kind, PushKind::Message);
    let expected = ["room", "hello, room"];
    assert_eq!(data, expected.map(|text| Value::BulkString(text.into())));
}

#[test]
fn requests_and_channels_of_redis_pass() {
    Sim::check(0..20, exchange);
}

#[test]
fn a_run_with_redis_is_repeated_by_its_seed() {
    let [first, second] = twice(exchange);
    assert_eq!(first, second);
}

#[test]
fn a_cut_of_the_wire_fails_the_requests_of_redis() {
    Sim::check(0..20, |sim| async move {
        start(&sim);
        let Client { mut requests, wire, .. } = Client::connect(&sim).await.unwrap();
        assert_eq!(requests.set("word", "hello").await, Ok(()));
        let mut other = requests.clone();
        let waiting = sim.spawn(async move { other.get::<_, String>("word").await });
        sim.sleep(MS).await;
        wire.cut();
        let error = waiting.await.unwrap_err();
        assert!(error.is_connection_dropped(), "{error}");
        let error = requests.ping::<String>().await.unwrap_err();
        assert!(error.is_connection_dropped(), "{error}");
        let mut again = Client::connect(&sim).await.unwrap().requests;
        assert_eq!(again.get::<_, String>("word").await, Ok("hello".to_owned()));
    });
}

/// The timeout of the client is one of tokio, and takes no real time.
#[test]
fn requests_of_redis_time_out_in_virtual_time() {
    Sim::check(0..20, |sim| async move {
        start(&sim);
        let Client { mut requests, wire, .. } = Client::connect(&sim).await.unwrap();
        wire.stall(WireDirection::Inbound);
        let asked = sim.now();
        let error = requests.ping::<String>().await.unwrap_err();
        assert!(error.is_timeout(), "{error}");
        // The timers of tokio are rounded up to milliseconds.
        let waited = sim.now().saturating_since(asked);
        assert!((500 * MS..502 * MS).contains(&waited), "{waited:?}");
    });
}
