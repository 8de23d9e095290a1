//! Acts of a plan at an event and at a point of the program.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use sockless::{Closed, Router, Session, sometimes, websocket};
use sockless_sim::{Act, Campaign, Disk, Fault, Plan, Sim, When};

const SECOND: Duration = Duration::from_secs(1);

/// Acknowledges a job, and syncs the disk a nanosecond later, which no time of a plan falls into.
async fn dispatch(mut session: Session, disk: Disk, is_planted: bool) -> Result<(), Closed> {
    loop {
        let job = session.recv().await?;
        disk.write(job.as_text().unwrap_or_default(), "job");
        if !is_planted {
            disk.sync();
        }
        session.send(job).await?;
        session.flush().await?;
        sometimes!(true, "a job is acknowledged");
        session.sleep(Duration::from_nanos(1)).await;
        disk.sync();
    }
}

async fn jobs(sim: Sim, is_planted: bool) {
    let (machine, world) = (sim.machine("jobs"), sim.clone());
    machine.run(move |machine| {
        let disk = machine.disk();
        let handler = move |session| dispatch(session, disk.clone(), is_planted);
        world.serve("jobs", Router::new().route("/", websocket(handler)))
    });
    sim.settle().await;
    let Ok(mut client) = sim.connect("ws://jobs/").await else { return };
    let mut acknowledged = Vec::new();
    for job in ["one", "two", "three", "four"] {
        // No multiple of a tick.
        sim.sleep(SECOND + Duration::from_micros(333)).await;
        let _ = client.send(job).await;
        if let Some(Ok(_)) = sim.timeout(SECOND, client.recv()).await {
            acknowledged.push(job);
        }
    }
    sim.sleep(10 * SECOND).await;
    for job in acknowledged {
        assert!(machine.disk().read(job).is_some(), "{job} was acknowledged, and lost");
    }
}

fn failure(campaign: &Campaign, is_planted: bool) -> Option<String> {
    let run = AssertUnwindSafe(|| campaign.check(|sim| jobs(sim, is_planted)));
    let failed = catch_unwind(run).err()?;
    Some(*failed.downcast::<String>().expect("a message"))
}

fn campaign() -> Campaign {
    Campaign::new().seeds(0..100).faults("jobs", [Fault::PowerLoss]).within(20 * SECOND).acts(1..3)
}

#[test]
fn a_crash_at_a_point_finds_what_one_at_a_time_does_not() {
    assert_eq!(failure(&campaign(), true), None);
    let at_points = campaign().at_points(["a job is acknowledged"]);
    let message = failure(&at_points, true).expect("the bug is found");
    println!("{message}");
    assert!(message.contains("was acknowledged, and lost"), "{message}");
    assert!(message.contains("plan, with 1 of "), "{message}");
    let line = message.lines().find(|line| line.starts_with("  at point")).expect("an act");
    assert!(line.starts_with("  at point a-job-is-acknowledged 1 power-loss jobs for "), "{line}");
    assert_eq!(failure(&at_points, false), None);
}

#[test]
fn a_crash_at_an_event_finds_it_too() {
    let at_events = campaign().seeds(0..300).at_events(20..400);
    let message = failure(&at_events, true).expect("the bug is found");
    println!("{message}");
    assert!(message.contains("\n  at event "), "{message}");
    assert_eq!(failure(&at_events, false), None);
}

#[test]
fn when_an_act_happens_is_read_from_its_plan() {
    let plan: Plan =
        "seed 1; at event 7 cut jobs 0; at point acked 2 pause jobs for 1s".parse().unwrap();
    assert_eq!(plan.acts()[0].happens(), &When::Event(7));
    assert_eq!(plan.acts()[1], Act::at_point("acked", 2, Fault::Pause, "jobs").lasting(SECOND));
}
