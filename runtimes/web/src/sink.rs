//! A session as a `Sink` of the `futures` crates: [`MessageSink`].

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_sink::Sink;
use sockless_core::{CloseCode, Closed, IntoOutgoing};

use crate::reconnect::LocalBoxFuture;
use crate::session::Sender;

/// A [`Sink`] for the messages of a session, from [`Session::sink`](crate::Session::sink) or
/// [`Sender::sink`].
///
/// `M` is any type that [`send`](Sender::send) accepts. Flushing it waits as [`Sender::flush`] does.
/// Closing it starts the closing handshake with 1000 and waits for the end of the session.
///
/// Like a [`Sender`], it keeps the session open until it is dropped.
///
/// ```no_run
/// use futures_util::{StreamExt, stream};
/// use sockless::Closed;
/// use sockless::web::Session;
///
/// /// Sends what a stream yields, then closes the session.
/// async fn count(session: Session) -> Result<(), Closed> {
///     stream::iter(1..=3).map(|n| Ok(n.to_string())).forward(session.sink()).await
/// }
/// # let _ = count;
/// ```
pub struct MessageSink<M> {
    sender: Sender,
    running: Running,
    messages: PhantomData<fn(M)>,
}

/// What was begun and is not complete.
enum Running {
    Nothing,
    Sending(LocalBoxFuture<'static, Result<(), Closed>>),
    Flushing(LocalBoxFuture<'static, Result<(), Closed>>),
    Closing(LocalBoxFuture<'static, Closed>),
}

impl<M: IntoOutgoing> MessageSink<M> {
    pub(crate) fn new(sender: Sender) -> Self {
        Self { sender, running: Running::Nothing, messages: PhantomData }
    }

    /// Completes the message that was accepted and not sent, if there is one.
    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        if let Running::Sending(sending) = &mut self.running {
            let sent = ready!(sending.as_mut().poll(cx));
            self.running = Running::Nothing;
            sent?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<M: IntoOutgoing> Sink<M> for MessageSink<M> {
    type Error = Closed;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.poll_unsent(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: M) -> Result<(), Closed> {
        // While the browser holds too much, the message waits here, and the sink is not ready.
        if let Err(error) = self.sender.try_send(message) {
            let (sender, message) = (self.sender.clone(), error.into_message());
            self.running = Running::Sending(Box::pin(async move { sender.send(message).await }));
        }
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        ready!(self.poll_unsent(cx))?;
        loop {
            if let Running::Flushing(flushing) = &mut self.running {
                let flushed = ready!(flushing.as_mut().poll(cx));
                self.running = Running::Nothing;
                return Poll::Ready(flushed);
            }
            let sender = self.sender.clone();
            self.running = Running::Flushing(Box::pin(async move { sender.flush().await }));
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        ready!(self.poll_unsent(cx))?;
        loop {
            if let Running::Closing(closing) = &mut self.running {
                return closing.as_mut().poll(cx).map(|_| Ok(()));
            }
            let sender = self.sender.clone();
            sender.close(CloseCode::NORMAL);
            self.running = Running::Closing(Box::pin(async move { sender.closed().await }));
        }
    }
}

impl<M> fmt::Debug for MessageSink<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageSink").field("sender", &self.sender).finish_non_exhaustive()
    }
}
