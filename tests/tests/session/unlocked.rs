//! Callbacks of the session may call the session: the closure that changes the settings, and every waker.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use sockless_core::{Config, Message};
use sockless_driver::{ConnectionServer, Sender};
use sockless_sim::{Link, Sim};

use sockless_tests::opened::{Once, Peer, SECOND, on_both_sides, open, open_over, receive_all};

/// A waker that looks at the session before it passes the call on.
#[derive(Default)]
struct Calls {
    sender: Mutex<Option<Sender>>,
    inner: Mutex<Option<Waker>>,
    count: AtomicUsize,
}

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(sender) = &*self.sender.lock().unwrap() {
            sender.config();
            sender.round_trip();
            drop(sender.clone());
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        let inner = self.inner.lock().unwrap().clone();
        inner.into_iter().for_each(Waker::wake);
    }
}

impl Calls {
    fn of(sender: &Sender) -> Arc<Self> {
        let sender = Mutex::new(Some(sender.clone()));
        Arc::new(Self { sender, ..Self::default() })
    }

    /// The number of calls; the session is not held any longer.
    fn finish(&self) -> usize {
        *self.sender.lock().unwrap() = None;
        self.count.load(Ordering::Relaxed)
    }

    /// `future`, polled with this waker.
    async fn wrap<F: Future>(self: Arc<Self>, future: F) -> F::Output {
        let mut future = pin!(future);
        let waker = Waker::from(Arc::clone(&self));
        std::future::poll_fn(|cx| {
            *self.inner.lock().unwrap() = Some(cx.waker().clone());
            future.as_mut().poll(&mut Context::from_waker(&waker))
        })
        .await
    }
}

#[test]
fn a_waker_that_looks_at_the_session_does_not_hang_it() {
    on_both_sides(10, |sim, role| async move {
        let config = Config::default().high_water(100);
        let link = Link::default().capacity(100);
        let clock = sim.clone();
        let tested = open_over(&sim, role, &link, config, async move |session| {
            let (sender, mut receiver) = session.split();
            let calls: [_; 5] = std::array::from_fn(|_| Calls::of(&sender));
            let [recv, send, flush, part, closed] = calls.clone();
            // Nothing leaves but what fits the link.
            sender.send("x".repeat(5_000)).await.unwrap();
            let tasks = [
                clock.spawn({
                    let sender = sender.clone();
                    async move { send.wrap(sender.send("sent")).await.unwrap() }
                }),
                clock.spawn({
                    let sender = sender.clone();
                    async move { flush.wrap(sender.flush()).await.unwrap() }
                }),
                clock.spawn({
                    let sender = sender.clone();
                    async move {
                        let writer = part.wrap(async {
                            let mut writer = sender.writer().await.unwrap();
                            writer.write("part").await.unwrap();
                            writer
                        });
                        writer.await.finish("").await.unwrap();
                    }
                }),
                clock.spawn({
                    let sender = sender.clone();
                    async move { drop(closed.wrap(sender.closed()).await) }
                }),
            ];
            let received =
                clock.spawn(async move { recv.wrap(receiver.recv()).await.unwrap() }).await;
            for task in tasks {
                task.await;
            }
            (received, calls.map(|calls| calls.finish()))
        })
        .await;
        sim.sleep(SECOND).await;
        assert_eq!(tested.peer.frame().await.payload.len(), 5_000);
        tested.peer.text("received").await;
        sim.sleep(SECOND).await;
        assert_eq!(tested.peer.close_and_drain(1000).await.len(), 3);
        tested.peer.io.shutdown().await.unwrap();
        let (received, counts) = tested.output.await.expect("it returned");
        assert_eq!(received, Message::from("received"));
        assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    });
}

#[test]
fn the_drivers_own_waker_may_look_at_the_session() {
    Sim::check(0..10, |sim| async move {
        let (near, far) = sim.pipe_over(&Link::default());
        let calls = Arc::new(Calls::default());
        let (clock, slot) = (sim.clone(), Arc::clone(&calls));
        let service = Once::new(Config::default(), async move |mut session| {
            *slot.sender.lock().unwrap() = Some(session.sender());
            let sender = session.sender();
            let ticking = clock.clone();
            clock.spawn(async move {
                for _ in 0..3 {
                    ticking.sleep(SECOND).await;
                    sender.send("sent").await.unwrap();
                    sender.ping("pinged").unwrap();
                    sender.reconfigure(|config| config.idle_timeout(SECOND * 50));
                }
                ticking.sleep(SECOND).await;
                sender.close(sockless_core::CloseCode::NORMAL);
            });
            receive_all(&mut session).await;
        });
        let serving = ConnectionServer::new(service, sim.runtime()).serve_connection(
            Box::new(near),
            None,
            None,
        );
        let served = sim.spawn(Arc::clone(&calls).wrap(serving));
        let peer = Peer::of_a_server(far).await;
        assert_eq!(peer.close_and_drain_any().await.len(), 7);
        served.await;
        assert!(calls.finish() >= 4);
    });
}

#[test]
fn the_closure_that_changes_the_settings_may_use_the_session() {
    on_both_sides(5, |sim, role| async move {
        let tested = open(&sim, role, Config::default(), async move |session| {
            let sender = session.sender();
            session.reconfigure(|config| {
                assert_eq!(sender.config().get_high_water(), config.get_high_water());
                sender.try_send("from inside").unwrap();
                config.idle_timeout(SECOND * 7)
            });
            session.config().get_idle_timeout()
        })
        .await;
        tested.peer.expect_text("from inside").await;
        tested.peer.close_and_drain_any().await;
        tested.peer.io.shutdown().await.unwrap();
        assert_eq!(tested.output.await, Some(Some(SECOND * 7)));
    });
}

#[test]
fn of_two_changes_at_the_same_time_none_is_lost() {
    on_both_sides(5, |sim, role| async move {
        let tested = open(&sim, role, Config::default(), async move |session| {
            let other = session.sender();
            let mut calls = 0;
            session.reconfigure(|config| {
                calls += 1;
                if calls == 1 {
                    // Another task comes in between.
                    other.reconfigure(|config| config.ping_interval(SECOND * 8));
                }
                config.idle_timeout(SECOND * 700)
            });
            let config = session.config();
            (calls, config.get_idle_timeout(), config.get_ping_interval())
        })
        .await;
        tested.peer.close_and_drain_any().await;
        tested.peer.io.shutdown().await.unwrap();
        let expected: (_, Option<Duration>, _) = (2, Some(SECOND * 700), Some(SECOND * 8));
        assert_eq!(tested.output.await, Some(expected));
    });
}
