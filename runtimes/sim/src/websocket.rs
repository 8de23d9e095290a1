//! WebSockets on the simulated network: [`Sim::serve`] and [`Sim::connect`], as the runtimes over
//! sockets have them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use sockless_driver::{Accepted, Connect, ConnectionServer, Listen, Runtime, Server, Service};

use crate::executor::Sim;
use crate::link::Link;
use crate::network::SimListener;
use crate::pipe::SimIo;

impl Sim {
    /// Listens at `name` and serves for ever. A name is reached at port 80, `name:port` at that port.
    ///
    /// # Panics
    ///
    /// When something listens there already.
    #[track_caller]
    pub fn serve<S: Service>(
        &self,
        name: &str,
        service: S,
    ) -> impl Future<Output = ()> + Send + use<S> {
        self.bind(name).serve(service)
    }

    /// Listens at `name`, for a server with settings of its own.
    ///
    /// # Panics
    ///
    /// When something listens there already.
    #[track_caller]
    pub fn bind(&self, name: &str) -> Server {
        self.bind_over(name, &Link::default())
    }

    /// Listens at `name`, for a server whose connections run over `link`.
    ///
    /// # Panics
    ///
    /// When something listens there already.
    #[track_caller]
    pub fn bind_over(&self, name: &str, link: &Link) -> Server {
        Server::new(self.listen_over(name, link), self.runtime())
    }

    /// Serves one end of a pipe, until it ends. For many with one service, and a shutdown of them all,
    /// see [`ConnectionServer`].
    ///
    /// ```
    /// use sockless_driver::{Answer, BoxFuture, Request, Service};
    /// use sockless_sim::Sim;
    /// # use std::sync::Arc;
    ///
    /// struct Teapot;
    ///
    /// impl Service for Teapot {
    ///     fn call(&self, _call: Request) -> BoxFuture<'_, Answer> {
    ///         let response = http::Response::builder().status(418).body("short and stout\n".into());
    ///         Box::pin(async { Answer::Respond(response.expect("a status and a body")) })
    ///     }
    /// #   fn config(&self) -> Arc<sockless_core::Config> { Arc::default() }
    /// }
    ///
    /// Sim::check(0..10, |sim| async move {
    ///     let (client, server) = sim.pipe();
    ///     sim.spawn(sim.serve_connection(server, Teapot));
    ///     client.write_all(b"GET /pot HTTP/1.1\r\nHost: kitchen\r\n\r\n").await.unwrap();
    ///     client.shutdown().await.unwrap();
    ///     let response = client.read_to_end().await.unwrap();
    ///     assert!(response.starts_with(b"HTTP/1.1 418 "));
    /// });
    /// ```
    pub fn serve_connection<S: Service>(
        &self,
        io: SimIo,
        service: S,
    ) -> impl Future<Output = ()> + Send + use<S> {
        ConnectionServer::new(service, self.runtime()).serve_connection(Box::new(io), None, None)
    }

    /// Connects to `url`, such as `ws://name/chat`: await it for a session that is driven in a task of
    /// its own, or [`run`](Connect::run) a block that is driven where it stands.
    pub fn connect(&self, url: &str) -> Connect {
        Connect::new(url, Arc::new(self.clone()), self.runtime())
    }

    /// Connects over one end of a pipe, for which nobody is dialled; see [`Connect::transport`].
    pub fn connect_over(&self, io: SimIo, url: &str) -> Connect {
        self.connect(url).transport(Box::new(io))
    }

    /// This world as the driver wants it.
    pub fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(self.clone())
    }
}

impl Listen for SimListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        self.poll_next(cx)
            .map(|io| Ok(Accepted { transport: Box::new(io), peer_addr: None, local_addr: None }))
    }

    /// A simulated listener has a name and no address.
    fn local_addr(&self) -> Option<SocketAddr> {
        None
    }
}
