//! A mount with another service for requests that do not ask for a WebSocket: [`Fallback`].

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Either, Full};

use crate::answer::asks_for_websocket;
use crate::mount::{Mount, Responding};

/// The body of a response: that of the mount, or that of the other service.
pub type FallbackBody<R> = Either<Full<Bytes>, R>;

/// A [`Mount`] for requests that ask for a WebSocket, well formed or not, and another service for
/// all others. [`Mount::fallback`] creates it.
///
/// ```
/// use axum::routing::get;
/// use sockless::hyper::{Fallback, Mount};
///
/// fn with_pages(mount: Mount) -> Fallback<axum::Router> {
///     mount.fallback(axum::Router::new().route("/", get("a page")))
/// }
/// ```
///
/// It implements the `Service` traits of tower and hyper that the other service implements.
#[derive(Clone, Debug)]
pub struct Fallback<F> {
    mount: Mount,
    inner: F,
}

impl<F> Fallback<F> {
    pub(crate) fn new(mount: Mount, inner: F) -> Self {
        Self { mount, inner }
    }

    /// Returns the mount.
    pub fn mount(&self) -> &Mount {
        &self.mount
    }

    /// Answers a request that asks for a WebSocket; returns any other to the caller.
    fn upgrade<B, R, E>(&self, request: Request<B>) -> Result<Passing<R, E>, Request<B>> {
        if !asks_for_websocket(&request) {
            return Err(request);
        }
        let answering = self.mount.answer(request);
        Ok(Box::pin(async {
            let Ok(response) = answering.await;
            Ok(response.map(Either::Left))
        }))
    }
}

/// The future response of a [`Fallback`].
type Passing<R, E> = Responding<FallbackBody<R>, E>;

impl<F, B, R> tower_service::Service<Request<B>> for Fallback<F>
where
    F: tower_service::Service<Request<B>, Response = Response<R>, Future: Send + 'static>,
{
    type Response = Response<FallbackBody<R>>;
    type Error = F::Error;
    type Future = Passing<R, F::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), F::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.upgrade(request).unwrap_or_else(|request| {
            let answering = self.inner.call(request);
            Box::pin(async { Ok(answering.await?.map(Either::Right)) })
        })
    }
}

impl<F, B, R> hyper::service::Service<Request<B>> for Fallback<F>
where
    F: hyper::service::Service<Request<B>, Response = Response<R>, Future: Send + 'static>,
{
    type Response = Response<FallbackBody<R>>;
    type Error = F::Error;
    type Future = Passing<R, F::Error>;

    fn call(&self, request: Request<B>) -> Self::Future {
        self.upgrade(request).unwrap_or_else(|request| {
            let answering = self.inner.call(request);
            Box::pin(async { Ok(answering.await?.map(Either::Right)) })
        })
    }
}
