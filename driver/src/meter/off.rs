//! Metrics without the feature `metrics`: nothing is recorded.

use std::sync::Arc;

use http::Response;
use sockless_core::{Closed, Instant, Role, Stats};

#[inline(always)]
pub(crate) fn is_recorded() -> bool {
    false
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch;

impl Stopwatch {
    #[inline(always)]
    pub(crate) fn start(_now: impl FnOnce() -> Instant) -> Self {
        Self
    }
}

pub(crate) struct SessionMeter;

impl SessionMeter {
    #[inline(always)]
    pub(crate) fn open(_role: Role, _route: Option<&Arc<str>>, _now: Instant) -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn is_on(&self) -> bool {
        false
    }

    #[inline(always)]
    pub(crate) fn record(&mut self, _stats: &Stats, _held: usize) {}

    #[inline(always)]
    pub(crate) fn turn_exhausted(&self) {}

    #[inline(always)]
    pub(crate) fn handshake_ended(&self, _began: Stopwatch, _now: Instant) {}

    #[inline(always)]
    pub(crate) fn handler_ended(&self, _how: &'static str, _now: Instant) {}

    #[inline(always)]
    pub(crate) fn closed(&mut self, _closed: &Closed) {}
}

#[derive(Debug, Default)]
pub(crate) struct BudgetMeter(());

impl BudgetMeter {
    #[inline(always)]
    pub(crate) fn set(&self, _limit: usize) {}
}

#[inline(always)]
pub(crate) fn rejected(_reason: &'static str) {}

#[inline(always)]
pub(crate) fn rejected_with<B>(_reason: &'static str, _response: &Response<B>) {}

#[inline(always)]
pub(crate) fn with_reason<B>(_reason: &'static str, response: Response<B>) -> Response<B> {
    response
}

#[inline(always)]
pub(crate) fn connected(_began: Stopwatch, _now: impl FnOnce() -> Instant) {}

#[inline(always)]
pub(crate) fn connect_failed(_reason: &'static str) {}
