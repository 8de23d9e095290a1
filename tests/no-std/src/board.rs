//! The server of a board: a page, and a WebSocket that the page opens.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::BytesMut;
use sockless_core::handshake::{RequestHead, ResponseHead, ServerHandshake, UpgradeRequest};
use sockless_core::{
    CloseCode, Config, Connection, Event, Instant, Lifecycle, Message, Negotiated, Output, Seed,
};

const PAGE: &str =
    "<script>const socket = new WebSocket(`ws://${location.host}/ws`, 'telemetry')</script>";

/// The request with which Chromium loads a page.
const LOAD: &str = "GET / HTTP/1.1\r\n\
    Host: board.local\r\n\
    Connection: keep-alive\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8\r\n\
    Accept-Encoding: gzip, deflate\r\n\
    Accept-Language: en-US,en;q=0.9\r\n\r\n";

/// The request of Chromium for the page's WebSocket.
const OPEN: &str = "GET /ws HTTP/1.1\r\n\
    Host: board.local\r\n\
    Connection: Upgrade\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36\r\n\
    Upgrade: websocket\r\n\
    Origin: http://board.local\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate\r\n\
    Accept-Language: en-US,en;q=0.9\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
    Sec-WebSocket-Protocol: telemetry\r\n\r\n";

/// One transport of the board, such as a TCP connection of its network stack.
pub struct Board {
    config: Arc<Config>,
    inbound: BytesMut,
    state: State,
}

enum State {
    Opening(ServerHandshake),
    Open(Connection),
    Done,
}

impl Board {
    pub fn new(now: Instant) -> Self {
        let config = Config::default().max_message_len(4096).max_head_len(2048);
        #[cfg(feature = "deflate")]
        let config = config.extension(sockless_core::Deflate::default().server_max_window_bits(9));
        let config = Arc::new(config);
        let state = State::Opening(ServerHandshake::new(config.clone(), now));
        Self { config, inbound: BytesMut::new(), state }
    }

    /// Takes the bytes that have arrived, and returns those to send.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) -> Vec<u8> {
        self.inbound.extend_from_slice(bytes);
        let mut out = Vec::new();
        if let State::Opening(_) = self.state {
            self.open(&mut out, now);
        }
        self.turn(&mut out, now);
        out
    }

    /// Runs a turn of the connection, if it is open. All that it writes fits.
    fn turn(&mut self, out: &mut Vec<u8>, now: Instant) {
        let State::Open(connection) = &mut self.state else { return };
        loop {
            match connection.poll_output(&mut self.inbound, now) {
                Output::Event(Event::Message(Message::Text(text))) => {
                    // An error means that the connection is closing.
                    let _ = connection.send(alloc::format!("led {text}"), now);
                }
                Output::Event(_) | Output::ShutdownWrite => {}
                Output::Write(mut outbound) => {
                    out.extend_from_slice(outbound.chunk());
                    outbound.advance(outbound.chunk().len());
                }
                Output::Wait(_) | Output::Close => return,
            }
        }
    }

    pub fn is_closed(&self) -> bool {
        match &self.state {
            State::Opening(_) => false,
            State::Open(connection) => connection.state() == Lifecycle::Closed,
            State::Done => true,
        }
    }

    fn open(&mut self, out: &mut Vec<u8>, now: Instant) {
        let State::Opening(mut handshake) = core::mem::replace(&mut self.state, State::Done) else {
            return;
        };
        match handshake.poll_head(&mut self.inbound) {
            None => self.state = State::Opening(handshake),
            Some(Err(error)) => out.extend(error.encoded_response().unwrap_or_default()),
            Some(Ok(head)) => match answer(&head, &self.config) {
                Ok((answer, negotiated)) => {
                    let config = self.config.clone();
                    let connection = handshake.accept_head(&answer, negotiated, config, now);
                    self.state = State::Open(connection);
                }
                Err(answer) => out.extend(answer),
            },
        }
    }
}

