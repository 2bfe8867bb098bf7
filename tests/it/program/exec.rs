//! `pinproxy exec`: clients of others behind a proxy of their own, what becomes of pins, and what is told at the end.

mod ends;
mod signals;

use super::*;
use crate::foreign::python;

const FETCH_JAVA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/foreign/Fetch.java");
const FETCH_PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/foreign/fetch.py");

/// A user, an origin, and a configuration that trusts its root.
struct Scene {
    user: User,
    site: Site,
    config: PathBuf,
}

impl Scene {
    async fn start() -> Self {
        Self::with("").await
    }

    /// With more in the configuration.
    async fn with(more: &str) -> Self {
        let (user, site) = (User::new(), Site::start(Behaviour::Http1).await);
        let config = site.trusted_by(&user, more);
        Self { user, site, config }
    }

    /// `pinproxy exec` with these options, up to the command.
    fn exec(&self, options: &[&str]) -> Start {
        exec(&self.user, options).arg("--config").arg(&self.config).arg("--")
    }

    /// The argument that pins the origin to a key.
    fn pin(&self, pin: &str) -> String {
        format!("--pin={HOST}:{}={pin}", self.site.origin.port())
    }

    fn right(&self) -> String {
        self.pin(&self.site.chain.pin())
    }

    /// What a client prints that has got its answer.
    fn answer(&self) -> String {
        format!("GET /balance {HOST}:{}\n", self.site.origin.port())
    }

    fn url(&self) -> String {
        self.site.url("/balance")
    }

    /// A row of the summary.
    fn row(&self, verdict: &str, rest: &str) -> String {
        format!("\n  {verdict:<12}{HOST}:{}  {rest}\n", self.site.origin.port())
    }

    /// The octets of clients that the origin has got on these connections.
    async fn received(&self, connections: usize) -> u64 {
        self.site.origin.until_ended(connections).await.expect("they end").received()
    }
}

/// `pinproxy exec` of a user whose temporary files are in a folder with a name that no shell and no JVM takes as it is.
fn exec(user: &User, options: &[&str]) -> Start {
    let temporary = temporary(user);
    std::fs::create_dir_all(&temporary).expect("the folder is made");
    user.pinproxy(["exec"]).env("TMPDIR", temporary).args(options)
}

fn temporary(user: &User) -> PathBuf {
    user.folder().join("its \"temporary\" files")
}

/// Whether nothing is left of the files of a run.
fn nothing_left(user: &User) -> bool {
    std::fs::read_dir(temporary(user)).expect("the folder is there").next().is_none()
}

#[tokio::test]
async fn curl_with_the_right_pin() {
    let Some(curl) = process::find("curl") else { return };
    let scene = Scene::start().await;
    let wrong = scene.pin(&Key::p256().pin());
    // Several pins of one host are alternatives.
    let start = scene.exec(&[&wrong, &scene.right()]).arg(curl).args(["-sS", "-v"]).arg(scene.url());
    let done = start.run().await.with_code(0);
    assert_eq!(done.out, scene.answer(), "{done}");
    done.says(&[
        "issuer: O=pinproxy; CN=pinproxy local CA ",
        "\npinproxy: 1 host, 1 connection, no violation of pins\n",
    ]);
    let pinset = format!("1 connection, pinset --pin {HOST}:{}", scene.site.origin.port());
    done.says(&[&scene.row("allowed", &pinset)]);
    assert!(nothing_left(&scene.user));
    assert!(!scene.user.ca().exists(), "the CA of the service is none of its business");
}

#[tokio::test]
async fn curl_with_another_pin_fails_and_the_origin_hears_nothing() {
    let Some(curl) = process::find("curl") else { return };
    let scene = Scene::start().await;
    let wrong = Key::p256().pin();
    let done = scene.exec(&[&scene.pin(&wrong)]).arg(curl).arg("-sS").arg(scene.url()).run().await.with_code(56);
    let pinset = format!("1 connection, pinset --pin {HOST}:{}", scene.site.origin.port());
    done.says(&[
        "curl: (56) ",
        "\npinproxy: 1 host, 1 connection, 1 violation of pins\n",
        &scene.row("refused", &pinset),
    ]);
    done.says(&[&format!("expected  {wrong}\n"), &format!("seen      {}, ", scene.site.chain.pin())]);
    // The log tells it when it happens.
    done.says(&["WARN session: refuse localhost:"]);
    assert_eq!(done.out, "");
    assert_eq!(scene.received(1).await, 0);
}

