//! The doors for operators: the control socket, which changes things and is reached from this machine alone, and the admin
//! address, which only tells. Both speak HTTP/1.1, so that curl is a client of either.

mod answer;
mod connections;
mod control;
mod exchange;
mod guard;
mod page;
mod places;
mod socket;
mod tell;
mod tls;

pub use connections::serve;
pub use control::control;
pub use guard::Guard;
pub use socket::{ControlSocket, SocketError};
pub use tell::tell;
pub use tls::TlsDoor;
