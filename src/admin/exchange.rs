//! Question and answer as they pass: from the end of the one to the end of the other its connection keeps its place.

use super::places::Place;
use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as Content, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The content of a question. One whose content does not come is none yet.
#[derive(Debug)]
pub(super) struct Question {
    content: Incoming,
    place: Arc<Place>,
}

impl Question {
    pub(super) fn of(content: Incoming, place: Arc<Place>) -> Self {
        if content.is_end_stream() {
            place.is_asked();
        }
        Self { content, place }
    }
}

impl Content for Question {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.content).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.content.is_end_stream() {
            self.place.is_asked();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

/// The content of an answer. It is dropped where its last octet is on its way.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) content: Body,
    pub(super) place: Arc<Place>,
}

impl Content for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.content).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.place.is_answered();
    }
}
