//! The streams on the server, one for each namespace.

use std::time::Duration;

use async_nats::jetstream::context::{
    CreateStreamError, CreateStreamErrorKind, GetStreamErrorKind,
};
use async_nats::jetstream::stream::{Config, Republish, StorageType};
use async_nats::jetstream::{Context, ErrorCode};

use super::names::Names;
use super::unavailable;
use crate::config::History;
use crate::error::BusError;

/// The time for which messages are kept, if the history is not longer.
const MIN_AGE: Duration = Duration::from_secs(600);

/// The longest age of a history: ten years.
const MAX_AGE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

const IDEMPOTENCY_TTL: Duration = Duration::from_secs(300);

/// The messages of a room that may be there besides those of the history: marks, of which at most one
/// is stored in a [quarter](mark_interval) of the time for which messages are kept.
const MARKS: usize = 8;

/// The number of messages that are kept of one room.
pub(super) fn max_messages(history: &History) -> usize {
    history.count().min(usize::MAX - MARKS) + MARKS
}

/// The time after the last message of a room with members after which a mark takes its place, so that
/// its position does not expire.
pub(super) fn mark_interval(history: &History) -> Duration {
    stored_age(history) / 4
}

fn stored_age(history: &History) -> Duration {
    history.get_max_age().clamp(MIN_AGE, MAX_AGE)
}

/// Creates the stream of a namespace, or updates its settings if need be.
pub(super) async fn prepare(
    context: &Context,
    names: &Names,
    namespace: &str,
    history: &History,
    storage: StorageType,
) -> Result<(), BusError> {
    let name = names.stream(namespace);
    let mut config = match context.get_stream(&name).await {
        Ok(stream) => stream.cached_info().config.clone(),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(error) if error.kind() == ErrorCode::STREAM_NOT_FOUND => {
                let mut config = Config { name, storage, num_replicas: 1, ..Config::default() };
                apply(&mut config, names, namespace, history);
                let created = context.create_stream(config).await;
                return created.map(|_| ()).map_err(error_of);
            }
            GetStreamErrorKind::Request => return Err(unavailable(error)),
            _ => return Err(BusError::Rejected(error.to_string())),
        },
    };
    let before = config.clone();
    apply(&mut config, names, namespace, history);
    if config != before {
        context.update_stream(&config).await.map_err(error_of)?;
    }
    Ok(())
}

/// Changes what the rooms of the namespace need.
fn apply(config: &mut Config, names: &Names, namespace: &str, history: &History) {
    config.subjects = vec![names.all_stored(namespace)];
    config.max_messages_per_subject = i64::try_from(max_messages(history)).unwrap_or(i64::MAX);
    config.max_age = stored_age(history);
    config.duplicate_window = IDEMPOTENCY_TTL;
    config.republish = Some(Republish {
        source: names.all_stored(namespace),
        destination: names.all_live(namespace),
        headers_only: false,
    });
}

fn error_of(error: CreateStreamError) -> BusError {
    match error.kind() {
        CreateStreamErrorKind::TimedOut | CreateStreamErrorKind::JetStreamUnavailable => {
            unavailable(error)
        }
        _ => BusError::Rejected(error.to_string()),
    }
}
