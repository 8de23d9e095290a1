//! What a request needs beside its path: [`Selector`].

use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

use sockless_driver::{HostPort, Request};

/// A condition on a request, beside its path, for [`Router::when`](crate::Router::when) and the
/// `when` of single routes.
///
/// ```
/// use sockless_driver::Session;
/// use sockless_routing::{Router, Selector, websocket};
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
    /// What it asks for, in words: two selectors of the same words are the same.
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

/// How a request stands to some selectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict<'s> {
    Passes,
    /// It is meant for elsewhere.
    Fails,
    /// It would pass with this in its query.
    Lacks(&'s Selector),
}

impl Selector {
    /// Requests for the host `name`, compared without regard to case, whatever the port.
    /// `*.example.com` stands for all names beneath `example.com`, at any depth, and not for that
    /// itself.
    ///
    /// It is the client's word, in `Host` or as a trusted proxy passes it on: [`Request::host`].
    ///
    /// # Panics
    ///
    /// When `name` is no host, or has a port: see [`try_host`](Self::try_host).
    #[track_caller]
    pub fn host(name: &str) -> Self {
        match Self::try_host(name) {
            Some(selector) => selector,
            None => panic!("{name:?} is not a host: write example.com, *.example.com or ::1"),
        }
    }

    /// As [`host`](Self::host), for names that are not known when the program is compiled; `None`
    /// when it is no host.
    pub fn try_host(name: &str) -> Option<Self> {
        let name = match name.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => name.to_ascii_lowercase(),
        };
        let authority = HostPort::parse(name.strip_prefix("*.").unwrap_or(&name))?;
        let is_bare = name.ends_with(authority.host);
        // A list, or a star elsewhere, is a mistake here, though a client may send such a host.
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~[]:".contains(&b);
        let is_one = is_bare && authority.host.bytes().all(is_plain);
        is_one.then(|| Self { text: format!("host {name}"), test: Test::Host(name) })
    }

    /// Requests for the port `port`, as the client has it: [`Request::port`].
    pub fn port(port: u16) -> Self {
        Self { text: format!("port {port}"), test: Test::Port(port) }
    }

    /// Requests that came in on the port `port` of this machine, which a client cannot make up.
    pub fn local_port(port: u16) -> Self {
        Self { text: format!("local port {port}"), test: Test::LocalPort(port) }
    }

    /// Requests with a query parameter `name`, decoded, of any value. Those without are answered
    /// with 400.
    pub fn query(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { text: format!("query {name:?}"), test: Test::Query { name, value: None } }
    }

    /// Requests with a query parameter `name` that has the value `value`, both decoded; one of
    /// several will do. Those without are answered with 400.
    pub fn query_value(name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        let text = format!("query {name:?} = {value:?}");
        Self { text, test: Test::Query { name, value: Some(value) } }
    }

    /// Requests that `test` is true for. Two of the same `name` count as the same selector.
    ///
    /// It is asked while a route is looked for, perhaps in vain: it had better be quick, and what
    /// has to wait or to refuse is a [guard](crate::Router::guard).
    pub fn custom(
        name: impl Into<String>,
        test: impl Fn(&Request) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { text: format!("{:?}", name.into()), test: Test::Custom(Arc::new(test)) }
    }

    /// Requests that this one or `other` selects.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let text = format!("({self} or {other})");
        Self { text, test: Test::Either(Box::new([self, other])) }
    }

    fn check(&self, request: &Request) -> Verdict<'_> {
        let passes = match &self.test {
            Test::Custom(test) => test(request),
            Test::Either(either) => {
                return match either.each_ref().map(|selector| selector.check(request)) {
                    [Verdict::Passes, _] | [_, Verdict::Passes] => Verdict::Passes,
                    [Verdict::Lacks(_), Verdict::Lacks(_)] => Verdict::Lacks(self),
                    _ => Verdict::Fails,
                };
            }
            Test::Host(name) => request.host().is_some_and(|host| is_host(name, host)),
            Test::LocalPort(port) => request.local_addr().is_some_and(|addr| addr.port() == *port),
            Test::Port(port) => request.port() == Some(*port),
            Test::Query { name, value } => {
                let fits =
                    |(key, text)| key == *name && value.as_ref().is_none_or(|value| text == *value);
                if !request.query_params().any(fits) {
                    return Verdict::Lacks(self);
                }
                true
            }
        };
        if passes { Verdict::Passes } else { Verdict::Fails }
    }
}

/// The selectors of one place, each once, in an order that does not depend on who came first.
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

    /// That a request is meant for elsewhere counts more than what it lacks.
    pub(crate) fn check(&self, request: &Request) -> Verdict<'_> {
        let mut verdict = Verdict::Passes;
        for selector in &self.0 {
            match selector.check(request) {
                Verdict::Passes => {}
                Verdict::Fails => return Verdict::Fails,
                Verdict::Lacks(lacking) if verdict == Verdict::Passes => {
                    verdict = Verdict::Lacks(lacking);
                }
                Verdict::Lacks(_) => {}
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

/// What the selector asks for, in words.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
