//! An echo as one loop that owns its session, until the client says "bye".
//!
//! `cargo run -p sockless-examples --example actor`, then open `ws://127.0.0.1:8080/`.

use sockless::{CloseCode, Closed, Router, Session, websocket};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    sockless::serve("127.0.0.1:8080", router()).await
}

fn router() -> Router {
    Router::new().route("/", websocket(echo))
}

/// Once the session has ended, `recv` and `send` return how, and `?` ends the loop.
async fn echo(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv().await?;
        let Some(text) = message.as_text() else { continue };
        session.send(format!("YOU SAID: {text}")).await?;
        if text.eq_ignore_ascii_case("bye") {
            session.close((CloseCode::NORMAL, "Client said BYE"));
        }
    }
}

#[cfg(test)]
mod tests {
    use sockless::CloseReason;
    use sockless::sim::Sim;

    use super::*;

    #[test]
    fn what_is_said_comes_back_until_bye() {
        Sim::check(0..20, |sim| async move {
            let mut client = sim.app(router()).open("/").await;
            client.send("hello").await;
            client.expect("YOU SAID: hello").await;
            client.send(vec![1, 2, 3]).await;
            client.send("Bye").await;
            client.expect("YOU SAID: Bye").await;
            let closed = client.expect_closed(1000).await;
            assert_eq!(closed.received().map(CloseReason::text), Some("Client said BYE"));
        });
    }

    #[test]
    fn a_client_that_goes_ends_the_loop() {
        Sim::check(0..20, |sim| async move {
            let app = sim.app(router());
            app.open("/").await.terminate();
            sim.settle().await;
            assert_eq!(app.connections(), 0);
        });
    }
}
