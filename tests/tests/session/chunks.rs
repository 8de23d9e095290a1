//! Messages too long to hold, which a session puts together again all the same.

use sockless_core::{Cause, Config, Message, ProtocolError};
use sockless_tests::wire::{BINARY_BEGINS, TEXT_BEGINS};

use sockless_tests::opened::{any_link, on_both_sides, open, open_over, receive_all};

#[test]
fn recv_joins_the_chunks_of_a_message() {
    on_both_sides(20, |sim, role| async move {
        let config = Config::default().recv_chunk_len(100).read_ahead(500);
        let link = any_link(&sim);
        let tested = open_over(&sim, role, &link, config, async |mut session| {
            receive_all(&mut session).await.0
        })
        .await;
        let text = "äöü€🦀".repeat(400);
        let binary: Vec<u8> = (0..=255).cycle().take(5_000).collect();
        let cut = text.floor_char_boundary(1_003);
        tested.peer.text(&text).await;
        tested.peer.send(tested.peer.write.binary(&binary)).await;
        tested.peer.text("short").await;
        let parts = [&text.as_bytes()[..cut], &[], &text.as_bytes()[cut..]];
        tested.peer.send(tested.peer.write.fragments(TEXT_BEGINS, &parts)).await;
        let parts: Vec<_> = binary.chunks(77).collect();
        tested.peer.send(tested.peer.write.fragments(BINARY_BEGINS, &parts)).await;
        assert_eq!(tested.peer.close_and_drain(1000).await, []);
        tested.peer.io.shutdown().await.unwrap();
        let (text, binary) = (Message::from(text), Message::from(binary));
        let expected = [text.clone(), binary.clone(), Message::from("short"), text, binary];
        assert_eq!(tested.output.await.expect("it returned"), expected);
    });
}

#[test]
fn chunks_keep_to_the_limit_of_the_whole() {
    on_both_sides(10, |sim, role| async move {
        let config = Config::default().recv_chunk_len(100).max_message_len(1_000);
        let tested =
            open(&sim, role, config, async |mut session| receive_all(&mut session).await).await;
        tested.peer.send(tested.peer.write.frame(BINARY_BEGINS, [7; 900])).await;
        tested.peer.send(tested.peer.write.frame(0x80, [7; 101])).await;
        tested.peer.expect_close(1009).await;
        tested.peer.io.shutdown().await.unwrap();
        let (messages, closed) = tested.output.await.expect("it returned");
        assert_eq!(messages, [""; 0], "half a message is none");
        let too_long = ProtocolError::MessageTooLong { len: 1_001, max: 1_000 };
        assert_eq!(closed.cause(), &Cause::Protocol(too_long));
    });
}

#[test]
fn a_reader_gives_a_message_as_it_arrives_and_a_writer_sends_one_so() {
    on_both_sides(20, |sim, role| async move {
        let link = any_link(&sim);
        let tested = open_over(&sim, role, &link, Config::default(), async |mut session| {
            let mut reader = session.reader().await?;
            assert!(!reader.is_text());
            let mut received = 0;
            while let Some(chunk) = reader.chunk().await? {
                received += chunk.len();
            }
            drop(reader);
            let after = session.recv().await?;
            let mut writer = session.writer().await?;
            for part in ["in ", "three "] {
                writer.write(part).await.unwrap();
            }
            writer.finish("parts").await.unwrap();
            session.send("whole").await?;
            Ok::<_, sockless_core::Closed>((received, after))
        })
        .await;
        let parts = vec![[7; 10_000]; 10];
        let parts: Vec<&[u8]> = parts.iter().map(|part| &part[..]).collect();
        tested.peer.send(tested.peer.write.fragments(BINARY_BEGINS, &parts)).await;
        tested.peer.text("after").await;
        let frames = [(TEXT_BEGINS, "in "), (0x00, "three "), (0x80, "parts"), (0x81, "whole")];
        for (first, text) in frames {
            let frame = tested.peer.frame().await;
            assert_eq!((frame.first, &frame.payload[..]), (first, text.as_bytes()));
        }
        tested.peer.expect_close(1000).await;
        tested.peer.close(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        let received = tested.output.await.expect("it returned");
        assert_eq!(received, Ok((100_000, Message::from("after"))));
    });
}

#[test]
fn the_rest_of_a_message_whose_reader_was_dropped_is_dropped() {
    on_both_sides(20, |sim, role| async move {
        let link = any_link(&sim);
        let tested = open_over(&sim, role, &link, Config::default(), async |mut session| {
            session.reader().await?.chunk().await?;
            let mut reader = session.reader().await?;
            let mut second = Vec::new();
            while let Some(chunk) = reader.chunk().await? {
                second.extend_from_slice(chunk.as_bytes());
            }
            drop(reader);
            session.reader().await?.chunk().await?;
            let fourth = session.recv().await?;
            Ok::<_, sockless_core::Closed>((second, fourth))
        })
        .await;
        for begins in [BINARY_BEGINS, TEXT_BEGINS] {
            tested.peer.send(tested.peer.write.frame(begins, [b'1'; 20_000])).await;
            tested.peer.send(tested.peer.write.frame(0x00, [b'2'; 20_000])).await;
            tested.peer.send(tested.peer.write.frame(0x80, [b'3'; 20_000])).await;
            tested.peer.text("next").await;
        }
        tested.peer.expect_close(1000).await;
        tested.peer.close(1000).await;
        tested.peer.io.shutdown().await.unwrap();
        let received = tested.output.await.expect("it returned");
        assert_eq!(received, Ok((b"next".to_vec(), Message::from("next"))));
    });
}

#[test]
fn a_writer_dropped_in_the_middle_closes_with_1011() {
    on_both_sides(10, |sim, role| async move {
        let tested = open(&sim, role, Config::default(), async |mut session| {
            let mut writer = session.writer().await.unwrap();
            writer.write("half a mess").await.unwrap();
            drop(writer);
            receive_all(&mut session).await.1
        })
        .await;
        assert_eq!(tested.peer.frame().await.first, TEXT_BEGINS);
        tested.peer.expect_close(1011).await;
        tested.peer.close(1011).await;
        tested.peer.io.shutdown().await.unwrap();
        assert!(tested.output.await.expect("it returned").is_clean());
    });
}
