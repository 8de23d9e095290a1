//! A WebSocket route without a router, as a [`Service`].

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response};
use sockless_core::Config;
use sockless_core::handshake::UpgradeRequest;
use sockless_driver::{Answer, BoxFuture, Request, Service};

use crate::choose::{is_get_or_head, no_upgrade};
use crate::origin::Origins;
use crate::reject::Rejection;
use crate::route::WebSocketRoute;
use crate::selector::Verdict;

/// A route alone serves every path, with its own subprotocols, settings, selectors, origins and
/// guards. A request that it does not serve is answered as by a router.
///
/// ```no_run
/// use sockless::{Origins, Session, websocket};
///
/// async fn hello(session: Session) {
///     let _ = session.send("hello").await;
/// }
///
/// # async fn example() -> std::io::Result<()> {
/// sockless::serve("127.0.0.1:8080", websocket(hello).origins(Origins::same_origin())).await
/// # }
/// ```
impl Service for WebSocketRoute {
    fn call(&self, request: Request) -> BoxFuture<'_, Answer> {
        Box::pin(async move { self.answer(request).await.unwrap_or_else(Answer::Respond) })
    }

    fn config(&self) -> Arc<Config> {
        self.scope().settings(Arc::default)
    }
}

impl WebSocketRoute {
    async fn answer(&self, mut request: Request) -> Result<Answer, Response<Bytes>> {
        let upgrade = self.check(&request).map_err(|rejection| rejection.response())?;
        self.scope().attach_state(&mut request);
        let request = self.scope().admit(request).await?;
        Ok(Answer::Upgrade(self.handler()(request, upgrade, self.config())))
    }

    fn check(&self, request: &Request) -> Result<UpgradeRequest, Rejection> {
        match self.scope().selectors.check(request) {
            Verdict::Matches => {}
            Verdict::Differs => return Err(Rejection::NotFound),
            Verdict::MissingQuery(selector) => {
                return Err(Rejection::MissingQuery { selector: selector.to_string() });
            }
        }
        let upgrade = match request {
            _ if request.is_upgrade() => request.upgrade(),
            _ if is_get_or_head(request) => Err(no_upgrade(request.as_http())),
            _ => return Err(Rejection::MethodNotAllowed { allowed: vec![Method::GET] }),
        };
        let mut upgrade = upgrade.map_err(Rejection::HandshakeInvalid)?;
        self.select_protocol(&mut upgrade)?;
        Origins::check(self.scope().origins.as_ref(), request)
            .map_err(Rejection::OriginRejected)?;
        Ok(upgrade)
    }

    /// The client's order of preference decides.
    fn select_protocol(&self, upgrade: &mut UpgradeRequest) -> Result<(), Rejection> {
        let served: Vec<&str> = self.served().iter().map(String::as_str).collect();
        if served.is_empty() || upgrade.select(&served).is_some() {
            return Ok(());
        }
        Err(Rejection::ProtocolNotServed {
            offered: upgrade.subprotocols().next().is_some(),
            served: self.served().to_vec(),
        })
    }
}
