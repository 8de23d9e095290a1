//! Clients that come back: delays, the hook, the judge, and what others see.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sockless_core::{CloseCode, CloseReason, Instant, Seed};
use sockless_driver::{AttemptError, Connect, Reconnect, ReconnectState, Retry, Session};
use sockless_routing::{Router, websocket};
use sockless_sim::{Sim, poll_at_most};

use crate::support::{MS, SECOND, answer, assert_echoes, serve_echo};
use sockless_tests::handlers::echo;

fn reconnect(sim: &Sim) -> Reconnect {
    let sim = sim.clone();
    Reconnect::new(move || sim.connect("ws://server/"))
}

/// Serves an echo at `server` for so long, then shuts down.
async fn serve_for(sim: &Sim, duration: Duration) {
    let server = sim.bind("server");
    let (sim, router) = (sim.clone(), Router::new().route("/", websocket(echo)));
    let stopping = sim.clone();
    let serving = server.serve_until(router, async move { stopping.sleep(duration).await });
    let _ = sim.timeout(duration + SECOND, serving).await;
}

#[test]
fn a_server_that_dies_and_comes_back_is_found_again() {
    Sim::check(0..20, |sim| async move {
        let keeper = sim.clone();
        sim.spawn(async move {
            loop {
                serve_for(&keeper, 20 * SECOND).await;
                keeper.sleep(7 * SECOND).await;
            }
        });
        sim.settle().await;
        let subscribed = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&subscribed);
        let mut feed =
            reconnect(&sim).max_delay(2 * SECOND).on_open(move |session: &mut Session| {
                let counter = Arc::clone(&counter);
                Box::pin(async move {
                    session.send("subscribe").await?;
                    assert_eq!(session.recv().await?.as_text(), Some("subscribe"));
                    counter.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                })
            });
        for round in 1..=4 {
            let mut session = feed.next().await.unwrap();
            assert_eq!(subscribed.load(Ordering::Relaxed), round);
            assert_echoes(&mut session).await;
            session.closed().await;
        }
        // At most 27 s a round, and 2 s more to notice.
        assert!(sim.now() < Instant::EPOCH + 4 * 29 * SECOND, "{:?}", sim.now());
    });
}

/// The states that a watch sees, from the first to the last, and when.
#[test]
fn every_state_can_be_watched() {
    Sim::check(0..10, |sim| async move {
        let mut feed = reconnect(&sim).retry_if(|end, attempt| end.is_transient() && attempt < 4);
        let mut watch = feed.watch();
        assert_eq!(watch.state(), ReconnectState::Idle);
        let seen = sim.spawn(async move {
            let mut seen = Vec::new();
            while let Some(state) = watch.changed().await {
                seen.push(state);
            }
            seen
        });
        let gave_up = feed.next().await.unwrap_err();
        assert_eq!(gave_up.attempts(), 4);
        assert!(matches!(gave_up.last_error(), AttemptError::Connect(_)), "{gave_up}");
        let again = feed.next().await.unwrap_err();
        assert_eq!(again.to_string(), gave_up.to_string());
        sim.settle().await;
        drop(feed);
        let seen = seen.await;
        assert_eq!(seen.last(), Some(&ReconnectState::Stopped));
        let mut longest = 500 * MS;
        let waits = seen.iter().filter_map(|state| match state {
            ReconnectState::Waiting { attempt, until } => Some((*attempt, *until)),
            _ => None,
        });
        let waits: Vec<_> = waits.collect();
        let mut before = Instant::EPOCH;
        for (due, (attempt, until)) in waits.iter().enumerate() {
            assert_eq!(*attempt, due as u32 + 1);
            assert!(until.saturating_since(before) <= longest, "{waits:?}");
            (before, longest) = (*until, longest * 2);
        }
        assert_eq!(waits.len(), 3, "{seen:?}");
        assert_eq!(sim.now(), before);
    });
}

#[test]
fn a_permanent_error_ends_the_attempts_at_once() {
    let answers = ["HTTP/1.1 404 Not Found\r\n", "HTTP/1.1 401 Unauthorized\r\n"];
    for text in answers {
        Sim::check(0..3, |sim| async move {
            answer(&sim, "server", format!("{text}Content-Length: 0\r\n\r\n"), false);
            let gave_up = reconnect(&sim).next().await.unwrap_err();
            assert_eq!((gave_up.attempts(), sim.now()), (1, Instant::EPOCH));
        });
    }
    Sim::check(0..3, |sim| async move {
        let policy = async |session: Session| session.close(CloseCode::POLICY_VIOLATION);
        sim.spawn(sim.serve("server", Router::new().route("/", websocket(policy))));
        let mut feed = reconnect(&sim);
        let session = feed.next().await.unwrap();
        let gave_up = feed.next().await.unwrap_err();
        assert!(matches!(gave_up.last_error(), AttemptError::Closed(_)), "{gave_up}");
        drop(session);
    });
}

