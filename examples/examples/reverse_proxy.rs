//! A reverse proxy: each client gets a session with the server behind, and everything passes.
//!
//! `cargo run -p sockless-examples --example reverse_proxy -- ws://127.0.0.1:8080`, then open
//! `ws://127.0.0.1:8000/…`. The server behind decides: its subprotocol is selected, and its rejections are
//! passed on.

use std::sync::Arc;

use sockless::bytes::Bytes;
use sockless::driver::{Answer, Upgrade};
use sockless::http::header::{
    AUTHORIZATION, COOKIE, ORIGIN, SEC_WEBSOCKET_PROTOCOL, SET_COOKIE, USER_AGENT,
};
use sockless::http::{Response, StatusCode};
use sockless::proto::handshake::{UpgradeRequest, text_response};
use sockless::{
    BoxFuture, ClientConnection, Config, Connect, ConnectError, Request, Service, Session, pipe,
};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let upstream = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:8080".to_owned());
    println!("ws://127.0.0.1:8000 leads to {upstream}");
    sockless::serve("127.0.0.1:8000", Proxy::new(upstream, sockless::connect)).await
}

/// A proxy to one server.
struct Proxy {
    /// The server's URL up to the path.
    upstream: String,
    connect: Box<dyn Fn(&str) -> Connect + Send + Sync>,
    config: Arc<Config>,
}

impl Proxy {
    fn new(
        upstream: impl Into<String>,
        connect: impl Fn(&str) -> Connect + Send + Sync + 'static,
    ) -> Self {
        let (upstream, connect) = (upstream.into(), Box::new(connect));
        Self { upstream, connect, config: Arc::default() }
    }

    async fn answer(&self, request: Request) -> Result<Answer, Response<Bytes>> {
        let upgrade = UpgradeRequest::from_request(request.as_http());
        let mut upgrade = upgrade.map_err(|error| error.response())?;
        let offered = upgrade.subprotocols().map(str::to_owned).collect();
        let server = self.open(&request, offered).await?;
        let headers = server.response().headers();
        let selected = headers.get(SEC_WEBSOCKET_PROTOCOL).and_then(|name| name.to_str().ok());
        upgrade.select(&selected.map_or(vec![], |selected| vec![selected]));
        let cookies: Vec<_> = headers.get_all(SET_COOKIE).iter().cloned().collect();
        let server = server.spawn();
        let config = self.config.clone();
        let mut granted =
            Upgrade::websocket(request, upgrade, config, async move |client: Session| {
                pipe(client, server).await;
            });
        for cookie in cookies {
            // Only the headers of the handshake are refused.
            let _ = granted.add_header(SET_COOKIE, cookie);
        }
        Ok(Answer::Upgrade(granted))
    }

    /// Opens the connection behind, with what the client has sent.
    async fn open(
        &self,
        request: &Request,
        subprotocols: Vec<String>,
    ) -> Result<ClientConnection, Response<Bytes>> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let mut connect = (self.connect)(&format!("{}{path}", self.upstream));
        for name in [AUTHORIZATION, COOKIE, ORIGIN, USER_AGENT] {
            for value in request.headers().get_all(&name) {
                connect = connect.header(&name, value);
            }
        }
        if let Some(client) = request.client_ip() {
            connect = connect.header("X-Forwarded-For", client.to_string());
        }
        for name in &subprotocols {
            connect = connect.subprotocol(name);
        }
        connect.open().await.map_err(|error| match error {
            ConnectError::Rejected { response, .. } => {
                let status = response.status();
                text_response(status, response.into_body())
            }
            _ => text_response(StatusCode::BAD_GATEWAY, "the server behind cannot be reached\n"),
        })
    }
}

impl Service for Proxy {
    fn call(&self, request: Request) -> BoxFuture<'_, Answer> {
        Box::pin(async move { self.answer(request).await.unwrap_or_else(Answer::Respond) })
    }

    fn config(&self) -> Arc<Config> {
        self.config.clone()
    }
}

#[cfg(test)]
mod tests {
    use sockless::sim::Sim;
    use sockless::{CloseCode, Closed, Router, websocket};

    use super::*;

    async fn behind(mut session: Session) -> Result<(), Closed> {
        let request = session.request();
        let query = request.query().unwrap_or_default();
        let cookie = request.header("cookie").unwrap_or_default();
        session.send(format!("{} ?{query} {cookie}", request.path())).await?;
        loop {
            let message = session.recv().await?;
            if message == "bye" {
                session.close((CloseCode::new(4000).unwrap(), "bye"));
            } else {
                session.send(message).await?;
            }
        }
    }

    fn start(sim: &Sim) -> sockless::sim::App {
        let router = Router::new().route("/app/{*rest}", websocket(behind).protocol("v2"));
        sim.spawn(sim.serve("behind", router));
        let dialler = sim.clone();
        sim.app(Proxy::new("ws://behind", move |url| dialler.connect(url)))
    }

    #[test]
    fn everything_passes_both_ways() {
        Sim::check(0..20, |sim| async move {
            let app = start(&sim);
            let opening = app.open("/app/x?q=1").header("cookie", "id=7");
            let mut client = opening.subprotocol("v1").subprotocol("v2").await;
            assert_eq!(client.subprotocol().as_deref(), Some("v2"), "the server behind decides");
            client.expect("/app/x ?q=1 id=7").await;
            for message in ["one", "two"] {
                client.send(message).await;
                client.expect(message).await;
            }
            client.send("bye").await;
            client.expect_closed(4000).await;
        });
    }

    #[test]
    fn rejections_are_passed_on() {
        Sim::check(0..5, |sim| async move {
            let app = start(&sim);
            let refused = app.open("/nowhere").refused().await;
            assert_eq!(refused.status(), 404);
            assert_eq!(refused.body(), "nothing is served at this path\n");
            let app = sim.app(Proxy::new("ws://nowhere", {
                let sim = sim.clone();
                move |url: &str| sim.connect(url)
            }));
            assert_eq!(app.open("/").refused().await.status(), 502);
        });
    }
}
