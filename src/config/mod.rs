//! The configuration: from TOML text to a typed [`Config`], or to everything that is wrong with it at once.
//!
//! `document` parses the text and lets each section be read; `include` brings in other files, `variables` the values of
//! environment variables, both through `outside`, which alone looks at the machine; `table` and `item` check keys and
//! read values; `sections`, `listeners`, `access`, `admin`, `keys`, `pem`, `roles`, `pinsets`, `pins`, `rollout`, `rules` and `reports`
//! know what the keys mean; `way` knows those of the way out, and `parent` the address of a parent proxy;
//! `lint` looks at all that has been read together; `diagnostic` tells what is wrong, where, and what to write instead, and
//! `legible` keeps what it shows from steering a terminal, `concealed` from telling secrets.
//! `shape` is how all of them describe keys; `schema` and `show` write by those descriptions. Nothing of the text's form
//! leaves this room.

mod access;
mod admin;
mod code;
mod concealed;
mod diagnostic;
mod document;
mod findings;
mod include;
mod inherit;
mod item;
mod keys;
mod legible;
mod lint;
mod listeners;
mod listing;
mod model;
mod named;
mod outside;
mod page;
mod parent;
mod pem;
mod pins;
mod pinsets;
mod places;
mod report_url;
mod reports;
mod roles;
mod rollout;
mod rules;
mod sarif;
mod schema;
mod secret;
mod sections;
mod shape;
mod show;
mod shown;
mod span;
pub mod surroundings;
mod table;
mod traces;
mod variables;
mod way;
mod words;

#[cfg(test)]
mod tests;

pub use access::{OPEN_HELP, Openness};
pub use code::{Class, Code, Severity, UnknownCode};
pub use diagnostic::{ConfigErrors, Diagnostic, ERRORS_KEPT_MAX, KEPT_OF_A_CODE_MAX, Place, Region};
pub use document::FILE_OCTETS_MAX;
pub use include::{FILES_OCTETS_MAX, INCLUDED_FILES_MAX};
pub use lint::UNREACHED;
pub use listing::{DIAGNOSTICS_SHOWN_MAX, Listing};
pub use model::{
    Admin, AdminAddress, AdminTls, Ca, ClientCertificate, Config, DEFAULT_LISTENER, ExtraRoots, LeafKey, Limits,
    Listener, ListenerKind, ListenerTls, Log, LogFormat, LogLevel, Redirect, Refusal, Revocation, Roots, RuleSet,
    Traces, Upstream,
};
pub use named::{Named, NamedFile};
pub use outside::{Found, Kind, Outside, System};
pub use page::{explanation, lints_page, lints_table, rules_json};
pub use parent::{Parent, ParentError, ParentKind};
pub use pem::weakness;
pub use places::{At, Places, Reading, WrittenPin};
pub use report_url::{ReportUrl, ReportUrlError};
pub use reports::{ClientId, REPORT_URLS_MAX, Reports, SyslogAddress};
pub use schema::schema;
pub use secret::Secret;
pub use shown::{Shown, Standing};
pub use variables::FILLED_IN_OCTETS_MAX;
