//! The files of a directory, over HTTP.

use std::path::{Component, Path, PathBuf};

use sockless::bytes::Bytes;
use sockless::http::header::CONTENT_TYPE;
use sockless::http::{HeaderValue, Response, StatusCode};
use sockless::{Request, text_response};
use tokio::io::AsyncReadExt;

use crate::exit::Failure;

/// The longest file that is served: a response is held in memory until it is sent.
const MAX_LEN: u64 = 16 << 20;

/// A directory.
pub(crate) struct Files {
    root: PathBuf,
}

impl Files {
    /// Serves what is in `directory`, and nothing outside of it.
    pub(crate) fn open(directory: &Path) -> Result<Self, Failure> {
        let failure =
            |error| Failure::usage(format_args!("--dir: {}: {error}", directory.display()));
        let root = directory.canonicalize().map_err(failure)?;
        if !root.is_dir() {
            return Err(Failure::usage(format_args!(
                "--dir: {}: not a directory",
                directory.display()
            )));
        }
        Ok(Self { root })
    }

    /// Answers with the file at the request's path; a directory is answered with its `index.html`.
    pub(crate) async fn answer(&self, request: &Request) -> Response<Bytes> {
        let path = request.param_str("path").unwrap_or_default();
        match self.read(path).await {
            Ok((file, bytes)) => {
                let mut response = Response::new(bytes);
                response.headers_mut().insert(CONTENT_TYPE, content_type(&file));
                response
            }
            Err(status) => {
                let reason = status.canonical_reason().unwrap_or("error");
                text_response(status, format!("{reason}\n"))
            }
        }
    }

    async fn read(&self, path: &str) -> Result<(PathBuf, Bytes), StatusCode> {
        let relative = Path::new(path);
        let is_inside = relative.components().all(|part| matches!(part, Component::Normal(_)));
        if !is_inside {
            return Err(StatusCode::NOT_FOUND);
        }
        let mut file = self.resolve(&self.root.join(relative)).await?;
        if file.is_dir() {
            file = self.resolve(&file.join("index.html")).await?;
        }
        let metadata = tokio::fs::metadata(&file).await.map_err(|_| StatusCode::NOT_FOUND)?;
        // A pipe or a device might never end.
        if !metadata.is_file() {
            return Err(StatusCode::NOT_FOUND);
        }
        let opened = tokio::fs::File::open(&file).await.map_err(|_| StatusCode::FORBIDDEN)?;
        let mut bytes = Vec::new();
        let read = opened.take(MAX_LEN + 1).read_to_end(&mut bytes).await;
        let len = read.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
        if len as u64 > MAX_LEN {
            return Err(StatusCode::INSUFFICIENT_STORAGE);
        }
        Ok((file, bytes.into()))
    }

    /// Follows symbolic links, which may not lead out of the directory.
    async fn resolve(&self, path: &Path) -> Result<PathBuf, StatusCode> {
        let path = tokio::fs::canonicalize(path).await.map_err(|_| StatusCode::NOT_FOUND)?;
        if path.starts_with(&self.root) { Ok(path) } else { Err(StatusCode::NOT_FOUND) }
    }
}

fn content_type(file: &Path) -> HeaderValue {
    let guessed = mime_guess::from_path(file).first_or_octet_stream();
    let mut text = guessed.essence_str().to_owned();
    if guessed.type_() == mime_guess::mime::TEXT {
        text.push_str("; charset=utf-8");
    }
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}
