//! The handle of a simulation: [`Sim`].

use std::fmt;
use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;

use sockless_core::{Instant, Seed};
use sockless_driver::{BoxFuture, Clock, Dial, HandlerEnd, Io, Runtime, Spawn, Timer};

use crate::failure::Failure;
use crate::handlers::{FailedHandler, chain, text_of};
use crate::io::SimIo;
use crate::link::Link;
use crate::names::{Lookup, Reachability};
use crate::network::SimListener;
use crate::plan::Plan;
use crate::rng::SimRng;
use crate::tasks::{JoinHandle, Origin, joinable};
use crate::time::{SimTimer, settle, timeout};
use crate::world::World;
use crate::{lock, waits};

/// A deterministic simulation: tasks, a virtual clock that starts at [`Instant::EPOCH`], and a
/// network. One seed decides everything that is random.
///
/// Clones are handles to the same simulation. It is a [`Runtime`] for the driver.
///
/// - Running: [`run`](Self::run), [`check`](Self::check), [`max_polls`](Self::max_polls),
///   [`tolerate_panics`](Self::tolerate_panics),
///   [`tolerate_violations`](Self::tolerate_violations), and under a [`Campaign`](crate::Campaign)
///   [`steps`](Self::steps).
/// - Tasks and time: [`spawn`](Self::spawn), [`now`](Self::now), [`sleep`](Self::sleep),
///   [`sleep_until`](Self::sleep_until), [`timeout`](Self::timeout), [`settle`](Self::settle),
///   [`unfinished`](Self::unfinished).
/// - WebSockets: [`serve`](Self::serve), [`bind`](Self::bind), [`bind_over`](Self::bind_over),
///   [`serve_connection`](Self::serve_connection), [`connect`](Self::connect),
///   [`connect_over`](Self::connect_over).
/// - The test kit: [`app`](Self::app), [`app_over`](Self::app_over).
/// - Transports: [`pipe`](Self::pipe), [`pipe_over`](Self::pipe_over), [`listen`](Self::listen),
///   [`listen_over`](Self::listen_over), [`dial`](Self::dial).
/// - Names and addresses: [`set_lookup`](Self::set_lookup),
///   [`set_reachability`](Self::set_reachability).
/// - Machines: [`machine`](Self::machine), [`wires`](Self::wires), [`partition`](Self::partition),
///   [`heal`](Self::heal), [`fail_accepts`](Self::fail_accepts).
/// - Randomness: [`draw`](Self::draw), [`rng`](Self::rng), [`fingerprint`](Self::fingerprint).
///
/// ```
/// use std::time::Duration;
///
/// use sockless::Instant;
/// use sockless::sim::Sim;
///
/// let sim = Sim::new(7);
/// let sum = sim.run(async {
///     let task = sim.spawn({
///         let sim = sim.clone();
///         async move {
///             sim.sleep(Duration::from_secs(3600)).await;
///             1
///         }
///     });
///     task.await + 1
/// });
/// assert_eq!(sum, 2);
/// // An hour of virtual time has passed.
/// assert_eq!(sim.now(), Instant::EPOCH + Duration::from_secs(3600));
/// ```
#[derive(Clone)]
pub struct Sim {
    max_polls: u64,
    pub(crate) world: Arc<World>,
}

/// Running.
impl Sim {
    /// Creates a simulation. `seed` decides everything that is random: the order of the tasks, the
    /// lengths of short reads, the masking keys of the connections. Equal seeds and equal code give
    /// equal runs.
    pub fn new(seed: u64) -> Self {
        Self { max_polls: 10_000_000, world: Arc::new(World::new(seed)) }
    }

    /// Creates a simulation in which `plan` happens.
    pub(crate) fn planned(plan: &Plan) -> Self {
        Self { max_polls: 10_000_000, world: Arc::new(World::planned(plan)) }
    }

