//! Plans and their runs.

use std::sync::Mutex;

use super::*;
use crate::plan::{Act, When};

fn campaign() -> Campaign {
    let campaign = Campaign::new().wires("a").machine("a");
    campaign.steps("ada", 2..9, ["say", "wait"]).acts(1..8)
}

#[test]
fn equal_seeds_have_equal_plans_within_their_bounds() {
    let campaign = campaign();
    for seed in 0..200 {
        let plan = campaign.plan(seed);
        assert_eq!(plan, campaign.plan(seed));
        assert!((1..8).contains(&plan.acts().len()), "{plan}");
        assert!((2..9).contains(&plan.steps("ada").len()), "{plan}");
        assert_eq!(plan.to_string().parse(), Ok(plan.clone()));
        let is_multiple = |time: Duration| {
            campaign.ticks.iter().any(|tick| time.as_nanos().is_multiple_of(tick.as_nanos()))
        };
        for act in plan.acts() {
            let at = act.when.time().expect("acts have times");
            assert!(at < campaign.within && is_multiple(at), "{act}");
            assert!(act.lasting <= campaign.within && is_multiple(act.lasting), "{act}");
        }
    }
}

#[test]
fn plans_have_some_kinds_of_faults_each_and_all_of_them_together() {
    let campaign = campaign().acts(7..8);
    let kinds = |plan: &Plan| {
        let kinds = plan.acts().iter().map(|act| format!("{:?}", act.fault()));
        kinds.collect::<std::collections::BTreeSet<_>>()
    };
    let plans: Vec<_> = (0..100).map(|seed| kinds(&campaign.plan(seed))).collect();
    assert_eq!(plans.iter().flatten().collect::<std::collections::BTreeSet<_>>().len(), 10);
    assert!(plans.iter().any(|kinds| kinds.len() <= 2), "{plans:?}");
}

#[test]
fn leaving_an_act_out_does_not_change_what_the_scenario_draws() {
    let drawn = |plan: &Plan| {
        let drawn = Mutex::new(Vec::new());
        let ran = run_plan(plan, &|sim: Sim| {
            let drawn = &drawn;
            async move {
                for _ in 0..20 {
                    let (one, other) = sim.pipe();
                    lock(drawn).push(sim.draw(0..1_000_000));
                    sim.spawn(async move { one.write_all(b"hello").await });
                    other.read_exact(5).await.unwrap();
                    sim.sleep(Duration::from_millis(1)).await;
                }
            }
        });
        assert!(ran.result.is_ok() && ran.cost.polls > 20);
        drawn.into_inner().unwrap()
    };
    let mut plan = Plan::new(7);
    let without = drawn(&plan);
    for at in 0..20 {
        plan.push_act(Act::new(Duration::from_millis(at), Fault::Cut, "nothing"));
    }
    assert_eq!(drawn(&plan), without);
    assert_ne!(drawn(&Plan::new(8)), without);
}

#[test]
fn no_plan_is_begun_beyond_the_budget() {
    let runs = std::cell::Cell::new(0);
    Campaign::new().seeds(0..1000).budget(10).check(|sim| {
        runs.set(runs.get() + 1);
        async move { sim.sleep(Duration::from_secs(1)).await }
    });
    // Two polls each; the first plan runs twice.
    assert!((5..=6).contains(&runs.get()), "{}", runs.get());
}

#[test]
fn no_plan_is_begun_beyond_the_budget_of_bytes() {
    let runs = std::cell::Cell::new(0);
    Campaign::new().seeds(0..1000).budget_bytes(1000).check(|sim| {
        runs.set(runs.get() + 1);
        async move {
            let (one, _other) = sim.pipe();
            one.write_all(&[0; 100]).await.unwrap();
        }
    });
    // The first plan runs twice.
    assert_eq!(runs.get(), 10);
}

#[test]
fn threads_run_the_same_plans_and_report_the_first_failure() {
    let campaign = Campaign::new().seeds(0..100).wires("a").shrinking(0);
    let runs = Mutex::new(Vec::new());
    campaign.check_parallel(3, |sim| {
        lock(&runs).push(sim.world.seed);
        async move { sim.sleep(Duration::from_secs(1)).await }
    });
    let mut runs = runs.into_inner().unwrap();
    runs.sort_unstable();
    // The first plan runs twice.
    assert_eq!(runs, std::iter::once(0).chain(0..100).collect::<Vec<_>>());

    let fails = |sim: Sim| async move { assert!(![37, 38, 90].contains(&sim.world.seed)) };
    let run = || campaign.check_parallel(3, fails);
    let message = std::panic::catch_unwind(run).unwrap_err().downcast::<String>().unwrap();
    assert!(message.starts_with("seed 37: "), "{message}");
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    assert!(message.ends_with(&name), "the line repeats this test: {message}");
}

#[test]
fn acts_are_drawn_at_events_and_points_if_that_is_asked_for() {
    let campaign = campaign().acts(7..8).at_events(5..50).at_points(["a job is stored"]);
    let plans: Vec<_> = (0..50).map(|seed| campaign.plan(seed)).collect();
    let acts: Vec<_> = plans.iter().flat_map(|plan| plan.acts()).collect();
    let count = |is: fn(&When) -> bool| acts.iter().filter(|act| is(&act.when)).count();
    assert!(count(|when| matches!(when, When::Event(5..50))) > 80);
    let is_point =
        |when: &When| matches!(when, When::Point { name, nth: 1..=4 } if name == "a-job-is-stored");
    assert!(count(is_point) > 80);
    assert!(count(|when| matches!(when, When::At(_))) > 80);
    assert_eq!(plans[3].to_string().parse(), Ok(plans[3].clone()));
}

#[test]
fn fresh_plans_run_after_those_of_the_seeds() {
    let runs = std::cell::Cell::new(0);
    Campaign::new().seeds(0..2).fresh(5).check(|_| {
        runs.set(runs.get() + 1);
        async {}
    });
    assert_eq!(runs.get(), 8);
}
