//! Where a connection goes: [`Target`], taken out of a URL, and the [`Credentials`] that stood in it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, Entry, HeaderValue};
use http::{Request, Uri};

/// A server and what is asked of it.
#[derive(Clone)]
pub(crate) struct Target {
    /// The URL without credentials and without a fragment, which [`Uri`] drops.
    pub(crate) uri: Uri,
    pub(crate) secure: bool,
    /// Without the brackets that an IPv6 address has in a URL (RFC 3986 §3.2.2).
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) credentials: Option<Credentials>,
}

impl Target {
    /// Takes a `ws:` or `wss:` URL apart (RFC 6455 §3).
    pub(crate) fn parse(url: &str) -> Result<Self, UrlError> {
        let uri = Uri::try_from(url).map_err(|_| UrlError::Syntax)?;
        let scheme = uri.scheme_str().unwrap_or_default();
        let secure = match () {
            () if scheme.eq_ignore_ascii_case("ws") => false,
            () if scheme.eq_ignore_ascii_case("wss") => true,
            () => return Err(UrlError::SchemeUnsupported),
        };
        let authority = uri.authority().ok_or(UrlError::HostMissing)?.as_str();
        let Authority { host, port, credentials } = Authority::parse(authority)?;
        let default_port = if secure { 443 } else { 80 };
        let (_, host_and_port) = split_userinfo(authority);
        let bare = Uri::builder().scheme(if secure { "wss" } else { "ws" });
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let bare = bare.authority(host_and_port.trim_end_matches(':')).path_and_query(path);
        let uri = bare.build().map_err(|_| UrlError::Syntax)?;
        Ok(Self { uri, secure, host, port: port.unwrap_or(default_port), credentials })
    }

    /// Makes `request` one for this target, with its credentials unless there are others.
    pub(crate) fn put_into(&self, request: &mut Request<()>) {
        *request.uri_mut() = self.uri.clone();
        if let (Some(credentials), Entry::Vacant(entry)) =
            (&self.credentials, request.headers_mut().entry(AUTHORIZATION))
        {
            entry.insert(credentials.basic());
        }
    }

    /// What a `Location` of this target's answer leads to (RFC 3986 §5.2). `http:` and `https:` stand
    /// for `ws:` and `wss:`, since that is how web servers redirect. Credentials are never taken out
    /// of a `Location`, and its own stay with their origin.
    pub(crate) fn join(&self, location: &str) -> Result<Self, UrlError> {
        let location = location.split('#').next().unwrap_or_default();
        let scheme = if self.secure { "wss" } else { "ws" };
        let origin = || format!("{scheme}://{}", self.authority());
        let url = if let Some((scheme, rest)) = split_scheme(location) {
            match scheme.to_ascii_lowercase().as_str() {
                "http" => format!("ws:{rest}"),
                "https" => format!("wss:{rest}"),
                scheme => format!("{scheme}:{rest}"),
            }
        } else if location.starts_with("//") {
            format!("{scheme}:{location}")
        } else {
            format!("{}{}", origin(), self.resolve_path(location))
        };
        let mut target = Self::parse(&url)?;
        target.credentials = self.credentials.clone().filter(|_| target.is_same_origin(self));
        Ok(target)
    }

    fn resolve_path(&self, location: &str) -> String {
        if location.is_empty() {
            return self.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        }
        let (path, query) = match location.split_once('?') {
            Some((path, query)) => (path, format!("?{query}")),
            None => (location, String::new()),
        };
        let base = self.uri.path();
        let path = match path {
            "" => base.to_owned(),
            absolute if absolute.starts_with('/') => without_dots(absolute),
            relative => {
                let directory = base.rfind('/').map_or("/", |end| &base[..=end]);
                without_dots(&format!("{directory}{relative}"))
            }
        };
        path + &query
    }

    /// Whether both are one origin (RFC 6454 §5): scheme, host and port.
    pub(crate) fn is_same_origin(&self, other: &Self) -> bool {
        self.secure == other.secure
            && self.port == other.port
            && self.host.eq_ignore_ascii_case(&other.host)
    }

    /// `host:port`, with the brackets of an IPv6 address.
    pub(crate) fn authority(&self) -> String {
        host_and_port(&self.host, self.port)
    }

    /// The URL as an error may show it: a query may hold a token.
    pub(crate) fn shown(&self) -> String {
        let scheme = if self.secure { "wss" } else { "ws" };
        format!("{scheme}://{}{}", self.authority(), self.uri.path())
    }
}

