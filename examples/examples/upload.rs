//! Uploads longer than memory: a message is written and read in chunks, with backpressure from disk to disk.
//!
//! `cargo run -p sockless-examples --example upload -- FILE` serves on `ws://127.0.0.1:8080/`, and uploads FILE to itself.

use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sockless::{BoxError, Config, Router, Session, websocket};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let file = std::env::args().nth(1).ok_or("usage: upload FILE")?;
    let server = sockless::bind("127.0.0.1:8080").await?;
    tokio::spawn(server.serve(router(std::env::temp_dir())));
    let session = sockless::connect("ws://127.0.0.1:8080/").await?;
    println!("{} bytes were stored", upload(session, Path::new(&file)).await?);
    Ok(())
}

/// Stores uploads in `directory`. A message in chunks may be as long as `max_streamed_len`, however short `max_message_len` is.
fn router(directory: PathBuf) -> Router {
    let config = Config::default().max_message_len(1024).max_streamed_len(4 << 30);
    let count = AtomicU64::new(0);
    let store = move |session| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        store(session, directory.join(format!("upload-{number}")))
    };
    Router::new().websockets(config).route("/", websocket(store))
}

/// Writes one message to a file, and answers with its length.
async fn store(mut session: Session, path: PathBuf) -> Result<(), BoxError> {
    let mut file = std::fs::File::create(path)?;
    let (mut message, mut len) = (session.reader().await?, 0);
    while let Some(chunk) = message.chunk().await? {
        len += chunk.len();
        // Meanwhile nothing more is read than `Config::read_ahead`, and the sender waits.
        file = in_background(move || file.write_all(chunk.as_bytes()).map(|()| file)).await?;
    }
    drop(message);
    session.send(len.to_string()).await?;
    Ok(())
}

/// Sends a file as one message. Returns the server's answer.
async fn upload(mut session: Session, path: &Path) -> Result<String, BoxError> {
    let mut file = std::fs::File::open(path)?;
    let mut message = session.writer().await?;
    loop {
        let (back, block) = in_background(move || {
            let mut block = vec![0; 64 << 10];
            let len = file.read(&mut block)?;
            block.truncate(len);
            Ok((file, block))
        })
        .await?;
        file = back;
        if block.is_empty() {
            message.finish(block).await?;
            break;
        }
        message.write(block).await?;
    }
    let answer = session.recv().await?.into_text();
    Ok(answer.map_err(|_| "the answer is not text")?.into())
}

/// Runs what waits for a disk on a thread that may wait.
async fn in_background<T: Send + 'static>(
    run: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(run).await.map_err(|_| io::Error::from(ErrorKind::Interrupted))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_arrives_as_it_is() {
        let directory =
            std::env::temp_dir().join(format!("sockless-upload-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let original: Vec<u8> =
            (0..3_000_000_u32).map(|number| (number.wrapping_mul(7919) >> 5) as u8).collect();
        std::fs::write(directory.join("original"), &original).unwrap();
        let server = sockless::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/", server.local_addr().unwrap());
        tokio::spawn(server.serve(router(directory.clone())));

        let session = sockless::connect(&url).await.unwrap();
        let answer = upload(session, &directory.join("original")).await.unwrap();
        assert_eq!(answer, "3000000");
        assert!(std::fs::read(directory.join("upload-0")).unwrap() == original);
        std::fs::remove_dir_all(directory).unwrap();
    }
}
