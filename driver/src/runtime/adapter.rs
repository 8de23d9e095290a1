//! The functions that the adapters of all runtimes share: [`adapter!`](crate::adapter).

/// Defines the public functions of a runtime's adapter, so that they are documented and work alike
/// on every runtime.
///
/// These are `serve`, `bind`, `bind_with`, `listen_on`, `bind_unix`, `listen_on_unix` and
/// `serve_connection`, `accept` and `accept_with` with the adapter's feature `server`, and `connect`, `connect_over` and
/// `connect_unix` with its feature `client`. The parts in which runtimes differ are in two of the
/// adapter's modules. `accept`, with the feature `server`, has
///
/// * `async fn resolve(addr: impl Addrs) -> io::Result<impl Iterator<Item = SocketAddr>>`
/// * `fn from_std(listener: std::net::TcpListener) -> io::Result<TcpListener>`, for a listener
///   that does not block
/// * `fn listen(listener: TcpListener) -> io::Result<impl Listen>`
/// * `fn bind_unix(path: &Path) -> io::Result<UnixListener>`
/// * `fn listen_unix(listener: UnixListener) -> io::Result<impl Listen>`
///
/// and `dial`, with the feature `client`,
///
/// * `async fn connect_unix(path: &Path) -> io::Result<Box<dyn Io>>`
/// * an implementation of `Dial` for the runtime
#[doc(hidden)]
#[macro_export]
macro_rules! adapter {
    (
        // The adapter's module in the facade, for the examples.
        name: $name:literal,
        runtime: $runtime:ident,
        transport: $transport:ident,
        addrs: $addrs:path,
        // The bounds of a stream.
        stream: { $($stream:tt)+ },
        tcp_listener: $tcp_listener:ty,
        unix_listener: $unix_listener:ty,
        // More about `bind_unix` and `listen_on_unix`, such as when they panic.
        unix_docs: { $(#[$unix_docs:meta])* },
    ) => {
        /// Listens on `addr` and serves until the future is dropped. It returns only if `addr`
        /// cannot be listened on. Dropping it ends all connections.
        ///
        /// For a server with settings of its own, for one that shuts down gracefully, and to learn
        /// the port that the system chose for port 0, use [`bind`].
        ///
        /// ```no_run
        /// # async fn example() -> std::io::Result<()> {
        /// use sockless::{Closed, Router, Session, websocket};
        ///
        /// async fn echo(mut session: Session) -> Result<(), Closed> {
        ///     loop {
        ///         let message = session.recv().await?;
        ///         session.send(message).await?;
        ///     }
        /// }
        ///
        /// let router = Router::new().route("/echo", websocket(echo));
        #[doc = concat!("sockless::", $name, "::serve(\"127.0.0.1:8080\", router).await")]
        /// # }
        /// ```
        ///
        /// # Errors
        ///
        /// The error of resolving `addr`, or of listening on the last of its addresses, such as
        /// [`AddrInUse`](std::io::ErrorKind::AddrInUse).
        #[cfg(feature = "server")]
        pub async fn serve(
            addr: impl $addrs,
            service: impl $crate::Service,
        ) -> ::std::io::Result<()> {
            bind(addr).await?.serve(service).await;
            Ok(())
        }

        /// Listens on `addr` and returns the server, to which settings can be added before it
        /// serves.
        ///
        /// Of several addresses, the first that can be listened on is taken. With port 0 the system
        /// chooses a free port, which [`Server::local_addr`](sockless_driver::Server::local_addr)
        /// returns.
        ///
        /// Cancel-safe: dropping the future closes the listener.
        ///
        /// ```no_run
        /// # async fn example(router: sockless::Router) -> std::io::Result<()> {
        #[doc = concat!("let server = sockless::", $name, "::bind(\"127.0.0.1:0\").await?;")]
        /// println!("listening on {}", server.local_addr().expect("a TCP listener has an address"));
        /// server.max_connections(10_000).serve(router).await;
        /// # Ok(())
        /// # }
        /// ```
        ///
        /// # Errors
        ///
        /// As [`serve`].
        #[cfg(feature = "server")]
        pub async fn bind(addr: impl $addrs) -> ::std::io::Result<$crate::Server> {
            bind_with(addr, &$crate::sockets::ListenOptions::default()).await
        }

        /// As [`bind`], with `options` for the listening socket.
        ///
        /// Several servers can share one address, for example one server for each core.
        ///
        /// Cancel-safe: dropping the future closes the listener.
        ///
        /// ```no_run
        /// # async fn example(router: sockless::Router) -> std::io::Result<()> {
        /// let options = sockless::ListenOptions::default().reuse_port(true);
        #[doc = concat!("sockless::", $name, "::bind_with(\"0.0.0.0:8080\", &options).await?.serve(router).await;")]
        /// # Ok(())
        /// # }
        /// ```
        ///
        /// # Errors
        ///
        /// As [`serve`], and [`Unsupported`](std::io::ErrorKind::Unsupported) if the system does
        /// not support one of the options.
        #[cfg(feature = "server")]
        pub async fn bind_with(
            addr: impl $addrs,
            options: &$crate::sockets::ListenOptions,
        ) -> ::std::io::Result<$crate::Server> {
            let listener = $crate::sockets::listen(accept::resolve(addr).await?, options)?;
            listen_on(accept::from_std(listener)?)
        }

        /// Makes a server of a TCP listener that is bound already.
        ///
        /// # Errors
        ///
        /// The system's error if the listener cannot report its address, or cannot be registered
        /// with the runtime.
        #[cfg(feature = "server")]
        pub fn listen_on(listener: $tcp_listener) -> ::std::io::Result<$crate::Server> {
            Ok($crate::Server::new(accept::listen(listener)?, runtime()))
        }

        /// Listens on a Unix socket at `path` and returns the server, to which settings can be
        /// added.
        ///
        /// No file may exist at `path`. The server creates the socket's file and does not remove it
        /// when it ends; that is up to the program.
        ///
        /// ```no_run
        /// # async fn example(router: sockless::Router) -> std::io::Result<()> {
        #[doc = concat!("sockless::", $name, "::bind_unix(\"/run/chat.sock\")?.serve(router).await;")]
        /// # Ok(())
        /// # }
        /// ```
        ///
        /// # Errors
        ///
        /// The system's error if `path` cannot be listened on, such as
        /// [`AddrInUse`](std::io::ErrorKind::AddrInUse) if there is a file.
        $(#[$unix_docs])*
        #[cfg(all(unix, feature = "server"))]
        pub fn bind_unix(
            path: impl AsRef<::std::path::Path>,
        ) -> ::std::io::Result<$crate::Server> {
            listen_on_unix(accept::bind_unix(path.as_ref())?)
        }

        /// Makes a server of a Unix socket that is bound already.
        ///
        /// # Errors
        ///
        /// The system's error if the listener cannot be registered with the runtime.
        #[cfg(all(unix, feature = "server"))]
        pub fn listen_on_unix(listener: $unix_listener) -> ::std::io::Result<$crate::Server> {
            Ok($crate::Server::new(accept::listen_unix(listener)?, runtime()))
        }

        /// Serves one stream that the program accepted itself, until the connection ends.
        ///
        /// To serve many streams with one service, and to shut all of them down, use
        /// [`ConnectionServer`](sockless_driver::ConnectionServer).
        ///
        /// Dropping the future drops the stream and the handler.
        #[cfg(feature = "server")]
        pub async fn serve_connection<S>(stream: S, service: impl $crate::Service)
        where
            S: $($stream)+,
        {
            let server = $crate::ConnectionServer::new(service, runtime());
            server.serve_connection(Box::new($transport::new(stream)), None, None).await;
        }

        /// Opens a session on a stream that the program accepted itself, as the server's end, with
        /// the default settings and without a router. The stream is used as it is.
        ///
        /// A task of the runtime drives the session. When its last handle is dropped, it is closed
        /// with 1000. It belongs to no server: no memory budget of a server counts it, and no
        /// shutdown of a server closes it.
        ///
        /// Every path is accepted, and no `Origin` is checked: where browsers can reach the server
        /// and it relies on cookies, check it in [`accept_with`]. The addresses of the two ends are
        /// known if [`accept_with`] is given them, by
        /// [`IncomingUpgrade::set_addrs`](sockless_driver::IncomingUpgrade::set_addrs).
        ///
        /// ```no_run
        /// use sockless::Error;
        #[doc = concat!("# #[allow(unused_imports)]\n# use sockless::", $name, "::*;")]
        ///
        #[doc = concat!("async fn echo<S>(stream: S) -> Result<(), Error>\nwhere\n    S: ", stringify!($($stream)+), ",")]
        /// {
        #[doc = concat!("    let mut session = sockless::", $name, "::accept(stream).await?;")]
        ///     loop {
        ///         let message = session.recv().await?;
        ///         session.send(message).await?;
        ///     }
        /// }
        /// ```
        ///
        /// Cancel-safe: dropping the future drops the stream.
        ///
        /// # Errors
        ///
        /// An [`AcceptError`](sockless_driver::AcceptError), after the response has been sent.
        #[cfg(feature = "server")]
        pub async fn accept<S>(
            stream: S,
        ) -> ::std::result::Result<$crate::Session, $crate::AcceptError>
        where
            S: $($stream)+,
        {
            accept_with(stream, ::std::default::Default::default(), |_| Ok(())).await
        }

        /// As [`accept`], with settings, and with `decide`, which looks at the request, selects a
        /// subprotocol, adds headers to the response, or returns a response that rejects it.
        ///
        /// ```no_run
        /// use sockless::http::StatusCode;
        /// use sockless::proto::handshake::text_response;
        /// use sockless::{AcceptError, Config, Session};
        #[doc = concat!("# #[allow(unused_imports)]\n# use sockless::", $name, "::*;")]
        ///
        #[doc = concat!("async fn open<S>(stream: S) -> Result<Session, AcceptError>\nwhere\n    S: ", stringify!($($stream)+), ",")]
        /// {
        ///     let config = Config::default().max_message_len(64 << 10);
        #[doc = concat!("    sockless::", $name, "::accept_with(stream, config, |upgrade| {")]
        ///         if upgrade.request().path() != "/chat" {
        ///             return Err(text_response(StatusCode::NOT_FOUND, "only /chat is served\n"));
        ///         }
        ///         upgrade.select_protocol(&["chat.v2", "chat.v1"]);
        ///         Ok(())
        ///     })
        ///     .await
        /// }
        /// ```
        ///
        /// To decide asynchronously, use [`IncomingUpgrade`](sockless_driver::IncomingUpgrade).
        ///
        /// Cancel-safe: dropping the future drops the stream.
        ///
        /// # Errors
        ///
        /// An [`AcceptError`](sockless_driver::AcceptError), after the response has been sent.
        #[cfg(feature = "server")]
        pub async fn accept_with<S, F>(
            stream: S,
            config: $crate::__private::Config,
            decide: F,
        ) -> ::std::result::Result<$crate::Session, $crate::AcceptError>
        where
            S: $($stream)+,
            F: FnOnce(
                &mut $crate::IncomingUpgrade,
            ) -> ::std::result::Result<(), $crate::__private::Response<$crate::__private::Bytes>>,
        {
            let transport = Box::new($transport::new(stream));
            let incoming =
                $crate::IncomingUpgrade::read(transport, ::std::sync::Arc::new(config), runtime());
            let mut incoming = incoming.await?;
            match decide(&mut incoming) {
                Ok(()) => Ok(incoming.accept()),
                Err(response) => Err(incoming.reject(response).await),
            }
        }

        /// Connects to `url`, such as `ws://example.com/chat`.
        ///
        /// Await the result for a [`Session`](sockless_driver::Session) that a task of the runtime
        /// drives, or [`run`](sockless_driver::Connect::run) a block that is driven by the caller's
        /// own task.
        ///
        /// ```no_run
        /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
        #[doc = concat!("let mut session = sockless::", $name, "::connect(\"ws://127.0.0.1:8080/echo\").await?;")]
        /// session.send("hello").await?;
        /// assert_eq!(session.recv().await?.as_text(), Some("hello"));
        /// # Ok(())
        /// # }
        /// ```
        #[cfg(feature = "client")]
        pub fn connect(url: &str) -> $crate::Connect {
            $crate::Connect::new(url, ::std::sync::Arc::new($runtime), runtime())
        }

        /// Connects over `stream`, such as one end of a tunnel, instead of dialling.
        ///
        /// `url` is that of the request. The stream is used as it is, for `wss:` too: see
        /// [`Connect::transport`](sockless_driver::Connect::transport).
        #[cfg(feature = "client")]
        pub fn connect_over<S>(stream: S, url: &str) -> $crate::Connect
        where
            S: $($stream)+,
        {
            connect(url).transport(Box::new($transport::new(stream)))
        }

        /// Connects over the Unix socket at `path`, which this function dials.
        ///
        /// `url` is that of the request. The socket is used as it is, for `wss:` too: see
        /// [`Connect::transport`](sockless_driver::Connect::transport).
        ///
        /// Cancel-safe: dropping the future drops the socket.
        ///
        /// ```no_run
        /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
        #[doc = concat!("let connecting = sockless::", $name, "::connect_unix(\"/run/chat.sock\", \"ws://localhost/chat\");")]
        /// let session = connecting.await?.await?;
        /// # Ok(())
        /// # }
        /// ```
        ///
        /// # Errors
        ///
        /// The system's error, with the path, if `path` cannot be connected to.
        #[cfg(all(unix, feature = "client"))]
        pub async fn connect_unix(
            path: impl AsRef<::std::path::Path>,
            url: &str,
        ) -> ::std::io::Result<$crate::Connect> {
            Ok(connect(url).transport(dial::connect_unix(path.as_ref()).await?))
        }

        #[cfg(any(feature = "client", feature = "server"))]
        fn runtime() -> ::std::sync::Arc<dyn $crate::Runtime> {
            ::std::sync::Arc::new($runtime)
        }
    };
}
