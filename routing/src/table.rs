//! Which routes stand at which path: [`Table`], and what it refuses, [`RouteError`].

use http::Method;
use matchit::InsertError;
use thiserror::Error;

use crate::listing::{RouteInfo, RouteKind};
use crate::pattern::Pattern;
use crate::route::{Action, Open, Responder, Route};
use crate::scope::Scope;

/// All routes, in the order of their definition, and the tree that finds them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    entries: Vec<Entry>,
    paths: Vec<Path>,
    tree: matchit::Router<usize>,
}

/// A route in its place.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) info: RouteInfo,
    pub(crate) scope: Scope,
    pattern: Pattern,
    action: Action,
}

/// A path that has routes: their indices among the table's entries.
#[derive(Clone, Debug)]
struct Path {
    canonical: String,
    routes: Vec<usize>,
}

impl Table {
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    pub(crate) fn insert(&mut self, entry: Entry) -> Result<(), RouteError> {
        let canonical = entry.pattern.canonical();
        let known = self.paths.iter().position(|p| p.canonical == canonical);
        let path = match known {
            Some(path) => path,
            None => self.add_path(&entry)?,
        };
        for &other in &self.paths[path].routes {
            let existing = &self.entries[other].info;
            if let Some(reason) = overlap(&entry.info, existing) {
                return Err(RouteError::conflict(&entry.info, existing, reason));
            }
        }
        self.paths[path].routes.push(self.entries.len());
        self.entries.push(entry);
        Ok(())
    }

    /// The routes at `path`, which is in canonical form, and the parameters in it.
    pub(crate) fn find<'t, 'p>(
        &'t self,
        path: &'p str,
    ) -> Option<(Found<'t>, matchit::Params<'t, 'p>)> {
        let found = self.tree.at(path).ok()?;
        let routes = &self.paths[*found.value].routes;
        let entries = &self.entries;
        Some((Found { entries, routes }, found.params))
    }

    fn add_path(&mut self, entry: &Entry) -> Result<usize, RouteError> {
        let canonical = entry.pattern.canonical();
        let index = self.paths.len();
        self.tree.insert(canonical, index).map_err(|error| self.explain(entry, &error))?;
        self.paths.push(Path { canonical: canonical.to_owned(), routes: Vec::new() });
        Ok(index)
    }

    fn explain(&self, entry: &Entry, error: &InsertError) -> RouteError {
        let fault = match error {
            InsertError::Conflict { with } => return self.conflict_between_paths(entry, with),
            InsertError::InvalidCatchAll => "{*rest} stands at the end of a path",
            InsertError::InvalidParamSegment => "a segment holds at most one parameter",
            _ => "a parameter is written {name} or {*rest}",
        };
        RouteError::path_invalid(&entry.info.path, fault)
    }

    /// Names the route whose path is in the way of `entry`'s.
    fn conflict_between_paths(&self, entry: &Entry, with: &str) -> RouteError {
        // What matchit names may be cut short where several paths share a beginning, so the pair is
        // looked for.
        let collides = |path: &&Path| {
            let mut pair = matchit::Router::new();
            pair.insert(&*path.canonical, ()).is_ok()
                && pair.insert(entry.pattern.canonical(), ()).is_err()
        };
        match self.paths.iter().find(collides) {
            Some(path) => {
                let existing = &self.entries[path.routes[0]].info;
                RouteError::conflict(&entry.info, existing, "their paths overlap".to_owned())
            }
            None => RouteError::path_invalid(&entry.info.path, format!("it overlaps with {with}")),
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
        Ok(Self {
            info: RouteInfo {
                path: path.to_owned(),
                kind: route.kind,
                protocols: route.protocols,
                methods: route.methods,
            },
            scope: Scope::of_route(route.config),
            pattern,
            action: route.action,
        })
    }

    /// Moves the entry beneath `prefix` and into `scope`.
    pub(crate) fn nest(mut self, prefix: &Pattern, scope: &Scope) -> Self {
        self.pattern = self.pattern.beneath(prefix);
        self.pattern.written().clone_into(&mut self.info.path);
        self.scope.enter(scope);
        self
    }
}

/// Parses the path of a route or the prefix of a router.
pub(crate) fn parse(path: &str) -> Result<Pattern, RouteError> {
    Pattern::parse(path).map_err(|error| RouteError::path_invalid(path, error.to_string()))
}

/// The routes at one path, at least one.
#[derive(Clone, Copy)]
pub(crate) struct Found<'t> {
    entries: &'t [Entry],
    routes: &'t [usize],
}

impl<'t> Found<'t> {
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

    /// The methods that some route here answers to, each once.
    pub(crate) fn methods(self) -> Vec<Method> {
        let mut methods = Vec::new();
        for method in self.all().flat_map(|entry| &entry.info.methods) {
            if !methods.contains(method) {
                methods.push(method.clone());
            }
        }
        methods
    }

    fn all(self) -> impl Iterator<Item = &'t Entry> {
        self.routes.iter().map(|&index| &self.entries[index])
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

    fn path_invalid(path: &str, reason: impl Into<String>) -> Self {
        Self::PathInvalid { path: path.to_owned(), reason: reason.into() }
    }
}

/// What two routes on one path would both serve.
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
