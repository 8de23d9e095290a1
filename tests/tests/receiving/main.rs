//! What is received by other ways than from header to end: taken over half-way, as it comes, beyond what is
//! held, and out of a buffer that was cut short.

mod cut_short;
mod partial;
mod pongs;
mod raised;
mod streamed;
