//! Bugs of servers: in their shutdown, their memory, their use of the protocol, their clocks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sockless::{
    CloseCode, Closed, Frame, Instant, Opcode, RawSession, Router, Session, websocket,
    websocket_raw,
};
use sockless_sim::{App, Campaign, Fault, Link, Sim, WireDirection};
use tokio::sync::{mpsc, oneshot};

use crate::hunt::{Choices, MS, SECOND, hunt, hunt_with};

type Done = Arc<Mutex<Vec<String>>>;

/// Acknowledges a job once it is done; the bug leaves it to a task and acknowledges it at once.
async fn submit(
    mut session: Session,
    jobs: mpsc::UnboundedSender<String>,
    done: Done,
    is_planted: bool,
) -> Result<(), Closed> {
    loop {
        let job = session.recv().await?;
        let name = job.as_text().unwrap_or_default().to_owned();
        if is_planted {
            let _ = jobs.send(name);
        } else {
            session.sleep(5 * MS).await;
            done.lock().unwrap().push(name);
        }
        session.send(job).await?;
    }
}

/// Does jobs until the server stops.
async fn work_off(
    sim: Sim,
    mut jobs: mpsc::UnboundedReceiver<String>,
    done: Done,
    mut stopped: oneshot::Receiver<()>,
) {
    loop {
        let job = tokio::select! {
            biased;
            _ = &mut stopped => return,
            job = jobs.recv() => job,
        };
        let Some(job) = job else { return };
        sim.sleep(5 * MS).await;
        done.lock().unwrap().push(job);
    }
}

/// Submits jobs until the server is gone, and returns those that were acknowledged.
async fn submit_all(sim: &Sim, app: &App, choices: &mut Choices) -> Vec<String> {
    let mut client = app.open("/").await;
    let mut acknowledged = Vec::new();
    for number in 0..10 {
        let job = format!("job-{number}");
        if client.try_send(job.as_str()).is_err() || client.next().await.is_err() {
            break;
        }
        acknowledged.push(job);
        sim.sleep(choices.draw(0..20) as u32 * MS).await;
    }
    acknowledged
}

#[test]
fn a_job_that_is_lost_at_a_shutdown() {
    let expected = "was acknowledged, and never done";
    hunt("job lost at shutdown", expected, |sim, mut choices, is_planted| async move {
        let done = Done::default();
        let (jobs, queue) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let working = sim.spawn(work_off(sim.clone(), queue, done.clone(), stopped));
        let finished = done.clone();
        let handler = move |session| submit(session, jobs.clone(), finished.clone(), is_planted);
        let app = sim.app(Router::new().route("/", websocket(handler)));
        let (server, begin) = (app.clone(), sim.sleep(choices.draw(1..100) as u32 * MS));
        let shutdown = sim.spawn(async move {
            begin.await;
            server.shutdown(SECOND).await;
            let _ = stop.send(());
        });
        let acknowledged = submit_all(&sim, &app, &mut choices).await;
        shutdown.await;
        working.await;
        for job in acknowledged {
            assert!(done.lock().unwrap().contains(&job), "{job} was acknowledged, and never done");
        }
    });
}

/// Sends news every 10 ms through a queue, which has no bound with the bug.
async fn follow(session: Session, queued: Arc<AtomicU64>, is_planted: bool) -> Result<(), Closed> {
    let (publish, mut news) = mpsc::unbounded_channel::<Vec<u8>>();
    let (sender, length) = (session.sender(), queued.clone());
    let _writing = session.spawn(async move {
        while let Some(news) = news.recv().await {
            length.fetch_sub(1, Ordering::Relaxed);
            if sender.send(news).await.is_err() {
                return;
            }
        }
    });
    for _ in 0..120 {
        session.sleep(10 * MS).await;
        if !is_planted && queued.load(Ordering::Relaxed) >= 16 {
            session.close(CloseCode::POLICY_VIOLATION);
            break;
        }
        queued.fetch_add(1, Ordering::Relaxed);
        let _ = publish.send(vec![0; 4096]);
    }
    Ok(())
}

