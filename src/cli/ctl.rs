//! `pinproxy ctl`: talks to a running proxy over its control socket.

mod client;
mod shape;
mod text;

use super::{Exit, Failure, print};
use crate::policy::overrides::{OverrideError, check_text, parse_target};
use clap::Subcommand;
use client::{Answer, Patience};
use http::Method;
use serde_json::{Value, json};
use shape::Shape;
use std::path::PathBuf;
use std::time::Duration;

/// Where a proxy that was installed as a service has its control socket.
pub(super) const USUAL_SOCKET: &str = "/run/pinproxy/control.sock";

/// Talk to a running proxy over its control socket
///
/// The socket is the file that the configuration of the proxy names (admin.socket). Whoever may open it may do all of
/// this: it belongs to the user that the proxy runs as, and to nobody else.
///
/// Ends with 0 when it is done as asked, with 1 when the proxy refuses it as it is (a reload with a mistake, an override
/// that would change nothing, or that is not there), with 2 when it is nothing that could be asked (no host, a time beyond
/// 4h, a text that is blank or too long), and with 3 when no proxy can be reached, none answers within ten seconds, or what
/// answers is no proxy. A reload is waited for as long as it takes.
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    subcommand_required = true,
    after_help = "Example:\n  pinproxy ctl override add api.bank.example --for 2h --reason CHG-4711 --by ann"
)]
pub struct Arguments {
    /// The control socket
    #[arg(long, global = true, value_name = "FILE", default_value = USUAL_SOCKET)]
    socket: PathBuf,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    order: Order,
}

#[derive(Debug, Subcommand)]
enum Order {
    /// Show how the proxy is
    Status,
    /// Read the configuration again; open sessions that it refuses are closed
    Reload {
        /// Put it in force even if a third of the pinned or of the enforced hosts lose protection, or more
        #[arg(long)]
        force: bool,
    },
    /// Take no new sessions and end when the open ones have
    Drain,
    /// Report the pins of a host instead of enforcing them, for a few hours
    #[command(subcommand, arg_required_else_help = true)]
    Override(OverrideOrder),
}

#[derive(Debug, Subcommand)]
enum OverrideOrder {
    /// Report the pins of a host instead of enforcing them; blocked keys refuse all the same
    Add {
        /// The host, with :PORT if that is not 443
        host: String,
        /// For how long, up to 4h
        #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
        lifetime: Duration,
        /// Why, for the audit
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Who you are, for the audit
        #[arg(long, value_name = "NAME")]
        by: String,
    },
    /// Show the overrides in force
    List,
    /// Enforce the pins of a host again; sessions that lived by the override are closed
    Remove {
        /// The host, with :PORT if that is not 443
        host: String,
        /// Who you are, for the audit
        #[arg(long, value_name = "NAME")]
        by: String,
    },
}

/// Does what is asked.
///
/// # Errors
/// [`Failure`], when it is nothing that can be asked, the proxy cannot be reached, or it refuses.
pub fn execute(arguments: Arguments) -> Result<Exit, Failure> {
    let Arguments { socket, json: wants_json, order } = arguments;
    check(&order).map_err(Failure::unusable)?;
    let patience = if matches!(order, Order::Reload { .. }) { Patience::Endless } else { Patience::Limited };
    let ask = |method, path: &str, content| client::ask(&socket, patience, method, path, content);
    let (answer, shape, told): (Answer, Shape, fn(&Value) -> String) = match order {
        Order::Status => (ask(Method::GET, "/v1/status", None)?, shape::STATUS, text::status),
        Order::Reload { force } => {
            (ask(Method::POST, &format!("/v1/reload?force={force}"), None)?, shape::RELOADED, text::reloaded)
        }
        Order::Drain => (ask(Method::POST, "/v1/drain", None)?, shape::DRAINED, text::drained),
        Order::Override(OverrideOrder::Add { host, lifetime, reason, by }) => {
            // A fraction of a second more than is allowed is more than is allowed.
            let seconds = lifetime.as_secs() + u64::from(lifetime.subsec_nanos() > 0);
            let content = json!({ "target": host, "seconds": seconds, "reason": reason, "by": by });
            (ask(Method::POST, "/v1/overrides", Some(content))?, shape::OVERRIDE, text::added)
        }
        Order::Override(OverrideOrder::List) => {
            (ask(Method::GET, "/v1/overrides", None)?, shape::OVERRIDES, text::overrides)
        }
        Order::Override(OverrideOrder::Remove { host, by }) => {
            let content = json!({ "target": host, "by": by });
            (ask(Method::DELETE, "/v1/overrides", Some(content))?, shape::OVERRIDE, text::removed)
        }
    };
    match answer {
        Answer::Done(status, value) => {
            shape.check(status, &value).map_err(|why| client::no_proxy(&socket, &why))?;
            let text = if wants_json { format!("{value:#}") } else { told(&value) };
            print(&text)?;
            Ok(Exit::Done)
        }
        Answer::Refused(exit, message) => Err(Failure { exit, message }),
    }
}

/// What the proxy would find as well; but what is much too long does not get to it.
fn check(order: &Order) -> Result<(), OverrideError> {
    match order {
        Order::Override(OverrideOrder::Add { host, reason, by, .. }) => {
            check_text("a reason", reason)?;
            check_text("who gives it", by)?;
            parse_target(host).map(|_| ())
        }
        Order::Override(OverrideOrder::Remove { host, by }) => {
            check_text("who removes it", by)?;
            parse_target(host).map(|_| ())
        }
        Order::Override(OverrideOrder::List) | Order::Status | Order::Reload { .. } | Order::Drain => Ok(()),
    }
}
