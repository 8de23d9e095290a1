//! The texts of errors, and which errors are transient.

use bytestring::ByteString;
use http::StatusCode;
use sockless_core::handshake::HeadError;

use super::super::target::Target;
use super::*;

#[test]
fn the_error_of_missing_tls_names_the_feature() {
    let target = Target::parse("wss://example.com/").unwrap();
    let error = ConnectError::TlsUnavailable { destination: Destination::new(&target, None) };
    let text = error.to_string();
    assert!(text.starts_with("TLS with example.com:443 is not available: wss requires "), "{text}");
    let feature = if cfg!(feature = "rustls") { "`platform-verifier`" } else { "`tls`" };
    assert!(text.contains(feature) && !error.is_transient(), "{text}");
}

fn destination() -> Destination {
    Destination::new(&Target::parse("ws://example.com/").unwrap(), None)
}

fn rejected(status: u16) -> ConnectError {
    let response = Response::builder().status(status).body(Bytes::new()).unwrap();
    ConnectError::Rejected { destination: destination(), response: response.into(), complete: true }
}

fn by_proxy(error: ProxyError) -> ConnectError {
    ConnectError::Proxy { destination: destination(), error, response: None }
}

#[test]
fn each_status_is_transient_or_permanent() {
    let transient = [408, 425, 429, 500, 502, 503, 504, 507, 511, 520, 599];
    let permanent = [
        200, 204, 300, 301, 302, 304, 307, 400, 401, 402, 403, 404, 405, 406, 407, 409, 410, 411,
        412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424, 426, 428, 431, 451, 501, 505, 506,
        508, 510,
    ];
    for (statuses, expected) in [(&transient[..], true), (&permanent, false)] {
        for &status in statuses {
            assert_eq!(rejected(status).is_transient(), expected, "{status}");
            let refused = ProxyError::Rejected(StatusCode::from_u16(status).unwrap());
            assert_eq!(by_proxy(refused).is_transient(), expected, "{status} of a proxy");
        }
    }
}

#[test]
fn each_error_of_a_proxy_is_transient_or_permanent() {
    for code in 0..=255 {
        let expected = [1, 3, 4, 5, 6].contains(&code);
        assert_eq!(by_proxy(ProxyError::SocksRejected(code)).is_transient(), expected, "{code}");
    }
    for (error, expected) in [
        (ProxyError::AuthenticationRequired, false),
        (ProxyError::CredentialsRejected, false),
        (ProxyError::Eof, true),
        (ProxyError::HeadTooLong, false),
        (ProxyError::HostTooLong, false),
        (ProxyError::Invalid("x"), false),
    ] {
        assert_eq!(by_proxy(error.clone()).is_transient(), expected, "{error}");
    }
}

#[test]
fn each_other_error_is_transient_or_permanent() {
    use HandshakeError as E;
    for (error, expected) in [
        (E::AcceptMismatch, false),
        (E::AcceptMissing, false),
        (E::ConnectionMissing, false),
        (E::Eof, true),
        (E::ExtensionNotOffered(ByteString::new()), false),
        (E::ExtensionsInvalid, false),
        (E::Head(HeadError::NotHttp { first: 0 }), false),
        (E::Head(HeadError::TooLong { max: 1 }), false),
        (E::SubprotocolNotOffered(ByteString::new()), false),
        (E::Timeout, true),
        (E::UpgradeMissing, false),
    ] {
        let error = ConnectError::Handshake { destination: destination(), error };
        assert_eq!(error.is_transient(), expected, "{error}");
    }
    for (error, expected) in [
        (ConnectError::Alpn { destination: destination(), protocol: "h2".into() }, false),
        (ConnectError::Dial { destination: destination(), attempts: Vec::new() }, true),
        (ConnectError::RequestInvalid(ClientRequestError::MethodNotGet), false),
        (ConnectError::SettingUnsupported { setting: "proxy" }, false),
        (ConnectError::TlsUnavailable { destination: destination() }, false),
        (ConnectError::UrlInvalid(UrlError::Syntax), false),
        (ConnectError::ProxyUrlInvalid(UrlError::Syntax.into()), false),
        (
            ConnectError::Redirect {
                destination: destination(),
                error: RedirectError::Loop { to: String::new() },
            },
            false,
        ),
    ] {
        assert_eq!(error.is_transient(), expected, "{error}");
    }
}

#[cfg(feature = "rustls")]
mod tls {
    use rustls::{AlertDescription, CertificateError};

    use super::*;

    fn is_transient(error: TlsError) -> bool {
        ConnectError::Tls { destination: destination(), error }.is_transient()
    }

    /// All 256; an unknown alert is permanent.
    #[test]
    fn each_alert_is_transient_or_permanent() {
        use AlertDescription as A;
        let transient = [A::BadRecordMac, A::CloseNotify, A::InternalError, A::UserCanceled];
        for number in 0..=255 {
            let alert = AlertDescription::from(number);
            let expected = transient.contains(&alert);
            assert_eq!(is_transient(TlsError::Refused(alert)), expected, "{alert:?}");
            // As the error of a transport that is open already.
            let shell = Shell(rustls::Error::AlertReceived(alert));
            let error = io::Error::new(io::ErrorKind::InvalidData, shell);
            let error = ConnectError::of_transport(destination(), ConnectStep::Response, error);
            let is_tls = matches!(error, ConnectError::Tls { error: TlsError::Refused(_), .. });
            assert!(is_tls && error.is_transient() == expected, "{error}");
        }
    }

