//! The builder of a client's connection: [`Connect`].

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use http::header::{HeaderName, HeaderValue};
use sockless_core::Config;
use sockless_core::extension::Params;
use tracing::Instrument;

use super::connection::ClientConnection;
#[cfg(feature = "cookies")]
use super::cookies::CookieJar;
use super::destination::Destination;
use super::dial::{Dial, Dialler};
use super::error::ConnectError;
use super::handshake::{Handshake, Verdict};
use super::headers::{RequestHeaders, without_secrets};
use super::opener::{OpenRequest, Opener};
use super::proxy::ProxyRules;
#[cfg(feature = "rustls")]
use super::reach::Tls;
use super::reach::reach;
use super::redirect::Redirects;
use super::target::{Target, UrlError};
use crate::future::BoxFuture;
use crate::meter::{self, Stopwatch};
use crate::runtime::{Io, Runtime};
use crate::session::Session;
use crate::spans;
#[cfg(feature = "rustls")]
use crate::tls::TlsConnector;

/// A builder for a client's connection.
///
/// `sockless::connect` and the `connect` function of each runtime's module return one. Await it for
/// a [`Session`] that a task of its own drives, or [`run`](Self::run) a block that the awaiting
/// task drives. [`Reconnect`](super::Reconnect) opens a new connection whenever one ends.
///
/// ```no_run
/// use std::time::Duration;
///
/// use sockless::{Config, ConnectError, Proxy};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let connect = sockless::connect("wss://ada:secret@example.com/chat?room=1")
///     .config(Config::default().opening_timeout(Duration::from_secs(5)))
///     .header("Origin", "https://example.com")
///     .subprotocol("chat.v2")
///     .subprotocol("chat.v1")
///     .proxy(Proxy::new("socks5h://localhost:9050")?)
///     .redirects(3);
/// match connect.await {
///     Ok(session) => session.send("hello").await?,
///     // The response of a server that does not open a WebSocket.
///     Err(ConnectError::Rejected { response, .. }) => {
///         eprintln!("{}: {}", response.status(), String::from_utf8_lossy(response.body()));
///     }
///     // One line with the step that failed, the server, and the reason.
///     Err(error) => eprintln!("{error}"),
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Steps
///
/// 1. The host name is resolved. With a [`proxy`](Self::proxy), that is the proxy's name.
/// 2. Its addresses are tried as in RFC 8305 (happy eyeballs): address families alternate, the next
///    attempt starts when the previous one has failed or has been pending for 250 ms, and the first
///    connection that succeeds is used.
/// 3. A proxy is asked for a tunnel to the server.
/// 4. For a `wss:` URL, TLS is negotiated. This requires the feature `tls`.
/// 5. The request is sent, and the response is read.
///
/// One deadline, [`Config::opening_timeout`], covers all steps, redirects included.
///
/// # The request
///
/// `Host` and the headers of the handshake come first, then the added headers in the order in which
/// they were added, except that lines of the same name are sent together. Credentials in the URL
/// are sent as `Authorization: Basic` (RFC 7617), unless that header was added. The URL's fragment
/// is not sent (RFC 6455 §3). A host name with characters beyond ASCII takes its DNS form, such as
/// `xn--bcher-kva.example` (RFC 5890), with the feature `idn`; in other parts, characters beyond
/// ASCII are percent-encoded. An IPv6 address cannot have a zone (RFC 6874): for a
/// link-local address, open a stream and pass it to [`transport`](Self::transport).
#[must_use = "a connection is opened when the builder is awaited, opened or run"]
pub struct Connect {
    target: Result<Target, UrlError>,
    headers: RequestHeaders,
    config: Arc<Config>,
    runtime: Arc<dyn Runtime>,
    opening: Opening,
}

/// The way in which the connection is opened.
enum Opening {
    Dial(Dialling),
    Opener {
        opener: Opener,
        /// A setting that only applies to dialling, if one was called.
        unsupported: Option<&'static str>,
    },
}

/// The settings that apply to dialling only.
struct Dialling {
    dial: Arc<dyn Dial>,
    proxies: ProxyRules,
    redirects: u32,
    /// The extensions to offer in place of those of the settings.
    offers: Option<Vec<Params>>,
    transport: Option<Box<dyn Io>>,
    unix: Option<PathBuf>,
    #[cfg(feature = "cookies")]
    cookies: Option<CookieJar>,
    #[cfg(feature = "rustls")]
    tls: Tls,
}

