//! `pinproxy env`: shells that take its lines, and clients behind them.

use super::*;
use crate::foreign::python;
use pinproxy::trust::variables::VARIABLES;
use std::os::unix::fs::PermissionsExt as _;

/// A proxy that runs, with a rule for its host, and its configuration with the address in it.
struct Served {
    user: User,
    site: Site,
    program: Program,
    config: PathBuf,
}

impl Served {
    async fn start() -> Self {
        let (user, site) = (User::new(), Site::start(Behaviour::Http1).await);
        let pinned = pinset(&site.chain.pin());
        let program = Program::start(user.run(Some(&site.trusted_by(&user, &pinned)))).await;
        let listener = format!("[[listener]]\naddress = \"{}\"\n{pinned}", program.address);
        let config = site.trusted_by(&user, &listener);
        Self { user, site, program, config }
    }

    /// `pinproxy env` for it.
    async fn lines(&self, shell: &str) -> process::Finished {
        let start = self.user.pinproxy(["env", "--shell", shell, "--config"]).arg(&self.config);
        start.run().await.with_code(0)
    }

    fn answer(&self) -> String {
        format!("GET /balance {HOST}:{}\n", self.site.origin.port())
    }
}

/// The folder of a user has spaces and quotes in its name.
#[tokio::test]
async fn a_shell_evaluates_the_lines_and_a_client_behind_it_is_judged() {
    if process::find("curl").is_none() {
        return;
    }
    let served = Served::start().await;
    let lines = served.lines("bash").await;
    assert_eq!(lines.err, "", "it listens, and there is nothing to say");
    let fetch = "eval \"$LINES_\"; curl -sS \"$URL\"";
    let mut shells = vec![("sh", "bash", fetch)];
    let found = [("bash", "bash", fetch), ("fish", "fish", "eval $LINES_; curl -sS $URL")];
    let found = found.into_iter().filter(|(shell, ..)| process::find(shell).is_some());
    shells.extend(found);
    for (shell, form, script) in shells {
        let lines = served.lines(form).await.out;
        // fish evaluates a list of lines as one.
        let lines = if form == "fish" { lines.replace('\n', "; ") } else { lines };
        let program = process::find(shell).expect("it was found");
        let start = process::command(&program, served.user.folder()).env("LINES_", lines);
        let done = start.env("URL", served.site.url("/balance")).args(["-c", script]).run().await.with_code(0);
        assert_eq!(done.out, served.answer(), "{shell}: {done}");
    }
    served.program.stop().await.says(&["allow localhost:"]);
}

#[tokio::test]
async fn dotenv_gives_the_same_values() {
    let Some(python) = python::python() else { return };
    let served = Served::start().await;
    let lines = served.lines("dotenv").await.out;
    let file = served.user.file("client.env", &lines);
    let script = "import dotenv, json, sys; print(json.dumps(dotenv.dotenv_values(sys.argv[1])))";
    let start = process::command(&python, served.user.folder()).args(["-c", script]).arg(&file);
    let done = start.run().await;
    if done.err.contains("No module named 'dotenv'") {
        process::skipped("Python has no package python-dotenv; name an interpreter that has in PINPROXY_TEST_PYTHON");
        return;
    }
    let read: serde_json::Value = serde_json::from_str(&done.with_code(0).out).unwrap();
    assert_eq!(read.as_object().unwrap().len(), VARIABLES.len());
    let text = |name: &str| read[name].as_str().unwrap().to_owned();
    assert_eq!(text("https_proxy"), format!("http://{}", served.program.address));
    assert!(Path::new(&text("SSL_CERT_FILE")).is_file() && Path::new(&text("NODE_EXTRA_CA_CERTS")).is_file());
    assert!(text("JAVA_TOOL_OPTIONS").contains(" -Dhttps.proxyHost=127.0.0.1 "), "{read}");
}

#[tokio::test]
async fn powershell_gets_its_own_quotes() {
    let served = Served::start().await;
    let lines = served.lines("powershell").await.out;
    let expected = format!("$env:https_proxy = 'http://{}'\n", served.program.address);
    assert!(lines.contains(&expected), "{lines}");
    let folder = served.user.folder().to_str().unwrap().replace('\'', "''");
    assert!(lines.contains(&format!("$env:SSL_CERT_FILE = '{folder}/data/pinproxy/clients/")), "{lines}");
}

#[tokio::test]
async fn the_files_stay_where_they_are_for_as_long_as_the_ca_does() {
    let served = Served::start().await;
    let first = served.lines("bash").await;
    let second = served.lines("bash").await;
    assert_eq!(first.out, second.out);
    let clients = served.user.ca().join("clients");
    let folders: Vec<_> = std::fs::read_dir(&clients).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [folder] = folders.as_slice() else { panic!("{folders:?}") };
    for name in ["ca.pem", "trust.p12", "certs/ca-bundle.pem"] {
        let metadata = std::fs::metadata(folder.join(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o644, "{name}");
    }
    let text = |path: &Path| std::fs::read_to_string(path).unwrap();
    assert_eq!(text(&folder.join("ca.pem")), text(&served.user.ca().join("ca.pem")));
    let bundle = text(&folder.join("certs/ca-bundle.pem"));
    assert!(bundle.contains("# CN=A private CA\n") && bundle.matches("BEGIN CERTIFICATE").count() > 50);
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_a_warning_and_a_ca_that_is_not_there_an_error() {
    let user = User::new();
    let done = user.pinproxy(["env"]).run().await.with_code(3);
    done.says(&["no CA can be read from ", "start the proxy once"]);
    assert_eq!(done.out, "");
    assert!(!user.ca().exists(), "nothing is made");

    let served = Served::start().await;
    let Served { user, program, config, .. } = served;
    program.stop().await;
    let done = user.pinproxy(["env", "--config"]).arg(&config).run().await.with_code(0);
    done.says(&["pinproxy: nothing listens on 127.0.0.1:", "start it with: pinproxy run"]);
    assert!(done.out.starts_with("export http_proxy='http://127.0.0.1:"), "{done}");

    let broken = user.file("broken.toml", "listen = 1\n");
    user.pinproxy(["env", "--config"])
        .arg(&broken)
        .run()
        .await
        .with_code(2)
        .says(&["the configuration cannot be used"]);
    let open = user.file("open.toml", "[[listener]]\naddress = \"127.0.0.1:0\"\n");
    let done = user.pinproxy(["env", "--config"]).arg(&open).run().await;
    assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{done}");
}

/// The list, the README and what is printed are of one table.
#[tokio::test]
async fn every_variable_is_listed() {
    let user = User::new();
    let list = user.pinproxy(["env", "--list"]).run().await.with_code(0).out;
    let json = user.pinproxy(["env", "--list", "--json"]).run().await.with_code(0).out;
    let json: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, section) = readme.split_once("## One command\n").expect("the section");
    let section = section.split("\n## ").next().unwrap();
    assert_eq!((list.lines().count(), json.len()), (VARIABLES.len() + 1, VARIABLES.len()));
    for (variable, row) in VARIABLES.iter().zip(&json) {
        assert_eq!(row["name"], variable.name);
        assert!(list.contains(&format!("\n{} ", variable.name)), "{}", variable.name);
        assert!(section.contains(&format!("`{}`", variable.name)), "README lacks {}", variable.name);
    }
}
