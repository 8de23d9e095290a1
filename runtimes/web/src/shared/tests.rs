use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Waker;

use futures_util::SinkExt;
use sockless_core::CloseCode;

use super::*;
use crate::inbox::OVERHEAD;
use crate::session::Session;

/// A browser that queues what it is passed until the test changes that.
#[derive(Default)]
struct Browser {
    messages: RefCell<Vec<Message>>,
    buffered: Cell<usize>,
    watched: Cell<u32>,
    /// It has begun to close, and has not reported it.
    is_closing: Cell<bool>,
    closed: RefCell<Vec<CloseReason>>,
}

impl Transport for Browser {
    fn transmit(self: Rc<Self>, message: &Message) -> bool {
        if self.is_closing.get() {
            return false;
        }
        self.buffered.set(self.buffered.get() + message.len());
        self.messages.borrow_mut().push(message.clone());
        true
    }

    fn buffered(&self) -> usize {
        self.buffered.get()
    }

    fn watch_buffered(self: Rc<Self>) {
        self.watched.set(self.watched.get() + 1);
    }

    fn close(self: Rc<Self>, reason: &CloseReason) {
        self.closed.borrow_mut().push(reason.clone());
    }
}

const LIMITS: Limits =
    Limits { high_water: 10, read_ahead: OVERHEAD + 1, max_unread: 2 * OVERHEAD + 10 };

fn open(has_backpressure: bool) -> (Rc<Shared>, Rc<Browser>) {
    let (shared, browser) = (Shared::new(LIMITS), Rc::new(Browser::default()));
    shared.attach(browser.clone());
    shared.opened(Agreement { has_backpressure, ..Agreement::default() });
    (shared, browser)
}

fn report(code: u16, was_clean: bool) -> CloseReport {
    CloseReport { code, text: String::new(), was_clean }
}

/// The result of one poll.
fn once<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn receive(shared: &Shared, text: &'static str) {
    shared.received(text.len(), || text.into());
}

fn recv(shared: &Shared) -> Poll<Result<Message, Closed>> {
    once(poll_fn(|cx| shared.poll_recv(cx)))
}

fn send(shared: &Shared, text: &'static str) -> Poll<Result<(), Closed>> {
    let place = shared.writers().place();
    let mut message = Some(Message::from_static(text).into());
    once(poll_fn(|cx| shared.poll_send(&mut message, &place, cx)))
}

#[test]
fn a_sink_waits_for_the_browser() {
    let (shared, browser) = open(false);
    let session = Session::new(shared.clone());
    let mut sink = session.sink::<&str>();
    let sent = || browser.messages.borrow().len();
    let drain = || {
        browser.buffered.set(0);
        shared.drained();
    };
    assert!(once(sink.feed("0123456789")).is_ready());
    assert!(once(sink.feed("next")).is_ready(), "it holds one message");
    assert!(once(sink.feed("third")).is_pending());
    assert_eq!(sent(), 1);
    drain();
    assert!(once(sink.flush()).is_pending());
    assert_eq!(sent(), 2);
    drain();
    assert!(matches!(once(sink.flush()), Poll::Ready(Ok(()))));
    assert!(once(sink.close()).is_pending());
    assert_eq!(*browser.closed.borrow(), [CloseReason::from(CloseCode::NORMAL)]);
    shared.ended(report(1000, true));
    assert!(matches!(once(sink.close()), Poll::Ready(Ok(()))));
    assert!(matches!(once(sink.send("late")), Poll::Ready(Err(_))));
}

#[test]
fn messages_are_received_in_order_and_before_the_end() {
    let (shared, _browser) = open(false);
    assert!(recv(&shared).is_pending());
    receive(&shared, "first");
    receive(&shared, "last");
    shared.ended(report(1000, true));
    assert_eq!(recv(&shared), Poll::Ready(Ok("first".into())));
    assert_eq!(recv(&shared), Poll::Ready(Ok("last".into())));
    for _ in 0..2 {
        let Poll::Ready(Err(closed)) = recv(&shared) else { panic!("it has ended") };
        assert_eq!((closed.by(), closed.is_clean()), (Party::Peer, true));
    }
}

#[test]
fn sending_waits_while_the_browser_has_queued_the_high_water_mark() {
    let (shared, browser) = open(false);
    assert_eq!(send(&shared, "0123456789"), Poll::Ready(Ok(())), "a message is queued whole");
    assert_eq!(browser.watched.get(), 0);
    assert!(send(&shared, "x").is_pending());
    assert_eq!(browser.watched.get(), 1);
    assert!(matches!(shared.try_send("x".into()), Err(TrySendError::Full(_))));
    assert!(!shared.drained(), "a future that was dropped does not wait");

    browser.buffered.set(9);
    assert_eq!(send(&shared, "y"), Poll::Ready(Ok(())));
    let sent: Vec<_> = browser.messages.borrow().iter().map(ToString::to_string).collect();
    assert_eq!(sent, ["0123456789", "y"], "what was dropped was not sent");
}

#[test]
fn a_flush_waits_until_the_browser_has_queued_nothing() {
    let (shared, browser) = open(false);
    let place = shared.writers().place();
    let flush = || once(poll_fn(|cx| shared.poll_flush(&place, cx)));
    assert_eq!(flush(), Poll::Ready(Ok(())));
    browser.buffered.set(1);
    assert!(flush().is_pending());
    assert!(shared.drained());
    browser.buffered.set(0);
    assert_eq!(flush(), Poll::Ready(Ok(())));
}

