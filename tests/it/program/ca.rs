//! `pinproxy ca`: the CA as the program tells of it and hands it on, judged by programs of others.

mod given;
mod trusted;

use super::*;

use crate::support::pki::Validity;
use serde_json::Value;

/// Asserts an exit code and what is said on standard error, and that nothing else is said.
async fn fails(start: Start, code: i32, parts: &[&str]) {
    let ended = start.run().await.with_code(code);
    assert_eq!(ended.out, "", "{ended}");
    ended.says(parts);
}

impl User {
    /// Makes the CA, and gives its file.
    async fn create_ca(&self) -> PathBuf {
        self.pinproxy(["ca", "create"]).run().await.with_code(0);
        self.ca().join("ca.pem")
    }

    /// What `ca show --json` says.
    async fn shown_ca(&self) -> Value {
        let shown = self.pinproxy(["ca", "show", "--json"]).run().await.with_code(0);
        serde_json::from_str(&shown.out).expect("JSON")
    }

    /// What the CA is called in stores.
    async fn name_in_stores(&self) -> String {
        let shown = self.shown_ca().await;
        shown["certificates"][0]["name_in_stores"].as_str().expect("a name").to_owned()
    }

    /// Files of a CA that the operator has made.
    fn place_ca(&self, ca: &Ca) -> PathBuf {
        let (certificate, key) = (self.file("own/ca.pem", &ca.pem()), self.file("own/ca.key", &ca.key().private_pem()));
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(key, private).expect("the mode is set");
        certificate.parent().expect("a folder").to_owned()
    }
}

#[tokio::test]
async fn one_is_made_once_and_never_replaced() {
    let user = User::new();
    for command in ["show", "bundle", "export", "install", "uninstall"] {
        let says = ["there is no CA: ", "ca.pem does not exist; run: pinproxy ca create"];
        fails(user.pinproxy(["ca", command]), 3, &says).await;
    }
    assert!(!user.ca().exists(), "asking makes none");
    let made = user.pinproxy(["ca", "create"]).run().await.with_code(0);
    let file = user.ca().join("ca.pem");
    assert_eq!(value(&made.out, "CA  "), file.to_str().unwrap(), "{made}");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!([mode(&user.ca()), mode(&user.ca().join("ca.key"))], [0o700, 0o600]);
    let before = [file, user.ca().join("ca.key")].map(|path| std::fs::read(path).unwrap());
    fails(user.pinproxy(["ca", "create"]), 1, &["there is a CA already, which is left as it is: "]).await;
    let after = ["ca.pem", "ca.key"].map(|name| std::fs::read(user.ca().join(name)).unwrap());
    assert_eq!(after, before);
    // It is the one that the proxy uses.
    let program = Program::start(user.run(None)).await;
    assert_eq!(value(&program.greeting, "CA SHA-256"), value(&made.out, "SHA-256"));
    program.stop().await;
}

/// As OpenSSL prints them.
#[tokio::test]
async fn what_it_is_known_by() {
    let Some(openssl) = process::find("openssl") else { return };
    let user = User::new();
    let file = user.create_ca().await;
    let asked = |arguments: &[&str]| {
        let start = process::command(&openssl, user.folder()).args(["x509", "-noout", "-in"]).arg(&file);
        start.args(arguments).run()
    };
    let shown = user.pinproxy(["ca", "show"]).run().await.with_code(0).out;
    for (name, option) in [("SHA-256", "-sha256"), ("SHA-1", "-sha1")] {
        let printed = asked(&["-fingerprint", option]).await.with_code(0).out;
        assert_eq!(printed.split('=').nth(1).map(str::trim), Some(value(&shown, name)), "{printed}");
    }
    let subject = asked(&["-subject", "-nameopt", "sep_comma_plus_space"]).await.with_code(0).out;
    assert_eq!(subject.trim().strip_prefix("subject="), Some(value(&shown, "subject")));
    let dates = asked(&["-dates", "-dateopt", "iso_8601"]).await.with_code(0).out;
    let dates: Vec<_> =
        dates.lines().filter_map(|line| line.split('=').nth(1)).map(|date| date.replace(' ', "T")).collect();
    assert_eq!(value(&shown, "valid"), dates.join(" to "));
    let script = "openssl x509 -noout -pubkey -in \"$0\" | openssl pkey -pubin -outform der | \
                  openssl dgst -sha256 -binary | openssl base64";
    let pin = process::command(Path::new("/bin/sh"), user.folder()).args(["-c", script]).arg(&file);
    assert_eq!(format!("sha256/{}", pin.run().await.with_code(0).out.trim()), value(&shown, "pin"));
    let json = user.shown_ca().await;
    let fields = [("sha256", "SHA-256"), ("sha1", "SHA-1"), ("pin", "pin"), ("subject", "subject")];
    for (field, name) in fields {
        assert_eq!(json["certificates"][0][field], value(&shown, name));
    }
    assert_eq!((&json["file"], &json["owner"]), (&Value::from(file.to_str()), &Value::Null));
}

/// Clients would not accept it, so that it is handed to none.
#[tokio::test]
async fn one_that_has_ended_is_shown_and_not_handed_on() {
    let user = User::new();
    let folder = user.place_ca(&Ca::builder("Ended").validity(Validity::expired()).self_signed());
    let asked = |command: &str| user.pinproxy(["ca", command, "--ca-dir"]).arg(&folder);
    let shown = asked("show").run().await.with_code(1);
    assert_eq!(value(&shown.out, "subject"), "CN=Ended", "{shown}");
    for command in ["show", "bundle", "export", "install"] {
        let ended = asked(command).run().await.with_code(1);
        ended.says(&["the CA certificate in ", "own/ca.pem is valid from ", ", and not now"]);
        assert_eq!(ended.out.is_empty(), command != "show", "{ended}");
    }
}

#[tokio::test]
async fn the_configuration_says_where_it_is_and_the_command_line_has_the_last_word() {
    let user = User::new();
    let (one, other) = (Ca::root("One"), Ca::root("Other"));
    let folder = user.place_ca(&one);
    user.file("other/ca.pem", &other.pem());
    let config = user.file("pinproxy.toml", "[ca]\ndirectory = \"own\"\n");
    let by_config = user.pinproxy(["ca", "show", "--config"]).arg(&config);
    let shown = by_config.run().await.with_code(0).out;
    assert_eq!((value(&shown, "CA  "), value(&shown, "subject")), (folder.join("ca.pem").to_str().unwrap(), "CN=One"));
    let by_both = user.pinproxy(["ca", "show", "--ca-dir", "other", "--config"]).arg(&config).folder(user.folder());
    assert_eq!(value(&by_both.run().await.with_code(0).out, "subject"), "CN=Other", "its key is not asked for");
    let broken = user.file("broken.toml", "[ca]\ndirectori = \"own\"\n");
    fails(user.pinproxy(["ca", "show", "--config"]).arg(broken), 2, &["E01", "directori"]).await;
}
