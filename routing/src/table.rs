//! Which routes there are, and how they lie in the tree: [`Table`], and what it refuses,
//! [`RouteError`].

use std::ops::ControlFlow;

use bytestring::ByteString;
use http::Method;
use thiserror::Error;

use crate::listing::{RouteInfo, RouteKind};
use crate::path::decode_value;
use crate::pattern::{Pattern, PatternError};
use crate::route::{Action, Open, Responder, Route};
use crate::router::Router;
use crate::scope::Scope;
use crate::selector::{Selector, Selectors};
use crate::tree::{End, Node, Visitor};

/// All routes, in the order of their definition, and the tree that finds them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    entries: Vec<Entry>,
    tree: Node,
}

/// A route in its place.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) info: RouteInfo,
    pub(crate) scope: Scope,
    pattern: Pattern,
    /// Selectors, each with the number of segments that it stands behind.
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

    /// Shows `visitor` the routes at `path`, which is in canonical form; see [`Node::search`].
    pub(crate) fn search<'t, V: Visitor<'t>>(
        &'t self,
        path: &str,
        lacks: Option<&'t Selector>,
        visitor: &mut V,
    ) -> ControlFlow<V::Found> {
        match path.strip_prefix('/') {
            Some(rest) => self.tree.search(rest, lacks, visitor),
            None => ControlFlow::Continue(()),
        }
    }
}

impl Entry {
    /// Puts `route` at `path`.
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

    /// Moves the entry beneath `prefix` and into `scope`.
    pub(crate) fn nest(mut self, prefix: &Pattern, scope: &Scope) -> Self {
        let (pattern, prefix_len) = self.pattern.beneath(prefix);
        self.pattern = pattern;
        self.pattern.written().clone_into(&mut self.info.path);
        for (at, _) in &mut self.conditions {
            *at += prefix_len;
        }
        self.narrow(prefix_len, scope.selectors.clone());
        self.scope.enter(scope);
        self
    }

    /// Puts `selectors` before all others.
    fn narrow(&mut self, at: usize, selectors: Selectors) {
        self.info.selectors.splice(0..0, selectors.iter().cloned());
        if !selectors.is_empty() {
            self.conditions.insert(0, (at, selectors));
        }
    }

    /// The values of the parameters that have a name, decoded.
    pub(crate) fn params(&self, captures: &[&str]) -> Vec<(ByteString, ByteString)> {
        let captured = self.pattern.names().zip(captures);
        captured.filter_map(|(name, value)| Some((name?.clone(), decode_value(value)))).collect()
    }
}

/// Parses the path of a route or the prefix of a router.
pub(crate) fn parse(path: &str) -> Result<Pattern, RouteError> {
    Pattern::parse(path).map_err(|error| RouteError::path_invalid(path, error))
}

/// The routes that a path leads to.
#[derive(Clone, Copy)]
pub(crate) struct Found<'t> {
    entries: &'t [Entry],
    routes: &'t [usize],
    /// Whether those are left out that a slash at the end makes a difference to: `Some` of what
    /// holds for those that do not say.
    ignore_slash: Option<bool>,
}

impl<'t> Found<'t> {
    pub(crate) fn new(router: &'t Router, end: &End<'t, '_, '_>) -> Self {
        let ignore_slash = router.scope.ignore_slash.unwrap_or(false);
        Self {
            entries: router.table.entries(),
            routes: end.routes,
            ignore_slash: end.slash_differs.then_some(ignore_slash),
        }
    }

    pub(crate) fn websockets(self) -> impl Iterator<Item = (&'t Entry, &'t Open)> {
        self.all().filter_map(|entry| match &entry.action {
            Action::Open(open) => Some((entry, open)),
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

/// A route that a router cannot take.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RouteError {
    /// Two routes would serve the same requests.
    #[error("the route {new} conflicts with {existing}: {reason}")]
    Conflict {
        /// The route that was to be added.
        new: Box<RouteInfo>,
        /// The route that is there already.
        existing: Box<RouteInfo>,
        /// What they share.
        reason: String,
    },
    /// The path cannot be a route's, or the prefix cannot be one's beginning.
    #[error("{path:?} cannot be a path: {reason}")]
    PathInvalid {
        /// The path, behind the prefixes it is nested under.
        path: String,
        /// The rule that it breaks.
        reason: String,
    },
    /// A subprotocol's name is not a token (RFC 6455 §4.1, item 10).
    #[error("{protocol:?} on {path} cannot name a subprotocol: a name is an HTTP token")]
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

/// What two routes in one place of the tree would both serve.
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
