//! Chains and what is trusted about them: forged ones, unsound ones, ambiguous ones, expensive ones.

mod budget;
mod forged;
mod paths;
mod unsound;
