//! Properties of the head of any request and response.

use std::sync::Arc;

use bytes::BytesMut;
use sockless_core::handshake::{ClientHandshake, ServerHandshake};
use sockless_core::{Config, Instant, Role, Seed};

/// A head cut anywhere gets the same verdict, and leaves the same bytes to the connection.
pub fn assert_any_chunking_of_a_head(role: Role, max_head_len: usize, bytes: &[u8], chunk: usize) {
    let config = Config::default().max_head_len(max_head_len);
    let whole = verdict(role, &config, bytes, usize::MAX);
    for chunk in [chunk.max(1), 1] {
        assert_eq!(whole, verdict(role, &config, bytes, chunk), "in chunks of {chunk}");
    }
}

/// The result for a head, in words, and the number of bytes that are left.
fn verdict(role: Role, config: &Config, bytes: &[u8], chunk: usize) -> Option<(String, usize)> {
    let config = Arc::new(config.clone());
    let mut head = Head::new(role, config);
    let mut inbound = BytesMut::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(chunk.min(rest.len()));
        rest = after;
        inbound.extend_from_slice(chunk);
        if let Some((reported, sound)) = head.poll(&mut inbound) {
            // The bytes after a rejected head belong to no request.
            return Some((reported, if sound { inbound.len() + rest.len() } else { 0 }));
        }
    }
    None
}

enum Head {
    Request(ServerHandshake),
    Response(Box<ClientHandshake>),
}

impl Head {
    fn new(role: Role, config: Arc<Config>) -> Self {
        match role {
            Role::Server => Self::Request(ServerHandshake::new(config, Instant::EPOCH)),
            Role::Client => {
                let request = http::Request::get("ws://example.org/chat")
                    .header("sec-websocket-protocol", "one, two")
                    .body(())
                    .expect("a sound request");
                let seed = Seed::new([7; 32]);
                let client = ClientHandshake::new(request, seed, config, Instant::EPOCH);
                Self::Response(Box::new(client.expect("a sound request")))
            }
        }
    }

    fn poll(&mut self, inbound: &mut BytesMut) -> Option<(String, bool)> {
        match self {
            Self::Request(server) => {
                let verdict = server.poll_request(inbound)?;
                Some((format!("{verdict:?}"), verdict.is_ok()))
            }
            Self::Response(client) => {
                let verdict = client.poll_response(inbound, Instant::EPOCH)?;
                let sound = verdict.is_ok();
                Some((format!("{:?}", verdict.map(|(_, response)| response)), sound))
            }
        }
    }
}