impl Connect {
    /// Returns a builder for a connection to `url`, such as `ws://example.com/chat`, whose
    /// transport is opened by `dial`. Runtimes implement their `connect` function with it.
    pub fn new(url: &str, dial: Arc<dyn Dial>, runtime: Arc<dyn Runtime>) -> Self {
        let dialling = Dialling {
            dial,
            proxies: ProxyRules::default(),
            redirects: 0,
            offers: None,
            transport: None,
            unix: None,
            #[cfg(feature = "cookies")]
            cookies: None,
            #[cfg(feature = "rustls")]
            tls: Tls::default(),
        };
        Self::with_opening(url, runtime, Opening::Dial(dialling))
    }

    /// Returns a builder for a connection to `url` that `opener` opens, such as a stream of an
    /// HTTP/2 connection that exists already. `opener` receives the request to send.
    ///
    /// [`proxy`](Self::proxy), [`proxy_from_env`](Self::proxy_from_env),
    /// [`redirects`](Self::redirects), [`transport`](Self::transport),
    /// [`unix_socket`](Self::unix_socket), [`pass_extensions`](Self::pass_extensions), `cookies` and
    /// `tls` do not apply to such a connection. If one of them is called, opening fails with
    /// [`ConnectError::SettingUnsupported`].
    pub fn with_opener<F, Fut>(url: &str, runtime: Arc<dyn Runtime>, opener: F) -> Self
    where
        F: FnOnce(OpenRequest) -> Fut + Send + 'static,
        Fut: Future<Output = Result<ClientConnection, ConnectError>> + Send + 'static,
    {
        let opener: Opener = Box::new(|request| Box::pin(opener(request)));
        Self::with_opening(url, runtime, Opening::Opener { opener, unsupported: None })
    }

    fn with_opening(url: &str, runtime: Arc<dyn Runtime>, opening: Opening) -> Self {
        let (target, headers) = (Target::parse(url), RequestHeaders::new());
        Self { target, headers, config: Arc::default(), runtime, opening }
    }

    /// Replaces the settings of the connection. Default: `Config::default()`.
    pub fn config(mut self, config: Config) -> Self {
        self.config = Arc::new(config);
        self
    }

