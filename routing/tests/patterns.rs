//! The kinds of segments: their matches and captures.

mod common;

use common::{granted, page, params, status, taken, upgrade, ws};
use http::StatusCode;
use sockless_routing::Router;

/// Returns the captures of the route `pattern` in `path`, if it matches.
fn captured(pattern: &str, path: &str) -> Option<Vec<(String, String)>> {
    let router = Router::new().route(pattern, ws());
    match common::answer(&router, upgrade(path)) {
        sockless_driver::Answer::Upgrade(upgrade) => {
            let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
            Some(params(&upgrade).into_iter().map(own).collect())
        }
        sockless_driver::Answer::Respond(response) => {
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{pattern} {path}");
            None
        }
    }
}

/// Asserts that `pattern` matches these paths and captures these values.
#[track_caller]
fn matches(pattern: &str, paths: &[(&str, &[&str])]) {
    for (path, values) in paths {
        let found = captured(pattern, path);
        let found = found.unwrap_or_else(|| panic!("{pattern} does not match {path}"));
        let found: Vec<_> = found.iter().map(|(_, value)| &**value).collect();
        assert_eq!(found, *values, "{pattern} {path}");
    }
}

#[track_caller]
fn does_not_match(pattern: &str, paths: &[&str]) {
    for path in paths {
        assert_eq!(captured(pattern, path), None, "{pattern} {path}");
    }
}

#[test]
fn a_type_is_checked_while_matching() {
    matches(
        "/user/{id:u64}",
        &[("/user/0", &["0"]), ("/user/18446744073709551615", &["18446744073709551615"])],
    );
    does_not_match(
        "/user/{id:u64}",
        &["/user/", "/user/x", "/user/-1", "/user/1.0", "/user/18446744073709551616"],
    );
    matches(
        "/{a:i8}/{b:bool}",
        &[("/-128/true", &["-128", "true"]), ("/%37/f%61lse", &["7", "false"])],
    );
    does_not_match("/{a:i8}/{b:bool}", &["/128/true", "/1/True", "/1/1"]);
}

#[test]
fn every_integer_type_is_a_parameter_type() {
    for kind in
        ["i8", "i16", "i32", "i64", "i128", "isize", "u8", "u16", "u32", "u64", "u128", "usize"]
    {
        let router = Router::new().route(&format!("/{{n:{kind}}}"), ws());
        let upgrade_ = granted(&router, upgrade("/42"));
        assert_eq!(upgrade_.request().param::<u8>("n"), Ok(42), "{kind}");
        assert_eq!(status(&router, upgrade("/x")), StatusCode::NOT_FOUND, "{kind}");
    }
}

#[test]
fn a_value_that_does_not_parse_is_passed_to_other_routes() {
    let router = Router::new().route("/{id:u64}", page("number")).route("/{name}", page("name"));
    assert_eq!((taken(&router, "/7"), taken(&router, "/ada")), ("number".into(), "name".into()));
}

#[test]
fn a_parameter_may_have_a_prefix_and_a_suffix() {
    matches("/v{n}", &[("/v2", &["2"]), ("/vv", &["v"])]);
    does_not_match("/v{n}", &["/v", "/", "/V2", "/v2/"]);
    matches(
        "/{name}.json",
        &[("/a.json", &["a"]), ("/a.b.json", &["a.b"]), ("/.json.json", &[".json"])],
    );
    does_not_match("/{name}.json", &["/.json", "/a.xml", "/a.json.x"]);
    matches("/a{x}a", &[("/aba", &["b"]), ("/aaa", &["a"])]);
    does_not_match("/a{x}a", &["/aa", "/a"]);
    matches("/at-{x:u8}!", &[("/at-7!", &["7"]), ("/at-7%21", &["7"])]);
    does_not_match("/at-{x:u8}!", &["/at-x!", "/at-7"]);
}

#[test]
fn a_prefix_or_suffix_does_not_match_part_of_an_escape() {
    does_not_match("/{x}5", &["/a%25"]);
    does_not_match("/{x}F", &["/a%2F"]);
    does_not_match("/{x}2F", &["/a%2F"]);
    matches("/{x}5", &[("/%255", &["%"])]);
    matches("/{x}%2Fb", &[("/a%2fb", &["a"])]);
    matches("/a{x}", &[("/a%2F", &["/"])]);
}

#[test]
fn an_optional_segment_may_be_missing() {
    matches("/a/{id?}", &[("/a/5", &["5"]), ("/a", &[]), ("/a/", &[])]);
    does_not_match("/a/{id?}", &["/", "/a/5/", "/a/5/6", "/a//"]);
    matches("/{id?}", &[("/", &[]), ("/x", &["x"])]);
    matches("/a/{id:u8?}", &[("/a", &[]), ("/a/5", &["5"])]);
    does_not_match("/a/{id:u8?}", &["/a/x"]);
    matches("/a/v{id?}", &[("/a", &[]), ("/a/v5", &["5"])]);
    does_not_match("/a/v{id?}", &["/a/5", "/a/v"]);
}

