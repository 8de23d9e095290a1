//! Connections that open, send messages one at a time, and close.

use std::sync::Arc;
use std::time::Duration;

use sockless::{CloseCode, Connect, Error, Message};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::{GRACE, Load, Progress, Tally};

/// Between attempts of a connection that fail, so that a server that is down costs no processor time.
const PAUSE: Duration = Duration::from_millis(10);

pub(super) async fn run(
    load: &Load,
    messages: u32,
    end: Instant,
    tally: &mut Tally,
    progress: &Arc<Progress>,
) {
    let mut tasks: JoinSet<Result<Duration, String>> = JoinSet::new();
    let spawn = |tasks: &mut JoinSet<_>, pause| {
        let (connect, message) = ((load.connect)(), load.message.clone());
        tasks.spawn(async move {
            sleep(pause).await;
            let begin = Instant::now();
            match timeout(GRACE, one(connect, message, messages)).await {
                Ok(Ok(())) => Ok(begin.elapsed()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(format!("a connection did not end within {GRACE:?}")),
            }
        });
    };
    for _ in 0..load.connections {
        spawn(&mut tasks, Duration::ZERO);
    }
    while let Some(ended) = tasks.join_next().await {
        let pause = match ended {
            Ok(Ok(time)) => {
                tally.time(time);
                progress.count();
                Duration::ZERO
            }
            Ok(Err(failure)) => {
                tally.failure(failure);
                PAUSE
            }
            Err(panic) => {
                tally.failure(panic);
                PAUSE
            }
        };
        if Instant::now() < end {
            spawn(&mut tasks, pause);
        }
    }
}

/// One connection, from its opening to its end.
async fn one(connect: Connect, message: Message, messages: u32) -> Result<(), Error> {
    let mut session = connect.open().await?.spawn();
    for _ in 0..messages {
        session.send(message.clone()).await?;
        session.recv().await?;
    }
    session.close(CloseCode::NORMAL);
    let closed = session.closed().await;
    if closed.is_clean() { Ok(()) } else { Err(closed.into()) }
}
