//! Tests of the server in the simulator: a conversation, faults, and a bug that seeds find.

use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::Duration;

use jobs::{Acknowledge, Store, router};
use sockless::sim::{Campaign, Disk, Fault, Link, Sim};

const SECOND: Duration = Duration::from_secs(1);

/// The disk of a simulated machine.
struct SimulatedDisk(Disk);

impl Store for SimulatedDisk {
    fn write(&self, job: &str) {
        self.0.write(job, "job");
    }

    fn sync(&self) {
        self.0.sync();
    }
}

#[test]
fn a_job_is_acknowledged() {
    let slow = Link::mobile().short_reads(5);
    Sim::check(0..50, |sim| {
        let disk = sim.machine("jobs").disk();
        let store = Arc::new(SimulatedDisk(disk.clone()));
        let app = sim.app_over(router(store, Acknowledge::Synced), &slow);
        async move {
            let mut client = app.open("/submit").await;
            client.send("sweep").await;
            client.expect("sweep").await;
            assert!(disk.read("sweep").is_some());
            assert_eq!(app.get("/submit").await.status(), 426);
        }
    });
}

/// Submits jobs, as the plan has them, and looks for those that were acknowledged.
async fn jobs_survive(sim: Sim, acknowledge: Acknowledge) {
    let (machine, world) = (sim.machine("jobs"), sim.clone());
    machine.run(move |machine| {
        let store = Arc::new(SimulatedDisk(machine.disk()));
        world.serve("jobs", router(store, acknowledge))
    });
    sim.settle().await;
    let mut acknowledged = Vec::new();
    for (number, step) in sim.steps("client").into_iter().enumerate() {
        if step.what() == "wait" {
            sim.sleep(Duration::from_millis(step.value() % 1000)).await;
            continue;
        }
        let job = format!("job-{number}");
        let submitting = async {
            let mut client = sim.connect("ws://jobs/submit").await.ok()?;
            client.send(job.as_str()).await.ok()?;
            client.recv().await.ok()
        };
        if sim.timeout(SECOND, submitting).await.flatten().is_some() {
            acknowledged.push(job);
        }
    }
    // Until all machines run again.
    sim.sleep(10 * SECOND).await;
    for job in acknowledged {
        assert!(machine.disk().read(&job).is_some(), "{job} was acknowledged, and lost");
    }
}

/// Connections break, and the machine crashes and loses its power: at drawn times, and when it has
/// acknowledged a job.
fn campaign() -> Campaign {
    Campaign::new()
        .seeds(0..100)
        .wires("jobs")
        .faults("jobs", [Fault::Crash, Fault::PowerLoss, Fault::Pause])
        .at_points(["a job is acknowledged"])
        .steps("client", 5..20, ["submit", "wait"])
}

#[test]
fn acknowledged_jobs_survive() {
    campaign().check_parallel(0, |sim| jobs_survive(sim, Acknowledge::Synced));
}

/// The bug is found, and its plan is shrunk to a loss of power after the first job.
#[test]
fn jobs_that_are_acknowledged_too_early_are_found() {
    let hunt = || campaign().check(|sim| jobs_survive(sim, Acknowledge::Written));
    let message = catch_unwind(hunt).unwrap_err().downcast::<String>().unwrap();
    println!("{message}");
    assert!(message.contains("was acknowledged, and lost"), "{message}");
    assert!(message.contains("power-loss jobs"), "{message}");
    assert!(message.contains("\nreplay: SOCKLESS_SIM='seed "), "{message}");
}
