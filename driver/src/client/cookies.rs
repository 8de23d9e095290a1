//! Cookies that servers set, for later requests: [`CookieJar`].

use std::cmp::Reverse;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cookie_store::{Cookie, CookieStore, RawCookie};
use http::Request;
use http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use url::Url;

use super::headers::append_to_cookies;
use super::target::{Target, UrlError};

/// The number of cookies that a jar keeps. RFC 6265 §6.1 has 50 for each domain at least.
const MAX_COOKIES: usize = 300;

/// The length of a `Set-Cookie` value that is not ignored (RFC 6265 §6.1).
const MAX_COOKIE_LEN: usize = 4096;

/// Cookies that servers set, for the redirects and the later connections of a client (RFC 6265).
///
/// [`Connect::cookies`](super::Connect::cookies) takes one. The cookies that match the URL are sent
/// with each request of the connection, and those that a response sets are stored, whether it opens
/// the WebSocket, redirects or rejects. Clones share the cookies, so that a
/// [`Reconnect`](super::Reconnect) sends what an earlier connection has received.
///
/// It keeps 300 cookies of 4 KiB each at most, and ignores more. There is no list of public suffixes:
/// a server can set a cookie for all hosts of a domain that it belongs to, except for a domain
/// without a dot, such as `com`. Expiry follows the clock of the operating system.
///
/// ```no_run
/// use sockless::{CookieJar, Reconnect};
///
/// let jar = CookieJar::new();
/// let feed = Reconnect::new(move || {
///     sockless::connect("wss://example.com/feed").redirects(3).cookies(&jar)
/// });
/// # drop(feed);
/// ```
#[derive(Clone, Default)]
pub struct CookieJar(Arc<Mutex<CookieStore>>);

impl CookieJar {
    /// Creates a jar without cookies.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores a cookie as if the server of `url`, a `ws:` or `wss:` URL, had sent it: `set_cookie` is
    /// the value of a `Set-Cookie` header, such as `id=7; Path=/; Secure`. For cookies of a login by
    /// HTTP. Returns false if the cookie is not valid for the URL, or there is no room for it.
    ///
    /// # Errors
    ///
    /// [`UrlError`] if the URL is not that of a WebSocket.
    ///
    /// ```
    /// use sockless::CookieJar;
    ///
    /// let jar = CookieJar::new();
    /// assert!(jar.store("ws://example.com/", "id=7; Path=/chat")?);
    /// assert_eq!(jar.header("ws://example.com/chat")?.as_deref(), Some("id=7"));
    /// assert_eq!(jar.header("ws://example.com/")?, None);
    /// # Ok::<(), sockless::UrlError>(())
    /// ```
    pub fn store(&self, url: &str, set_cookie: &str) -> Result<bool, UrlError> {
        let url = url_of(&Target::parse(url)?).ok_or(UrlError::Syntax)?;
        Ok(put(&mut self.lock(), &url, set_cookie))
    }

    /// Returns the value of the `Cookie` header of a request to `url`, a `ws:` or `wss:` URL; `None`
    /// if no cookie matches.
    ///
    /// # Errors
    ///
    /// [`UrlError`] if the URL is not that of a WebSocket.
    pub fn header(&self, url: &str) -> Result<Option<String>, UrlError> {
        let url = url_of(&Target::parse(url)?).ok_or(UrlError::Syntax)?;
        Ok(self.value(&url))
    }

    /// Removes all cookies.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Adds the cookies for `target` to those that a request to it has.
    pub(super) fn add_to(&self, mut request: Request<()>, target: &Target) -> Request<()> {
        let cookies = url_of(target).and_then(|url| self.value(&url));
        let headers = request.headers_mut();
        if let Some(cookies) = cookies
            && let Ok(line) = append_to_cookies(headers.get(COOKIE), cookies.as_bytes())
        {
            headers.insert(COOKIE, line);
        }
        request
    }

    /// Stores the cookies of a response of `target`.
    pub(super) fn take_from(&self, headers: &HeaderMap, target: &Target) {
        let Some(url) = url_of(target) else { return };
        let mut store = self.lock();
        for value in headers.get_all(SET_COOKIE).iter().filter_map(text) {
            put(&mut store, &url, value);
        }
    }

