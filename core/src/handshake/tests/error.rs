//! The statuses and the texts of errors.

use alloc::string::ToString;
use core::str;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_VERSION, UPGRADE};

use super::*;

#[test]
fn each_head_error_has_its_status() {
    let rule = HeadRule::HostMissing;
    for (error, status) in [
        (HeadError::Invalid { rule, at: 20 }, 400),
        (HeadError::NotHttp { first: 0x16 }, 400),
        (HeadError::Timeout, 408),
        (HeadError::TooLong { max: 16384 }, 431),
        (HeadError::TooManyHeaders, 431),
        (HeadError::VersionUnsupported, 505),
    ] {
        let response = error.response().expect("a response");
        assert_eq!(response.status(), status, "{error:?}");
        assert_one_line(&response);
    }
    assert!(HeadError::Eof.response().is_none() && HeadError::Silent.response().is_none());
}

#[test]
fn each_upgrade_error_has_its_status_and_headers() {
    use UpgradeError as E;
    for (error, status) in [
        (E::BodyUnexpected, 400),
        (E::ConnectionMissing, 426),
        (E::ExtensionsInvalid, 400),
        (E::HostInvalid, 400),
        (E::HttpVersion, 400),
        (E::KeyInvalid, 400),
        (E::KeyMissing, 400),
        (E::MethodNotGet, 405),
        (E::NotUpgrade, 426),
        (E::SubprotocolInvalid, 400),
        (E::UpgradeMissing, 426),
        (E::UpgradeRemoved, 426),
        (E::VersionUnsupported, 426),
    ] {
        let response = error.response();
        assert_eq!(response.status(), status, "{error:?}");
        assert_one_line(&response);
        let headers = response.headers();
        assert_eq!(headers.get(ALLOW).is_some(), status == 405);
        assert_eq!(headers.get(UPGRADE).is_some(), status == 426);
        assert_eq!(headers.get(CONNECTION).is_some(), status == 426);
        assert_eq!(headers.get(SEC_WEBSOCKET_VERSION).is_some(), status == 426);
    }
}

fn assert_one_line(response: &Response<Bytes>) {
    assert_eq!(response.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
    let text = str::from_utf8(response.body()).expect("text");
    assert!(text.ends_with('\n') && text.lines().count() == 1, "{text:?}");
}

#[test]
fn limits_are_named_with_their_value_and_their_setting() {
    assert_eq!(
        HeadError::TooLong { max: 16384 }.to_string(),
        "the head is longer than max_head_len = 16384 bytes; shorter cookies may help"
    );
    assert_eq!(HeadError::TooManyHeaders.to_string(), "the head has more than 128 header lines");
    let rule = HeadRule::ControlByte(0);
    assert_eq!(
        HeadError::Invalid { rule, at: 17 }.to_string(),
        "the control character 0x00 (RFC 9110 5.5) (found after 17 bytes)"
    );
}

#[test]
fn tls_is_named_as_the_likely_cause() {
    for first in [0x15, 0x16, 0x80] {
        assert!(HeadError::NotHttp { first }.to_string().contains("wss"), "{first:#x}");
    }
    assert!(!HeadError::NotHttp { first: 0 }.to_string().contains("wss"));
}
