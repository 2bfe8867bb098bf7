//! The way in by SOCKS5 (RFC 1928): one CONNECT a connection. Every part of a request has its length in front, and no more
//! than that is read: what a client sends behind its request is for its host.

use super::capacity::Place;
use super::entrance::Speech;
use super::error::SessionError;
use super::listener::Caller;
use super::opening::Opening;
use super::record::Record;
use super::refusing::{SOCKS_NO_METHOD, failed, refuse, send_last};
use super::session::Session;
use super::wire::Wire;
use crate::policy::decision::FailureClass;
use crate::policy::host::{Authority, Host, HostError};
use crate::upstream::dial::DialError;
use crate::upstream::socks::{
    CONNECT, IPV4, IPV6, NAME, NO_AUTHENTICATION, PASSWORD_VERSION, USER_AND_PASSWORD, VERSION,
};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// The outcomes of the sub-negotiation (RFC 1929).
const PASSWORD_RIGHT: u8 = 0;
const PASSWORD_WRONG: u8 = 1;

/// Whether a user has this password. Where there is such a judge, clients without a password are turned away.
pub(super) type Users = fn(user: &[u8], password: &[u8]) -> bool;

/// Nobody has a password yet: there is no `[access] users`.
const USERS: Option<Users> = None;

/// Why a client is not understood, or not let in.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocksError {
    #[error("the client does not speak SOCKS5, which this listener takes: its first octet is {0:#04x}{hint}", hint = hint(*.0))]
    Version(u8),
    #[error("the client offers no way to prove who it is that this listener takes")]
    Method,
    #[error("the user or the password of the client is wrong")]
    Password,
    #[error("the client's SOCKS5 request is malformed: {0}")]
    Malformed(&'static str),
    #[error("this proxy takes CONNECT only, not the SOCKS5 command {0}{name}", name = command_name(*.0))]
    Command(u8),
    #[error("the SOCKS5 address type {0} is unknown")]
    AddressType(u8),
}

/// What is known of programs by their first octet.
const fn hint(first: u8) -> &'static str {
    match first {
        4 => ", that of SOCKS4; in the address of the proxy write socks5:// or socks5h://",
        22 => ", that of TLS",
        b'A'..=b'Z' => ", as of HTTP; in the address of the proxy write socks5:// or socks5h://",
        _ => "",
    }
}

const fn command_name(command: u8) -> &'static str {
    match command {
        2 => " (BIND)",
        3 => " (UDP ASSOCIATE)",
        _ => "",
    }
}

/// What a reply says (RFC 1928 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Code {
    Succeeded = 0,
    Failure = 1,
    NotAllowed = 2,
    NetworkUnreachable = 3,
    HostUnreachable = 4,
    Refused = 5,
    /// TTL expired, which clients tell as a timeout.
    Expired = 6,
    Command = 7,
    AddressType = 8,
}

/// That of each failure.
fn code(error: &SessionError) -> Code {
    match error {
        SessionError::Socks(SocksError::Command(_)) => Code::Command,
        SessionError::Socks(SocksError::AddressType(_)) => Code::AddressType,
        SessionError::Dial(DialError::NotFound { .. }) => Code::HostUnreachable,
        SessionError::Dial(DialError::ResolveTimeout { .. } | DialError::ConnectTimeout { .. }) => Code::Expired,
        SessionError::Dial(DialError::Connect { source, .. }) => match source.kind() {
            io::ErrorKind::ConnectionRefused => Code::Refused,
            io::ErrorKind::NetworkUnreachable => Code::NetworkUnreachable,
            io::ErrorKind::HostUnreachable => Code::HostUnreachable,
            _ => Code::Failure,
        },
        // Rules, and what they make of an upstream. Whoever cannot be understood is not one of them.
        error if error.is_refusal() && !matches!(error.class(), FailureClass::Request | FailureClass::Overload) => {
            Code::NotAllowed
        }
        _ => Code::Failure,
    }
}

/// A reply. Where the proxy has bound its own connection is nobody's business: the address is 0.0.0.0:0, as of many servers.
const fn reply(code: Code) -> [u8; 10] {
    [VERSION, code as u8, 0, 1, 0, 0, 0, 0, 0, 0]
}

const SUCCEEDED: [u8; 10] = reply(Code::Succeeded);

/// How far a client has come, and so how it can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reached {
    Nothing,
    /// The first octet.
    Greeting(u8),
    /// The answer to its password.
    Password,
    /// Its request.
    Request,
}

/// What a client asks for.
#[derive(Debug)]
struct Asked {
    host: Name,
    port: u16,
}

