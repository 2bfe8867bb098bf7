//! Names to addresses.

use crate::policy::host::DnsName;
use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;

/// Addresses of a name, in the order they should be tried.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// Where addresses of names come from.
pub trait Resolve: Debug + Send + Sync {
    /// Resolves a canonical name.
    fn resolve<'a>(&'a self, name: &'a DnsName) -> Resolving<'a>;
}

/// The resolver of the operating system: /etc/hosts, nsswitch, DNS; ordered by RFC 6724.
#[derive(Clone, Copy, Debug)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a DnsName) -> Resolving<'a> {
        Box::pin(async move {
            let addresses = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(addresses.map(|address| address.ip()).collect())
        })
    }
}
