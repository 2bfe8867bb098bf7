//! `[[listener]]`: where clients connect, and what they speak there.

use super::access::read_network;
use super::code::Code;
use super::item::{Item, Located, Word};
use super::model::{DEFAULT_LISTENER, Listener, ListenerKind, ListenerTls, Redirect};
use super::named::NamedFiles;
use super::sections::read_socket_address;
use super::shape::{ANY, Key, Keys, SOCKET_ADDRESS, Shape};
use super::span::Span;
use super::table::Table;
use ipnet::IpNet;
use std::net::SocketAddr;

pub(super) const LISTENER: Keys = Keys::new(&[
    Key::new(
        "address",
        Shape::Text(SOCKET_ADDRESS),
        "An IP address and a port; beyond loopback, [access] clients must be written.",
    )
    .required(),
    Key::new(
        "kind",
        Shape::Word(&KINDS),
        "What clients speak: CONNECT, SOCKS5, or TLS right away, because they were redirected here.",
    )
    .by_default("\"forward\""),
    Key::new(
        "redirect",
        Shape::Word(&REDIRECTS),
        "How clients get to a transparent listener: nat (REDIRECT of nftables, which is meant when nothing is said) or tproxy.",
    ),
    Key::new("tls", Shape::Table(&TLS), "Clients speak TLS to the proxy itself; else what they speak is in the clear."),
    Key::new(
        "proxy_protocol_from",
        Shape::Filled(&Shape::Text(ANY)),
        "Networks of load balancers: each connection from them begins with a PROXY header, which says whose it is.",
    ),
]);
pub(super) const TLS: Keys = Keys::new(&[
    Key::new("certificate", Shape::Path, "A PEM file with the certificate, and those between it and its root.")
        .required(),
    Key::new("key", Shape::Path, "A PEM file with its private key, which nobody else may read.").required(),
]);

/// What `kind` alone says.
#[derive(Clone, Copy)]
enum Kind {
    Forward,
    Socks5,
    Transparent,
}

const KINDS: &[Word<Kind>] =
    &[("forward", Some(Kind::Forward)), ("socks5", Some(Kind::Socks5)), ("transparent", Some(Kind::Transparent))];
const REDIRECTS: &[Word<Redirect>] = &[("nat", Some(Redirect::Nat)), ("tproxy", Some(Redirect::Tproxy))];

/// The listeners: the default one when the file names none.
pub(super) fn read_listeners(root: &Table<'_>, named: &NamedFiles) -> Vec<Located<Listener>> {
    let Some(list) = root.item("listener") else {
        return vec![Located { value: Listener::forward(DEFAULT_LISTENER), span: Span::default() }];
    };
    if list.is_empty_list() {
        list.some_elements();
    }
    let mut listeners: Vec<Located<Listener>> = Vec::new();
    for table in root.tables("listener") {
        let kind = read_kind(&table);
        let tls = read_tls(&table, kind, named);
        let proxy_protocol_from = read_named_peers(&table);
        let address = table.required("address", Code::E14, "write address = \"127.0.0.1:8080\"");
        let Some(address) = address.and_then(|item| read_socket_address(&item)) else { continue };
        // Port 0 asks the system for a free port, each time for another one.
        let first = listeners.iter().find(|l| l.value.address == address.value && address.value.port() != 0);
        if let Some(first) = first {
            let message = format!("{} has two listeners", address.value);
            let note = (&first.span, "first given here");
            table.findings.conflict(Code::E46, &address.span, message, note, "remove one of them");
        }
        let value = Listener { address: address.value, kind, tls, proxy_protocol_from };
        listeners.push(Located { value, span: address.span });
    }
    listeners
}

/// Where they are, and where that is written.
pub(super) fn addresses_of(listeners: &[Located<Listener>]) -> Vec<Located<SocketAddr>> {
    listeners.iter().map(|listener| Located { value: listener.value.address, span: listener.span }).collect()
}

fn read_kind(table: &Table<'_>) -> ListenerKind {
    let kind = table.item("kind").map_or(Some(Kind::Forward), |item| item.choice(KINDS));
    let redirect = table.item("redirect").map(|item| (item.choice(REDIRECTS), item));
    if let (Some(Kind::Forward | Kind::Socks5), Some((_, item))) = (kind, &redirect) {
        let message = "nobody is redirected to a listener of this kind";
        let help = "write kind = \"transparent\", or remove redirect";
        table.findings.error(Code::E91, &item.span(), message, help);
    }
    match kind {
        Some(Kind::Transparent) => {
            ListenerKind::Transparent(redirect.and_then(|(redirect, _)| redirect).unwrap_or(Redirect::Nat))
        }
        Some(Kind::Socks5) => ListenerKind::Socks5,
        // One that cannot be read has been reported.
        Some(Kind::Forward) | None => ListenerKind::Forward,
    }
}

fn read_tls(table: &Table<'_>, kind: ListenerKind, named: &NamedFiles) -> Option<ListenerTls> {
    let item = table.item("tls")?;
    if matches!(kind, ListenerKind::Transparent(_)) {
        let message =
            "clients of a transparent listener speak TLS to the host that they want, and do not know of the proxy";
        table.findings.error(Code::E91, &item.span(), message, "remove tls, or write kind = \"forward\"");
    }
    let tls = item.table()?;
    let certificate = tls.required("certificate", Code::E14, "write certificate = \"proxy.pem\"");
    let key = tls.required("key", Code::E14, "write key = \"proxy.key\"");
    let items = [certificate, key];
    let [certificate, key] = items.each_ref().map(|item| item.as_ref().and_then(Item::path));
    let tls = ListenerTls { certificate: certificate?, key: key? };
    named.of_listener(&tls, items.iter().flatten());
    Some(tls)
}

fn read_named_peers(table: &Table<'_>) -> Vec<IpNet> {
    let Some(item) = table.item("proxy_protocol_from") else { return Vec::new() };
    let peers: Vec<_> = item.some_elements().unwrap_or_default().iter().filter_map(read_network).collect();
    if peers.iter().any(|network| network.prefix_len() == 0) {
        let message = "whoever gets to this listener says by whose address it is judged";
        let help = "write the addresses of your load balancers";
        table.findings.warning(Code::W90, &item.span(), message, help);
    }
    peers
}
