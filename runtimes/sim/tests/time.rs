//! Virtual time: sleeps, timers and their order.

use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use sockless_core::Instant;
use sockless_driver::{Clock, Timer};
use sockless_sim::{Sim, poll_at_most};

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u32) -> Instant {
    Instant::EPOCH + seconds * SECOND
}

#[test]
fn time_starts_at_the_epoch_and_advances_from_timer_to_timer() {
    let sim = Sim::new(1);
    sim.run(async {
        assert_eq!(sim.now(), Instant::EPOCH);
        sim.sleep(3 * SECOND).await;
        assert_eq!(sim.now(), at(3));
        sim.sleep_until(at(10)).await;
        assert_eq!(sim.now(), at(10));
    });
}

#[test]
fn a_deadline_that_has_passed_is_not_waited_for() {
    let sim = Sim::new(1);
    sim.run(async {
        sim.sleep(3 * SECOND).await;
        assert_eq!(poll_at_most(1, sim.sleep_until(at(2))).await, Some(()));
        assert_eq!(poll_at_most(1, sim.sleep(Duration::ZERO)).await, Some(()));
        assert_eq!(sim.now(), at(3));
    });
}

#[test]
fn a_century_takes_no_time() {
    let sim = Sim::new(1);
    sim.run(sim.sleep(Duration::from_secs(100 * 365 * 24 * 3600)));
}

/// Returns which sleeper woke when, each with its own deadline.
fn wake_order(seed: u64, deadlines: &[u32]) -> Vec<(Instant, usize)> {
    let sim = Sim::new(seed);
    let log = Arc::new(Mutex::new(Vec::new()));
    sim.run(async {
        for (sleeper, &seconds) in deadlines.iter().enumerate() {
            let (clock, log) = (sim.clone(), Arc::clone(&log));
            sim.spawn(async move {
                clock.sleep_until(at(seconds)).await;
                log.lock().unwrap().push((clock.now(), sleeper));
            });
        }
        sim.sleep(100 * SECOND).await;
    });
    let log = log.lock().unwrap();
    log.clone()
}

#[test]
fn timers_fire_in_the_order_of_their_deadlines() {
    for seed in 0..20 {
        let order = wake_order(seed, &[5, 1, 4, 2, 3]);
        assert_eq!(order, [(at(1), 1), (at(2), 3), (at(3), 4), (at(4), 2), (at(5), 0)]);
    }
}

#[test]
fn timers_of_one_instant_fire_together_in_an_order_drawn_from_the_seed() {
    let mut orders: Vec<_> = (0..60).map(|seed| wake_order(seed, &[1, 1, 1])).collect();
    assert_eq!(orders[7], wake_order(7, &[1, 1, 1]));
    assert!(orders.iter().flatten().all(|(woken, _)| *woken == at(1)));
    orders.sort();
    orders.dedup();
    assert_eq!(orders.len(), 6, "all the orders of three");
}

#[test]
fn ready_tasks_run_before_time_passes() {
    let sim = Sim::new(1);
    sim.run(async {
        let clock = sim.clone();
        let busy = sim.spawn(async move {
            for _ in 0..1000 {
                let mut yielded = false;
                poll_fn(|cx| {
                    if yielded {
                        return Poll::Ready(());
                    }
                    yielded = true;
                    cx.waker().wake_by_ref();
                    Poll::Pending
                })
                .await;
            }
            clock.now()
        });
        sim.sleep(Duration::from_nanos(1)).await;
        assert_eq!(busy.await, Instant::EPOCH);
    });
}

#[test]
fn a_timer_stays_expired_until_it_is_reset() {
    let sim = Sim::new(1);
    sim.run(async {
        let mut timer = Clock::timer(&sim, at(1));
        poll_fn(|cx| timer.poll_expired(cx)).await;
        poll_fn(|cx| timer.poll_expired(cx)).await;
        assert_eq!(sim.now(), at(1));
        timer.reset(at(5));
        poll_fn(|cx| timer.poll_expired(cx)).await;
        assert_eq!(sim.now(), at(5));
    });
}

/// Waits for a timer of `first` seconds while another task resets it, and returns when it fired.
fn rings_after_reset(first: u32, resets: &[u32]) -> Instant {
    let sim = Sim::new(1);
    sim.run(async {
        let timer = Arc::new(Mutex::new(sim.sleep_until(at(first))));
        let (waiting, clock) = (Arc::clone(&timer), sim.clone());
        let rang = sim.spawn(async move {
            poll_fn(|cx| waiting.lock().unwrap().poll_expired(cx)).await;
            clock.now()
        });
        sim.sleep(SECOND).await;
        for &seconds in resets {
            timer.lock().unwrap().reset(at(seconds));
        }
        rang.await
    })
}

