//! What has to be done to a store, as data.

use super::found::{Kind, Machine, Store};
use super::table::{KEYCHAIN, NSS_DATABASE, WINDOWS_ROOTS};
use super::{Family, Order};
use crate::policy::pin::hex;
use crate::trust::pkcs12::USUAL_PASSWORD;
use crate::trust::public::Identity;
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use std::fmt;
use std::path::{Path, PathBuf};

/// What has to be done to one store, for one certificate.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What kind of store.
    pub family: Family,
    /// Which one, for people.
    pub place: String,
    /// What comes of it.
    pub order: Order,
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// How it is found out whether it is there, before and after.
    pub look: Look,
    /// What must be writable for it, where a file tells.
    pub writes: Option<PathBuf>,
    /// What is done, in this order.
    pub steps: Vec<Step>,
}

/// A step of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes the certificate into a file of its own, as PEM.
    Write(PathBuf),
    /// Removes that file.
    Remove(PathBuf),
    /// Runs a program, which has to end with 0.
    Run(Call),
}

/// A program and its arguments. No shell is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its name, or where it is.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Whether it reads the certificate, as PEM, from its standard input.
    pub reads_certificate: bool,
}

/// How it is found out whether a certificate is in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// A file of its own, and the bundle that is made of all of them.
    Files {
        /// The file.
        own: PathBuf,
        /// The bundle; there is none on a system that was just made.
        bundle: PathBuf,
    },
    /// A program prints the certificate of our name as PEM, or fails and says this where there is none.
    Named {
        /// The program.
        call: Call,
        /// What it says.
        absent: String,
        /// Where a store has certificates that it does not trust: what ends with 0 if it trusts this one.
        trusted: Option<Call>,
    },
    /// A program prints all certificates of the store as PEM.
    Among(Call),
    /// A program ends with 0 where it is there.
    Found(Call),
}

impl Call {
    fn new(program: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { program: program.into(), arguments, reads_certificate: false }
    }

    fn reading(self) -> Self {
        Self { reads_certificate: true, ..self }
    }

    fn of(line: &[&str]) -> Self {
        let (program, arguments) = line.split_first().unwrap_or((&"", &[]));
        Self::new(*program, arguments)
    }
}

impl Store {
    /// What has to be done to this store. `None` of what is no certificate.
    pub fn plan(&self, machine: &Machine, certificate: &CertificateDer<'static>, order: Order) -> Option<Plan> {
        let identity = Identity::of(certificate)?;
        let (look, writes, steps) = match &self.kind {
            Kind::Folder { row, folder, bundle } => {
                let own = folder.join(format!("{}.{}", identity.name(), row.extension));
                let steps = match order {
                    Order::Install => vec![Step::Write(own.clone()), Step::Run(Call::of(row.added))],
                    Order::Uninstall => vec![Step::Remove(own.clone()), Step::Run(Call::of(row.removed))],
                };
                (Look::Files { own, bundle: bundle.clone() }, Some(folder.clone()), steps)
            }
            Kind::Nss { database } => nss(database, &identity, order),
            Kind::Keystore { file, keytool, taken_over } => {
                // Debian's name for what it has taken over from its own store: the file that it has made there.
                let name = identity.name();
                let alias = if *taken_over { format!("debian:{name}.pem") } else { name };
                keystore(file, keytool, &alias, order)
            }
            Kind::Keychain => keychain(machine, &identity, order),
            Kind::WindowsRoots => windows(machine, &identity, order),
        };
        let (family, place, certificate) = (self.family, self.place.clone(), certificate.clone());
        Some(Plan { family, place, order, certificate, look, writes, steps })
    }
}

type Parts = (Look, Option<PathBuf>, Vec<Step>);

/// certutil(1) of NSS.
fn nss(database: &Path, identity: &Identity, order: Order) -> Parts {
    let folder = format!("sql:{}", database.display());
    let name = identity.name();
    let call = |what: &str, more: &[&str]| Call::new("certutil", &[&[what, "-d", &folder, "-n", &name], more].concat());
    // A CA for servers, and for nothing else.
    let step = match order {
        Order::Install => Step::Run(call("-A", &["-t", "C,,", "-a"]).reading()),
        Order::Uninstall => Step::Run(call("-D", &[])),
    };
    // As a CA of servers, at the time of this look.
    let trusted = Some(call("-V", &["-u", "L"]));
    let look = Look::Named { call: call("-L", &["-a"]), absent: "Could not find".into(), trusted };
    (look, Some(database.join(NSS_DATABASE)), vec![step])
}