/// The answer to a request: a 101, or the bytes of another.
fn answer(head: &RequestHead, config: &Config) -> Result<(ResponseHead, Negotiated), bytes::Bytes> {
    match head.target() {
        "/" => {
            let mut page = ResponseHead::new(200);
            // These are valid.
            let _ = page.push_header("Content-Type", "text/html");
            Err(page.encode(PAGE.as_bytes()))
        }
        "/ws" => {
            let upgrade = UpgradeRequest::from_head(head);
            let mut upgrade = upgrade.map_err(|error| error.encoded_response())?;
            upgrade.select(&["telemetry"]);
            upgrade.select_extensions(config.get_extensions());
            Ok(upgrade.accept_head())
        }
        _ => Err(ResponseHead::new(404).encode(b"")),
    }
}

pub fn a_browser_loads_the_page() -> Option<()> {
    let mut board = Board::new(Instant::EPOCH);
    let answer = board.receive(LOAD.as_bytes(), Instant::EPOCH);
    let is_page = answer.starts_with(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n")
        && answer.ends_with(PAGE.as_bytes());
    (is_page && board.is_closed()).then_some(())
}

pub fn a_browser_opens_the_websocket() -> Option<()> {
    let now = Instant::EPOCH;
    let mut board = Board::new(now);
    // As a serial line would deliver it.
    let (last, head) = OPEN.as_bytes().split_last()?;
    for byte in head {
        board.receive(&[*byte], now).is_empty().then_some(())?;
    }
    let answer = board.receive(&[*last], now);
    let answer = core::str::from_utf8(&answer).ok()?;
    let is_open = answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n")
        && answer.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n")
        && answer.contains("\r\nSec-WebSocket-Protocol: telemetry\r\n")
        && answer.contains("permessage-deflate") == cfg!(feature = "deflate")
        && answer.ends_with("\r\n\r\n");
    is_open.then_some(())?;

    // The browser's end of the connection, which has agreed on what the board's answer says.
    let mut browser =
        Connection::client(negotiated(answer)?, Seed::new([7; 32]), board.config.clone(), now);
    for text in ["on", "off and on again, and again, and again, and again, and again, and again"] {
        browser.send(text, now).ok()?;
        let mut answer = BytesMut::from(&board.receive(&crate::talk::wire(&mut browser), now)[..]);
        let event = browser.poll_event(&mut answer, now)?;
        (event == Event::Message(Message::from(alloc::format!("led {text}")))).then_some(())?;
    }
    browser.close(CloseCode::NORMAL, now);
    let mut answer = BytesMut::from(&board.receive(&crate::talk::wire(&mut browser), now)[..]);
    let Event::Closed(closed) = browser.poll_event(&mut answer, now)? else { return None };
    (closed.is_clean() && board.is_closed()).then_some(())
}

/// The agreement of a client on the answer of the board.
#[cfg(feature = "deflate")]
fn negotiated(answer: &str) -> Option<Negotiated> {
    use sockless_core::extension::{Agreed, Extension, Params};

    let line = answer.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "))?;
    let params = Params::parse_list([line.as_bytes()])?.pop()?;
    let deflate = sockless_core::Deflate::default();
    let codec = deflate.confirm(&params)?;
    let mut negotiated = Negotiated::default();
    negotiated.extensions.push(Agreed::new(&deflate, params, codec));
    Some(negotiated)
}

#[cfg(not(feature = "deflate"))]
fn negotiated(_: &str) -> Option<Negotiated> {
    Some(Negotiated::default())
}

pub fn other_requests_are_answered() -> Option<()> {
    for (request, status) in [
        ("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", "404 Not Found"),
        ("GET /ws HTTP/1.1\r\nHost: a\r\n\r\n", "426 Upgrade Required"),
        ("POST /ws HTTP/1.1\r\nHost: a\r\n\r\n", "405 Method Not Allowed"),
        ("GET /ws HTTP/1.1\r\n\r\n", "400 Bad Request"),
        ("PRI * HTTP/2.0\r\n\r\n", "505 HTTP Version Not Supported"),
        ("\x16\x03\x01", "400 Bad Request"),
    ] {
        let mut board = Board::new(Instant::EPOCH);
        let answer = board.receive(request.as_bytes(), Instant::EPOCH);
        let answer = core::str::from_utf8(&answer).ok()?;
        let status = alloc::format!("HTTP/1.1 {status}\r\n");
        (answer.starts_with(&status) && board.is_closed()).then_some(())?;
    }
    Some(())
}
