//! Credentials in `Authorization`: [`bearer`] and [`basic`].

use std::future::{Ready, ready};
use std::sync::Arc;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use sockless_core::handshake::text_response;
use sockless_driver::{BoxFuture, Request};
use subtle::{Choice, ConstantTimeEq};

use super::peer::Admission;

/// Creates a guard that accepts requests with one of these bearer tokens in `Authorization` (RFC
/// 6750) and answers others with 401 and `WWW-Authenticate`.
///
/// Tokens are compared in constant time, like [`equals_secret`]. A web page cannot set
/// `Authorization` for a WebSocket: [`equals_secret`] has an example for pages.
///
/// ```
/// use sockless::guards::bearer;
/// use sockless::{Router, Session, websocket};
///
/// async fn log(session: Session) {}
///
/// let router = Router::new().route("/log", websocket(log).guard(bearer(["s3cret"])));
/// ```
pub fn bearer(
    tokens: impl IntoIterator<Item: Into<String>>,
) -> impl Fn(Request) -> Ready<Admission> + Clone + Send + Sync + 'static {
    let tokens: Arc<[String]> = tokens.into_iter().map(Into::into).collect();
    move |request| {
        let known = |given: &str| {
            let all = tokens.iter().map(|token| same(token, given));
            bool::from(all.fold(Choice::from(0), |any, one| any | one))
        };
        ready(match bearer_token(&request) {
            Some(given) if known(given) => Ok(request),
            given => Err(no_bearer(given.is_some())),
        })
    }
}

/// Like [`bearer`], with an async function that checks the token. The value that `check` returns is
/// attached to the request; `None` rejects it.
///
/// ```
/// use sockless::guards::bearer_with;
/// use sockless::{Router, Session, websocket};
///
/// #[derive(Clone)]
/// struct User(String);
///
/// async fn look_up(token: String) -> Option<User> {
///     Some(User(token.strip_prefix("token of ")?.to_owned()))
/// }
///
/// async fn chat(session: Session) {
///     let user = session.request().get::<User>();
/// }
///
/// let router = Router::new().route("/chat", websocket(chat).guard(bearer_with(look_up)));
/// ```
pub fn bearer_with<F, Fut, T>(
    check: F,
) -> impl Fn(Request) -> BoxFuture<'static, Admission> + Clone + Send + Sync + 'static
where
    F: Fn(String) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Option<T>> + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    let check = Arc::new(check);
    move |mut request| {
        let checking = bearer_token(&request).map(|token| check(token.to_owned()));
        Box::pin(async move {
            let Some(checking) = checking else {
                return Err(no_bearer(false));
            };
            let value = checking.await.ok_or_else(|| no_bearer(true))?;
            request.insert(value);
            Ok(request)
        })
    }
}

/// The name of the user, which [`basic`] attaches to the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicUser(pub String);

/// Creates a guard that accepts requests with the name and the password of one of these users in
/// `Authorization` (RFC 7617). It attaches the name as [`BasicUser`], and answers other requests
/// with 401 and `WWW-Authenticate`, upon which a browser asks its user for the credentials of
/// `realm`.
///
/// Names and passwords are compared in constant time, like [`equals_secret`].
///
/// ```
/// use sockless::guards::{BasicUser, basic};
/// use sockless::{Router, Session, websocket};
///
/// async fn log(session: Session) {
///     let BasicUser(name) = session.request().get().expect("the guard attaches it");
/// }
///
/// let guard = basic("admin", [("alice", "s3cret")]);
/// let router = Router::new().route("/log", websocket(log).guard(guard));
/// ```
///
/// # Panics
///
/// Panics if `realm` contains characters other than visible ASCII and spaces.
#[track_caller]
pub fn basic<N: Into<String>, P: Into<String>>(
    realm: &str,
    users: impl IntoIterator<Item = (N, P)>,
) -> impl Fn(Request) -> Ready<Admission> + Clone + Send + Sync + 'static {
    let challenge = basic_challenge(realm);
    let users: Arc<[(String, String)]> =
        users.into_iter().map(|(name, password)| (name.into(), password.into())).collect();
    move |mut request| {
        let known = |(name, password): &(String, String)| {
            let all = users.iter().map(|user| same(&user.0, name) & same(&user.1, password));
            bool::from(all.fold(Choice::from(0), |any, one| any | one))
        };
        ready(match basic_credentials(&request).filter(known) {
            Some((name, _)) => {
                request.insert(BasicUser(name));
                Ok(request)
            }
            None => {
                Err(unauthorized(challenge.clone(), "a user name and a password are required\n"))
            }
        })
    }
}

