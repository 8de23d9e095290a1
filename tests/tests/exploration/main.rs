//! Every interleaving of short scripts of a client and a server.

mod faults;
mod pairs;
