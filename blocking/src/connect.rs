//! The builder of a client's connection: [`Connect`].

use std::fmt;
use std::sync::Arc;

use http::header::{HeaderName, HeaderValue};
use socket2::Socket;
use sockless_core::Config;
#[cfg(feature = "cookies")]
use sockless_driver::CookieJar;
#[cfg(feature = "rustls")]
use sockless_driver::tls::TlsConnector;
use sockless_driver::{ConnectError, ProxyRules};

use crate::runtime::ThreadRuntime;
use crate::session::Session;
use crate::socket::SocketTransport;
use crate::wait::block_on;

/// Connects to `url`, such as `ws://example.com/chat`: call [`Connect::open`] on the result.
///
/// `wss:` needs the feature `tls`, or its parts.
pub fn connect(url: &str) -> Connect {
    Connect(sockless_driver::Connect::new(url, Arc::new(ThreadRuntime), Arc::new(ThreadRuntime)))
}

/// Connects over `stream`, a `TcpStream` or a `UnixStream`, such as one end of a tunnel, instead of
/// dialling. It is put into non-blocking mode, and otherwise used as it is, for `wss:` too. `url` is that
/// of the request.
pub fn connect_over(stream: impl Into<Socket>, url: &str) -> Connect {
    Connect(connect(url).0.transport(Box::new(SocketTransport::new(stream.into()))))
}

/// A builder for a client's connection, from [`connect`].
///
/// What the settings mean, in which steps a connection is opened, and what is sent, is described at the
/// [builder of the runtimes](sockless_driver::Connect), which has the same.
///
/// ```no_run
/// use std::time::Duration;
///
/// use sockless::{Config, ConnectError, blocking};
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let connect = blocking::connect("ws://ada:secret@example.com/chat?room=1")
///     // All steps together, from the name's lookup to the response.
///     .config(Config::default().opening_timeout(Duration::from_secs(5)))
///     .header("Origin", "https://example.com")
///     .subprotocol("chat.v2")
///     .subprotocol("chat.v1");
/// match connect.open() {
///     Ok(session) => session.send("hello")?,
///     // The response of a server that does not open a WebSocket.
///     Err(ConnectError::Rejected { response, .. }) => eprintln!("{}", response.status()),
///     // One line with the step that failed, the server, and the reason.
///     Err(error) => eprintln!("{error}"),
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "a connection is opened by `open`"]
pub struct Connect(sockless_driver::Connect);

impl Connect {
    /// Replaces the settings of the connection. Default: `Config::default()`.
    ///
    /// [`Config::opening_timeout`], 10 s by default, limits [`open`](Self::open).
    pub fn config(self, config: Config) -> Self {
        Self(self.0.config(config))
    }

    /// Adds a header to the request, after the headers that were added before. One that is invalid, or
    /// that the handshake sets itself, is an error of [`open`](Self::open).
    pub fn header<N, V>(self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        Self(self.0.header(name, value))
    }

    /// Adds a cookie to the request, after those that were added before.
    pub fn cookie(self, name: &str, value: &str) -> Self {
        Self(self.0.cookie(name, value))
    }

    /// Sends the cookies of `jar` that match the URL, and stores those that the responses set.
    #[cfg(feature = "cookies")]
    pub fn cookies(self, jar: &CookieJar) -> Self {
        Self(self.0.cookies(jar))
    }

    /// Offers a subprotocol, after those that were offered before: the first one is preferred.
    /// [`Request::subprotocol`](sockless_driver::Request::subprotocol) of the session returns the one
    /// that the server selected.
    pub fn subprotocol(self, name: &str) -> Self {
        Self(self.0.subprotocol(name))
    }

    /// Sets the proxy: one [`Proxy`](sockless_driver::Proxy) for all servers, or [`ProxyRules`].
    /// Default: no proxy.
    pub fn proxy(self, rules: impl Into<ProxyRules>) -> Self {
        Self(self.0.proxy(rules))
    }

    /// Sets the proxies that the environment variables of this process name: see [`ProxyRules`].
    pub fn proxy_from_env(self) -> Self {
        Self(self.0.proxy_from_env())
    }

    /// Sets how many redirects are followed, 20 at most. Default: 0, as in browsers.
    pub fn redirects(self, max: u32) -> Self {
        Self(self.0.redirects(max))
    }

    /// Connects over the Unix socket at `path`, instead of resolving the host of the URL, which names
    /// the server in the request. The socket is used as it is, for `wss:` too.
    #[cfg(unix)]
    pub fn unix_socket(self, path: impl Into<std::path::PathBuf>) -> Self {
        Self(self.0.unix_socket(path))
    }

    /// Sets the connector that negotiates TLS for `wss:` URLs. Default: the trust of the operating
    /// system (feature `platform-verifier`), or else of Mozilla (feature `webpki-roots`).
    #[cfg(feature = "rustls")]
    pub fn tls(self, connector: TlsConnector) -> Self {
        Self(self.0.tls(connector))
    }

    /// Opens the connection, within [`Config::opening_timeout`], and starts the thread that drives its
    /// session.
    ///
    /// If the system has no thread, the session has ended already, which is logged as a warning.
    ///
    /// # Errors
    ///
    /// A [`ConnectError`] with the step that failed, the server and the reason.
    pub fn open(self) -> Result<Session, ConnectError> {
        let connection = block_on(self.0.open())?;
        let response = connection.response().clone();
        Ok(Session::from(connection.spawn()).with_response(response))
    }
}

impl Connect {
    pub(crate) fn into_inner(self) -> sockless_driver::Connect {
        self.0
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
