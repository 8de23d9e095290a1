//! What the oracle `web` runs in a browser: scenarios, each of which talks to a server at a URL and returns an error that states what
//! differs.

mod scenarios;
mod support;

use sockless::web::{Connect, connect};
use wasm_bindgen::prelude::wasm_bindgen;

use support::{Outcome, Target};

/// Runs the scenario `name` against the server at `url`, such as `ws://127.0.0.1:8080`, over a `WebSocketStream` or a `WebSocket`.
///
/// # Errors
///
/// A difference from the expected result.
#[wasm_bindgen]
pub async fn run(name: String, url: String, stream: bool) -> Result<(), String> {
    let target = Target { url, stream };
    match &*name {
        "echo" => scenarios::echo(&target).await,
        "json" => scenarios::json(&target).await,
        "order" => scenarios::order(&target).await,
        "subprotocol" => scenarios::subprotocol(&target).await,
        "refused" => scenarios::refused(&target).await,
        "opening timeout" => scenarios::opening_timeout(&target).await,
        "close by us" => scenarios::close_by_us(&target).await,
        "close by the server" => scenarios::close_by_the_server(&target).await,
        "closing by the server" => scenarios::closing_by_the_server(&target).await,
        "closing timeout" => scenarios::closing_timeout(&target).await,
        "lost" => scenarios::lost(&target).await,
        "dropped" => scenarios::dropped(&target).await,
        "sending waits" => scenarios::sending_waits(&target).await,
        "unread" => scenarios::unread(&target).await,
        "receiving waits" => scenarios::receiving_waits(&target).await,
        "reconnect" => scenarios::reconnect(&target).await,
        "online" => scenarios::online(&target).await,
        _ => Err(format!("there is no scenario '{name}'")),
    }
}

impl Target {
    fn connect(&self, path: &str) -> Connect {
        let connect = connect(&format!("{}{path}", self.url));
        if self.stream { connect.prefer_stream() } else { connect }
    }
}

type Checked = Outcome<()>;
