//! A message much longer than memory: sent and received in chunks over TCP on this machine, with both ends
//! in this process.

use bytes::Bytes;
use peakmem_alloc::PeakMemAllocTrait;
use sockless_core::Config;
use sockless_driver::Session;
use sockless_routing::{Router, websocket};

use crate::PEAK;

/// The amount that is sent, in MiB: 64, or the value of the environment variable. `2048` is 2 GiB.
const MEBIBYTES: &str = "SOCKLESS_UPLOAD_MIB";

/// The most that both ends, their runtime and the test may hold at once.
const MOST: usize = 16 << 20;

const PART: usize = 64 << 10;

pub(crate) fn an_upload_takes_no_more_memory_than_its_buffers() {
    let mebibytes = std::env::var(MEBIBYTES).map_or(64, |count| count.parse().expect("a number"));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    PEAK.reset_peak_memory();
    let received = runtime.unwrap().block_on(upload(mebibytes << 20));
    assert_eq!(received, mebibytes << 20);
    let peak = PEAK.get_peak_memory();
    println!("{mebibytes} MiB went through with {peak} B held at most");
    assert!(peak < MOST, "{peak} B were held for {mebibytes} MiB");
}

/// Uploads `len` bytes to a server that counts them, and returns its count.
async fn upload(len: u64) -> u64 {
    // More than any test asks for; what is not streamed keeps the usual limit.
    let config = Config::default().max_streamed_len(4 << 30);
    let count = websocket(async |mut session: Session| {
        let mut reader = session.reader().await?;
        let mut received: u64 = 0;
        while let Some(chunk) = reader.chunk().await? {
            let chunk = chunk.as_bytes();
            assert_eq!(chunk.first(), Some(&at(received)), "what arrives is what was sent");
            received += chunk.len() as u64;
        }
        drop(reader);
        session.send(received.to_string()).await
    });
    let router = Router::new().websockets(config).route("/", count);
    let server = sockless_tokio::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let serving = tokio::spawn(server.serve(router));

    let mut session = sockless_tokio::connect(&url).await.unwrap();
    let mut writer = session.writer().await.unwrap();
    let part = Bytes::from_iter((0..PART as u64).map(at));
    for _ in 0..len / PART as u64 {
        writer.write(part.clone()).await.unwrap();
    }
    writer.finish(Bytes::new()).await.unwrap();
    let answer = session.recv().await.unwrap();
    serving.abort();
    answer.as_text().expect("the count is text").parse().expect("the count is a number")
}

/// The byte at an offset, the same in each part.
fn at(offset: u64) -> u8 {
    (offset % 256) as u8
}