    /// Adds a header to the request, after the headers that were added before.
    ///
    /// The values of `Authorization`, `Cookie` and `Proxy-Authorization` are marked as
    /// [sensitive](HeaderValue::is_sensitive), so that `{:?}` does not show them. An invalid name
    /// or value fails as [`ConnectError::HeaderInvalid`] when the connection is opened, and a
    /// header that the handshake sets itself, such as `Host`, as [`ConnectError::RequestInvalid`].
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        self.headers.append(name, value);
        self
    }

    /// Adds a cookie to the request, after those that were added before (RFC 6265 §4.2). All are
    /// sent in one `Cookie` line, whose value is [sensitive](HeaderValue::is_sensitive).
    ///
    /// A name that is not a token, or a value with a character that a cookie cannot have, such as a
    /// space, a comma or a semicolon, fails as [`ConnectError::HeaderInvalid`] when the connection
    /// is opened.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), sockless::ConnectError> {
    /// let session = sockless::connect("wss://example.com/chat").cookie("session", "8f14e45f").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn cookie(mut self, name: &str, value: &str) -> Self {
        self.headers.append_cookie(name, value);
        self
    }

    /// Sends the cookies of `jar` that match the URL, with each request of this connection, and stores
    /// those that the responses set. Cookies that were added by [`cookie`](Self::cookie) come first.
    #[cfg(feature = "cookies")]
    pub fn cookies(self, jar: &CookieJar) -> Self {
        self.dialling("cookies", |dialling| dialling.cookies = Some(jar.clone()))
    }

    /// Offers a subprotocol, after those that were offered before: the first one is preferred.
    ///
    /// All are sent in one `Sec-WebSocket-Protocol` line. Its value is
    /// [sensitive](HeaderValue::is_sensitive) if it was added as a sensitive
    /// [`header`](Self::header).
    pub fn subprotocol(mut self, name: &str) -> Self {
        self.headers.append_subprotocol(name);
        self
    }

    /// Offers the extensions that another client has offered, in place of those of the settings:
    /// for a proxy that passes frames on, encoded as they are. The server's answers are passed back
    /// with [`UpgradeRequest::pass_extensions`](sockless_core::handshake::UpgradeRequest::pass_extensions).
    ///
    /// A connection of frames, from [`ClientConnection::raw`] or
    /// [`run_raw`](ClientConnection::run_raw), accepts all reserved bits if the server has selected
    /// one of them. A session of messages cannot decode them, and is closed with 1002 at the first
    /// message that uses one.
    ///
    /// ```no_run
    /// use sockless::proto::handshake::{UpgradeRequest, extension_answers};
    ///
    /// # async fn example(upgrade: &mut UpgradeRequest) -> Result<(), sockless::ConnectError> {
    /// let offers = upgrade.extensions().to_vec();
    /// let server = sockless::connect("ws://127.0.0.1:9000/").pass_extensions(offers).open().await?;
    /// upgrade.pass_extensions(extension_answers(server.response()).unwrap_or_default());
    /// let server = server.raw();
    /// # drop(server);
    /// # Ok(())
    /// # }
    /// ```
    pub fn pass_extensions(self, offers: Vec<Params>) -> Self {
        self.dialling("pass_extensions", |dialling| dialling.offers = Some(offers))
    }

    /// Sets the proxy: one [`Proxy`](super::Proxy) for all servers, or [`ProxyRules`]. Default: no
    /// proxy. The environment is read by [`proxy_from_env`](Self::proxy_from_env) only.
    pub fn proxy(self, rules: impl Into<ProxyRules>) -> Self {
        self.dialling("proxy", |dialling| dialling.proxies = rules.into())
    }

    /// Sets the proxies that the environment variables of this process name: see [`ProxyRules`].
    /// The variables are read immediately. One that does not have the URL of a proxy fails as
    /// [`ConnectError::ProxyUrlInvalid`], if it applies to the server.
    pub fn proxy_from_env(self) -> Self {
        self.dialling("proxy_from_env", |dialling| dialling.proxies = ProxyRules::from_env())
    }

    /// Sets how many redirects are followed, 20 at most. Default: 0, as in browsers; a redirect is
    /// then a [`ConnectError::Rejected`] as any other response.
    ///
    /// A redirect is a 301, 302, 303, 307 or 308 with a `Location`, which may be relative and may
    /// have the scheme `http:` for `ws:` and `https:` for `wss:`. Redirects from `wss:` to `ws:`
    /// and redirects to a URL that was already visited are not followed: they fail as
    /// [`ConnectError::Redirect`].
    ///
    /// On a redirect to another origin (scheme, host or port), the credentials of the URL, the
    /// headers `Authorization`, `Cookie` and `Proxy-Authorization`, and all headers with a
    /// [sensitive](HeaderValue::is_sensitive) value are removed. Credentials in a `Location` are
    /// ignored.
    pub fn redirects(self, max: u32) -> Self {
        self.dialling("redirects", |dialling| dialling.redirects = max)
    }

    /// Uses `transport`, which is open already, in place of a new one. The URL names the server in
    /// the request. Only the target of a redirect is dialled.
    ///
    /// For a `wss:` URL, `transport` must be encrypted already. A TLS transport that negotiated
    /// another protocol than `http/1.1` by ALPN fails as [`ConnectError::Alpn`].
    pub fn transport(self, transport: Box<dyn Io>) -> Self {
        self.dialling("transport", |dialling| dialling.transport = Some(transport))
    }

    /// Connects over the Unix socket at `path`, instead of resolving the host of the URL, which
    /// names the server in the request. A [`Reconnect`](super::Reconnect) dials it for each
    /// attempt.
    ///
    /// The socket is used as it is, for `wss:` too. A redirect to another origin is dialled as
    /// usual. If it cannot be opened, connecting fails as [`ConnectError::Transport`].
    ///
    /// ```no_run
    /// use sockless::Reconnect;
    ///
    /// let feed = Reconnect::new(|| {
    ///     sockless::connect("ws://localhost/feed").unix_socket("/run/feed.sock")
    /// });
    /// # drop(feed);
    /// ```
    pub fn unix_socket(self, path: impl Into<PathBuf>) -> Self {
        self.dialling("unix_socket", |dialling| dialling.unix = Some(path.into()))
    }

    /// Sets the connector that negotiates TLS for `wss:` URLs. Default: a connector with the trust
    /// of the operating system (feature `platform-verifier`), or else of Mozilla (feature
    /// `webpki-roots`); with neither, `wss:` fails as [`ConnectError::TlsUnavailable`].
    ///
    /// The protocol is HTTP/1.1, therefore only `http/1.1` is offered by ALPN, even if `connector`
    /// is set up for more, so that it can be shared with an HTTP/2 client. A connector that offers
    /// no protocol is used without ALPN.
    #[cfg(feature = "rustls")]
    pub fn tls(self, connector: TlsConnector) -> Self {
        self.dialling("tls", |dialling| dialling.tls = Tls::new(connector))
    }

    /// Opens the connection, within [`Config::opening_timeout`]. Nothing drives the connection that
    /// is returned: [`spawn`](ClientConnection::spawn) or [`run`](ClientConnection::run) does.
    ///
    /// Cancel-safe: dropping the future closes the transport.
    ///
    /// # Errors
    ///
    /// Returns a [`ConnectError`] with the step that failed, the server and the reason.
    pub async fn open(self) -> Result<ClientConnection, ConnectError> {
        let Self { target, headers, config, runtime, opening } = self;
        let began = Stopwatch::start(|| runtime.now());
        let target = target.map_err(ConnectError::UrlInvalid)?;
        let headers = headers.finish().map_err(ConnectError::HeaderInvalid)?;
        let span = spans::connecting(&target.host, target.port);
        let opened = match opening {
            Opening::Dial(dialling) => {
                dialling.open(target, headers, config, runtime).instrument(span.clone()).await
            }
            Opening::Opener { unsupported: Some(setting), .. } => {
                Err(ConnectError::SettingUnsupported { setting })
            }
            Opening::Opener { opener, unsupported: None } => {
                let request = OpenRequest::new(&target, &headers, config, runtime);
                opener(request).instrument(span.clone()).await
            }
        };
        match &opened {
            Ok(connection) => {
                span.record("http.response.status_code", connection.response().status().as_u16());
                meter::connected(began, || connection.now());
            }
            Err(error) => {
                span.record("error.type", error.label());
                meter::connect_failed(error.label());
            }
        }
        opened
    }

    /// Opens the connection and runs `block` with its session. The task that awaits this future
    /// drives both. When the block returns, queued messages are flushed and the session is closed
    /// with 1000.
    ///
    /// Cancel-safe: dropping the future drops the block and the transport.
    ///
    /// # Errors
    ///
    /// Returns a [`ConnectError`] if the connection cannot be opened; the block does not run then.
    ///
    /// # Panics
    ///
    /// Panics if the block panics, after the session was closed with 1011.
    pub async fn run<F, Fut>(self, block: F) -> Result<Fut::Output, ConnectError>
    where
        F: FnOnce(Session) -> Fut,
        Fut: Future,
    {
        Ok(self.open().await?.run(block).await)
    }

    /// Changes a setting of dialling, or notes that it does not apply.
    fn dialling(mut self, setting: &'static str, change: impl FnOnce(&mut Dialling)) -> Self {
        match &mut self.opening {
            Opening::Dial(dialling) => change(dialling),
            Opening::Opener { unsupported, .. } => *unsupported = Some(setting),
        }
        self
    }

    pub(super) fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.runtime
    }
}

