//! The protocol without a driver, as embedders use it: frames, messages in chunks, messages that are taken
//! as they arrive, and the same inputs twice.

mod chunks;
mod cut_short;
mod frame_turns;
mod frames;
mod frames_end;
mod inputs;
mod owned;
mod partial;
mod pongs;
mod raised;
mod replay;
mod streamed;
mod turns;
mod waiting;
