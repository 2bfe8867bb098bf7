//! `ca install` and `ca uninstall`, in stores that belong to the test: `HOME` and `JAVA_HOME` say where they are. Without
//! `--store` they would be those of this machine, so that this is done with `--dry-run` alone.

use super::*;

use pinproxy::trust::stores::quoted;

/// A database of NSS in the folder of the user, with a CA in it that somebody else has put there.
struct Database {
    certutil: PathBuf,
    folder: PathBuf,
}

impl Database {
    async fn make(user: &User, place: &str) -> Option<Self> {
        let certutil = process::find("certutil")?;
        let folder = user.folder().join(place);
        std::fs::create_dir_all(&folder).expect("the folder is made");
        let made = Self { certutil, folder };
        made.ask(user, &["-N", "--empty-password"]).await.with_code(0);
        let other = user.file("other.pem", &Ca::root("Other").pem());
        made.ask(user, &["-A", "-n", "other", "-t", "C,,", "-a", "-i", other.to_str()?]).await.with_code(0);
        Some(made)
    }

    fn place(&self) -> String {
        self.folder.display().to_string()
    }

    async fn ask(&self, user: &User, arguments: &[&str]) -> process::Finished {
        let start = process::command(&self.certutil, user.folder()).args(["-d", &format!("sql:{}", self.place())]);
        start.args(arguments).run().await
    }

    /// Whether NSS takes this for a CA of servers.
    async fn trusts(&self, user: &User, name: &str) -> bool {
        self.ask(user, &["-V", "-u", "L", "-n", name]).await.code == Some(0)
    }
}

/// A Java of the user, whose trust store holds a CA that somebody else has put there.
struct Java {
    keytool: PathBuf,
    home: PathBuf,
}

impl Java {
    async fn make(user: &User, password: &str) -> Option<Self> {
        let keytool = process::find("keytool")?;
        let home = user.folder().join("a java");
        let other = user.file("a java/other.pem", &Ca::root("Other").pem());
        std::fs::create_dir_all(home.join("lib/security")).expect("the folder is made");
        let start = process::command(&keytool, user.folder()).args(["-importcert", "-noprompt", "-alias", "other"]);
        let start = start.args(["-storepass", password, "-file"]).arg(other).arg("-keystore");
        start.arg(home.join("lib/security/cacerts")).run().await.with_code(0);
        Some(Self { keytool, home })
    }

    fn store(&self) -> PathBuf {
        self.home.join("lib/security/cacerts")
    }

    async fn list(&self, user: &User) -> String {
        let start =
            process::command(&self.keytool, user.folder()).args(["-J-Duser.language=en", "-list", "-storepass"]);
        start.args(["changeit", "-keystore"]).arg(self.store()).run().await.with_code(0).out
    }
}

/// The outcome that is told of a store.
fn outcome<'a>(ended: &'a process::Finished, place: &str) -> &'a str {
    let line = ended.out.lines().find_map(|line| line.split_once(place));
    line.unwrap_or_else(|| panic!("{place} is missing in {ended}")).1.trim_start_matches(": ")
}

#[tokio::test]
async fn databases_of_browsers() {
    let user = User::new();
    let Some(chromium) = Database::make(&user, ".pki/nssdb").await else { return };
    let Some(firefox) = Database::make(&user, ".mozilla/firefox/it's.default").await else { return };
    user.create_ca().await;
    let name = user.name_in_stores().await;
    let order = |order: &str| user.pinproxy(["ca", order, "--store", "nss"]).run();
    // Another one, whose own command has installed it: it stays.
    let elsewhere = user.folder().join("elsewhere");
    let second = |order: &str| user.pinproxy(["ca", order, "--store", "nss", "--ca-dir"]).arg(&elsewhere).run();
    user.pinproxy(["ca", "create", "--ca-dir"]).arg(&elsewhere).run().await.with_code(0);
    second("install").await.with_code(0);
    let steps = [
        ("uninstall", "nothing to remove", false),
        ("install", "installed", true),
        ("install", "installed before", true),
        ("uninstall", "removed", false),
        ("uninstall", "nothing to remove", false),
    ];
    for (what, told, trusted) in steps {
        let ended = order(what).await.with_code(0);
        for database in [&chromium, &firefox] {
            assert_eq!(outcome(&ended, &database.place()), told, "{ended}");
            assert_eq!(database.trusts(&user, &name).await, trusted, "{ended}");
            assert!(database.trusts(&user, "other").await, "what others have put there stays: {ended}");
            let listed = database.ask(&user, &["-L"]).await.with_code(0).out;
            assert_eq!(listed.matches("pinproxy-").count(), if trusted { 2 } else { 1 }, "{listed}");
        }
    }
    let ended = second("uninstall").await.with_code(0);
    assert_eq!(outcome(&ended, &firefox.place()), "removed");
}

