//! The private proxy.

use super::super::{Failure, run, usual_ca_directory};
use crate::authority;
use crate::config::Config;
use crate::policy::access::Door;
use crate::proxy::{Assembled, Clock, Entrance, Generation, Guards, Proxy, assemble, ca_settings, serve, tell_losses};
use crate::report::Sink;
use crate::trust::bundle::Bundle;
use crate::upstream::doors::Doors;
use crate::upstream::names::Remembering;
use crate::upstream::resolve::SystemResolver;
use rustls::pki_types::CertificateDer;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A proxy that runs until it is stopped.
pub(super) struct Instance {
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// The certificate of its CA.
    pub(super) ca: Vec<CertificateDer<'static>>,
    /// The same, and the roots that it trusts.
    pub(super) bundle: Bundle,
    proxy: Arc<Proxy>,
    sinks: Guards,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Instance {
    /// Starts it on a free port of 127.0.0.1.
    pub(super) async fn start(config: &Config, sinks: Vec<Box<dyn Sink>>) -> Result<Self, Failure> {
        let clock = Clock::system();
        let settings = ca_settings(config).map_err(Failure::unusable)?;
        let authority = Arc::new(authority::in_memory(settings, clock.now()).map_err(Failure::unreachable)?);
        let ca = authority.certificates().to_vec();
        // The CA of the service may be among the system's roots. It is no more an anchor here than there.
        let service = config.ca.directory.clone().or_else(usual_ca_directory);
        let service = service.map(|directory| authority::sight(&directory).certificates().to_vec()).unwrap_or_default();
        let own: Vec<_> = ca.iter().cloned().chain(service).collect();
        let generation = Generation::load(config, 1, &own).map_err(Failure::unreachable)?;
        let bundle = Bundle::of(&ca, &generation.materials.common);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(Failure::unreachable)?;
        let address = listener.local_addr().map_err(Failure::unreachable)?;
        let doors = Doors::default().and(Door::Proxy, [address]);
        let resolver = Arc::new(Remembering::new(SystemResolver));
        let assembled = assemble(config, generation, &authority, resolver, clock, doors, sinks);
        let Assembled { proxy, sinks, .. } = assembled.map_err(Failure::unreachable)?;
        run::prepare_rsa(&proxy);
        let (stop, stopped) = oneshot::channel();
        let serving =
            tokio::spawn(serve(vec![Entrance::forward(listener)], Arc::clone(&proxy), async { drop(stopped.await) }));
        Ok(Self { address, ca, bundle, proxy, sinks, stop, serving })
    }

    /// Stops it. When this returns, every session has told its event.
    pub(super) async fn stop(self) {
        // Either tells it.
        drop(self.stop);
        if let Err(error) = self.serving.await {
            tracing::error!("the proxy did not end in order: {error}");
        }
        drop(self.sinks);
        tell_losses(&self.proxy);
    }
}