/// `host:port`, with brackets around an IPv6 address.
pub(crate) fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Host, port and credentials of any URL.
pub(crate) struct Authority {
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    pub(crate) credentials: Option<Credentials>,
}

impl Authority {
    pub(crate) fn parse(authority: &str) -> Result<Self, UrlError> {
        let (userinfo, rest) = split_userinfo(authority);
        let credentials = match userinfo {
            None | Some("") => None,
            Some(userinfo) => Some(Credentials::parse(userinfo)?),
        };
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => match rest.split_once(']').ok_or(UrlError::Syntax)? {
                (address, _) if address.contains('%') => return Err(UrlError::ZoneUnsupported),
                host_and_port => host_and_port,
            },
            None => rest.split_at(rest.find(':').unwrap_or(rest.len())),
        };
        if host.is_empty() {
            return Err(UrlError::HostMissing);
        }
        let port = match port {
            "" | ":" => None,
            port => Some(port_number(port).ok_or(UrlError::PortInvalid)?),
        };
        Ok(Self { host: host.to_owned(), port, credentials })
    }
}

/// The number behind a colon. Digits only: `parse` by itself would take a sign.
fn port_number(port: &str) -> Option<u16> {
    let digits = port.strip_prefix(':')?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn split_userinfo(authority: &str) -> (Option<&str>, &str) {
    match authority.rsplit_once('@') {
        Some((userinfo, rest)) => (Some(userinfo), rest),
        None => (None, authority),
    }
}

/// The scheme of an absolute URL and what follows its colon (RFC 3986 §3.1).
fn split_scheme(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once(':')?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_scheme.then_some((scheme, rest))
}

/// Removes `.` and `..` from an absolute path (RFC 3986 §5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                // A directory keeps the slash at its end.
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

/// A user's name and password, out of the URL of a server or of a proxy.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: Vec<u8>,
    pub(crate) password: Vec<u8>,
}

impl Credentials {
    /// Those of a URL, whose percent-encoding is taken off.
    pub(crate) fn parse(userinfo: &str) -> Result<Self, UrlError> {
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        let user = percent_decoded(user).ok_or(UrlError::CredentialsInvalid)?;
        let password = percent_decoded(password).ok_or(UrlError::CredentialsInvalid)?;
        // RFC 7617 §2: a name has no colon, and neither part a control character.
        let is_control = |byte: &u8| byte.is_ascii_control();
        if user.contains(&b':') || user.iter().chain(&password).any(is_control) {
            return Err(UrlError::CredentialsInvalid);
        }
        Ok(Self { user, password })
    }

    /// The value of `Authorization` or `Proxy-Authorization` (RFC 7617 §2).
    pub(crate) fn basic(&self) -> HeaderValue {
        let joined = [&self.user[..], b":", &self.password].concat();
        let value = format!("Basic {}", STANDARD.encode(joined));
        let mut value = HeaderValue::try_from(value).expect("base64 is visible ASCII");
        value.set_sensitive(true);
        value
    }
}

/// Shows neither: what is written with `{:?}` ends in logs.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// Takes the percent-encoding off; `None` where a `%` has not two hexadecimal digits behind it.
fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' {
            (digit(bytes.next()?)? << 4 | digit(bytes.next()?)?) as u8
        } else {
            byte
        });
    }
    Some(decoded)
}

/// What is wrong with the URL of a WebSocket (RFC 6455 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UrlError {
    /// The name or the password has a `%` without two hexadecimal digits, a control character, or, in
    /// the name, a colon.
    CredentialsInvalid,
    /// There is no host.
    HostMissing,
    /// The port is no number up to 65535.
    PortInvalid,
    /// The scheme is not `ws` or `wss`.
    SchemeUnsupported,
    /// It is no URL at all.
    Syntax,
    /// The IPv6 address has a zone identifier, as in `[fe80::1%25eth0]` (RFC 6874).
    ZoneUnsupported,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CredentialsInvalid => "the user's name or password is not encoded right",
            Self::HostMissing => "there is no host",
            Self::PortInvalid => "the port is no number up to 65535",
            Self::SchemeUnsupported => "the scheme is not ws or wss",
            Self::Syntax => "it is not of the form ws://host:port/path",
            Self::ZoneUnsupported => {
                "its IPv6 address has a zone (RFC 6874), which is not supported: leave it out, and \
                 for a link-local address connect a stream and pass it to Connect::transport"
            }
        })
    }
}

