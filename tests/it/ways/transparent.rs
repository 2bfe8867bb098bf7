//! Clients that know of no proxy, in a network of their own where the system redirects them: nftables with REDIRECT and with
//! TPROXY. The program runs there as it would on a gateway.

use super::{Rubbish, World, listener, sees_through, told, wrong};
use crate::support::bench::Bench;
use crate::support::client::{RawClient, Sni, client_hello_bytes};
use crate::support::pki::Leaf;
use crate::support::process::{self, Running, Start, command};
use crate::support::verdict::BANK;
use pinproxy::policy::decision::FailureClass;
use pinproxy::report::Decided;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Where the bank is, and where the clients are: addresses that no machine has.
const SERVER: &str = "192.0.2.7";
const CLIENT: &str = "198.51.100.9";

/// Every connection of the client to port 443 goes to the listener. The proxy's own have another source.
const NAT: &str = "table ip pinproxy {
  chain output {
    type nat hook output priority -100;
    ip saddr 198.51.100.9 tcp dport 443 redirect to :3129
  }
}";
/// The same by TPROXY: what is marked comes back in by the loopback, and is handed over as it is.
const TPROXY: &str = "table ip pinproxy {
  chain output {
    type route hook output priority -150;
    ip saddr 198.51.100.9 tcp dport 443 meta mark set 1
  }
  chain prerouting {
    type filter hook prerouting priority -150;
    meta mark 1 meta l4proto tcp tproxy to :3129
  }
}";

/// A network that nothing leads out of, for as long as this lives.
struct Network {
    holder: Running,
    folder: tempfile::TempDir,
}

impl Network {
    /// Nothing where the system does not make one, or has no such rules.
    async fn with(rules: &str) -> Option<Self> {
        for program in ["unshare", "nsenter", "ip", "nft", "curl", "openssl"] {
            process::find(program)?;
        }
        let made = command(Path::new("unshare"), Path::new("/")).args(["-rn", "true"]).run().await;
        if made.code != Some(0) {
            process::skipped(&format!("this system makes no network of its own: {}", made.err));
            return None;
        }
        let private = std::fs::Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().permissions(private).tempdir().expect("a folder");
        std::fs::write(folder.path().join("rules"), rules).expect("the rules are written");
        let script = format!(
            "ip link set lo up && ip addr add {SERVER}/32 dev lo && ip addr add {CLIENT}/32 dev lo && \
             ip rule add fwmark 1 lookup 100 && ip route add local default dev lo table 100 && nft -f rules && \
             echo ready || echo refused; exec sleep infinity"
        );
        let holder = command(Path::new("unshare"), folder.path()).folder(folder.path());
        let mut holder = holder.args(["-rn", "sh", "-c", &script]).start();
        let told = holder.out.until("re").await;
        if !told.contains("ready") {
            process::skipped(&format!("this system has no such rules: {}", holder.err.so_far()));
            return None;
        }
        Some(Self { holder, folder })
    }

    /// A program inside.
    fn run(&self, program: impl AsRef<std::ffi::OsStr>) -> Start {
        let target = self.holder.id().to_string();
        let start = command(Path::new("nsenter"), self.folder.path()).folder(self.folder.path());
        start.args(["--target", &target, "--user", "--net", "--preserve-credentials", "--"]).arg(program)
    }

    fn file(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("the file is written");
    }

    /// What curl gets of the bank at this address.
    async fn ask(&self, address: &str) -> process::Finished {
        let resolve = format!("{BANK}:443:{address}");
        let curl = self.run("curl").args(["-sS", "--max-time", "20", "--interface", CLIENT, "--cacert", "ca/ca.pem"]);
        curl.args(["--resolve", &resolve]).arg(format!("https://{BANK}/")).run().await
    }
}