#[test]
fn the_wildcard_matches_one_segment_and_captures_nothing() {
    matches("/a/*/{x}", &[("/a/b/c", &["c"]), ("/a/%2F/c", &["c"])]);
    does_not_match("/a/*/{x}", &["/a//c", "/a/c", "/a/b/c/d"]);
    matches("/*", &[("/x", &[])]);
    does_not_match("/*", &["/", "/x/"]);
    matches("/%2A", &[("/*", &[]), ("/%2a", &[])]);
    does_not_match("/%2A", &["/x"]);
}

#[test]
fn the_rest_captures_all_remaining_segments_or_none() {
    matches(
        "/files/{*rest}",
        &[
            ("/files/a/b%20c/d/", &["a/b c/d/"]),
            ("/files/a", &["a"]),
            ("/files/", &[""]),
            ("/files", &[""]),
            ("/files//", &["/"]),
        ],
    );
    does_not_match("/files/{*rest}", &["/filesx", "/", "/file"]);
    matches("/{*rest}", &[("/", &[""]), ("/a/b", &["a/b"])]);
    matches("/a/{*}", &[("/a/b/c", &[]), ("/a", &[])]);
    matches("/a/v{*rest}", &[("/a/v1/x", &["1/x"]), ("/a/v", &[""]), ("/a/v/x", &["/x"])]);
    does_not_match("/a/v{*rest}", &["/a", "/a/", "/a/x/v"]);
    matches("/{a}/{*a}", &[("/1/2/3", &["1", "2/3"])]);
}

#[test]
fn an_encoded_slash_does_not_split_a_segment() {
    matches("/chat/{room}", &[("/chat/a%2Fb", &["a/b"]), ("/chat/a%2fb", &["a/b"])]);
    does_not_match("/a/b", &["/a%2Fb"]);
}

#[test]
fn adjacent_slashes_are_not_merged() {
    does_not_match("/a/b", &["//a/b", "/a//b", "/a/b/", "/a/b//"]);
    matches("/a//b/", &[("/a//b/", &[])]);
    does_not_match("/{a}/b", &["//b"]);
}

#[test]
fn a_trailing_slash_is_ignored_if_it_is_set() {
    let router = Router::new()
        .ignore_trailing_slash(true)
        .route("/plain", page("plain"))
        .route("/slash/", page("slash"))
        .route("/p/{x}", page("parameter"))
        .route("/both", page("without"))
        .route("/both/", page("with"))
        .route("/two//", page("two"))
        .route("/", page("root"));
    for (path, name) in [
        ("/plain", "plain"),
        ("/plain/", "plain"),
        ("/slash", "slash"),
        ("/slash/", "slash"),
        ("/p/1/", "parameter"),
        ("/both", "without"),
        ("/both/", "with"),
        ("/", "root"),
        ("/plain//", "404"),
        ("/slash//", "404"),
        ("/two//", "two"),
        ("/two/", "404"),
        ("/two///", "404"),
        ("/p/", "404"),
        ("//", "404"),
    ] {
        assert_eq!(taken(&router, path), name, "{path}");
    }
}

#[test]
fn a_nested_router_inherits_whether_trailing_slashes_are_ignored() {
    let routes = || Router::new().route("/x", page("x")).route("/", page("root"));
    let router = Router::new()
        .nest("/strict", routes().ignore_trailing_slash(false))
        .nest("/outer", routes())
        .ignore_trailing_slash(true);
    for (path, name) in [
        ("/strict/x", "x"),
        ("/strict/x/", "404"),
        ("/strict", "root"),
        ("/strict/", "404"),
        ("/outer/x/", "x"),
        ("/outer/", "root"),
    ] {
        assert_eq!(taken(&router, path), name, "{path}");
    }
    let router =
        Router::new().nest("/loose", routes().ignore_trailing_slash(true)).nest("/s", routes());
    assert_eq!((taken(&router, "/loose/x/"), taken(&router, "/s/x/")), ("x".into(), "404".into()));
}

#[test]
fn a_route_without_a_path_is_at_the_path_of_its_router() {
    for inner in [Router::new().route("", ws()), Router::new().route("/", ws())] {
        let router = Router::new().nest("/x", inner.clone()).nest("/y/{id}", inner.clone());
        granted(&router, upgrade("/x"));
        assert_eq!(params(&granted(&router, upgrade("/y/7"))), [("id", "7")]);
        assert_eq!(status(&router, upgrade("/x/")), StatusCode::NOT_FOUND);
        granted(&inner, upgrade("/"));
    }
    let router = Router::new().nest("", Router::new().route("/x", ws()));
    granted(&router, upgrade("/x"));
}

#[test]
fn parameters_of_prefixes_come_first() {
    let inner = Router::new().route("/{b}/*/{*c}", ws());
    let router = Router::new().nest("/v{a:u8}/*", inner);
    let upgrade = granted(&router, upgrade("/v1/x/2/y/3/4"));
    assert_eq!(params(&upgrade), [("a", "1"), ("b", "2"), ("c", "3/4")]);
}

#[test]
fn a_path_longer_than_any_route_is_matched() {
    let router = Router::new().route("/a/a/a", ws()).route("/{x}/{y}/{*rest}", ws());
    let long = "/a".repeat(30_000);
    let upgrade_ = granted(&router, upgrade(&long));
    assert_eq!(params(&upgrade_)[2].1.len(), long.len() - "/a/a/".len());
    let slashes = "/".repeat(60_000);
    assert_eq!(status(&router, upgrade(&slashes)), StatusCode::NOT_FOUND);
}