#[test]
fn a_reset_wakes_the_task_that_waits_at_the_new_deadline() {
    assert_eq!(rings_after_reset(10, &[5]), at(5));
    assert_eq!(rings_after_reset(10, &[20]), at(20));
    assert_eq!(rings_after_reset(10, &[20, 30, 3]), at(3));
}

#[test]
fn a_timer_reset_to_the_past_fires_at_once() {
    assert_eq!(rings_after_reset(10, &[0]), at(1));
}

#[test]
fn a_timer_reset_from_never_fires() {
    let sim = Sim::new(1);
    sim.run(async {
        let timer = Arc::new(Mutex::new(sim.sleep(Duration::MAX)));
        let waiting = Arc::clone(&timer);
        let rang = sim.spawn(poll_fn(move |cx| waiting.lock().unwrap().poll_expired(cx)));
        sim.settle().await;
        timer.lock().unwrap().reset(at(2));
        rang.await;
    });
    assert_eq!(sim.now(), at(2));
}

#[test]
fn a_sleep_until_the_end_of_time_does_not_conceal_a_deadlock() {
    let sim = Sim::new(6);
    let panic = catch_unwind(AssertUnwindSafe(|| sim.run(sim.sleep(Duration::MAX))));
    let message = panic.unwrap_err().downcast::<String>().unwrap();
    assert!(message.starts_with("seed 6: deadlock"), "{message}");
}

#[test]
fn a_dropped_sleep_leaves_no_alarm() {
    let sim = Sim::new(6);
    let panic = catch_unwind(AssertUnwindSafe(|| {
        sim.run(async {
            assert_eq!(poll_at_most(1, sim.sleep(SECOND)).await, None);
            pending::<()>().await;
        });
    }));
    let message = panic.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("deadlock: no task can run and no timer is set at +0ns"), "{message}");
}

#[test]
fn a_sleep_wakes_the_task_that_polled_it_last() {
    let sim = Sim::new(1);
    sim.run(async {
        let mut sleep = pin!(sim.sleep(SECOND));
        assert_eq!(poll_at_most(1, sleep.as_mut()).await, None);
        sleep.await;
        assert_eq!(sim.now(), at(1));
    });
}

#[test]
fn a_timeout_drops_a_future_that_takes_longer() {
    let sim = Sim::new(1);
    sim.run(async {
        let witness = Arc::new(());
        let held = Arc::clone(&witness);
        let slow = async move {
            pending::<()>().await;
            drop(held);
        };
        assert_eq!(sim.timeout(SECOND, slow).await, None);
        assert_eq!(Arc::strong_count(&witness), 1);
        assert_eq!(sim.now(), at(1));
    });
}

#[test]
fn a_timeout_returns_the_output_of_a_future_in_time() {
    let sim = Sim::new(1);
    sim.run(async {
        assert_eq!(sim.timeout(2 * SECOND, sim.sleep(SECOND)).await, Some(()));
        assert_eq!(sim.now(), at(1));
        assert_eq!(sim.timeout(SECOND, sim.sleep(SECOND)).await, Some(()), "the tie is in time");
        assert_eq!(sim.timeout(Duration::ZERO, async { 1 }).await, Some(1));
    });
}

#[test]
fn settling_waits_for_everything_that_happens_without_time_passing() {
    Sim::check(0..50, |sim| async move {
        let (here, there) = sim.pipe();
        sim.spawn(async move {
            for _ in 0..10 {
                let byte = there.read_exact(1).await.unwrap();
                there.write_all(&byte).await.unwrap();
            }
        });
        let here = Arc::new(here);
        let echoed = Arc::clone(&here);
        sim.spawn(async move {
            for _ in 0..10 {
                echoed.write_all(b"x").await.unwrap();
                echoed.read_exact(1).await.unwrap();
            }
        });
        sim.settle().await;
        assert_eq!(here.wire().stats().bytes_read, 10);
        assert_eq!(sim.now(), Instant::EPOCH);
    });
}

#[test]
fn settling_does_not_wait_for_timers() {
    let sim = Sim::new(1);
    sim.run(async {
        let clock = sim.clone();
        sim.spawn(async move { clock.sleep(SECOND).await });
        sim.settle().await;
        sim.settle().await;
        assert_eq!(sim.now(), Instant::EPOCH);
    });
}
