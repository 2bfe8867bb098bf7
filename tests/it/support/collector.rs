//! A collector of traces on a thread of its own: the end of a proxy waits for it without giving way to other tasks.

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a test waits for a request.
const PATIENCE: Duration = Duration::from_secs(30);

/// How it treats a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Answers with this status.
    Status(u16),
    /// Answers with this status, these fields, each with its line break, and this content.
    Answer(u16, &'static str, &'static [u8]),
    /// Reads it and never answers.
    Silent,
}

/// A request that it was sent.
#[derive(Debug)]
pub(crate) struct Posted {
    /// Its head: request line and fields.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// A collector of traces. It ends when this is dropped.
pub(crate) struct Collector {
    pub(crate) addr: SocketAddr,
    posted: Receiver<Posted>,
    manner: Arc<Mutex<Manner>>,
    ended: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        Self::on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port"), None)
    }

    /// One that speaks TLS.
    pub(crate) fn with_tls(config: Arc<ServerConfig>) -> Self {
        Self::on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port"), Some(config))
    }

    /// Where another one was before.
    pub(crate) fn again(addr: SocketAddr) -> Self {
        Self::on(TcpListener::bind(addr).expect("the port is free"), None)
    }

    fn on(listener: TcpListener, tls: Option<Arc<ServerConfig>>) -> Self {
        let addr = listener.local_addr().expect("its address");
        let (manner, ended) = (Arc::new(Mutex::new(Manner::Status(200))), Arc::new(AtomicBool::new(false)));
        let (sender, posted) = channel();
        let (of_thread, end) = (Arc::clone(&manner), Arc::clone(&ended));
        let accepting = std::thread::spawn(move || {
            // Kept open: who closes them has answered.
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                let taken = match &tls {
                    None => take(stream, &of_thread),
                    Some(config) => {
                        let connection = ServerConnection::new(Arc::clone(config)).expect("a TLS server");
                        take(StreamOwned::new(connection, stream), &of_thread)
                    }
                };
                // Who is not trusted, or goes away, has posted nothing.
                let Ok((posted, stream)) = taken else { continue };
                silent.extend(stream);
                drop(sender.send(posted));
            }
        });
        Self { addr, posted, manner, ended, accepting: Some(accepting) }
    }

    /// How it treats the requests that come from now on.
    pub(crate) fn treats(&self, manner: Manner) {
        *self.manner.lock().expect("the manner") = manner;
    }

    /// The next request.
    pub(crate) async fn next(&self) -> Posted {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.posted.try_recv() {
                Ok(posted) => return posted,
                Err(_) => assert!(Instant::now() < deadline, "nothing was posted within {PATIENCE:?}"),
            }
            tokio::task::yield_now().await;
        }
    }

    /// Whether nothing more has been posted.
    pub(crate) fn is_idle(&self) -> bool {
        self.posted.recv_timeout(Duration::ZERO).is_err_and(|error| error == RecvTimeoutError::Timeout)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.addr));
        drop(self.accepting.take().map(JoinHandle::join));
    }
}

/// Reads one request and answers it. Gives the stream back where it is left without an answer.
fn take<S: Read + Write + Send + 'static>(
    stream: S,
    manner: &Mutex<Manner>,
) -> std::io::Result<(Posted, Option<Box<dyn Send>>)> {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    let length =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    let mut body = vec![0; length.expect("a length").parse().expect("a number")];
    stream.read_exact(&mut body)?;
    let stream = stream.into_inner();
    let manner = *manner.lock().expect("the manner");
    let posted = Posted { head, body };
    match manner {
        Manner::Silent => Ok((posted, Some(Box::new(stream)))),
        Manner::Status(status) => answer(stream, posted, (status, "", b"")),
        Manner::Answer(status, fields, content) => answer(stream, posted, (status, fields, content)),
    }
}

fn answer(
    mut stream: impl Write,
    posted: Posted,
    (status, fields, content): (u16, &str, &[u8]),
) -> std::io::Result<(Posted, Option<Box<dyn Send>>)> {
    let length = content.len();
    write!(stream, "HTTP/1.1 {status} X\r\n{fields}content-length: {length}\r\nconnection: close\r\n\r\n")?;
    stream.write_all(content)?;
    stream.flush()?;
    Ok((posted, None))
}
