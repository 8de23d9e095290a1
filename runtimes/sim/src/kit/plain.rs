//! Plain HTTP requests: [`App::get`], [`App::request`].

use bytes::Bytes;
use http::header::{HOST, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use sockless_core::handshake::encode_request;

use super::{App, Place};
use crate::io::SimIo;

impl App {
    pub(crate) fn exchange(
        &self,
        request: Result<Request<()>, http::Error>,
        place: Place,
    ) -> impl Future<Output = Response<Bytes>> + Send + use<> {
        let app = self.clone();
        async move {
            let mut request = match request {
                Ok(request) => request,
                Err(error) => panic!("{place}: invalid request: {error}"),
            };
            let asked = format!("{} {}", request.method(), request.uri());
            if !request.headers().contains_key(HOST) {
                let host = request.uri().host().and_then(|host| host.parse().ok());
                let host = host.unwrap_or(HeaderValue::from_static("localhost"));
                request.headers_mut().insert(HOST, host);
            }
            let io = app.dial();
            let exchanging = async {
                io.write_all(&encode_request(&request)).await.map_err(|error| error.to_string())?;
                read_response(&io).await
            };
            match app.sim.timeout(app.patience, exchanging).await {
                Some(Ok(response)) => response,
                Some(Err(error)) => panic!("{place}: {asked}: expected a response: {error}"),
                None => panic!("{place}: {asked}: expected a response within {:?}", app.patience),
            }
        }
    }
}

async fn read_response(io: &SimIo) -> Result<Response<Bytes>, String> {
    let head = io.read_until(b"\r\n\r\n").await.map_err(|error| error.to_string())?;
    let response = parse_head(&head).ok_or_else(|| format!("invalid head: {head:?}"))?;
    // Frames follow a 101.
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response.map(|()| Bytes::new()));
    }
    let body = io.read_to_end().await.map_err(|error| error.to_string())?;
    Ok(response.map(|()| body))
}

fn parse_head(head: &[u8]) -> Option<Response<()>> {
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut parsed = httparse::Response::new(&mut headers);
    parsed.parse(head).ok()?.is_complete().then_some(())?;
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(parsed.code?).ok()?;
    for header in parsed.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        let value = HeaderValue::from_bytes(header.value).ok()?;
        response.headers_mut().append(name, value);
    }
    Some(response)
}
