//! Members that come and go, as the others see it.

use bytes::Bytes;
use sockless_core::Instant;

use super::presence::Changes;
use super::{Effects, Handle, Presence, Room, SeatKey, Signal, SignalBody};
use crate::event::Occupant;
use crate::publication::MemberId;

impl<H: Handle> Room<H> {
    /// The members on all servers that are known, if the room has presence.
    pub(crate) fn presence(&self) -> Option<&Presence> {
        self.extra.as_ref()?.presence.as_deref()
    }

    fn presence_mut(&mut self) -> Option<&mut Presence> {
        self.extra.as_mut()?.presence.as_deref_mut()
    }

    /// Another server has sent a signal.
    pub(crate) fn signal(&mut self, signal: Signal, now: Instant, effects: &mut impl Effects<H>) {
        match &signal.body {
            SignalBody::Disconnect { identity, reason } => {
                if signal.node != effects.node() {
                    let is_meant = |handle: &H| handle.identity() == Some(identity);
                    self.disconnect(reason, is_meant, effects);
                }
            }
            SignalBody::Close { reason } => {
                if signal.node != effects.node() {
                    self.disconnect(reason, |_| true, effects);
                }
            }
            _ => self.present(effects, |presence| presence.signal(signal, now)),
        }
        self.announce_gone(effects);
    }

    /// Time has passed. `is_connected` is false while the bus cannot be reached.
    pub(crate) fn tick(&mut self, now: Instant, is_connected: bool, effects: &mut impl Effects<H>) {
        self.present(effects, |presence| presence.tick(now, is_connected));
        self.announce_gone(effects);
    }

    pub(super) fn announce(&mut self, key: SeatKey, data: Bytes, effects: &mut impl Effects<H>) {
        if self.presence().is_none() {
            return;
        }
        let id = MemberId { node: effects.node(), number: key.number };
        let identity = self.seat(key).and_then(|seat| seat.handle.identity().cloned());
        let occupant = Occupant { id, identity, data };
        self.present(effects, |presence| presence.join(occupant));
    }

    pub(super) fn is_gone(&mut self, number: u32) {
        if let Some(presence) = self.presence_mut() {
            presence.gone.push(number);
        }
    }

    /// Reports the members whose sessions have ended, and those that are found to be among these.
    pub(super) fn announce_gone(&mut self, effects: &mut impl Effects<H>) {
        while let Some(number) = self.presence_mut().and_then(|presence| presence.gone.pop()) {
            self.present(effects, |presence| presence.leave(number));
        }
    }

    pub(super) fn present(
        &mut self,
        effects: &mut impl Effects<H>,
        input: impl FnOnce(&mut Presence) -> Changes,
    ) {
        let Some(presence) = self.presence_mut() else { return };
        let Changes { events, signals } = input(presence);
        signals.into_iter().for_each(|signal| effects.signal(signal));
        for event in events {
            self.deliver(&event, effects);
        }
    }
}