/// keytool(1).
fn keystore(file: &Path, keytool: &Path, alias: &str, order: Order) -> Parts {
    let store = file.display().to_string();
    // Whatever the language of the user: see `absent`.
    let common = ["-J-Duser.language=en", "-keystore", &store, "-storepass", USUAL_PASSWORD, "-alias", alias];
    let call = |what: &[&str]| Call::new(keytool, &[what, &common[..]].concat());
    let step = match order {
        Order::Install => Step::Run(call(&["-importcert", "-noprompt"]).reading()),
        Order::Uninstall => Step::Run(call(&["-delete", "-noprompt"])),
    };
    let absent = format!("Alias <{alias}> does not exist");
    let look = Look::Named { call: call(&["-exportcert", "-rfc"]), absent, trusted: None };
    (look, Some(file.to_owned()), vec![step])
}

/// security(1) of macOS.
fn keychain(machine: &Machine, identity: &Identity, order: Order) -> Parts {
    let security = |arguments: &[&str]| Call::new("security", arguments);
    let file = temporary(machine, identity);
    let name = file.display().to_string();
    let step = match order {
        Order::Install => security(&["add-trusted-cert", "-d", "-r", "trustRoot", "-k", KEYCHAIN, &name]),
        // What it was trusted for goes with it.
        Order::Uninstall => {
            security(&["delete-certificate", "-Z", &hex(&identity.sha1).to_uppercase(), "-t", KEYCHAIN])
        }
    };
    let look = Look::Among(security(&["find-certificate", "-a", "-p", KEYCHAIN]));
    (look, None, with_file(file, step, order))
}

/// certutil of Windows, which knows certificates by their SHA-1.
fn windows(machine: &Machine, identity: &Identity, order: Order) -> Parts {
    let certutil = |arguments: &[&str]| Call::new("certutil.exe", arguments);
    let file = temporary(machine, identity);
    let digest = hex(&identity.sha1);
    let step = match order {
        Order::Install => certutil(&["-addstore", "-f", WINDOWS_ROOTS, &file.display().to_string()]),
        Order::Uninstall => certutil(&["-delstore", WINDOWS_ROOTS, &digest]),
    };
    (Look::Found(certutil(&["-store", WINDOWS_ROOTS, &digest])), None, with_file(file, step, order))
}

/// For a program that reads from files only.
fn temporary(machine: &Machine, identity: &Identity) -> PathBuf {
    machine.temporary.join(format!("{}.cer", identity.name()))
}

fn with_file(file: PathBuf, call: Call, order: Order) -> Vec<Step> {
    match order {
        Order::Install => vec![Step::Write(file.clone()), Step::Run(call), Step::Remove(file)],
        Order::Uninstall => vec![Step::Run(call)],
    }
}

impl fmt::Display for Call {
    /// As a shell would have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quoted(&self.program.display().to_string()))?;
        self.arguments.iter().try_for_each(|argument| write!(f, " {}", quoted(argument)))?;
        f.write_str(if self.reads_certificate { "   (with the certificate on its standard input)" } else { "" })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(path) => write!(f, "write {}", quoted(&path.display().to_string())),
            Self::Remove(path) => write!(f, "remove {}", quoted(&path.display().to_string())),
            Self::Run(call) => write!(f, "run {call}"),
        }
    }
}

impl Step {
    /// For programs.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Write(path) => json!({ "write": path }),
            Self::Remove(path) => json!({ "remove": path }),
            Self::Run(Call { program, arguments, reads_certificate }) => {
                json!({ "run": program, "arguments": arguments, "reads_certificate": reads_certificate })
            }
        }
    }
}

/// A word that a shell takes as it is.
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=,+@%".contains(c);
    let plain = !word.is_empty() && word.chars().all(is_plain);
    if plain { word.to_owned() } else { in_quotes(word) }
}

