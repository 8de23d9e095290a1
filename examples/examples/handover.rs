//! A session of messages on top of a session of frames: the first frame is looked at by hand, the
//! rest is left to the driver.
//!
//! `cargo run -p sockless-examples --example handover`, then open `ws://127.0.0.1:8080/` and send a
//! binary message of the byte 1 first.

use sockless::{BoxError, Frame, Opcode, RawSession, Router, websocket_raw};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    sockless::serve("127.0.0.1:8080", router()).await
}

fn router() -> Router {
    Router::new().route("/", websocket_raw(hello_first))
}

/// The one version of a protocol that begins with the number of its version.
const VERSION: &[u8] = &[1];

async fn hello_first(mut raw: RawSession) -> Result<(), BoxError> {
    let hello = raw.recv().await?;
    if hello.opcode != Opcode::Binary || hello.payload != VERSION {
        // 1003: this kind of data is not accepted (RFC 6455 §7.4.1).
        let reason = b"\x03\xEBversion 1 is spoken here";
        raw.send(Frame::new(Opcode::Close, reason[..].into())).await?;
        return Ok(());
    }
    // From here on pings are answered, fragments joined and closing handshakes run.
    let mut session = raw.into_session();
    loop {
        let message = session.recv().await?;
        session.send(message).await?;
    }
}

#[cfg(test)]
mod tests {
    use sockless::Chunk;
    use sockless::sim::Sim;

    use super::*;

    #[test]
    fn messages_follow_the_first_frame() {
        Sim::check(0..20, |sim| async move {
            let mut client = sim.app(router()).open("/").await;
            client.send(VERSION).await;
            // A message sent right behind the hello reaches the session.
            client.send_chunk(Chunk { data: "frag".into(), last: false }).await;
            client.ping("now answered");
            client.send_chunk(Chunk { data: "ments".into(), last: true }).await;
            client.expect("fragments").await;
            assert_eq!(client.recv_pong().await, "now answered");
            client.close(sockless::CloseCode::NORMAL);
            client.expect_closed(1000).await;
        });
    }

    #[test]
    fn another_version_is_refused() {
        Sim::check(0..20, |sim| async move {
            let mut client = sim.app(router()).open("/").await;
            client.send(vec![2]).await;
            client.expect_closed(1003).await;
        });
    }
}