    /// Sets how many times one [`run`](Self::run) may poll its tasks altogether. Default: 10
    /// million, which is a few seconds of work and about 25 times what echoing 100,000 messages
    /// takes.
    ///
    /// This limit ends a run in which a task wakes itself without end, or in which timers follow
    /// each other while the main task waits for something else.
    #[must_use]
    pub fn max_polls(mut self, polls: u64) -> Self {
        self.max_polls = polls;
        self
    }

    /// Runs `main` to completion together with the spawned tasks, and then drops those that have
    /// not finished.
    ///
    /// Time passes only when no task can run: then the clock advances to the next timer.
    ///
    /// # Panics
    ///
    /// Panics with one message that has the seed, the virtual time, a transcript of all connections,
    /// where each task waits, and a line that repeats the run:
    ///
    /// - if anything panics: a task, a handler, a guard, a `respond` route; see
    ///   [`tolerate_panics`](Self::tolerate_panics);
    /// - if an end of a connection breaks a law of WebSocket; see
    ///   [`tolerate_violations`](Self::tolerate_violations);
    /// - if no task can run and no timer is set, or if for an hour of virtual time only keep-alive
    ///   has been active;
    /// - if [`max_polls`](Self::max_polls) is exceeded;
    /// - if another thread wakes a task, which makes the run depend on real time;
    /// - if a poll does not return for 20 s of real time. If it does not call the simulator either,
    ///   it cannot be stopped, and the process exits with the message. The environment variable
    ///   `SOCKLESS_SIM_WATCHDOG` sets another number of seconds; 0 lets a debugger stop a poll.
    ///
    /// Also panics if the simulation is already running.
    #[track_caller]
    pub fn run<F: Future>(&self, main: F) -> F::Output {
        match self.try_run(main) {
            Ok(output) => output,
            Err(failure) => failure.raise(),
        }
    }

    #[track_caller]
    pub(crate) fn try_run<F: Future>(&self, main: F) -> Result<F::Output, Failure> {
        self.world.run(self.max_polls, main)
    }

    /// Lets panics pass that something catches: the driver, which closes the session of a handler
    /// that panics with 1011, or the code under test. [`panics`](Self::panics) returns them.
    ///
    /// A panic that ends a task of [`spawn`](Self::spawn), or the main one, fails the run
    /// nevertheless.
    ///
    /// ```
    /// use sockless::sim::Sim;
    /// use sockless::{Router, Session, websocket};
    ///
    /// async fn fail(_: Session) {
    ///     panic!("the disk is full");
    /// }
    ///
    /// Sim::check(0..5, |sim| async move {
    ///     sim.tolerate_panics();
    ///     let app = sim.app(Router::new().route("/", websocket(fail)));
    ///     app.open("/").await.expect_closed(1011).await;
    ///     assert_eq!(sim.panics(), ["the disk is full"]);
    /// });
    /// ```
    pub fn tolerate_panics(&self) {
        self.world.tolerates_panics.store(true, Ordering::Relaxed);
    }

    /// Lets ends of connections break the laws of WebSocket, which every run checks otherwise: for
    /// handlers of frames that break them on purpose.
    /// [`Wire::tolerate_violations`](crate::Wire::tolerate_violations) is for one end.
    ///
    /// The laws are those of RFC 6455 on what an end writes: known opcodes, masks by role, reserved
    /// bits as negotiated, lengths in their shortest form; control frames that are final and of at
    /// most 125 bytes; fragments in order; text in UTF-8; compressed messages that can be decompressed (RFC 7692); one Close
    /// frame, with a valid code and reason, nothing after it, and one in answer to the peer's before the stream is shut down; and the pongs
    /// of a conversation repeat the payloads of pings, in order. An end that breaks one fails the run: the
    /// message has the seed, the time, the connection and the frame.
    ///
    /// They are checked on what the driver writes, for sessions, sessions of frames and
    /// [`Conversation`](crate::Conversation)s. What a test writes with the methods of
    /// [`SimIo`](crate::SimIo) or a [`RawConversation`](crate::RawConversation), and what other
    /// libraries write through the traits of tokio or `futures-io`, is free.
    ///
    /// ```
    /// use sockless::sim::Sim;
    /// use sockless::{Frame, Opcode, RawSession, Router, websocket_raw};
    ///
    /// /// Sends a message after its Close frame.
    /// async fn unruly(session: RawSession) {
    ///     let _ = session.send(Frame::new(Opcode::Close, "".into())).await;
    ///     let _ = session.send(Frame::new(Opcode::Text, "and another thing".into())).await;
    /// }
    ///
    /// Sim::check(0..5, |sim| async move {
    ///     sim.tolerate_violations();
    ///     let app = sim.app(Router::new().route("/", websocket_raw(unruly)));
    ///     let mut client = app.open("/").raw().await;
    ///     client.expect(Frame::new(Opcode::Close, "".into())).await;
    ///     client.expect(Frame::new(Opcode::Text, "and another thing".into())).await;
    /// });
    /// ```
    pub fn tolerate_violations(&self) {
        self.world.taps.tolerate_violations();
    }

