//! `[keys.NAME]`, pins in lists, and `[[blocklist]]`: from names and texts to pins.

use super::code::Code;
use super::findings::Findings;
use super::item::{Item, Located};
use super::outside::Outside;
use super::pem::Pem;
use super::roles::{Contradiction, ListedPin, ROLES, Role};
use super::shape::{ANY, CERTIFICATE, Key, Keys, NAME, PIN_OR_NAME, SPKI, Shape};
use super::shown::Shown;
use super::span::Span;
use super::table::Table;
use crate::policy::pin::{Pin, PinError, Sha256};
use crate::policy::rules::Blocked;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

pub(super) const KEY: Keys = Keys::new(&[
    Key::new("spki", Shape::Text(SPKI), "The SHA-256 of the public key (SubjectPublicKeyInfo): sha256/BASE64."),
    Key::new(
        "cert",
        Shape::Text(CERTIFICATE),
        "In place of the key: the SHA-256 of the whole certificate, sha256:HEX.",
    ),
    Key::new(
        "pem",
        Shape::Path,
        "A file with the certificate or the public key: in place of spki, or to compare with it.",
    ),
    Key::new("role", Shape::Word(&ROLES), "What the key is for; it says which list a backup belongs to."),
    Key::new("owner", Shape::Text(ANY), "Who to ask about it."),
    Key::new("note", Shape::Text(ANY), "A few words for the reader."),
])
.with_some_of(&["spki", "cert", "pem"]);
pub(super) const BLOCKLIST: Keys = Keys::new(&[
    Key::new("name", Shape::Text(NAME), "Shown in logs and replies.").required(),
    Key::new("spki", Shape::Filled(&Shape::Text(PIN_OR_NAME)), "The keys: names, or pins.").required(),
    Key::new("reason", Shape::Text(ANY), "Why they are not trusted.").required(),
]);

/// Longest name of a key or a pinset.
pub(super) const NAME_OCTETS_MAX: usize = 64;

struct NamedKey {
    /// Absent when it was malformed, which has been reported.
    pin: Option<Pin>,
    role: WrittenRole,
    span: Span,
    used: bool,
}

/// The role that a key has by what was written and what is known.
#[derive(Clone, Copy, Debug, Default)]
struct WrittenRole {
    role: Option<Role>,
    /// Whether another one was written, which has been reported.
    refused: bool,
}

/// The named keys, and what has been seen of pins so far.
pub(super) struct KeyRing<'a> {
    findings: &'a Findings,
    keys: RefCell<HashMap<&'a str, NamedKey>>,
    /// The name of each pin that has one.
    names: HashMap<Pin, (&'a str, Span)>,
    /// What the files of all keys show.
    shown: Shown,
    /// Each digest: as what it was first given, and where.
    digests: RefCell<HashMap<Sha256, (Pin, Span)>>,
}

/// A blocked key and where it stands.
pub(super) type Blocklist = HashMap<Sha256, (Arc<Blocked>, Span)>;

impl<'a> KeyRing<'a> {
    pub(super) fn read(root: &Table<'a>, outside: &dyn Outside) -> Self {
        let tables = root.named_tables("keys");
        let pems: Vec<_> =
            tables.iter().map(|(_, table)| table.item("pem").map(|item| Pem::load(item, outside))).collect();
        let mut shown = Shown::default();
        pems.iter().flatten().for_each(|pem| pem.show(&mut shown));
        let (keys, digests) = (RefCell::default(), RefCell::default());
        let mut ring = Self { findings: root.findings, keys, names: HashMap::new(), shown, digests };
        for ((name, table), pem) in tables.into_iter().zip(pems) {
            check_name(ring.findings, &name);
            let pin = ring.read_key(&table, pem.as_ref());
            let role = ring.read_role(&table, pin.as_ref());
            for text in ["owner", "note"] {
                table.item(text).and_then(|item| item.words());
            }
            if let Some(pin) = pin {
                if let Some((first, span)) = ring.names.get(&pin) {
                    let message = format!("the keys {first:?} and {:?} are one key", name.value);
                    let help = "keep one name; a backup has to be another key";
                    ring.findings.conflict(Code::E09, &name.span, message, (span, "first given here"), help);
                } else {
                    ring.names.insert(pin, (name.value, name.span));
                }
            }
            ring.keys.get_mut().insert(name.value, NamedKey { pin, role, span: name.span, used: false });
        }
        ring
    }

