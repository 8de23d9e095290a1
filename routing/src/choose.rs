//! Which route takes a call, and what is wrong when none does: [`choose`].

use std::ops::ControlFlow;

use bytestring::ByteString;
use http::header::UPGRADE;
use http::{Method, Version};
use sockless_core::handshake::{UpgradeError, UpgradeRequest};
use sockless_driver::Request;

use crate::origin::Origins;
use crate::path::canonical;
use crate::reject::Rejection;
use crate::route::{Open, Responder};
use crate::router::Router;
use crate::selector::{Selectors, Verdict};
use crate::table::{Entry, Found};
use crate::tree::{End, Visitor};

/// A route that takes the call, and what it needs to.
pub(crate) struct Chosen<'r> {
    pub(crate) entry: &'r Entry,
    pub(crate) action: Chose<'r>,
    pub(crate) params: Vec<(ByteString, ByteString)>,
}

pub(crate) enum Chose<'r> {
    Open(&'r Open, UpgradeRequest),
    Respond(&'r Responder),
}

/// Finds the route of `router` that takes `request`.
pub(crate) fn choose<'r>(router: &'r Router, request: &Request) -> Result<Chosen<'r>, Rejection> {
    let path = canonical(request.path()).map_err(Rejection::PathInvalid)?;
    let lacks = match router.scope.selectors.check(request) {
        Verdict::Passes => None,
        Verdict::Fails => return Err(Rejection::NotFound),
        Verdict::Lacks(selector) => Some(selector),
    };
    let asks_for_websocket = asks_for_websocket(request.as_http());
    let mut candidates = Candidates {
        router,
        request,
        asks_for_websocket,
        met_websocket: false,
        failures: Failures::default(),
    };
    match router.table.search(&path, lacks, &mut candidates) {
        ControlFlow::Break(found) => found,
        ControlFlow::Continue(()) => Err(candidates.failures.into_rejection()),
    }
}

/// The routes that a path leads to, looked at one place after the other.
struct Candidates<'r, 'c> {
    router: &'r Router,
    request: &'c Request,
    asks_for_websocket: bool,
    /// From then on no page answers a request for a WebSocket: that would hide what is wrong.
    met_websocket: bool,
    failures: Failures,
}

/// Why the routes so far did not take the call.
#[derive(Default)]
struct Failures {
    /// The first that a route of this method failed with.
    first: Option<Rejection>,
    /// The methods of the others.
    allowed: Vec<Method>,
    /// What the query lacks for the first that would have taken it.
    lacks: Option<String>,
}

impl<'r> Visitor<'r> for Candidates<'r, '_> {
    type Found = Result<Chosen<'r>, Rejection>;

    fn check(&self, selectors: &'r Selectors) -> Verdict<'r> {
        selectors.check(self.request)
    }

    fn visit(&mut self, end: End<'r, '_, '_>) -> ControlFlow<Self::Found> {
        let found = Found::new(self.router, &end);
        if found.all().next().is_none() {
            return ControlFlow::Continue(());
        }
        if let Some(selector) = end.lacks {
            self.failures.lacks.get_or_insert_with(|| selector.to_string());
            return ControlFlow::Continue(());
        }
        let (entry, action) = match self.take(found)? {
            Some(chosen) => chosen,
            None => return ControlFlow::Continue(()),
        };
        ControlFlow::Break(Ok(Chosen { entry, action, params: entry.params(end.captures) }))
    }
}

type Taken<'r> = Option<(&'r Entry, Chose<'r>)>;

impl<'r> Candidates<'r, '_> {
    /// The route among `found` that takes the call; a break when the call is to be refused.
    fn take(&mut self, found: Found<'r>) -> ControlFlow<Result<Chosen<'r>, Rejection>, Taken<'r>> {
        let http = self.request.as_http();
        let serves_websockets = found.websockets().next().is_some();
        if self.asks_for_websocket && (serves_websockets || self.met_websocket) {
            self.met_websocket = true;
            return match serves_websockets.then(|| self.open(found)) {
                None => ControlFlow::Continue(None),
                Some(Ok(chosen)) => ControlFlow::Continue(Some(chosen)),
                Some(Err(failure @ Rejection::ProtocolNotServed { .. })) => self.note(failure),
                Some(Err(refusal)) => ControlFlow::Break(Err(refusal)),
            };
        }
        match found.responder(http.method()) {
            Some((entry, responder)) => {
                ControlFlow::Continue(Some((entry, Chose::Respond(responder))))
            }
            None if serves_websockets && is_get_or_head(http) => {
                self.note(Rejection::HandshakeInvalid(no_upgrade(http)))
            }
            None => {
                self.failures.allow(found);
                ControlFlow::Continue(None)
            }
        }
    }

