//! `[traces]`: where sessions are sent to as traces.

use super::code::Code;
use super::item::Item;
use super::model::Traces;
use super::report_url::is_this_machine;
use super::secret::Secret;
use super::shape::{Key, Keys, Pattern, Shape};
use super::table::Table;
use crate::policy::host::Host;
use http::{HeaderName, HeaderValue, Uri};
use std::ops::RangeInclusive;

const HTTP_URL: Pattern = "^[Hh][Tt][Tt][Pp][Ss]?://[^#]+$";
const HEADER: Pattern = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+: *[^ ]";
const SAMPLE: RangeInclusive<f64> = 0.0..=1.0;
/// Headers that the proxy sends of its own.
const OWN_HEADERS: &[&str] = &["host", "content-type", "content-length", "connection", "transfer-encoding"];

pub(super) const TRACES: Keys = Keys::new(&[
    Key::new(
        "url",
        Shape::Address(HTTP_URL),
        "The traces path of a collector that takes OTLP over HTTP; https is verified by the roots of [upstream]. Else none.",
    ),
    Key::new(
        "sample",
        Shape::Decimal(&SAMPLE),
        "The fraction of sessions that is traced; refusals and failures always are.",
    )
    .by_default("1.0"),
    Key::new(
        "headers",
        Shape::List(&Shape::Text(HEADER)),
        "Headers for the collector, as in \"authorization: Bearer ${TOKEN}\"; never shown.",
    )
    .secret()
    .by_default("[]"),
]);

pub(super) fn read_traces(root: &Table<'_>) -> Traces {
    let mut traces = Traces::default();
    let Some(table) = root.table("traces") else { return traces };
    if let Some(item) = table.item("sample") {
        traces.sample = read_sample(&item).unwrap_or(traces.sample);
    }
    if let Some(item) = table.item("headers") {
        let elements = item.elements().unwrap_or_default();
        let headers = elements.iter().enumerate().filter_map(|(index, element)| read_header(element, index + 1));
        traces.headers = headers.collect();
    }
    let Some(item) = table.item("url") else { return traces };
    traces.url = read_url(&item);
    if traces.url.as_ref().is_some_and(is_readable) {
        if traces.headers.is_empty() {
            let help = "write https://, or the address of an agent on this machine that passes them on by TLS";
            item.findings.warning(Code::W82, &item.span(), "traces are sent in clear text", help);
        } else {
            item.refuse("would show its headers to everybody on the way", "write https, or remove traces.headers");
        }
    }
    traces
}

fn read_sample(item: &Item<'_>) -> Option<f64> {
    let sample = item.decimal()?;
    if !SAMPLE.contains(&sample) {
        item.refuse("is out of bounds", "write a fraction from 0.0 to 1.0");
        return None;
    }
    Some(sample)
}

fn read_url(item: &Item<'_>) -> Option<Uri> {
    let text = item.words()?.value;
    let uri = text.parse::<Uri>().ok().filter(|_| !text.contains('#')).filter(|uri| {
        let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        matches!(uri.scheme_str(), Some("http" | "https")) && !authority.is_empty() && !authority.contains('@')
    });
    if uri.is_none() {
        // Not told again: a password may stand in it.
        item.refuse(
            "is no URL of a collector",
            "write http://127.0.0.1:4318/v1/traces, or https://…; credentials belong into traces.headers",
        );
    }
    uri
}

/// Of a header that is none, no character is told: it is a secret all the same.
fn read_header(item: &Item<'_>, number: usize) -> Option<(HeaderName, Secret)> {
    let text = item.text()?.value;
    let parsed = text.split_once(':').and_then(|(name, value)| {
        let value = value.trim();
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        HeaderValue::from_str(value).ok().filter(|_| value.is_ascii() && !value.is_empty())?;
        Some((name, Secret::new(value)))
    });
    let refuse = |message: &str, help: &str| {
        item.findings.of_file(Code::E16, item.file, format!("traces.headers: number {number} {message}"), None, help);
    };
    let Some((name, value)) = parsed else {
        refuse("is no header", "write \"name: value\", in ASCII");
        return None;
    };
    if OWN_HEADERS.contains(&name.as_str()) {
        refuse("is a header that the proxy sends of its own", "remove it");
        return None;
    }
    Some((name, value))
}

/// Whether others can read what is sent there.
fn is_readable(url: &Uri) -> bool {
    let host = Host::parse(url.host().unwrap_or_default());
    url.scheme_str() == Some("http") && !host.is_ok_and(|host| is_this_machine(&host))
}
