//! What a SOCKS5 proxy is asked and answers (RFC 1928, RFC 1929). Nothing is read beyond its answer: what follows is the
//! upstream's.

use super::parent::ParentFault;
use crate::policy::host::{Authority, Host};
use std::io;
use std::net::IpAddr;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

pub(crate) const VERSION: u8 = 5;
/// Methods (RFC 1928 section 3).
pub(crate) const NO_AUTHENTICATION: u8 = 0;
pub(crate) const USER_AND_PASSWORD: u8 = 2;
const NO_ACCEPTABLE_METHOD: u8 = 0xff;
/// That of the sub-negotiation (RFC 1929).
pub(crate) const PASSWORD_VERSION: u8 = 1;
/// The command.
pub(crate) const CONNECT: u8 = 1;
/// Types of addresses (RFC 1928 section 5).
pub(crate) const IPV4: u8 = 1;
pub(crate) const NAME: u8 = 3;
pub(crate) const IPV6: u8 = 4;
const SUCCEEDED: u8 = 0;

/// Asks for a connection. Credentials are the user and the password.
///
/// # Errors
/// [`ParentFault`].
pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    target: &Authority,
    credentials: Option<(&str, &str)>,
) -> Result<(), ParentFault> {
    let methods: &[u8] = match credentials {
        None => &[VERSION, 1, NO_AUTHENTICATION],
        Some(_) => &[VERSION, 2, NO_AUTHENTICATION, USER_AND_PASSWORD],
    };
    stream.write_all(methods).await.map_err(failed)?;
    let [version, method] = read(stream).await?;
    match (version, method, credentials) {
        (VERSION, NO_AUTHENTICATION, _) => {}
        (VERSION, USER_AND_PASSWORD, Some(credentials)) => authenticate(stream, credentials).await?,
        (VERSION, NO_ACCEPTABLE_METHOD, _) => {
            return Err(ParentFault::Credentials { given: credentials.is_some() });
        }
        _ => return Err(ParentFault::Garbage),
    }
    stream.write_all(&request(target)?).await.map_err(failed)?;
    let [version, reply, _reserved, kind] = read(stream).await?;
    match (version, reply) {
        (VERSION, SUCCEEDED) => {}
        (VERSION, refused) => return Err(ParentFault::Socks(refused)),
        _ => return Err(ParentFault::Garbage),
    }
    // The address that it connects from, which says nothing to us.
    match kind {
        IPV4 => read::<6, _>(stream).await.map(drop),
        IPV6 => read::<18, _>(stream).await.map(drop),
        NAME => {
            let [length] = read(stream).await?;
            let mut rest = vec![0; usize::from(length) + 2];
            stream.read_exact(&mut rest).await.map(drop).map_err(failed)
        }
        _ => Err(ParentFault::Garbage),
    }
}

async fn authenticate<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    (user, password): (&str, &str),
) -> Result<(), ParentFault> {
    let mut message = Zeroizing::new(vec![PASSWORD_VERSION]);
    for text in [user, password] {
        // The configuration takes no longer ones.
        let length = u8::try_from(text.len()).map_err(|_| ParentFault::Credentials { given: true })?;
        message.push(length);
        message.extend_from_slice(text.as_bytes());
    }
    stream.write_all(&message).await.map_err(failed)?;
    match read(stream).await? {
        [PASSWORD_VERSION, SUCCEEDED] => Ok(()),
        [PASSWORD_VERSION, _] => Err(ParentFault::Credentials { given: true }),
        _ => Err(ParentFault::Garbage),
    }
}

/// A name is sent as it is: the parent looks it up.
fn request(target: &Authority) -> Result<Vec<u8>, ParentFault> {
    let mut message = vec![VERSION, CONNECT, 0];
    match &target.host {
        Host::Address(IpAddr::V4(v4)) => {
            message.push(IPV4);
            message.extend_from_slice(&v4.octets());
        }
        Host::Address(IpAddr::V6(v6)) => {
            message.push(IPV6);
            message.extend_from_slice(&v6.octets());
        }
        Host::Name(name) => {
            // No name is longer than 253 octets.
            let length = u8::try_from(name.as_str().len()).map_err(|_| ParentFault::Garbage)?;
            message.extend_from_slice(&[NAME, length]);
            message.extend_from_slice(name.as_str().as_bytes());
        }
    }
    message.extend_from_slice(&target.port.get().to_be_bytes());
    Ok(message)
}

async fn read<const N: usize, S: AsyncRead + Unpin>(stream: &mut S) -> Result<[u8; N], ParentFault> {
    let mut octets = [0; N];
    stream.read_exact(&mut octets).await.map_err(failed)?;
    Ok(octets)
}

fn failed(error: io::Error) -> ParentFault {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ParentFault::Closed,
        _ => ParentFault::Io(error),
    }
}

/// What a reply says (RFC 1928 section 6).
pub(super) const fn words(reply: u8) -> &'static str {
    match reply {
        1 => "general failure",
        2 => "not allowed by its rules",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "it does not take CONNECT",
        8 => "it does not take this type of address",
        _ => "for a reason that has no name",
    }
}
