//! A simulated broker, for tests of what rooms do when it fails: [`SimBroker`]. Feature `sim`.

mod log;
mod node;

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use sockless_core::Instant;
use sockless_driver::{BoxFuture, Runtime};

use super::{Bus, BusSink, Replay};
use crate::config::History;
use crate::error::BusError;
use crate::lock;
use crate::name::RoomKey;
use crate::position::{Epoch, Position};
use crate::publication::Publication;
use log::Logs;
use node::{Node, Report, deliver};

/// A broker in memory that connects the rooms of several simulated servers, and fails when a test
/// asks for it.
///
/// Requests, answers and items are delayed at random, as [`set_delay`](Self::set_delay) states, and
/// arrive in order on each connection. All that is random is drawn from the seed of the runtime.
///
/// ```
/// use std::time::Duration;
///
/// use sockless::rooms::{History, RoomConfig, Rooms, SimBroker};
/// use sockless::sim::Sim;
///
/// Sim::check(0..10, |sim| async move {
///     let broker = SimBroker::new(sim.clone());
///     let config = RoomConfig::default().history(History::last(100));
///     let chat = Rooms::with_bus(broker.connect(), sim.clone()).namespace("chat", config);
///
///     sim.sleep(Duration::from_secs(1)).await;
///     assert!(chat.publish("lobby", "hello").await.is_ok());
///     broker.crash();
///     assert!(chat.publish("lobby", "is anyone there?").await.is_err());
///     broker.restart();
///     sim.sleep(Duration::from_secs(5)).await;
///     assert!(chat.publish("lobby", "welcome back").await.is_ok());
/// });
/// ```
///
/// Clones are the same broker.
#[derive(Clone)]
pub struct SimBroker(Arc<Broker>);

pub(crate) struct Broker {
    runtime: Arc<dyn Runtime>,
    state: Mutex<State>,
}

struct State {
    is_up: bool,
    /// The crash that the next publication causes, before its item is sent.
    crash_after_append: bool,
    logs: Logs,
    nodes: Vec<Node>,
    delay: Range<Duration>,
    /// The items of a thousand that are lost, and that come twice, on the way to a server.
    lost: u64,
    doubled: u64,
    random: u64,
}

impl SimBroker {
    /// Creates a broker that is up. Use a [`Sim`](https://docs.rs/sockless-sim) as the runtime.
    pub fn new(runtime: impl Runtime) -> Self {
        let runtime: Arc<dyn Runtime> = Arc::new(runtime);
        let random = super::random(&*runtime) | 1;
        let state = State {
            is_up: true,
            crash_after_append: false,
            logs: Logs::new(Epoch(random)),
            nodes: Vec::new(),
            delay: Duration::ZERO..Duration::from_millis(20),
            lost: 0,
            doubled: 0,
            random,
        };
        Self(Arc::new(Broker { runtime, state: Mutex::new(state) }))
    }

    /// Returns a connection for one server, which is established with the first delay.
    pub fn connect(&self) -> SimBus {
        let mut state = lock(&self.0.state);
        state.nodes.push(Node::default());
        SimBus { broker: self.0.clone(), node: state.nodes.len() - 1 }
    }

    /// Stops the broker: connections end, and what was under way to a server is lost.
    pub fn crash(&self) {
        lock(&self.0.state).crash();
    }

    /// Makes the next publication crash the broker after it was appended, and before its item is
    /// sent or its position returned. [`restart`](Self::restart) ends this.
    pub fn crash_after_append(&self) {
        lock(&self.0.state).crash_after_append = true;
    }

    /// Starts the broker again, with the logs that it had. Servers connect within a second.
    pub fn restart(&self) {
        let mut state = lock(&self.0.state);
        state.is_up = true;
        state.crash_after_append = false;
        for node in 0..state.nodes.len() {
            state.reconnect(&self.0, node);
        }
    }

