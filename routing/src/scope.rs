//! What a router puts before its routes: settings, state and guards.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use sockless::Config;
use sockless_driver::{BoxFuture, Call};

use crate::origin::Origins;

type Guard = Arc<dyn Fn(Call) -> BoxFuture<'static, Result<Call, Response<Bytes>>> + Send + Sync>;
type Attach = Arc<dyn Fn(&mut Call) + Send + Sync>;

/// What holds for all routes of one router; `None` is what an outer router says.
#[derive(Clone, Default)]
pub(crate) struct Scope {
    pub(crate) config: Option<Arc<Config>>,
    pub(crate) origins: Option<Origins>,
    pub(crate) server_order: Option<bool>,
    state: Vec<Attach>,
    guards: Vec<Guard>,
}

impl Scope {
    /// The scope of a single route that has these settings of its own.
    pub(crate) fn of_route(config: Option<Arc<Config>>) -> Self {
        Self { config, ..Self::default() }
    }

    pub(crate) fn add_guard<F, Fut>(&mut self, guard: F)
    where
        F: Fn(Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Call, Response<Bytes>>> + Send + 'static,
    {
        self.guards.push(Arc::new(move |call| Box::pin(guard(call))));
    }

    pub(crate) fn add_state<T: Any + Clone + Send + Sync>(&mut self, value: T) {
        self.state.push(Arc::new(move |call| {
            call.insert(value.clone());
        }));
    }

    /// Makes this the scope inside of `outer`: what is set here wins, what is done there comes first.
    pub(crate) fn enter(&mut self, outer: &Self) {
        fn set<T: Clone>(inner: &mut Option<T>, outer: &Option<T>) {
            if inner.is_none() {
                inner.clone_from(outer);
            }
        }
        set(&mut self.config, &outer.config);
        set(&mut self.origins, &outer.origins);
        set(&mut self.server_order, &outer.server_order);
        self.state.splice(0..0, outer.state.iter().cloned());
        self.guards.splice(0..0, outer.guards.iter().cloned());
    }

    pub(crate) fn attach_state(&self, call: &mut Call) {
        for attach in &self.state {
            attach(call);
        }
    }

    /// Passes `call` through the guards until one refuses it.
    pub(crate) async fn admit(&self, mut call: Call) -> Result<Call, Response<Bytes>> {
        for guard in &self.guards {
            call = guard(call).await?;
        }
        Ok(call)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("config", &self.config)
            .field("origins", &self.origins)
            .field("server_order", &self.server_order)
            .field("state", &self.state.len())
            .field("guards", &self.guards.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(max_message_len: u64) -> Scope {
        Scope::of_route(Some(Arc::new(Config::default().max_message_len(max_message_len))))
    }

    fn limit(scope: &Scope) -> Option<u64> {
        scope.config.as_ref().map(|config| config.max_message_len)
    }

    #[test]
    fn own_settings_win_over_the_outer_ones() {
        let mut inner = scope(1);
        inner.enter(&scope(2));
        assert_eq!(limit(&inner), Some(1));
    }

    #[test]
    fn settings_come_from_the_nearest_scope_that_has_them() {
        let mut inner = Scope::default();
        inner.enter(&Scope::default());
        assert_eq!(limit(&inner), None);
        inner.enter(&scope(2));
        inner.enter(&scope(3));
        assert_eq!(limit(&inner), Some(2));
    }
}
