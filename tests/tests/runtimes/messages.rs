//! Messages in both directions, from one task and from many.

use sockless_core::{CloseCode, Closed, Message};
use sockless_driver::{Receiver, Sender, Session};
use sockless_routing::websocket;

use crate::on::{Runtime, World, spawn};
use crate::serving::{Serving, exchange};
use sockless_tests::handlers::{codes, echo, observed};

/// Both kinds, at the lengths where a header grows, and one that takes many reads.
fn samples() -> Vec<Message> {
    let lens = [0, 1, 125, 126, 0xFFFF, 0x1_0000, 1 << 20];
    let text = lens.map(|len| Message::from("\u{1F600}".repeat(len / 4)));
    let binary = lens.map(|len| Message::from((0..len).map(|i| i as u8).collect::<Vec<_>>()));
    text.into_iter().chain(binary).collect()
}

pub(crate) async fn the_server_echoes<R: World>() {
    let server = Serving::<R>::one(websocket(echo)).await;
    let block = async |mut session: Session| {
        for message in samples() {
            exchange(&mut session, message).await;
        }
    };
    R::connect(&server.url()).run(block).await.expect("the server answers");
}

pub(crate) async fn the_client_echoes<R: World>() {
    let (route, ended) = observed(async |mut session: Session| {
        for message in samples() {
            exchange(&mut session, message).await;
        }
    });
    let server = Serving::<R>::one(route).await;
    let echoed = R::connect(&server.url()).run(echo).await.expect("the server answers");
    assert_eq!(codes(&echoed.unwrap_err()), (Some(1000), Some(1000)));
    ended.recv().await.expect("every message came back");
}

pub(crate) async fn a_hundred_clients_at_once<R: World>() {
    let server = Serving::<R>::one(websocket(echo)).await;
    let client = |number: usize| {
        let connect = R::connect(&server.url());
        spawn::<R, _>(async move {
            let mut session = connect.await.expect("the server answers");
            for round in 0..10 {
                exchange(&mut session, format!("client {number}, round {round}")).await;
            }
            session.close(CloseCode::NORMAL);
            session.closed().await
        })
    };
    let clients: Vec<_> = (0..100).map(client).collect();
    for client in clients {
        assert_eq!(codes(&client.await), (Some(1000), Some(1000)));
    }
}

pub(crate) async fn a_message_from_a_thread_leaves_while_the_handler_waits<R: Runtime>() {
    let route = websocket(|session: Session| async move {
        let sender = session.sender();
        std::thread::spawn(move || sender.try_send("from a thread").expect("there is room"));
        session.closed().await;
    });
    let server = Serving::<R>::one(route).await;
    let mut session = server.connect().await;
    assert_eq!(session.recv().await.expect("it is sent").as_text(), Some("from a thread"));
}

pub(crate) async fn many_tasks_and_threads_send_to_one_peer<R: Runtime>() {
    const SENDERS: usize = 8;
    const MESSAGES: usize = 500;
    let (route, received) = observed(|session| count_by_sender(session, SENDERS));
    let server = Serving::<R>::one(route).await;
    let session = server.connect().await;
    let send_all = |number: usize| {
        let sender = session.sender();
        async move {
            for message in 0..MESSAGES {
                let message = format!("{number} {message}");
                sender.send(message).await.expect("the session is open");
            }
        }
    };
    let tasks: Vec<_> = (0..SENDERS / 2).map(|number| spawn::<R, _>(send_all(number))).collect();
    // These threads do not belong to the runtime.
    let threads: Vec<_> = (SENDERS / 2..SENDERS)
        .map(send_all)
        .map(|sending| std::thread::spawn(|| smol::future::block_on(sending)))
        .collect();
    for task in tasks {
        task.await;
    }
    for thread in threads {
        thread.join().expect("no sender panics");
    }
    drop(session);
    let counts = received.recv().await.expect("the handler ends");
    assert_eq!(counts, [MESSAGES; SENDERS]);
}

/// The number of messages from each sender; those of one sender arrive in order.
async fn count_by_sender(mut session: Session, senders: usize) -> Vec<usize> {
    let mut counts = vec![0; senders];
    while let Ok(message) = session.recv().await {
        let (sender, number) = message.as_text().unwrap().split_once(' ').unwrap();
        let count = &mut counts[sender.parse::<usize>().unwrap()];
        assert_eq!(number.parse(), Ok(*count));
        *count += 1;
    }
    counts
}

/// Both peers send more than all buffers between them hold, and neither stops reading for it.
pub(crate) async fn halves_on_two_tasks_do_not_wait_for_each_other<R: World>() {
    let (route, ended) = observed(saturate::<R>);
    let server = Serving::<R>::one(route).await;
    saturate::<R>(server.connect().await).await;
    ended.recv().await.expect("the handler ends");
}

/// Sends as much as it receives, on a task for each.
pub(crate) async fn saturate<R: World>(session: Session) {
    let (sender, receiver) = session.split();
    let sending = spawn::<R, _>(send_blocks(sender));
    let receiving = spawn::<R, _>(receive_blocks(receiver));
    let sender = sending.await.expect("the session is open");
    receiving.await.expect("the session is open");
    sender.flush().await.expect("the session is open");
}

/// 16 MiB in all.
const BLOCKS: usize = 256;
const BLOCK_LEN: usize = 64 << 10;

async fn send_blocks(sender: Sender) -> Result<Sender, Closed> {
    for number in 0..BLOCKS {
        sender.send(vec![number as u8; BLOCK_LEN]).await?;
    }
    Ok(sender)
}

async fn receive_blocks(mut receiver: Receiver) -> Result<(), Closed> {
    for number in 0..BLOCKS {
        let block = receiver.recv().await?;
        assert_eq!(block, Message::from(vec![number as u8; BLOCK_LEN]));
    }
    Ok(())
}
