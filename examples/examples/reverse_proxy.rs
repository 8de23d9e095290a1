//! A reverse proxy: each client gets a connection to the server behind, and every frame passes as it is.
//!
//! `cargo run -p sockless-examples --example reverse_proxy -- ws://127.0.0.1:8080`, then open
//! `ws://127.0.0.1:8000/…`. The server behind decides: its subprotocol and its extensions are selected, and its
//! rejections are passed on, with their headers. Fragments, pings, Close frames and compressed messages pass
//! unchanged.
//!
//! The server behind learns the client's address, host and scheme from `X-Forwarded-For`, `-Host` and `-Proto`, if it
//! trusts the proxy. A page's `Origin` is of that host: a server that accepts those of the same origin needs it.

use std::io::{self, Write};
use std::sync::Arc;

use sockless::bytes::Bytes;
use sockless::driver::{Answer, Upgrade};
use sockless::http::header::{
    AUTHORIZATION, CONNECTION, COOKIE, ORIGIN, SEC_WEBSOCKET_PROTOCOL, SET_COOKIE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
use sockless::http::{HeaderMap, Response, StatusCode};
use sockless::proto::handshake::{UpgradeRequest, extension_answers, text_response};
use sockless::{
    BoxFuture, Config, Connect, ConnectError, HostPort, RawSession, Request, Service, pipe_raw,
};

#[tokio::main]
async fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let upstream = args.next().unwrap_or_else(|| "ws://127.0.0.1:8080".to_owned());
    let listen = args.next().unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let server = sockless::bind(listen).await?;
    if let Some(addr) = server.local_addr() {
        writeln!(io::stdout(), "listening on http://{addr}")?;
    }
    server.serve(Proxy::new(upstream, sockless::connect)).await;
    Ok(())
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
        // A frame is held until its last byte has come. The limits of the two ends are their own.
        let config = Config::default().max_message_len(16 << 20);
        Self { upstream, connect, config: Arc::new(config) }
    }

    async fn answer(&self, request: Request) -> Result<Answer, Response<Bytes>> {
        let upgrade = UpgradeRequest::from_request(request.as_http());
        let mut upgrade = upgrade.map_err(|error| error.response())?;
        let server = self.behind(&request, &upgrade).open().await.map_err(rejection)?;
        let headers = server.response().headers();
        let selected = headers.get(SEC_WEBSOCKET_PROTOCOL).and_then(|name| name.to_str().ok());
        upgrade.select(&selected.map_or(vec![], |selected| vec![selected]));
        upgrade.pass_extensions(extension_answers(server.response()).unwrap_or_default());
        let cookies: Vec<_> = headers.get_all(SET_COOKIE).iter().cloned().collect();
        let server = server.raw();
        let pipe = async move |client: RawSession| {
            pipe_raw(client, server).await;
        };
        let mut granted = Upgrade::raw(request, upgrade, self.config.clone(), pipe);
        for cookie in cookies {
            // Only the headers of the handshake are refused.
            let _ = granted.add_header(SET_COOKIE, cookie);
        }
        Ok(Answer::Upgrade(granted))
    }

    /// A connection to the server behind, with what the client has sent.
    fn behind(&self, request: &Request, upgrade: &UpgradeRequest) -> Connect {
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
        if let Some(HostPort { host, port }) = request.authority() {
            let host = port.map_or(host.to_owned(), |port| format!("{host}:{port}"));
            connect = connect.header("X-Forwarded-Host", host);
        }
        let scheme = if request.is_secure() == Some(true) { "https" } else { "http" };
        connect = connect.header("X-Forwarded-Proto", scheme);
        for name in upgrade.subprotocols() {
            connect = connect.subprotocol(name);
        }
        let config = Config::clone(&self.config);
        connect.config(config).pass_extensions(upgrade.extensions().to_vec())
    }
}

/// The response to a client whose connection behind could not be opened.
fn rejection(error: ConnectError) -> Response<Bytes> {
    match error {
        ConnectError::Rejected { response, .. } => {
            let mut response = *response;
            remove_hop_by_hop(response.headers_mut());
            response
        }
        _ => text_response(StatusCode::BAD_GATEWAY, "the server behind cannot be reached\n"),
    }
}

