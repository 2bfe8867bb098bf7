//! The stores that are there.

use super::table::{
    FOLDERS, Folder, JAVAS_OF_LINUX, JAVAS_OF_MACOS, KEYSTORE_OF_DEBIAN, KEYSTORES, MADE_BY_THE_SYSTEM, NSS_DATABASE,
    NSS_OF_LINUX, NSS_OF_MACOS, PROGRAMS_OF_ADMINISTRATORS,
};
use super::{Family, Order};
use rustix::fs::{Access, access};
use std::env;
use std::path::{Path, PathBuf};

/// What a machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// Linux, and whatever else has its folders.
    Linux,
    /// macOS.
    MacOs,
    /// Windows.
    Windows,
}

/// A machine, as far as stores are looked for on it.
#[derive(Clone, Debug)]
pub struct Machine {
    /// What it runs.
    pub platform: Platform,
    /// What stands for `/`, so that a test has one of its own.
    pub root: PathBuf,
    /// The folder of the user.
    pub home: Option<PathBuf>,
    /// `JAVA_HOME`: where it is set, no other Java is looked for.
    pub java_home: Option<PathBuf>,
    /// Where programs are looked for.
    pub programs: Vec<PathBuf>,
    /// Where files lie that a program reads once.
    pub temporary: PathBuf,
}

/// A store that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// What kind.
    pub family: Family,
    /// Which one, for people.
    pub place: String,
    pub(super) kind: Kind,
}

/// How a store is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A folder and what is made of it.
    Folder { row: &'static Folder, folder: PathBuf, bundle: PathBuf },
    /// A database of NSS.
    Nss { database: PathBuf },
    /// A trust store of Java. `taken_over` is how Debian calls what it has taken over from its own.
    Keystore { file: PathBuf, keytool: PathBuf, taken_over: bool },
    /// The keychain of macOS.
    Keychain,
    /// The roots of Windows.
    WindowsRoots,
}

impl Machine {
    /// The one that this program runs on, for the user as whom it runs.
    pub fn this() -> Self {
        let platform = match env::consts::OS {
            "macos" => Platform::MacOs,
            "windows" => Platform::Windows,
            _ => Platform::Linux,
        };
        let path = env::var_os("PATH").unwrap_or_default();
        let administrators = PROGRAMS_OF_ADMINISTRATORS.iter().map(PathBuf::from);
        Self {
            platform,
            root: PathBuf::from("/"),
            home: dirs::home_dir(),
            java_home: env::var_os("JAVA_HOME").filter(|home| !home.is_empty()).map(PathBuf::from),
            // An empty part of PATH means the folder that somebody happens to be in.
            programs: env::split_paths(&path).filter(|folder| folder.is_absolute()).chain(administrators).collect(),
            temporary: env::temp_dir(),
        }
    }

    /// The stores of this machine, in the order in which they are dealt with. To undo takes one more than to do: see
    /// `KEYSTORE_OF_DEBIAN`.
    pub fn stores(&self, order: Order) -> Vec<Store> {
        let mut stores = self.of_system();
        stores.extend(self.databases());
        let keystores = self.keystores();
        if order == Order::Uninstall {
            let of_debian = resolved(&self.at(KEYSTORE_OF_DEBIAN));
            let kept_by_debian = keystores.iter().filter(|(file, _)| Some(file) == of_debian.as_ref());
            stores.extend(kept_by_debian.map(|(file, keytool)| keystore(file, keytool, true)));
        }
        stores.extend(keystores.iter().map(|(file, keytool)| keystore(file, keytool, false)));
        stores
    }

    /// A program by its name, or where a plan says that it is.
    pub(super) fn program(&self, name: &Path) -> Option<PathBuf> {
        // A path that is absolute replaces the folder.
        let own = [PathBuf::new()];
        let folders = if name.is_absolute() { &own[..] } else { &self.programs };
        let mut files = folders.iter().map(|folder| folder.join(name));
        files.find(|path| path.is_file() && access(path, Access::EXEC_OK).is_ok())
    }

    /// Where an absolute path is on this machine.
    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn of_system(&self) -> Vec<Store> {
        let (place, kind) = match self.platform {
            Platform::MacOs => ("keychain of all users".to_owned(), Kind::Keychain),
            Platform::Windows => ("trusted roots of all users".to_owned(), Kind::WindowsRoots),
            Platform::Linux => {
                let Some(row) = FOLDERS.iter().find(|row| self.at(row.path).is_dir()) else { return Vec::new() };
                let (folder, bundle) = (self.at(row.path), self.at(row.bundle));
                (format!("{} ({})", folder.display(), row.of), Kind::Folder { row, folder, bundle })
            }
        };
        vec![Store { family: Family::System, place, kind }]
    }

