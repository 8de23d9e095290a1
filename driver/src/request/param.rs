//! Why a path parameter has no value: [`ParamError`].

use std::error::Error;
use std::fmt;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};

/// A path parameter is not there, or is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamError {
    name: String,
    /// The type that the value is not of; `None` when there is no value.
    wanted: Option<&'static str>,
}

impl ParamError {
    pub(super) fn missing(name: &str) -> Self {
        Self { name: name.to_owned(), wanted: None }
    }

    pub(super) fn invalid<T>(name: &str) -> Self {
        Self { name: name.to_owned(), wanted: Some(std::any::type_name::<T>()) }
    }

    /// The answer for it, where there is still time to answer: 404, since nothing is at that path.
    pub fn response(&self) -> Response<Bytes> {
        let mut response = Response::new("nothing is served at this path\n".into());
        *response.status_mut() = StatusCode::NOT_FOUND;
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, plain);
        response
    }
}

impl fmt::Display for ParamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.wanted {
            Some(wanted) => write!(f, "the path parameter {:?} is not a {wanted}", self.name),
            None => write!(f, "there is no path parameter {:?}", self.name),
        }
    }
}

impl Error for ParamError {}
