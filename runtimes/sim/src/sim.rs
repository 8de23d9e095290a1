//! The handle of a simulation: [`Sim`].

use std::fmt;
use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use sockless_core::{Instant, Seed};
use sockless_driver::{BoxFuture, Clock, Dial, Io, Runtime, Spawn, Timer};

use crate::io::SimIo;
use crate::link::Link;
use crate::names::{Lookup, Reachability};
use crate::network::SimListener;
use crate::tasks::{JoinHandle, joinable};
use crate::time::{SimTimer, settle, timeout};
use crate::world::World;

/// A deterministic simulation: tasks, a virtual clock that starts at [`Instant::EPOCH`], and a
/// network. One seed decides everything that is random.
///
/// Clones are handles to the same simulation. It is a [`Runtime`] for the driver.
///
/// - Running: [`run`](Self::run), [`check`](Self::check), [`max_polls`](Self::max_polls).
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
/// - Randomness: [`draw`](Self::draw), [`fingerprint`](Self::fingerprint).
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
    world: Arc<World>,
}

/// Running.
impl Sim {
    /// Creates a simulation. `seed` decides everything that is random: the order of the tasks, the
    /// lengths of short reads, the masking keys of the connections. Equal seeds and equal code give
    /// equal runs.
    pub fn new(seed: u64) -> Self {
        Self { max_polls: 10_000_000, world: Arc::new(World::new(seed)) }
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

    /// Runs `scenario` once for each seed, each time in a new simulation.
    ///
    /// A failure names its seed. To debug it, run that seed alone, for example `Sim::check(7..8,
    /// …)`.
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    #[track_caller]
    pub fn check<F, Fut>(seeds: Range<u64>, scenario: F)
    where
        F: Fn(Self) -> Fut,
        Fut: Future<Output = ()>,
    {
        for seed in seeds {
            let sim = Self::new(seed);
            sim.run(async { scenario(sim.clone()).await });
        }
    }

    /// Runs `main` to completion together with the spawned tasks, and then drops those that have
    /// not finished.
    ///
    /// Time passes only when no task can run: then the clock advances to the next timer.
    ///
    /// # Panics
    ///
    /// Panics with the seed in the message if any task panics; if no task can run and no timer is
    /// set, with the names of the unfinished tasks; and if [`max_polls`](Self::max_polls) is
    /// exceeded. Also panics if the simulation is already running.
    #[track_caller]
    pub fn run<F: Future>(&self, main: F) -> F::Output {
        self.world.run(self.max_polls, main)
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

    /// Returns a digest of the run so far: which task was polled when, and how many bytes each read
    /// and write moved. Runs with different fingerprints differ.
    pub fn fingerprint(&self) -> u64 {
        self.world.time.digest()
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
        self.world.tasks.spawn(task, Some(Location::caller()));
        handle
    }

    /// Returns how many spawned tasks have not finished, including those of the driver and the
    /// calling one, but not the main task. A test can assert that no task is left.
    pub fn unfinished(&self) -> usize {
        self.world.tasks.unfinished()
    }

    /// Returns the virtual time: [`Instant::EPOCH`] at first, advanced only when no task can run.
    pub fn now(&self) -> Instant {
        self.world.time.now()
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
        self.world.pipe(link)
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
        self.world.network.listen(name, link)
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
}

impl Spawn for Sim {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.world.tasks.spawn(task, None);
    }
}

impl Runtime for Sim {
    fn seed(&self) -> Seed {
        Seed::new(self.world.draw_seed())
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
