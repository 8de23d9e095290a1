//! Choosing the route of a request, or the reason to reject it: [`choose`].

use std::ops::ControlFlow;

use bytestring::ByteString;
use http::{Method, Version};
use sockless_core::handshake::{UpgradeError, UpgradeRequest};
use sockless_driver::Request;

use crate::origin::Origins;
use crate::path::canonical;
use crate::reject::Rejection;
use crate::route::{Responder, UpgradeHandler};
use crate::router::Router;
use crate::selector::{Selectors, Verdict};
use crate::table::{Entry, Found};
use crate::tree::{End, Visitor};

/// The route that was chosen for a request.
pub(crate) struct Chosen<'r> {
    pub(crate) entry: &'r Entry,
    pub(crate) action: ChosenAction<'r>,
    pub(crate) params: Vec<(ByteString, ByteString)>,
}

pub(crate) enum ChosenAction<'r> {
    Upgrade(&'r UpgradeHandler, UpgradeRequest),
    Respond(&'r Responder),
}

/// Chooses the route of `router` that handles `request`.
pub(crate) fn choose<'r>(router: &'r Router, request: &Request) -> Result<Chosen<'r>, Rejection> {
    let path = canonical(request.path()).map_err(Rejection::PathInvalid)?;
    let missing_query = match router.scope.selectors.check(request) {
        Verdict::Matches => None,
        Verdict::Differs => return Err(Rejection::NotFound),
        Verdict::MissingQuery(selector) => Some(selector),
    };
    let is_upgrade = request.is_upgrade();
    let mut candidates = Candidates {
        router,
        request,
        is_upgrade,
        met_websocket: false,
        failures: Failures::default(),
    };
    match router.table.search(&path, missing_query, &mut candidates) {
        ControlFlow::Break(found) => found,
        ControlFlow::Continue(()) => Err(candidates.failures.into_rejection()),
    }
}

/// Visits the routes that a path leads to, one place after another.
struct Candidates<'r, 'c> {
    router: &'r Router,
    request: &'c Request,
    is_upgrade: bool,
    /// True if an upgrade request has matched a WebSocket. Then no plain response may answer it,
    /// which would hide what is wrong with the request.
    met_websocket: bool,
    failures: Failures,
}

/// Why the routes so far did not accept the request.
#[derive(Default)]
struct Failures {
    /// The first rejection by a route of the request's method.
    first: Option<Rejection>,
    /// The methods of the other routes.
    allowed: Vec<Method>,
    /// The selector of the first route that would have accepted the request with another query.
    missing_query: Option<String>,
}

impl<'r> Visitor<'r> for Candidates<'r, '_> {
    type Found = Result<Chosen<'r>, Rejection>;

    fn check(&self, selectors: &'r Selectors) -> Verdict<'r> {
        selectors.check(self.request)
    }

    fn visit(&mut self, end: End<'r, '_, '_>) -> ControlFlow<Self::Found> {
        let ignore_slash = self.router.scope.ignore_slash.unwrap_or(false);
        let found = Found::new(self.router.table.entries(), &end, ignore_slash);
        if found.all().next().is_none() {
            return ControlFlow::Continue(());
        }
        if let Some(selector) = end.missing_query {
            self.failures.missing_query.get_or_insert_with(|| selector.to_string());
            return ControlFlow::Continue(());
        }
        let (entry, action) = match self.accept(found)? {
            Some(chosen) => chosen,
            None => return ControlFlow::Continue(()),
        };
        ControlFlow::Break(Ok(Chosen { entry, action, params: entry.params(end.captures) }))
    }
}

type Accepted<'r> = Option<(&'r Entry, ChosenAction<'r>)>;

impl<'r> Candidates<'r, '_> {
    /// Returns the route among `found` that accepts the request. Breaks if the request is rejected
    /// without trying other paths.
    fn accept(
        &mut self,
        found: Found<'r>,
    ) -> ControlFlow<Result<Chosen<'r>, Rejection>, Accepted<'r>> {
        let serves_websockets = found.websockets().next().is_some();
        if self.is_upgrade && (serves_websockets || self.met_websocket) {
            self.met_websocket = true;
            return match serves_websockets.then(|| self.grant(found)) {
                None => ControlFlow::Continue(None),
                Some(Ok(chosen)) => ControlFlow::Continue(Some(chosen)),
                Some(Err(failure @ Rejection::ProtocolNotServed { .. })) => self.note(failure),
                Some(Err(rejection)) => ControlFlow::Break(Err(rejection)),
            };
        }
        let request = self.request;
        match found.responder(request.method()) {
            Some((entry, responder)) => {
                ControlFlow::Continue(Some((entry, ChosenAction::Respond(responder))))
            }
            None if serves_websockets && is_get_or_head(request) => {
                self.note(Rejection::HandshakeInvalid(no_upgrade(request.as_http())))
            }
            None => {
                self.failures.allow(found);
                ControlFlow::Continue(None)
            }
        }
    }

