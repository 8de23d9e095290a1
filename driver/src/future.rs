//! Futures and errors in boxes: [`BoxFuture`] and [`BoxError`].

use std::error::Error;
use std::pin::Pin;

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Any error, boxed.
pub type BoxError = Box<dyn Error + Send + Sync>;
