//! A whole warm session in one process: CONNECT, both handshakes, verification, a request and its answer, the end.
//! Client, proxy and origin share the processors, so the figure is an upper bound for the proxy.

#[path = "../tests/it/support/mod.rs"]
mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use std::time::{Duration, Instant};
use support::client::{ClientTls, RawClient};
use support::origin::{Behaviour, Origin, OriginConfig};
use support::pki::{Ca, Key, Leaf};
use support::proxy::ProxyBuilder;

const HOST: &str = "api.bank.example";

fn session(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (proxy, origin, tls) = runtime.block_on(async {
        let root = Ca::root("root");
        let chain = Leaf::named(HOST).signed_by(&root.intermediate("intermediate"));
        let pin = chain.pin();
        let origin = Origin::start(OriginConfig::new(chain).behaviour(Behaviour::Http1)).await;
        let backup = Key::p256().pin();
        let toml = format!("[[pinset]]\nname = \"bank\"\nhosts = [\"{HOST}\"]\npins = [\"{pin}\", \"{backup}\"]\n");
        let proxy = ProxyBuilder::new(toml).trusting([&root]).start().await;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(proxy.ca.clone()).expect("the CA is a root");
        let tls = ClientTls::to(HOST).roots(roots).without_resumption().build();
        (proxy, origin, tls)
    });
    let target = format!("{HOST}:{}", origin.port());
    let one = async || {
        let mut client = RawClient::connect(proxy.addr).await.expect("a connection");
        let reply = client.connect_to(&target).await.expect("a reply");
        assert_eq!(reply.status, 200);
        let mut stream = client.tls(&tls).await.expect("a session");
        let answer = stream.get(HOST, "/").await.expect("an answer");
        assert_eq!(answer.status, 200);
    };
    criterion.bench_function("warm session, in process", |bencher| {
        bencher.iter_custom(|count| {
            runtime.block_on(async {
                let mut taken = Duration::ZERO;
                for _ in 0..count {
                    let started = Instant::now();
                    one().await;
                    taken += started.elapsed();
                }
                taken
            })
        });
    });
    drop((proxy, origin));
}

criterion_group!(benches, session);
criterion_main!(benches);
