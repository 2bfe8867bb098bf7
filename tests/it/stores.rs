//! The store of the system, in a folder that stands for the root of a machine. Debian's own program keeps it there.

use crate::support::pki::Ca;
use crate::support::process::{find, skipped};
use pinproxy::trust::stores::{CarryError, Family, Machine, Order, Outcome, Plan, Platform};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Where Debian looks for certificates of the administrator.
const LOCAL: &str = "usr/local/share/ca-certificates";

/// A machine of the Debian family that exists in a folder alone.
struct Debian {
    folder: tempfile::TempDir,
    machine: Machine,
}

impl Debian {
    /// With a program that makes its bundle. It runs the real one, told where everything is.
    fn new() -> Option<Self> {
        let program = find("update-ca-certificates")?;
        let source = fs::read_to_string(&program).unwrap_or_default();
        if !source.contains("--localcertsdir") {
            skipped("this update-ca-certificates cannot be told where its folders are");
            return None;
        }
        let debian = Self::without_program();
        let root = debian.folder.path().display();
        let script = format!(
            "#!/bin/sh\nPATH=/usr/bin:/bin exec {} --certsconf '{root}/etc/ca-certificates.conf' \
             --certsdir '{root}/usr/share/ca-certificates' --localcertsdir '{root}/{LOCAL}' \
             --etccertsdir '{root}/etc/ssl/certs' --hooksdir '{root}/etc/ca-certificates/update.d' \"$@\"\n",
            program.display()
        );
        debian.program(&script);
        Some(debian)
    }

    fn without_program() -> Self {
        let folder = tempfile::Builder::new().prefix("machine").tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("it is there");
        for inside in [LOCAL, "usr/share/ca-certificates", "etc/ssl/certs", "etc/ca-certificates/update.d", "bin"] {
            fs::create_dir_all(root.join(inside)).expect("a folder");
        }
        // One that the distribution brings, so that there is a bundle at all times.
        fs::write(root.join("usr/share/ca-certificates/brought.crt"), Ca::root("Brought").pem()).expect("a file");
        fs::write(root.join("etc/ca-certificates.conf"), "brought.crt\n").expect("a file");
        let machine = Machine {
            platform: Platform::Linux,
            home: None,
            java_home: None,
            programs: vec![root.join("bin")],
            temporary: root.join("tmp"),
            root,
        };
        Self { folder, machine }
    }

    /// What runs as `update-ca-certificates`.
    fn program(&self, script: &str) {
        let path = self.machine.root.join("bin/update-ca-certificates");
        fs::write(&path, script).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the mode is set");
    }

    fn plan(&self, ca: &Ca, order: Order) -> Plan {
        assert_eq!(self.machine.stores(order).len(), 1, "it has no Java");
        self.plan_of(ca, order, 0)
    }

    /// For the store in this position.
    fn plan_of(&self, ca: &Ca, order: Order, position: usize) -> Plan {
        let stores = self.machine.stores(order);
        stores[position].plan(&self.machine, ca.der(), order).expect("a certificate")
    }

    fn carry_out(&self, ca: &Ca, order: Order) -> Result<Outcome, CarryError> {
        self.plan(ca, order).carry_out(&self.machine)
    }

    fn bundle(&self) -> String {
        fs::read_to_string(self.machine.root.join("etc/ssl/certs/ca-certificates.crt")).unwrap_or_default()
    }

