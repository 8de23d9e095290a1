//! The client: [`Connect`] opens a connection, [`Reconnect`] opens one after the other.

mod body;
mod connect;
mod connection;
#[cfg(feature = "cookies")]
mod cookies;
mod credentials;
mod destination;
mod dial;
mod error;
mod excerpt;
mod eyeballs;
mod handshake;
mod headers;
mod opener;
mod proxy;
mod reach;
mod reading;
mod reconnect;
mod redirect;
mod status;
mod target;
#[cfg(test)]
mod tests;

pub use connect::Connect;
pub use connection::ClientConnection;
#[cfg(feature = "cookies")]
pub use cookies::CookieJar;
pub use destination::Destination;
pub use dial::Dial;
pub use error::{ConnectError, ConnectStep, DialAttempt};
pub use headers::RequestHeaders;
pub use opener::OpenRequest;
pub use proxy::{ParseProxyUrlError, Proxy, ProxyError, ProxyRules};
pub use reconnect::{
    AttemptError, Backoff, Reconnect, ReconnectError, ReconnectState, ReconnectWatch, Retry,
    fail_session,
};
pub use redirect::RedirectError;
pub use target::UrlError;