/// As it stands in the request.
#[derive(Debug)]
enum Name {
    Address(IpAddr),
    Domain(String),
}

/// One request a connection.
pub(super) async fn serve(caller: Caller, mut wire: Wire, place: Place) {
    let Caller { proxy, client, accepted, .. } = caller;
    let mut reached = Reached::Nothing;
    let asked = tokio::select! {
        asked = timeout(proxy.limits.header_timeout, negotiate(&mut wire, USERS, &mut reached)) => {
            asked.unwrap_or(Err(SessionError::SlowRequest))
        }
        () = proxy.waits_no_longer(accepted) => Err(SessionError::Shutdown),
    };
    let asked = match asked {
        Ok(asked) => asked,
        // It has left, or was not waited for, without having sent an octet.
        Err(SessionError::Gone | SessionError::Shutdown) if reached == Reached::Nothing => return,
        Err(error) => {
            let words = match reached {
                Reached::Greeting(first) if first.is_ascii_uppercase() => {
                    refuse(&proxy, Speech::Http, client, accepted, "", &error)
                }
                _ => {
                    failed(&proxy, client, accepted, "", &error).finish();
                    last_words(reached, &error)
                }
            };
            return send_last(wire, &words).await;
        }
    };
    let mut record = Record::open(&proxy.reporter, proxy.session_name(), client, proxy.time.now());
    let session = Session::begin(proxy, client, &http::HeaderMap::new(), &record);
    let asked = asked.target(&mut record);
    match session.grant(asked, &mut record).await {
        Ok(granted) => {
            // Boxed, so that its memory is free again while the session relays.
            let carried = Box::pin(session.carry(granted, Opening::Answer(wire, &SUCCEEDED), record));
            if let Some(tunnel) = carried.await {
                tunnel.relay().await;
            }
        }
        Err(error) => {
            record.fail(&error);
            record.finish();
            send_last(wire, &reply(code(&error))).await;
        }
    }
    drop(place);
}

/// What a client is told that has not come as far as a session.
fn last_words(reached: Reached, error: &SessionError) -> Vec<u8> {
    match reached {
        Reached::Greeting(VERSION) => SOCKS_NO_METHOD.to_vec(),
        Reached::Password => vec![PASSWORD_VERSION, PASSWORD_WRONG],
        Reached::Request => reply(code(error)).to_vec(),
        // It would not know what this is.
        Reached::Nothing | Reached::Greeting(_) => Vec::new(),
    }
}

impl Asked {
    fn target(&self, record: &mut Record) -> Result<Authority, SessionError> {
        let port = self.port;
        let host = match &self.host {
            Name::Address(address) => {
                record.asked_for(&std::net::SocketAddr::new(*address, port).to_string());
                Host::from(*address)
            }
            Name::Domain(name) => {
                record.asked_for(&format!("{name}:{port}"));
                Host::parse(name)?
            }
        };
        Ok(Authority { host, port: NonZeroU16::new(port).ok_or(HostError::Port)? })
    }
}

/// From the greeting to the request. What is read of it is bounded by the lengths that are one octet each.
async fn negotiate<S>(stream: &mut S, users: Option<Users>, reached: &mut Reached) -> Result<Asked, SessionError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let [version] = octets(stream).await?;
    *reached = Reached::Greeting(version);
    if version != VERSION {
        return Err(SocksError::Version(version).into());
    }
    let methods = counted(stream).await?;
    let method = if users.is_some() { USER_AND_PASSWORD } else { NO_AUTHENTICATION };
    if !methods.contains(&method) {
        return Err(SocksError::Method.into());
    }
    say(stream, &[VERSION, method]).await?;
    if let Some(is_known) = users {
        *reached = Reached::Password;
        let [version] = octets(stream).await?;
        let (user, password) = (counted(stream).await?, counted(stream).await?);
        if version != PASSWORD_VERSION || !is_known(&user, &password) {
            return Err(SocksError::Password.into());
        }
        say(stream, &[PASSWORD_VERSION, PASSWORD_RIGHT]).await?;
    }
    *reached = Reached::Request;
    request(stream).await
}