    fn databases(&self) -> Vec<Store> {
        let patterns = match self.platform {
            Platform::Linux => NSS_OF_LINUX,
            Platform::MacOs => NSS_OF_MACOS,
            // Its certutil is another program, and none of NSS comes with Firefox.
            Platform::Windows => &[],
        };
        let Some(home) = &self.home else { return Vec::new() };
        let folders = patterns.iter().flat_map(|pattern| below(home, pattern));
        let mut databases: Vec<_> = folders
            .filter(|folder| folder.join(NSS_DATABASE).is_file())
            .filter_map(|folder| resolved(&folder))
            .collect();
        databases.sort();
        databases.dedup();
        let store = |database: PathBuf| Store {
            family: Family::Nss,
            place: database.display().to_string(),
            kind: Kind::Nss { database },
        };
        databases.into_iter().map(store).collect()
    }

    /// Trust stores of Javas, each once, and the program of that Java.
    fn keystores(&self) -> Vec<(PathBuf, PathBuf)> {
        let patterns = match self.platform {
            Platform::Linux => JAVAS_OF_LINUX,
            Platform::MacOs => JAVAS_OF_MACOS,
            Platform::Windows => &[],
        };
        let javas: Vec<_> = match &self.java_home {
            Some(java) => vec![java.clone()],
            None => patterns.iter().flat_map(|pattern| below(&self.root, pattern.trim_start_matches('/'))).collect(),
        };
        let made_by_the_system: Vec<_> = MADE_BY_THE_SYSTEM.iter().map(|folder| self.at(folder)).collect();
        let mut keystores: Vec<(PathBuf, PathBuf)> = Vec::new();
        for java in javas {
            let files = KEYSTORES.iter().map(|file| java.join(file)).filter(|file| file.is_file());
            for file in files.filter_map(|file| resolved(&file)) {
                let is_known = keystores.iter().any(|(known, _)| *known == file);
                if !is_known && !made_by_the_system.iter().any(|folder| file.starts_with(folder)) {
                    let own = java.join("bin").join("keytool");
                    let keytool = if own.is_absolute() && own.is_file() { own } else { PathBuf::from("keytool") };
                    keystores.push((file, keytool));
                }
            }
        }
        keystores.sort();
        keystores
    }
}

/// Where links lead; none of what is not there.
fn resolved(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok()
}

fn keystore(file: &Path, keytool: &Path, taken_over: bool) -> Store {
    let (family, of) = if taken_over { (Family::System, ", as the system fills it") } else { (Family::Java, "") };
    let place = format!("{}{of}", file.display());
    Store { family, place, kind: Kind::Keystore { file: file.to_owned(), keytool: keytool.to_owned(), taken_over } }
}

