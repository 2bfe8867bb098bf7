//! The little of HTTP/1.1 that a test's client and origin speak.

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{Fault, step};

/// A reply with its body, if it announced one by `Content-Length`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) reason: String,
    /// In the order of arrival, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The first value of this header; the name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The head of a message: three words, then headers.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) start: [String; 3],
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    /// Reads a head that ends with its empty line.
    pub(crate) fn parse(head: &[u8]) -> Result<Self, Fault> {
        let malformed = |what: &str| Fault::Malformed(format!("{what} in {:?}", String::from_utf8_lossy(head)));
        let text = std::str::from_utf8(head).map_err(|_| malformed("no UTF-8"))?;
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let start = lines.next().unwrap_or_default().splitn(3, ' ').map(str::to_owned);
        let mut start: Vec<String> = start.collect();
        if start.len() == 2 && start[0].starts_with("HTTP/") {
            // A status line may end after the number.
            start.push(String::new());
        }
        let start = start.try_into().map_err(|_| malformed("no start line"))?;
        let headers = lines
            .map(|line| {
                let (name, value) = line.split_once(':').ok_or_else(|| malformed("a header without a colon"))?;
                Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
            })
            .collect::<Result<_, Fault>>()?;
        Ok(Self { start, headers })
    }

    /// The first value of this header; the name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// Where the head ends, its empty line included, if it is complete.
pub(crate) fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// The length of the body, if a header announces one.
pub(crate) fn content_length(headers: &[(String, String)]) -> Result<Option<usize>, Fault> {
    if let Some(coding) = find(headers, "transfer-encoding") {
        return Err(Fault::Malformed(format!("this client reads no Transfer-Encoding, and got {coding}")));
    }
    let length = find(headers, "content-length");
    length.map(|text| text.parse().map_err(|_| Fault::Malformed(format!("Content-Length: {text}")))).transpose()
}

/// Reads one reply; `ahead` holds what was read before and keeps what follows the reply. A reply without
/// `Content-Length` has no body here.
pub(crate) async fn read_reply(source: &mut (impl AsyncRead + Unpin), ahead: &mut Vec<u8>) -> Result<Reply, Fault> {
    let work = async {
        let length = loop {
            match head_length(ahead) {
                Some(length) => break length,
                None => more(source, ahead).await?,
            }
        };
        let Head { start: [version, status, reason], headers } = Head::parse(&ahead[..length])?;
        if !version.starts_with("HTTP/1.") {
            return Err(Fault::Malformed(format!("no HTTP/1 reply: {version} {status} {reason}")));
        }
        let status = status.parse().map_err(|_| Fault::Malformed(format!("status {status}")))?;
        let end = length + content_length(&headers)?.unwrap_or(0);
        while ahead.len() < end {
            more(source, ahead).await?;
        }
        let body = ahead[length..end].to_vec();
        ahead.drain(..end);
        Ok(Reply { status, reason, headers, body })
    };
    match super::within_deadline(work).await {
        Some(result) => result,
        None => Err(Fault::Timeout { during: "read a reply" }),
    }
}

async fn more(source: &mut (impl AsyncRead + Unpin), ahead: &mut Vec<u8>) -> Result<(), Fault> {
    if step("read a reply", source.read_buf(ahead)).await? == 0 {
        return Err(Fault::Eof { got: std::mem::take(ahead) });
    }
    Ok(())
}