    /// Lets the runs of a seed differ: for code that has to draw from the system, such as TLS. Call it
    /// at the beginning of a scenario, which [`check`](Self::check) then does not run twice.
    ///
    /// A failure is repeated by its seed only as far as it does not depend on what was drawn.
    pub fn allow_nondeterminism(&self) {
        self.world.is_random.store(true, Ordering::Relaxed);
        self.world.time.with_fingerprint(|fingerprint| fingerprint.stop_comparing());
    }

    /// Returns the texts of the panics that were [tolerated](Self::tolerate_panics), oldest first.
    pub fn panics(&self) -> Vec<String> {
        lock(&self.world.tolerated).clone()
    }

    /// Returns the handlers that ended with an error while their session was open, oldest first. A
    /// run does not fail because of them, but a failure lists them.
    pub fn failed_handlers(&self) -> Vec<FailedHandler> {
        lock(&self.world.handlers).failed.clone()
    }

    /// Draws a number from `range`, for the random choices of a scenario.
    ///
    /// # Panics
    ///
    /// Panics if the range is empty.
    pub fn draw(&self, range: Range<u64>) -> u64 {
        assert!(!range.is_empty(), "cannot draw from the empty range {range:?}");
        self.world.draw(range)
    }

    /// Returns the generator of random numbers for the purpose `name`, such as a client: what it
    /// draws depends on the seed and the name only, and changes nothing that others draw. So a client
    /// that draws once more, or is left out, leaves the rest of a run as it is.
    ///
    /// Each call with the same name returns the same numbers again.
    ///
    /// ```
    /// use rand::RngExt;
    /// use rand::seq::IndexedRandom;
    /// use sockless::sim::Sim;
    ///
    /// Sim::check(0..10, |sim| async move {
    ///     let mut ada = sim.rng("ada");
    ///     let pause = ada.random_range(1..=50);
    ///     let word = ["hello", "bye"].choose(&mut ada);
    ///     assert!(word.is_some() && pause <= 50);
    /// });
    /// ```
    pub fn rng(&self, name: &str) -> SimRng {
        SimRng::named(self.world.seed, name)
    }

    /// Returns a digest of the run so far: which task was polled when, how many bytes each read
    /// moved, and which bytes each write. Runs that are equal have equal fingerprints, and others
    /// differ except by chance.
    pub fn fingerprint(&self) -> u64 {
        self.world.time.with_fingerprint(|fingerprint| fingerprint.digest())
    }
}

