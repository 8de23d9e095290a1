//! TLS over any transport, by rustls, which has no socket of its own either: [`TlsConnector`] for
//! clients, [`TlsAcceptor`] for servers.

mod acceptor;
mod connector;
mod error;
mod stream;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use acceptor::TlsAcceptor;
pub use connector::TlsConnector;
pub use error::TlsError;
#[doc(no_inline)]
pub use rustls;

/// The cryptography that was chosen by a feature, or else the one that the program has installed.
///
/// It is always handed to rustls, which would otherwise look for one itself, and panic when the
/// features of some other crate left it two to choose from.
fn provider() -> Result<Arc<CryptoProvider>, TlsError> {
    #[cfg(feature = "aws-lc-rs")]
    return Ok(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    #[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
    return Ok(Arc::new(rustls::crypto::ring::default_provider()));
    #[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
    CryptoProvider::get_default().cloned().ok_or(TlsError::ProviderMissing)
}

/// The list of protocols for ALPN (RFC 7301 §3.1), most wanted first.
fn protocol_list<P: AsRef<[u8]>>(protocols: impl IntoIterator<Item = P>) -> Vec<Vec<u8>> {
    protocols.into_iter().map(|protocol| protocol.as_ref().to_vec()).collect()
}

/// What is asked for unless the program says otherwise: the protocol that a WebSocket begins with, so
/// that a server of something else on the same certificate cannot be mistaken for one (RFC 7301 §1).
const HTTP_1_1: &str = "http/1.1";

/// Only without the features: `cargo test -p sockless-driver --features webpki-roots`.
#[cfg(all(test, feature = "webpki-roots", not(any(feature = "ring", feature = "aws-lc-rs"))))]
mod tests {
    use super::*;

    #[test]
    fn without_cryptography_there_is_an_error_that_says_what_to_do() {
        let error = TlsConnector::webpki_roots().unwrap_err();
        assert!(matches!(error, TlsError::ProviderMissing));
        assert!(error.to_string().contains("the feature `ring` or `aws-lc-rs`"), "{error}");
    }
}