impl std::error::Error for UrlError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Target {
        Target::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn urls_are_taken_apart() {
        for (url, host, port, uri) in [
            ("ws://example.com", "example.com", 80, "ws://example.com/"),
            ("WSS://example.com/a?b#c", "example.com", 443, "wss://example.com/a?b"),
            ("ws://example.com:8080?q", "example.com", 8080, "ws://example.com:8080/?q"),
            ("ws://example.com:/", "example.com", 80, "ws://example.com/"),
            ("wss://[2001:db8::1]/x", "2001:db8::1", 443, "wss://[2001:db8::1]/x"),
            ("ws://[::1]:90/#f", "::1", 90, "ws://[::1]:90/"),
            ("ws://ada:pw@example.com/", "example.com", 80, "ws://example.com/"),
        ] {
            let target = target(url);
            assert_eq!((target.host.as_str(), target.port), (host, port), "{url}");
            assert_eq!(target.uri.to_string(), uri, "{url}");
        }
    }

    #[test]
    fn what_is_no_url_of_a_websocket_is_told_apart() {
        for (url, error) in [
            ("http://example.com/", UrlError::SchemeUnsupported),
            ("example.com", UrlError::SchemeUnsupported),
            ("/path", UrlError::SchemeUnsupported),
            ("ws://", UrlError::Syntax),
            ("ws:///path", UrlError::Syntax),
            ("ws://:80/", UrlError::HostMissing),
            ("ws://example.com:99999/", UrlError::PortInvalid),
            ("ws://example.com:+80/", UrlError::PortInvalid),
            ("ws://exa mple.com/", UrlError::Syntax),
            ("ws://[fe80::1%25eth0]/", UrlError::ZoneUnsupported),
            ("wss://u:p@[fe80::1%25eth0]:81/", UrlError::ZoneUnsupported),
            ("ws://a%zz:b@example.com/", UrlError::CredentialsInvalid),
            ("ws://a%3Ab:c@example.com/", UrlError::CredentialsInvalid),
            ("ws://a:b%0D%0A@example.com/", UrlError::CredentialsInvalid),
        ] {
            assert_eq!(Target::parse(url).err(), Some(error), "{url}");
        }
    }

    #[test]
    fn credentials_are_decoded_and_never_shown() {
        let target = target("ws://ad%61:p%40%3Aw@example.com/");
        let credentials = target.credentials.unwrap();
        assert_eq!((&credentials.user[..], &credentials.password[..]), (&b"ada"[..], &b"p@:w"[..]));
        assert_eq!(credentials.basic(), "Basic YWRhOnBAOnc=");
        assert_eq!(
            format!("{credentials:?} {:?}", credentials.basic()),
            "Credentials(..) Sensitive"
        );
    }

    #[test]
    fn locations_are_resolved() {
        let base = target("ws://u:p@example.com/a/b/c?q");
        for (location, url) in [
            ("ws://other.com/x", "ws://other.com/x"),
            ("HTTP://other.com/x", "ws://other.com/x"),
            ("https://example.com/x#f", "wss://example.com/x"),
            ("//other.com:8080/y", "ws://other.com:8080/y"),
            ("/x/../y?z", "ws://example.com:80/y?z"),
            ("d", "ws://example.com:80/a/b/d"),
            ("./d/", "ws://example.com:80/a/b/d/"),
            ("../d", "ws://example.com:80/a/d"),
            ("../../../../d", "ws://example.com:80/d"),
            ("..", "ws://example.com:80/a/"),
            ("d?x=/../:", "ws://example.com:80/a/b/d?x=/../:"),
            ("?z", "ws://example.com:80/a/b/c?z"),
            ("", "ws://example.com:80/a/b/c?q"),
            ("#f", "ws://example.com:80/a/b/c?q"),
        ] {
            let joined = base.join(location).unwrap_or_else(|error| panic!("{location}: {error}"));
            assert_eq!(joined.uri.to_string(), url, "{location}");
            let own = joined.is_same_origin(&base);
            assert_eq!(joined.credentials.is_some(), own, "{location}");
        }
        assert!(base.join("ws://eve:x@other.com/").unwrap().credentials.is_none());
        assert_eq!(base.join("ftp://other.com/").err(), Some(UrlError::SchemeUnsupported));
        assert_eq!(base.join("/a b").err(), Some(UrlError::Syntax));
        let zone = base.join("//[fe80::1%25eth0]/").err();
        assert_eq!(zone, Some(UrlError::ZoneUnsupported));
    }
}