    fn value(&self, url: &Url) -> Option<String> {
        let store = self.lock();
        let mut cookies = store.matches(url);
        // Longer paths come first (RFC 6265 §5.4). The order of the others is not that of the store's
        // map, which differs between runs.
        cookies.sort_by_key(|cookie| (Reverse(cookie.path.len()), cookie.name().to_owned()));
        let pairs: Vec<_> =
            cookies.iter().map(|cookie| format!("{}={}", cookie.name(), cookie.value())).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    fn lock(&self) -> MutexGuard<'_, CookieStore> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stores a cookie of the server of `url`. Returns false if it is not valid, or there is no room.
fn put(store: &mut CookieStore, url: &Url, set_cookie: &str) -> bool {
    if set_cookie.len() > MAX_COOKIE_LEN {
        return false;
    }
    let Ok(raw) = RawCookie::parse(set_cookie) else { return false };
    let whole_domain = raw.domain().filter(|domain| Some(*domain) != url.host_str());
    if whole_domain.is_some_and(|domain| !domain.trim_start_matches('.').contains('.')) {
        return false;
    }
    let Ok(cookie) = Cookie::try_from_raw_cookie(&raw, url) else { return false };
    let domain = cookie.domain.as_cow().unwrap_or_default();
    let is_new = !store.contains_any(&domain, &cookie.path, cookie.name());
    if is_new && store.iter_any().count() >= MAX_COOKIES {
        return false;
    }
    store.insert(cookie.into_owned(), url).is_ok()
}

/// The URL by which cookies are stored: `http:` for `ws:`, and `https:` for `wss:`.
fn url_of(target: &Target) -> Option<Url> {
    let scheme = if target.secure { "https" } else { "http" };
    Url::parse(&format!("{scheme}://{}{}", target.authority(), target.uri.path())).ok()
}

fn text(value: &HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok()
}

/// Does not show the cookies.
impl fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cookies = self.lock().iter_any().count();
        f.debug_struct("CookieJar").field("cookies", &cookies).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jar(url: &str, cookies: &[&str]) -> CookieJar {
        let jar = CookieJar::new();
        for cookie in cookies {
            jar.store(url, cookie).unwrap();
        }
        jar
    }

    #[test]
    fn cookies_are_sent_where_they_belong() {
        let cookies = ["host=1", "path=2; Path=/a", "all=3; Domain=example.com", "tls=4; Secure"];
        let jar = jar("wss://chat.example.com/a/b", &cookies);
        for (url, expected) in [
            ("wss://chat.example.com/a/b", Some("all=3; host=1; path=2; tls=4")),
            ("ws://chat.example.com/a/b", Some("all=3; host=1; path=2")),
            ("wss://chat.example.com/", None),
            ("wss://other.example.com/a/", Some("all=3")),
            ("wss://example.org/a/", None),
        ] {
            assert_eq!(jar.header(url).unwrap().as_deref(), expected, "{url}");
        }
        jar.clear();
        assert_eq!(jar.header("wss://chat.example.com/a/b").unwrap(), None);
    }

    #[test]
    fn cookies_that_a_server_may_not_set_are_ignored() {
        let long = format!("a={}", "x".repeat(MAX_COOKIE_LEN));
        for cookie in ["a=1; Domain=com", "a=1; Domain=.com", "a=1; Domain=example.org", "a", &long]
        {
            let jar = CookieJar::new();
            assert!(!jar.store("ws://example.com/", cookie).unwrap(), "{cookie:.40}");
            assert_eq!(jar.header("ws://example.com/").unwrap(), None, "{cookie:.40}");
        }
        assert_eq!(
            CookieJar::new().store("http://example.com/", "a=1").unwrap_err(),
            UrlError::SchemeUnsupported
        );
    }

    #[test]
    fn a_cookie_is_replaced_and_removed_by_its_server() {
        let jar = jar("ws://example.com/", &["a=1", "a=2"]);
        assert_eq!(jar.header("ws://example.com/").unwrap().as_deref(), Some("a=2"));
        jar.store("ws://example.com/", "a=; Max-Age=0").unwrap();
        assert_eq!(jar.header("ws://example.com/").unwrap(), None);
    }

    #[test]
    fn the_number_of_cookies_is_bounded() {
        let jar = CookieJar::new();
        for number in 0..2 * MAX_COOKIES {
            jar.store("ws://example.com/", &format!("c{number}=x; Path=/{number}")).unwrap();
        }
        assert_eq!(jar.lock().iter_any().count(), MAX_COOKIES);
        assert!(jar.store("ws://example.com/", "c0=y; Path=/0").unwrap(), "one is replaced");
        assert_eq!(jar.header("ws://example.com/0").unwrap().as_deref(), Some("c0=y"));
    }
}
