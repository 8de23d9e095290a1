//! Headers of the response that opens a session: from guards, from routes, and from services around them.

mod common;

use std::panic::catch_unwind;

use common::{granted, upgrade, ws};
use http::header::{HeaderName, HeaderValue, SET_COOKIE};
use sockless_driver::{Request, ResponseHeaderError, Upgrade};
use sockless_routing::Router;

const NAME: HeaderName = HeaderName::from_static("x-added-by");

fn values(upgrade: &Upgrade, name: HeaderName) -> Vec<&str> {
    upgrade.response().headers().get_all(name).iter().map(|it| it.to_str().unwrap()).collect()
}

#[test]
fn guards_routes_and_services_add_headers_to_the_101() {
    let route = ws()
        .guard(async |mut request: Request| {
            request.add_response_header(NAME, "the route's guard").unwrap();
            request.add_response_header(SET_COOKIE, "id=1; HttpOnly").unwrap();
            Ok(request)
        })
        .response_header(NAME, HeaderValue::from_static("the route"));
    let router = Router::new()
        .guard(async |mut request: Request| {
            request.add_response_header(NAME, "the router's guard").unwrap();
            request.add_response_header(SET_COOKIE, "seen=1").unwrap();
            Ok(request)
        })
        .route("/", route)
        .route("/other", ws());

    // As a service around the router does.
    let mut granted_upgrade = granted(&router, upgrade("/"));
    granted_upgrade.add_header("x-request-id", "7").unwrap();
    assert_eq!(granted_upgrade.response().status(), 101);
    let added = values(&granted_upgrade, NAME);
    assert_eq!(added, ["the router's guard", "the route's guard", "the route"]);
    assert_eq!(values(&granted_upgrade, SET_COOKIE), ["seen=1", "id=1; HttpOnly"]);
    assert_eq!(values(&granted_upgrade, HeaderName::from_static("x-request-id")), ["7"]);

    assert_eq!(values(&granted(&router, upgrade("/other")), NAME), ["the router's guard"]);
}

#[test]
fn headers_of_the_handshake_are_refused_everywhere() {
    const ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");
    fn forged() -> HeaderValue {
        HeaderValue::from_static("forged")
    }
    let route = ws().guard(async |mut request: Request| {
        let error = request.add_response_header(ACCEPT, forged()).unwrap_err();
        assert!(matches!(error, ResponseHeaderError::Reserved(name) if name == ACCEPT));
        Ok(request)
    });
    let mut granted = granted(&Router::new().route("/", route), upgrade("/"));
    assert!(granted.add_header(ACCEPT, forged()).is_err());
    assert_eq!(values(&granted, ACCEPT), ["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]);
    assert!(catch_unwind(|| ws().response_header(ACCEPT, forged())).is_err());
}
