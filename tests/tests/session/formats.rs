//! Messages in a format of one's own: `send_as` and `recv_as`, and JSON.

use serde_json::{Value, json};
use sockless_core::{CloseCode, Message};
use sockless_driver::{BoxError, Decode, DecodeError, Encode, EncodeError, Session};
use sockless_routing::websocket;
use sockless_sim::Sim;
use sockless_tests::handlers::{at_root, echo, observed};

#[test]
fn a_format_is_an_argument_of_each_call() {
    Sim::check(0..10, |sim| async move {
        let handler = async |mut session: Session| -> Result<(), BoxError> {
            loop {
                let mut numbers: Vec<u32> = session.recv_as(&Commas).await?;
                numbers.reverse();
                session.send_as(&Commas, &numbers).await?;
            }
        };
        let mut client = sim.app(at_root(websocket(handler))).open("/").await;
        client.send("1,2,3").await;
        client.expect("3,2,1").await;
    });
}

#[test]
fn json_is_received_and_sent_as_a_given_type() {
    Sim::check(0..10, |sim| async move {
        let handler = async |mut session: Session| -> Result<(), BoxError> {
            loop {
                let value = session.recv_json::<Value>().await?;
                session.send_json::<Value>(&json!({ "you": value })).await?;
            }
        };
        let mut client = sim.app(at_root(websocket(handler))).open("/").await;
        client.send("[1,null]").await;
        client.expect(r#"{"you":[1,null]}"#).await;
    });
}

#[test]
fn a_value_that_cannot_be_encoded_or_decoded_leaves_the_session_open() {
    Sim::check(0..10, |sim| async move {
        let handler = async |mut session: Session| -> Result<(), BoxError> {
            let sent = session.send_as(&Commas, &Vec::new()).await;
            assert!(matches!(sent, Err(EncodeError::Invalid(_))), "{sent:?}");
            match session.recv_as::<Vec<u32>>(&Commas).await {
                Err(DecodeError::Invalid { message, .. }) => session.send(message).await?,
                other => panic!("{other:?}"),
            }
            Ok(echo(session).await?)
        };
        let mut client = sim.app(at_root(websocket(handler))).open("/").await;
        client.send("not numbers").await;
        client.expect("not numbers").await;
        client.send("still open").await;
        client.expect("still open").await;
    });
}

#[test]
fn receiving_a_value_after_the_end_returns_the_end() {
    Sim::check(0..10, |sim| async move {
        let (route, received) =
            observed(async |mut session: Session| session.recv_json::<Value>().await);
        let client = sim.app(at_root(route)).open("/").await;
        client.close(CloseCode::NORMAL);
        match received.recv().await.unwrap() {
            Err(DecodeError::Closed(closed)) => {
                assert_eq!(closed.received(), Some(&CloseCode::NORMAL.into()));
            }
            other => panic!("{other:?}"),
        }
    });
}

/// Numbers with commas between them. An empty list has no such form.
struct Commas;

impl Encode<Vec<u32>> for Commas {
    fn encode(&self, value: &Vec<u32>) -> Result<Message, BoxError> {
        if value.is_empty() {
            return Err("the list is empty".into());
        }
        Ok(value.iter().map(u32::to_string).collect::<Vec<_>>().join(",").into())
    }
}

impl Decode<Vec<u32>> for Commas {
    fn decode(&self, message: &Message) -> Result<Vec<u32>, BoxError> {
        let text = message.as_text().ok_or("a list of numbers is text")?;
        Ok(text.split(',').map(str::parse).collect::<Result<_, _>>()?)
    }
}