#[test]
fn a_session_ends_when_more_is_unread_than_allowed() {
    let (shared, browser) = open(false);
    receive(&shared, "12345");
    receive(&shared, "12345");
    assert_eq!(shared.end_of_session(), None);
    receive(&shared, "");
    let closed = shared.end_of_session().unwrap();
    assert_eq!(closed.by(), Party::Local);
    assert_eq!(*browser.closed.borrow(), [CloseReason::EMPTY]);
    assert_eq!(
        closed.cause().to_string(),
        "the transport failed: expected at most 138 bytes that the program has not received (max_unread), got at least 202",
    );
    assert_eq!(recv(&shared), Poll::Ready(Ok("12345".into())), "what came before is received");
    assert_eq!(Rc::strong_count(&browser), 1, "the transport is dropped");
}

#[test]
fn a_message_that_is_too_long_is_not_copied() {
    let (shared, _browser) = open(false);
    shared.received(LIMITS.max_unread - OVERHEAD + 1, || panic!("it is copied"));
    let closed = shared.end_of_session().unwrap();
    assert!(matches!(closed.cause(), Cause::Transport(_)), "{closed}");
    assert_eq!(shared.unread(), 0);

    // What it takes may be known only once it is copied.
    let (shared, _browser) = open(false);
    shared
        .received(LIMITS.max_unread - OVERHEAD, || "é".repeat(LIMITS.max_unread - OVERHEAD).into());
    assert!(shared.end_of_session().is_some());
}

#[test]
fn sending_fails_once_the_browser_has_begun_to_close() {
    let (shared, browser) = open(false);
    browser.is_closing.set(true);
    let closing = TrySendError::Closed { message: "late".into(), closed: None };
    assert_eq!(shared.try_send("late".into()), Err(closing));
    assert!(send(&shared, "late").is_pending(), "the end is waited for");
    shared.ended(report(1000, true));
    assert_eq!(send(&shared, "late"), Poll::Ready(Err(shared.end_of_session().unwrap())));
}

#[test]
fn a_reader_waits_for_room_while_the_session_is_open() {
    let (shared, _browser) = open(true);
    let place = shared.readers().place();
    let room = || once(poll_fn(|cx| shared.poll_room(&place, cx)));
    receive(&shared, "");
    assert!(room().is_ready());
    receive(&shared, "a message beyond the mark");
    assert!(room().is_pending());
    assert_eq!(shared.end_of_session(), None, "backpressure bounds what is unread");
    assert!(recv(&shared).is_ready());
    assert!(room().is_pending(), "the other one is beyond the mark alone");

    shared.close(CloseCode::NORMAL.into());
    assert!(room().is_ready(), "the peer's Close frame is behind what it has sent");
    for _ in 0..10 {
        receive(&shared, "12345");
    }
    assert!(shared.unread() <= LIMITS.max_unread, "what is too much is dropped");
    assert_eq!(shared.end_of_session(), None);
}

#[test]
fn a_session_that_does_not_receive_drops_what_arrives() {
    let (shared, _browser) = open(false);
    receive(&shared, "12345");
    shared.stop_receiving();
    for _ in 0..10 {
        receive(&shared, "12345");
    }
    assert_eq!(shared.unread(), 0);
    assert_eq!(shared.end_of_session(), None);
}

#[test]
fn closing_is_started_once_and_its_answer_is_awaited() {
    let (shared, browser) = open(false);
    shared.close((CloseCode::NORMAL, "done").into());
    shared.close(CloseCode::new(3000).unwrap().into());
    assert_eq!(*browser.closed.borrow(), [CloseReason::new(CloseCode::NORMAL, "done")]);
    assert!(send(&shared, "late").is_pending(), "the end is waited for");
    assert_eq!(browser.watched.get(), 0, "not for the browser to send");
    assert!(matches!(
        shared.try_send("late".into()),
        Err(TrySendError::Closed { closed: None, .. })
    ));

    shared.ended(report(1000, true));
    let Poll::Ready(Err(closed)) = send(&shared, "late") else { panic!("it has ended") };
    let late = TrySendError::Closed { message: "late".into(), closed: Some(closed.clone()) };
    assert_eq!(shared.try_send("late".into()), Err(late));
    assert_eq!((closed.by(), closed.is_clean()), (Party::Local, true));
    assert_eq!(closed.sent().unwrap().text(), "done");
    assert_eq!(browser.messages.borrow().len(), 0);
}

#[test]
fn a_closing_handshake_times_out() {
    let (shared, _browser) = open(false);
    shared.closing_timed_out();
    assert_eq!(shared.end_of_session(), None, "it was not started");
    shared.close(CloseCode::GOING_AWAY.into());
    shared.closing_timed_out();
    let closed = shared.end_of_session().unwrap();
    assert_eq!(closed.cause(), &Cause::Timeout(Timeout::Closing));
    assert_eq!(closed.sent(), Some(&CloseReason::EMPTY), "a browser does not send 1001");
    shared.ended(report(1006, false));
    assert_eq!(shared.end_of_session(), Some(closed), "the first end stays");
}

#[test]
fn a_connection_that_was_not_opened_is_no_session() {
    let shared = Shared::new(LIMITS);
    let place = shared.watchers().place();
    let opened = || once(poll_fn(|cx| shared.poll_opened(&place, cx)));
    assert!(opened().is_pending());
    shared.ended(report(1006, false));
    assert_eq!(opened(), Poll::Ready(false));
    shared.opened(Agreement::default());
    assert_eq!(opened(), Poll::Ready(false), "it has ended");
}

#[test]
fn a_session_that_ended_at_once_was_open() {
    let (shared, _browser) = open(false);
    receive(&shared, "hello");
    shared.ended(report(1000, true));
    let place = shared.watchers().place();
    assert_eq!(once(poll_fn(|cx| shared.poll_opened(&place, cx))), Poll::Ready(true));
    assert_eq!(recv(&shared), Poll::Ready(Ok("hello".into())));
}