impl IntoFuture for Connect {
    type Output = Result<Session, ConnectError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { Ok(self.open().await?.spawn()) })
    }
}

/// Does not show credentials.
impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Connect");
        shown.field("target", &self.target.as_ref().map(Target::shown));
        shown.field("headers", &self.headers);
        if let Opening::Dial(dialling) = &self.opening {
            shown.field("proxies", &dialling.proxies);
        }
        shown.finish_non_exhaustive()
    }
}

impl Dialling {
    /// Dials `target` and each server that it redirects to.
    async fn open(
        self,
        mut target: Target,
        mut headers: http::HeaderMap,
        config: Arc<Config>,
        runtime: Arc<dyn Runtime>,
    ) -> Result<ClientConnection, ConnectError> {
        let proxies = self.proxies;
        let timeout = config.get_opening_timeout();
        let deadline = runtime.now() + timeout;
        let dialler = Dialler { dial: self.dial, runtime, deadline, timeout };
        let mut redirects = Redirects::new(self.redirects);
        let (mut given, mut unix) = (self.transport, self.unix);
        loop {
            let (transport, destination) = match (given.take(), &unix) {
                (Some(transport), _) => (transport, Destination::new(&target, None)),
                (None, Some(path)) => {
                    let destination = Destination::new(&target, None);
                    (dialler.connect_unix(path, &destination).await?, destination)
                }
                (None, None) => {
                    #[cfg(feature = "rustls")]
                    let reached = reach(&dialler, &target, &proxies, &self.tls);
                    #[cfg(not(feature = "rustls"))]
                    let reached = reach(&dialler, &target, &proxies);
                    reached.await?
                }
            };
            let (runtime, config) = (dialler.runtime.clone(), config.clone());
            let offers = self.offers.clone();
            let handshake = Handshake { transport, runtime, deadline, config, offers, destination };
            let request = target.request(&headers);
            #[cfg(feature = "cookies")]
            let request = match &self.cookies {
                Some(jar) => jar.add_to(request, &target),
                None => request,
            };
            let verdict = handshake.run(request).await?;
            #[cfg(feature = "cookies")]
            if let Some(jar) = &self.cookies {
                jar.take_from(verdict.headers(), &target);
            }
            let rejection = match verdict {
                Verdict::Opened(connection) => return Ok(connection),
                Verdict::Rejected(rejection) => rejection,
            };
            let next = match redirects.next(&target, &rejection.response) {
                Ok(Some(next)) => next,
                Ok(None) => return Err(rejection.read().await),
                Err(error) => {
                    let destination = rejection.destination;
                    return Err(ConnectError::Redirect { destination, error });
                }
            };
            if !next.is_same_origin(&target) {
                headers = without_secrets(&headers);
                unix = None;
            }
            target = next;
        }
    }
}
