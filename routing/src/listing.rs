//! Routes as data: [`RouteInfo`].

use std::fmt;

use http::Method;

use crate::selector::Selector;

/// A route as [`Router::routes`](crate::Router::routes) lists it and a
/// [`RouteError`](crate::RouteError) names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteInfo {
    pub(crate) path: String,
    pub(crate) kind: RouteKind,
    pub(crate) protocols: Vec<String>,
    pub(crate) methods: Vec<Method>,
    pub(crate) selectors: Vec<Selector>,
}

impl RouteInfo {
    /// The whole path as it was written, behind the prefixes it is nested under.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What the route serves.
    pub fn kind(&self) -> RouteKind {
        self.kind
    }

    /// The subprotocols that the route serves, in the order they were named.
    pub fn protocols(&self) -> &[String] {
        &self.protocols
    }

    /// The methods that the route answers to; a WebSocket's is GET.
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// What else the route needs of a request, the outermost router's selectors first; those of the
    /// router that is asked are not among them.
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }
}

impl fmt::Display for RouteInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.path)?;
        match self.kind {
            RouteKind::RawWebSocket => f.write_str("raw WebSocket")?,
            RouteKind::Respond => f.write_str(&comma_separated(&self.methods))?,
            RouteKind::WebSocket => f.write_str("WebSocket")?,
        }
        if !self.protocols.is_empty() {
            write!(f, ": {}", comma_separated(&self.protocols))?;
        }
        f.write_str(")")?;
        for (index, selector) in self.selectors.iter().enumerate() {
            write!(f, "{} {selector}", if index == 0 { " when" } else { " and" })?;
        }
        Ok(())
    }
}

/// What a route serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RouteKind {
    /// Sessions of frames: [`websocket_raw`](crate::websocket_raw).
    RawWebSocket,
    /// Plain responses: [`respond`](crate::respond) and [`respond_async`](crate::respond_async).
    Respond,
    /// Sessions of messages: [`websocket`](crate::websocket).
    WebSocket,
}

/// The items as HTTP and people list them.
pub(crate) fn comma_separated(items: &[impl AsRef<str>]) -> String {
    let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    items.join(", ")
}
