//! The URL of a WebSocket, parsed: [`Target`].

use std::borrow::Cow;

use http::header::{AUTHORIZATION, Entry, HeaderMap};
use http::{Request, Uri};
use percent_encoding::{CONTROLS, utf8_percent_encode};
use sockless_core::handshake::HostPort;
use thiserror::Error;

use super::credentials::Credentials;

/// A server, and the resource that is requested from it.
#[derive(Clone)]
pub(super) struct Target {
    /// The URL without credentials, and without the fragment, which [`Uri`] drops.
    pub(super) uri: Uri,
    pub(super) secure: bool,
    /// Without the brackets of an IPv6 address (RFC 3986 §3.2.2).
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) credentials: Option<Credentials>,
}

impl Target {
    /// Parses a `ws:` or `wss:` URL (RFC 6455 §3).
    pub(super) fn parse(url: &str) -> Result<Self, UrlError> {
        let uri = Uri::try_from(&*to_ascii(url)?).map_err(|_| syntax_error(url))?;
        let secure = match uri.scheme_str().unwrap_or_default().to_ascii_lowercase().as_str() {
            "ws" => false,
            "wss" => true,
            _ => return Err(UrlError::SchemeUnsupported),
        };
        let authority = uri.authority().ok_or(UrlError::HostMissing)?.as_str();
        let Authority { host, port, credentials } = Authority::parse(authority)?;
        let host_port = authority.rsplit('@').next().unwrap_or(authority).trim_end_matches(':');
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let bare = Uri::builder().scheme(if secure { "wss" } else { "ws" });
        let bare = bare.authority(host_port).path_and_query(path);
        let default_port = if secure { 443 } else { 80 };
        let uri = bare.build().map_err(|_| UrlError::Syntax)?;
        Ok(Self { uri, secure, host, port: port.unwrap_or(default_port), credentials })
    }

    /// Returns the request for this target, with these headers.
    pub(super) fn request(&self, headers: &HeaderMap) -> Request<()> {
        let mut request = Request::new(());
        *request.headers_mut() = headers.clone();
        self.put_into(&mut request);
        request
    }

    /// Sets the URI of `request`, and its `Authorization` to the credentials unless it is set
    /// already.
    pub(super) fn put_into(&self, request: &mut Request<()>) {
        *request.uri_mut() = self.uri.clone();
        if let (Some(credentials), Entry::Vacant(entry)) =
            (&self.credentials, request.headers_mut().entry(AUTHORIZATION))
        {
            entry.insert(credentials.basic());
        }
    }

    /// Resolves the `Location` of a response of this target (RFC 3986 §5.2). `http:` and `https:`
    /// are taken for `ws:` and `wss:`, since web servers redirect to them. Credentials in a
    /// `Location` are ignored; the credentials of this target are kept for the same origin.
    pub(super) fn join(&self, location: &str) -> Result<Self, UrlError> {
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

    /// Returns true if both have the same origin (RFC 6454 §5): scheme, host and port.
    pub(super) fn is_same_origin(&self, other: &Self) -> bool {
        self.secure == other.secure
            && self.port == other.port
            && self.host.eq_ignore_ascii_case(&other.host)
    }

    /// Returns `host:port`, with brackets around an IPv6 address.
    pub(super) fn authority(&self) -> String {
        host_and_port(&self.host, self.port)
    }

    /// Returns the URL for an error text: without the query, which may contain a token.
    pub(super) fn shown(&self) -> String {
        let scheme = if self.secure { "wss" } else { "ws" };
        format!("{scheme}://{}{}", self.authority(), self.uri.path())
    }
}

/// Returns `host:port`, with brackets around an IPv6 address.
pub(super) fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The host, the port and the credentials of a URL.
pub(super) struct Authority {
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) credentials: Option<Credentials>,
}

impl Authority {
    pub(super) fn parse(authority: &str) -> Result<Self, UrlError> {
        let (userinfo, host_port) = match authority.rsplit_once('@') {
            Some((userinfo, host_port)) => (userinfo, host_port),
            None => ("", authority),
        };
        let credentials = match userinfo {
            "" => None,
            _ => Some(Credentials::parse(userinfo).ok_or(UrlError::CredentialsInvalid)?),
        };
        let parsed = HostPort::parse(host_port).ok_or_else(|| host_port_error(host_port))?;
        let host = parsed.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port: parsed.port, credentials })
    }
}

/// Returns the reason for which [`HostPort::parse`] rejected a text.
fn host_port_error(text: &str) -> UrlError {
    // The colons of an IPv6 address are inside the brackets.
    let port_at = text.rfind(':').filter(|&colon| !text[colon..].contains(']'));
    match &text[..port_at.unwrap_or(text.len())] {
        "" => UrlError::HostMissing,
        host if HostPort::parse(host).is_some() => UrlError::PortInvalid,
        host if host.starts_with('[') && host.contains('%') => UrlError::ZoneUnsupported,
        _ => UrlError::Syntax,
    }
}

/// Returns the URL in ASCII: the host by its DNS form, all else percent-encoded, as browsers do.
fn to_ascii(url: &str) -> Result<Cow<'_, str>, UrlError> {
    let Some((scheme, rest)) = url.split_once("://").filter(|_| !url.is_ascii()) else {
        return Ok(url.into());
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host_at = authority.rfind('@').map_or(0, |at| at + 1);
    let (userinfo, host_port) = authority.split_at(host_at);
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let host_len = host_port.rfind(':').filter(|&colon| is_port(&host_port[colon + 1..]));
    let (host, port) = host_port.split_at(host_len.unwrap_or(host_port.len()));
    let host = if host.is_ascii() { host.to_owned() } else { domain_to_ascii(host)? };
    // All beyond ASCII is encoded, and no character that the URL may have.
    let encoded = |text| utf8_percent_encode(text, CONTROLS);
    Ok(format!("{scheme}://{}{host}{port}{}", encoded(userinfo), encoded(path)).into())
}

