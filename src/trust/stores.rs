//! The trust stores of a machine: which there are ([`Machine::stores`]), what has to be done to one ([`Store::plan`]), and
//! doing it ([`Plan::carry_out`]).
//!
//! A plan is data: files to write and to remove, programs to run without a shell. What is put somewhere has a name that
//! follows from the certificate, and it is asked of what is there whether it is this certificate, before anything is changed
//! and again afterwards. So what others have put there stays, and what did not come about is told.

mod carrying;
mod found;
mod plan;
mod running;
mod table;

pub use carrying::{CarryError, Outcome};
pub use found::{Machine, Platform, Store};
pub use plan::{Call, Look, Plan, Step, in_quotes, quoted};

use std::fmt;

/// What kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// That of the operating system.
    System,
    /// Databases of Firefox, Chromium and Chrome (NSS).
    Nss,
    /// That of a Java.
    Java,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The CA is to be trusted.
    Install,
    /// It is to be trusted no longer, as far as this program has had a hand in it.
    Uninstall,
}

impl Family {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Nss => "nss",
            Self::Java => "java",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
