//! The load: what clients do through a proxy.

mod client;
mod http;
mod loops;

pub(crate) use client::{Accepts, Client, Reach, Tunnel};
pub(crate) use http::{Direction, bulk, h1_requests, h2_requests};
pub(crate) use loops::{Bound, Done, Held, hold, open_loop, release, sessions};
