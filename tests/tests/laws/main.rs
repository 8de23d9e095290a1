//! Laws over random inputs, each failure shrunk to the smallest that fails.

mod connections;
mod escape;
mod misuse;
mod misuse_frames;
mod recordings;