    /// Forgets all logs, as a broker does that keeps them in memory only. Streams begin anew, with
    /// other epochs. Call it while the broker is down, or not: both happen.
    pub fn lose_memory(&self) {
        lock(&self.0.state).logs.forget();
    }

    /// Drops all messages of the histories; positions go on counting.
    pub fn evict(&self) {
        lock(&self.0.state).logs.evict();
    }

    /// Sets how long each request, answer and item takes. Default: up to 20 ms.
    pub fn set_delay(&self, delay: Range<Duration>) {
        lock(&self.0.state).delay = delay;
    }

    /// Sets how many of a thousand items are lost on the way to a server, and how many come twice.
    /// Default: 0.
    pub fn set_faults_per_thousand(&self, lost: u64, doubled: u64) {
        let mut state = lock(&self.0.state);
        (state.lost, state.doubled) = (lost, doubled);
    }
}

impl fmt::Debug for SimBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimBroker")
            .field("is_up", &lock(&self.0.state).is_up)
            .finish_non_exhaustive()
    }
}

/// The connection of one server to a [`SimBroker`]. Clones are the same connection: give one to
/// [`Rooms::with_bus`](crate::Rooms::with_bus), and use another to break it.
#[derive(Clone)]
pub struct SimBus {
    broker: Arc<Broker>,
    node: usize,
}

impl SimBus {
    /// Cuts this server off from the broker, which goes on with the others.
    pub fn partition(&self) {
        let mut state = lock(&self.broker.state);
        state.nodes[self.node].is_partitioned = true;
        state.disconnect(self.node, true);
    }

    /// Ends a [`partition`](Self::partition). The server connects within a second.
    pub fn heal(&self) {
        let mut state = lock(&self.broker.state);
        state.nodes[self.node].is_partitioned = false;
        state.reconnect(&self.broker, self.node);
    }

    /// Ends the server for the broker without a notice, as when its process is killed.
    pub fn kill(&self) {
        let mut state = lock(&self.broker.state);
        state.nodes[self.node].is_partitioned = true;
        state.disconnect(self.node, false);
        state.nodes[self.node].sink = None;
    }

    /// Makes the broker report something that is not valid.
    pub fn send_garbage(&self) {
        let report = Report::Garbage;
        lock(&self.broker.state).push(self.broker.runtime.now(), self.node, report);
    }
}

impl fmt::Debug for SimBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimBus").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Broker {
    /// Waits as long as a message takes.
    async fn delay(&self) {
        let delay = lock(&self.state).draw_delay();
        self.sleep(delay).await;
    }

    async fn sleep(&self, duration: Duration) {
        let mut timer = self.runtime.timer(self.runtime.now() + duration);
        std::future::poll_fn(|cx| timer.poll_expired(cx)).await;
    }

    /// Sends a request on a node's connection, and returns its answer if both survive the way.
    async fn request<T>(
        self: Arc<Self>,
        node: usize,
        answer: impl FnOnce(&mut State, Instant) -> T,
    ) -> Result<T, BusError> {
        let lost = || BusError::Unavailable("the simulated broker is gone".to_owned());
        let connection = lock(&self.state).nodes[node].connection().ok_or_else(lost)?;
        self.delay().await;
        let answer = {
            let mut state = lock(&self.state);
            if state.nodes[node].connection() != Some(connection) {
                return Err(lost());
            }
            answer(&mut state, self.runtime.now())
        };
        self.delay().await;
        let is_connected = lock(&self.state).nodes[node].connection() == Some(connection);
        if is_connected { Ok(answer) } else { Err(lost()) }
    }
}

impl State {
    fn crash(&mut self) {
        self.is_up = false;
        for node in 0..self.nodes.len() {
            self.disconnect(node, true);
        }
    }

    fn disconnect(&mut self, node: usize, is_noticed: bool) {
        self.nodes[node].disconnect(is_noticed);
    }

