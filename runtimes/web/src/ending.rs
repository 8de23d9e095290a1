//! Close codes and ends, as browsers restrict and report them.

use sockless_core::{Cause, CloseCode, CloseReason, Closed, Escaped, Party};

/// A browser's report of the end of a connection: the properties of a `CloseEvent`.
#[derive(Clone, Debug)]
pub(crate) struct CloseReport {
    pub(crate) code: u16,
    pub(crate) text: String,
    /// True if the closing handshake was completed.
    pub(crate) was_clean: bool,
}

/// The code in a report for the end of the transport without a Close frame (RFC 6455 §7.4.1).
const ABNORMAL: u16 = 1006;

impl CloseReport {
    /// Returns how the session ended, if this end had sent `ours` before.
    pub(crate) fn into_closed(self, ours: Option<CloseReason>) -> Closed {
        let by = if ours.is_some() { Party::Local } else { Party::Peer };
        if self.was_clean {
            let received = self.reason();
            // The browser answers the peer's Close frame with the same code and text.
            let sent = ours.unwrap_or_else(|| received.clone());
            return Closed::new(by, Cause::ClosingHandshake, Some(sent), Some(received));
        }
        let cause = match self.code {
            ABNORMAL => Cause::Eof,
            // Some browsers report here the code with which they failed the connection.
            code => {
                let text = format!("the browser reported {code} {}", Escaped(self.text.trim()));
                Cause::Transport(text.trim_end().into())
            }
        };
        Closed::new(by, cause, ours, None)
    }

    /// The peer's reason; without a payload if it has no code, or one that may not be sent.
    fn reason(&self) -> CloseReason {
        match CloseCode::new(self.code) {
            Some(code) => CloseReason::new(code, self.text.as_str()),
            None => CloseReason::EMPTY,
        }
    }
}

/// Returns `reason` if a browser sends it, or else a reason without code and text. Browsers send
/// 1000 and 3000 to 4999 for a page, and no other code.
pub(crate) fn sendable(reason: CloseReason) -> CloseReason {
    match reason.code().map(CloseCode::get) {
        Some(1000 | 3000..=4999) => reason,
        _ => CloseReason::EMPTY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(code: u16, text: &str, was_clean: bool) -> CloseReport {
        CloseReport { code, text: text.to_owned(), was_clean }
    }

    #[test]
    fn a_clean_end_has_both_close_frames() {
        let closed = report(3000, "done", true).into_closed(None);
        let reason = CloseReason::new(CloseCode::new(3000).unwrap(), "done");
        assert_eq!(closed.by(), Party::Peer);
        assert_eq!(closed.cause(), &Cause::ClosingHandshake);
        assert_eq!(closed.received(), Some(&reason));
        assert_eq!(closed.sent(), Some(&reason), "the browser answers with the same reason");

        let ours = CloseReason::from(CloseCode::NORMAL);
        let closed = report(1005, "", true).into_closed(Some(ours.clone()));
        assert_eq!(closed.by(), Party::Local);
        assert_eq!(closed.sent(), Some(&ours));
        assert_eq!(closed.received(), Some(&CloseReason::EMPTY), "1005 is a frame without a code");
        assert!(closed.is_clean());
    }

    #[test]
    fn an_end_that_is_not_clean_has_no_received_frame() {
        let closed = report(1006, "", false).into_closed(None);
        assert_eq!((closed.cause(), closed.by()), (&Cause::Eof, Party::Peer));
        assert_eq!((closed.sent(), closed.received()), (None, None));

        let closed = report(1002, "bad\nframe", false).into_closed(Some(CloseReason::EMPTY));
        let Cause::Transport(text) = closed.cause() else { panic!("{closed}") };
        assert_eq!(&**text, "the browser reported 1002 bad\\nframe");
        assert_eq!((closed.sent(), closed.received()), (Some(&CloseReason::EMPTY), None));
    }

    #[test]
    fn only_1000_and_3000_to_4999_are_sent() {
        for code in (0..=u16::MAX).filter_map(CloseCode::new) {
            let sent = sendable(CloseReason::new(code, "why"));
            let may = code.get() == 1000 || code.get() >= 3000;
            assert_eq!(sent.code(), may.then_some(code));
            assert_eq!(sent.text(), if may { "why" } else { "" });
        }
        assert_eq!(sendable(CloseReason::EMPTY), CloseReason::EMPTY);
    }
}
