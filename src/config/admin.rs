//! `[admin]`: the doors for operators, and who may go through them.

use super::code::Code;
use super::item::{Item, Located};
use super::model::{Admin, AdminAddress, AdminTls};
use super::named::NamedFiles;
use super::secret::Secret;
use super::sections::read_socket_address;
use super::shape::{ANY, Key, Keys, SOCKET_ADDRESS, Shape};
use super::table::Table;
use std::net::SocketAddr;

/// A shorter token is found by trying.
pub(super) const TOKEN_OCTETS_MIN: usize = 16;

pub(super) const ADMIN: Keys = Keys::new(&[
    Key::new(
        "address",
        Shape::Text(SOCKET_ADDRESS),
        "An IP address and a port that tell operators and Prometheus how the proxy is, and change nothing. Else none.",
    ),
    Key::new(
        "token",
        Shape::Text(ANY),
        "Who asks at the address has to know it; 16 characters at least, from \"${NAME}\". Else nothing is asked for.",
    )
    .secret(),
    Key::new("tls", Shape::Table(&TLS), "The address speaks TLS; else HTTP in the clear."),
    Key::new(
        "socket",
        Shape::Path,
        "The control socket that pinproxy ctl talks to; made for the user of the proxy alone. Else none.",
    ),
]);
pub(super) const TLS: Keys = Keys::new(&[
    Key::new("certificate", Shape::Path, "A PEM file with the certificate, and those between it and its root.")
        .required(),
    Key::new("key", Shape::Path, "A PEM file with its private key, which nobody else may read.").required(),
    Key::new("client_ca", Shape::Path, "Who asks has to show a certificate from an authority in this PEM file."),
]);

pub(super) fn read_admin(root: &Table<'_>, listeners: &[Located<SocketAddr>], named: &NamedFiles) -> Admin {
    let Some(table) = root.table("admin") else { return Admin::default() };
    let socket = table.item("socket").and_then(|item| item.path());
    let token = table.item("token").map(|item| read_token(&item));
    let tls = table.item("tls").map(|item| read_tls(&item.table()?, named));
    let address = if token.is_some() || tls.is_some() {
        table.required("address", Code::E14, "write address = \"127.0.0.1:9090\", or remove what is about it")
    } else {
        table.item("address")
    };
    let Some(located) = address.and_then(|item| read_socket_address(&item)) else {
        return Admin { address: None, socket };
    };
    if let Some(listener) = listeners.iter().find(|l| l.value == located.value && l.value.port() != 0) {
        let message = format!("{} is a listener for clients, too", located.value);
        let note = (&listener.span, "the listener is here");
        table.findings.conflict(Code::E46, &located.span, message, note, "choose another port");
    }
    // What is there and cannot be read has been reported by itself.
    let proves = tls.as_ref().is_some_and(|tls| tls.as_ref().is_none_or(|tls| tls.client_ca.is_some()));
    if !is_local(located.value) && token.is_none() && !proves {
        let message = format!("{} can be reached from other machines, and nobody has to prove who asks", located.value);
        let help = "write token = \"${PINPROXY_ADMIN_TOKEN}\", or tls with client_ca, or bind it to 127.0.0.1";
        table.findings.error(Code::E81, &located.span, message, help);
    }
    let token = token.flatten();
    if !is_local(located.value) && token.is_some() && tls.is_none() {
        let message = format!("{} is reached over a network, and who asks sends the token in the clear", located.value);
        let help = "write tls = { certificate = \"admin.pem\", key = \"admin.key\" }";
        table.findings.warning(Code::W81, &located.span, message, help);
    }
    let address = AdminAddress { bind: located.value, token, tls: tls.flatten() };
    Admin { address: Some(address), socket }
}

fn is_local(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// What is wrong with it is reported, and never what it is.
fn read_token(item: &Item<'_>) -> Option<Secret> {
    let text = item.text()?.value;
    if text.len() < TOKEN_OCTETS_MIN {
        let message = format!("is shorter than {TOKEN_OCTETS_MIN} characters");
        item.refuse(&message, "openssl rand -hex 32 makes one");
        return None;
    }
    if !text.bytes().all(|octet| octet.is_ascii_graphic()) {
        item.refuse(
            "has blanks, or characters beyond ASCII, which clients send in different ways",
            "openssl rand -hex 32 makes one",
        );
        return None;
    }
    Some(Secret::new(text))
}

fn read_tls(table: &Table<'_>, named: &NamedFiles) -> Option<AdminTls> {
    let certificate = table.required("certificate", Code::E14, "write certificate = \"admin.pem\"");
    let key = table.required("key", Code::E14, "write key = \"admin.key\"");
    let client_ca = table.item("client_ca");
    let items = [certificate, key, client_ca];
    let [certificate, key, client_ca] = items.each_ref().map(|item| item.as_ref().map(Item::path));
    // One that is there and cannot be read is not the same as none.
    let client_ca = match client_ca {
        Some(None) => return None,
        readable => readable.flatten(),
    };
    let tls = AdminTls { certificate: certificate??, key: key??, client_ca };
    named.of_admin(&tls, items.iter().flatten());
    Some(tls)
}
