//! TLS over any transport, by [rustls]: [`TlsConnector`] for clients, [`TlsAcceptor`] for servers.

mod acceptor;
mod connector;
mod error;
mod stream;

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::ProducesTickets;

pub use acceptor::TlsAcceptor;
pub use connector::TlsConnector;
pub use error::TlsError;
#[doc(no_inline)]
pub use rustls;
pub use stream::MEMORY_CEILING;

/// Returns the cryptography provider that a feature selects, or else the one that the program has
/// installed.
///
/// It is always passed to rustls explicitly: rustls would panic if the features of other crates
/// enabled two providers and the program has installed neither.
fn provider() -> Result<Arc<CryptoProvider>, TlsError> {
    #[cfg(feature = "aws-lc-rs")]
    return Ok(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    #[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
    return Ok(Arc::new(rustls::crypto::ring::default_provider()));
    #[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
    CryptoProvider::get_default().cloned().ok_or(TlsError::ProviderMissing)
}

/// Returns what encrypts the session tickets of a server, with keys that are replaced every 6 hours;
/// `None` with a provider of the program's own, for which rustls keeps the last 256 sessions instead.
fn ticketer() -> Result<Option<Arc<dyn ProducesTickets>>, TlsError> {
    #[cfg(feature = "aws-lc-rs")]
    return rustls::crypto::aws_lc_rs::Ticketer::new().map(Some).map_err(TlsError::Config);
    #[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
    return rustls::crypto::ring::Ticketer::new().map(Some).map_err(TlsError::Config);
    #[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
    Ok(None)
}

/// Reads a file of PEM.
fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::File { path: path.to_owned(), error })
}

/// Converts protocols for ALPN (RFC 7301 §3.1), in order of preference.
fn protocol_list<P: AsRef<[u8]>>(protocols: impl IntoIterator<Item = P>) -> Vec<Vec<u8>> {
    protocols.into_iter().map(|protocol| protocol.as_ref().to_vec()).collect()
}

/// The protocol that is offered by default: that with which a WebSocket begins. A server of another
/// protocol with the same certificate then rejects the connection.
const HTTP_1_1: &str = "http/1.1";

// Runs with `cargo test -p sockless-driver --features webpki-roots`.
#[cfg(all(test, feature = "webpki-roots", not(any(feature = "ring", feature = "aws-lc-rs"))))]
mod tests {
    use super::*;

    #[test]
    fn the_error_without_a_cryptography_provider_names_the_features() {
        let error = TlsConnector::webpki_roots().unwrap_err();
        assert!(matches!(error, TlsError::ProviderMissing));
        assert!(error.to_string().contains("the feature `ring` or `aws-lc-rs`"), "{error}");
    }
}