/// The same within quotes, needed or not.
pub fn in_quotes(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::super::found::Platform;
    use super::super::table::FOLDERS;
    use super::*;

    /// ISRG Root X1, whose digests are published.
    fn root() -> CertificateDer<'static> {
        let mut roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
        let x1 = roots.find(|der| Identity::of(der).unwrap().name() == "pinproxy-96bcec06264976f3");
        x1.unwrap().clone()
    }

    fn lines(kind: Kind, order: Order) -> Vec<String> {
        let machine = Machine {
            platform: Platform::Linux,
            root: "/".into(),
            home: None,
            java_home: None,
            programs: Vec::new(),
            temporary: "/tmp".into(),
        };
        let store = Store { family: Family::System, place: String::new(), kind };
        let plan = store.plan(&machine, &root(), order).unwrap();
        plan.steps.iter().map(ToString::to_string).collect()
    }

    fn both(kind: &Kind) -> [Vec<String>; 2] {
        [Order::Install, Order::Uninstall].map(|order| lines(kind.clone(), order))
    }

    #[test]
    fn folders() {
        let table = [
            ("Debian family", "/usr/local/share/ca-certificates/N.crt", "update-ca-certificates", " --fresh"),
            ("Red Hat family", "/etc/pki/ca-trust/source/anchors/N.pem", "update-ca-trust extract", ""),
            ("Arch", "/etc/ca-certificates/trust-source/anchors/N.crt", "update-ca-trust extract", ""),
            ("SUSE", "/etc/pki/trust/anchors/N.pem", "update-ca-certificates", ""),
        ];
        assert_eq!(table.len(), FOLDERS.len());
        for (of, file, run, fresh) in table {
            let row = FOLDERS.iter().find(|row| row.of == of).unwrap();
            let kind = Kind::Folder { row, folder: row.path.into(), bundle: row.bundle.into() };
            let file = file.replace('N', "pinproxy-96bcec06264976f3");
            let [added, removed] = both(&kind);
            assert_eq!(added, [format!("write {file}"), format!("run {run}")]);
            assert_eq!(removed, [format!("remove {file}"), format!("run {run}{fresh}")]);
        }
    }

    #[test]
    fn programs_of_stores() {
        let keystore = |taken_over| {
            let (file, keytool) = ("/opt/a java/cacerts".into(), "/opt/a java/bin/keytool".into());
            Kind::Keystore { file, keytool, taken_over }
        };
        let keytool = |what: &str, alias: &str| {
            format!(
                "run '/opt/a java/bin/keytool' {what} -noprompt -J-Duser.language=en -keystore '/opt/a java/cacerts' \
                 -storepass changeit -alias {alias}"
            )
        };
        let (name, input) = ("pinproxy-96bcec06264976f3", "   (with the certificate on its standard input)");
        let keychain = "/Library/Keychains/System.keychain";
        let sha1 = "cabd2a79a1076a31f21d253635cb039d4329a5e8";
        let upper = sha1.to_uppercase();
        let file = format!("/tmp/{name}.cer");
        let table = [
            (
                Kind::Nss { database: "/home/ada/it's/nssdb".into() },
                vec![format!(r"run certutil -A -d 'sql:/home/ada/it'\''s/nssdb' -n {name} -t C,, -a{input}")],
                vec![format!(r"run certutil -D -d 'sql:/home/ada/it'\''s/nssdb' -n {name}")],
            ),
            (keystore(false), vec![keytool("-importcert", name) + input], vec![keytool("-delete", name)]),
            (
                keystore(true),
                vec![keytool("-importcert", &format!("debian:{name}.pem")) + input],
                vec![keytool("-delete", &format!("debian:{name}.pem"))],
            ),
            (
                Kind::Keychain,
                vec![
                    format!("write {file}"),
                    format!("run security add-trusted-cert -d -r trustRoot -k {keychain} {file}"),
                    format!("remove {file}"),
                ],
                vec![format!("run security delete-certificate -Z {upper} -t {keychain}")],
            ),
            (
                Kind::WindowsRoots,
                vec![
                    format!("write {file}"),
                    format!("run certutil.exe -addstore -f Root {file}"),
                    format!("remove {file}"),
                ],
                vec![format!("run certutil.exe -delstore Root {sha1}")],
            ),
        ];
        for (kind, added, removed) in table {
            assert_eq!(both(&kind), [added, removed], "{kind:?}");
        }
    }

    #[test]
    fn words_for_a_shell() {
        let table =
            [("a", "a"), ("", "''"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("$HOME", "'$HOME'"), ("~", "'~'")];
        for (word, expected) in table {
            assert_eq!(quoted(word), expected);
        }
    }
}
