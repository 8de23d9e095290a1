//! The routes of a router and the tree that finds them: [`Table`], and the errors of adding a
//! route, [`RouteError`].

use std::ops::ControlFlow;

use bytestring::ByteString;
use http::Method;
use thiserror::Error;

use crate::listing::{RouteInfo, RouteKind};
use crate::path::decode_value;
use crate::pattern::{Pattern, PatternError};
use crate::route::{Action, Responder, Route, UpgradeHandler};
use crate::scope::Scope;
use crate::selector::{Selector, Selectors};
use crate::tree::{End, Node, Visitor};

/// All routes in the order of their definition, and the tree that finds them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    entries: Vec<Entry>,
    tree: Node,
}

/// A route with its path and its selectors.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) info: RouteInfo,
    pub(crate) scope: Scope,
    pattern: Pattern,
    /// Selectors, each with the number of segments before it.
    conditions: Vec<(usize, Selectors)>,
    action: Action,
}

impl Table {
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    pub(crate) fn insert(&mut self, entry: Entry) -> Result<(), RouteError> {
        let checked = entry.pattern.check();
        checked.map_err(|error| RouteError::path_invalid(&entry.info.path, error))?;
        let others = self.tree.insert(&entry.pattern, &entry.conditions, self.entries.len());
        for other in others {
            let existing = &self.entries[other].info;
            if let Some(reason) = overlap(&entry.info, existing) {
                return Err(RouteError::conflict(&entry.info, existing, reason));
            }
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Visits the routes at `path`, which is in canonical form; see [`Node::search`].
    pub(crate) fn search<'t, V: Visitor<'t>>(
        &'t self,
        path: &str,
        missing_query: Option<&'t Selector>,
        visitor: &mut V,
    ) -> ControlFlow<V::Found> {
        match path.strip_prefix('/') {
            Some(rest) => self.tree.search(rest, missing_query, visitor),
            None => ControlFlow::Continue(()),
        }
    }
}

impl Entry {
    /// Creates the entry of `route` at `path`.
    pub(crate) fn new(path: &str, route: Route) -> Result<Self, RouteError> {
        for protocol in &route.protocols {
            if !is_token(protocol) {
                return Err(RouteError::ProtocolInvalid {
                    path: path.to_owned(),
                    protocol: protocol.clone(),
                });
            }
        }
        let pattern = parse(path)?;
        let mut entry = Self {
            info: RouteInfo {
                path: pattern.written().to_owned(),
                kind: route.kind,
                protocols: route.protocols,
                methods: route.methods,
                selectors: Vec::new(),
            },
            conditions: Vec::new(),
            scope: route.scope,
            action: route.action,
            pattern,
        };
        let selectors = std::mem::take(&mut entry.scope.selectors);
        entry.narrow(entry.pattern.segments().len(), selectors);
        Ok(entry)
    }

    /// Prepends `prefix` to the path and moves the entry into `scope`.
    pub(crate) fn nest(mut self, prefix: &Pattern, scope: &Scope) -> Self {
        let (pattern, prefix_len) = self.pattern.prefixed_with(prefix);
        self.pattern = pattern;
        self.pattern.written().clone_into(&mut self.info.path);
        for (at, _) in &mut self.conditions {
            *at += prefix_len;
        }
        self.narrow(prefix_len, scope.selectors.clone());
        self.scope.enter(scope);
        self
    }

    /// Adds `selectors` after `at` segments, before all other selectors.
    fn narrow(&mut self, at: usize, selectors: Selectors) {
        self.info.selectors.splice(0..0, selectors.iter().cloned());
        if !selectors.is_empty() {
            self.conditions.insert(0, (at, selectors));
        }
    }

    /// Returns the parameters that have a name, with their decoded values.
    pub(crate) fn params(&self, captures: &[&str]) -> Vec<(ByteString, ByteString)> {
        let captured = self.pattern.names().zip(captures);
        captured.filter_map(|(name, value)| Some((name?.clone(), decode_value(value)))).collect()
    }
}

/// Parses the path of a route or the prefix of a router.
pub(crate) fn parse(path: &str) -> Result<Pattern, RouteError> {
    Pattern::parse(path).map_err(|error| RouteError::path_invalid(path, error))
}

/// The routes at one place of the tree that a request's path leads to.
#[derive(Clone, Copy)]
pub(crate) struct Found<'t> {
    entries: &'t [Entry],
    routes: &'t [usize],
    /// The default of `ignore_slash` if the request's path and these routes differ by a trailing
    /// slash: then routes that do not ignore it are left out.
    ignore_slash: Option<bool>,
}

impl<'t> Found<'t> {
    /// `ignore_slash` applies to the routes that do not set it.
    pub(crate) fn new(entries: &'t [Entry], end: &End<'t, '_, '_>, ignore_slash: bool) -> Self {
        let ignore_slash = end.slash_differs.then_some(ignore_slash);
        Self { entries, routes: end.routes, ignore_slash }
    }