#[test]
fn the_reason_of_a_server_is_shown_escaped() {
    Sim::check(0..3, |sim| async move {
        let rude = async |session: Session| {
            session.close(CloseReason::new(CloseCode::POLICY_VIOLATION, "\x1b[2J\n\u{9b}31mred"));
        };
        sim.spawn(sim.serve("server", Router::new().route("/", websocket(rude))));
        let mut feed = reconnect(&sim);
        let session = feed.next().await.unwrap();
        let gave_up = feed.next().await.unwrap_err();
        drop(session);
        for shown in [gave_up.to_string(), format!("{gave_up:?}"), gave_up.last_error().to_string()]
        {
            assert!(shown.contains("31mred") && !shown.contains(char::is_control), "{shown:?}");
        }
    });
}

#[test]
fn a_hook_that_fails_is_a_failed_attempt() {
    Sim::check(0..5, |sim| async move {
        serve_echo(&sim, "server");
        let mut calls = 0;
        let mut feed = reconnect(&sim)
            .retry_if(|end, _| matches!(end, AttemptError::Hook(_)))
            .on_open(move |_session| {
                calls += 1;
                Box::pin(async move { if calls < 3 { Err("not yet".into()) } else { Ok(()) } })
            });
        assert_echoes(&mut feed.next().await.unwrap()).await;
        let ReconnectState::Open = feed.watch().state() else { panic!("{feed:?}") };
    });
}

/// A hook that waits for a silent server is dropped after its time, and its session is closed.
#[test]
fn a_hook_has_a_deadline() {
    for (timeout, expected) in [(None, 30 * SECOND), (Some(2 * SECOND), 2 * SECOND)] {
        Sim::check(0..5, |sim| async move {
            let silent = async |mut session: Session| {
                while session.recv().await.is_ok() {}
            };
            sim.spawn(sim.serve("server", Router::new().route("/", websocket(silent))));
            let ends = Arc::new(Mutex::new(Vec::new()));
            let noted = ends.clone();
            let mut feed = reconnect(&sim)
                .retry_if(move |error, attempts| {
                    noted.lock().unwrap().push(error.to_string());
                    error.is_transient() && attempts < 2
                })
                .on_open(|session| Box::pin(async move { Ok(session.recv().await.map(drop)?) }));
            if let Some(timeout) = timeout {
                feed = feed.hook_timeout(timeout);
            }
            let gave_up = feed.next().await.unwrap_err();
            let late = "Reconnect::on_open was not ready within Reconnect::hook_timeout";
            assert_eq!(*ends.lock().unwrap(), [late; 2]);
            assert!(matches!(gave_up.last_error(), AttemptError::HookTimeout { .. }));
            let took = sim.now().saturating_since(Instant::EPOCH);
            assert!((2 * expected..=2 * expected + SECOND).contains(&took), "{took:?}");
        });
    }
}

/// What an attempt needs is awaited before it: a failure or a delay there is that of the attempt.
#[test]
fn each_attempt_is_prepared() {
    Sim::check(0..10, |sim| async move {
        let tell = async |session: Session| {
            session.send(session.request().header("authorization").unwrap_or("none")).await
        };
        sim.spawn(sim.serve("server", Router::new().route("/", websocket(tell))));
        let (seen, clock) = (Arc::new(Mutex::new(Vec::new())), sim.clone());
        let noted = seen.clone();
        let mut calls = 0;
        let mut feed = reconnect(&sim)
            .hook_timeout(SECOND)
            .retry_if(move |error, _| {
                noted.lock().unwrap().push(error.to_string());
                error.is_transient()
            })
            .prepare(move |connect| {
                calls += 1;
                let clock = clock.clone();
                async move {
                    match calls {
                        1 => return Err("no token".into()),
                        2 => clock.sleep(10 * SECOND).await,
                        _ => clock.sleep(100 * MS).await,
                    }
                    Ok(connect.header("authorization", format!("token {calls}")))
                }
            });
        for token in ["token 3", "token 4"] {
            // It is resumed where it was.
            let mut session = loop {
                match poll_at_most(1, feed.next()).await {
                    Some(session) => break session.unwrap(),
                    None => sim.sleep(10 * MS).await,
                }
            };
            assert_eq!(session.recv().await.unwrap(), token);
            session.closed().await;
        }
        let failed = "the hook of Reconnect::prepare failed: no token";
        let late = "Reconnect::prepare was not ready within Reconnect::hook_timeout";
        assert_eq!(seen.lock().unwrap()[..2], [failed, late]);
    });
}

