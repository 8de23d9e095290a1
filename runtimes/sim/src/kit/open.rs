//! Opening a WebSocket in a test: [`OpenConversation`].

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{HeaderName, HeaderValue};
use http::{Request, Response};
use sockless_core::Config;
use sockless_core::handshake::{ClientHandshake, HandshakeError};
use sockless_driver::{BoxFuture, RequestHeaders, Runtime};

use super::conversation::Conversation;
use super::opened::Opened;
use super::raw::RawConversation;
use super::{App, Place};

/// A WebSocket that a test is about to open, from [`App::open`]. Await it for a [`Conversation`].
///
/// ```
/// use sockless::sim::Sim;
/// # use sockless::{Closed, Router, Session, websocket};
/// # async fn echo(mut session: Session) -> Result<(), Closed> {
/// #     loop {
/// #         let message = session.recv().await?;
/// #         session.send(message).await?;
/// #     }
/// # }
/// # let router = Router::new().route("/echo", websocket(echo).protocol("echo.v1"));
///
/// let sim = Sim::new(1);
/// sim.run(async {
///     let app = sim.app(router);
///     let echo = app.open("/echo").subprotocol("echo.v1").header("authorization", "Bearer x").await;
///     assert_eq!(echo.subprotocol().as_deref(), Some("echo.v1"));
///
///     let response = app.open("/echo").subprotocol("echo.v2").refused().await;
///     assert_eq!(response.status(), 400);
/// });
/// ```
#[must_use = "nothing is opened before it is awaited"]
pub struct OpenConversation {
    app: App,
    headers: RequestHeaders,
    config: Config,
    path: String,
    pub(super) place: Place,
}

impl OpenConversation {
    pub(crate) fn new(app: App, path: &str, place: Place) -> Self {
        let headers = RequestHeaders::new();
        Self { app, headers, config: Config::default(), path: path.to_owned(), place }
    }

    /// Adds a header to the request. The headers of the handshake are added automatically; use
    /// [`App::request`] to send invalid ones.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        self.headers.append(name, value);
        self
    }

    /// Offers a subprotocol, after those that were added before.
    pub fn subprotocol(mut self, name: &str) -> Self {
        self.headers.append_subprotocol(name);
        self
    }

    /// Sets the settings of the client. Default: [`Config::default`].
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Opens the WebSocket for a conversation in frames and bytes, without automatic replies.
    ///
    /// # Panics
    ///
    /// Panics if the service rejects the upgrade.
    pub async fn raw(self) -> RawConversation {
        RawConversation::new(self.granted().await)
    }

    /// Returns the response with which the service rejects the upgrade.
    ///
    /// # Panics
    ///
    /// Panics if the service grants the upgrade.
    pub async fn refused(self) -> Response<Bytes> {
        let place = self.place;
        match self.shake_hands().await {
            Ok(Opened { path, .. }) => {
                panic!("{place}: {path}: expected a rejection, the upgrade was granted")
            }
            Err(response) => response,
        }
    }

    pub(super) async fn granted(self) -> Opened {
        let (place, path) = (self.place, self.path.clone());
        match self.shake_hands().await {
            Ok(opened) => opened,
            Err(response) => panic!(
                "{place}: {path}: the upgrade was rejected with {}: {}",
                response.status(),
                String::from_utf8_lossy(response.body()).trim_end()
            ),
        }
    }

    async fn shake_hands(self) -> Result<Opened, Response<Bytes>> {
        let Self { app, headers, config, path, place } = self;
        let fail = |why: &dyn fmt::Display| -> ! { panic!("{place}: {path}: {why}") };
        let url =
            if path.starts_with('/') { format!("ws://localhost{path}") } else { path.clone() };
        let request = Request::get(url).body(());
        let mut request = request.unwrap_or_else(|error| fail(&error));
        *request.headers_mut() = headers.finish().unwrap_or_else(|error| fail(&error));
        let (seed, now) = (app.sim.seed(), app.sim.now());
        let handshake = ClientHandshake::new(request, seed, Arc::new(config), now);
        let mut handshake = handshake.unwrap_or_else(|error| fail(&error));
        let io = app.dial();
        let mut inbound = BytesMut::new();
        let mut outbound = handshake.outbound();
        let request = outbound.copy_to_bytes(outbound.remaining());
        let shaking = async {
            // A server may respond and close before it has read the whole request.
            let _ = io.write_all(&request).await;
            loop {
                if let Some(verdict) = handshake.poll_response(&mut inbound, app.sim.now()) {
                    return verdict;
                }
                match io.read_some().await {
                    Ok(bytes) if !bytes.is_empty() => inbound.extend_from_slice(&bytes),
                    _ => handshake.handle_eof(),
                }
            }
        };
        let Some(verdict) = app.sim.timeout(app.patience, shaking).await else {
            fail(&format_args!("no answer to the handshake within {:?}", app.patience));
        };
        match verdict {
            Ok((connection, response)) => {
                Ok(Opened { app, path, io, inbound, connection, response })
            }
            Err(HandshakeError::Rejected(response)) => {
                // If the transport fails, the body is incomplete, which the test notices.
                inbound.extend_from_slice(&io.read_to_end().await.unwrap_or_default());
                Err(response.map(|()| inbound.freeze()))
            }
            Err(error) => fail(&error),
        }
    }
}

impl IntoFuture for OpenConversation {
    type Output = Conversation;
    type IntoFuture = BoxFuture<'static, Conversation>;

    /// # Panics
    ///
    /// Panics if the service rejects the upgrade.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { Conversation::new(self.granted().await) })
    }
}

impl fmt::Debug for OpenConversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("OpenConversation");
        shown.field("path", &self.path).field("headers", &self.headers).finish_non_exhaustive()
    }
}
