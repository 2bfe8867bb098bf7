//! The admin address of a proxy that is about to run.

use super::super::Failure;
use super::listeners::cannot_listen;
use crate::admin::{self, Guard, TlsDoor};
use crate::config::{AdminAddress, Secret};
use crate::materials::own;
use crate::metrics::Scrapes;
use crate::operate::{Beside, Operator};
use crate::overview::Overview;
use crate::tls::server::InForce;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// The admin address: bound before there is a proxy, which is to keep its clients out of it.
pub(super) struct Front {
    /// Where it is.
    pub(super) address: SocketAddr,
    listener: TcpListener,
    tls: Option<InForce>,
    guard: Guard,
}

impl Front {
    pub(super) async fn open(wanted: &AdminAddress) -> Result<Self, Failure> {
        let AdminAddress { bind, token, tls } = wanted;
        let certificate = tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        let tls = tls.as_ref().map(|tls| InForce::load(own::admin(tls))).transpose().map_err(Failure::unreachable)?;
        let bound = TcpListener::bind(bind).await.and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = bound.map_err(|error| {
            Failure::unreachable(cannot_listen(&format!("{bind}, the [admin] address"), "[admin] address", &error))
        })?;
        let guard = Guard::new(token.as_ref().map(Secret::reveal), certificate);
        Ok(Self { address, listener, tls, guard })
    }

    /// For people.
    pub(super) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// What a reload reads again.
    pub(super) fn beside(&self) -> Option<Beside> {
        let tls = self.tls.clone()?;
        Some(Beside { paths: tls.paths(), renew: Box::new(move || tls.renew()) })
    }

    /// Tells whoever asks.
    pub(super) async fn serve(self, operator: Arc<Operator>, scrapes: Scrapes, overview: Overview) {
        let Self { listener, tls, guard, .. } = self;
        let router = admin::tell(operator, Arc::new(scrapes), Arc::new(overview), guard);
        match tls {
            None => admin::serve(listener, router).await,
            Some(tls) => admin::serve(TlsDoor { listener, tls }, router).await,
        }
    }
}
