//! The way out in `[upstream]`: the parent proxy, who goes past it, our own address, certificates to show.

use super::access::parse_network;
use super::code::Code;
use super::item::{Item, Located};
use super::model::{ClientCertificate, Upstream};
use super::named::NamedFiles;
use super::parent::{Parent, ParentKind};
use super::report_url::is_this_machine;
use super::shape::{HOST, Key, Keys, Shape};
use super::span::Span;
use super::table::Table;
use crate::policy::by_host::ByHost;
use crate::policy::host::Host;
use crate::policy::pattern::HostPattern;
use crate::policy::way::{Exception, Sources};
use std::net::{IpAddr, SocketAddr};

pub(super) const CLIENT_CERTIFICATE: Keys = Keys::new(&[
    Key::new("hosts", Shape::Filled(&Shape::Text(HOST)), "Host patterns; the most specific one decides.").required(),
    Key::new("certificate", Shape::Path, "A PEM file with the certificate, and those between it and its root.")
        .required(),
    Key::new("key", Shape::Path, "A PEM file with its private key, which nobody else may read.").required(),
]);

pub(super) fn read_way(
    table: &Table<'_>,
    listeners: &[Located<SocketAddr>],
    named: &NamedFiles,
    upstream: &mut Upstream,
) {
    let exceptions = table.item("no_parent");
    let parent = if exceptions.is_some() {
        table.required("parent", Code::E14, "write parent = \"http://10.1.2.3:3128\", or remove no_parent")
    } else {
        table.item("parent")
    };
    upstream.parent = parent.and_then(|item| read_parent(&item, listeners));
    let exceptions = exceptions.and_then(|item| item.elements()).unwrap_or_default();
    upstream.no_parent = exceptions.iter().filter_map(read_exception).collect();
    if let Some(item) = table.item("source") {
        upstream.source = read_sources(&item, named);
    }
    upstream.client_certificates = read_client_certificates(table, named);
}

/// Of a text that is none, nothing is told: a password may stand in it.
fn read_parent(item: &Item<'_>, listeners: &[Located<SocketAddr>]) -> Option<Parent> {
    let parent = match Parent::parse(item.text()?.value) {
        Ok(parent) => parent,
        Err(error) => {
            item.refuse(&error.to_string(), "write http://user:${PASSWORD}@10.1.2.3:3128, https://… or socks5://…");
            return None;
        }
    };
    let authority = parent.authority();
    let leads_here = |listener: &&Located<SocketAddr>| {
        let at = listener.value.ip().to_canonical();
        let is_here = match &authority.host {
            Host::Address(address) => *address == at || (at.is_unspecified() && address.is_loopback()),
            Host::Name(_) => is_this_machine(&authority.host) && (at.is_loopback() || at.is_unspecified()),
        };
        is_here && listener.value.port() == authority.port.get()
    };
    if let Some(listener) = listeners.iter().find(leads_here) {
        let message =
            format!("{} is where this proxy itself listens, and every session would come back to it", item.path);
        let note = (&listener.span, "the listener is here");
        item.findings.conflict(Code::E85, &item.span(), message, note, "name another proxy, or remove parent");
    }
    let is_readable = parent.kind() != ParentKind::Https && !is_this_machine(&authority.host);
    if is_readable && parent.credentials().is_some() {
        let help =
            "write https://… if the parent takes TLS; keep it where the way to it is encrypted by something else";
        item.findings.warning(Code::W85, &item.span(), "the parent proxy is sent its password in clear text", help);
    }
    Some(parent)
}

fn read_exception(item: &Item<'_>) -> Option<Exception> {
    let text = item.text()?.value;
    if let Some(network) = parse_network(text) {
        if network.trunc() == network {
            return Some(Exception::Network(network));
        }
        let help = format!("write the network, \"{}\", or the address alone", network.trunc());
        item.refuse(&format!("holds {network}, an address inside a network"), &help);
        return None;
    }
    read_pattern(item, text).map(Exception::Hosts)
}

fn read_pattern(item: &Item<'_>, text: &str) -> Option<HostPattern> {
    let parsed = HostPattern::parse(text);
    if let Err(error) = &parsed {
        let help = "write a host, host:port, *.domain, **.domain, or in no_parent a network";
        item.findings.error(Code::E20, &item.span(), format!("{text:?} is no host pattern: {error}"), help);
    }
    parsed.ok()
}

/// One address, or a list with one for each family.
fn read_sources(item: &Item<'_>, named: &NamedFiles) -> Sources {
    let elements =
        if item.is_text() { vec![item.element(item.value)] } else { item.some_elements().unwrap_or_default() };
    let mut sources = Sources::default();
    for element in elements {
        let Some(text) = element.text() else { continue };
        let help =
            "write an address of this machine: \"192.0.2.7\", or one of each family: [\"192.0.2.7\", \"2001:db8::7\"]";
        let Ok(address) = text.value.parse::<IpAddr>() else {
            element.refuse(&format!("is not an address: {:?}", text.value), help);
            continue;
        };
        let address = address.to_canonical();
        if address.is_unspecified() || address.is_multicast() {
            element.refuse(&format!("holds {address}, which nothing can come from"), help);
        } else if sources.set(address).is_some() {
            element.refuse("has two addresses of one family", "keep one of the two");
        } else {
            named.source(&element, address);
        }
    }
    sources
}

fn read_client_certificates(table: &Table<'_>, named: &NamedFiles) -> Vec<ClientCertificate> {
    let tables = table.item("client_certificates").and_then(|item| item.elements()).unwrap_or_default();
    let mut patterns: ByHost<()> = ByHost::default();
    let mut spans: Vec<(HostPattern, Span)> = Vec::new();
    let read = tables.iter().filter_map(|element| {
        let table = element.table()?;
        let hosts = table.required("hosts", Code::E14, "write hosts = [\"api.partner.example\"]");
        let certificate = table.required("certificate", Code::E14, "write certificate = \"client.pem\"");
        let key = table.required("key", Code::E14, "write key = \"client.key\"");
        let hosts = hosts.and_then(|item| item.some_elements()).unwrap_or_default();
        let hosts = hosts.iter().filter_map(|item| {
            let pattern = read_pattern(item, item.text()?.value)?;
            if patterns.insert(pattern.clone(), ()) {
                spans.push((pattern.clone(), item.span()));
            } else if let Some((_, first)) = spans.iter().find(|(other, _)| *other == pattern) {
                let message = format!("{pattern} has two client certificates");
                let note = (first, "first given here");
                item.findings.conflict(Code::E86, &item.span(), message, note, "keep one of them");
            }
            Some(pattern)
        });
        let hosts = hosts.collect();
        let items = [certificate, key];
        let [certificate, key] = items.each_ref().map(|item| item.as_ref().and_then(Item::path));
        let [Some(at_certificate), Some(at_key)] = items else { return None };
        let certificate = ClientCertificate { hosts, certificate: certificate?, key: key? };
        named.of_client(&certificate, &[at_certificate, at_key]);
        Some(certificate)
    });
    read.collect()
}
