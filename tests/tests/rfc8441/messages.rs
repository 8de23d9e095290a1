//! Messages, both ways, in any number and of any length.

use std::time::Duration;

use bytes::Bytes;
use sockless_core::{Config, Deflate, Message};
use sockless_driver::{RawSession, Session};
use sockless_routing::{websocket, websocket_raw};

use crate::on::{Http, WINDOW};
use crate::serving::Served;
use sockless_tests::handlers::{echo, observed};

pub(crate) async fn a_message_of_every_kind_comes_back<H: Http>() {
    let server = Served::<H>::one(websocket(echo)).await;
    let mut session = server.connect().await;
    for message in [
        Message::from("grüße"),
        Message::from(""),
        Message::from(Bytes::from_static(&[0, 255, 128])),
        Message::from(Bytes::new()),
        Message::from("x".repeat(126)),
    ] {
        session.send(message.clone()).await.unwrap();
        assert_eq!(session.recv().await.unwrap(), message);
    }
}

/// With a window of 64 KiB and a pipe of 16 KiB, neither way gets through without the other end's
/// credit.
pub(crate) async fn a_mebibyte_passes_through_small_windows_both_ways<H: Http>() {
    let server = Served::<H>::one(websocket(echo)).await;
    let mut session = server.connect().await;
    let long: Bytes = (0..1_u32 << 20).map(|i| (i % 251) as u8).collect();
    for _ in 0..2 {
        session.send(long.clone()).await.unwrap();
        assert!(session.recv().await.unwrap() == long);
    }
    // Both ways at once.
    let (sender, mut receiver) = session.split();
    let copy = long.clone();
    let sending = tokio::spawn(async move {
        for _ in 0..3 {
            sender.send(copy.clone()).await.unwrap();
        }
    });
    for _ in 0..3 {
        assert!(receiver.recv().await.unwrap() == long);
    }
    sending.await.unwrap();
}

pub(crate) async fn a_hundred_sessions_at_once<H: Http>() {
    let server = Served::<H>::one(websocket(echo)).await;
    let mut sessions = Vec::new();
    for _ in 0..100 {
        sessions.push(server.connect().await);
    }
    assert_eq!(server.host.connections(), 100);
    for (i, session) in sessions.iter().enumerate() {
        session.send(format!("this is {i}")).await.unwrap();
    }
    for (i, session) in sessions.iter_mut().enumerate().rev() {
        assert_eq!(session.recv().await.unwrap().as_text(), Some(&*format!("this is {i}")));
    }
}

/// The unsent bytes stay near the high-water mark, however much the stack below would copy.
pub(crate) async fn a_peer_that_does_not_read_is_not_sent_more<H: Http>() {
    for len in [1000, 1 << 20] {
        let (route, queued) = observed(move |session| queue_until_stuck(session, len));
        let server = Served::<H>::one(route).await;
        let request = http::Request::get("ws://server.test/");
        // It stops to read once it holds a message.
        let idle = Config::default().read_ahead(1);
        let _session = server.http.open_with(request, idle).await.spawn();
        let queued = queued.recv().await.unwrap();
        let high_water = Config::default().get_high_water();
        let held_by_the_stacks = 2 * WINDOW as usize;
        assert!(queued >= high_water, "{queued} of {len}");
        // The message that the client holds, and the one that went past the mark.
        assert!(queued <= high_water + held_by_the_stacks + 2 * len, "{queued} of {len}");
    }
}

/// Sends until a send waits for so long that it will not return, and returns the number of bytes.
async fn queue_until_stuck(session: Session, len: usize) -> usize {
    let block = Bytes::from(vec![0; len]);
    let mut queued = 0;
    loop {
        // The clock advances only when no task has anything left to do.
        let sending = session.send(block.clone());
        match tokio::time::timeout(Duration::from_secs(1), sending).await {
            Ok(Ok(())) => queued += len,
            Ok(Err(_)) | Err(_) => return queued,
        }
    }
}

pub(crate) async fn extensions_are_agreed_on<H: Http>() {
    let deflating = || Config::default().extension(Deflate::default());
    let server = Served::<H>::one(websocket(echo).config(deflating())).await;
    let asking = || http::Request::get("ws://server.test/");
    for (config, agreed) in [(deflating(), true), (Config::default(), false)] {
        let connected = server.http.open_with(asking(), config).await;
        let named = connected.response().headers().get("sec-websocket-extensions");
        let named = named.map(|value| value.to_str().unwrap().split(';').next().unwrap());
        assert_eq!(named, agreed.then_some("permessage-deflate"));
        let mut session = connected.spawn();
        let long = "again and ".repeat(20_000);
        session.send(long.clone()).await.unwrap();
        assert_eq!(session.recv().await.unwrap().as_text(), Some(&*long));
    }
}

pub(crate) async fn a_raw_session_speaks_in_frames<H: Http>() {
    let echo = async |mut session: RawSession| {
        while let Ok(frame) = session.recv().await {
            if session.send(frame).await.is_err() {
                break;
            }
        }
    };
    let server = Served::<H>::one(websocket_raw(echo)).await;
    let mut session = server.connect().await;
    session.send("frames").await.unwrap();
    assert_eq!(session.recv().await.unwrap().as_text(), Some("frames"));
}