/// A store of NSS may have a certificate and not trust it, as an installation leaves it that ended half-way.
#[tokio::test]
async fn what_is_there_and_not_trusted_is_not_installed() {
    let user = User::new();
    let Some(database) = Database::make(&user, ".pki/nssdb").await else { return };
    user.create_ca().await;
    let (name, ca) = (user.name_in_stores().await, user.ca().join("ca.pem"));
    for trust in [",,", "p,,"] {
        database.ask(&user, &["-A", "-n", &name, "-t", trust, "-a", "-i", ca.to_str().unwrap()]).await.with_code(0);
        assert!(!database.trusts(&user, &name).await);
        let ended = user.pinproxy(["ca", "install", "--store", "nss"]).run().await.with_code(0);
        assert_eq!(outcome(&ended, &database.place()), "installed", "{ended}");
        assert!(database.trusts(&user, &name).await, "{trust}");
    }
}

/// CAs that a rotation has retired or given up are trusted by nobody any more, when the CA is taken out.
#[tokio::test]
async fn retired_ones_go_with_the_others() {
    let user = User::new();
    let Some(database) = Database::make(&user, ".pki/nssdb").await else { return };
    user.create_ca().await;
    let rotate = |arguments: &'static [&'static str]| user.pinproxy(["ca", "rotate"]).args(arguments).run();
    for end in [&["--abort"][..], &["--finish", "--force"]] {
        rotate(&["--in", "30d"]).await.with_code(0);
        user.pinproxy(["ca", "install", "--store", "nss"]).run().await.with_code(0);
        rotate(end).await.with_code(0);
    }
    let listed = async || database.ask(&user, &["-L"]).await.with_code(0).out.matches("pinproxy-").count();
    assert_eq!(listed().await, 3, "the first, the one that was given up, and the one that has followed");
    user.pinproxy(["ca", "uninstall", "--store", "nss"]).run().await.with_code(0);
    assert_eq!(listed().await, 0);
}

/// By the certificate, not by the name.
#[tokio::test]
async fn what_only_has_its_name_is_left_alone() {
    let user = User::new();
    let Some(database) = Database::make(&user, ".pki/nssdb").await else { return };
    user.create_ca().await;
    let name = user.name_in_stores().await;
    let file = user.file("same name.pem", &Ca::root("Same name").pem());
    let added = ["-A", "-n", &name, "-t", "C,,", "-a", "-i", file.to_str().unwrap()];
    database.ask(&user, &added).await.with_code(0);
    for order in ["install", "uninstall"] {
        let ended = user.pinproxy(["ca", order, "--store", "nss"]).run().await.with_code(3);
        ended.says(&["another certificate has the name that this one would have there; it is left alone"]);
        assert_eq!(outcome(&ended, &database.place()), "not done", "{ended}");
    }
    assert!(database.trusts(&user, &name).await);
}

/// One that cannot be changed does not keep the others from being dealt with.
#[tokio::test]
async fn a_database_that_is_none() {
    let user = User::new();
    let Some(good) = Database::make(&user, ".mozilla/firefox/good").await else { return };
    user.file(".mozilla/firefox/bad/cert9.db", "this is no database");
    user.create_ca().await;
    let ended = user.pinproxy(["ca", "install", "--store", "nss"]).run().await.with_code(3);
    assert_eq!(outcome(&ended, &good.place()), "installed", "{ended}");
    let bad = user.folder().join(".mozilla/firefox/bad");
    assert_eq!(outcome(&ended, bad.to_str().unwrap()), "not done", "{ended}");
    ended.says(&["certutil -L -d ", "ended with code 255: "]);
}

#[tokio::test]
async fn stores_of_java() {
    let user = User::new();
    let Some(java) = Java::make(&user, "changeit").await else { return };
    user.create_ca().await;
    let name = user.name_in_stores().await;
    let order = |order: &str| {
        // What a user sets for his own programs must not matter.
        let start = user.pinproxy(["ca", order, "--store", "java"]).env("JAVA_HOME", &java.home);
        start.env("JAVA_TOOL_OPTIONS", "-Djavax.net.ssl.trustStore=/none").run()
    };
    let steps = [
        ("uninstall", "nothing to remove", 1),
        ("install", "installed", 2),
        ("install", "installed before", 2),
        ("uninstall", "removed", 1),
    ];
    for (what, told, entries) in steps {
        let ended = order(what).await.with_code(0);
        assert_eq!(outcome(&ended, java.store().to_str().unwrap()), told, "{ended}");
        let list = java.list(&user).await;
        assert_eq!((list.matches("trustedCertEntry").count(), list.contains(&name)), (entries, entries == 2), "{list}");
        assert!(list.contains("other, "), "what others have put there stays: {list}");
    }
}

