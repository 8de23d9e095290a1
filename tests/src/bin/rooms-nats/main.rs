//! Rooms over a real NATS server, which is started here and killed again and again:
//! `rooms-nats NATS_SERVER CERTIFICATES`, a directory with those of tests/oracles/certificates.
//!
//! The conformance suite of rooms, on two runtimes, and what it does not cover; then members of two servers that check every
//! message while the broker is killed: one that has kept its data, and one that has lost it.

#![allow(clippy::disallowed_methods, reason = "the broker is a process, with the system's clock")]

mod broker;
#[path = "../../rooms/campaign.rs"]
mod campaign;
mod checks;
#[path = "../../../../rooms/tests/common/mod.rs"]
mod common;
#[path = "../../rooms/hosts.rs"]
mod hosts;
#[path = "../../rooms/member.rs"]
mod member;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use broker::{Broker, Data};
use common::router;
use common::suite::{self, conforms};
use hosts::{Scale, Served, connected};
use sockless::rooms::{Namespace, NatsBus, Rooms};
use sockless::smol::SmolRuntime;
use sockless::tokio::TokioRuntime;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(program), Some(certificates)) = (args.next(), args.next()) else {
        eprintln!("usage: rooms-nats NATS_SERVER CERTIFICATES");
        return ExitCode::from(2);
    };
    match run(&program, &certificates) {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("nats: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(program: &Path, certificates: &Path) -> io::Result<String> {
    let mut broker = Broker::new(program.to_owned(), Data::Lost)?;
    broker.start()?;
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    tokio.block_on(conforms_on_tokio(&broker))?;
    println!("the suite passed on tokio, with logs in memory and in files");
    smol::block_on(conforms_on_smol(&broker))?;
    println!("the suite passed on smol");
    tokio.block_on(checks::presence(&broker))?;
    tokio.block_on(checks::contention(&broker))?;
    tokio.block_on(checks::messages_of_no_known_form(&broker))?;
    tokio.block_on(checks::tls(program, certificates))?;
    println!("presence, contention, messages of no known form and TLS: passed");
    broker.kill();
    let scale = Scale::from_env();
    let lost = tokio.block_on(campaign::run(broker, scale))?;
    println!("killed, data lost: {lost}");
    let broker = Broker::new(program.to_owned(), Data::Kept)?;
    let kept = tokio.block_on(campaign::run(broker, scale))?;
    println!("killed, data kept: {kept}");
    Ok(format!("nats: passed: the suite on 2 runtimes, {} kills of the broker", 2 * scale.kills))
}

async fn conforms_on_tokio(broker: &Broker) -> io::Result<()> {
    for is_durable in [false, true] {
        let bus = || NatsBus::new(&broker.url()).map_err(io::Error::other);
        let rooms = |_| {
            Ok(match is_durable {
                true => Rooms::with_bus(bus()?.prefix("in files").durable(), TokioRuntime),
                false => Rooms::nats(&broker.url(), TokioRuntime).map_err(io::Error::other)?,
            })
        };
        let rooms: Vec<_> = (0..2).map(rooms).collect::<io::Result<_>>()?;
        let chats: Vec<Namespace> =
            rooms.iter().map(|rooms| rooms.namespace("suite", suite::config())).collect();
        let server = sockless::bind("127.0.0.1:0").await?;
        let host = Served { addr: server.local_addr().unwrap(), connect: sockless::connect };
        let serving = tokio::spawn(server.serve(router(&chats[1])));
        connected(&rooms, || tokio::time::sleep(Duration::from_millis(10))).await;
        conforms(&chats[0], &host).await;
        connected(&rooms, || tokio::time::sleep(Duration::from_millis(10))).await;
        serving.abort();
    }
    Ok(())
}

async fn conforms_on_smol(broker: &Broker) -> io::Result<()> {
    let bus = || NatsBus::new(&broker.url()).map(|bus| bus.prefix("another"));
    let rooms = |_| Ok(Rooms::with_bus(bus().map_err(io::Error::other)?, SmolRuntime));
    let rooms: Vec<_> = (0..2).map(rooms).collect::<io::Result<_>>()?;
    let chats: Vec<Namespace> =
        rooms.iter().map(|rooms| rooms.namespace("chat", suite::config())).collect();
    let server = sockless::smol::bind("127.0.0.1:0").await?;
    let host = Served { addr: server.local_addr().unwrap(), connect: sockless::smol::connect };
    let serving = smol::spawn(server.serve(router(&chats[1])));
    let pause = || async {
        smol::Timer::after(Duration::from_millis(10)).await;
    };
    connected(&rooms, pause).await;
    conforms(&chats[0], &host).await;
    connected(&rooms, pause).await;
    serving.cancel().await;
    Ok(())
}