/// Like [`basic`], with an async function that checks the name and the password. The value that
/// `check` returns is attached to the request; `None` rejects it.
///
/// # Panics
///
/// Panics if `realm` contains characters other than visible ASCII and spaces.
#[track_caller]
pub fn basic_with<F, Fut, T>(
    realm: &str,
    check: F,
) -> impl Fn(Request) -> BoxFuture<'static, Admission> + Clone + Send + Sync + 'static
where
    F: Fn(String, String) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Option<T>> + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    let challenge = basic_challenge(realm);
    let check = Arc::new(check);
    move |mut request| {
        let checking = basic_credentials(&request).map(|(name, password)| check(name, password));
        let challenge = challenge.clone();
        Box::pin(async move {
            let value = match checking {
                Some(checking) => checking.await,
                None => None,
            };
            let reject = || unauthorized(challenge, "a user name and a password are required\n");
            request.insert(value.ok_or_else(reject)?);
            Ok(request)
        })
    }
}

/// Compares `given` with `secret` in a time that depends on their lengths only.
///
/// A web page cannot set headers for a WebSocket. It can send a token in the query, if no proxy or
/// server on the way logs queries:
///
/// ```
/// use sockless::bytes::Bytes;
/// use sockless::guards::equals_secret;
/// use sockless::http::{Response, StatusCode};
/// use sockless::{Request, text_response};
///
/// async fn require_token(request: Request) -> Result<Request, Response<Bytes>> {
///     match request.query_param("token") {
///         Some(token) if equals_secret(&token, "s3cret") => Ok(request),
///         _ => Err(text_response(StatusCode::UNAUTHORIZED, "a token is required\n")),
///     }
/// }
/// ```
pub fn equals_secret(given: &str, secret: &str) -> bool {
    same(given, secret).into()
}

fn same(a: &str, b: &str) -> Choice {
    a.as_bytes().ct_eq(b.as_bytes())
}

fn bearer_token(request: &Request) -> Option<&str> {
    credentials(request, "bearer")
}

fn basic_credentials(request: &Request) -> Option<(String, String)> {
    let decoded = BASE64.decode(credentials(request, "basic")?).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    // A name has no colon, and a password may (RFC 7617 §2).
    let (name, password) = decoded.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

/// Some clients omit the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Returns the credentials in `Authorization`, if it has this scheme, which is in lower case.
fn credentials<'c>(request: &'c Request, scheme: &str) -> Option<&'c str> {
    let (name, value) = request.header(AUTHORIZATION)?.split_once(' ')?;
    name.eq_ignore_ascii_case(scheme).then(|| value.trim())
}

/// RFC 6750 §3: the challenge names an error only if there was a token.
fn no_bearer(was_given: bool) -> Response<Bytes> {
    match was_given {
        true => {
            let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
            unauthorized(challenge, "the bearer token is invalid\n")
        }
        false => unauthorized(HeaderValue::from_static("Bearer"), "a bearer token is required\n"),
    }
}

/// RFC 7617 §2.1: the credentials are decoded as UTF-8.
#[track_caller]
fn basic_challenge(realm: &str) -> HeaderValue {
    let realm = realm.replace('\\', "\\\\").replace('"', "\\\"");
    let challenge = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
    match HeaderValue::try_from(challenge) {
        Ok(challenge) if realm.is_ascii() => challenge,
        _ => panic!("invalid realm {realm:?}: expected visible ASCII"),
    }
}

fn unauthorized(challenge: HeaderValue, why: &'static str) -> Response<Bytes> {
    let mut response = text_response(StatusCode::UNAUTHORIZED, why);
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}
