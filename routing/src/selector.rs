//! Conditions on a request beside its path: [`Selector`].

use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

use sockless_driver::{HostPort, Request};

/// A condition on a request beside its path, for [`Router::when`](crate::Router::when),
/// [`WebSocketRoute::when`](crate::WebSocketRoute::when) and
/// [`RespondRoute::when`](crate::RespondRoute::when).
///
/// ```
/// use sockless::{Router, Selector, Session, websocket};
///
/// async fn feed(session: Session) {}
/// async fn feed_v2(session: Session) {}
/// async fn log(session: Session) {}
///
/// let admin = Router::new().when(Selector::local_port(9000)).route("/log", websocket(log));
/// let router = Router::new()
///     .nest("/admin", admin)
///     .route("/feed", websocket(feed_v2).when(Selector::query_value("v", "2")))
///     .route("/feed", websocket(feed));
/// ```
#[derive(Clone)]
pub struct Selector {
    /// Describes the condition. Selectors with the same text are equal.
    text: String,
    test: Test,
}

#[derive(Clone)]
enum Test {
    Custom(Arc<dyn Fn(&Request) -> bool + Send + Sync>),
    Either(Box<[Selector; 2]>),
    Host(String),
    LocalPort(u16),
    Port(u16),
    Query { name: String, value: Option<String> },
}

/// The result of checking a request against selectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict<'s> {
    Matches,
    /// The request is meant for another route.
    Differs,
    /// The request would match with the query parameter of this selector.
    MissingQuery(&'s Selector),
}

impl Selector {
    /// Selects requests for the host `name`, in any case and with any port. `*.example.com` selects
    /// all names under `example.com` at any depth, but not `example.com` itself.
    ///
    /// The host is [`Request::host`]: from the request's `Host` header, or as a trusted proxy
    /// reports it. A client can send any value.
    ///
    /// # Panics
    ///
    /// Panics if [`try_host`](Self::try_host) returns `None`.
    #[track_caller]
    pub fn host(name: &str) -> Self {
        match Self::try_host(name) {
            Some(selector) => selector,
            None => panic!(
                "invalid host {name:?}: expected example.com, *.example.com or ::1, without a port"
            ),
        }
    }

    /// Like [`host`](Self::host), for names that are only known at run time. Returns `None` if
    /// `name` is not a host or has a port.
    pub fn try_host(name: &str) -> Option<Self> {
        let name = match name.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => name.to_ascii_lowercase(),
        };
        let authority = HostPort::parse(name.strip_prefix("*.").unwrap_or(&name))?;
        let is_bare = name.ends_with(authority.host);
        // A client may send a host with commas or stars, but here they are mistakes.
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~[]:".contains(&b);
        let is_one = is_bare && authority.host.bytes().all(is_plain);
        is_one.then(|| Self { text: format!("host {name}"), test: Test::Host(name) })
    }

    /// Selects requests for the port `port` of the URL that the client opened: [`Request::port`].
    pub fn port(port: u16) -> Self {
        Self { text: format!("port {port}"), test: Test::Port(port) }
    }

    /// Selects requests whose connection was accepted on the local port `port`. A client cannot
    /// forge it.
    pub fn local_port(port: u16) -> Self {
        Self { text: format!("local port {port}"), test: Test::LocalPort(port) }
    }

    /// Selects requests with a query parameter `name`, compared decoded, of any value. If no other
    /// route accepts the request, it is answered with 400.
    pub fn query(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { text: format!("query {name:?}"), test: Test::Query { name, value: None } }
    }

    /// Selects requests with a query parameter `name` of the value `value`, both compared decoded.
    /// If the parameter is repeated, one of its values has to match. If no other route accepts the
    /// request, it is answered with 400.
    pub fn query_value(name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        let text = format!("query {name:?} = {value:?}");
        Self { text, test: Test::Query { name, value: Some(value) } }
    }

    /// Selects requests for which `test` returns true. Selectors with the same `name` are equal.
    ///
    /// `test` runs while routes are searched, also for requests that another route handles, so it
    /// should be fast. Use a [guard](crate::Router::guard) to wait for something or to reject a
    /// request.
    pub fn custom(
        name: impl Into<String>,
        test: impl Fn(&Request) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { text: format!("{:?}", name.into()), test: Test::Custom(Arc::new(test)) }
    }

    /// Selects requests that this selector or `other` selects.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let text = format!("({self} or {other})");
        Self { text, test: Test::Either(Box::new([self, other])) }
    }

    fn check(&self, request: &Request) -> Verdict<'_> {
        let matches = match &self.test {
            Test::Custom(test) => test(request),
            Test::Either(either) => {
                return match either.each_ref().map(|selector| selector.check(request)) {
                    [Verdict::Matches, _] | [_, Verdict::Matches] => Verdict::Matches,
                    [Verdict::MissingQuery(_), Verdict::MissingQuery(_)] => {
                        Verdict::MissingQuery(self)
                    }
                    _ => Verdict::Differs,
                };
            }
            Test::Host(name) => request.host().is_some_and(|host| is_host(name, host)),
            Test::LocalPort(port) => request.local_addr().is_some_and(|addr| addr.port() == *port),
            Test::Port(port) => request.port() == Some(*port),
            Test::Query { name, value } => {
                let fits =
                    |(key, text)| key == *name && value.as_ref().is_none_or(|value| text == *value);
                if !request.query_params().any(fits) {
                    return Verdict::MissingQuery(self);
                }
                true
            }
        };
        if matches { Verdict::Matches } else { Verdict::Differs }
    }
}

/// The selectors of one place in the tree, sorted and without duplicates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selectors(Vec<Selector>);

impl Selectors {
    pub(crate) fn add(&mut self, selector: Selector) {
        if let Err(place) = self.0.binary_search_by(|other| other.text.cmp(&selector.text)) {
            self.0.insert(place, selector);
        }
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        other.0.iter().cloned().for_each(|selector| self.add(selector));
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Selector> {
        self.0.iter()
    }

    /// A selector that differs takes precedence over a missing query parameter.
    pub(crate) fn check(&self, request: &Request) -> Verdict<'_> {
        let mut verdict = Verdict::Matches;
        for selector in &self.0 {
            match selector.check(request) {
                Verdict::Matches => {}
                Verdict::Differs => return Verdict::Differs,
                Verdict::MissingQuery(selector) if verdict == Verdict::Matches => {
                    verdict = Verdict::MissingQuery(selector);
                }
                Verdict::MissingQuery(_) => {}
            }
        }
        verdict
    }
}

fn is_host(name: &str, host: &str) -> bool {
    let Some(parent) = name.strip_prefix('*') else {
        return same_host(name, host);
    };
    let cut = host.len().checked_sub(parent.len()).filter(|&cut| cut > 0);
    // Hosts are ASCII, so they can be cut anywhere.
    cut.is_some_and(|cut| host[cut..].eq_ignore_ascii_case(parent))
}

fn same_host(name: &str, host: &str) -> bool {
    let address = |text: &str| -> Option<Ipv6Addr> {
        text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
    };
    match (address(name), address(host)) {
        (Some(name), Some(host)) => name == host,
        _ => name.eq_ignore_ascii_case(host),
    }
}

impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Selector {}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Selector({self})")
    }
}

/// Writes the condition.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