    #[derive(Debug)]
    struct Shell(rustls::Error);

    impl fmt::Display for Shell {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.fmt(f)
        }
    }

    impl std::error::Error for Shell {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn each_fault_of_a_certificate_is_transient_or_permanent() {
        use CertificateError as C;
        for (error, expected) in [
            (C::BadEncoding, false),
            (C::Expired, false),
            (C::NotValidYet, true),
            (C::Revoked, false),
            (C::UnhandledCriticalExtension, false),
            (C::UnknownIssuer, false),
            (C::UnknownRevocationStatus, false),
            (C::ExpiredRevocationList, false),
            (C::BadSignature, false),
            (C::NotValidForName, false),
            (C::InvalidPurpose, false),
            (C::InvalidOcspResponse, false),
            (C::ApplicationVerificationFailure, false),
        ] {
            assert_eq!(is_transient(TlsError::Certificate(error.clone())), expected, "{error}");
        }
    }

    #[test]
    fn each_other_fault_of_tls_is_transient_or_permanent() {
        let broken = |kind| TlsError::Transport(io::Error::from(kind));
        for (error, expected) in [
            (TlsError::Config(rustls::Error::EncryptError), false),
            (TlsError::Cut, true),
            (TlsError::NameInvalid { host: "a b".into() }, false),
            (TlsError::NotTls, false),
            (TlsError::Protocol(rustls::Error::DecryptError), true),
            (TlsError::Protocol(rustls::Error::PeerSentOversizedRecord), false),
            (TlsError::Protocol(rustls::Error::NoApplicationProtocol), false),
            (TlsError::Protocol(rustls::Error::General("x".into())), false),
            (TlsError::ProviderMissing, false),
            (broken(io::ErrorKind::TimedOut), true),
        ] {
            let text = error.to_string();
            assert_eq!(is_transient(error), expected, "{text}");
        }
    }

    #[test]
    fn text_of_a_certificate_is_escaped() {
        let general = || rustls::Error::General(HOSTILE.into());
        let presented = vec![HOSTILE.to_owned(), HOSTILE.to_owned()];
        let expected = rustls::pki_types::ServerName::try_from("a").unwrap();
        let name = CertificateError::NotValidForNameContext { expected, presented };
        for error in [TlsError::Protocol(general()), TlsError::Certificate(name)] {
            assert_clean(&error.to_string());
            assert_clean(&ConnectError::Tls { destination: destination(), error }.to_string());
        }
        let error = io::Error::new(io::ErrorKind::InvalidData, Shell(general()));
        assert_clean(
            &ConnectError::of_transport(destination(), ConnectStep::Request, error).to_string(),
        );
    }
}

/// Characters that a terminal interprets, and that begin a new line in a log.
const HOSTILE: &str = "\x1b[2J\r\nforged\u{9b}31m\u{85}\u{7f}\u{202e}\0";

fn assert_clean(shown: &str) {
    let is_hostile = |c: char| c.is_control() || c == '\u{202e}';
    assert!(!shown.contains(is_hostile), "{shown:?}");
    assert!(shown.contains("forged"), "{shown:?}");
}

#[test]
fn text_from_a_peer_is_escaped_in_each_error() {
    let hostile_peer = || {
        let target = Target::parse("ws://example.com/").unwrap();
        Destination::new(&Target { host: HOSTILE.into(), ..target }, None)
    };
    let io_error = || io::Error::other(HOSTILE);
    let attempts = || vec![DialAttempt { addr: ([192, 0, 2, 1], 80).into(), error: io_error() }];
    let to = || HOSTILE.to_owned();
    let body = || Bytes::from_static(HOSTILE.as_bytes());
    let response = || Response::builder().status(403).body(body()).unwrap();
    let mut errors = vec![
        ConnectError::Alpn { destination: destination(), protocol: body() },
        ConnectError::Dial { destination: destination(), attempts: attempts() },
        ConnectError::Proxy {
            destination: destination(),
            error: ProxyError::Rejected(StatusCode::FORBIDDEN),
            response: Some(response().into()),
        },
        ConnectError::Rejected {
            destination: hostile_peer(),
            response: response().into(),
            complete: true,
        },
        ConnectError::RequestInvalid(ClientRequestError::AuthorityInvalid(HOSTILE.into())),
        ConnectError::Resolve { destination: destination(), name: to(), error: io_error() },
        ConnectError::Timeout {
            destination: destination(),
            step: ConnectStep::Connect,
            timeout: Duration::ZERO,
            attempts: attempts(),
        },
        ConnectError::TlsUnavailable { destination: hostile_peer() },
        ConnectError::Transport {
            destination: destination(),
            step: ConnectStep::Request,
            error: io_error(),
        },
    ];
    for error in [
        HandshakeError::SubprotocolNotOffered(HOSTILE.into()),
        HandshakeError::ExtensionNotOffered(HOSTILE.into()),
    ] {
        errors.push(ConnectError::Handshake { destination: destination(), error });
    }
    for error in [
        RedirectError::Downgrade { to: to() },
        RedirectError::Loop { to: to() },
        RedirectError::TooMany { max: 1, to: to() },
    ] {
        assert_clean(&error.to_string());
        errors.push(ConnectError::Redirect { destination: destination(), error });
    }
    for error in errors {
        assert_clean(&error.to_string());
        assert_clean(&format!("{error:?}"));
    }
    assert_clean(&hostile_peer().to_string());
}