    fn note<B>(&mut self, failure: Rejection) -> ControlFlow<B, Taken<'r>> {
        self.failures.first.get_or_insert(failure);
        ControlFlow::Continue(None)
    }

    fn open(&self, found: Found<'r>) -> Result<(&'r Entry, Chose<'r>), Rejection> {
        let http = self.request.as_http();
        let upgrade = match *http.method() {
            Method::CONNECT => UpgradeRequest::from_extended_connect(http),
            _ => UpgradeRequest::from_request(http),
        };
        let mut upgrade = upgrade.map_err(Rejection::HandshakeInvalid)?;
        let (entry, open) = self.choose_protocol(found, &mut upgrade)?;
        let origins = entry.scope.origins.as_ref().or(self.router.scope.origins.as_ref());
        Origins::check(origins, self.request).map_err(Rejection::OriginRefused)?;
        Ok((entry, Chose::Open(open, upgrade)))
    }

    fn choose_protocol(
        &self,
        found: Found<'r>,
        upgrade: &mut UpgradeRequest,
    ) -> Result<(&'r Entry, &'r Open), Rejection> {
        let served = || {
            found.websockets().flat_map(|(entry, open)| {
                let names = entry.info.protocols.iter();
                names.map(move |name| (entry, open, name))
            })
        };
        let chosen = if self.prefers_server_order(found) {
            served().find(|(.., name)| upgrade.subprotocols().any(|offer| offer == *name))
        } else {
            let serving = |offer: &str| served().find(|(.., name)| *name == offer);
            upgrade.subprotocols().find_map(serving)
        };
        if let Some((entry, open, name)) = chosen {
            upgrade.select(&[name.as_str()]);
            return Ok((entry, open));
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

    /// What comes nearest to an answer: that of a route for this method, then that there are other
    /// methods, then that there would be a route with another query.
    fn into_rejection(self) -> Rejection {
        let Self { first, allowed, lacks } = self;
        let method = (!allowed.is_empty()).then_some(Rejection::MethodNotAllowed { allowed });
        let query = lacks.map(|selector| Rejection::QueryLacks { selector });
        first.or(method).or(query).unwrap_or(Rejection::NotFound)
    }
}

/// Whether the request means a WebSocket, rightly formed or not.
fn asks_for_websocket(http: &http::Request<()>) -> bool {
    let is_websocket = |token: &str| token.trim().eq_ignore_ascii_case("websocket");
    match (http.method(), http.version()) {
        // In other versions `Upgrade` is to be ignored (RFC 9110 §7.8).
        (&Method::GET, Version::HTTP_11) => {
            let lines = http.headers().get_all(UPGRADE).iter();
            let mut lines = lines.filter_map(|line| line.to_str().ok());
            lines.any(|line| line.split(',').any(is_websocket))
        }
        // RFC 8441 §4. Its `:protocol` is the host's to check: the request does not hold it.
        (&Method::CONNECT, version) => version >= Version::HTTP_2,
        _ => false,
    }
}

fn is_get_or_head(http: &http::Request<()>) -> bool {
    matches!(*http.method(), Method::GET | Method::HEAD)
}

/// Why a GET, or a HEAD that is answered as GET would be (RFC 9110 §9.3.2), gets no WebSocket.
fn no_upgrade(http: &http::Request<()>) -> UpgradeError {
    match http.version() {
        Version::HTTP_11 => UpgradeError::upgrade_required(http),
        _ => UpgradeError::HttpVersion,
    }
}