    fn note<B>(&mut self, failure: Rejection) -> ControlFlow<B, Accepted<'r>> {
        self.failures.first.get_or_insert(failure);
        ControlFlow::Continue(None)
    }

    fn grant(&self, found: Found<'r>) -> Result<(&'r Entry, ChosenAction<'r>), Rejection> {
        let mut upgrade = self.request.upgrade().map_err(Rejection::HandshakeInvalid)?;
        let (entry, handler) = self.choose_protocol(found, &mut upgrade)?;
        let origins = entry.scope.origins.as_ref().or(self.router.scope.origins.as_ref());
        Origins::check(origins, self.request).map_err(Rejection::OriginRejected)?;
        Ok((entry, ChosenAction::Upgrade(handler, upgrade)))
    }

    fn choose_protocol(
        &self,
        found: Found<'r>,
        upgrade: &mut UpgradeRequest,
    ) -> Result<(&'r Entry, &'r UpgradeHandler), Rejection> {
        let served = || {
            found.websockets().flat_map(|(entry, handler)| {
                let names = entry.info.protocols.iter();
                names.map(move |name| (entry, handler, name))
            })
        };
        let chosen = if self.prefers_server_order(found) {
            served().find(|(.., name)| upgrade.subprotocols().any(|offer| offer == *name))
        } else {
            let serving = |offer: &str| served().find(|(.., name)| *name == offer);
            upgrade.subprotocols().find_map(serving)
        };
        if let Some((entry, handler, name)) = chosen {
            upgrade.select(&[name.as_str()]);
            return Ok((entry, handler));
        }
        let mut websockets = found.websockets();
        let fallback = websockets.find(|(entry, _)| entry.info.protocols.is_empty());
        fallback.ok_or_else(|| Rejection::ProtocolNotServed {
            offered: upgrade.subprotocols().next().is_some(),
            served: served().map(|(.., name)| name.clone()).collect(),
        })
    }

    fn prefers_server_order(&self, found: Found<'_>) -> bool {
        let first = found.websockets().next();
        first
            .and_then(|(entry, _)| entry.scope.server_order)
            .or(self.router.scope.server_order)
            .unwrap_or(false)
    }
}

impl Failures {
    fn allow(&mut self, found: Found<'_>) {
        for method in found.all().flat_map(|entry| &entry.info.methods) {
            if !self.allowed.contains(method) {
                self.allowed.push(method.clone());
            }
        }
    }

    /// Returns the rejection that comes closest to a success: by a route of the request's method,
    /// then for its method, then for its query.
    fn into_rejection(self) -> Rejection {
        let Self { first, allowed, missing_query } = self;
        let method = (!allowed.is_empty()).then_some(Rejection::MethodNotAllowed { allowed });
        let query = missing_query.map(|selector| Rejection::MissingQuery { selector });
        first.or(method).or(query).unwrap_or(Rejection::NotFound)
    }
}

pub(crate) fn is_get_or_head(request: &Request) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

/// The reason for which a GET gets no WebSocket, or a HEAD, which is answered like GET
/// (RFC 9110 §9.3.2).
pub(crate) fn no_upgrade(http: &http::Request<()>) -> UpgradeError {
    match http.version() {
        Version::HTTP_11 => UpgradeError::upgrade_required(http),
        _ => UpgradeError::HttpVersion,
    }
}