/// A connection that lasts makes the delays begin anew, and a short one does not.
#[test]
fn only_a_stable_connection_resets_the_delays() {
    for (lasts, resets) in [(SECOND, false), (6 * SECOND, true)] {
        Sim::check(0..5, |sim| async move {
            let clock = sim.clone();
            let brief = move |session: Session| {
                let clock = clock.clone();
                async move {
                    clock.sleep(lasts).await;
                    session.close(CloseCode::GOING_AWAY);
                }
            };
            sim.spawn(sim.serve("server", Router::new().route("/", websocket(brief))));
            let attempts = Arc::new(Mutex::new(Vec::new()));
            let noted = Arc::clone(&attempts);
            let mut feed = reconnect(&sim).retry_if(move |_, attempt| {
                noted.lock().unwrap().push(attempt);
                true
            });
            for _ in 0..12 {
                feed.next().await.unwrap().closed().await;
            }
            let due = if resets { vec![0; 11] } else { Vec::from_iter(1..=11) };
            assert_eq!(*attempts.lock().unwrap(), due);
            let without_growing = Instant::EPOCH + (lasts + 500 * MS) * 12;
            assert_eq!(sim.now() <= without_growing, resets, "{:?}", sim.now());
        });
    }
}

/// The lifetime of a session ends with the session, not with the program's next call.
#[test]
fn a_busy_program_makes_no_session_stable() {
    for (lasts, resets) in [(Duration::ZERO, false), (6 * SECOND, true)] {
        Sim::check(0..5, |sim| async move {
            let clock = sim.clone();
            let brief = move |session: Session| {
                let clock = clock.clone();
                async move {
                    clock.sleep(lasts).await;
                    session.close(CloseCode::GOING_AWAY);
                }
            };
            sim.spawn(sim.serve("server", Router::new().route("/", websocket(brief))));
            let attempts = Arc::new(Mutex::new(Vec::new()));
            let noted = Arc::clone(&attempts);
            let mut feed = reconnect(&sim).retry_if(move |_, attempt| {
                noted.lock().unwrap().push(attempt);
                true
            });
            for _ in 0..8 {
                let session = feed.next().await.unwrap();
                sim.sleep(60 * SECOND).await;
                drop(session);
            }
            let due = if resets { vec![0; 7] } else { Vec::from_iter(1..=7) };
            assert_eq!(*attempts.lock().unwrap(), due);
        });
    }
}

/// The time that a hook takes is part of the session's life.
#[test]
fn a_session_lasts_from_its_opening_handshake_on() {
    Sim::check(0..5, |sim| async move {
        let clock = sim.clone();
        let brief = move |session: Session| {
            let clock = clock.clone();
            async move {
                clock.sleep(6 * SECOND).await;
                session.close(CloseCode::GOING_AWAY);
            }
        };
        sim.spawn(sim.serve("server", Router::new().route("/", websocket(brief))));
        let attempts = Arc::new(Mutex::new(Vec::new()));
        let (noted, clock) = (Arc::clone(&attempts), sim.clone());
        let mut feed = reconnect(&sim)
            .retry_if(move |_, attempt| {
                noted.lock().unwrap().push(attempt);
                true
            })
            .on_open(move |_session| {
                let clock = clock.clone();
                Box::pin(async move {
                    clock.sleep(4 * SECOND).await;
                    Ok(())
                })
            });
        for _ in 0..4 {
            feed.next().await.unwrap().closed().await;
        }
        assert_eq!(*attempts.lock().unwrap(), [0; 3]);
    });
}

/// The time that the program was busy counts towards the delay.
#[test]
fn a_delay_counts_from_the_end_of_the_session() {
    Sim::check(0..5, |sim| async move {
        let brief = |session: Session| async move { session.close(CloseCode::GOING_AWAY) };
        sim.spawn(sim.serve("server", Router::new().route("/", websocket(brief))));
        let mut feed = reconnect(&sim).max_delay(10 * SECOND);
        for _ in 0..8 {
            drop(feed.next().await.unwrap());
            sim.sleep(10 * SECOND).await;
            let asked = sim.now();
            feed.next().await.unwrap();
            assert_eq!(sim.now(), asked);
            sim.sleep(10 * SECOND).await;
        }
    });
}

/// A watcher of the session's end is no reason for it to stay open, nor for anything to be left behind.
#[test]
fn a_session_that_was_given_away_closes_when_it_is_dropped() {
    Sim::check(0..5, |sim| async move {
        serve_echo(&sim, "server");
        let mut feed = reconnect(&sim);
        drop(feed.next().await.unwrap());
        sim.settle().await;
        assert_echoes(&mut feed.next().await.unwrap()).await;
    });
}

