//! Rooms over a real Redis server, which is started here and killed again and again:
//! `rooms-redis REDIS_SERVER`.
//!
//! The conformance suite of rooms, on two runtimes; then members of two servers that check every
//! message while the broker is killed: one that has kept its data, and one that has lost it.

#![allow(clippy::disallowed_methods, reason = "the broker is a process, with the system's clock")]

mod broker;
#[path = "../../rooms/campaign.rs"]
mod campaign;
#[path = "../../../../rooms/tests/common/mod.rs"]
mod common;
#[path = "../../rooms/hosts.rs"]
mod hosts;
#[path = "../../rooms/member.rs"]
mod member;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use broker::{Broker, Data};
use common::router;
use common::suite::{self, conforms};
use hosts::{Scale, Served, connected};
use sockless::rooms::{Namespace, RedisBus, Rooms};
use sockless::smol::SmolRuntime;
use sockless::tokio::TokioRuntime;

fn main() -> ExitCode {
    let Some(program) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: rooms-redis REDIS_SERVER");
        return ExitCode::from(2);
    };
    match run(program) {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("redis: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(program: PathBuf) -> io::Result<String> {
    let mut broker = Broker::new(program, Data::Lost)?;
    broker.start()?;
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    tokio.block_on(conforms_on_tokio(&broker))?;
    println!("the suite passed on tokio, over TCP and a Unix socket");
    smol::block_on(conforms_on_smol(&broker))?;
    println!("the suite passed on smol");
    broker.kill();
    let scale = Scale::from_env();
    let lost = tokio.block_on(campaign::run(broker, scale))?;
    println!("killed, data lost: {lost}");
    let broker = Broker::new(broker::program()?, Data::Kept)?;
    let kept = tokio.block_on(campaign::run(broker, scale))?;
    println!("killed, data kept: {kept}");
    Ok(format!("redis: passed: the suite on 2 runtimes, {} kills of the broker", 2 * scale.kills))
}

async fn conforms_on_tokio(broker: &Broker) -> io::Result<()> {
    for url in [broker.tcp_url(), broker.unix_url()] {
        let rooms = |_| Rooms::redis(&url, TokioRuntime).map_err(io::Error::other);
        let rooms: Vec<_> = (0..2).map(rooms).collect::<io::Result<_>>()?;
        let chats: Vec<Namespace> =
            rooms.iter().map(|rooms| rooms.namespace(&namespace(&url), suite::config())).collect();
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
    let url = broker.tcp_url();
    let bus = || RedisBus::new(&url, SmolRuntime).map(|bus| bus.prefix("another"));
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

fn namespace(url: &str) -> String {
    if url.contains("unix") { "unix" } else { "tcp" }.to_owned()
}