/// Tasks and time.
impl Sim {
    /// Spawns `future` as a task beside the others. Await the handle for its output; the task
    /// continues if the handle is dropped.
    ///
    /// A panic of the task fails the whole simulation.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let (task, handle) = joinable(future);
        let place = Location::caller();
        self.world.tasks.spawn(task, Origin::Test(place), self.world.time.machine());
        handle
    }

    /// Returns how many spawned tasks have not finished, including those of the driver and the
    /// calling one, but not the main task. A test can assert that no task is left.
    pub fn unfinished(&self) -> usize {
        self.world.tasks.unfinished()
    }

    /// Returns the virtual time: [`Instant::EPOCH`] at first, advanced only when no task can run. In a
    /// task of a [`Machine`](crate::Machine), this is the time on the machine's clock.
    pub fn now(&self) -> Instant {
        self.world.time.local_now()
    }

    /// Waits for `duration`.
    ///
    /// Cancel-safe.
    pub fn sleep(&self, duration: Duration) -> SimTimer {
        self.sleep_until(self.now() + duration)
    }

    /// Waits until `deadline`, or not at all if it has passed.
    ///
    /// Waits for the same instant end together, and their tasks run in an order drawn from the
    /// seed. A wait until the end of time ([`Duration::MAX`]) never ends and does not conceal a
    /// deadlock.
    ///
    /// Cancel-safe.
    pub fn sleep_until(&self, deadline: Instant) -> SimTimer {
        SimTimer::new(&self.world.time, deadline)
    }

    /// Waits until no other task can run at this instant: then everything has happened that does
    /// not need time to pass.
    ///
    /// Several tasks that wait for this continue together. Cancel-safe.
    pub async fn settle(&self) {
        settle(&self.world.time).await;
    }

    /// Runs `future` for at most `duration` and returns `None` if it has not completed by then.
    ///
    /// The future is dropped in either case. If it completes at the deadline itself, its output is
    /// returned. Cancel-safe if the future is.
    pub async fn timeout<F: Future>(&self, duration: Duration, future: F) -> Option<F::Output> {
        timeout(&self.world.time, duration, future).await
    }
}

/// Transports.
impl Sim {
    /// Creates a pipe over the default [`Link`]: bytes written to one end are read from the other.
    pub fn pipe(&self) -> (SimIo, SimIo) {
        self.pipe_over(&Link::default())
    }

    /// Creates a pipe over `link`, which applies to both directions.
    /// [`Wire::set_link`](crate::Wire::set_link) changes the link of one direction.
    pub fn pipe_over(&self, link: &Link) -> (SimIo, SimIo) {
        self.world.pipe(link, [self.world.time.machine(); 2], None)
    }

    /// Listens at `name`, over the default [`Link`].
    ///
    /// # Panics
    ///
    /// Panics if another listener uses the name.
    #[track_caller]
    pub fn listen(&self, name: &str) -> SimListener {
        self.listen_over(name, &Link::default())
    }

    /// Listens at `name`. Each connection is a pipe over `link`, and takes a round trip to be
    /// established.
    ///
    /// # Panics
    ///
    /// Panics if another listener uses the name.
    #[track_caller]
    pub fn listen_over(&self, name: &str, link: &Link) -> SimListener {
        let listener = self.world.network.listen(name, link);
        self.world.hosts.listen(name, self.world.time.machine());
        listener
    }

    /// Connects to the listener at `name`.
    ///
    /// Cancel-safe: if the future is dropped, the listener gets no connection, or one that ends at
    /// once.
    ///
    /// # Errors
    ///
    /// `ConnectionRefused` if there is no listener.
    pub async fn dial(&self, name: &str) -> io::Result<SimIo> {
        self.world.dial(name).await
    }

    /// Makes the next accepts of the server at `name` fail with these errors, each when a connection
    /// has arrived, which is then accepted later. Does nothing without a listener.
    ///
    /// ```
    /// use sockless::sim::Sim;
    /// use sockless::{Closed, Router, Session, websocket};
    ///
    /// # async fn hello(session: Session) -> Result<(), Closed> {
    /// #     session.send("hello").await
    /// # }
    /// Sim::check(0..5, |sim| async move {
    ///     sim.spawn(sim.serve("server", Router::new().route("/", websocket(hello))));
    ///     // Too many open files.
    ///     sim.fail_accepts("server", [std::io::Error::from_raw_os_error(24)]);
    ///     let mut client = sim.connect("ws://server/").await.unwrap();
    ///     assert_eq!(client.recv().await.unwrap(), "hello");
    /// });
    /// ```
    pub fn fail_accepts(&self, name: &str, errors: impl IntoIterator<Item = io::Error>) {
        self.world.network.fail_accepts(name, errors.into_iter());
    }

