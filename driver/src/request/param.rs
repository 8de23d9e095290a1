//! The error of a path parameter: [`ParamError`].

use bytes::Bytes;
use http::{Response, StatusCode};
use sockless_core::handshake::text_response;

/// A path parameter does not exist, or is not of the requested type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamError {
    name: String,
    /// The type that was requested; `None` if there is no value.
    requested: Option<&'static str>,
}

impl ParamError {
    pub(super) fn missing(name: &str) -> Self {
        Self { name: name.to_owned(), requested: None }
    }

    pub(super) fn invalid<T>(name: &str) -> Self {
        Self { name: name.to_owned(), requested: Some(std::any::type_name::<T>()) }
    }

    /// Returns the response for a request with such a path, before it is upgraded: 404.
    pub fn response(&self) -> Response<Bytes> {
        text_response(StatusCode::NOT_FOUND, "nothing is served at this path\n")
    }
}

impl std::fmt::Display for ParamError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.requested {
            Some(requested) => write!(f, "the path parameter {:?} is not a {requested}", self.name),
            None => write!(f, "there is no path parameter {:?}", self.name),
        }
    }
}

impl std::error::Error for ParamError {}
