//! The files that a configuration names for trust anchors, revocation lists, client certificates, the admin address and
//! listeners, as they are met while it is read, and the addresses of this machine.

use super::item::Item;
use super::model::{AdminTls, ClientCertificate, ExtraRoots, ListenerTls, Roots};
use super::sections::read_roots;
use super::span::Span;
use crate::policy::pinset::AnchorSet;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a configuration names at one place. Files stand here whatever is wrong with the rest of the text, so that what is
/// wrong with them is told in the same run.
#[derive(Clone, Debug)]
pub struct NamedFile {
    /// What is named.
    pub what: Named,
    pub(super) span: Span,
}

impl NamedFile {
    /// The file, where it is one and not a store of the system or a list that is built in.
    pub fn file(&self) -> Option<&Path> {
        match &self.what {
            Named::Anchors(Roots::File(file))
            | Named::OwnAnchors { roots: Roots::File(file), .. }
            | Named::ExtraAnchors(ExtraRoots { file, .. })
            | Named::RevocationList(file)
            | Named::OfAdmin { file, .. }
            | Named::OfListener { file, .. }
            | Named::OfClient { file, .. } => Some(file),
            Named::Anchors(_) | Named::OwnAnchors { .. } | Named::Source(_) => None,
        }
    }
}

/// What can be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// The trust anchors of everything that has none of its own.
    Anchors(Roots),
    /// Trust anchors beside those.
    ExtraAnchors(ExtraRoots),
    /// The trust anchors of a pinset of its own.
    OwnAnchors {
        /// The name that rules know them by.
        name: Arc<str>,
        /// Where they come from.
        roots: Roots,
    },
    /// A revocation list.
    RevocationList(PathBuf),
    /// One of the files of TLS at the admin address.
    OfAdmin {
        /// This one.
        file: PathBuf,
        /// All of them.
        tls: AdminTls,
    },
    /// One of the files of a client certificate.
    OfClient {
        /// This one.
        file: PathBuf,
        /// Both of them.
        certificate: ClientCertificate,
    },
    /// An address that connections go out from.
    Source(IpAddr),
    /// One of the files of TLS to a listener.
    OfListener {
        /// This one.
        file: PathBuf,
        /// Both of them.
        tls: ListenerTls,
    },
}

/// The name of a file that no other has: what is no UTF-8 is escaped, and so is what could be taken for it.
fn unambiguous(path: &Path) -> Arc<str> {
    let plain = path.to_str().filter(|path| !path.contains('\\'));
    plain.map_or_else(|| path.as_os_str().as_encoded_bytes().escape_ascii().to_string().into(), Into::into)
}

/// Collects them.
#[derive(Default)]
pub(super) struct NamedFiles {
    met: RefCell<Vec<NamedFile>>,
    /// The sources of trust anchors that pinsets name for themselves.
    own: RefCell<BTreeMap<Arc<str>, Roots>>,
}

impl NamedFiles {
    fn add(&self, what: Named, span: Span) {
        self.met.borrow_mut().push(NamedFile { what, span });
    }

    /// The trust anchors of everything that has none of its own.
    pub(super) fn roots(&self, item: &Item<'_>) -> Option<Roots> {
        let roots = read_roots(item)?;
        self.add(Named::Anchors(roots.clone()), item.span());
        Some(roots)
    }

    /// A file with anchors in addition.
    pub(super) fn extra_roots(&self, item: &Item<'_>, exempts_pins: bool) -> Option<ExtraRoots> {
        let extra = ExtraRoots { file: item.path()?, exempts_pins };
        self.add(Named::ExtraAnchors(extra.clone()), item.span());
        Some(extra)
    }

    pub(super) fn revocation_lists(&self, item: &Item<'_>) -> Vec<PathBuf> {
        let elements = item.elements().unwrap_or_default();
        let files = elements.iter().filter_map(|element| {
            let file = element.path()?;
            self.add(Named::RevocationList(file.clone()), element.span());
            Some(file)
        });
        files.collect()
    }

    /// The files of TLS at the admin address, and where each is named.
    pub(super) fn of_admin<'i>(&self, tls: &AdminTls, items: impl Iterator<Item = &'i Item<'i>>) {
        let files = [&tls.certificate, &tls.key].into_iter().chain(&tls.client_ca);
        for (file, item) in files.zip(items) {
            self.add(Named::OfAdmin { file: file.clone(), tls: tls.clone() }, item.span());
        }
    }

    /// Both files of a client certificate, and where each is named.
    pub(super) fn of_client(&self, certificate: &ClientCertificate, items: &[Item<'_>; 2]) {
        for (file, item) in [&certificate.certificate, &certificate.key].into_iter().zip(items) {
            self.add(Named::OfClient { file: file.clone(), certificate: certificate.clone() }, item.span());
        }
    }

    /// An address that connections go out from.
    pub(super) fn source(&self, item: &Item<'_>, address: IpAddr) {
        self.add(Named::Source(address), item.span());
    }

    /// The files of a listener, and where each is named.
    pub(super) fn of_listener<'i>(&self, tls: &ListenerTls, items: impl Iterator<Item = &'i Item<'i>>) {
        for (file, item) in [&tls.certificate, &tls.key].into_iter().zip(items) {
            self.add(Named::OfListener { file: file.clone(), tls: tls.clone() }, item.span());
        }
    }

    /// The trust anchors of a pinset of its own. A source that several pinsets name is met once.
    pub(super) fn own_anchors(&self, item: &Item<'_>) -> Option<AnchorSet> {
        let roots = read_roots(item)?;
        let name: Arc<str> = match &roots {
            Roots::System => "system".into(),
            Roots::Webpki => "webpki".into(),
            Roots::File(path) => unambiguous(path),
        };
        if self.own.borrow_mut().insert(Arc::clone(&name), roots.clone()).is_none() {
            self.add(Named::OwnAnchors { name: Arc::clone(&name), roots }, item.span());
        }
        Some(AnchorSet::Own(name))
    }

    /// All of them, in the order in which they were met, and the sources of pinsets' own anchors, each by the name that
    /// rules know it by.
    pub(super) fn into_parts(self) -> (Vec<NamedFile>, BTreeMap<Arc<str>, Roots>) {
        (self.met.into_inner(), self.own.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn two_files_never_have_one_name() {
        let table: [(&[u8], &str); 5] = [
            (b"/etc/roots.pem", "/etc/roots.pem"),
            ("/etc/früh.pem".as_bytes(), "/etc/früh.pem"),
            (b"/etc/\xff.pem", "/etc/\\xff.pem"),
            (b"/etc/\\xff.pem", "/etc/\\\\xff.pem"),
            (b"/etc/\\\xff.pem", "/etc/\\\\\\xff.pem"),
        ];
        for (path, name) in table {
            assert_eq!(unambiguous(Path::new(OsStr::from_bytes(path))).as_ref(), name, "{path:?}");
        }
    }
}