    /// The pin that is written out, or else that of the file.
    fn read_key(&self, table: &Table<'a>, pem: Option<&Pem<'_>>) -> Option<Pin> {
        let confirmed = |pin: Pin, item: &Item<'_>| pem.map_or(Some(pin), |pem| pem.confirm(pin, item));
        match (table.item("spki"), table.item("cert"), pem) {
            (Some(spki), Some(cert), _) => {
                let help = "keep spki, which survives a renewal; give the certificate another name if both are wanted";
                let message = format!("{} and {} name one key twice", spki.path, cert.path);
                self.findings.conflict(Code::E12, &cert.span(), message, (&spki.span(), "the key is given here"), help);
                None
            }
            (Some(spki), None, _) => confirmed(self.read_spki(&spki)?, &spki),
            (None, Some(cert), _) => confirmed(self.read_certificate(&cert)?, &cert),
            (None, None, Some(pem)) => self.accept(Ok(Pin::Spki(pem.key()?)), &pem.span()),
            (None, None, None) => {
                table.required(
                    "spki",
                    Code::E14,
                    "write spki = \"sha256/…\" (config/pinproxy.toml shows the command that prints it), or pem = \"FILE\"",
                );
                None
            }
        }
    }

    /// Under this key 64 hexadecimal digits can only be a key.
    fn read_spki(&self, item: &Item<'_>) -> Option<Pin> {
        let text = item.text()?;
        let pin = match Pin::parse(text.value) {
            Err(PinError::AmbiguousHex) => Pin::parse(&format!("sha256:{}", text.value)),
            result => result,
        };
        match pin {
            Ok(Pin::Certificate(_)) => {
                let help = "write it as cert = \"sha256:…\"";
                self.findings.error(Code::E05, &text.span, format!("{} holds a certificate pin", item.path), help);
                None
            }
            pin => self.accept(pin, &text.span),
        }
    }

    /// Under this key 64 hexadecimal digits can only be a certificate.
    fn read_certificate(&self, item: &Item<'_>) -> Option<Pin> {
        let text = item.text()?;
        let bare = text.value.strip_prefix("cert:").unwrap_or(text.value);
        let pin = match Pin::parse(bare) {
            Err(PinError::AmbiguousHex) => Pin::parse(&format!("cert:sha256:{bare}")),
            Ok(_) if bare.starts_with("sha256:") => Pin::parse(&format!("cert:{bare}")),
            Ok(_) => {
                let help = "write spki = \"sha256/…\", or the digest of the certificate as \"sha256:HEX\"";
                self.findings.error(Code::E05, &text.span, format!("{} holds a key pin", item.path), help);
                return None;
            }
            result => result,
        };
        self.accept(pin, &text.span)
    }

    /// Reports a malformed pin, and a digest that is known to be of the other kind or given as both.
    fn accept(&self, pin: Result<Pin, PinError>, span: &Span) -> Option<Pin> {
        let pin = match pin {
            Ok(pin) => pin,
            Err(error) => {
                let (code, help) = pin_advice(&error);
                self.findings.error(code, span, error.to_string(), help);
                return None;
            }
        };
        if let Some((message, help)) = self.shown.mistaken(&pin) {
            self.findings.error(Code::E12, span, message, help);
            return None;
        }
        let mut digests = self.digests.borrow_mut();
        let (first, first_span) = digests.entry(*pin.digest()).or_insert_with(|| (pin, *span));
        if *first != pin {
            let message = "this digest is given as a key here and as a certificate elsewhere";
            let help = "a digest belongs to one of them: spki is the SHA-256 of the public key, cert that of the whole certificate";
            self.findings.conflict(Code::E12, span, message, (first_span, "first given here"), help);
        }
        Some(pin)
    }

    /// An entry of a list: the name of a key, or a pin.
    pub(super) fn resolve(&self, item: &Item<'_>) -> Option<ListedPin> {
        let text = item.text()?;
        if let Some(key) = self.keys.borrow_mut().get_mut(text.value) {
            key.used = true;
            return Some(self.listed(key.pin?, key.role, text.span));
        }
        let parsed = Pin::parse(text.value);
        if matches!(parsed, Err(PinError::Form)) && is_name(text.value) {
            let keys = self.keys.borrow();
            let help = match self.findings.nearest(text.value, keys.keys().copied()) {
                Some(known) => format!("did you mean {known:?}?"),
                None => format!("define it: [keys.{}] with spki = \"sha256/…\"", text.value),
            };
            self.findings.error(Code::E10, &text.span, format!("there is no key named {:?}", text.value), help);
            return None;
        }
        let pin = self.accept(parsed, &text.span)?;
        // What was declared of a key holds for it without its name, too.
        let keys = self.keys.borrow();
        let named = self.names.get(&pin).and_then(|(name, _)| keys.get(name));
        Some(self.listed(pin, named.map(|key| key.role).unwrap_or_default(), text.span))
    }

    fn listed(&self, pin: Pin, role: WrittenRole, span: Span) -> ListedPin {
        let certificate = self.shown.certificate(&pin);
        ListedPin {
            pin,
            key_of_certificate: certificate.map(|shows| shows.key),
            certificate_ends: certificate.map(|shows| shows.not_after),
            standing: self.shown.standing(&pin),
            role: role.role,
            role_refused: role.refused,
            span,
        }
    }

