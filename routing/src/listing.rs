//! Descriptions of routes: [`RouteInfo`].

use std::fmt;

use http::Method;

use crate::selector::Selector;

/// The description of a route, as [`Router::routes`](crate::Router::routes) lists it and a
/// [`RouteError`](crate::RouteError) contains it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteInfo {
    pub(crate) path: String,
    pub(crate) kind: RouteKind,
    pub(crate) protocols: Vec<String>,
    pub(crate) methods: Vec<Method>,
    pub(crate) selectors: Vec<Selector>,
}

impl RouteInfo {
    /// Returns the whole path as the program wrote it, including the prefixes that it is nested
    /// under.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the kind of requests that the route serves.
    pub fn kind(&self) -> RouteKind {
        self.kind
    }

    /// Returns the subprotocols that the route serves, in the order in which they were added.
    pub fn protocols(&self) -> &[String] {
        &self.protocols
    }

    /// Returns the methods that the route answers. For a WebSocket this is GET.
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// Returns the selectors of the route and of the routers that it is nested in, the outermost
    /// first, without those of the router that lists it.
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

/// The kind of requests that a route serves.
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

/// Joins the items with `, `.
pub(crate) fn comma_separated(items: &[impl AsRef<str>]) -> String {
    let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    items.join(", ")
}