/// Nothing is lost by dropping `next` at any await: it goes on where it was.
#[test]
fn next_can_be_dropped_at_any_await() {
    Sim::check(0..10, |sim| async move {
        serve_echo(&sim, "server");
        let connections = Arc::new(AtomicU32::new(0));
        let (counter, client) = (Arc::clone(&connections), sim.clone());
        let factory = move || -> Connect {
            counter.fetch_add(1, Ordering::Relaxed);
            client.connect("ws://server/")
        };
        let mut feed = Reconnect::new(factory).on_open(|session| {
            Box::pin(async move {
                session.send("x").await?;
                session.recv().await?;
                Ok(())
            })
        });
        let mut session = loop {
            if let Some(session) = poll_at_most(1, feed.next()).await {
                break session.unwrap();
            }
            sim.settle().await;
        };
        assert_eq!(connections.load(Ordering::Relaxed), 1);
        assert_echoes(&mut session).await;
    });
}

#[test]
fn the_seed_decides_the_delays() {
    let ended_at = |seed| {
        let sim = Sim::new(1);
        sim.run(async {
            let judge = |_: &AttemptError, attempt| attempt < 6;
            let mut feed = reconnect(&sim).seed(Seed::new([seed; 32])).retry_if(judge);
            feed.next().await.unwrap_err();
            sim.now()
        })
    };
    assert_eq!(ended_at(1), ended_at(1));
    assert_ne!(ended_at(1), ended_at(2));
}

/// Dropped in the middle of an attempt, it takes the attempt along.
#[test]
fn dropping_it_leaves_nothing_behind() {
    Sim::check(0..5, |sim| async move {
        let mut listener = sim.listen("server");
        let mut feed = reconnect(&sim);
        let mut watch = feed.watch();
        assert!(sim.timeout(SECOND, feed.next()).await.is_none());
        assert_eq!(watch.state(), ReconnectState::Connecting { attempt: 1 });
        let io = listener.accept().await;
        drop(feed);
        io.read_until(b"\r\n\r\n").await.unwrap();
        assert_eq!(io.read_to_end().await.unwrap(), "");
        assert!(watch.changed().await.is_some() && watch.changed().await.is_none());
    });
}

#[test]
fn a_server_that_asks_for_a_delay_gets_it() {
    for (status, header, delay) in [
        ("429 Too Many Requests", "Retry-After: 120", 120 * SECOND),
        ("503 Service Unavailable", "Retry-After: 7", 7 * SECOND),
        ("503 Service Unavailable", "Retry-After: 99999999999999999999999", 300 * SECOND),
        ("500 Internal Server Error", "Retry-After: 120", Duration::ZERO),
        ("503 Service Unavailable", "Retry-After: later", Duration::ZERO),
    ] {
        Sim::check(0..5, |sim| async move {
            let text = format!("HTTP/1.1 {status}\r\n{header}\r\nContent-Length: 0\r\n\r\n");
            answer(&sim, "server", text, false);
            let mut feed = reconnect(&sim).retry_if(|_, attempts| attempts < 2);
            feed.next().await.unwrap_err();
            let waited = sim.now().since_epoch();
            assert!(waited >= delay && waited < delay + SECOND, "{header}: {waited:?}");
        });
    }
}

#[test]
fn the_condition_may_choose_the_delay() {
    Sim::check(0..5, |sim| async move {
        answer(
            &sim,
            "server",
            "HTTP/1.1 503 X\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n",
            false,
        );
        let mut feed = reconnect(&sim).retry_if(|_, attempts| match attempts {
            1 => Retry::After(100 * SECOND),
            _ => Retry::Stop,
        });
        let watch = feed.watch();
        assert!(watch.last_error().is_none());
        feed.next().await.unwrap_err();
        assert_eq!(sim.now(), Instant::EPOCH + 100 * SECOND);
        let error = watch.last_error().expect("it is visible");
        assert!(matches!(&*error, AttemptError::Connect(_)), "{error}");
    });
}

#[test]
fn a_delay_can_be_ended() {
    Sim::check(0..10, |sim| async move {
        let mut feed = reconnect(&sim).retry_if(|_, _| Retry::After(1_000 * SECOND));
        let watch = feed.watch();
        watch.retry_now();
        let starter = sim.clone();
        sim.spawn(async move {
            starter.sleep(10 * SECOND).await;
            serve_echo(&starter, "server");
            starter.settle().await;
            watch.retry_now();
            watch.retry_now();
        });
        let mut session = feed.next().await.unwrap();
        assert_echoes(&mut session).await;
        assert!(sim.now() < Instant::EPOCH + 12 * SECOND, "{:?}", sim.now());
        session.terminate();
        // The second call ended no later delay.
        let again = sim.timeout(900 * SECOND, feed.next()).await;
        assert!(again.is_none(), "it waits");
    });
}