/// A script that does not look at what its commands return is no success where a pin was violated.
#[tokio::test]
async fn a_violation_that_the_command_does_not_mind() {
    if process::find("curl").is_none() {
        return;
    }
    let scene = Scene::start().await;
    let wrong = scene.pin(&Key::p256().pin());
    let script = format!("curl -sS {} || echo unheeded", scene.url());
    let done = scene.exec(&[&wrong]).args(["sh", "-c", &script]).run().await.with_code(1);
    assert_eq!(done.out, "unheeded\n");
    let done = scene.exec(&[&wrong]).args(["sh", "-c", &format!("{script}; exit 9")]).run().await.with_code(9);
    done.says(&["1 violation of pins"]);
    assert_eq!(scene.received(2).await, 0);
}

#[tokio::test]
async fn report_only_lets_it_through_and_tells() {
    let Some(curl) = process::find("curl") else { return };
    let pinned = format!("{}mode = \"enforce\"\n", pinset(&Key::p256().pin()));
    for (more, has_pin) in [("", true), (pinned.as_str(), false)] {
        let scene = Scene::with(more).await;
        let wrong = scene.pin(&Key::p256().pin());
        let options: &[&str] = if has_pin { &[&wrong, "--report-only"] } else { &["--report-only"] };
        let done = scene.exec(options).arg(&curl).arg("-sS").arg(scene.url()).run().await.with_code(1);
        assert_eq!(done.out, scene.answer(), "{done}");
        done.says(&[&format!("\n  reported    {HOST}:{}  1 connection, pinset ", scene.site.origin.port())]);
        done.says(&["1 violation of pins", &format!("seen      {}, ", scene.site.chain.pin())]);
    }
}

/// The client sees the certificate of the origin, so that its bundle has to hold the roots as well.
#[tokio::test]
async fn a_tunnelled_host_is_verified_by_the_client() {
    let Some(curl) = process::find("curl") else { return };
    let tunnel = format!("[[tunnel]]\nhosts = [\"{HOST}\"]\nreason = \"pins by itself\"\n");
    let scene = Scene::with(&tunnel).await;
    let done = scene.exec(&[]).arg(curl).args(["-sS", "-v"]).arg(scene.url()).run().await.with_code(0);
    assert_eq!(done.out, scene.answer(), "{done}");
    done.says(&["issuer: CN=A private CA", &scene.row("tunnelled", "1 connection, tunnel")]);
}

#[tokio::test]
async fn what_is_not_pinned_is_verified_and_let_through_unless_the_configuration_says_otherwise() {
    let Some(curl) = process::find("curl") else { return };
    // A rule for another port: the host goes through the proxy, and has no rule.
    let elsewhere = format!("--pin={HOST}:1={}", Key::p256().pin());
    let scene = Scene::start().await;
    let done = scene.exec(&[&elsewhere]).arg(&curl).arg("-sS").arg(scene.url()).run().await.with_code(0);
    done.says(&[&scene.row("allowed", "1 connection, not pinned")]);
    let scene = Scene::with("[defaults]\nunpinned = \"deny\"\n").await;
    let done = scene.exec(&[&elsewhere]).arg(&curl).arg("-sS").arg(scene.url()).run().await.with_code(56);
    done.says(&[&scene.row("refused", "1 connection, not pinned"), "no violation of pins"]);
    assert_eq!(scene.site.origin.tally().tcp_connections(), 0);
    // Without the root the chain is not trusted.
    let scene = Scene::start().await;
    let alone = exec(&scene.user, &[&elsewhere]).arg("--").arg(&curl).arg("-sS").arg(scene.url());
    let done = alone.run().await.with_code(56);
    done.says(&[&scene.row("refused", "1 connection, not pinned"), "no violation of pins"]);
}

