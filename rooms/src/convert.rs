//! The errors of rooms as those of handlers: each is among the sources of a [`sockless_driver::Error`].

use crate::error::{BusError, JoinError, PublishError};
use crate::limits::Denied;
use crate::name::RoomNameError;
use crate::position::ParsePositionError;

sockless_driver::from_others!(
    BusError,
    Denied,
    JoinError,
    ParsePositionError,
    PublishError,
    RoomNameError
);
#[cfg(feature = "nats")]
sockless_driver::from_others!(crate::bus::NatsUrlError);
#[cfg(feature = "redis")]
sockless_driver::from_others!(crate::bus::RedisUrlError);
#[cfg(all(feature = "client", feature = "json"))]
sockless_driver::from_others!(crate::json::QueueError);

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use sockless_driver::Error;

    use super::*;

    #[test]
    fn an_error_of_rooms_is_the_source_of_that_of_a_handler() {
        fn join() -> Result<(), Error> {
            Err(JoinError::Full { limit: 7 })?
        }
        let error = join().unwrap_err();
        assert_eq!(error.to_string(), JoinError::Full { limit: 7 }.to_string());
        assert_eq!(error.source().unwrap().downcast_ref(), Some(&JoinError::Full { limit: 7 }));
        assert!(error.closed().is_none());
    }
}