    /// Files of the administrator, and what is in the folder of the bundle.
    fn files(&self) -> [Vec<String>; 2] {
        [LOCAL, "etc/ssl/certs"].map(|folder| names(&self.machine.root.join(folder)))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The file of its own that a plan writes to.
fn own(plan: &Plan) -> PathBuf {
    let pinproxy::trust::stores::Look::Files { own, .. } = &plan.look else { panic!("{plan:?}") };
    own.clone()
}

#[test]
fn it_comes_and_goes_without_a_trace() {
    let Some(debian) = Debian::new() else { return };
    let (ours, theirs) = (Ca::root("Ours"), Ca::root("Theirs"));
    assert_eq!(debian.carry_out(&theirs, Order::Install).unwrap(), Outcome::Installed);
    let (before, bundle) = (debian.files(), debian.bundle());
    assert!(bundle.contains(&theirs.pem()) && bundle.matches("BEGIN").count() == 2, "{bundle}");
    let steps = [
        (Order::Uninstall, Outcome::NothingToRemove),
        (Order::Install, Outcome::Installed),
        (Order::Install, Outcome::AlreadyInstalled),
        (Order::Uninstall, Outcome::Removed),
        (Order::Uninstall, Outcome::NothingToRemove),
    ];
    for (order, expected) in steps {
        assert_eq!(debian.carry_out(&ours, order).unwrap(), expected, "{order:?}");
        let is_in = matches!(expected, Outcome::Installed | Outcome::AlreadyInstalled);
        assert_eq!(debian.bundle().contains(&ours.pem()), is_in, "{order:?}");
        assert!(debian.bundle().contains(&theirs.pem()));
        let file = own(&debian.plan(&ours, Order::Install));
        let text = fs::read_to_string(&file).ok();
        assert_eq!(text, is_in.then(|| ours.pem()));
        assert_eq!(debian.files() == before, !is_in, "{:?}", debian.files());
    }
    assert_eq!(debian.bundle(), bundle);
}

/// An administrator may have put the same certificate there under another name.
#[test]
fn what_somebody_else_has_put_there_stays() {
    let Some(debian) = Debian::new() else { return };
    let ca = Ca::root("Ours");
    fs::write(debian.machine.root.join(LOCAL).join("by-hand.crt"), ca.pem()).unwrap();
    debian.carry_out(&Ca::root("Another"), Order::Install).unwrap();
    let before = debian.files();
    assert_eq!(debian.carry_out(&ca, Order::Install).unwrap(), Outcome::TrustedByOthers);
    assert_eq!(debian.carry_out(&ca, Order::Uninstall).unwrap(), Outcome::LeftToOthers);
    assert_eq!(debian.files(), before);
    // A file with its name that is another certificate, or not only this one.
    for content in [Ca::root("Else").pem(), ca.pem() + &ca.pem(), String::new()] {
        let file = own(&debian.plan(&ca, Order::Install));
        fs::write(&file, &content).unwrap();
        for order in [Order::Install, Order::Uninstall] {
            assert!(matches!(debian.carry_out(&ca, order), Err(CarryError::Foreign)), "{content}");
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), content);
    }
}

/// A program that fails, does nothing or is not there leaves things as they were.
#[test]
fn a_program_that_does_not_do_its_part() {
    let debian = Debian::without_program();
    let ca = Ca::root("Ours");
    let untouched = debian.files();
    let missing = debian.carry_out(&ca, Order::Install).unwrap_err();
    assert_eq!(missing.to_string(), "update-ca-certificates is not installed; it comes with ca-certificates");
    assert_eq!(debian.files(), untouched);
    debian.program("#!/bin/sh\necho 'first line'; echo 'no \x1b[31mroom' >&2; exit 7\n");
    let failed = debian.carry_out(&ca, Order::Install).unwrap_err();
    let told = "update-ca-certificates ended with code 7: first line / no \u{fffd}[31mroom";
    assert_eq!(failed.to_string(), told);
    assert_eq!(debian.files(), untouched);
    debian.program("#!/bin/sh\nkill -9 $$\n");
    let killed = debian.carry_out(&ca, Order::Install).unwrap_err();
    assert_eq!(killed.to_string(), "update-ca-certificates was ended by a signal: ");
    assert_eq!(debian.files(), untouched);
    debian.program("#!/bin/sh\nexit 0\n");
    assert!(matches!(debian.carry_out(&ca, Order::Install), Err(CarryError::WithoutEffect)));
    // What is in, and cannot be taken out, is in all the same, so that it can be tried again.
    let Some(debian) = Debian::new() else { return };
    debian.carry_out(&ca, Order::Install).unwrap();
    let installed = debian.files();
    debian.program("#!/bin/sh\nexit 1\n");
    assert!(matches!(debian.carry_out(&ca, Order::Uninstall), Err(CarryError::Failed { code: Some(1), .. })));
    assert_eq!(debian.files(), installed);
}

/// Debian puts what is in the system's store into Java's, too, and does not take it out of there again.
#[test]
fn what_debian_has_taken_over_for_java_goes_with_it() {
    let Some(keytool) = find("keytool") else { return };
    let (debian, ca) = (Debian::without_program(), Ca::root("Ours"));
    let at = |inside: &str| debian.machine.root.join(inside);
    for folder in ["etc/ssl/certs/java", "usr/lib/jvm/one/lib/security"] {
        fs::create_dir_all(at(folder)).unwrap();
    }
    let (store, file) = (at("etc/ssl/certs/java/cacerts"), at("ca.pem"));
    std::os::unix::fs::symlink(&store, at("usr/lib/jvm/one/lib/security/cacerts")).unwrap();
    std::os::unix::fs::symlink(&keytool, at("bin/keytool")).unwrap();
    fs::write(&file, ca.pem()).unwrap();
    let name = own(&debian.plan_of(&ca, Order::Install, 0)).file_stem().unwrap().to_string_lossy().into_owned();
    for alias in [&format!("debian:{name}.pem"), &name, "another"] {
        let mut import = std::process::Command::new(&keytool);
        import.args(["-importcert", "-noprompt", "-storepass", "changeit", "-alias", alias]);
        assert!(import.arg("-file").arg(&file).arg("-keystore").arg(&store).output().unwrap().status.success());
    }
    let count = || {
        let mut list = std::process::Command::new(&keytool);
        let listed = list.args(["-list", "-storepass", "changeit", "-keystore"]).arg(&store).output().unwrap();
        String::from_utf8_lossy(&listed.stdout).matches("trustedCertEntry").count()
    };
    let families: Vec<_> = debian.machine.stores(Order::Uninstall).iter().map(|store| store.family).collect();
    assert_eq!(families, [Family::System, Family::System, Family::Java]);
    for (position, left) in [(1, 2), (2, 1)] {
        let plan = debian.plan_of(&ca, Order::Uninstall, position);
        assert_eq!(plan.carry_out(&debian.machine).unwrap(), Outcome::Removed);
        assert_eq!(count(), left);
        assert_eq!(plan.carry_out(&debian.machine).unwrap(), Outcome::NothingToRemove);
    }
}