#[tokio::test]
async fn python_by_both_libraries() {
    let Some(python) = python::python() else { return };
    let scene = Scene::start().await;
    let has_requests = process::command(&python, scene.user.folder()).args(["-c", "import requests"]).run().await;
    if has_requests.code != Some(0) {
        return process::skipped(
            "Python has no package requests; name an interpreter that has in PINPROXY_TEST_PYTHON",
        );
    }
    for library in ["requests", "urllib"] {
        let fetch = |option: &str| scene.exec(&[option]).arg(&python).args([FETCH_PYTHON, library]).arg(scene.url());
        let done = fetch(&scene.right()).run().await.with_code(0);
        assert_eq!(done.out, scene.answer(), "{done}");
        let done = fetch(&scene.pin(&Key::p256().pin())).run().await.with_code(1);
        done.says(&["Tunnel connection failed: 502 Certificate pin mismatch for localhost (pinset --pin localhost:"]);
    }
}

#[tokio::test]
async fn openssl_trusts_the_bundle() {
    if process::find("openssl").is_none() {
        return;
    }
    let scene = Scene::start().await;
    let script = format!(
        "openssl s_client -proxy \"${{https_proxy#http://}}\" -connect {HOST}:{} -servername {HOST} \
         -verify_hostname {HOST} -verify_return_error </dev/null",
        scene.site.origin.port()
    );
    let done = scene.exec(&[&scene.right()]).args(["sh", "-c", &script]).run().await.with_code(0);
    assert!(done.out.contains("Verify return code: 0 (ok)"), "{done}");
    assert!(done.out.contains("issuer=O = pinproxy, CN = pinproxy local CA"), "{done}");
}

#[tokio::test]
async fn java_by_both_clients() {
    let Some(java) = process::find("java") else { return };
    let scene = Scene::start().await;
    for way in ["connection", "client"] {
        let fetch = |option: &str| {
            let start = scene.exec(&[option]).env("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1");
            start.arg(&java).args([FETCH_JAVA, way]).arg(scene.url())
        };
        let done = fetch(&scene.right()).run().await.with_code(0);
        assert!(done.out.ends_with(&scene.answer()), "{done}");
        done.says(&["Picked up JAVA_TOOL_OPTIONS: -XX:TieredStopAtLevel=1 -D", "\n  allowed     "]);
        let done = fetch(&scene.pin(&Key::p256().pin())).run().await.with_code(1);
        done.says(&["\n  refused     ", "1 violation of pins"]);
    }
}

/// What was excepted from the proxy stays so, and that a pinned host is among it is told.
#[tokio::test]
async fn exceptions_are_kept_and_told_where_they_go_round_a_pin() {
    let scene = Scene::start().await;
    let print = ["sh", "-c", "echo \"$no_proxy $NO_PROXY\""];
    let done = scene.exec(&[]).env("NO_PROXY", ".corp").args(print).run().await.with_code(0);
    assert_eq!(done.out, ".corp,localhost,127.0.0.1,::1 .corp,localhost,127.0.0.1,::1\n");
    assert!(!done.err.contains("NO_PROXY"), "{done}");
    let done = scene.exec(&[&scene.right()]).env("NO_PROXY", "localhost").args(print).run().await.with_code(0);
    assert_eq!(done.out, "localhost,127.0.0.1,::1 localhost,127.0.0.1,::1\n");
    let port = scene.site.origin.port();
    done.says(&[&format!(
        "NO_PROXY holds \"localhost\", so that programs reach {HOST}:{port}, which is pinned, past the proxy"
    )]);
}

/// One in the other: the inner one has roots of its own, whatever the outer one has set.
#[tokio::test]
async fn a_run_within_a_run_says_so() {
    let Some(curl) = process::find("curl") else { return };
    let scene = Scene::start().await;
    let inner = [env!("CARGO_BIN_EXE_pinproxy"), "exec", &scene.right(), "--config"];
    // The outer one has a rule for the host as well, so that it is no exception for the inner one.
    let elsewhere = format!("--pin={HOST}:1={}", Key::p256().pin());
    let start =
        scene.exec(&[&elsewhere]).args(inner).arg(&scene.config).arg("--").arg(curl).arg("-sS").arg(scene.url());
    let done = start.run().await.with_code(0);
    assert_eq!(done.out, scene.answer());
    done.says(&["SSL_CERT_FILE is a bundle of pinproxy already", "pinproxy: 0 hosts", "pinproxy: 1 host, "]);
}
