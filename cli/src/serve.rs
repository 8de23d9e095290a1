//! `sockless serve`: a server for echo, chat, commands, and the files of a directory.

mod activated;
mod chat;
mod echo;
mod exec;
mod files;
mod options;
mod probes;

use std::io::{self, Write};
use std::sync::Arc;

use sockless::{Request, Router, Server, Session, WebSocketRoute, respond_async, websocket};

use crate::exit::Failure;
use crate::signals::stop;
use options::Service;
use probes::Probes;

pub(crate) use options::Options;

/// Serves until Ctrl-C or SIGTERM.
pub(crate) fn run(options: Options) -> Result<(), Failure> {
    crate::log(options.is_verbose());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::io("the runtime", error))?;
    runtime.block_on(serve(&options))
}

async fn serve(options: &Options) -> Result<(), Failure> {
    let stop = stop().map_err(|error| Failure::io("signals", error))?;
    let probes = Probes::default();
    let router = router(options, &probes)?;
    let (server, address) = listen(options).await?;
    // A program that started this one may wait for the line in a pipe.
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on {address}")
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure::io("stdout", error))?;
    let stop = async {
        stop.await;
        probes.leave();
        tokio::time::sleep(options.shutdown_delay()).await;
    };
    server.serve_until(router, stop).await;
    Ok(())
}

async fn listen(options: &Options) -> Result<(Server, String), Failure> {
    let acceptor = options.tls()?;
    let mut server = bind(options).await.map_err(|error| Failure::io(options.address(), error))?;
    let address = match server.local_addr() {
        Some(addr) if acceptor.is_some() => format!("https://{addr}"),
        Some(addr) => format!("http://{addr}"),
        None => options.address(),
    };
    if let Some(acceptor) = acceptor {
        server = server.tls(acceptor);
    }
    let server = server.handover(options.hands_over());
    Ok((server.max_connections(options.max_connections()), address))
}

async fn bind(options: &Options) -> io::Result<Server> {
    match options.unix() {
        _ if options.is_activated() => activated::server(),
        Some(path) => sockless::tokio::bind_unix(path),
        None => sockless::tokio::bind_with(options.listen(), &options.socket()).await,
    }
}

fn router(options: &Options, probes: &Probes) -> Result<Router, Failure> {
    let mut router = Router::new().websockets(options.config()).origins(options.origins()?);
    if options.has_probes() {
        router = probes.add_to(router);
    }
    let route = route(options.service());
    let router = router.route("/{*path}", route);
    let Some(directory) = options.directory() else { return Ok(router) };
    let files = Arc::new(files::Files::open(directory)?);
    let answer = move |request: Request| {
        let files = files.clone();
        async move { files.answer(&request).await }
    };
    Ok(router.route("/{*path}", respond_async(answer)))
}

fn route(service: &Service) -> WebSocketRoute {
    match service {
        Service::Echo => websocket(echo::serve),
        Service::Chat => {
            let room = Arc::new(chat::Room::default());
            websocket(move |session| room.clone().serve(session))
        }
        Service::Exec { command, grace } => {
            let exec = Arc::new(exec::Exec::new(command, *grace));
            websocket(move |session: Session| exec.clone().serve(session))
        }
    }
}
