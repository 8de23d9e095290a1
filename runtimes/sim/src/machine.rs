//! Machines that crash, restart, pause, and have a clock and a disk of their own: [`Machine`].

use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sockless_core::Instant;
use sockless_driver::BoxFuture;

use crate::disk::Disk;
use crate::hosts::{MachineId, OUTSIDE};
use crate::lock;
use crate::sim::Sim;
use crate::tasks::Origin;
use crate::wire::Wire;
use crate::world::World;

/// A machine of the simulation, from [`Sim::machine`].
///
/// What its program does belongs to it: the tasks that it spawns, its timers, its listeners and its
/// connections, with those of the sessions that it serves. They end when it crashes. The test itself,
/// and the clients that it opens, are on no machine.
///
/// Tasks of `tokio::spawn` and timers of `tokio::time` are on no machine either: a program that is to
/// crash uses the simulator's, through [`Session`](sockless_driver::Session) or [`Sim::runtime`].
///
/// ```
/// use std::time::Duration;
///
/// use sockless::sim::{Crash, Sim};
/// use sockless::{Closed, Router, Session, websocket};
///
/// /// A counter that survives a loss of power, since it is synced before it is answered.
/// async fn count(mut session: Session, disk: sockless::sim::Disk) -> Result<(), Closed> {
///     loop {
///         session.recv().await?;
///         let count = disk.read("count").map_or(0, |bytes| bytes[0]) + 1;
///         disk.write("count", vec![count]);
///         disk.sync();
///         session.send(vec![count]).await?;
///     }
/// }
///
/// Sim::check(0..20, |sim| async move {
///     let counter = sim.machine("counter");
///     let world = sim.clone();
///     counter.run(move |machine| {
///         let disk = machine.disk();
///         let handler = move |session| count(session, disk.clone());
///         world.serve("counter", Router::new().route("/", websocket(handler)))
///     });
///     sim.settle().await;
///     for expected in 1..5 {
///         let mut client = sim.connect("ws://counter/").await.unwrap();
///         client.send("count").await.unwrap();
///         assert_eq!(client.recv().await.unwrap(), [expected]);
///         counter.crash(Crash::Power);
///         counter.restart();
///         sim.settle().await;
///     }
/// });
/// ```
#[derive(Clone)]
pub struct Machine {
    sim: Sim,
    state: Arc<MachineState>,
}

/// The end of a machine, for [`Machine::crash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Crash {
    /// The power fails: its peers hear nothing, and connecting to it takes until it is restarted. Of
    /// what was written to its disk since the last [`Disk::sync`], some is lost.
    Power,
    /// The process ends: its connections are reset, and new ones are refused. Its disk keeps what was
    /// written.
    Process,
}

pub(crate) struct MachineState {
    pub(crate) id: MachineId,
    name: String,
    disk: Disk,
    program: Mutex<Option<(Program, &'static Location<'static>)>>,
}

type Program = Arc<dyn Fn(Machine) -> BoxFuture<'static, ()> + Send + Sync>;

impl MachineState {
    pub(crate) fn new(id: MachineId, name: &str) -> Self {
        Self { id, name: name.to_owned(), disk: Disk::default(), program: Mutex::default() }
    }

    pub(crate) fn forget_program(&self) {
        let program = lock(&self.program).take();
        drop(program);
    }
}

impl Machine {
    pub(crate) fn new(sim: &Sim, name: &str) -> Self {
        let state = sim.world.hosts.machine(name);
        sim.world.tasks.name_machine(state.id, name);
        Self { sim: sim.clone(), state }
    }

    /// Starts `program` on the machine. [`restart`](Self::restart) starts it again, with a new call:
    /// what it holds in memory is lost.
    #[track_caller]
    pub fn run<F, Fut>(&self, program: F)
    where
        F: Fn(Self) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let program: Program = Arc::new(move |machine| Box::pin(program(machine)));
        let replaced = lock(&self.state.program).replace((program, Location::caller()));
        drop(replaced);
        self.start();
    }

    /// Ends the machine: drops its tasks, and its listeners and connections with them.
    pub fn crash(&self, crash: Crash) {
        let World { hosts, tasks, .. } = &*self.sim.world;
        hosts.crash(self.state.id, crash);
        if crash == Crash::Power {
            hosts.set_power(self.state.id, false);
            self.state.disk.lose_power(|bound| self.sim.world.draw_for_disk(bound));
        }
        tasks.kill(self.state.id);
    }

    /// Starts the machine's program again, after a [`Crash::Process`] if it runs.
    ///
    /// # Panics
    ///
    /// Panics if the machine never [ran](Self::run) a program.
    #[track_caller]
    pub fn restart(&self) {
        self.crash(Crash::Process);
        self.sim.world.hosts.set_power(self.state.id, true);
        self.start();
    }

    /// Stops the machine's tasks until [`resume`](Self::resume), as a garbage collection or a
    /// hypervisor does. Time goes on, and its connections receive what fits in their buffers.
    pub fn pause(&self) {
        self.sim.world.tasks.pause(self.state.id);
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&self) {
        self.sim.world.tasks.resume(self.state.id);
    }

    /// Moves the machine's clock forward. Its timers expire early.
    pub fn jump(&self, by: Duration) {
        self.sim.world.time.skew(self.state.id, |skew| skew.jump(by));
        self.sim.world.tasks.wake_machine(self.state.id);
    }

    /// Makes the machine's clock fast by `ppm` millionths of the time that passes, or slow if it is
    /// negative, down to a millionth of the true rate.
    pub fn set_clock_rate(&self, ppm: i32) {
        self.sim.world.time.skew(self.state.id, |skew| skew.set_ppm(ppm));
        self.sim.world.tasks.wake_machine(self.state.id);
    }

    /// Returns the time on the machine's clock.
    pub fn now(&self) -> Instant {
        let time = &self.sim.world.time;
        time.local_time(self.state.id, time.now())
    }

    /// Returns the machine's disk.
    pub fn disk(&self) -> Disk {
        self.state.disk.clone()
    }

    /// Returns the name of the machine.
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// Returns true once it has run a program.
    pub(crate) fn has_program(&self) -> bool {
        lock(&self.state.program).is_some()
    }

    #[track_caller]
    fn start(&self) {
        let program = lock(&self.state.program).clone();
        let (program, place) = program.expect("a machine is restarted after it ran a program");
        let machine = self.clone();
        let task = Box::pin(async move { program(machine).await });
        self.sim.world.tasks.spawn(task, Origin::Test(place), self.state.id);
    }
}

