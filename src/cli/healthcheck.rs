//! `pinproxy healthcheck`: asks a running proxy whether it takes sessions. For containers, which have no other client.

use super::{Exit, Failure, print};
use crate::config::Config;
use crate::policy::printable::tellable;
use crate::proxy;
use crate::tls::own::config_for_exactly;
use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::Full;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Where a proxy tells about itself when nobody says otherwise.
const USUAL_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);

/// For the whole exchange. Who asks for health asks often, and wants to know of a proxy that hangs.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Octets of an answer, which is a sentence.
const ANSWER_OCTETS_MAX: usize = 4 << 10;

/// Ask a running proxy whether it takes sessions
///
/// Ends with 0 when it does, with 1 when it is there and does not, as while it drains, and with 3 when it cannot be reached
/// within three seconds; with 2 when the configuration cannot be used, or names no admin address. It asks /readyz at the admin address, or /healthz with --alive; neither needs a token.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  HEALTHCHECK CMD [\"pinproxy\", \"healthcheck\"]")]
pub struct Arguments {
    /// The configuration file of the proxy, which says where it is and whether it speaks TLS
    #[arg(long, value_name = "FILE", conflicts_with = "address")]
    config: Option<PathBuf>,
    /// Its admin address, with an IP address [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDR")]
    address: Option<SocketAddr>,
    /// Ask whether it runs at all: who drains takes no sessions, and is not to be ended for that
    #[arg(long)]
    alive: bool,
}

/// Whom to ask, and how.
struct Asked {
    address: SocketAddr,
    tls: Option<ClientConfig>,
}

/// Asks.
///
/// # Errors
/// [`Failure`], when there is no proxy, or it takes no sessions.
pub fn execute(arguments: &Arguments) -> Result<Exit, Failure> {
    let asked = match (&arguments.config, arguments.address) {
        (Some(path), _) => of_configuration(path)?,
        (None, address) => Asked { address: reachable(address.unwrap_or(USUAL_ADDRESS)), tls: None },
    };
    let (address, path) = (asked.address, if arguments.alive { "/healthz" } else { "/readyz" });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::unreachable)?;
    let answered = runtime.block_on(async { timeout(ANSWER_TIMEOUT, ask(asked, path)).await });
    let answered =
        answered.map_err(|_| Failure::unreachable(format!("no answer from {address} within {ANSWER_TIMEOUT:?}")))?;
    let (status, said) = answered.map_err(|error| {
        Failure::unreachable(format!("{address} does not answer: {error}; it is there where [admin] address is set"))
    })?;
    match status {
        StatusCode::OK => print(&said).map(|()| Exit::Done),
        StatusCode::SERVICE_UNAVAILABLE => Err(Failure { exit: Exit::NotAsItShouldBe, message: said }),
        other => Err(Failure {
            exit: Exit::NotAsItShouldBe,
            message: format!("{address} answers as no proxy does: {other}"),
        }),
    }
}

fn of_configuration(path: &Path) -> Result<Asked, Failure> {
    let (config, _) = Config::load(path, SystemTime::now()).map_err(|errors| Failure::configuration(&errors))?;
    let Some(admin) = config.admin.address else {
        return Err(Failure::unusable(
            "the configuration names no [admin] address; write address = \"127.0.0.1:9090\"",
        ));
    };
    let tls = admin.tls.map(|tls| config_for_exactly(&tls.certificate)).transpose().map_err(Failure::unreachable)?;
    Ok(Asked { address: reachable(admin.bind), tls })
}

/// Who listens everywhere listens on loopback.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

type Exchanged = Result<(StatusCode, String), Box<dyn std::error::Error + Send + Sync>>;

async fn ask(asked: Asked, path: &str) -> Exchanged {
    let stream = TcpStream::connect(asked.address).await?;
    match asked.tls {
        None => exchange(stream, asked.address, path).await,
        Some(config) => {
            let connector = TlsConnector::from(Arc::new(config));
            let stream = connector.connect(ServerName::from(asked.address.ip()), stream).await?;
            exchange(stream, asked.address, path).await
        }
    }
}

async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin, address: SocketAddr, path: &str) -> Exchanged {
    let request = Request::get(path).header(HOST, address.to_string()).body(Full::default())?;
    let (head, content) = proxy::exchange(stream, request, ANSWER_OCTETS_MAX).await?;
    Ok((head.status, tellable(String::from_utf8_lossy(&content?).trim_end(), ANSWER_OCTETS_MAX)))
}