#[tokio::test]
async fn a_store_of_java_with_another_password() {
    let user = User::new();
    let Some(java) = Java::make(&user, "not the usual one").await else { return };
    user.create_ca().await;
    let before = std::fs::read(java.store()).unwrap();
    for order in ["install", "uninstall"] {
        let start = user.pinproxy(["ca", order, "--store", "java"]).env("JAVA_HOME", &java.home);
        start.run().await.with_code(3).says(&["java ", "ended with code 1: ", "password was incorrect"]);
    }
    assert_eq!(std::fs::read(java.store()).unwrap(), before);
}

#[tokio::test]
async fn what_would_be_done_is_told_and_not_done() {
    let user = User::new();
    let Some(database) = Database::make(&user, ".pki/nssdb").await else { return };
    let Some(java) = Java::make(&user, "changeit").await else { return };
    user.create_ca().await;
    let name = user.name_in_stores().await;
    let start = |order: &str| user.pinproxy(["ca", order, "--dry-run"]).env("JAVA_HOME", &java.home);
    let install = start("install").run().await.with_code(0);
    for part in [
        format!("run certutil -A -d {} -n {name} -t C,, -a", quoted(&format!("sql:{}", database.place()))),
        format!(
            "run keytool -importcert -noprompt -J-Duser.language=en -keystore {}",
            quoted(java.store().to_str().unwrap())
        ),
    ] {
        assert!(install.out.contains(&part), "{part}: {install}");
    }
    let json = start("uninstall").args(["--json", "--store", "nss"]).run().await.with_code(0);
    let json: Value = serde_json::from_str(&json.out).expect("JSON");
    let arguments = ["-D", "-d", &format!("sql:{}", database.place()), "-n", &name];
    let step = serde_json::json!({ "run": "certutil", "arguments": arguments, "reads_certificate": false });
    assert_eq!(json, serde_json::json!([{ "store": "nss", "place": database.place(), "steps": [step] }]));
    assert!(!database.trusts(&user, &name).await);
    assert!(!java.list(&user).await.contains(&name));
}

#[tokio::test]
async fn where_there_is_no_store_or_no_program() {
    let user = User::new();
    user.create_ca().await;
    let nowhere = user.folder().join("none");
    let start = |kind: &str| user.pinproxy(["ca", "install", "--store", kind]).env("JAVA_HOME", &nowhere);
    fails(start("nss"), 3, &["no trust store of the kind nss: ", "start one of them once"]).await;
    fails(start("java"), 3, &["no trust store of the kind java: ", "JAVA_HOME"]).await;
    fails(start("windows"), 2, &["invalid value 'windows'", "system, nss, java"]).await;
    user.file(".pki/nssdb/cert9.db", "");
    let ended = start("nss").env("PATH", &nowhere).run().await.with_code(3);
    ended.says(&["certutil is not installed; it comes with libnss3-tools (Debian), nss-tools (Red Hat)"]);
}

/// Who must not write to a store is told what to run, and by whom.
#[tokio::test]
async fn without_the_right_to_write() {
    let (Some(setpriv), Some(_)) = (process::find("setpriv"), process::find("keytool")) else { return };
    let user = User::new();
    let Some(java) = Java::make(&user, "changeit").await else { return };
    let ca = user.create_ca().await;
    std::fs::set_permissions(java.store(), std::fs::Permissions::from_mode(0o444)).expect("the mode is set");
    // Root is no exception without its capabilities, which the program then has none of.
    let is_root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&ca).expect("it is there")) == 0;
    let drops: &[&str] = if is_root { &["--bounding-set=-all", "--inh-caps=-all"] } else { &[] };
    let start = process::command(&setpriv, user.folder()).args(drops).arg(env!("CARGO_BIN_EXE_pinproxy"));
    let start =
        start.args(["ca", "install", "--store", "java", "--ca-dir"]).arg(user.ca()).env("JAVA_HOME", &java.home);
    let ended = start.run().await.with_code(3);
    let folder = user.ca().display().to_string();
    ended.says(&[
        "this user must not write to ",
        &format!("; run: sudo pinproxy ca install --store java --ca-dir {}", quoted(&folder)),
    ]);
    assert!(java.list(&user).await.contains("1 entry"), "{ended}");
}