    /// Connects a node after a while.
    fn reconnect(&mut self, broker: &Arc<Broker>, node: usize) {
        let delay = Duration::from_millis(self.draw(1000));
        let broker = broker.clone();
        broker.runtime.clone().spawn(Box::pin(async move {
            broker.sleep(delay).await;
            let mut state = lock(&broker.state);
            let is_up = state.is_up;
            if is_up && state.nodes[node].connect() {
                state.push(broker.runtime.now(), node, Report::Up);
            }
        }));
    }

    /// Appends a message, and sends it to all nodes that are interested.
    fn publish(
        &mut self,
        room: &RoomKey,
        publication: Arc<Publication>,
        history: &History,
        now: Instant,
    ) -> Position {
        let (position, item) = self.logs.append(room, publication, history, now);
        if std::mem::take(&mut self.crash_after_append) {
            self.crash();
        }
        let Some(item) = item else { return position };
        for node in 0..self.nodes.len() {
            if !self.nodes[node].interest.contains(room) || self.draw(1000) < self.lost {
                continue;
            }
            let copies = 1 + u64::from(self.draw(1000) < self.doubled);
            for _ in 0..copies {
                self.push(now, node, Report::Item(room.clone(), item.clone()));
            }
        }
        position
    }

    /// Sends a report to a node, behind all that were sent before.
    fn push(&mut self, now: Instant, node: usize, report: Report) {
        let due = now + self.draw_delay();
        self.nodes[node].push(due, report);
    }

    fn draw_delay(&mut self) -> Duration {
        let (start, end) = (self.delay.start, self.delay.end);
        let micros = end.saturating_sub(start).as_micros() as u64;
        start + Duration::from_micros(self.draw(micros.max(1)))
    }

    /// A number below `end`, by xorshift.
    fn draw(&mut self, end: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % end
    }
}

impl Bus for SimBus {
    fn start(&self, sink: BusSink, runtime: Arc<dyn Runtime>) {
        sink.down(&BusError::Unavailable("not connected yet".to_owned()));
        let mut state = lock(&self.broker.state);
        state.nodes[self.node].sink = Some(sink);
        state.reconnect(&self.broker, self.node);
        runtime.spawn(Box::pin(deliver(self.broker.clone(), self.node)));
    }

    fn may_lose_items(&self) -> bool {
        true
    }

    fn publish(
        &self,
        room: &RoomKey,
        publication: Arc<Publication>,
        history: &History,
    ) -> BoxFuture<'static, Result<Option<Position>, BusError>> {
        let (room, history) = (room.clone(), history.clone());
        let publish =
            move |state: &mut State, now| Some(state.publish(&room, publication, &history, now));
        Box::pin(self.broker.clone().request(self.node, publish))
    }

    fn replay(
        &self,
        room: &RoomKey,
        after: Position,
        _history: &History,
    ) -> BoxFuture<'static, Result<Replay, BusError>> {
        let room = room.clone();
        let replay = move |state: &mut State, now| state.logs.replay(&room, after, now);
        Box::pin(self.broker.clone().request(self.node, replay))
    }

    fn signal(&self, room: &RoomKey, signal: Bytes) {
        let now = self.broker.runtime.now();
        let mut state = lock(&self.broker.state);
        if state.nodes[self.node].connection().is_none() {
            return;
        }
        for node in 0..state.nodes.len() {
            if state.nodes[node].interest.contains(room) {
                state.push(now, node, Report::Signal(room.clone(), signal.clone()));
            }
        }
    }

    fn set_interest(&self, added: &[RoomKey], removed: &[RoomKey]) {
        let now = self.broker.runtime.now();
        let mut state = lock(&self.broker.state);
        let state = &mut *state;
        if state.nodes[self.node].connection().is_none() {
            return;
        }
        for room in removed {
            state.nodes[self.node].interest.remove(room);
        }
        for room in added {
            state.nodes[self.node].interest.insert(room.clone());
            let top = state.logs.top(room);
            state.push(now, self.node, Report::Subscribed(room.clone(), top));
        }
    }
}
