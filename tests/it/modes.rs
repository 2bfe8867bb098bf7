//! What rules do with pins, each in its way and in its time, and what none of them softens.

mod anchors;
mod blocklist;
mod every_connection;
mod pin_only;
mod positions;
mod report_only;
mod rollouts;
mod times;
mod unpinned;
