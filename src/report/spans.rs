//! Events as traces of OpenTelemetry (OTLP 1): a span for the CONNECT, and below it one for each stage. Names are those of
//! the semantic conventions where there is one, and begin with `pinproxy.` where there is none; config/FIELDS.md lists them.

use super::event::{Decided, Event, Stage};
use super::stages::StageTimes;
use super::told::Told;
use super::violation::RandomError;
use crate::policy::decision::FailureClass;
use crate::policy::pin::hex;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Characters of why spans were rejected that are told.
const REJECTION_CHARACTERS_MAX: usize = 500;
/// The trace flag that says that a trace is recorded (W3C Trace Context).
const SAMPLED: u32 = 1;

/// What a collector is sent: a trace for each of these sessions.
///
/// # Errors
/// When the system gives no random numbers to name traces by.
pub fn export_request(events: &[Event]) -> Result<Vec<u8>, RandomError> {
    let mut spans = Vec::with_capacity(events.len() * 7);
    for event in events {
        add_trace(event, &mut spans)?;
    }
    let scope = InstrumentationScope { name: "pinproxy".into(), version: VERSION.into(), ..Default::default() };
    let scope_spans = ScopeSpans { scope: Some(scope), spans, ..Default::default() };
    let attributes = Attributes::default().text("service.name", "pinproxy").text("service.version", VERSION);
    let resource = Resource { attributes: attributes.0, ..Default::default() };
    let resource_spans =
        ResourceSpans { resource: Some(resource), scope_spans: vec![scope_spans], ..Default::default() };
    Ok(ExportTraceServiceRequest { resource_spans: vec![resource_spans] }.encode_to_vec())
}

/// How many spans a collector says that it has rejected of those that it was sent, and why; none where it has taken them all,
/// or says nothing that can be read.
pub fn rejected_spans(answer: &[u8]) -> Option<(u64, Told)> {
    let rejected = ExportTraceServiceResponse::decode(answer).ok()?.partial_success?;
    let count = u64::try_from(rejected.rejected_spans).ok().filter(|count| *count > 0)?;
    Some((count, Told::words(rejected.error_message.chars().take(REJECTION_CHARACTERS_MAX).collect::<String>())))
}

/// The spans of one session.
fn add_trace(event: &Event, spans: &mut Vec<Span>) -> Result<(), RandomError> {
    let (trace, root) = (random::<16>()?, random::<8>()?);
    let at = |offset: Duration| nanoseconds(event.date_time + offset);
    let span = |name: &str, kind: SpanKind, begin, end| Span {
        trace_id: trace.clone(),
        flags: SAMPLED,
        name: name.to_owned(),
        kind: kind.into(),
        start_time_unix_nano: at(begin),
        end_time_unix_nano: at(end),
        ..Default::default()
    };
    let failed = has_failed(event);
    let connect = span("CONNECT", SpanKind::Server, Duration::ZERO, event.duration);
    let status = failed.then(|| error_status(event));
    spans.push(Span { span_id: root.clone(), attributes: attributes_of(event), status: status.clone(), ..connect });
    let times = event.stages.as_deref().map(|times| StageTimes::spans(times, event.duration).collect::<Vec<_>>());
    let times = times.unwrap_or_default();
    let last = times.len().saturating_sub(1);
    for (position, (stage, begin, end)) in times.into_iter().enumerate() {
        let is_client = matches!(stage, Stage::Dial | Stage::UpstreamTls);
        let kind = if is_client { SpanKind::Client } else { SpanKind::Internal };
        let mut attributes = attributes_of_stage(stage, event);
        // The stage that a session ends in is the one that failed.
        let failed_here = failed && position == last;
        if failed_here {
            attributes = attributes.maybe("error.type", event.failure_class.map(FailureClass::as_str));
        }
        spans.push(Span {
            span_id: random::<8>()?,
            parent_span_id: root.clone(),
            attributes: attributes.0,
            status: status.clone().filter(|_| failed_here),
            ..span(stage.as_str(), kind, begin, end)
        });
    }
    Ok(())
}

/// Whether it was refused or did not work. A violation that was let through is neither.
fn has_failed(event: &Event) -> bool {
    let let_through = event.decision == Decided::Report && event.ended.is_some();
    event.failure_class.is_some() && !let_through
}

fn error_status(event: &Event) -> Status {
    let message = event.detail.as_ref().map(|detail| detail.as_str().to_owned()).unwrap_or_default();
    Status { message, code: StatusCode::Error.into() }
}

