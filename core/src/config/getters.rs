//! The getters of [`Config`].

use core::time::Duration;

use super::{Config, Masking, MessageRate, Overflow, Stall};
use crate::extension::Extensions;

/// Getters, one for each setter.
impl Config {
    /// Returns the interval between pings, if pings are on. Set by
    /// [`ping_interval`](Self::ping_interval).
    #[inline]
    pub fn get_ping_interval(&self) -> Option<Duration> {
        self.ping_interval
    }

    /// Returns how long the peer may stay silent after a ping. Set by
    /// [`ping_timeout`](Self::ping_timeout).
    #[inline]
    pub fn get_ping_timeout(&self) -> Duration {
        self.ping_timeout
    }

    /// Returns how long a connection may have no message, if limited. Set by
    /// [`idle_timeout`](Self::idle_timeout).
    #[inline]
    pub fn get_idle_timeout(&self) -> Option<Duration> {
        self.idle_timeout
    }

    /// Returns how long a message may take, if limited. Set by
    /// [`message_timeout`](Self::message_timeout).
    #[inline]
    pub fn get_message_timeout(&self) -> Option<Duration> {
        self.message_timeout
    }

    /// Returns the lowest rate at which a message may arrive, if limited. Set by
    /// [`message_rate`](Self::message_rate).
    #[inline]
    pub fn get_message_rate(&self) -> Option<MessageRate> {
        self.message_rate
    }

    /// Returns how long the transport may accept no byte, if limited. Set by
    /// [`write_timeout`](Self::write_timeout).
    #[inline]
    pub fn get_write_timeout(&self) -> Option<Duration> {
        self.write_timeout
    }

    /// Returns how long a connection may be open, if limited. Set by [`max_age`](Self::max_age).
    #[inline]
    pub fn get_max_age(&self) -> Option<Duration> {
        self.max_age
    }

    /// Returns how long the opening handshake may take. Set by
    /// [`opening_timeout`](Self::opening_timeout).
    #[inline]
    pub fn get_opening_timeout(&self) -> Duration {
        self.opening_timeout
    }

    /// Returns how long the peer may take to answer a Close frame. Set by
    /// [`closing_timeout`](Self::closing_timeout).
    #[inline]
    pub fn get_closing_timeout(&self) -> Duration {
        self.closing_timeout
    }

    /// Returns the length in bytes of the longest message that is accepted whole. Set by
    /// [`max_message_len`](Self::max_message_len).
    #[inline]
    pub fn get_max_message_len(&self) -> u64 {
        self.max_message_len
    }

    /// Returns the length in bytes of the longest payload of a frame that is accepted. Set by
    /// [`max_frame_len`](Self::max_frame_len).
    #[inline]
    pub fn get_max_frame_len(&self) -> u64 {
        self.max_frame_len
    }

    /// Returns the largest number of frames of a message that is accepted. Set by
    /// [`max_fragments`](Self::max_fragments).
    #[inline]
    pub fn get_max_fragments(&self) -> u32 {
        self.max_fragments
    }

    /// Returns the length in bytes above which messages are delivered in chunks. Set by
    /// [`recv_chunk_len`](Self::recv_chunk_len).
    #[inline]
    pub fn get_recv_chunk_len(&self) -> usize {
        self.recv_chunk_len
    }

    /// Returns the length in bytes above which messages are sent in fragments. Set by
    /// [`max_send_frame_len`](Self::max_send_frame_len).
    #[inline]
    pub fn get_max_send_frame_len(&self) -> usize {
        self.max_send_frame_len
    }

    /// Returns how many bytes may wait to be sent while a connection is writable. Set by
    /// [`high_water`](Self::high_water).
    #[inline]
    pub fn get_high_water(&self) -> usize {
        self.high_water
    }

    /// Returns how many bytes of undelivered messages a driver holds. Set by
    /// [`read_ahead`](Self::read_ahead).
    #[inline]
    pub fn get_read_ahead(&self) -> usize {
        self.read_ahead
    }

    /// Returns which frames are masked when they are sent. Set by [`masking`](Self::masking).
    #[inline]
    pub fn get_masking(&self) -> Masking {
        self.masking
    }

    /// Returns `true` if received frames may be masked or not. Set by
    /// [`accept_any_masking`](Self::accept_any_masking).
    #[inline]
    pub fn get_accept_any_masking(&self) -> bool {
        self.accept_any_masking
    }

    /// Returns what happens when a message is sent while `high_water` bytes wait. Set by
    /// [`send_overflow`](Self::send_overflow).
    #[inline]
    pub fn get_send_overflow(&self) -> Overflow {
        self.send_overflow
    }

    /// Returns what happens when `read_ahead` bytes wait to be received. Set by
    /// [`recv_overflow`](Self::recv_overflow).
    #[inline]
    pub fn get_recv_overflow(&self) -> Overflow {
        self.recv_overflow
    }

    /// Returns the length in bytes of the longest HTTP head that is accepted. Set by
    /// [`max_head_len`](Self::max_head_len).
    #[inline]
    pub fn get_max_head_len(&self) -> usize {
        self.max_head_len
    }

    /// Returns the length in bytes of the longest message that is accepted in chunks, at least
    /// [`get_max_message_len`](Self::get_max_message_len). Set by
    /// [`max_streamed_len`](Self::max_streamed_len).
    #[inline]
    pub fn get_max_streamed_len(&self) -> u64 {
        self.max_streamed_len.max(self.max_message_len)
    }

    /// Returns how long a driver may leave a transport unread, if limited, given whether it can see the
    /// end of the transport without reading. Set by [`stall_timeout`](Self::stall_timeout).
    pub fn get_stall_timeout(&self, end_is_visible: bool) -> Option<Duration> {
        match self.stall_timeout {
            Stall::Default if end_is_visible => None,
            Stall::Default => Some(Duration::from_secs(300)),
            Stall::Off => None,
            Stall::After(timeout) => Some(timeout),
        }
    }

    /// Returns the extensions, in order of preference. Added by [`extension`](Self::extension).
    #[inline]
    pub fn get_extensions(&self) -> &Extensions {
        &self.extensions
    }
}