#[cfg(feature = "idn")]
fn domain_to_ascii(host: &str) -> Result<String, UrlError> {
    idna::domain_to_ascii(host).map_err(|_| UrlError::HostInvalid)
}

#[cfg(not(feature = "idn"))]
fn domain_to_ascii(_host: &str) -> Result<String, UrlError> {
    Err(UrlError::HostNotAscii)
}

/// The reason for which a URL cannot be parsed.
fn syntax_error(url: &str) -> UrlError {
    let is_invalid =
        |&(_, found): &(usize, char)| found.is_ascii_control() || " \"<>\\^`{|}".contains(found);
    let invalid = url.chars().enumerate().find(is_invalid);
    invalid.map_or(UrlError::Syntax, |(index, found)| UrlError::CharacterInvalid {
        position: index + 1,
        found,
    })
}

/// Splits an absolute URL at the colon after its scheme (RFC 3986 §3.1).
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
                // The path of a directory ends with a slash.
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

/// The error of a URL that is not a WebSocket URL (RFC 6455 §3).
///
/// Its text does not show the URL, which may contain a password or a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum UrlError {
    /// A character is not allowed in a URL.
    #[error("the character {found:?} at position {position} is not allowed: percent-encode it")]
    CharacterInvalid {
        /// The position of the character, counted from 1.
        position: usize,
        /// The character.
        found: char,
    },
    /// The user name or the password has a `%` without two hexadecimal digits or an encoded control
    /// character, or the user name has a colon.
    #[error(
        "the user name or password is invalid: percent-encode each special character, and use no \
         control character, and no colon in the user name (RFC 7617 2)"
    )]
    CredentialsInvalid,
    /// The host name beyond ASCII is not valid (UTS 46).
    #[error("the host name is not a valid internationalized name (UTS 46)")]
    HostInvalid,
    /// The host name has characters beyond ASCII, and the feature `idn` is off.
    #[error(
        "the host name has characters beyond ASCII: enable the feature `idn`, or use the xn-- form"
    )]
    HostNotAscii,
    /// The host is empty.
    #[error("the host is missing: expected ws://host:port/path")]
    HostMissing,
    /// The port is not a number up to 65535.
    #[error("the port is not a number up to 65535")]
    PortInvalid,
    /// The scheme is neither `ws` nor `wss`.
    #[error("expected the scheme ws or wss")]
    SchemeUnsupported,
    /// The text is not a URL, or its host has a character that is not allowed.
    #[error("expected ws://host:port/path")]
    Syntax,
    /// The IPv6 address has a zone identifier, as in `[fe80::1%25eth0]` (RFC 6874).
    #[error(
        "the zone of an IPv6 address (RFC 6874) is not supported: leave it out, and for a link-local \
         address, open a stream and pass it to Connect::transport"
    )]
    ZoneUnsupported,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Target {
        Target::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn urls_are_parsed() {
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
    fn each_invalid_url_has_its_error() {
        for (url, error) in [
            ("http://example.com/", UrlError::SchemeUnsupported),
            ("example.com", UrlError::SchemeUnsupported),
            ("/path", UrlError::SchemeUnsupported),
            ("ws://", UrlError::Syntax),
            ("ws:///path", UrlError::Syntax),
            ("ws://:80/", UrlError::HostMissing),
            ("ws://example.com:99999/", UrlError::PortInvalid),
            ("ws://example.com:+80/", UrlError::PortInvalid),
            ("ws://exa mple.com/", UrlError::CharacterInvalid { position: 9, found: ' ' }),
            ("ws://a/\r\nb", UrlError::CharacterInvalid { position: 8, found: '\r' }),
            ("ws://a/\u{e4} b", UrlError::CharacterInvalid { position: 9, found: ' ' }),
            ("ws://[::1", UrlError::Syntax),
            ("ws://[::1]x:80/", UrlError::Syntax),
            ("ws://[::1]:x/", UrlError::PortInvalid),
            ("ws://ada@/", UrlError::Syntax),
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
    fn what_is_beyond_ascii_is_percent_encoded() {
        let target = target("ws://ad\u{e4}:p@example.com:81/r\u{e4}ume?n=\u{fc}#\u{e4}");
        assert_eq!(target.uri.to_string(), "ws://example.com:81/r%C3%A4ume?n=%C3%BC");
        assert_eq!(target.credentials.unwrap().user, "ad\u{e4}".as_bytes());
    }

    #[test]
    fn a_host_beyond_ascii_takes_its_dns_form() {
        let parsed = Target::parse("wss://u:p@B\u{fc}cher.example:81/");
        #[cfg(feature = "idn")]
        {
            let target = parsed.unwrap_or_else(|error| panic!("{error}"));
            assert_eq!((&*target.host, target.port), ("xn--bcher-kva.example", 81));
            assert_eq!(target.uri.to_string(), "wss://xn--bcher-kva.example:81/");
            let invalid = Target::parse("ws://\u{378}.example/").err();
            assert_eq!(invalid, Some(UrlError::HostInvalid));
        }
        #[cfg(not(feature = "idn"))]
        assert_eq!(parsed.err(), Some(UrlError::HostNotAscii));
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
        let space = UrlError::CharacterInvalid { position: 22, found: ' ' };
        assert_eq!(base.join("/a b").err(), Some(space));
        let zone = base.join("//[fe80::1%25eth0]/").err();
        assert_eq!(zone, Some(UrlError::ZoneUnsupported));
    }
}
