//! A route that is served without a router.

mod common;

use common::{call, get, line, offering, request, upgrade, ws};
use http::{Method, Response};
use sockless_core::Config;
use sockless_driver::{Answer, Request, Service, Upgrade};
use sockless_routing::{Origins, WebSocketRoute};

fn ask(route: &WebSocketRoute, request: Request) -> Result<Upgrade, Response<bytes::Bytes>> {
    match pollster::block_on(route.call(request)) {
        Answer::Upgrade(upgrade) => Ok(upgrade),
        Answer::Respond(response) => Err(response),
    }
}

#[test]
fn a_route_alone_serves_every_path() {
    for path in ["/", "/a/b?c", "/%2e"] {
        assert_eq!(ask(&ws(), call(upgrade(path))).unwrap().response().status(), 101);
    }
}

#[test]
fn a_route_alone_has_its_own_protocols_settings_and_guards() {
    let route = ws()
        .protocol("v2")
        .protocol("v1")
        .configure(|config: Config| config.max_message_len(7))
        .guard(async |request: Request| match request.header("x-pass") {
            Some(_) => Ok(request),
            None => Err(Response::builder().status(401).body("no pass\n".into()).unwrap()),
        });
    assert_eq!(ask(&route, call(offering("/", "v1"))).unwrap_err().status(), 401);
    let granted = ask(&route, call(offering("/", "v1, v2").header("x-pass", "1"))).unwrap();
    assert_eq!(granted.request().subprotocol(), Some("v1"));
    assert_eq!(granted.config().get_max_message_len(), 7);
    assert_eq!(ask(&route, call(upgrade("/").header("x-pass", "1"))).unwrap_err().status(), 400);
}

#[test]
fn a_route_alone_rejects_pages_unless_its_origins_allow_them() {
    let page = || call(upgrade("/").header("origin", "https://example.com"));
    let rejected = ask(&ws(), page()).unwrap_err();
    assert_eq!(rejected.status(), 403);
    assert!(line(&rejected).contains("no origin policy"));
    assert!(ask(&ws().origins(Origins::any()), page()).is_ok());
}

#[test]
fn a_route_alone_answers_what_is_not_an_upgrade_as_a_router_does() {
    let plain = ask(&ws(), call(get("/"))).unwrap_err();
    assert_eq!(plain.status(), 426);
    let post = ask(&ws(), call(request(Method::POST, "/"))).unwrap_err();
    assert_eq!((post.status().as_u16(), post.headers()["allow"].to_str().unwrap()), (405, "GET"));
}