    /// The role as it is written, or the one that the key has where that is another.
    fn read_role(&self, table: &Table<'_>, pin: Option<&Pin>) -> WrittenRole {
        let Some((item, role)) = table.item("role").and_then(|item| item.choice(ROLES).map(|role| (item, role))) else {
            return WrittenRole::default();
        };
        let contradicted = pin.and_then(|pin| role.contradicted(pin, self.shown.standing(pin)));
        let Some(Contradiction { is, because }) = contradicted else {
            return WrittenRole { role: Some(role), refused: false };
        };
        let message = format!("{} does not fit the key: {because}", item.path);
        let help = "correct the role or leave it out, or correct the key";
        self.findings.error(Code::E13, &item.span(), message, help);
        WrittenRole { role: Some(is), refused: true }
    }

    /// Reports the keys that nothing uses.
    pub(super) fn warn_unused(&self) {
        for (name, key) in self.keys.borrow().iter().filter(|(_, key)| !key.used) {
            let help = "name it in a pinset, or remove it";
            self.findings.warning(Code::W11, &key.span, format!("nothing uses the key {name:?}"), help);
        }
    }

    /// The distrusted keys.
    pub(super) fn read_blocklist(&self, root: &Table<'a>) -> Blocklist {
        let mut blocklist = Blocklist::new();
        let mut names: HashMap<&str, Span> = HashMap::new();
        for table in root.tables("blocklist") {
            let name = read_name(&table, &mut names);
            let reason = table.required("reason", Code::E14, "say why the key is not trusted").and_then(|r| r.words());
            let pins = table.required("spki", Code::E14, "write spki = [\"sha256/…\"]").and_then(|l| l.some_elements());
            let blocked = Arc::new(Blocked {
                name: name.unwrap_or_default().to_owned(),
                reason: reason.map(|reason| reason.value.to_owned()).unwrap_or_default(),
            });
            for listed in pins.unwrap_or_default().iter().filter_map(|item| self.resolve(item)) {
                self.block(&mut blocklist, &blocked, listed);
            }
        }
        blocklist
    }

    fn block(&self, blocklist: &mut Blocklist, blocked: &Arc<Blocked>, listed: ListedPin) {
        let Pin::Spki(digest) = listed.pin else {
            let help = "block the key: a certificate for the same key is issued again easily";
            return self.findings.error(Code::E05, &listed.span, "a certificate pin cannot be blocked", help);
        };
        if let Some((_, first)) = blocklist.get(&digest) {
            let note = (first, "first given here");
            return self.findings.conflict(Code::E09, &listed.span, "this key is blocked twice", note, "remove one");
        }
        blocklist.insert(digest, (Arc::clone(blocked), listed.span));
    }
}

fn pin_advice(error: &PinError) -> (Code, &'static str) {
    match error {
        PinError::BrokenHash(_) | PinError::OtherHash(_) => {
            (Code::E03, "hash the key again with SHA-256; config/pinproxy.toml shows the command")
        }
        PinError::Length { .. } => (Code::E04, "a pin is the base64 of 32 bytes: 44 characters, the last one a ="),
        PinError::Placeholder(_) => {
            (Code::E06, "write the pin of a real key; config/pinproxy.toml shows the command that prints it")
        }
        PinError::NotCanonical { .. } => {
            (Code::E05, "compare the end with its source: a character is mistyped or lost")
        }
        PinError::Empty | PinError::Form | PinError::AmbiguousHex | PinError::Encoding { .. } => {
            (Code::E05, "write sha256/BASE64; config/pinproxy.toml shows the command that prints it")
        }
    }
}

fn is_name(text: &str) -> bool {
    let letters = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    letters && (1..=NAME_OCTETS_MAX).contains(&text.len())
}

fn check_name(findings: &Findings, name: &Located<&str>) -> Option<()> {
    if is_name(name.value) {
        return Some(());
    }
    let help = format!("1 to {NAME_OCTETS_MAX} of the characters A-Z a-z 0-9 . _ -");
    findings.error(Code::E16, &name.span, format!("{:?} is not a name", name.value), help);
    None
}

/// The `name` of a table, which no other table of its kind may have.
pub(super) fn read_name<'a>(table: &Table<'a>, names: &mut HashMap<&'a str, Span>) -> Option<&'a str> {
    let name = table.required("name", Code::E14, "give it a name; logs and replies show it")?.text()?;
    check_name(table.findings, &name)?;
    if let Some(first) = names.get(name.value) {
        let message = format!("the name {:?} is given twice", name.value);
        table.findings.conflict(Code::E46, &name.span, message, (first, "first given here"), "choose another name");
    }
    names.entry(name.value).or_insert(name.span);
    Some(name.value)
}
