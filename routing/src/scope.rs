//! Settings, state and guards of a route, or of all routes of a router: [`Scope`].

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use sockless_core::Config;
use sockless_driver::{BoxFuture, Request};

use crate::origin::Origins;
use crate::selector::Selectors;

/// Defines builder methods that routers and routes have in common, on a type with a field `scope`.
/// Each is named after its documentation.
macro_rules! scope_methods {
    ($( $(#[$doc:meta])* $method:ident; )*) => {
        $( $crate::scope::scope_methods!(@$method $(#[$doc])*); )*
    };
    (@configure $(#[$doc:meta])*) => {
        $(#[$doc])*
        pub fn configure(
            mut self,
            change: impl Fn(Config) -> Config + Send + Sync + 'static,
        ) -> Self {
            self.scope.add_change(change);
            self
        }
    };
    (@guard $(#[$doc:meta])*) => {
        $(#[$doc])*
        pub fn guard<F, Fut>(mut self, guard: F) -> Self
        where
            F: Fn(Request) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = Result<Request, Response<Bytes>>> + Send + 'static,
        {
            self.scope.add_guard(guard);
            self
        }
    };
    (@when $(#[$doc:meta])*) => {
        $(#[$doc])*
        pub fn when(mut self, selector: Selector) -> Self {
            self.scope.selectors.add(selector);
            self
        }
    };
}

pub(crate) use scope_methods;

type Change = Arc<dyn Fn(Config) -> Config + Send + Sync>;
type Guard =
    Arc<dyn Fn(Request) -> BoxFuture<'static, Result<Request, Response<Bytes>>> + Send + Sync>;
type Attach = Arc<dyn Fn(&mut Request) + Send + Sync>;

/// The settings, state and guards of a route or of a router. `None` inherits from the outer router.
#[derive(Clone, Default)]
pub(crate) struct Scope {
    pub(crate) config: Option<Arc<Config>>,
    pub(crate) ignore_slash: Option<bool>,
    pub(crate) origins: Option<Origins>,
    pub(crate) server_order: Option<bool>,
    /// Not inherited by [`enter`](Self::enter): selectors belong to a place in the path.
    pub(crate) selectors: Selectors,
    /// Applied in this order to `config`, or to the settings of the outer router.
    changes: Vec<Change>,
    state: Vec<Attach>,
    guards: Vec<Guard>,
}

impl Scope {
    pub(crate) fn add_change(&mut self, change: impl Fn(Config) -> Config + Send + Sync + 'static) {
        self.changes.push(Arc::new(change));
    }

    pub(crate) fn add_guard<F, Fut>(&mut self, guard: F)
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Request, Response<Bytes>>> + Send + 'static,
    {
        self.guards.push(Arc::new(move |request| Box::pin(guard(request))));
    }

    pub(crate) fn add_state<T: Any + Clone + Send + Sync>(&mut self, value: T) {
        self.state.push(Arc::new(move |request| {
            request.insert(value.clone());
        }));
    }

    /// Runs the guards of `first` before the guards of this scope.
    pub(crate) fn prepend_guards(&mut self, first: &Self) {
        self.guards.splice(0..0, first.guards.iter().cloned());
    }

    /// Moves this scope into `outer`: settings made here take precedence, and the changes, state
    /// and guards of `outer` are applied first.
    pub(crate) fn enter(&mut self, outer: &Self) {
        fn set<T: Clone>(inner: &mut Option<T>, outer: &Option<T>) {
            if inner.is_none() {
                inner.clone_from(outer);
            }
        }
        if self.config.is_none() {
            self.config.clone_from(&outer.config);
            self.changes.splice(0..0, outer.changes.iter().cloned());
        }
        set(&mut self.ignore_slash, &outer.ignore_slash);
        set(&mut self.origins, &outer.origins);
        set(&mut self.server_order, &outer.server_order);
        self.state.splice(0..0, outer.state.iter().cloned());
        self.prepend_guards(outer);
    }

    /// Returns the settings of this scope, based on those of `outer` unless it has its own.
    pub(crate) fn settings(&self, outer: impl FnOnce() -> Arc<Config>) -> Arc<Config> {
        let base = self.config.clone().unwrap_or_else(outer);
        match self.changes.is_empty() {
            true => base,
            false => {
                let base = Arc::unwrap_or_clone(base);
                Arc::new(self.changes.iter().fold(base, |config, change| change(config)))
            }
        }
    }

    pub(crate) fn attach_state(&self, request: &mut Request) {
        for attach in &self.state {
            attach(request);
        }
    }

    /// Runs the guards one after another until one rejects `request`.
    pub(crate) async fn admit(&self, mut request: Request) -> Result<Request, Response<Bytes>> {
        for guard in &self.guards {
            request = guard(request).await?;
        }
        Ok(request)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("config", &self.config)
            .field("changes", &self.changes.len())
            .field("ignore_slash", &self.ignore_slash)
            .field("origins", &self.origins)
            .field("server_order", &self.server_order)
            .field("selectors", &self.selectors)
            .field("state", &self.state.len())
            .field("guards", &self.guards.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(max_message_len: u64) -> Scope {
        let config = Config::default().max_message_len(max_message_len);
        Scope { config: Some(Arc::new(config)), ..Scope::default() }
    }

    fn limit(scope: &Scope) -> u64 {
        scope.settings(|| Arc::new(Config::default().max_message_len(0))).get_max_message_len()
    }

    /// A scope that multiplies the outer limit by ten and adds `more`.
    fn changed(more: u64) -> Scope {
        let mut scope = Scope::default();
        scope.add_change(move |config| {
            let len = config.get_max_message_len() * 10 + more;
            config.max_message_len(len)
        });
        scope
    }

    #[test]
    fn own_settings_win_over_the_outer_ones() {
        let mut inner = scope(1);
        inner.enter(&scope(2));
        inner.enter(&changed(3));
        assert_eq!(limit(&inner), 1);
    }

    #[test]
    fn settings_come_from_the_nearest_scope_that_has_them() {
        let mut inner = Scope::default();
        inner.enter(&Scope::default());
        assert_eq!(limit(&inner), 0);
        inner.enter(&scope(2));
        inner.enter(&scope(3));
        assert_eq!(limit(&inner), 2);
    }

    #[test]
    fn changes_are_made_to_the_nearest_settings_from_the_outermost_to_the_innermost() {
        let mut inner = changed(1);
        inner.enter(&changed(2));
        assert_eq!(limit(&inner), 21);
        inner.enter(&scope(3));
        inner.enter(&changed(4));
        assert_eq!(limit(&inner), 321);
    }

    #[test]
    fn a_scope_changes_its_own_settings_too() {
        let mut scope = changed(1);
        scope.config = self::scope(5).config;
        assert_eq!(limit(&scope), 51);
    }
}
