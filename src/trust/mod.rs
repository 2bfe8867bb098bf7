//! What clients of the proxy need to trust it: bundles of certificates, stores for those that read no PEM, and the
//! variables of the environment that name both.
//!
//! A client that replaces its own roots by a file has to find the public ones in it as well, or it could not verify what
//! the proxy relays blindly. One that adds a file to its roots gets the CA alone.

pub mod bundle;
pub mod exceptions;
pub mod files;
pub mod jks;
pub mod mobileconfig;
pub mod pkcs12;
pub mod public;
pub mod stores;
pub mod variables;
