//! Which stores there are, on which systems, and whose programs keep them.

/// A store that is a folder of certificates, and a program that makes the rest of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Folder {
    /// Whose it is.
    pub(super) of: &'static str,
    /// Where a certificate is put, a file each. That it is there tells the family.
    pub(super) path: &'static str,
    /// How its files are called.
    pub(super) extension: &'static str,
    /// What takes in a new one.
    pub(super) added: &'static [&'static str],
    /// What notices that one is gone.
    pub(super) removed: &'static [&'static str],
    /// What it makes of all of them.
    pub(super) bundle: &'static str,
}

/// In the order in which they are looked for, as some have the folder of another one, too.
///
/// Sources: update-ca-trust(8) of Fedora and of Arch Linux, update-ca-certificates(8) of Debian, the README of openSUSE's
/// ca-certificates.
pub(super) const FOLDERS: &[Folder] = &[
    Folder {
        of: "Red Hat family",
        path: "/etc/pki/ca-trust/source/anchors",
        extension: "pem",
        added: &["update-ca-trust", "extract"],
        removed: &["update-ca-trust", "extract"],
        bundle: "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    },
    Folder {
        of: "SUSE",
        path: "/etc/pki/trust/anchors",
        extension: "pem",
        added: &["update-ca-certificates"],
        removed: &["update-ca-certificates"],
        bundle: "/var/lib/ca-certificates/ca-bundle.pem",
    },
    Folder {
        of: "Arch",
        path: "/etc/ca-certificates/trust-source/anchors",
        extension: "crt",
        added: &["update-ca-trust", "extract"],
        removed: &["update-ca-trust", "extract"],
        bundle: "/etc/ca-certificates/extracted/tls-ca-bundle.pem",
    },
    Folder {
        of: "Debian family",
        path: "/usr/local/share/ca-certificates",
        extension: "crt",
        added: &["update-ca-certificates"],
        // Without this the links to what is gone stay.
        removed: &["update-ca-certificates", "--fresh"],
        bundle: "/etc/ssl/certs/ca-certificates.crt",
    },
];

/// The keychain of macOS that all users trust.
pub(super) const KEYCHAIN: &str = "/Library/Keychains/System.keychain";

/// The store of roots of Windows.
pub(super) const WINDOWS_ROOTS: &str = "Root";

/// A database of NSS is a folder with this file; older ones are read by nothing that is still in use.
pub(super) const NSS_DATABASE: &str = "cert9.db";

/// Where databases of NSS are, below the folder of the user: of Chromium and Chrome, of Firefox, each also as snap and
/// flatpak, and of Firefox since release 147.
pub(super) const NSS_OF_LINUX: &[&str] = &[
    ".pki/nssdb",
    "snap/chromium/current/.pki/nssdb",
    ".var/app/*/.pki/nssdb",
    ".mozilla/firefox/*",
    ".config/mozilla/firefox/*",
    "snap/firefox/common/.mozilla/firefox/*",
    ".var/app/org.mozilla.firefox/.mozilla/firefox/*",
    ".var/app/org.mozilla.firefox/config/mozilla/firefox/*",
];
/// The same on macOS; Chrome uses the keychain there.
pub(super) const NSS_OF_MACOS: &[&str] = &["Library/Application Support/Firefox/Profiles/*"];

/// Where the trust store of a Java is, in its folder: since Java 9, and in a JDK 8.
pub(super) const KEYSTORES: &[&str] = &["lib/security/cacerts", "jre/lib/security/cacerts"];
/// Where Javas are on Linux.
pub(super) const JAVAS_OF_LINUX: &[&str] = &["/usr/lib/jvm/*", "/usr/lib64/jvm/*", "/usr/java/*", "/opt/java/*"];
/// Where Javas are on macOS.
pub(super) const JAVAS_OF_MACOS: &[&str] = &["/Library/Java/JavaVirtualMachines/*/Contents/Home"];
/// Stores of Java that a system makes anew from its own, so that what is put into them by others is lost.
pub(super) const MADE_BY_THE_SYSTEM: &[&str] =
    &["/etc/pki/ca-trust/extracted", "/etc/ca-certificates/extracted", "/var/lib/ca-certificates"];
/// The one of Debian's Javas: what is put into it by others stays, and what is put into the system's store is put into this
/// one, too, but not taken away from there again.
pub(super) const KEYSTORE_OF_DEBIAN: &str = "/etc/ssl/certs/java/cacerts";

/// Where programs of administrators are, whether or not the `PATH` of a user has it.
pub(super) const PROGRAMS_OF_ADMINISTRATORS: &[&str] = &["/usr/local/sbin", "/usr/sbin", "/sbin"];
