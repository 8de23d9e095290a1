//! The service under test and the record of its sessions: [`Served`].

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use sockless_driver::{BoxFuture, ConnectionServer, Session};
use sockless_hyper::Mount;
use sockless_routing::{Origins, Router, WebSocketRoute};

use crate::on::{Http, runtime};

/// Any service that hyper can serve, as one type.
#[derive(Clone)]
pub(crate) struct App(Arc<dyn Fn(Request<Incoming>) -> Answering + Send + Sync>);

type Answering = BoxFuture<'static, Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible>>;

impl App {
    pub(crate) fn new<S, B>(service: S) -> Self
    where
        S: hyper::service::Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        S: Send + Sync + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes, Error: std::fmt::Debug> + Send + 'static,
    {
        Self(Arc::new(move |request| {
            let answering = service.call(request);
            Box::pin(async {
                let Ok(response) = answering.await;
                Ok(response.map(|body| {
                    body.map_err(|error| panic!("the body fails: {error:?}")).boxed_unsync()
                }))
            })
        }))
    }

    pub(crate) fn answer(&self, request: Request<Incoming>) -> Answering {
        (self.0)(request)
    }
}

/// A server of a router, over one version of HTTP.
pub(crate) struct Served<H> {
    pub(crate) http: H,
    pub(crate) host: ConnectionServer,
}

impl<H: Http> Served<H> {
    pub(crate) async fn start(router: Router) -> Self {
        let mount = Mount::new(router, runtime());
        let host = mount.server().clone();
        Self { http: H::serve(App::new(mount)).await, host }
    }

    /// A server of one route, at `/`.
    pub(crate) async fn one(route: WebSocketRoute) -> Self {
        Self::start(Router::new().origins(Origins::same_origin()).route("/", route)).await
    }

    /// A session of it.
    pub(crate) async fn connect(&self) -> Session {
        self.http.open("/").await.spawn()
    }
}