/// Removes the headers of the connection behind (RFC 9110 §7.6.1). The length is that of the body that is sent.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<String> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_owned())
        .collect();
    for name in [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    for name in named.iter().map(String::as_str).chain(["keep-alive", "proxy-connection"]) {
        headers.remove(name);
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
    use sockless::{
        CloseCode, Closed, Deflate, Frame, Message, Opcode, Origins, Router, Session,
        TrustedProxies, respond, websocket,
    };

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
    fn a_page_may_reach_a_server_that_accepts_its_own_origin() {
        Sim::check(0..10, |sim| async move {
            // Peers of the simulator have no address.
            let proxies = TrustedProxies::unix().x_forwarded_for();
            let router = Router::new()
                .trust(proxies.x_forwarded_host().x_forwarded_proto())
                .origins(Origins::same_origin())
                .route("/", websocket(behind));
            sim.spawn(sim.serve("behind", router));
            let dialler = sim.clone();
            let proxy = Proxy::new("ws://behind", move |url| dialler.connect(url));
            sim.spawn(sim.serve("chat.example", proxy));
            let open = |origin: &str| sim.connect("ws://chat.example/").header("origin", origin);
            let mut session = open("http://chat.example").await.unwrap();
            assert_eq!(session.recv().await.unwrap(), "/ ? ");
            for other in ["http://evil.example", "http://chat.example:8000", "http://behind"] {
                let refused = open(other).await.unwrap_err();
                assert!(refused.to_string().contains("403"), "{refused}");
            }
        });
    }

    #[test]
    fn compressed_messages_pass_as_they_are() {
        Sim::check(0..10, |sim| async move {
            let config = Config::default().extension(Deflate::default());
            let route = websocket(behind).config(config.clone());
            sim.spawn(sim.serve("behind", Router::new().route("/", route)));
            let dialler = sim.clone();
            let proxy = Proxy::new("ws://behind", move |url| dialler.connect(url));
            sim.spawn(sim.serve("proxy", proxy));
            let mut client = sim.connect("ws://proxy/").config(config).await.unwrap();
            assert_eq!(client.request().extensions()[0].name(), "permessage-deflate");
            client.recv().await.unwrap();
            let message = Message::from("the tide comes in, ".repeat(500));
            client.send(message.clone()).await.unwrap();
            assert_eq!(client.recv().await.unwrap(), message);
        });
    }

    #[test]
    fn the_server_behind_answers_pings() {
        Sim::check(0..10, |sim| async move {
            sim.spawn(sim.serve("behind", Router::new().route("/", websocket(behind))));
            let dialler = sim.clone();
            let app = sim.app(Proxy::new("ws://behind", move |url| dialler.connect(url)));
            let mut client = app.open("/").raw().await;
            assert_eq!(client.recv().await.opcode, Opcode::Text);
            client.send(Frame::new(Opcode::Ping, "are you there?".into())).await;
            client.expect(Frame::new(Opcode::Pong, "are you there?".into())).await;
        });
    }

    #[test]
    fn a_rejection_keeps_its_headers() {
        Sim::check(0..5, |sim| async move {
            let refuse = respond(|_| {
                let response = Response::builder().status(401);
                let response = response.header("www-authenticate", "Bearer").header("x-hop", "1");
                let response = response.header("set-cookie", "a=1").header("set-cookie", "b=2");
                let response = response.header("connection", "x-hop").header("keep-alive", "1");
                response.header("content-type", "text/html").body("<p>no</p>".into()).unwrap()
            });
            sim.spawn(sim.serve("behind", Router::new().route("/", refuse)));
            let dialler = sim.clone();
            let app = sim.app(Proxy::new("ws://behind", move |url| dialler.connect(url)));
            let refused = app.open("/").refused().await;
            assert_eq!((refused.status().as_u16(), &refused.body()[..]), (401, &b"<p>no</p>"[..]));
            let headers = refused.headers();
            assert_eq!(headers["www-authenticate"], "Bearer");
            assert_eq!(headers["content-type"], "text/html");
            assert_eq!(headers["content-length"], "9");
            assert_eq!(headers.get_all("set-cookie").iter().count(), 2);
            assert!(!headers.contains_key("x-hop") && !headers.contains_key("keep-alive"));
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
