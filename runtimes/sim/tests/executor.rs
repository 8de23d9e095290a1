//! Tasks: their order, the end of a run, and its failures.

use std::cell::Cell;
use std::future::{pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use sockless_core::Instant;
use sockless_driver::{Runtime, Spawn, Timer};
use sockless_sim::{Sim, poll_at_most};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_run_returns_what_main_returns() {
    assert_eq!(Sim::new(1).run(async { 42 }), 42);
}

#[test]
fn main_may_borrow_and_does_not_have_to_be_send() {
    let counter = Cell::new(1);
    Sim::new(1).run(async { counter.set(counter.get() + 1) });
    assert_eq!(counter.get(), 2);
}

#[test]
fn a_handle_returns_the_output_of_its_task_whenever_it_is_awaited() {
    Sim::check(0..20, |sim| async move {
        let early = sim.spawn(ready("early"));
        sim.settle().await;
        let sleep = sim.sleep(SECOND);
        let late = sim.spawn(async move {
            sleep.await;
            "late"
        });
        assert_eq!((early.await, late.await), ("early", "late"));
    });
}

#[test]
fn dropping_a_join_handle_does_not_stop_the_task() {
    let sim = Sim::new(1);
    let done = Arc::new(Mutex::new(false));
    sim.run(async {
        let set = Arc::clone(&done);
        let sleep = sim.sleep(SECOND);
        drop(sim.spawn(async move {
            sleep.await;
            *set.lock().unwrap() = true;
        }));
        sim.sleep(2 * SECOND).await;
    });
    assert!(*done.lock().unwrap());
}

#[test]
fn a_dropped_wait_for_a_task_can_be_repeated() {
    let sim = Sim::new(1);
    sim.run(async {
        let sleep = sim.sleep(SECOND);
        let mut task = sim.spawn(async move {
            sleep.await;
            7
        });
        assert_eq!(poll_at_most(1, &mut task).await, None);
        assert_eq!(task.await, 7);
    });
}

#[test]
fn a_future_with_zero_polls_does_not_start() {
    let sim = Sim::new(1);
    sim.run(async {
        assert_eq!(poll_at_most(0, async { unreachable!("it began") }).await, None::<()>);
        assert_eq!(poll_at_most(1, ready(1)).await, Some(1));
    });
}

#[test]
fn the_seed_decides_the_order_of_ready_tasks() {
    let order = |seed| {
        let sim = Sim::new(seed);
        let order = Arc::new(Mutex::new(Vec::new()));
        sim.run(async {
            for task in 0..8 {
                let order = Arc::clone(&order);
                sim.spawn(async move { order.lock().unwrap().push(task) });
            }
            sim.settle().await;
        });
        let order = order.lock().unwrap();
        order.clone()
    };
    assert_eq!(order(7), order(7));
    let mut orders: Vec<_> = (0..50).map(order).collect();
    orders.sort();
    orders.dedup();
    assert!(orders.len() > 45, "only {} orders of 50 seeds", orders.len());
}

#[test]
fn a_busy_task_does_not_starve_the_others() {
    let sim = Sim::new(3);
    sim.run(async {
        sim.spawn(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
        for _ in 0..10 {
            sim.spawn(ready(())).await;
        }
    });
}

#[test]
fn waking_a_task_many_times_polls_it_once() {
    let sim = Sim::new(1);
    let polls = Arc::new(Mutex::new(0));
    let count = Arc::clone(&polls);
    sim.run(async {
        sim.spawn(poll_fn(move |cx| {
            let mut polls = count.lock().unwrap();
            *polls += 1;
            for _ in 0..100 {
                if *polls == 1 {
                    cx.waker().wake_by_ref();
                }
            }
            Poll::<()>::Pending
        }));
        sim.settle().await;
    });
    assert_eq!(*polls.lock().unwrap(), 2);
}

#[test]
fn waking_a_finished_task_does_nothing() {
    let sim = Sim::new(1);
    sim.run(async {
        let waker = sim.spawn(poll_fn(|cx| Poll::Ready(cx.waker().clone()))).await;
        waker.wake();
        sim.settle().await;
    });
}

#[test]
fn unfinished_tasks_are_dropped_when_main_finishes() {
    let witness = Arc::new(());
    let sim = Sim::new(1);
    sim.run(async {
        let (held, world) = (Arc::clone(&witness), sim.clone());
        sim.spawn(async move {
            pending::<()>().await;
            drop((held, world));
        });
        sim.settle().await;
        assert_eq!(Arc::strong_count(&witness), 2);
    });
    assert_eq!(Arc::strong_count(&witness), 1);
}

#[test]
fn a_task_spawned_by_a_drop_at_the_end_is_dropped_too() {
    struct Respawn(Sim, Arc<()>);
    impl Drop for Respawn {
        fn drop(&mut self) {
            let held = Arc::clone(&self.1);
            self.0.spawn(async move { drop(held) });
        }
    }
    let witness = Arc::new(());
    let sim = Sim::new(1);
    sim.run(async {
        let respawn = Respawn(sim.clone(), Arc::clone(&witness));
        sim.spawn(async move {
            pending::<()>().await;
            drop(respawn);
        });
        sim.settle().await;
    });
    assert_eq!(Arc::strong_count(&witness), 1);
}

#[test]
fn a_second_run_continues_at_the_time_of_the_first() {
    let sim = Sim::new(1);
    sim.run(sim.sleep(SECOND));
    sim.run(sim.sleep(SECOND));
    assert_eq!(sim.now(), Instant::EPOCH + 2 * SECOND);
}

#[test]
fn a_wake_of_one_run_does_not_affect_the_next() {
    let sim = Sim::new(1);
    sim.run(poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::Ready(())
    }));
    let mut polls = 0;
    let mut sleep = sim.sleep(SECOND);
    sim.run(poll_fn(|cx| {
        polls += 1;
        sleep.poll_expired(cx)
    }));
    assert_eq!(polls, 2);
}

