//! Every cell, over a few seeds each: what is wrong with it, in one list.
//!
//! `LIVENESS_CELL='Fin at Sleep' cargo test -p sockless-tests --test liveness matrix` runs the cells alone
//! whose names hold that.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use sockless_core::{CloseCode, Closed, Instant};
use sockless_driver::ConnectionServer;
use sockless_sim::{JoinHandle, Sim};
use tokio::sync::oneshot;

use crate::cell::{self, Cell, End, MESSAGE, Stand};
use crate::peer::{self, Frames};
use crate::stand::{Entries, Log, MOST};
use crate::world::World;
use sockless_tests::opened::{HOUR, SECOND};

const SEEDS: u64 = 3;

/// A cell that takes more has a driver that spins: the longest takes some 6,000.
const MAX_POLLS: u64 = 20_000;

/// Where nothing bounds a session, it is watched for so long.
const UNBOUNDED: Duration = Duration::from_secs(600);

#[test]
fn every_session_ends_in_time_for_the_right_cause() {
    let mut cells = cell::all();
    if let Ok(part) = std::env::var("LIVENESS_CELL") {
        cells.retain(|cell| cell.to_string().contains(&part));
    }
    let failures: Vec<_> = cells.iter().filter_map(|cell| failure(*cell)).collect();
    println!("{} cells, {} of them fail", cells.len(), failures.len());
    for (cell, complaint) in &failures {
        println!("{cell}: {complaint}");
    }
    assert!(failures.is_empty(), "{} of {} cells fail", failures.len(), cells.len());
}

/// The failures of a cell, for the first seed that has any.
fn failure(cell: Cell) -> Option<(Cell, String)> {
    (0..SEEDS).find_map(|seed| {
        let sim = Sim::new(seed).max_polls(MAX_POLLS);
        let run = || sim.run(judge(sim.clone(), cell));
        let complaints = catch_unwind(AssertUnwindSafe(run))
            .unwrap_or_else(|_| vec![format!("seed {seed} panicked, see above")]);
        (!complaints.is_empty()).then(|| (cell, format!("{} (seed {seed})", complaints.join("; "))))
    })
}

/// Runs a cell; what is wrong with it.
async fn judge(sim: Sim, cell: Cell) -> Vec<String> {
    let log = Log::default();
    let World { peer, mut sender, mut closed, driver, transport, host } =
        World::of(&sim, cell, log.clone()).await;
    let (tell, over) = oneshot::channel::<()>();
    peer::prelude(&sim, cell, &peer).await;
    let began = sim.now();
    let over = async { drop(over.await) };
    if cell.end == End::Answers {
        sender.try_recv().expect("a session of messages").close(CloseCode::NORMAL);
    }
    drop(sender);
    let peer = sim.spawn(peer::end(sim.clone(), cell, peer, over));
    let within = cell.within();
    let ended = sim.timeout(within.unwrap_or(UNBOUNDED), &mut closed).await;
    let Some(Ok((_, closed))) = ended else {
        // Where nothing bounds it, it need not have ended.
        return within.into_iter().map(|within| missed(within, &sim, began)).collect();
    };
    let mut complaints = Vec::from_iter(cell.complaint(&closed));
    // The peers that have not gone themselves, go.
    sim.sleep(cell.farewell()).await;
    let rest = Rest { sim: &sim, cell, driver, log };
    complaints.extend(rest.complaint_of_transport(transport.at()));
    complaints.extend(complaint_of_excess(rest.log.entries()));
    drop(tell);
    complaints.extend(rest.judge(peer, host.as_ref(), &closed).await);
    complaints
}

fn missed(within: Duration, sim: &Sim, began: Instant) -> String {
    let after = sim.now().saturating_since(began);
    format!("closed within {within:?}, not closed after {after:?}")
}

/// The remains of a session that has ended.
struct Rest<'a> {
    sim: &'a Sim,
    cell: Cell,
    driver: JoinHandle<()>,
    log: Log,
}

impl Rest<'_> {
    fn complaint_of_transport(&self, dropped: Option<Instant>) -> Option<String> {
        dropped.is_none().then(|| {
            let after = self.cell.farewell();
            format!("the transport dropped within {after:?} after the end, still held")
        })
    }

    async fn judge(
        self,
        peer: JoinHandle<Option<Frames>>,
        host: Option<&ConnectionServer>,
        closed: &Closed,
    ) -> Vec<String> {
        let Self { sim, cell, log, .. } = self;
        let mut complaints = Vec::new();
        let sleeps = matches!(cell.stand, Stand::Sleep | Stand::RawSleep);
        let patience = if sleeps { HOUR } else { SECOND };
        if sim.timeout(patience, self.driver).await.is_none() {
            complaints.push("the driver's task ends with its handler, still running".to_owned());
        }
        match sim.timeout(HOUR, peer).await {
            None => complaints.push("the peer sees the end, still there".to_owned()),
            Some(Some(frames)) => {
                complaints.extend(complaint_of_output(cell, &frames, log.entries()));
            }
            Some(None) => {}
        }
        complaints.extend(complaint_of_input(cell, log.entries()));
        complaints.extend(complaint_of_handler(log.entries(), closed));
        sim.settle().await;
        if let Some(open @ 1..) = host.map(ConnectionServer::connections) {
            complaints.push(format!("no connection left, the host counts {open}"));
        }
        if let Some(held @ 1..) = host.map(ConnectionServer::held_bytes) {
            complaints.push(format!("no memory held, the budget counts {held} bytes"));
        }
        if let tasks @ 1.. = sim.unfinished() {
            complaints.push(format!("no task left, {tasks} wait"));
        }
        complaints
    }
}

/// Messages that were accepted before we closed reach a peer that goes on reading. Only a session of messages
/// sends a Close frame behind them.
fn complaint_of_output(cell: Cell, frames: &Frames, log: Entries) -> Option<String> {
    let expected = (log.accepted, !cell.is_raw(), 0);
    let got = (frames.payload, frames.close.is_some(), frames.after_close);
    (got != expected).then(|| {
        format!("bytes delivered, a Close frame, bytes after it: {expected:?}, got {got:?}")
    })
}

/// The handler learns the end, where its place returns it.
fn complaint_of_handler(log: Entries, closed: &Closed) -> Option<String> {
    let learnt = log.closed.filter(|learnt| learnt != closed)?;
    Some(format!("the same end for the handler as outside of it, {closed:?}, got {learnt:?}"))
}

/// A session that accepts messages which no peer reads would let its handler run without end.
fn complaint_of_excess(log: Entries) -> Option<String> {
    (log.accepted >= MOST * MESSAGE).then(|| format!("backpressure, {} bytes taken", log.accepted))
}

/// Messages that the peer sent before its end are delivered to a handler that receives.
fn complaint_of_input(cell: Cell, log: Entries) -> Option<String> {
    let sent = cell.messages();
    (cell.delivers_all() && log.received < sent)
        .then(|| format!("{sent} messages received, got {}", log.received))
}
