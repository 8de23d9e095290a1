//! Clients of brokers run on the simulated network: that of the crate `redis`, and that of
//! `watermelon-net` for NATS.
//!
//! The servers know a few commands. They are not what is tested.

mod nats;
mod redis;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sockless_sim::{Link, Sim, SimIo, SimListener};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

const MS: Duration = Duration::from_millis(1);

/// What the connections of a server share.
#[derive(Clone, Default)]
struct Broker {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    values: BTreeMap<String, String>,
    /// The channels, each with what its subscribers get before a message.
    subscribers: Vec<(String, String, Outbox)>,
}

/// The bytes that a connection is to write.
type Outbox = mpsc::UnboundedSender<String>;

impl Broker {
    fn subscribe(&self, channel: &str, head: &str, outbox: &Outbox) {
        let subscriber = (channel.to_owned(), head.to_owned(), outbox.clone());
        self.state.lock().unwrap().subscribers.push(subscriber);
    }

    /// Sends `head` and `message` to the subscribers of `channel`, and returns how many there are.
    fn publish(&self, channel: &str, message: &str) -> usize {
        let mut state = self.state.lock().unwrap();
        state.subscribers.retain(|(_, _, outbox)| !outbox.is_closed());
        let of_channel = state.subscribers.iter().filter(|(name, ..)| name == channel);
        let sent = of_channel.map(|(_, head, outbox)| outbox.send(format!("{head}{message}")));
        sent.filter(Result::is_ok).count()
    }
}

/// A slow link that cuts reads and writes into pieces.
fn link() -> Link {
    Link::tcp().latency(20 * MS).jitter(10 * MS).short_reads(50).short_writes(50)
}

/// Accepts connections, each of which `connection` reads.
async fn serve<F>(
    sim: Sim,
    mut listener: SimListener,
    connection: impl Fn(Broker, tokio::io::ReadHalf<SimIo>, Outbox) -> F,
) where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let broker = Broker::default();
    loop {
        let (read, mut write) = tokio::io::split(listener.accept().await);
        let (outbox, mut outgoing) = mpsc::unbounded_channel();
        let reading = connection(broker.clone(), read, outbox);
        sim.spawn(async move {
            let writing = async {
                while let Some(text) = outgoing.recv().await {
                    write.write_all(text.as_bytes()).await?;
                }
                std::io::Result::Ok(())
            };
            // A connection that is cut is the client's concern.
            let _ = tokio::join!(reading, writing);
        });
    }
}

/// Runs `scenario` twice, and returns the digests of both runs.
fn twice<F: Future<Output = ()>>(scenario: impl Fn(Sim) -> F) -> [u64; 2] {
    [(); 2].map(|()| {
        let sim = Sim::new(7);
        sim.run(scenario(sim.clone()));
        sim.fingerprint()
    })
}
