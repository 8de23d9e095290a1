//! A client's WebSockets over an HTTP/2 connection that exists already: [`connect`].

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::ext::Protocol;
use sockless_core::RawConnection;
use sockless_core::handshake::{ExtendedConnect, HandshakeError};
use sockless_driver::{
    ClientConnection, Connect, ConnectError, ConnectStep, OpenRequest, Runtime, timeout,
};
use thiserror::Error;

use crate::io::Transport;

/// Returns a builder for a WebSocket on a stream of the HTTP/2 connection of `sender`, which can
/// carry other requests at the same time.
///
/// The builder is the same [`Connect`] as for other connections. Await it for a
/// [`Session`](sockless_driver::Session) that a task on `runtime` drives, or
/// [`run`](Connect::run) a block that the awaiting task drives. Its settings for dialling (`proxy`,
/// `redirects`, `tls`, `transport`) do not apply: with one of them, opening fails as
/// [`ConnectError::SettingUnsupported`].
///
/// `url` is the URL of the WebSocket, such as `wss://example.com/chat`. The server must have
/// enabled extended CONNECT (RFC 8441 §3), which the connection's
/// `is_extended_connect_protocol_enabled` returns once the server's settings have arrived. A server
/// without it resets the stream ([`ConnectError::Transport`]) or rejects the request
/// ([`ConnectError::Rejected`]). Dropping the builder's future resets the stream; the connection
/// stays open.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use bytes::Bytes;
/// use http_body_util::Empty;
/// use hyper::client::conn::http2::SendRequest;
/// use sockless::tokio::TokioRuntime;
///
/// # async fn example(
/// #     sender: SendRequest<Empty<Bytes>>,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = Arc::new(TokioRuntime);
/// let mut session = sockless::hyper::connect(&sender, "wss://example.com/chat", runtime)
///     .subprotocol("chat.v1")
///     .await?;
/// session.send("hello").await?;
/// # Ok(())
/// # }
/// ```
pub fn connect<B>(sender: &SendRequest<B>, url: &str, runtime: Arc<dyn Runtime>) -> Connect
where
    B: Body<Data: Send> + Default + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let sender = sender.clone();
    Connect::with_opener(url, runtime, move |open| open_stream(sender, open))
}

/// Sends the extended CONNECT of a request, and checks the response.
async fn open_stream<B>(
    mut sender: SendRequest<B>,
    open: OpenRequest,
) -> Result<ClientConnection, ConnectError>
where
    B: Body<Data: Send> + Default + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let connect = ExtendedConnect::new(open.request.clone(), open.config.clone())
        .map_err(ConnectError::RequestInvalid)?;
    let mut request = connect.request().clone().map(|()| B::default());
    request.extensions_mut().insert(Protocol::from_static(ExtendedConnect::PROTOCOL));

    let step = ConnectStep::Response;
    let failed = |error| open.failed(step, StreamError(error));
    let mut timer = open.runtime.timer(open.deadline);
    let sent = timeout(&mut *timer, async {
        sender.ready().await?;
        sender.send_request(request).await
    });
    let sent = sent.await.ok_or_else(|| open.timed_out(step))?;
    let mut response = sent.map_err(failed)?;
    let negotiated = match connect.check(&response) {
        Ok(negotiated) => negotiated,
        Err(HandshakeError::Rejected(_)) => {
            let (head, mut body) = response.into_parts();
            let head = Response::from_parts(head, ());
            return Err(open.rejected(head, |cx| poll_data(&mut body, cx)).await);
        }
        Err(error) => {
            return Err(ConnectError::Handshake { destination: open.destination, error });
        }
    };
    let upgraded = timeout(&mut *timer, hyper::upgrade::on(&mut response)).await;
    let upgraded = upgraded.ok_or_else(|| open.timed_out(step))?.map_err(failed)?;

    let OpenRequest { request, config, runtime, .. } = open;
    let connection = RawConnection::client(runtime.seed(), config);
    let transport = Box::new(Transport::new(upgraded, Version::HTTP_2));
    let response = response.map(drop);
    Ok(ClientConnection::upgraded(transport, connection, negotiated, request, response, runtime))
}

/// Returns the next data of a body; empty for a frame without data, such as trailers.
fn poll_data(body: &mut Incoming, cx: &mut Context<'_>) -> Poll<Option<std::io::Result<Bytes>>> {
    Pin::new(body).poll_frame(cx).map(|frame| {
        let data = frame?.map(|frame| frame.into_data().unwrap_or_default());
        Some(data.map_err(std::io::Error::other))
    })
}

/// The error of a stream that failed before it carried a WebSocket.
#[derive(Debug, Error)]
#[error(
    "{0} (a server resets the stream if it has not enabled extended CONNECT, RFC 8441 3: check \
     is_extended_connect_protocol_enabled of the connection)"
)]
struct StreamError(#[source] hyper::Error);