#[test]
fn a_queue_that_grows_while_its_reader_is_slow() {
    let expected = "queued is 65, its limit is 64";
    hunt("unbounded growth", expected, |sim, mut choices, is_planted| async move {
        let queued = Arc::new(AtomicU64::new(0));
        let measured = queued.clone();
        let _ = sim.gauge("queued", move || measured.load(Ordering::Relaxed)).at_most(64);
        let handler = move |session| follow(session, queued.clone(), is_planted);
        let router = Router::new().route("/", websocket(handler));
        let client = sim.app_over(router, &Link::default().capacity(4096)).open("/").await;
        sim.sleep(choices.draw(0..100) as u32 * MS).await;
        if choices.draw(0..8) == 7 {
            client.wire().stall(WireDirection::Inbound);
        }
        sim.sleep(2 * SECOND).await;
    });
}

/// Sends ticks until the client closes; with the bug the ticks go on.
async fn tick(mut session: RawSession, is_planted: bool) {
    let mut next = session.now() + 10 * MS;
    loop {
        let sleep = session.sleep(next.saturating_since(session.now()));
        let frame = tokio::select! {
            biased;
            frame = session.recv() => Some(frame),
            () = sleep => None,
        };
        let sent = match frame {
            Some(Ok(frame)) if frame.opcode == Opcode::Close => {
                let answered = session.send(frame).await;
                if !is_planted {
                    return;
                }
                answered
            }
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) => return,
            None => {
                next = next + 10 * MS;
                session.send(Frame::new(Opcode::Text, "tick".into())).await
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

#[test]
fn a_frame_that_follows_the_close_frame() {
    let law =
        "the server of connection #1 GET / sends a frame after its Close frame (RFC 6455 §5.5.1)";
    hunt("frame after Close", law, |sim, mut choices, is_planted| async move {
        let handler = move |session| tick(session, is_planted);
        let router = Router::new().route("/", websocket_raw(handler));
        let link = Link::default().latency(choices.draw(0..20) as u32 * MS);
        let mut client = sim.app_over(router, &link).open("/").await;
        client.next().await.unwrap();
        client.close(CloseCode::NORMAL);
        client.closed().await;
        sim.sleep(SECOND).await;
    });
}

/// Lends a resource to one at a time. The bug takes it back after ten seconds on the machine's clock,
/// although its holder may not have returned it.
async fn lend(
    mut session: Session,
    lent: Arc<Mutex<Option<Instant>>>,
    is_planted: bool,
) -> Result<(), Closed> {
    loop {
        let asked = session.recv().await?;
        let is_returned = asked.as_text() == Some("return");
        let (now, mut reply) = (session.now(), "returned");
        {
            let mut lent = lent.lock().unwrap();
            lent.take_if(|until| is_returned || is_planted && *until <= now);
            if !is_returned {
                reply = if lent.is_none() { "lent" } else { "taken" };
                lent.get_or_insert(now + 10 * SECOND);
            }
        }
        session.send(reply).await?;
    }
}

/// Borrows the resource again and again, for nine seconds each.
async fn borrow(sim: Sim, holders: Arc<AtomicU64>, pause: Duration) {
    let mut client = sim.connect("ws://locks/").await.unwrap();
    for _ in 0..20 {
        sim.sleep(pause).await;
        client.send("lend").await.unwrap();
        if client.recv().await.unwrap().as_text() == Some("lent") {
            holders.fetch_add(1, Ordering::Relaxed);
            sim.sleep(9 * SECOND).await;
            holders.fetch_sub(1, Ordering::Relaxed);
            client.send("return").await.unwrap();
            client.recv().await.unwrap();
        }
    }
}

#[test]
fn a_lease_that_two_hold_because_a_clock_jumps() {
    let campaign = Campaign::new().faults("locks", [Fault::Jump]).within(40 * SECOND);
    let expected = "does not hold: at most one holds it";
    hunt_with(campaign, "clock jump", expected, |sim, mut choices, is_planted| async move {
        let (machine, world) = (sim.machine("locks"), sim.clone());
        machine.run(move |_| {
            let lent = Arc::new(Mutex::new(None));
            let handler = move |session| lend(session, lent.clone(), is_planted);
            world.serve("locks", Router::new().route("/", websocket(handler)))
        });
        sim.settle().await;
        let holders = Arc::new(AtomicU64::new(0));
        let seen = holders.clone();
        sim.always("at most one holds it", move || seen.load(Ordering::Relaxed) <= 1);
        let borrowers = [(); 2].map(|()| {
            let pause = choices.draw(1..3000) as u32 * MS;
            sim.spawn(borrow(sim.clone(), holders.clone(), pause))
        });
        for borrower in borrowers {
            borrower.await;
        }
    });
}