#[test]
fn it_is_a_runtime_for_the_driver() {
    let sim = Sim::new(1);
    let runtime: Arc<dyn Runtime> = Arc::new(sim.clone());
    sim.run(async {
        let (here, there) = sim.pipe();
        let mut timer = runtime.timer(runtime.now() + SECOND);
        runtime.spawn(Box::pin(async move {
            poll_fn(|cx| timer.poll_expired(cx)).await;
            here.write_all(b"rang").await.unwrap();
        }));
        assert_eq!(there.read_to_end().await.unwrap(), "rang");
    });
    assert_eq!(runtime.now(), Instant::EPOCH + SECOND);
}

#[test]
fn connections_get_different_seeds_drawn_from_that_of_the_simulation() {
    let seeds = |seed| {
        let sim = Sim::new(seed);
        [Runtime::seed(&sim), Runtime::seed(&sim)]
    };
    assert!(seeds(1) == seeds(1));
    assert!(seeds(1)[0] != seeds(1)[1]);
    assert!(seeds(1) != seeds(2));
}

#[test]
fn a_scenario_draws_from_the_seed() {
    let draw = |seed| {
        let sim = Sim::new(seed);
        (0..100).map(|_| sim.draw(10..20)).collect::<Vec<_>>()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    assert_eq!(draw(1).iter().min(), Some(&10));
    assert_eq!(draw(1).iter().max(), Some(&19));
}

/// Returns the message of the panic of `run`.
fn failure(run: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("a panic");
    *panic.downcast::<String>().expect("a panic with a message")
}

#[test]
fn a_deadlock_names_the_seed_the_time_and_the_unfinished_tasks() {
    let sim = Sim::new(77);
    let message = failure(|| {
        sim.run(async {
            sim.sleep(SECOND).await;
            sim.spawn(ready(()));
            sim.spawn(pending::<()>());
            Spawn::spawn(&sim, Box::pin(pending()));
            pending::<()>().await;
        });
    });
    assert!(message.starts_with("seed 77: deadlock"), "{message}");
    let main = "at +1s after 5 polls\ntasks:\n  main waits for something that keeps no waker\n";
    assert!(message.contains(main), "{message}");
    let task = "\n  task 2 (spawned at runtimes/sim/tests/executor.rs:";
    assert!(message.contains(task), "{message}");
    assert!(message.contains("\n  task 3 (spawned by the driver) waits "), "{message}");
}

#[test]
fn an_accept_without_a_client_is_a_deadlock() {
    let sim = Sim::new(5);
    let message = failure(|| drop(sim.run(async { sim.listen("server").accept().await })));
    assert!(message.starts_with("seed 5: deadlock"), "{message}");
}

#[test]
fn a_task_that_spins_exceeds_the_maximum_of_polls() {
    let sim = Sim::new(8).max_polls(1000);
    let message = failure(|| {
        sim.run(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
    });
    assert!(
        message.starts_with(
            "seed 8: too many polls (Sim::max_polls) at +0ns after 1000 polls\ntasks:\n  main can run"
        ),
        "{message}"
    );
}

#[test]
fn endless_timers_exceed_the_maximum_of_polls() {
    let sim = Sim::new(8).max_polls(1000);
    let message = failure(|| {
        sim.run(async {
            let ticking = sim.clone();
            sim.spawn(async move {
                loop {
                    ticking.sleep(SECOND).await;
                }
            });
            pending::<()>().await;
        });
    });
    assert!(message.contains("too many polls"), "{message}");
}

#[test]
fn a_panic_of_main_names_the_seed() {
    let message = failure(|| Sim::new(9).run(async { panic!("bad {}", 1) }));
    let first = "seed 9: main panicked at +0ns: bad 1\n  at runtimes/sim/tests/executor.rs:";
    assert!(message.starts_with(first), "{message}");
}

#[test]
fn a_panic_of_a_task_fails_the_run_and_names_the_seed() {
    let sim = Sim::new(10);
    let message = failure(|| {
        sim.run(async {
            sim.sleep(SECOND).await;
            sim.spawn(async { panic!("worse") });
            pending::<()>().await;
        });
    });
    assert!(message.starts_with("seed 10: task 1 (spawned at "), "{message}");
    assert!(message.contains(") panicked at +1s: worse\n  at "), "{message}");
}

#[test]
fn a_panic_without_a_message_is_passed_on_unchanged() {
    let panic = catch_unwind(|| {
        Sim::new(1).run(async { std::panic::panic_any(7_u8) });
    });
    assert_eq!(panic.unwrap_err().downcast_ref::<u8>(), Some(&7));
}

#[test]
fn a_check_names_the_seed_that_fails() {
    let message = failure(|| {
        Sim::check(0..100, |sim| async move {
            assert!(sim.draw(0..10) != 3, "three");
        });
    });
    let seed = (0..100).find(|&seed| Sim::new(seed).draw(0..10) == 3).unwrap();
    assert!(message.starts_with(&format!("seed {seed}: main panicked")), "{message}");
}

#[test]
fn a_simulation_can_be_used_again_after_a_failure() {
    let sim = Sim::new(1);
    failure(|| sim.run(pending()));
    assert_eq!(sim.run(async { 1 }), 1);
}

#[test]
fn a_run_within_a_run_of_the_same_simulation_panics() {
    let sim = Sim::new(1);
    let message = failure(|| sim.run(async { sim.run(async {}) }));
    let why = "main panicked at +0ns: this simulation is already running: await the future instead";
    assert!(message.contains(why), "{message}");
}

#[test]
fn another_simulation_may_run_within_a_run() {
    assert_eq!(Sim::new(1).run(async { Sim::new(2).run(async { 3 }) }), 3);
}
