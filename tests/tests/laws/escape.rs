//! Text from a peer is escaped wherever a public type displays it.

use http::Response;
use proptest::prelude::*;
use sockless_core::handshake::{ClientRequestError, HandshakeError};
use sockless_core::{Cause, CloseCode, CloseReason, Closed, Escaped, Party};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_display_prints_what_a_terminal_acts_on(text in hostile()) {
        for shown in displays(&text) {
            prop_assert!(!shown.contains(is_harmful), "{shown:?}");
        }
    }

    #[test]
    fn text_without_control_characters_is_shown_as_it_is(text in "[\\PC]{0,40}") {
        prop_assume!(!text.contains(is_harmful));
        prop_assert_eq!(Escaped(&text).to_string(), text);
    }
}

/// Any text, with more of what does harm than chance would bring.
fn hostile() -> impl Strategy<Value = String> {
    let harmful = prop::sample::select(vec![
        '\0', '\t', '\n', '\r', '\u{1B}', '\u{7F}', '\u{85}', '\u{9B}', '\u{9F}', '\u{61C}',
        '\u{200E}', '\u{200F}', '\u{2028}', '\u{2029}', '\u{202A}', '\u{202E}', '\u{2066}',
        '\u{2069}',
    ]);
    prop::collection::vec(prop_oneof![harmful, any::<char>()], 1..40)
        .prop_map(|chars| chars.into_iter().collect())
}

fn is_harmful(char: char) -> bool {
    let is_bidi = matches!(char,
        '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    char.is_control() || is_bidi || matches!(char, '\u{2028}' | '\u{2029}')
}

/// All values that hold `text`, as they are displayed.
fn displays(text: &str) -> Vec<String> {
    let owned = || text.to_owned();
    let reason = || CloseReason::new(CloseCode::NORMAL, owned());
    assert!(text.starts_with(reason().text()), "the text itself stays as it is");
    let transport = Cause::Transport(owned().into());
    let closed = Closed::new(Party::Peer, transport.clone(), Some(reason()), Some(reason()));
    let mut shown = vec![
        reason().to_string(),
        format!("{:?}", reason()),
        transport.to_string(),
        format!("{transport:?}"),
        closed.to_string(),
        format!("{closed:?}"),
        HandshakeError::ExtensionNotOffered(owned().into()).to_string(),
        HandshakeError::SubprotocolNotOffered(owned().into()).to_string(),
        HandshakeError::Rejected(Box::new(Response::new(()))).to_string(),
        ClientRequestError::AuthorityInvalid(owned().into()).to_string(),
    ];
    shown.extend(driver::displays(text, &closed));
    shown
}

mod driver {
    use std::io;

    use sockless_core::Closed;
    use sockless_driver::tls::TlsError;
    use sockless_driver::{DecodeError, EncodeError, RawSendError, WriteError};

    pub(crate) fn displays(text: &str, closed: &Closed) -> Vec<String> {
        vec![
            EncodeError::Invalid(text.into()).to_string(),
            EncodeError::Closed(closed.clone()).to_string(),
            DecodeError::Invalid { message: text.to_owned().into(), error: text.into() }
                .to_string(),
            DecodeError::Closed(closed.clone()).to_string(),
            RawSendError::Closed(closed.clone()).to_string(),
            WriteError::Closed(closed.clone()).to_string(),
            TlsError::Transport(io::Error::other(text.to_owned())).to_string(),
        ]
    }
}

/// The same, with the line of a log that a peer wants to be read.
#[test]
fn a_close_reason_cannot_begin_a_line_of_its_own() {
    let text = "bye\n2026-11-28T00:00:00Z ERROR billing: \u{1B}[31mcard declined";
    let received = CloseReason::new(CloseCode::NORMAL, text);
    let closed = Closed::new(Party::Peer, Cause::ClosingHandshake, None, Some(received));
    assert_eq!(
        closed.to_string(),
        "closed by the peer: the closing handshake is complete; received 1000 \
         bye\\n2026-11-28T00:00:00Z ERROR billing: \\u{1b}[31mcard declined"
    );
    assert_eq!(closed.received().unwrap().text(), text);
}