    /// Sets the result of looking up `name`. By default each name with a listener has an address of
    /// its own, and other names are not found.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use sockless::sim::{Lookup, Reachability, Sim};
    /// use sockless::{ConnectError, Instant};
    ///
    /// Sim::check(0..3, |sim| async move {
    ///     let (lost, refused) = ("2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap());
    ///     sim.set_lookup("server", Lookup::Addrs(vec![lost, refused]));
    ///     sim.set_reachability(lost, Reachability::Lost);
    ///     let error = sim.connect("ws://server/").await.unwrap_err();
    ///     assert!(matches!(error, ConnectError::Timeout { attempts, .. } if attempts.len() == 2));
    ///     assert_eq!(sim.now(), Instant::EPOCH + Duration::from_secs(10));
    /// });
    /// ```
    pub fn set_lookup(&self, name: &str, lookup: Lookup) {
        self.world.network.set_lookup(name, lookup);
    }

    /// Sets the result of connecting to `addr` from now on.
    pub fn set_reachability(&self, addr: IpAddr, reachability: Reachability) {
        self.world.network.set_reachability(addr, reachability);
    }
}

impl Clock for Sim {
    fn now(&self) -> Instant {
        Self::now(self)
    }

    fn timer(&self, deadline: Instant) -> Box<dyn Timer> {
        Box::new(self.sleep_until(deadline))
    }

    fn background_timer(&self, deadline: Instant) -> Box<dyn Timer> {
        Box::new(SimTimer::in_background(&self.world.time, deadline))
    }

    fn wake_time(&self, _now: Instant, deadline: Instant) -> Instant {
        deadline
    }
}

impl Spawn for Sim {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.world.tasks.spawn(task, Origin::Driver, self.world.time.machine());
    }
}

impl Runtime for Sim {
    fn seed(&self) -> Seed {
        Seed::new(self.world.draw_seed())
    }

    fn handler_ended(&self, end: HandlerEnd<'_>) {
        self.world.time.live();
        let mut handlers = lock(&self.world.handlers);
        match end {
            HandlerEnd::Failed { path, error } => handlers.failed.push(FailedHandler {
                path: path.to_owned(),
                error: chain(&**error),
                at: self.now(),
            }),
            HandlerEnd::Panicked { path, payload } => {
                let text = text_of(payload).unwrap_or_default();
                handlers.panicked = Some((path.to_owned(), text.to_owned()));
                self.world.time.fail();
            }
            _ => {}
        }
    }

    fn handler_waker(&self) -> Option<Waker> {
        waits::handler_waker()
    }
}

/// Uses the names and addresses of the simulated network.
impl Dial for Sim {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let lookup = self.world.network.lookup(host);
        Box::pin(async move {
            match lookup {
                Some(Lookup::Addrs(addrs)) => {
                    Ok(addrs.into_iter().map(|addr| SocketAddr::new(addr, port)).collect())
                }
                Some(Lookup::Fails(kind)) => Err(kind.into()),
                Some(Lookup::Hangs) => pending().await,
                None => Err(io::Error::new(io::ErrorKind::NotFound, "unknown host name")),
            }
        })
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        let (host, reachability) = self.world.network.destination(addr.ip());
        let world = Arc::clone(&self.world);
        Box::pin(async move {
            match reachability {
                Reachability::Open => {
                    let name = world.network.name_of(&host, addr.port());
                    let io: Box<dyn Io> = Box::new(world.dial(&name).await?);
                    Ok(io)
                }
                Reachability::Fails(kind) => Err(kind.into()),
                Reachability::Lost => pending().await,
            }
        })
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sim(seed {}, at {:?})", self.world.seed, self.now())
    }
}
