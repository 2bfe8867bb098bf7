//! Which rule a host falls under, however it is written and whatever way a client names it.

mod addresses;
mod mismatch;
mod names;
