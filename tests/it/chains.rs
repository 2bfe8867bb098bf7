//! Chains and what is trusted about them: forged ones, unsound ones, ambiguous ones, expensive ones, revoked ones.

mod budget;
mod forged;
mod paths;
mod revoked;
mod unsound;