impl Sim {
    /// Returns the machine `name`, which is new at the first call.
    pub fn machine(&self, name: &str) -> Machine {
        Machine::new(self, name)
    }

    /// Returns the wires of the open connections at `name`, a machine or a listener, oldest first:
    /// those of [`connect`](Self::connect) and of a `Reconnect` too. Each is seen from its end at
    /// `name`.
    ///
    /// ```
    /// use sockless::sim::Sim;
    /// use sockless::{Closed, Router, Session, websocket};
    ///
    /// # async fn echo(mut session: Session) -> Result<(), Closed> {
    /// #     loop {
    /// #         let message = session.recv().await?;
    /// #         session.send(message).await?;
    /// #     }
    /// # }
    /// Sim::check(0..5, |sim| async move {
    ///     sim.spawn(sim.serve("server", Router::new().route("/", websocket(echo))));
    ///     let client = sim.connect("ws://server/").await.unwrap();
    ///     sim.wires("server")[0].cut();
    ///     assert!(!client.closed().await.is_clean());
    /// });
    /// ```
    pub fn wires(&self, name: &str) -> Vec<Wire> {
        self.world.hosts.wires(name)
    }

    /// Separates two groups of machines until [`heal`](Self::heal): nothing passes between them.
    /// Bytes under way arrive afterwards, as TCP repeats them. Connecting takes until then too.
    ///
    /// The name `""` is that of everything that is on no machine: the test and its clients.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use sockless::sim::Sim;
    ///
    /// Sim::check(0..5, |sim| async move {
    ///     let store = sim.machine("store");
    ///     let world = sim.clone();
    ///     store.run(move |_| {
    ///         let mut listener = world.listen("store");
    ///         async move { listener.accept().await.write_all(b"value").await.unwrap() }
    ///     });
    ///     let client = loop {
    ///         // Until it listens.
    ///         match sim.dial("store").await {
    ///             Ok(client) => break client,
    ///             Err(_) => sim.settle().await,
    ///         }
    ///     };
    ///     sim.partition(&["store"], &[""]);
    ///     assert!(sim.timeout(Duration::from_secs(60), client.read_some()).await.is_none());
    ///     sim.heal();
    ///     assert_eq!(client.read_some().await.unwrap(), "value");
    /// });
    /// ```
    pub fn partition(&self, some: &[&str], others: &[&str]) {
        self.partition_one_way(some, others);
        self.partition_one_way(others, some);
    }

    /// Like [`partition`](Self::partition), of what passes in one direction only.
    pub fn partition_one_way(&self, from: &[&str], to: &[&str]) {
        for from in from {
            for to in to {
                self.world.hosts.partition(self.machine_id(from), self.machine_id(to));
            }
        }
    }

    /// Ends all partitions.
    pub fn heal(&self) {
        self.world.hosts.heal(|_, _| true);
    }

    /// Ends the partitions between two machines, in both directions.
    pub fn heal_between(&self, one: &str, other: &str) {
        let (one, other) = (self.machine_id(one), self.machine_id(other));
        self.world.hosts.heal(|from, to| (from, to) == (one, other) || (from, to) == (other, one));
    }

    /// Separates a machine from everything else.
    pub(crate) fn isolate(&self, name: &str) {
        let machine = self.machine_id(name);
        for other in self.world.hosts.machine_ids() {
            if other != machine {
                self.world.hosts.partition(machine, other);
                self.world.hosts.partition(other, machine);
            }
        }
    }

    /// Ends all partitions of a machine.
    pub(crate) fn end_isolation(&self, name: &str) {
        let machine = self.machine_id(name);
        self.world.hosts.heal(|from, to| from == machine || to == machine);
    }

    fn machine_id(&self, name: &str) -> MachineId {
        if name.is_empty() { OUTSIDE } else { self.world.hosts.machine(name).id }
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Machine({:?}, at {:?})", self.state.name, self.now())
    }
}