/// What is there below a folder by a pattern, whatever characters the folder itself has.
fn below(folder: &Path, pattern: &str) -> Vec<PathBuf> {
    let pattern = format!("{}/{pattern}", glob::Pattern::escape(&folder.to_string_lossy()));
    let found = glob::glob(&pattern).ok();
    found.into_iter().flatten().filter_map(Result::ok).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A machine in a folder whose name has characters that patterns take for theirs.
    fn machine(platform: Platform) -> (tempfile::TempDir, Machine) {
        let folder = tempfile::Builder::new().prefix("a [machine]* ").tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let home = Some(root.join("home/ada"));
        let temporary = root.join("tmp");
        let machine = Machine { platform, root, home, java_home: None, programs: Vec::new(), temporary };
        (folder, machine)
    }

    fn put(machine: &Machine, files: &[&str]) {
        for file in files {
            let path = machine.at(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
    }

    fn places(machine: &Machine, order: Order) -> Vec<String> {
        let root = format!("{}/", machine.root.display());
        let named = |store: Store| format!("{} {}", store.family, store.place.replace(&root, "/"));
        machine.stores(order).into_iter().map(named).collect()
    }

    #[test]
    fn where_nothing_is_nothing_is_found() {
        assert!(places(&machine(Platform::Linux).1, Order::Install).is_empty());
    }

    #[test]
    fn families_of_linux() {
        let table = [
            ("/usr/local/share/ca-certificates", "Debian family"),
            ("/etc/pki/ca-trust/source/anchors", "Red Hat family"),
            ("/etc/ca-certificates/trust-source/anchors", "Arch"),
            ("/etc/pki/trust/anchors", "SUSE"),
        ];
        for (folder, of) in table {
            let (_folder, machine) = machine(Platform::Linux);
            fs::create_dir_all(machine.at(folder)).unwrap();
            assert_eq!(places(&machine, Order::Install), [format!("system {folder} ({of})")]);
        }
    }

    #[test]
    fn databases_are_folders_with_a_database_each_once() {
        let (_folder, machine) = machine(Platform::Linux);
        put(
            &machine,
            &[
                "home/ada/.pki/nssdb/cert9.db",
                "home/ada/.mozilla/firefox/x1.default/cert9.db",
                "home/ada/.mozilla/firefox/x2.default/cert8.db",
                "home/ada/.mozilla/firefox/profiles.ini",
                "home/ada/snap/firefox/common/.mozilla/firefox/y.default/cert9.db",
                "home/ada/snap/chromium/7/.pki/nssdb/cert9.db",
                "home/ada/.var/app/org.mozilla.firefox/.mozilla/firefox/z.default/cert9.db",
                "home/ada/.var/app/com.google.Chrome/.pki/nssdb/cert9.db",
                "home/ada/.config/mozilla/firefox/w.default/cert9.db",
                "home/ada/elsewhere/cert9.db",
            ],
        );
        std::os::unix::fs::symlink("7", machine.at("home/ada/snap/chromium/current")).unwrap();
        std::os::unix::fs::symlink("x1.default", machine.at("home/ada/.mozilla/firefox/latest")).unwrap();
        let expected = [
            ".config/mozilla/firefox/w.default",
            ".mozilla/firefox/x1.default",
            ".pki/nssdb",
            ".var/app/com.google.Chrome/.pki/nssdb",
            ".var/app/org.mozilla.firefox/.mozilla/firefox/z.default",
            "snap/chromium/7/.pki/nssdb",
            "snap/firefox/common/.mozilla/firefox/y.default",
        ];
        assert_eq!(places(&machine, Order::Install), expected.map(|place| format!("nss /home/ada/{place}")));
        assert!(places(&Machine { home: None, ..machine }, Order::Install).is_empty());
    }

    #[test]
    fn javas_and_what_the_system_makes_for_them() {
        let (_folder, machine) = machine(Platform::Linux);
        put(
            &machine,
            &[
                "usr/lib/jvm/eleven/lib/security/cacerts",
                "usr/lib/jvm/eight/jre/lib/security/cacerts",
                "etc/pki/ca-trust/extracted/java/cacerts",
                "etc/ssl/certs/java/cacerts",
                "opt/own/lib/security/cacerts",
            ],
        );
        for (name, target) in [
            ("seventeen", "../../../../../../etc/ssl/certs/java/cacerts"),
            ("twentyone", "../../../../../../etc/ssl/certs/java/cacerts"),
            ("fedora", "../../../../../../etc/pki/ca-trust/extracted/java/cacerts"),
        ] {
            let security = machine.at(&format!("usr/lib/jvm/{name}/lib/security"));
            fs::create_dir_all(&security).unwrap();
            std::os::unix::fs::symlink(target, security.join("cacerts")).unwrap();
        }
        let own = [
            "java /etc/ssl/certs/java/cacerts",
            "java /usr/lib/jvm/eight/jre/lib/security/cacerts",
            "java /usr/lib/jvm/eleven/lib/security/cacerts",
        ];
        assert_eq!(places(&machine, Order::Install), own);
        let taken_over = "system /etc/ssl/certs/java/cacerts, as the system fills it";
        assert_eq!(places(&machine, Order::Uninstall), [&[taken_over], &own[..]].concat());
        let alone = Machine { java_home: Some(machine.at("opt/own")), ..machine };
        assert_eq!(places(&alone, Order::Install), ["java /opt/own/lib/security/cacerts"]);
    }

    #[test]
    fn other_systems() {
        let (_folder, mac) = machine(Platform::MacOs);
        put(
            &mac,
            &[
                "home/ada/Library/Application Support/Firefox/Profiles/a.default/cert9.db",
                "Library/Java/JavaVirtualMachines/temurin/Contents/Home/lib/security/cacerts",
            ],
        );
        let expected = [
            "system keychain of all users",
            "nss /home/ada/Library/Application Support/Firefox/Profiles/a.default",
            "java /Library/Java/JavaVirtualMachines/temurin/Contents/Home/lib/security/cacerts",
        ];
        assert_eq!(places(&mac, Order::Install), expected);
        let windows = Machine { platform: Platform::Windows, ..mac };
        assert_eq!(places(&windows, Order::Install), ["system trusted roots of all users"]);
    }
}