    pub(crate) fn websockets(self) -> impl Iterator<Item = (&'t Entry, &'t UpgradeHandler)> {
        self.all().filter_map(|entry| match &entry.action {
            Action::Upgrade(handler) => Some((entry, handler)),
            Action::Respond(_) => None,
        })
    }

    pub(crate) fn responder(self, method: &Method) -> Option<(&'t Entry, &'t Responder)> {
        self.all().find_map(|entry| match &entry.action {
            Action::Respond(responder) if entry.info.methods.contains(method) => {
                Some((entry, responder))
            }
            _ => None,
        })
    }

    pub(crate) fn all(self) -> impl Iterator<Item = &'t Entry> {
        let entries = self.routes.iter().map(|&index| &self.entries[index]);
        entries.filter(move |entry| {
            self.ignore_slash.is_none_or(|outer| entry.scope.ignore_slash.unwrap_or(outer))
        })
    }
}

/// Why a route cannot be added to a router.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RouteError {
    /// Two routes would serve the same requests.
    #[error("the route {new} conflicts with {existing}: {reason}")]
    Conflict {
        /// The route that was to be added.
        new: Box<RouteInfo>,
        /// The route that exists already.
        existing: Box<RouteInfo>,
        /// The requests that both would serve.
        reason: String,
    },
    /// The path or the prefix is invalid.
    #[error("invalid route path {path:?}: {reason}")]
    PathInvalid {
        /// The path, including the prefixes that it is nested under.
        path: String,
        /// The rule that it violates.
        reason: String,
    },
    /// The name of a subprotocol is not an HTTP token (RFC 6455 §4.1, item 10).
    #[error("invalid subprotocol {protocol:?} of the route {path}: expected an HTTP token")]
    ProtocolInvalid {
        /// The path of the route.
        path: String,
        /// The name.
        protocol: String,
    },
}

impl RouteError {
    fn conflict(new: &RouteInfo, existing: &RouteInfo, reason: String) -> Self {
        Self::Conflict { new: Box::new(new.clone()), existing: Box::new(existing.clone()), reason }
    }

    fn path_invalid(path: &str, error: PatternError) -> Self {
        Self::PathInvalid { path: path.to_owned(), reason: error.to_string() }
    }
}

/// Returns the requests that two routes at one place of the tree would both serve.
fn overlap(new: &RouteInfo, existing: &RouteInfo) -> Option<String> {
    let is_respond = |route: &RouteInfo| route.kind == RouteKind::Respond;
    match (is_respond(new), is_respond(existing)) {
        (true, true) => {
            let shared = new.methods.iter().find(|m| existing.methods.contains(m))?;
            Some(format!("both answer {shared}"))
        }
        (false, false) if new.protocols.is_empty() && existing.protocols.is_empty() => {
            Some("both serve clients without a subprotocol".to_owned())
        }
        (false, false) => {
            let shared = new.protocols.iter().find(|p| existing.protocols.contains(p))?;
            Some(format!("both serve the subprotocol {shared}"))
        }
        _ => None,
    }
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let is_tchar = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(is_tchar)
}