async fn redirected(rules: &str, redirect: &str) {
    let Some(network) = Network::with(rules).await else { return };
    let world = World::new();
    let chain = Leaf::named(BANK).signed_by(&world.root);
    network.file("root.pem", &world.root.pem());
    network.file("bank.pem", &(chain.pem() + &chain.key.private_pem()));
    let server = ["s_server", "-www", "-accept", "192.0.2.7:443", "-cert", "bank.pem", "-key", "bank.pem"];
    let mut bank = network.run("openssl").args(server).start();
    bank.out.until("ACCEPT").await;
    for (pin, passes) in [(chain.pin(), true), (wrong_pin(), false)] {
        network.file(
            "pinproxy.toml",
            &format!(
                "[[listener]]\naddress = \"0.0.0.0:3129\"\nkind = \"transparent\"\nredirect = \"{redirect}\"\n\
                 [access]\nclients = [\"{CLIENT}\", \"127.0.0.1\", \"{SERVER}\"]\ndestinations_deny = []\nports_allow = [443, 3129]\n\
                 [ca]\ndirectory = \"ca\"\n[upstream]\nroots = \"root.pem\"\n{}",
                crate::support::bench::bank("leaf_pins", &[&pin])
            ),
        );
        let program = network.run(env!("CARGO_BIN_EXE_pinproxy")).args(["run", "--config", "pinproxy.toml"]);
        let mut proxy = program.start();
        proxy.out.until("pinsets ").await;
        let shown = network.ask(SERVER).await;
        if passes {
            // The page of the server, behind a certificate of the proxy's CA: no client setting but that.
            assert!(shown.with_code(0).out.contains("s_server -www"));
            proxy.err.until(&format!("allow {SERVER}:443 pinset=bank")).await;
        } else {
            shown.with_code(35).says(&["alert access denied"]);
            proxy.err.until(&format!("refuse {SERVER}:443 pinset=bank")).await;
        }
        // Another client is not redirected, and sees the server itself, which its CA does not know.
        let direct = network.run("curl").args(["-sS", "--max-time", "20", "--cacert", "ca/ca.pem", "--resolve"]);
        let direct = direct.arg(format!("{BANK}:443:{SERVER}")).arg(format!("https://{BANK}/")).run().await;
        direct.with_code(60);
        // Who connects to the listener itself is redirected nowhere, and is no loop.
        let own = network.run("curl").args(["-ksS", "--max-time", "20", "https://127.0.0.1:3129/"]).run().await;
        assert_ne!(own.code, Some(0), "{own}");
        let expected = if redirect == "nat" { "was not redirected" } else { "which no client reaches through it" };
        proxy.err.until(expected).await;
        proxy.signal("TERM").await;
        proxy.ended().await.with_code(0);
    }
}

fn wrong_pin() -> String {
    crate::support::pki::Key::p256().pin()
}

#[tokio::test]
async fn by_redirect() {
    redirected(NAT, "nat").await;
}

#[tokio::test]
async fn by_tproxy() {
    redirected(TPROXY, "tproxy").await;
}

/// The address that a client has connected to, as a balancer in front tells it: what the system tells of redirected
/// connections leads to the same.
fn told_by_header(bench: &Bench, address: &str) -> Vec<u8> {
    format!("PROXY TCP4 127.0.0.1 {address} 40000 {}\r\n", bench.origin.port()).into_bytes()
}

fn transparent(more: &str) -> String {
    listener("kind = \"transparent\"\nproxy_protocol_from = [\"127.0.0.1\"]") + more
}

/// Rules, server name, decision, rule.
type Row<'a> = (String, Option<&'a str>, Decided, Option<&'a str>);

/// Which rule counts, by the server name and the address.
#[tokio::test]
async fn the_server_name_chooses_the_rule_and_never_the_address() {
    let world = World::new();
    let tunnel = |host: &str| format!("[[tunnel]]\nhosts = [{host:?}]\nreason = \"test\"\n");
    let unlisted = "[defaults]\nunpinned = \"deny\"\n";
    let table: Vec<Row<'_>> = vec![
        (world.right(), Some(BANK), Decided::Allow, Some("bank")),
        (wrong(), Some(BANK), Decided::Refuse, Some("bank")),
        // Without a name the address is what is judged, by its own rule.
        (wrong(), None, Decided::Allow, Some("unpinned")),
        (
            crate::support::bench::pinset("device", "127.0.0.1", "pins", &[&wrong_pin()], ""),
            None,
            Decided::Refuse,
            Some("device"),
        ),
        (unlisted.to_owned(), None, Decided::Refuse, Some("unpinned")),
        (format!("{unlisted}{}", world.right()), Some(BANK), Decided::Allow, Some("bank")),
        // A name that the certificate does not have proves nothing.
        (String::new(), Some("www.shop.example"), Decided::Refuse, Some("unpinned")),
        // A client may write the name of any tunnel.
        (tunnel("www.shop.example"), Some("www.shop.example"), Decided::Refuse, Some("unpinned")),
        // The tunnel of an address is no way round the pins of a name.
        (tunnel("127.0.0.1") + &wrong(), Some(BANK), Decided::Refuse, Some("tunnel")),
    ];
    for (rules, name, decision, rule) in table {
        // A name leads elsewhere for the proxy, and that is not where it goes.
        let mut bench = world.start_with(&transparent(&rules), |proxy| proxy.name(BANK, &["192.0.2.66"])).await;
        let mut client = RawClient::connect(bench.proxy.addr).await.unwrap();
        client.send(&told_by_header(&bench, "127.0.0.1")).await.unwrap();
        let tls = match name {
            Some(name) => bench.client(name).build(),
            None => bench.client("127.0.0.1").sni(Sni::Off).build(),
        };
        let outcome = crate::support::bench::converse(client, &tls).await;
        let event = told(&mut bench).await;
        assert_eq!((event.decision, event.pinset.as_deref()), (decision, rule), "{rules} {name:?}: {event}");
        assert_eq!(
            (event.status, outcome.is_ok()),
            (None, decision == Decided::Allow),
            "{rules} {name:?}: {outcome:?}"
        );
        assert_eq!(*event.connect_authority, *format!("127.0.0.1:{}", bench.origin.port()));
        assert!(event.upstream_address.is_none_or(|address| address == bench.origin.addr()), "{event}");
        if let Err(failure) = outcome {
            assert!(failure.alert().is_some(), "{rules} {name:?}: {failure:?}");
            assert_eq!(bench.origin.tally().received(), 0);
        }
    }
}

