//! The same echo as a pipeline: a `Stream` of received messages into a `Sink`.
//!
//! `cargo run -p sockless-examples --example pipeline`, then open `ws://127.0.0.1:8080/` or `/count`.

use std::future::ready;

use futures_util::{StreamExt, TryStreamExt};
use sockless::{CloseCode, Closed, Router, Session, websocket};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    sockless::serve("127.0.0.1:8080", router()).await
}

fn router() -> Router {
    Router::new().route("/", websocket(echo)).route("/count", websocket(count))
}

/// Each text goes through; the pipeline ends with the session.
async fn echo(session: Session) -> Result<(), Closed> {
    let (sender, receiver) = session.split();
    receiver
        .filter_map(|message| ready(message.as_text().map(str::to_owned)))
        .map(Ok)
        .try_for_each(async |text| {
            sender.send(format!("YOU SAID {text}")).await?;
            if text.eq_ignore_ascii_case("bye") {
                sender.close((CloseCode::NORMAL, "Client said BYE"));
            }
            Ok(())
        })
        .await
}

/// A pipeline from end to end: the sink is closed when the stream is through, after three messages.
async fn count(session: Session) -> Result<(), Closed> {
    let (sender, receiver) = session.split();
    receiver
        .take(3)
        .map(|message| Ok(format!("{} bytes", message.len())))
        .forward(sender.sink())
        .await
}

#[cfg(test)]
mod tests {
    use sockless::sim::Sim;

    use super::*;

    #[test]
    fn what_is_said_comes_back_until_bye() {
        Sim::check(0..20, |sim| async move {
            let mut client = sim.app(router()).open("/").await;
            client.send(vec![1, 2, 3]).await;
            client.send("hello").await;
            client.send("BYE").await;
            client.expect("YOU SAID hello").await;
            client.expect("YOU SAID BYE").await;
            client.expect_closed(1000).await;
        });
    }

    #[test]
    fn three_messages_are_counted() {
        Sim::check(0..20, |sim| async move {
            let mut client = sim.app(router()).open("/count").await;
            client.send("hello").await;
            client.send(vec![0; 1000]).await;
            client.send("").await;
            client.expect("5 bytes").await;
            client.expect("1000 bytes").await;
            client.expect("0 bytes").await;
            client.expect_closed(1000).await;
        });
    }
}
