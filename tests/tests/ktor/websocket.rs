//! `WebSocketTest`: a session, its frames and its limits.

use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};
use sockless_core::{
    Cause, Chunk, CloseCode, Closed, Config, Frame, Message, Opcode, ProtocolError,
};
use sockless_driver::{BoxError, Decode, DecodeError, Encode, EncodeError, Request, Session};
use sockless_routing::{Router, websocket, websocket_raw};
use sockless_sim::Sim;

use crate::support::{Told, at_root, close, echo, echo_frames, numbered};

#[test]
fn single_echo() {
    Sim::check(0..20, |sim| async move {
        let mut client = sim.app(at_root(websocket(echo))).open("/").await;
        client.send("hello").await;
        client.expect("hello").await;
    });
}

#[test]
fn json_converter() {
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
fn json_converter_with_explicit_type() {
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

/// There is no session without a converter: the format is an argument. What can fail is the value, and
/// the message; both leave the session open.
#[test]
fn serialization_that_fails() {
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
        client.send("no numbers").await;
        client.expect("no numbers").await;
        client.send("still open").await;
        client.expect("still open").await;
    });
}

#[test]
fn deserialization_on_a_closed_session() {
    Sim::check(0..10, |sim| async move {
        let told = Told::new();
        let teller = told.clone();
        let handler = move |mut session: Session| {
            let teller = teller.clone();
            async move { teller.tell(session.recv_json::<Value>().await) }
        };
        let client = sim.app(at_root(websocket(handler))).open("/").await;
        client.close(CloseCode::NORMAL);
        match told.told().await {
            Err(DecodeError::Closed(closed)) => {
                assert_eq!(closed.received(), Some(&CloseCode::NORMAL.into()));
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn frame_size() {
    Sim::check(0..5, |sim| async move {
        let handler = async |mut session: Session| -> Result<(), Closed> {
            session.send("+".repeat(0xC123)).await?;
            let message = session.recv().await?;
            session.send(message.len().to_string()).await
        };
        let mut client = sim.app(at_root(websocket(handler))).open("/").await;
        assert_eq!(client.recv().await.len(), 0xC123);
        client.send("-".repeat(0xCDEF)).await;
        client.expect(0xCDEF.to_string()).await;
    });
}

#[test]
fn send_close() {
    let empty = Frame::new(Opcode::Close, Bytes::new());
    Sim::check(0..10, |sim| {
        let empty = empty.clone();
        let router = Router::new()
            .route("/raw", websocket_raw(echo_frames))
            .route("/session", websocket(echo));
        async move {
            let app = sim.app(router);
            for path in ["/raw", "/session"] {
                let mut client = app.open(path).raw().await;
                client.send(empty.clone()).await;
                client.expect(empty.clone()).await;
                client.expect_end().await;
            }
        }
    });
}

#[test]
fn parameters() {
    Sim::check(0..10, |sim| async move {
        let handler = async |session: Session| -> Result<(), BoxError> {
            let p: u32 = session.request().param("p")?;
            Ok(session.send(format!("p is {p}")).await?)
        };
        let app = sim.app(Router::new().route("/{p}", websocket(handler)));
        app.open("/123").await.expect("p is 123").await;
    });
}

#[test]
fn big_frame() {
    const LEN: usize = 20 << 20;
    Sim::check(0..1, |sim| async move {
        let config = Config::default().max_message_len(LEN as u64);
        let app = sim.app(at_root(websocket(echo).config(config.clone())));
        let mut client = app.open("/").config(config).await;
        let payload: Vec<u8> = (0..LEN).map(|index| (index % 251) as u8).collect();
        client.send(payload.clone()).await;
        assert!(client.recv().await.as_bytes() == payload, "it has changed on its way");
        client.close(CloseCode::NORMAL);
        client.expect_closed(1000).await;
    });
}

#[test]
fn fragmentation() {
    Sim::check(0..20, |sim| async move {
        let mut client = sim.app(at_root(websocket(echo))).open("/").await;
        client.send_chunk(Chunk { data: "ABC".into(), last: false }).await;
        client.ping("between");
        client.send_chunk(Chunk { data: "12".into(), last: false }).await;
        client.send_chunk(Chunk { data: "3".into(), last: true }).await;
        client.expect("ABC123").await;
        assert_eq!(client.recv_pong().await, "between");
    });
}

#[test]
fn max_size() {
    too_big(1023, &[1024], |error| {
        matches!(error, ProtocolError::MessageTooLong { len: 1024, .. })
    });
}

#[test]
fn fragmentation_max_size() {
    too_big(1025, &[1024; 4], |error| {
        matches!(error, ProtocolError::MessageTooLong { len: 2048, .. })
    });
}

#[test]
fn fragmentation_max_size_bound() {
    too_big(1025, &[1024; 2], |error| {
        matches!(error, ProtocolError::MessageTooLong { len: 2048, .. })
    });
}

/// Fragments of these lengths are told to be too long as soon as their headers say so: with 1009 on the
/// wire, and with the limit in what the handler receives.
fn too_big(limit: u64, fragments: &'static [usize], expected: fn(&ProtocolError) -> bool) {
    Sim::check(0..10, |sim| async move {
        let told = Told::new();
        let teller = told.clone();
        let handler = move |mut session: Session| {
            let teller = teller.clone();
            async move { teller.tell(session.recv().await) }
        };
        let config = Config::default().max_message_len(limit);
        let mut client = sim.app(at_root(websocket(handler).config(config))).open("/").await;
        for (index, len) in fragments.iter().enumerate() {
            let last = index == fragments.len() - 1;
            client.send_chunk(Chunk { data: vec![0; *len].into(), last }).await;
        }
        let closed = client.expect_closed(1009).await;
        assert!(closed.received().unwrap().text().contains("max_message_len"), "{closed}");
        let end = told.told().await.expect_err("it was received");
        assert!(matches!(end.cause(), Cause::Protocol(error) if expected(error)), "{end}");
    });
}

#[test]
fn conversation() {
    Sim::check(0..20, |sim| async move {
        let told = Told::new();
        let teller = told.clone();
        let handler = move |mut session: Session| {
            let teller = teller.clone();
            async move {
                let mut received = Vec::new();
                while let Ok(message) = session.recv().await {
                    let _ = session.send(message.clone()).await;
                    received.push(message);
                }
                teller.tell(received);
            }
        };
        let mut client = sim.app(at_root(websocket(handler))).open("/").await;
        for number in 0..10 {
            client.send(numbered(number)).await;
            client.expect(numbered(number)).await;
        }
        client.close(CloseCode::NORMAL);
        client.expect_closed(1000).await;
        assert_eq!(told.told().await, (0..10).map(numbered).collect::<Vec<_>>());
    });
}

/// What wraps a call on its way to the handler is a guard, and what it wants to hand on is in the call.
#[test]
fn conversation_with_interceptors() {
    #[derive(Clone)]
    struct User(String);

    async fn name(mut request: Request) -> Result<Request, Response<Bytes>> {
        let name = request.query_param("name").unwrap_or_default().into_owned();
        request.insert(User(name));
        Ok(request)
    }

    Sim::check(0..10, |sim| async move {
        let handler = async |mut session: Session| -> Result<(), Closed> {
            while let Ok(message) = session.recv().await {
                let User(name) = session.request().get().expect("the guard has run");
                let reply = format!("{name}: {}", message.as_text().unwrap_or_default());
                session.send(reply).await?;
            }
            Ok(())
        };
        let app = sim.app(at_root(websocket(handler)).guard(name));
        let mut client = app.open("/?name=Ada").await;
        client.send("hi").await;
        client.expect("Ada: hi").await;
    });
}

#[test]
fn flush_closed() {
    Sim::check(0..20, |sim| async move {
        let told = Told::new();
        let teller = told.clone();
        let handler = move |session: Session| {
            let teller = teller.clone();
            async move {
                session.close(CloseCode::NORMAL);
                teller.tell(session.flush().await);
            }
        };
        let mut client = sim.app(at_root(websocket(handler))).open("/").raw().await;
        client.expect(close(1000, "")).await;
        client.send(close(1000, "")).await;
        client.expect_end().await;
        assert_eq!(told.told().await, Ok(()));
    });
}

#[test]
fn builder_returns_a_route() {
    let routes = [websocket(echo), websocket_raw(echo_frames)];
    let [messages, frames] = routes.map(|route| route.protocol("v1"));
    let router = Router::new().route("/messages", messages).route("/frames", frames);
    let listed: Vec<_> = router.routes().map(|route| (route.path(), route.protocols())).collect();
    assert_eq!(listed, [("/messages", &["v1".to_owned()][..]), ("/frames", &["v1".to_owned()])]);
}

/// Numbers with commas between them; no numbers cannot be said.
struct Commas;

impl Encode<Vec<u32>> for Commas {
    fn encode(&self, value: &Vec<u32>) -> Result<Message, BoxError> {
        if value.is_empty() {
            return Err("there are no numbers".into());
        }
        Ok(value.iter().map(u32::to_string).collect::<Vec<_>>().join(",").into())
    }
}

impl Decode<Vec<u32>> for Commas {
    fn decode(&self, message: &Message) -> Result<Vec<u32>, BoxError> {
        let text = message.as_text().ok_or("numbers are text")?;
        Ok(text.split(',').map(str::parse).collect::<Result<_, _>>()?)
    }
}