/// Nobody is dialled for what is no ClientHello.
#[tokio::test]
async fn what_is_no_client_hello() {
    let world = World::new();
    let limits = "[limits]\nclient_hello_timeout = \"300ms\"\nclient_hello_bytes = \"2KiB\"\n";
    let mut bench = world.start(&transparent(limits)).await;
    let header = told_by_header(&bench, "127.0.0.1");
    let behind = |octets: &[u8]| [&header, octets].concat();
    let (clear, garbage) = (behind(b"GET / HTTP/1.1\r\n\r\n"), behind(b"\x16\x03\x01\x00\x04\x02\x00\x00\x00"));
    let hello = client_hello_bytes(Some(BANK), &[]);
    let half = behind(&hello[..hello.len() / 2]);
    let long = behind(&[&[22, 3, 1, 0x40, 0][..], &[1, 0, 0x3f, 0xfc], &[3; 4_000]].concat());
    let silent = behind(b"");
    let door = format!("PROXY TCP4 127.0.0.1 127.0.0.1 40000 {}\r\n", bench.proxy.addr.port()).into_bytes();
    let door = [&door[..], &hello].concat();
    let nowhere = b"PROXY TCP4 127.0.0.1 127.0.0.1 40000 0\r\n";
    let rubbish = |sent, answered, detail| Rubbish { sent, answered, detail: Some(detail) };
    let table = [
        rubbish(&clear, b"", "something that is not TLS"),
        rubbish(&garbage, b"\x15\x03", "cannot be accepted"),
        rubbish(&half, b"", "no complete ClientHello within"),
        rubbish(&long, b"\x15\x03\x03\x00\x02\x02\x32", "longer than 2048 bytes"),
        rubbish(&silent, b"", "no complete ClientHello within"),
        rubbish(&door, b"\x15\x03\x03\x00\x02\x02", "the proxy itself, which no client reaches through it"),
        rubbish(nowhere, b"\x15\x03\x03\x00\x02\x02\x31", "was not redirected"),
        rubbish(&hello, b"\x15\x03\x03\x00\x02\x02\x31", "does not begin with a PROXY header"),
    ];
    sees_through(&mut bench, &table).await;
}

/// Without a redirection there is no address to go to.
#[tokio::test]
async fn a_connection_to_the_listener_itself_is_refused() {
    let world = World::new();
    for redirect in ["nat", "tproxy"] {
        if redirect == "tproxy" && !may_be_transparent() {
            process::skipped("TPROXY needs the capability CAP_NET_ADMIN");
            continue;
        }
        let toml = listener(&format!("kind = \"transparent\"\nredirect = \"{redirect}\"")) + &world.right();
        let mut bench = world.start(&toml).await;
        let client = RawClient::connect(bench.proxy.addr).await.unwrap();
        let failure = client.tls(&bench.client(BANK).build()).await.expect_err("there is no session");
        assert!(failure.alert().is_some(), "{failure:?}");
        let event = told(&mut bench).await;
        assert_eq!((event.upstream_address, event.decision), (None, Decided::Refuse), "{event}");
        let class = if redirect == "nat" { FailureClass::Request } else { FailureClass::Access };
        assert_eq!(event.failure_class, Some(class), "{event}");
    }
}

fn may_be_transparent() -> bool {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.set_ip_transparent_v4(true).is_ok()
}
