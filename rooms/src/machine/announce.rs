//! Members that come and go, as the others see it.

use bytes::Bytes;
use sockless_core::Instant;

use super::presence::Changes;
use super::{Effects, Handle, Presence, Room, SeatKey, Signal, SignalBody};
use crate::event::Occupant;

impl<H: Handle> Room<H> {
    /// The members on all servers that are known, if the room has presence.
    pub(crate) fn presence(&self) -> Option<&Presence> {
        self.presence.as_deref()
    }

    /// Another server has sent a signal.
    pub(crate) fn signal(&mut self, signal: Signal, now: Instant, effects: &mut impl Effects<H>) {
        match &signal.body {
            SignalBody::Disconnect { identity, reason } => {
                if signal.node != self.node {
                    let is_meant = |handle: &H| handle.identity() == Some(identity);
                    self.disconnect(reason, is_meant, effects);
                }
            }
            SignalBody::Close { reason } => {
                if signal.node != self.node {
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
        if self.presence.is_none() {
            return;
        }
        let id = self.member_id(key.number);
        let identity = self.seat(key).and_then(|seat| seat.handle.identity().cloned());
        let occupant = Occupant { id, identity, data };
        self.present(effects, |presence| presence.join(occupant));
    }

    pub(super) fn is_gone(&mut self, number: u32) {
        if let Some(presence) = &mut self.presence {
            presence.gone.push(number);
        }
    }

    /// Reports the members whose sessions have ended, and those that are found to be among these.
    pub(super) fn announce_gone(&mut self, effects: &mut impl Effects<H>) {
        while let Some(number) = self.presence.as_mut().and_then(|presence| presence.gone.pop()) {
            self.present(effects, |presence| presence.leave(number));
        }
    }

    pub(super) fn present(
        &mut self,
        effects: &mut impl Effects<H>,
        input: impl FnOnce(&mut Presence) -> Changes,
    ) {
        let Some(presence) = &mut self.presence else { return };
        let Changes { events, signals } = input(presence);
        signals.into_iter().for_each(|signal| effects.signal(signal));
        for event in events {
            self.deliver(&event, effects);
        }
    }
}
