//! The builder of a connection: [`Connect`].

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use crate::error::ConnectError;
use crate::platform::Sleep;
use crate::session::Session;
use crate::shared::{Limits, Shared};
use crate::transport::{Opening, socket, stream};

/// Returns a builder for a connection to `url`, a `ws:` or `wss:` URL. Browsers also accept `http:` and `https:`, and paths
/// relative to the page.
///
/// ```no_run
/// use sockless::web::ConnectError;
///
/// # async fn example() -> Result<(), ConnectError> {
/// let session = sockless::web::connect("wss://example.com/chat").subprotocol("chat.v1").await?;
/// # Ok(())
/// # }
/// ```
pub fn connect(url: &str) -> Connect {
    Connect::new(url)
}

/// A builder for a connection. Await it for a [`Session`].
///
/// ```no_run
/// use std::time::Duration;
///
/// use sockless::web::{ConnectError, connect};
///
/// # async fn example() {
/// let opening = connect("wss://example.com/chat")
///     .subprotocol("chat.v2")
///     .subprotocol("chat.v1")
///     .opening_timeout(Duration::from_secs(5));
/// match opening.await {
///     Ok(session) => show(session.subprotocol().unwrap_or("no subprotocol")),
///     Err(error) if error.is_transient() => show(&format!("{error}; trying again later")),
///     Err(error) => show(&error.to_string()),
/// }
/// # }
/// # fn show(_: &str) {}
/// ```
///
/// The browser sends the request, with the page's `Origin` and the server's cookies; a program cannot add
/// headers. It also offers its own extensions, negotiates TLS, and follows its own settings of proxies.
///
/// Dropping the future before it is ready abandons the connection.
#[must_use = "a connection is opened when the builder is awaited"]
#[derive(Clone)]
pub struct Connect {
    opening: Opening,
    limits: Limits,
    opening_timeout: Duration,
    prefer_stream: bool,
}

impl Connect {
    /// Returns a builder for a connection to `url`; see [`connect`].
    pub fn new(url: &str) -> Self {
        Self {
            opening: Opening {
                url: url.to_owned(),
                subprotocols: Vec::new(),
                closing_timeout: Duration::from_secs(5),
            },
            limits: Limits { high_water: 64 << 10, read_ahead: 64 << 10, max_unread: 16 << 20 },
            opening_timeout: Duration::from_secs(10),
            prefer_stream: false,
        }
    }

    /// Offers a subprotocol, after those that were offered before: the first one is preferred.
    pub fn subprotocol(mut self, name: &str) -> Self {
        self.opening.subprotocols.push(name.to_owned());
        self
    }

    /// Sets how many bytes the browser may hold that it has not sent, before
    /// [`send`](Session::send) waits. A message is passed on whole, so that the last one may exceed
    /// the mark. Default: 64 KiB. `bytes` is raised to 1 if it is 0.
    pub fn high_water(mut self, bytes: usize) -> Self {
        self.limits.high_water = bytes.max(1);
        self
    }

    /// Sets how many bytes of messages may wait for the program to receive them, with 64 for each
    /// message added. If more arrive, the session ends, and the messages before can still be
    /// received. It does not apply to a [stream](Self::prefer_stream), except while it is closing.
    /// Default: 16 MiB.
    ///
    /// A `WebSocket` delivers what arrives at once: a page cannot make the server wait, it can only
    /// close. [`Cause::Transport`](sockless_core::Cause::Transport) states this setting
    /// then, and the server receives a Close frame without a code.
    pub fn max_unread(mut self, bytes: usize) -> Self {
        self.limits.max_unread = bytes;
        self
    }

    /// Sets how many bytes of messages are read from a [stream](Self::prefer_stream) ahead of the
    /// program, with 64 for each message added. It does not apply to a `WebSocket`. Default: 64 KiB.
    /// `bytes` is raised to 1 if it is 0.
    pub fn read_ahead(mut self, bytes: usize) -> Self {
        self.limits.read_ahead = bytes.max(1);
        self
    }

    /// Sets the time limit for the opening. Default: 10 s.
    pub fn opening_timeout(mut self, timeout: Duration) -> Self {
        self.opening_timeout = timeout;
        self
    }

    /// Sets the time limit for the closing handshake, which begins when the browser has sent what was
    /// sent before; also the limit for a pause in that. It ends the session, not the browser's
    /// connection, for which browsers have limits of their own. Default: 5 s.
    pub fn closing_timeout(mut self, timeout: Duration) -> Self {
        self.opening.closing_timeout = timeout;
        self
    }

    /// Uses `WebSocketStream` where the browser has it, as Chromium does since version 124: a session
    /// that does not [receive](Session::recv) makes the server wait, and [`send`](Session::send)
    /// waits for the browser without timers. Elsewhere a `WebSocket` is used;
    /// [`Session::has_backpressure`] returns which.
    ///
    /// It is not the default, for two reasons. While the program does not receive, the browser does
    /// not read either: it answers no pings, so that a server with keep-alive closes the connection,
    /// and does not notice the end. And Chromium drops messages that it has not delivered when a
    /// Close frame follows them closely (seen with version 156): let the server wait for an answer
    /// before it closes.
    pub fn prefer_stream(mut self) -> Self {
        self.prefer_stream = true;
        self
    }

    async fn open(self) -> Result<Session, ConnectError> {
        let shared = Shared::new(self.limits);
        // Gives the connection up when the future is dropped.
        let session = Session::new(shared.clone());
        if self.prefer_stream && stream::is_supported() {
            stream::open(&self.opening, &shared)?;
        } else {
            socket::open(&self.opening, &shared)?;
        }
        let mut timeout = pin!(Sleep::new(self.opening_timeout));
        let place = shared.watchers().place();
        let opened = poll_fn(|cx| match shared.poll_opened(&place, cx) {
            Poll::Ready(opened) => Poll::Ready(Some(opened)),
            Poll::Pending => timeout.as_mut().poll(cx).map(|()| None),
        });
        match opened.await {
            Some(true) => Ok(session),
            Some(false) => Err(ConnectError::Failed),
            None => Err(ConnectError::Timeout),
        }
    }
}

impl IntoFuture for Connect {
    type Output = Result<Session, ConnectError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the URL, which may contain a token.
        f.debug_struct("Connect")
            .field("subprotocols", &self.opening.subprotocols)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
