//! WebSockets on the simulated network: [`Sim::serve`], [`Sim::connect`].

use std::sync::Arc;

use sockless_driver::{Connect, ConnectionServer, Runtime, Server, Service};

use crate::io::SimIo;
use crate::link::Link;
use crate::sim::Sim;

impl Sim {
    /// Listens at `name` and serves until the future is dropped. URLs reach `name` at port 80, and
    /// `name:port` at that port.
    ///
    /// ```
    /// use sockless::sim::Sim;
    /// use sockless::{Closed, Router, Session, websocket};
    ///
    /// async fn echo(mut session: Session) -> Result<(), Closed> {
    ///     loop {
    ///         let message = session.recv().await?;
    ///         session.send(message).await?;
    ///     }
    /// }
    ///
    /// Sim::check(0..10, |sim| async move {
    ///     sim.spawn(sim.serve("server", Router::new().route("/", websocket(echo))));
    ///     let mut client = sim.connect("ws://server/").await.unwrap();
    ///     client.send("hello").await.unwrap();
    ///     assert_eq!(client.recv().await.unwrap(), "hello");
    /// });
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if another listener uses the name.
    #[track_caller]
    pub fn serve<S: Service>(
        &self,
        name: &str,
        service: S,
    ) -> impl Future<Output = ()> + Send + use<S> {
        self.bind(name).serve(service)
    }

    /// Listens at `name` and returns a server to configure.
    ///
    /// # Panics
    ///
    /// Panics if another listener uses the name.
    #[track_caller]
    pub fn bind(&self, name: &str) -> Server {
        self.bind_over(name, &Link::default())
    }

    /// Like [`bind`](Self::bind), with each connection over `link`.
    ///
    /// # Panics
    ///
    /// Panics if another listener uses the name.
    #[track_caller]
    pub fn bind_over(&self, name: &str, link: &Link) -> Server {
        Server::new(self.listen_over(name, link), self.runtime())
    }

    /// Serves one end of a pipe until the connection ends. Use a [`ConnectionServer`] to serve
    /// several connections with one service, and to shut them down.
    ///
    /// ```
    /// use sockless::http::Response;
    /// use sockless::sim::Sim;
    /// use sockless::{Router, respond};
    ///
    /// Sim::check(0..10, |sim| async move {
    ///     let router = Router::new().route("/", respond(|_request| Response::new("hello\n".into())));
    ///     let (client, server) = sim.pipe();
    ///     sim.spawn(sim.serve_connection(server, router));
    ///     client.write_all(b"GET / HTTP/1.1\r\nHost: server\r\n\r\n").await.unwrap();
    ///     client.shutdown().await.unwrap();
    ///     let response = client.read_to_end().await.unwrap();
    ///     assert!(response.starts_with(b"HTTP/1.1 200 "));
    /// });
    /// ```
    pub fn serve_connection<S: Service>(
        &self,
        io: SimIo,
        service: S,
    ) -> impl Future<Output = ()> + Send + use<S> {
        ConnectionServer::new(service, self.runtime()).serve_connection(Box::new(io), None, None)
    }

    /// Connects to `url`, such as `ws://name/chat`. Await it for a connection that is driven in a
    /// task of its own, or [`run`](Connect::run) a block that drives it.
    pub fn connect(&self, url: &str) -> Connect {
        Connect::new(url, Arc::new(self.clone()), self.runtime())
    }

    /// Connects over one end of a pipe instead of dialling; see [`Connect::transport`].
    pub fn connect_over(&self, io: SimIo, url: &str) -> Connect {
        self.connect(url).transport(Box::new(io))
    }

    /// Returns this simulation as a [`Runtime`] for the driver.
    pub fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(self.clone())
    }
}
