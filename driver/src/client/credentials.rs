//! The user name and password of a URL: [`Credentials`].

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::HeaderValue;
use percent_encoding::percent_decode_str;

/// The user name and the password of a server's or a proxy's URL.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) user: Vec<u8>,
    pub(super) password: Vec<u8>,
}

impl Credentials {
    /// Decodes the user information of a URL; `None` if it is not percent-encoded correctly, has a
    /// control character, or has a colon in the user name (RFC 7617 §2).
    pub(super) fn parse(userinfo: &str) -> Option<Self> {
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        let (user, password) = (percent_decoded(user)?, percent_decoded(password)?);
        let has_control = user.iter().chain(&password).any(u8::is_ascii_control);
        (!has_control && !user.contains(&b':')).then_some(Self { user, password })
    }

    /// Returns the value of `Authorization` or `Proxy-Authorization` (RFC 7617 §2), marked as
    /// sensitive.
    pub(super) fn basic(&self) -> HeaderValue {
        let joined = [&self.user[..], b":", &self.password].concat();
        let value = format!("Basic {}", STANDARD.encode(joined));
        let mut value = HeaderValue::try_from(value).expect("base64 is visible ASCII");
        value.set_sensitive(true);
        value
    }
}

/// Shows neither: `{:?}` output ends up in logs.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// Decodes percent-encoding; `None` if a `%` is not followed by two hexadecimal digits, which the
/// library would keep as it is.
fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let is_encoded = |rest: &str| {
        rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    text.split('%').skip(1).all(is_encoded).then(|| percent_decode_str(text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_decoded_and_never_shown() {
        let credentials = Credentials::parse("ad%61:p%40%3Aw").unwrap();
        assert_eq!((&credentials.user[..], &credentials.password[..]), (&b"ada"[..], &b"p@:w"[..]));
        assert_eq!(credentials.basic(), "Basic YWRhOnBAOnc=");
        assert_eq!(
            format!("{credentials:?} {:?}", credentials.basic()),
            "Credentials(..) Sensitive"
        );
    }

    #[test]
    fn credentials_with_a_fault_are_rejected() {
        for userinfo in ["a%", "a%4", "a%zz:b", "a%+1:b", "a:%", "a%3Ab:c", "a:b%0D%0A", "%7F"] {
            assert!(Credentials::parse(userinfo).is_none(), "{userinfo}");
        }
    }
}
