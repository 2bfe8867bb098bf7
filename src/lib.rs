//! pinproxy: certificate pinning for clients that cannot pin.
//!
//! An intercepting forward proxy. The trip of one CONNECT, and the room that does each part of it:
//!
//! ```text
//! request ─ policy ─ dial ─ upstream_tls ─ pin ─ reply ─ client_tls ─ relay ─ report
//!  proxy    policy   upstream   tls     policy  proxy    intercept   relay   report
//! ```
//!
//! What holds, whatever the configuration (ARCHITECTURE.md says how; `tests/README.md` says which test holds it):
//!
//! 1. No byte of a client's request goes upstream without a [`policy::decision::Permit`], which only a verdict makes.
//! 2. Pins are judged on chains that were verified, never on what was merely presented; any verified path will do.
//! 3. Report-only softens pins only.
//! 4. Every session ends in exactly one event; a lost event is counted and told.
//! 5. A session is judged by the one [`proxy::Generation`] it began with, and while it relays by those that replace it.
//! 6. A name is canonicalised by [`policy::host::Host::parse`] alone; what it refuses is refused, never "unpinned".
//! 7. The CA key signs leaves, and the key of the CA that follows on it, and nothing else.
//! 8. Everything a peer can make grow has a limit with a name.
//! 9. Only `outbox`, `proxy`, `operate`, `admin` and `cli` start tasks; no lock is held across an await.
//! 10. No combination of options turns enforce and a mismatch into accept; only a chain to an anchor that the operator has
//!     declared exempt passes without a pin, or one for a host that is overridden for some hours, and its event says so.
//! 11. A clock that somebody moves loosens nothing.
//! 12. No client reaches the admin address through the proxy.

pub mod config;
pub mod files;
pub mod policy;

pub mod tls;
pub mod upstream;

pub mod materials;

pub mod authority;
pub mod intercept;

pub mod trust;

pub mod inspect;

pub mod relay;
pub mod report;

pub mod outbox;

pub mod proxy;

pub mod operate;

pub mod metrics;

pub mod overview;

pub mod admin;

pub mod cli;