fn attributes_of(event: &Event) -> Vec<KeyValue> {
    let client = event.client.0;
    let class = event.failure_class.map(FailureClass::as_str);
    let attributes = Attributes::default()
        .maybe("server.address", event.hostname.as_deref())
        .number("server.port", event.port)
        .address("client.address", "client.port", Some(client))
        .address("network.peer.address", "network.peer.port", Some(client))
        .number("http.response.status_code", event.status)
        .maybe("error.type", class.filter(|_| has_failed(event)))
        .text("pinproxy.session", &event.session)
        .text("pinproxy.decision", event.decision.as_str())
        .text("pinproxy.stage", event.stage.as_str())
        .maybe("pinproxy.failure_class", class)
        .maybe("pinproxy.detail", event.detail.as_deref())
        .maybe("pinproxy.pinset", event.pinset.as_deref())
        .flag("pinproxy.enforced", event.enforced)
        .flag("pinproxy.overridden", event.overridden)
        .flag("pinproxy.exempted", event.exempted)
        .number("pinproxy.policy_generation", Some(event.policy_generation));
    let relayed = event.ended.as_deref();
    attributes
        .number("pinproxy.bytes.upstream", relayed.map(|_| event.bytes.upstream))
        .number("pinproxy.bytes.client", relayed.map(|_| event.bytes.client))
        .maybe("pinproxy.ended", relayed)
        .0
}

fn attributes_of_stage(stage: Stage, event: &Event) -> Attributes {
    let attributes = Attributes::default();
    let with_target = |attributes: Attributes| {
        attributes.maybe("server.address", event.hostname.as_deref()).number("server.port", event.port).address(
            "network.peer.address",
            "network.peer.port",
            event.upstream_address,
        )
    };
    match stage {
        Stage::Request | Stage::Relay => attributes,
        Stage::Dial => with_target(attributes),
        Stage::UpstreamTls => {
            let certificate = event.upstream_certificate.as_ref().map(|digest| hex(digest).to_ascii_uppercase());
            tls(with_target(attributes), event.upstream_tls, event.alpn.as_deref())
                .maybe("tls.server.hash.sha256", certificate.as_deref())
        }
        Stage::Pin => {
            let pin = event.matched_pin.as_ref().map(ToString::to_string);
            let position = event.matched_position.map(u64::from);
            attributes.maybe("pinproxy.matched_pin", pin.as_deref()).number("pinproxy.matched_position", position)
        }
        Stage::ClientTls => {
            tls(attributes, event.client_tls, event.alpn.as_deref().filter(|_| event.client_tls.is_some()))
                .maybe("tls.client.server_name", event.sni.as_deref())
        }
    }
}

fn tls(attributes: Attributes, version: Option<&str>, alpn: Option<&str>) -> Attributes {
    attributes
        .maybe("tls.protocol.name", version.map(|_| "tls"))
        .maybe("tls.protocol.version", version)
        .maybe("tls.next_protocol", alpn)
}

/// Attributes in the making.
#[derive(Default)]
struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn with(mut self, key: &str, value: Value) -> Self {
        let value = Some(AnyValue { value: Some(value) });
        self.0.push(KeyValue { key: key.to_owned(), value, ..Default::default() });
        self
    }

    fn text(self, key: &str, text: &str) -> Self {
        self.with(key, Value::StringValue(text.to_owned()))
    }

    fn maybe(self, key: &str, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.text(key, text),
            None => self,
        }
    }

    fn flag(self, key: &str, flag: bool) -> Self {
        self.with(key, Value::BoolValue(flag))
    }

    fn number(self, key: &str, number: Option<impl Into<u64>>) -> Self {
        match number {
            Some(number) => self.with(key, Value::IntValue(i64::try_from(number.into()).unwrap_or(i64::MAX))),
            None => self,
        }
    }

    fn address(self, key: &str, port_key: &str, address: Option<SocketAddr>) -> Self {
        let ip = address.map(|address| address.ip().to_canonical().to_string());
        self.maybe(key, ip.as_deref()).number(port_key, address.map(|address| address.port()))
    }
}

/// Octets that name a trace or a span. All zeros, which would be no name, have to come as often as any other.
fn random<const LENGTH: usize>() -> Result<Vec<u8>, RandomError> {
    let mut octets = [0; LENGTH];
    aws_lc_rs::rand::fill(&mut octets).map_err(|_| RandomError)?;
    Ok(octets.to_vec())
}

/// Since 1970.
fn nanoseconds(moment: SystemTime) -> u64 {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
