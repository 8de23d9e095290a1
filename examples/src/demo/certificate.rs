//! The certificate of the demo, and how it is read again.

use std::path::{Path, PathBuf};

use sockless::tls::{TlsAcceptor, TlsError};

use crate::options::{Failure, Options};
use crate::signals::Hangups;

/// The certificate that TLS clients see, and the files that it comes from.
pub(crate) struct Certificate {
    pub(crate) acceptor: TlsAcceptor,
    chain: PathBuf,
    key: PathBuf,
    hangups: Hangups,
}

impl Certificate {
    /// Reads the files that the options name, if any.
    pub(crate) fn read(options: &Options) -> Result<Option<Self>, Failure> {
        let (Some(chain), Some(key)) = (&options.tls_cert, &options.tls_key) else {
            return Ok(None);
        };
        let acceptor =
            TlsAcceptor::from_pem_files(chain, key).map_err(|error| failure(chain, key, error))?;
        let hangups = Hangups::catch()?;
        Ok(Some(Self { acceptor, chain: chain.clone(), key: key.clone(), hangups }))
    }

    /// Reads the files again each time that SIGHUP arrives: connections that are open keep their
    /// certificate, new ones get the new.
    pub(crate) async fn reload_on_hangup(mut self) {
        loop {
            self.hangups.next().await;
            match self.acceptor.reload_pem_files(&self.chain, &self.key) {
                Ok(()) => tracing::warn!("the certificate was read again"),
                Err(error) => {
                    let error = failure(&self.chain, &self.key, error);
                    tracing::error!(%error, "the new certificate was not loaded; the old one stays");
                }
            }
        }
    }
}

/// The error, with the option and the file that it is about, where it is about one of the two.
fn failure(chain: &Path, key: &Path, error: TlsError) -> Failure {
    let of_chain = format!("--tls-cert: {}", chain.display());
    let of_key = format!("--tls-key: {}", key.display());
    match error {
        TlsError::File { path, error } if path == chain => Failure::new(of_chain, error),
        TlsError::File { error, .. } => Failure::new(of_key, error),
        error @ TlsError::Pem { expected: "certificate", .. } => Failure::new(of_chain, error),
        error @ TlsError::Pem { .. } => Failure::new(of_key, error),
        error => Failure::new(format_args!("{of_chain}, {of_key}"), error),
    }
}
