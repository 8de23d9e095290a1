//! Campaigns: a planted bug is found by a plan, which is shrunk, saved and repeated.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;

use sockless::{Closed, Router, Session, websocket};
use sockless_sim::{Campaign, Disk, Fault, Plan, Sim};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Acknowledges a job before, or after, it is on the disk.
async fn dispatch(mut session: Session, disk: Disk, is_planted: bool) -> Result<(), Closed> {
    loop {
        let job = session.recv().await?;
        disk.write(job.as_text().unwrap_or_default(), "job");
        if !is_planted {
            disk.sync();
        }
        session.send(job).await?;
        session.sleep(200 * MS).await;
        disk.sync();
    }
}

/// Submits a job over a connection of its own. Returns true if it was acknowledged.
async fn submit(sim: &Sim, job: String) -> bool {
    let submitting = async {
        let mut client = sim.connect("ws://jobs/").await.ok()?;
        client.send(job).await.ok()?;
        client.recv().await.ok()
    };
    sim.timeout(SECOND, submitting).await.flatten().is_some()
}

async fn jobs(sim: Sim, is_planted: bool) {
    let (machine, world) = (sim.machine("jobs"), sim.clone());
    machine.run(move |machine| {
        let disk = machine.disk();
        let handler = move |session| dispatch(session, disk.clone(), is_planted);
        world.serve("jobs", Router::new().route("/", websocket(handler)))
    });
    sim.settle().await;
    let mut acknowledged = Vec::new();
    for (number, step) in sim.steps("client").into_iter().enumerate() {
        let job = format!("job-{number}");
        match step.what() {
            "submit" if submit(&sim, job.clone()).await => acknowledged.push(job),
            "submit" => {}
            _ => sim.sleep(MS * (step.value() % 500) as u32).await,
        }
    }
    for job in acknowledged {
        assert!(machine.disk().read(&job).is_some(), "{job} was acknowledged, and lost");
    }
}

fn campaign() -> Campaign {
    Campaign::new()
        .seeds(0..60)
        .wires("jobs")
        .faults("jobs", [Fault::Crash, Fault::PowerLoss, Fault::Pause])
        .within(5 * SECOND)
        .acts(3..9)
        .steps("client", 10..30, ["submit", "wait"])
}

fn failure(campaign: &Campaign) -> String {
    let run = catch_unwind(AssertUnwindSafe(|| campaign.check(|sim| jobs(sim, true))));
    *run.expect_err("the bug is found").downcast::<String>().expect("a message")
}

/// Returns the plan of the last line of a message.
fn plan_of(message: &str) -> Plan {
    let line = message.lines().last().unwrap();
    let plan = line.strip_prefix("replay: SOCKLESS_SIM='").and_then(|line| line.split_once('\''));
    plan.expect(line).0.parse().unwrap()
}

#[test]
fn a_bug_is_found_shrunk_saved_and_repeated() {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("jobs.plans");
    let _ = fs::remove_file(&file);
    let message = failure(&campaign().saved(&file));
    println!("{message}");
    assert!(message.contains("was acknowledged, and lost"), "{message}");
    let shrunk = plan_of(&message);
    let faults: Vec<_> = shrunk.acts().iter().map(|act| act.fault()).collect();
    assert_eq!(faults, [Fault::PowerLoss], "{message}");
    assert!(shrunk.steps("client").len() <= 2, "{message}");

    // The saved plan fails alike, before any seed.
    let saved = fs::read_to_string(&file).unwrap();
    assert_eq!(saved.lines().last(), Some(shrunk.to_string().as_str()));
    let again = failure(&campaign().seeds(0..0).saved(&file));
    assert_eq!(plan_of(&again), shrunk);
    let what = |message: &str| message.lines().next().map(str::to_owned);
    assert_eq!(what(&again), what(&message));
    assert_eq!(fs::read_to_string(&file).unwrap(), saved);
    fs::remove_file(&file).unwrap();
}

#[test]
fn without_the_bug_no_plan_fails() {
    campaign().check(|sim| jobs(sim, false));
}

#[test]
fn a_plan_is_left_as_it_is_without_runs_to_shrink_it() {
    let message = failure(&campaign().shrinking(0));
    assert!(plan_of(&message).acts().len() >= 3, "{message}");
    assert!(message.contains("acts and steps after 0 runs:"), "{message}");
}

#[test]
fn a_saved_plan_that_cannot_be_read_is_named() {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("invalid.plans");
    fs::write(&file, "# comment\nseed 7; at 5s bite jobs 0\n").unwrap();
    let message = failure(&campaign().saved(&file));
    let expected = "invalid.plans: invalid clause \"at 5s bite jobs 0\" in a plan";
    assert!(message.contains(expected), "{message}");
    fs::remove_file(&file).unwrap();
}

#[test]
fn a_mark_or_a_fault_that_is_never_reached_fails_the_campaign() {
    let campaign = || {
        let steps = ["submit", "wait"];
        Campaign::new().seeds(0..30).machine("jobs").steps("client", 5..10, steps)
    };
    campaign().reaches([]).check(|sim| jobs(sim, false));
    for threads in [1, 2] {
        let run = |campaign: Campaign| {
            let check = || campaign.check_parallel(threads, |sim| jobs(sim, false));
            *catch_unwind(AssertUnwindSafe(check)).unwrap_err().downcast::<String>().unwrap()
        };
        let unreached = run(campaign().reaches(["a job is late"]));
        let expected = "never reached in any run: \"a job is late\" (its line was never executed)";
        assert_eq!(unreached, expected);
        let without_effect = run(campaign().wires("jbos").reaches([]));
        let expected = "\"Cut of jbos\" (its condition was false ";
        assert!(without_effect.contains(expected), "{without_effect}");
    }
}
