//! Certificates, made by the test that needs them.

use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

/// An authority that only a client configured with its certificate trusts.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate chain and its key, both as PEM.
pub struct Identity {
    /// The certificates, the subject's first.
    pub chain: String,
    /// The private key.
    pub key: String,
}

impl Authority {
    /// An authority with a name and a key of its own.
    #[expect(clippy::new_without_default, reason = "each one differs")]
    pub fn new() -> Self {
        // Two authorities of the same name would be confused.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("authority {}", COUNT.fetch_add(1, Ordering::Relaxed));
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("there is randomness");
        Self(CertifiedIssuer::self_signed(params, key).expect("the parameters are sound"))
    }

    /// The authority's own certificate: a client that trusts it trusts all certificates that it issued.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for `name`, a domain name or an address.
    pub fn issue(&self, name: &str) -> Identity {
        self.sign(name, |_| {})
    }

    /// A certificate for `name` that was valid long ago.
    pub fn issue_expired(&self, name: &str) -> Identity {
        self.sign(name, |params| {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        })
    }

    /// A certificate by which a client shows that it is `name`.
    pub fn issue_to_client(&self, name: &str) -> Identity {
        self.sign(name, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })
    }

    fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).expect("the name is sound");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        change(&mut params);
        let key = KeyPair::generate().expect("there is randomness");
        let certificate = params.signed_by(&key, &self.0).expect("the parameters are sound");
        Identity { chain: certificate.pem(), key: key.serialize_pem() }
    }
}
