//! HTTP CONNECT (RFC 9110 §9.3.6): [`HttpConnect`].

use bytes::{Buf, BytesMut};
use http::header::{HeaderName, HeaderValue};
use http::{Response, StatusCode};
use sockless_core::handshake::MAX_HEADERS;

use super::error::{MAX_HEAD_LEN, ProxyError};
use crate::client::credentials::Credentials;

/// A CONNECT request for a tunnel to a server, and its response.
pub(in crate::client) struct HttpConnect {
    pub(super) outbound: BytesMut,
    authenticates: bool,
    /// The number of bytes of `inbound` that were searched for the end of a head.
    searched: usize,
    /// The number of bytes of heads that the proxy may still send.
    room: usize,
    /// The head of a response other than 2xx.
    pub(super) rejection: Option<Response<()>>,
}

impl HttpConnect {
    /// Requests a tunnel to `authority`, which has a port.
    pub(super) fn new(authority: &str, credentials: Option<&Credentials>) -> Self {
        let mut request = BytesMut::from("CONNECT ");
        for part in [authority, " HTTP/1.1\r\nHost: ", authority, "\r\n"] {
            request.extend_from_slice(part.as_bytes());
        }
        if let Some(credentials) = credentials {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(credentials.basic().as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        let authenticates = credentials.is_some();
        let room = MAX_HEAD_LEN;
        Self { outbound: request, authenticates, searched: 0, room, rejection: None }
    }

    pub(super) fn poll(&mut self, inbound: &mut BytesMut) -> Option<Result<(), ProxyError>> {
        loop {
            // A peer of another protocol may never send the end of a head.
            let is_http = inbound.iter().zip(b"HTTP/1.").all(|(byte, due)| byte == due);
            if !is_http {
                return Some(Err(ProxyError::Invalid("it is not HTTP/1.1")));
            }
            let searched = &inbound[self.searched..inbound.len().min(self.room)];
            let Some(end) = searched.windows(4).position(|window| window == b"\r\n\r\n") else {
                self.searched = (self.searched + searched.len()).saturating_sub(3);
                return (inbound.len() >= self.room).then_some(Err(ProxyError::HeadTooLong));
            };
            let len = self.searched + end + 4;
            let response = match parse(&inbound[..len]) {
                Ok(response) => response,
                Err(error) => return Some(Err(error)),
            };
            inbound.advance(len);
            self.room -= len;
            self.searched = 0;
            if !response.status().is_informational() {
                return Some(self.verdict(response));
            }
        }
    }

    fn verdict(&mut self, response: Response<()>) -> Result<(), ProxyError> {
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        self.rejection = Some(response);
        Err(match status {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED if self.authenticates => {
                ProxyError::CredentialsRejected
            }
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => ProxyError::AuthenticationRequired,
            status => ProxyError::Rejected(status),
        })
    }
}

fn parse(head: &[u8]) -> Result<Response<()>, ProxyError> {
    // As in a server's response: parsers differ on such lines, which can be exploited.
    if head.windows(3).any(|window| matches!(window, b"\r\n " | b"\r\n\t")) {
        let why = "a header line begins with a space: folded values are obsolete (RFC 9112 5.2)";
        return Err(ProxyError::Invalid(why));
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    let malformed = || ProxyError::Invalid("its head is malformed");
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => {
            return Err(ProxyError::Invalid("its head has more than 128 header lines"));
        }
        _ => return Err(malformed()),
    }
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let mut response = Response::new(());
    *response.status_mut() =
        status.ok_or(ProxyError::Invalid("its status is not between 100 and 999"))?;
    for header in parsed.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| malformed())?;
        let value = HeaderValue::from_bytes(header.value).map_err(|_| malformed())?;
        response.headers_mut().append(name, value);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the verdict on a response that arrives in parts of this length, and the bytes after
    /// it.
    fn answer(bytes: &[u8], cut: usize) -> (Option<Result<(), ProxyError>>, Vec<u8>) {
        let credentials =
            bytes.starts_with(b"HTTP/1.0").then(|| Credentials::parse("u:p").unwrap());
        let mut connect = HttpConnect::new("example.com:443", credentials.as_ref());
        let mut inbound = BytesMut::new();
        for part in bytes.chunks(cut) {
            inbound.extend_from_slice(part);
            if let Some(verdict) = connect.poll(&mut inbound) {
                return (Some(verdict), inbound.to_vec());
            }
        }
        (None, inbound.to_vec())
    }

    #[test]
    fn the_request_has_the_server_and_the_credentials() {
        let connect = HttpConnect::new("[2001:db8::1]:443", None);
        let request = "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n";
        assert_eq!(connect.outbound, request);
        let credentials = Credentials::parse("ada:p%40w").unwrap();
        let connect = HttpConnect::new("a:80", Some(&credentials));
        let request = "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\
            Proxy-Authorization: Basic YWRhOnBAdw==\r\n\r\n";
        assert_eq!(connect.outbound, request);
    }

    #[test]
    fn the_verdict_is_the_same_however_a_response_is_cut() {
        let malformed = ProxyError::Invalid("its head is malformed");
        let cases: &[(&str, Result<(), ProxyError>)] = &[
            ("HTTP/1.1 200 Connection established\r\n\r\n", Ok(())),
            ("HTTP/1.1 204 Fine\r\nContent-Length: 12\r\n\r\n", Ok(())),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 \r\nA: b\r\n\r\n", Ok(())),
            ("HTTP/1.1 403 Forbidden\r\n\r\n", Err(ProxyError::Rejected(StatusCode::FORBIDDEN))),
            ("HTTP/1.1 302 Found\r\n\r\n", Err(ProxyError::Rejected(StatusCode::FOUND))),
            ("HTTP/1.1 407 Who\r\n\r\n", Err(ProxyError::AuthenticationRequired)),
            ("HTTP/1.0 407 Who\r\n\r\n", Err(ProxyError::CredentialsRejected)),
            ("HTTP/1.1 2x0 OK\r\n\r\n", Err(malformed.clone())),
            ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", Err(malformed.clone())),
            ("HTTP/1.1 200 OK\r\n\0: x\r\n\r\n", Err(malformed)),
        ];
        for (bytes, verdict) in cases {
            for cut in 1..=bytes.len() {
                let (judged, left) = answer(bytes.as_bytes(), cut);
                assert_eq!(judged, Some(verdict.clone()), "{bytes}");
                assert!(judged != Some(Ok(())) || left.is_empty(), "{bytes}");
            }
        }
    }

    #[test]
    fn another_protocol_is_detected_at_its_first_bytes() {
        for bytes in [&b"SSH-2.0-x\r\n"[..], b"\x05\x00", b"HTTP/2 200\r\n", b"\x15\x03\x01"] {
            let verdict = answer(bytes, 1).0;
            assert!(matches!(verdict, Some(Err(ProxyError::Invalid(_)))), "{bytes:?}");
        }
        assert_eq!(answer(b"HTTP/1.1 200 OK\r\n\r", 1).0, None);
    }

    #[test]
    fn an_endless_head_ends_at_the_limit() {
        let head = [&b"HTTP/1.1 200 OK\r\n"[..], &b"A: b\r\n".repeat(MAX_HEAD_LEN)].concat();
        for cut in [1, 7, 1000] {
            assert_eq!(answer(&head, cut).0, Some(Err(ProxyError::HeadTooLong)));
        }
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(MAX_HEAD_LEN);
        for cut in [1, 7, 1000] {
            assert_eq!(answer(&interim, cut).0, Some(Err(ProxyError::HeadTooLong)));
        }
        let lines =
            [&b"HTTP/1.1 200 OK\r\n"[..], &b"A: b\r\n".repeat(MAX_HEADERS + 1), b"\r\n"].concat();
        let Some(Err(error @ ProxyError::Invalid(_))) = answer(&lines, 9).0 else { panic!() };
        assert!(error.to_string().contains(&format!("more than {MAX_HEADERS} ")), "{error}");
    }
}
