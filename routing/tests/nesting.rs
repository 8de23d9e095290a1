//! Nested routers: paths, state, guards, settings.

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::{get, granted, params, responded, status, upgrade, ws};
use http::{Response, StatusCode};
use sockless_core::Config;
use sockless_driver::{Request, Service};
use sockless_routing::{Router, respond, text_response};

type Verdict = Result<Request, Response<Bytes>>;

/// The names of the guards that ran, in order.
#[derive(Clone, Default)]
struct Trace(Arc<Mutex<Vec<&'static str>>>);

impl Trace {
    fn guard(&self, name: &'static str) -> impl Fn(Request) -> std::future::Ready<Verdict> + use<> {
        let trace = self.clone();
        move |request| {
            trace.0.lock().unwrap().push(name);
            std::future::ready(Ok(request))
        }
    }

    fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

async fn refuse(_request: Request) -> Verdict {
    Err(text_response(StatusCode::UNAUTHORIZED, "who are you?"))
}

#[test]
fn routers_merge_at_any_depth() {
    let inner = Router::new().route("/log", ws()).route("/", ws());
    let middle = Router::new().nest("/{tenant}", inner);
    let router = Router::new().route("/a/b/c", ws()).nest("/a", Router::new().nest("/b/", middle));
    for (path, tenant) in [("/a/b/x/log", "x"), ("/a/b/y", "y")] {
        assert_eq!(params(&granted(&router, upgrade(path))), [("tenant", tenant)]);
    }
    assert_eq!(params(&granted(&router, upgrade("/a/b/c"))), []);
    for path in ["/log", "/a/log", "/a/b/x/", "/a/b"] {
        assert_eq!(status(&router, upgrade(path)), StatusCode::NOT_FOUND, "{path}");
    }
}

#[test]
fn several_routers_share_a_prefix_and_even_a_path() {
    let router = Router::new()
        .nest("/", Router::new().route("/x", ws()))
        .nest("/", Router::new().route("/x", ws().protocol("a")))
        .nest("/", Router::new().route("/x", respond(|_| Response::new("x".into()))));
    granted(&router, upgrade("/x"));
    assert_eq!(status(&router, get("/x")), StatusCode::OK);
}

#[test]
fn of_two_parameters_with_the_same_name_the_inner_is_returned() {
    let router = Router::new().nest("/{id}", Router::new().route("/{id}", ws()));
    let upgrade = granted(&router, upgrade("/outer/inner"));
    assert_eq!(params(&upgrade), [("id", "outer"), ("id", "inner")]);
    assert_eq!(upgrade.request().param_str("id"), Some("inner"));
}

#[test]
fn guards_run_from_the_outermost_to_the_innermost() {
    let trace = Trace::default();
    let inner = Router::new().route("/x", ws()).guard(trace.guard("inner"));
    let middle = Router::new().nest("/b", inner).guard(trace.guard("middle"));
    let router = Router::new()
        .nest("/a", middle)
        .route("/y", ws())
        .guard(trace.guard("outer 1"))
        .guard(trace.guard("outer 2"));

    granted(&router, upgrade("/a/b/x"));
    assert_eq!(trace.take(), ["outer 1", "outer 2", "middle", "inner"]);
    granted(&router, upgrade("/y"));
    assert_eq!(trace.take(), ["outer 1", "outer 2"]);
}

#[test]
fn a_guard_may_reject_a_request_with_any_response() {
    let trace = Trace::default();
    let inner = Router::new().route("/x", ws()).guard(trace.guard("inner"));
    let router = Router::new().guard(refuse).nest("/a", inner);
    let response = responded(&router, upgrade("/a/x"));
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.body(), "who are you?");
    assert!(trace.take().is_empty());

    let redirect = Router::new().route("/x", ws()).guard(|_request| async {
        let response = Response::builder().status(302).header("location", "/login");
        Err(response.body(Bytes::new()).unwrap())
    });
    let response = responded(&redirect, upgrade("/x"));
    assert_eq!(response.headers()["location"], "/login");
}

#[test]
fn guards_run_before_plain_responses_too() {
    let router = Router::new()
        .route("/page", respond(|_request| Response::new("page".into())))
        .guard(refuse);
    assert_eq!(status(&router, get("/page")), StatusCode::UNAUTHORIZED);
}

#[test]
fn a_guard_applies_to_the_routes_of_its_router_only() {
    let router = Router::new()
        .nest("/admin", Router::new().guard(refuse).route("/log", ws()))
        .route("/admin/help", ws())
        .route("/echo", ws());
    assert_eq!(status(&router, upgrade("/admin/log")), StatusCode::UNAUTHORIZED);
    granted(&router, upgrade("/admin/help"));
    granted(&router, upgrade("/echo"));
}

#[test]
fn guards_do_not_run_unless_a_route_is_chosen() {
    let trace = Trace::default();
    let router = Router::new().route("/x", ws()).guard(trace.guard("guard"));
    assert_eq!(status(&router, upgrade("/y")), StatusCode::NOT_FOUND);
    assert_eq!(status(&router, get("/x")), StatusCode::UPGRADE_REQUIRED);
    let foreign = upgrade("/x").header("origin", "http://evil.example");
    assert_eq!(status(&router, foreign), StatusCode::FORBIDDEN);
    assert!(trace.take().is_empty());
}

#[test]
fn a_guard_may_be_async() {
    let router = Router::new().route("/x", ws()).guard(|request| async {
        let mut turns = 0;
        std::future::poll_fn(|cx| {
            turns += 1;
            cx.waker().wake_by_ref();
            match turns {
                3 => std::task::Poll::Ready(()),
                _ => std::task::Poll::Pending,
            }
        })
        .await;
        Ok(request)
    });
    granted(&router, upgrade("/x"));
}

#[test]
fn a_guard_reads_parameters_and_attaches_values() {
    #[derive(Clone, Debug, PartialEq)]
    struct User(String);
    let router = Router::new().route("/{name}", ws()).guard(async |mut request: Request| {
        let user = User(request.param_str("name").unwrap().to_uppercase());
        request.insert(user);
        Ok(request)
    });
    let upgrade = granted(&router, upgrade("/ada"));
    assert_eq!(upgrade.request().get::<User>(), Some(&User("ADA".into())));
}

#[test]
fn state_reaches_handlers_and_guards() {
    let router = Router::new()
        .route(
            "/x",
            respond(|request| Response::new(request.get::<String>().unwrap().clone().into())),
        )
        .guard(async |request: Request| match request.get::<String>() {
            Some(_) => Ok(request),
            None => Err(text_response(StatusCode::INTERNAL_SERVER_ERROR, "no state")),
        })
        .state("hello".to_owned());
    assert_eq!(responded(&router, get("/x")).body(), "hello");
}

#[test]
fn the_innermost_state_of_each_type_is_used() {
    let inner = Router::new().route("/x", ws()).state(2_u8).state(3_u8);
    let router = Router::new().nest("/a", inner).route("/y", ws()).state(1_u8).state("outer");
    let nested = granted(&router, upgrade("/a/x"));
    assert_eq!(nested.request().get::<u8>(), Some(&3));
    assert_eq!(nested.request().get::<&str>(), Some(&"outer"));
    assert_eq!(granted(&router, upgrade("/y")).request().get::<u8>(), Some(&1));
}

#[test]
fn a_value_that_a_guard_attaches_replaces_state() {
    let router = Router::new()
        .route("/x", ws())
        .guard(async |mut request: Request| {
            request.insert(2_u8);
            Ok(request)
        })
        .state(1_u8);
    assert_eq!(granted(&router, upgrade("/x")).request().get::<u8>(), Some(&2));
}

#[test]
fn the_outermost_settings_limit_the_heads_of_requests() {
    let inner = Router::new().websockets(Config::default().max_head_len(1));
    let router = Router::new().nest("/a", inner);
    assert_eq!(*router.config(), Config::default());
    let limited = router.websockets(Config::default().max_head_len(1024));
    assert_eq!(limited.config().get_max_head_len(), 1024);
}

#[test]
fn a_handler_does_not_have_to_be_clone_and_may_return_a_result() {
    struct NotClone;
    let held = NotClone;
    let handler = move |_session| {
        let _ = &held;
        async { Err::<(), std::io::Error>(std::io::ErrorKind::Other.into()) }
    };
    let router = Router::new()
        .route("/x", sockless_routing::websocket(handler).protocol("x"))
        .route("/x", ws().config(Config::default().ping_interval(Duration::from_secs(1))));
    granted(&router, upgrade("/x"));
}
