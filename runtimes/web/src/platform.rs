//! The platform of windows and workers: the clock, timers, random numbers, and the event `online`.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use gloo_timers::future::TimeoutFuture;
use js_sys::{Math, Reflect};
use sockless_core::{Instant, Seed};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Crypto, EventTarget, Performance};

/// Returns the property `name` of the window or worker, if it has one of this type.
pub(crate) fn global<T: JsCast>(name: &str) -> Option<T> {
    Reflect::get(&js_sys::global(), &JsValue::from_str(name)).ok()?.dyn_into().ok()
}

/// The time since the page was loaded, by `performance.now()`.
pub(crate) fn now() -> Instant {
    // Every window and worker has it, a worklet may not.
    let millis = match global::<Performance>("performance") {
        Some(performance) => performance.now(),
        None => js_sys::Date::now(),
    };
    Instant::from_epoch(Duration::try_from_secs_f64(millis / 1000.0).unwrap_or_default())
}

/// A seed from `crypto.getRandomValues()`.
pub(crate) fn seed() -> Seed {
    let mut bytes = [0; 32];
    let crypto = global::<Crypto>("crypto");
    let drawn = crypto.map(|crypto| crypto.get_random_values_with_u8_array(&mut bytes));
    if !matches!(drawn, Some(Ok(_))) {
        // It determines nothing but delays.
        bytes.fill_with(|| (Math::random() * 256.0) as u8);
    }
    Seed::new(bytes)
}

/// A future that waits until a point in time, by `setTimeout`. Returned by
/// [`Session::sleep`](crate::Session::sleep).
///
/// Browsers delay the timers of pages that are hidden: to once a second, and after minutes to once a
/// minute.
///
/// Cancel-safe.
#[must_use = "a future does nothing unless it is awaited"]
pub struct Sleep {
    deadline: Instant,
    timer: TimeoutFuture,
}

impl Sleep {
    pub(crate) fn new(duration: Duration) -> Self {
        Self::until(now() + duration)
    }

    pub(crate) fn until(deadline: Instant) -> Self {
        Self { deadline, timer: timer(deadline.saturating_since(now())) }
    }
}

/// A timer of at most 24 days, which browsers count in 31 bits of milliseconds.
fn timer(duration: Duration) -> TimeoutFuture {
    let millis = duration.as_micros().div_ceil(1000);
    TimeoutFuture::new(millis.min(i32::MAX as u128) as u32)
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            std::task::ready!(Pin::new(&mut self.timer).poll(cx));
            let left = self.deadline.saturating_since(now());
            // Browsers round the clock, some to 16 ms.
            if left < Duration::from_millis(20) {
                return Poll::Ready(());
            }
            self.timer = timer(left);
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// Calls a function at each event `online`, with which a browser reports that there is a network again.
pub(crate) struct OnlineListener {
    target: Option<EventTarget>,
    listener: Closure<dyn FnMut()>,
}

impl OnlineListener {
    pub(crate) fn new(call: impl FnMut() + 'static) -> Self {
        let target: Option<EventTarget> = js_sys::global().dyn_into().ok();
        let listener = Closure::new(call);
        if let Some(target) = &target {
            // It fails for no listener that is a function.
            let _ = target
                .add_event_listener_with_callback("online", listener.as_ref().unchecked_ref());
        }
        Self { target, listener }
    }
}

impl Drop for OnlineListener {
    fn drop(&mut self) {
        if let Some(target) = &self.target {
            let listener = self.listener.as_ref().unchecked_ref();
            let _ = target.remove_event_listener_with_callback("online", listener);
        }
    }
}
