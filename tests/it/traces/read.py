"""Reads requests of OTLP over HTTP from standard input, one a line in hexadecimal, and prints their spans as JSON: what
another implementation of the protocol makes of them. Fails on fields that it does not know."""

import json
import sys

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def value(any_value):
    kind = any_value.WhichOneof("value")
    return None if kind is None else getattr(any_value, kind)


def attributes(pairs):
    return {pair.key: value(pair.value) for pair in pairs}


spans = []
for line in sys.stdin:
    octets = bytes.fromhex(line.strip())
    request = ExportTraceServiceRequest.FromString(octets)
    known = ExportTraceServiceRequest()
    known.CopyFrom(request)
    known.DiscardUnknownFields()
    assert known.SerializeToString() == request.SerializeToString(), "unknown fields"
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                spans.append({
                    "resource": attributes(resource_spans.resource.attributes),
                    "scope": scope_spans.scope.name,
                    "trace": span.trace_id.hex(),
                    "span": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "name": span.name,
                    "kind": span.kind,
                    "begin": span.start_time_unix_nano,
                    "end": span.end_time_unix_nano,
                    "attributes": attributes(span.attributes),
                    "status": span.status.code,
                    "message": span.status.message,
                })
print(json.dumps(spans))
