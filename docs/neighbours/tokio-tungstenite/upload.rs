//! An upload from disk to disk by tokio-tungstenite: many messages of 64 KiB, and a text at the end, since a message is held
//! whole by both ends.

use std::path::{Path, PathBuf};

use futures_util::{SinkExt, StreamExt};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{accept_async, connect_async};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let file = std::env::args().nth(1).expect("usage: upload FILE");
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    tokio::spawn(listen(listener, std::env::temp_dir()));
    println!("{} bytes were stored", upload("ws://127.0.0.1:8080/", Path::new(&file)).await?);
    Ok(())
}

async fn listen(listener: TcpListener, directory: PathBuf) {
    let mut count = 0;
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(store(stream, directory.join(format!("upload-{count}"))));
        count += 1;
    }
}

async fn store(stream: TcpStream, path: PathBuf) -> Result<(), Error> {
    let mut socket = accept_async(stream).await?;
    let (mut file, mut len) = (File::create(path).await?, 0);
    while let Some(message) = socket.next().await {
        match message? {
            Message::Binary(block) => {
                len += block.len();
                file.write_all(&block).await?;
            }
            Message::Text(_) => {
                file.flush().await?;
                socket.send(Message::text(len.to_string())).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

async fn upload(url: &str, path: &Path) -> Result<String, Error> {
    let (mut socket, _) = connect_async(url).await?;
    let mut file = File::open(path).await?;
    loop {
        let mut block = vec![0; 64 << 10];
        let len = file.read(&mut block).await?;
        if len == 0 {
            break;
        }
        block.truncate(len);
        socket.send(Message::binary(block)).await?;
    }
    socket.send(Message::text("end")).await?;
    while let Some(message) = socket.next().await {
        if let Message::Text(text) = message? {
            return Ok(text.to_string());
        }
    }
    Err(Error::ConnectionClosed)
}