async fn request<S>(stream: &mut S) -> Result<Asked, SessionError>
where
    S: AsyncRead + Unpin,
{
    let [version, command, reserved, address_type] = octets(stream).await?;
    if version != VERSION {
        return Err(SocksError::Malformed("its version is another one than that of its greeting").into());
    }
    if command != CONNECT {
        return Err(SocksError::Command(command).into());
    }
    if reserved != 0 {
        return Err(SocksError::Malformed("its reserved octet is not zero").into());
    }
    let host = match address_type {
        IPV4 => Name::Address(IpAddr::V4(Ipv4Addr::from(octets::<4, _>(stream).await?))),
        NAME => match String::from_utf8(counted(stream).await?) {
            Ok(name) => Name::Domain(name),
            Err(_) => return Err(HostError::NotAscii.into()),
        },
        IPV6 => Name::Address(IpAddr::V6(Ipv6Addr::from(octets::<16, _>(stream).await?))),
        other => return Err(SocksError::AddressType(other).into()),
    };
    Ok(Asked { host, port: u16::from_be_bytes(octets(stream).await?) })
}

/// So many octets.
async fn octets<const N: usize, S>(stream: &mut S) -> Result<[u8; N], SessionError>
where
    S: AsyncRead + Unpin,
{
    let mut octets = [0; N];
    stream.read_exact(&mut octets).await.map_err(|_| SessionError::Gone)?;
    Ok(octets)
}

/// As many octets as the first one says, 255 at most.
async fn counted<S>(stream: &mut S) -> Result<Vec<u8>, SessionError>
where
    S: AsyncRead + Unpin,
{
    let [count] = octets(stream).await?;
    let mut octets = vec![0; usize::from(count)];
    stream.read_exact(&mut octets).await.map_err(|_| SessionError::Gone)?;
    Ok(octets)
}

