//! The service of the proxy: [`Proxy`].

use std::sync::Arc;

use sockless::bytes::Bytes;
use sockless::driver::{Answer, Clock, Upgrade};
use sockless::http::header::{
    CONTENT_TYPE, LOCATION, RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL, SET_COOKIE, WWW_AUTHENTICATE,
};
use sockless::http::{HeaderName, Response, StatusCode};
use sockless::proto::handshake::{UpgradeRequest, text_response};
use sockless::tokio::TokioRuntime;
use sockless::{
    BoxFuture, Config, Connect, ConnectError, RawSession, Request, Role, Service, pipe_raw,
};

use super::options::Options;
use super::recording::Recording;
use crate::exit::Failure;

/// The headers of a rejection that are passed on.
const OF_REJECTIONS: [HeaderName; 5] =
    [CONTENT_TYPE, LOCATION, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE];

/// Each client gets a connection to the server, and every frame passes as it is.
pub(crate) struct Proxy {
    /// The server's URL, to which the client's path is appended.
    url: String,
    connect: Box<dyn Fn(&str) -> Connect + Send + Sync>,
    /// The headers that the command line sets, in place of those of clients.
    replaced: Vec<HeaderName>,
    recording: Arc<Recording>,
    config: Arc<Config>,
}

impl Proxy {
    pub(crate) fn new(options: &Options, recording: Arc<Recording>) -> Result<Self, Failure> {
        // The limits of the two ends are their own.
        let config = Config::default().max_message_len(64 << 20);
        Ok(Self {
            url: options.url().to_owned(),
            connect: Box::new(options.connect(&config)?),
            replaced: options.header_names(),
            recording,
            config: Arc::new(config),
        })
    }

    async fn answer(&self, request: Request) -> Result<Answer, Response<Bytes>> {
        let upgrade = UpgradeRequest::from_request(request.as_http());
        let mut upgrade = upgrade.map_err(|error| error.response())?;
        let recording = self.recording.clone();
        let mut trace = recording.clone().open();
        let first = format!("GET {} HTTP/1.1", path_and_query(&request));
        let lines = recording.lines(first, request.headers());
        trace.head(request.received_at(), Role::Client, lines);

        let mut respond = |status, headers: &_| {
            let first = format!("HTTP/1.1 {status}");
            trace.head(TokioRuntime.now(), Role::Server, recording.lines(first, headers));
        };
        let server = self.behind(&request, &upgrade).open().await.map_err(|error| {
            let response = rejection(error);
            respond(response.status(), response.headers());
            response
        })?;
        let headers = server.response().headers().clone();
        respond(server.response().status(), &headers);
        let selected = headers.get(SEC_WEBSOCKET_PROTOCOL).and_then(|name| name.to_str().ok());
        upgrade.select(&selected.map_or(vec![], |selected| vec![selected]));
        let server = server.raw();
        let pipe = async move |client: RawSession| {
            client.set_observer(Some(Box::new(trace)));
            pipe_raw(client, server).await;
        };
        let mut granted = Upgrade::raw(request, upgrade, self.config.clone(), pipe);
        for (name, value) in headers.iter().filter(|(name, _)| is_passed(name)) {
            // It refuses headers of the handshake only, which are not passed.
            let _ = granted.add_header(name, value);
        }
        Ok(Answer::Upgrade(granted))
    }

    /// A connection to the server, with what the client has sent.
    fn behind(&self, request: &Request, upgrade: &UpgradeRequest) -> Connect {
        let mut connect = (self.connect)(&format!("{}{}", self.url, path_and_query(request)));
        for (name, value) in request.headers() {
            if is_passed(name) && !self.replaced.contains(name) {
                connect = connect.header(name, value);
            }
        }
        for name in upgrade.subprotocols() {
            connect = connect.subprotocol(name);
        }
        connect
    }
}

fn path_and_query(request: &Request) -> &str {
    request.uri().path_and_query().map_or("/", |path| path.as_str())
}

/// Returns false for the headers of a connection and of its handshake (RFC 9110 §7.6.1).
fn is_passed(name: &HeaderName) -> bool {
    let is_of_connection = matches!(
        name.as_str(),
        "connection"
            | "content-length"
            | "host"
            | "keep-alive"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    );
    !is_of_connection && !name.as_str().starts_with("sec-websocket-")
}

/// The response to a client whose connection to the server could not be opened.
fn rejection(error: ConnectError) -> Response<Bytes> {
    let ConnectError::Rejected { response: rejected, .. } = error else {
        return text_response(StatusCode::BAD_GATEWAY, format!("the server: {error}\n"));
    };
    let (parts, body) = rejected.into_parts();
    let mut response = text_response(parts.status, body);
    for name in OF_REJECTIONS {
        let values: Vec<_> = parts.headers.get_all(&name).iter().cloned().collect();
        if !values.is_empty() {
            response.headers_mut().remove(&name);
        }
        for value in values {
            response.headers_mut().append(&name, value);
        }
    }
    response
}

impl Service for Proxy {
    fn call(&self, request: Request) -> BoxFuture<'_, Answer> {
        Box::pin(async move { self.answer(request).await.unwrap_or_else(Answer::Respond) })
    }

    fn config(&self) -> Arc<Config> {
        self.config.clone()
    }
}
