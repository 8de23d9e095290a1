//! A mount that passes on what asks for no WebSocket: [`Fallback`].

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Either, Full};

use crate::answer::asks_for_websocket;
use crate::mount::{Mount, Responding};

/// The body of an answer: of the mount's own, or of the other service's.
pub type FallbackBody<R> = Either<Full<Bytes>, R>;

/// A [`Mount`] for what asks for a WebSocket, rightly formed or not, and another service for the rest:
/// [`Mount::fallback`].
///
/// It is a service of tower's where the other one is, and of hyper's where the other one is.
#[derive(Clone, Debug)]
pub struct Fallback<F> {
    mount: Mount,
    inner: F,
}

impl<F> Fallback<F> {
    pub(crate) fn new(mount: Mount, inner: F) -> Self {
        Self { mount, inner }
    }

    /// The mount, which has the host.
    pub fn mount(&self) -> &Mount {
        &self.mount
    }

    /// Answers what asks for a WebSocket; what does not is the caller's to pass on.
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

/// A response of a [`Fallback`] that is on its way.
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