async fn say<S>(stream: &mut S, octets: &[u8]) -> Result<(), SessionError>
where
    S: AsyncWrite + Unpin,
{
    let said = async {
        stream.write_all(octets).await?;
        stream.flush().await
    };
    said.await.map_err(|_| SessionError::Gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::access::AccessError;
    use crate::policy::decision::Rejection;
    use crate::upstream::handshake::HandshakeError;
    use std::time::Duration;

    /// What comes of these octets: what was asked for or what is wrong, what was answered, what is left unread.
    async fn negotiated(sent: &[u8], users: Option<Users>) -> (Result<String, String>, Vec<u8>, Vec<u8>) {
        let (mut client, mut server) = tokio::io::duplex(4_096);
        client.write_all(sent).await.unwrap();
        client.shutdown().await.unwrap();
        let mut reached = Reached::Nothing;
        let outcome = negotiate(&mut server, users, &mut reached).await;
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.unwrap();
        drop(server);
        let mut answered = Vec::new();
        client.read_to_end(&mut answered).await.unwrap();
        let told = outcome.map(|asked| format!("{:?}:{}", asked.host, asked.port)).map_err(|error| error.to_string());
        (told, answered, rest)
    }

    #[tokio::test]
    async fn requests_and_what_follows_them() {
        let domain = [&[5, 1, 0, 3, 12][..], b"bank.example", &[1, 0xbb]].concat();
        let table: Vec<(Vec<u8>, &str)> = vec![
            (vec![5, 1, 0, 1, 192, 0, 2, 7, 1, 0xbb], "Address(192.0.2.7):443"),
            (domain, "Domain(\"bank.example\"):443"),
            ([&[5, 1, 0, 4][..], &[0; 15], &[1, 0, 80]].concat(), "Address(::1):80"),
        ];
        for (request, expected) in table {
            for behind in [&b""[..], b"\x16\x03\x01\x00"] {
                let sent = [&[5, 3, 1, 0, 2][..], &request, behind].concat();
                let (outcome, answered, rest) = negotiated(&sent, None).await;
                assert_eq!((outcome.as_deref(), answered.as_slice()), (Ok(expected), &[5, 0][..]));
                assert_eq!(rest, behind, "nothing is read ahead");
                // Wherever it stops, it has left.
                for end in 0..sent.len() - behind.len() {
                    let (outcome, ..) = negotiated(&sent[..end], None).await;
                    assert_eq!(outcome.unwrap_err(), SessionError::Gone.to_string(), "{end} octets of {sent:?}");
                }
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_request() {
        let table: [(&[u8], &str); 10] = [
            (&[4, 1, 1, 0xbb, 127, 0, 0, 1, 0], "0x04, that of SOCKS4"),
            (b"CONNECT bank.example:443 HTTP/1.1", "0x43, as of HTTP"),
            (&[22, 3, 1], "0x16, that of TLS"),
            (&[5, 0], "no way to prove"),
            (&[5, 2, 1, 2], "no way to prove"),
            (&[5, 1, 0, 4, 1, 0, 1], "another one than that of its greeting"),
            (&[5, 1, 0, 5, 2, 0, 1], "command 2 (BIND)"),
            (&[5, 1, 0, 5, 3, 0, 1], "command 3 (UDP ASSOCIATE)"),
            (&[5, 1, 0, 5, 1, 9, 1], "reserved octet"),
            (&[5, 1, 0, 5, 1, 0, 2], "address type 2"),
        ];
        for (sent, says) in table {
            let error = negotiated(sent, None).await.0.unwrap_err();
            assert!(error.contains(says), "{sent:?}: {error}");
        }
    }

    /// The sub-negotiation of RFC 1929, as it will be once there are users.
    #[tokio::test]
    async fn passwords() {
        let users: Users = |user, password| user == b"ann" && password == b"secret";
        let request = [5, 1, 0, 1, 192, 0, 2, 7, 1, 0xbb];
        let login = |user: &[u8], password: &[u8]| {
            let lengths = [user, password].map(|text| u8::try_from(text.len()).unwrap());
            [&[5, 1, 2, 1, lengths[0]][..], user, &[lengths[1]], password, &request].concat()
        };
        let (outcome, answered, rest) = negotiated(&login(b"ann", b"secret"), Some(users)).await;
        assert_eq!(
            (outcome.as_deref(), answered.as_slice(), rest.len()),
            (Ok("Address(192.0.2.7):443"), &[5, 2, 1, 0][..], 0)
        );
        for (user, password) in [(&b"ann"[..], &b"Secret"[..]), (b"bob", b"secret"), (b"", b""), (b"ann", b"")] {
            let (outcome, answered, _) = negotiated(&login(user, password), Some(users)).await;
            assert_eq!((outcome.unwrap_err(), answered.as_slice()), (SocksError::Password.to_string(), &[5, 2][..]));
        }
        let (outcome, answered, _) = negotiated(&[&[5, 1, 0][..], &request].concat(), Some(users)).await;
        assert_eq!((outcome.unwrap_err(), answered.len()), (SocksError::Method.to_string(), 0));
    }

    #[test]
    fn each_failure_has_its_code() {
        let target = Authority::parse("bank.example:443").unwrap();
        let host = || target.host.clone();
        let limit = Duration::from_secs(1);
        let connect = |kind: io::ErrorKind| DialError::Connect { target: target.clone(), source: kind.into() };
        let rejected = |class| SessionError::Rejected(Rejection::new(class, "no"));
        let table: Vec<(SessionError, Code)> = vec![
            (SocksError::Command(2).into(), Code::Command),
            (SocksError::AddressType(2).into(), Code::AddressType),
            (SocksError::Malformed("x").into(), Code::Failure),
            (HostError::NumericName.into(), Code::Failure),
            (SessionError::SlowRequest, Code::Failure),
            (SessionError::Shutdown, Code::Failure),
            (SessionError::Overload { limit: 1, whose: "", key: "sessions" }, Code::Failure),
            (AccessError::Client(IpAddr::from([192, 0, 2, 7])).into(), Code::NotAllowed),
            (DialError::Denied(AccessError::Client(IpAddr::from([192, 0, 2, 7]))).into(), Code::NotAllowed),
            (SessionError::Unlisted(host()), Code::NotAllowed),
            (SessionError::PinsetExpired("bank".to_owned()), Code::NotAllowed),
            (rejected(FailureClass::Pin), Code::NotAllowed),
            (rejected(FailureClass::Chain), Code::NotAllowed),
            (rejected(FailureClass::Blocklist), Code::NotAllowed),
            (
                DialError::NotFound { host: host(), source: io::ErrorKind::NotFound.into() }.into(),
                Code::HostUnreachable,
            ),
            (DialError::ResolveTimeout { host: host(), limit }.into(), Code::Expired),
            (DialError::ConnectTimeout { target: target.clone(), limit }.into(), Code::Expired),
            (connect(io::ErrorKind::ConnectionRefused).into(), Code::Refused),
            (connect(io::ErrorKind::NetworkUnreachable).into(), Code::NetworkUnreachable),
            (connect(io::ErrorKind::HostUnreachable).into(), Code::HostUnreachable),
            (connect(io::ErrorKind::ConnectionReset).into(), Code::Failure),
            (HandshakeError::Timeout(limit).into(), Code::Failure),
            (HandshakeError::Closed.into(), Code::Failure),
        ];
        for (error, expected) in table {
            assert_eq!(code(&error), expected, "{error}");
        }
        assert_eq!(SUCCEEDED, [5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(reply(Code::AddressType)[1], 8);
    }
}
